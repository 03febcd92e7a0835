//! The columns of foreign tables: their names and types.
//!
//! - [`attribute`] is a column that a table has, with its options. [`layout`] is all of a table's.
//!
//! `plan/clause.rs` and `rows/values.rs` bind values to input columns, and `rows/writer.rs` makes the values of output columns.

mod attribute;
mod layout;

pub use attribute::Attribute;
pub use layout::{Layout, object_of};

use crate::fields::Part;
use crate::options::TableObject;
use pgrx::pg_sys;

/// A column that this wrapper knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Column {
    /// Input: name or ARN of the function.
    FunctionName,
    /// Input: AWS Region.
    Region,
    /// Input: alias or version.
    Qualifier,
    /// Input: RequestResponse, Event or DryRun.
    InvocationType,
    /// Input: None or Tail.
    LogType,
    /// Input: client context.
    Context,
    /// Input: id of the tenant that the function runs for.
    TenantId,
    /// Input: name of a durable execution.
    DurableExecutionName,
    /// Input: the event that the function gets. It and its fields are the last inputs, so that they vary fastest in a product of lists.
    Payload,
    /// Input: a field of the payload, by the number of the table's column.
    PayloadField(i16),
    /// Output: HTTP status.
    StatusCode,
    /// Output: the value that the function returned.
    Response,
    /// Output: a field of the response, by the number of the table's column.
    ResponseField(i16),
    /// Output: the version that ran.
    ExecutedVersion,
    /// Output: base64 of the log's tail.
    LogResult,
    /// Output: the log's tail as text.
    Log,
    /// Output: Handled or Unhandled.
    FunctionError,
    /// Output: AWS's id of the request.
    RequestId,
    /// Output: ARN of the durable execution that was started or found.
    DurableExecutionArn,
    /// Output: name of the error; null unless the invocation failed.
    ErrorCode,
    /// Output: message of the error; null unless the invocation failed.
    ErrorMessage,
    /// Of a function: its ARN.
    FunctionArn,
    /// Of a function: identifier of the runtime.
    Runtime,
    /// Of a function: what the runtime calls.
    Handler,
    /// Of a function: ARN of the role that it runs as.
    Role,
    /// Of a function: its description.
    Description,
    /// Of a function: the version that the row is about.
    Version,
    /// Of a function: Active, Inactive, Pending or Failed.
    State,
    /// Of a function: Zip or Image.
    PackageType,
    /// Of a function: instruction set.
    Architecture,
    /// Of a function: memory in MB.
    MemorySize,
    /// Of a function: longest run in seconds.
    Timeout,
    /// Of a function: size of the package in bytes.
    CodeSize,
    /// Of a function: when it was changed last.
    LastModified,
}

impl Column {
    /// Every input column that has a name of its own, in the order of a product of lists.
    pub const INPUTS: [Column; 9] = [
        Column::FunctionName,
        Column::Region,
        Column::Qualifier,
        Column::InvocationType,
        Column::LogType,
        Column::Context,
        Column::TenantId,
        Column::DurableExecutionName,
        Column::Payload,
    ];
    const OUTPUTS: [Column; 10] = [
        Column::StatusCode,
        Column::Response,
        Column::ExecutedVersion,
        Column::LogResult,
        Column::Log,
        Column::FunctionError,
        Column::RequestId,
        Column::DurableExecutionArn,
        Column::ErrorCode,
        Column::ErrorMessage,
    ];

    /// The inputs of a table of functions. The name is also an output.
    const INPUTS_OF_FUNCTIONS: [Column; 3] =
        [Column::FunctionName, Column::Region, Column::Qualifier];
    const OUTPUTS_OF_FUNCTIONS: [Column; 13] = [
        Column::FunctionArn,
        Column::Runtime,
        Column::Handler,
        Column::Role,
        Column::Description,
        Column::Version,
        Column::State,
        Column::PackageType,
        Column::Architecture,
        Column::MemorySize,
        Column::Timeout,
        Column::CodeSize,
        Column::LastModified,
    ];

