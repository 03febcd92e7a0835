//! A column that a foreign table has: what it is, by its name or its options, and its type.

use super::Column;
use crate::error::{Error, TableError};
use crate::fields::{Field, Key, Part};
use crate::options::{Options, TableObject};
use crate::postgres::catalog;
use crate::postgres::text::{self, Text};
use pgrx::pg_sys;

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
    pub(super) fn read(
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
