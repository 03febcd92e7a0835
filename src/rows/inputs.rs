//! The input columns of a request.

use crate::columns::Column;
use crate::lambda::request::Inputs;
use bytes::Bytes;

impl Inputs {
    /// The value of an input column. The payload is bytes, and has none here.
    pub fn get(&self, column: Column) -> Option<&str> {
        match column {
            Column::FunctionName => self.function_name.as_deref(),
            Column::Region => self.region.as_deref(),
            Column::Qualifier => self.qualifier.as_deref(),
            Column::InvocationType => self.invocation_type.as_deref(),
            Column::LogType => self.log_type.as_deref(),
            Column::Context => self.context.as_deref(),
            Column::TenantId => self.tenant_id.as_deref(),
            Column::DurableExecutionName => self.durable_execution_name.as_deref(),
            _ => None,
        }
    }

    /// Gives an input column a value, in UTF-8.
    pub fn set(&mut self, column: Column, value: Option<Vec<u8>>) {
        match column {
            Column::Payload => {
                self.payload = value.map(Bytes::from);
                return;
            }
            Column::Context => {
                self.context = value.map(Inputs::text);
                return;
            }
            _ => (),
        }
        let text = value.map(Inputs::word);
        match column {
            Column::FunctionName => self.function_name = text,
            Column::Region => self.region = text,
            Column::Qualifier => self.qualifier = text,
            Column::InvocationType => self.invocation_type = text,
            Column::LogType => self.log_type = text,
            Column::TenantId => self.tenant_id = text,
            Column::DurableExecutionName => self.durable_execution_name = text,
            _ => (),
        }
    }
}