    /// The name in SQL. A field has that of the table's column, which [`Layout::name`] knows.
    pub fn name(self) -> &'static str {
        match self {
            Column::PayloadField(_) | Column::ResponseField(_) => "",
            Column::FunctionName => "function_name",
            Column::Region => "region",
            Column::Qualifier => "qualifier",
            Column::InvocationType => "invocation_type",
            Column::LogType => "log_type",
            Column::Context => "context",
            Column::TenantId => "tenant_id",
            Column::DurableExecutionName => "durable_execution_name",
            Column::Payload => "payload",
            Column::StatusCode => "status_code",
            Column::Response => "response",
            Column::ExecutedVersion => "executed_version",
            Column::LogResult => "log_result",
            Column::Log => "log",
            Column::FunctionError => "function_error",
            Column::RequestId => "request_id",
            Column::DurableExecutionArn => "durable_execution_arn",
            Column::ErrorCode => "error_code",
            Column::ErrorMessage => "error_message",
            Column::FunctionArn => "function_arn",
            Column::Runtime => "runtime",
            Column::Handler => "handler",
            Column::Role => "role",
            Column::Description => "description",
            Column::Version => "version",
            Column::State => "state",
            Column::PackageType => "package_type",
            Column::Architecture => "architecture",
            Column::MemorySize => "memory_size",
            Column::Timeout => "timeout",
            Column::CodeSize => "code_size",
            Column::LastModified => "last_modified",
        }
    }

    /// The columns that a table can have.
    fn all(object: TableObject) -> impl Iterator<Item = Column> {
        let (inputs, outputs) = match object {
            TableObject::Invocations => (&Column::INPUTS[..], &Column::OUTPUTS[..]),
            TableObject::Functions => (
                &Column::INPUTS_OF_FUNCTIONS[..],
                &Column::OUTPUTS_OF_FUNCTIONS[..],
            ),
        };
        inputs.iter().chain(outputs).copied()
    }

    /// Those of all kinds of tables, each once.
    fn known() -> impl Iterator<Item = Column> {
        Column::all(TableObject::Invocations).chain(Column::OUTPUTS_OF_FUNCTIONS)
    }

    /// Whether a clause can bind the column.
    pub fn is_input(self) -> bool {
        matches!(self, Column::PayloadField(_)) || Column::INPUTS.contains(&self)
    }

    /// The document that the column is a field of.
    pub fn part(self) -> Option<Part> {
        match self {
            Column::PayloadField(_) => Some(Part::Payload),
            Column::ResponseField(_) => Some(Part::Response),
            _ => None,
        }
    }

    /// Whether a name, as bytes of the catalog, is that of an input column.
    pub fn is_name_of_input(name: &[u8]) -> bool {
        (Column::INPUTS.iter()).any(|column| column.name().as_bytes() == name)
    }

    /// The number of an input column in a plan. Those of fields are negative.
    pub fn number(self) -> i32 {
        match self {
            Column::PayloadField(number) => -i32::from(number),
            _ => (0..)
                .zip(Column::known())
                .find_map(|(number, column)| (column == self).then_some(number))
                .unwrap_or(i32::MAX),
        }
    }

    /// The column with a number.
    pub fn from_number(number: i32) -> Option<Column> {
        match u32::try_from(number) {
            Ok(number) => Column::known().nth(number as usize),
            Err(_) => i16::try_from(-number).ok().map(Column::PayloadField),
        }
    }

    fn allowed_types(self) -> (&'static [pg_sys::Oid], &'static str) {
        match self {
            Column::Payload | Column::Context | Column::Response => (
                &[
                    pg_sys::JSONBOID,
                    pg_sys::JSONOID,
                    pg_sys::TEXTOID,
                    pg_sys::VARCHAROID,
                ],
                "jsonb, json, text or varchar",
            ),
            Column::StatusCode | Column::MemorySize | Column::Timeout => {
                (&[pg_sys::INT4OID], "integer")
            }
            Column::CodeSize => (&[pg_sys::INT8OID], "bigint"),
            Column::LastModified => (&[pg_sys::TIMESTAMPTZOID], "timestamp with time zone"),
            _ => (&[pg_sys::TEXTOID, pg_sys::VARCHAROID], "text or varchar"),
        }
    }
}
