//! The columns of foreign tables: names, types, options, and the columns that a table has.
//!
//! `plan/clause.rs` and `rows/values.rs` bind values to input columns, and `rows/writer.rs` makes the values of output columns.

use crate::error::{Error, TableError};
use crate::fields::{self, Field, Key, Part};
use crate::options::{OnError, Options, TableObject};
use crate::postgres::catalog;
use crate::postgres::rel::OpenRelation;
use crate::postgres::text::{self, Text};
use pgrx::pg_sys;
use std::ffi::CStr;

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
    /// Whether it is a field of the payload that is NOT NULL.
    pub is_required: bool,
}

impl Attribute {
    /// An example of a clause that gives it a value, for an error. `name` is the column's.
    pub fn example(&self, name: &str) -> String {
        if self.column.part().is_some() {
            return format!("{name} = $1");
        }
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

    /// Reads an attribute, and its field if it is one; `None` for a virtual column, which PostgreSQL computes from the others.
    fn read(
        attribute: &pg_sys::FormData_pg_attribute,
        table: &str,
        object: TableObject,
    ) -> Result<Option<(Attribute, Option<Field>)>, Error> {
        let name = text::name(&attribute.attname).to_bytes();
        let field = match object {
            TableObject::Invocations => read_field(attribute, table)?,
            TableObject::Functions => None,
        };
        let known = match &field {
            Some(field) => Some(field.column),
            None => Column::all(object).find(|column| column.name().as_bytes() == name),
        };
        let generated = attribute.attgenerated as u8;
        if let Some(column) = known
            && generated == if column.is_input() { VIRTUAL } else { STORED }
        {
            return Err(Error::Table(TableError::GeneratedColumn {
                column: Text::of_server(name).shown(),
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
        if field.is_none() {
            let (types, allowed) = column.allowed_types();
            if !types.contains(&base_type) {
                return Err(Error::Table(TableError::ColumnType {
                    column: column.name(),
                    table: table.to_owned(),
                    found: text::shown(catalog::type_name(attribute.atttypid)),
                    allowed,
                }));
            }
        }
        let attribute = Attribute {
            number: attribute.attnum,
            column,
            type_oid: attribute.atttypid,
            base_type,
            typmod: attribute.atttypmod,
            is_required: attribute.attnotnull && column.part() == Some(Part::Payload),
        };
        Ok(Some((attribute, field)))
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

/// Reads the options of a column; `None` where it has none. A column with the option `in` is a field, whatever its name.
fn read_field(
    attribute: &pg_sys::FormData_pg_attribute,
    table: &str,
) -> Result<Option<Field>, Error> {
    let number = attribute.attnum;
    let list = catalog::column_options(attribute.attrelid, number);
    if list.is_empty() {
        return Ok(None);
    }
    let options = Options::of_list(list);
    let Some(part) = options.part else {
        return Ok(None);
    };
    let name = Text::of_server(text::name(&attribute.attname).to_bytes()).shown();
    let key = options.key.unwrap_or_else(|| Key::of_name(&name));
    let column = match part {
        Part::Payload => Column::PayloadField(number),
        Part::Response => Column::ResponseField(number),
    };
    if part == Part::Payload && key.is_of_document() {
        return Err(Error::Table(TableError::KeyOfPayload {
            column: name,
            table: table.to_owned(),
            key: key.to_string(),
        }));
    }
    Ok(Some(Field { column, name, key }))
}

/// The columns of one foreign table.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Every column that is not dropped and not virtual.
    pub attributes: Vec<Attribute>,
    /// Those that are fields.
    pub fields: Vec<Field>,
    /// The array that has an element for each row, in the response, where the table has the option `rows`.
    pub rows: Option<Key>,
    /// The foreign table's name.
    pub table: String,
    /// What its rows are.
    pub object: TableObject,
}

impl Layout {
    /// Reads the columns of an open foreign table.
    ///
    /// Errors with a [`TableError`] where the definition is invalid.
    pub fn read(relation: OpenRelation) -> Result<Layout, Error> {
        let table = relation.name();
        let object = object_of(relation.rd_id);
        let mut attributes = Vec::with_capacity(relation.descriptor().natts.max(0) as usize);
        let mut fields = Vec::new();
        for attribute in relation.columns() {
            if let Some((attribute, field)) = Attribute::read(&attribute, &table, object)? {
                attributes.push(attribute);
                fields.extend(field);
            }
        }
        if let Some((first, second)) = fields::conflict(&fields) {
            return Err(Error::Table(TableError::KeyConflict {
                columns: [first, second].map(|field| field.name.clone()),
                keys: [first, second].map(|field| field.key.to_string()),
                table,
            }));
        }
        let has_response = (fields.iter()).any(|field| field.column.part() == Some(Part::Response));
        let rows = match has_response {
            true => Options::of_list(catalog::foreign_table(relation.rd_id).options()).rows,
            false => None,
        };
        Ok(Layout {
            attributes,
            fields,
            rows,
            table,
            object,
        })
    }

    /// Whether the rows are functions.
    pub fn is_of_functions(&self) -> bool {
        self.object == TableObject::Functions
    }

    /// Errors with [`TableError::RowsWithoutFields`] where the table has the option `rows`, and no column that a row could fill.
    pub fn check_rows(&self, options: &Options) -> Result<(), Error> {
        match options.rows.is_some() && self.rows.is_none() {
            true => Err(Error::Table(TableError::RowsWithoutFields {
                table: self.table.clone(),
            })),
            false => Ok(()),
        }
    }

    /// The field that a column is.
    pub fn field(&self, column: Column) -> Option<&Field> {
        self.fields.iter().find(|field| field.column == column)
    }

    /// The name of a column.
    pub fn name(&self, column: Column) -> &str {
        self.field(column)
            .map_or(column.name(), |field| field.name.as_str())
    }

    /// Every input column in the order of a product of lists, whether or not the table has it.
    pub fn inputs_in_order(&self) -> impl Iterator<Item = Column> {
        let fields = self.fields.iter().map(|field| field.column);
        (Column::INPUTS.into_iter()).chain(fields.filter(|column| column.is_input()))
    }

    /// The fields of the elements that rows are made of; none where a response is one row.
    pub fn fields_of_elements(&self) -> impl Iterator<Item = &Field> {
        let is_of_element = |field: &&Field| {
            field.column.part() == Some(Part::Response) && !field.key.is_of_response()
        };
        (self.fields.iter().filter(|_| self.rows.is_some())).filter(is_of_element)
    }

    /// Whether the payload is made of fields.
    pub fn has_payload_fields(&self) -> bool {
        (self.fields.iter()).any(|field| field.column.part() == Some(Part::Payload))
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
