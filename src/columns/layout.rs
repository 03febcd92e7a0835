//! The columns of one foreign table, and what its rows are.

use super::{Attribute, Column};
use crate::error::{Error, TableError};
use crate::fields::{self, Field, Key, Part};
use crate::options::{OnError, Options, TableObject};
use crate::postgres::catalog;
use crate::postgres::rel::OpenRelation;
use crate::postgres::text::Text;
use pgrx::pg_sys;
use std::ffi::CStr;

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
