//! The columns of foreign tables: names, types, and the columns that a table has.
//!
//! `plan/clause.rs` and `rows/values.rs` bind values to input columns, and `rows/writer.rs` makes the values of output columns.

use crate::error::{Error, TableError};
use crate::options::{OnError, Options, TableObject};
use crate::postgres::catalog;
use crate::postgres::rel::OpenRelation;
use crate::postgres::text::{self, Text};
use pgrx::pg_sys;
use std::ffi::CStr;

/// A column that this wrapper knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
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
    /// Input: the event that the function gets. It is the last input, so that it varies fastest in a product of lists.
    Payload,
    /// Output: HTTP status.
    StatusCode,
    /// Output: the value that the function returned.
    Response,
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
    /// Every input column, in the order of a product of lists.
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

    /// The name in SQL.
    pub fn name(self) -> &'static str {
        match self {
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

    /// Whether a clause can bind the column.
    pub fn is_input(self) -> bool {
        Column::INPUTS.contains(&self)
    }

    /// Whether a name, as bytes of the catalog, is that of an input column.
    pub fn is_name_of_input(name: &[u8]) -> bool {
        (Column::INPUTS.iter()).any(|column| column.name().as_bytes() == name)
    }

    /// The column with a number, which is that of `column as i32`.
    pub fn from_number(number: i32) -> Option<Column> {
        let all = Column::all(TableObject::Invocations);
        let mut all = all.chain(Column::OUTPUTS_OF_FUNCTIONS);
        all.find(|column| *column as i32 == number)
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

/// `attgenerated` of a generated column whose value is stored.
const STORED: u8 = b's';
/// `attgenerated` of a generated column that is computed when it is read, since 18.
const VIRTUAL: u8 = b'v';

/// A column of one foreign table.
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    /// Attribute number, from 1.
    pub number: i16,
    /// The known column.
    pub column: Column,
    /// Its declared type, which may be a domain.
    pub type_oid: pg_sys::Oid,
    /// Its type, or the base type of its domain.
    pub base_type: pg_sys::Oid,
    /// Its type modifier.
    pub typmod: i32,
}

impl Attribute {
    /// An example of a clause that gives it a value, for an error.
    pub fn example(&self) -> String {
        let name = self.column.name();
        let value = match self.column {
            Column::FunctionName => "f",
            Column::Region => "us-east-1",
            Column::Qualifier => "prod",
            Column::InvocationType => "Event",
            Column::LogType => "Tail",
            Column::Context => r#"{"custom": {"k": 1}}"#,
            Column::TenantId => "t1",
            Column::DurableExecutionName => "order-1",
            _ => r#"{"k": 1}"#,
        };
        // json has no equality.
        let cast = if self.base_type == pg_sys::JSONOID {
            "::text"
        } else {
            ""
        };
        format!("{name}{cast} = '{value}'")
    }

    /// Reads an attribute; `None` for a virtual column, which PostgreSQL computes from the others.
    fn read(
        attribute: &pg_sys::FormData_pg_attribute,
        table: &str,
        object: TableObject,
    ) -> Result<Option<Attribute>, Error> {
        let name = text::name(&attribute.attname).to_bytes();
        let known = Column::all(object).find(|column| column.name().as_bytes() == name);
        let generated = attribute.attgenerated as u8;
        if let Some(column) = known
            && generated == if column.is_input() { VIRTUAL } else { STORED }
        {
            return Err(Error::Table(TableError::GeneratedColumn {
                column: column.name(),
                table: table.to_owned(),
                input: column.is_input(),
            }));
        }
        if generated == VIRTUAL {
            return Ok(None);
        }
        let column = known.ok_or_else(|| {
            let known: Vec<&str> = Column::all(object).map(Column::name).collect();
            Error::Table(TableError::UnknownColumn {
                column: Text::of_server(name).shown(),
                table: table.to_owned(),
                known: known.join(", "),
            })
        })?;
        let base_type = catalog::base_type(attribute.atttypid);
        let (types, allowed) = column.allowed_types();
        if !types.contains(&base_type) {
            return Err(Error::Table(TableError::ColumnType {
                column: column.name(),
                table: table.to_owned(),
                found: text::shown(catalog::type_name(attribute.atttypid)),
                allowed,
            }));
        }
        Ok(Some(Attribute {
            number: attribute.attnum,
            column,
            type_oid: attribute.atttypid,
            base_type,
            typmod: attribute.atttypmod,
        }))
    }
}

/// What the rows of a foreign table are, as its option says.
pub fn object_of(table: pg_sys::Oid) -> TableObject {
    const OPTION: &str = "object";
    let options = catalog::foreign_table(table).options();
    let option = (options.iter())
        .find(|option| option.name_in_server().map(CStr::to_bytes) == Some(OPTION.as_bytes()));
    let mut read = Options::default();
    if let Some(option) = option {
        read.read(OPTION, &Text::of_server(option.value()).shown());
    }
    read.object.unwrap_or_default()
}

/// The columns of one foreign table.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Every column that is not dropped and not virtual.
    pub attributes: Vec<Attribute>,
    /// The foreign table's name.
    pub table: String,
    /// What its rows are.
    pub object: TableObject,
}

impl Layout {
    /// Reads the columns of an open foreign table.
    ///
    /// Errors with [`TableError::UnknownColumn`], [`TableError::ColumnType`] or [`TableError::GeneratedColumn`].
    pub fn read(relation: OpenRelation) -> Result<Layout, Error> {
        let table = relation.name();
        let object = object_of(relation.rd_id);
        let mut attributes = Vec::with_capacity(relation.descriptor().natts.max(0) as usize);
        for attribute in relation.columns() {
            attributes.extend(Attribute::read(&attribute, &table, object)?);
        }
        Ok(Layout {
            attributes,
            table,
            object,
        })
    }

    /// Whether the rows are functions.
    pub fn is_of_functions(&self) -> bool {
        self.object == TableObject::Functions
    }

    /// Errors with [`TableError::FailuresUnseen`] where failures are rows, and no column shows which rows are failures.
    pub fn check_failure_columns(&self, on_error: OnError) -> Result<(), Error> {
        let columns = [
            Column::ErrorCode,
            Column::ErrorMessage,
            Column::FunctionError,
        ];
        let has_one = columns.iter().any(|column| self.find(*column).is_some());
        match has_one || on_error == OnError::Raise {
            true => Ok(()),
            false => Err(Error::Table(TableError::FailuresUnseen {
                table: self.table.clone(),
            })),
        }
    }

    /// Whether a column's values come from answers.
    pub fn is_output(&self, column: Column) -> bool {
        !column.is_input() || self.is_of_functions() && column == Column::FunctionName
    }

    /// The attribute with a number.
    pub fn attribute(&self, number: i16) -> Option<&Attribute> {
        self.attributes
            .iter()
            .find(|attribute| attribute.number == number)
    }

    /// The attribute of a known column.
    pub fn find(&self, column: Column) -> Option<&Attribute> {
        self.attributes
            .iter()
            .find(|attribute| attribute.column == column)
    }

    /// The columns with these numbers, if all are inputs.
    pub fn inputs(&self, numbers: &[i32]) -> Option<Vec<Attribute>> {
        let input = |number: &i32| {
            let attribute = self.attribute(i16::try_from(*number).ok()?)?;
            attribute.column.is_input().then_some(*attribute)
        };
        numbers.iter().map(input).collect()
    }
}
