//! The input columns of a table, and the payload that is made of those that are fields of it.
//!
//! The payload is the text of the jsonb that `jsonb_build_object` makes of the same values. So it has the order of jsonb's names.

use super::values::Value;
use crate::columns::{Column, Layout};
use crate::error::Error;
use crate::fields::Part;
use crate::memory;
use crate::postgres::jsonb::ToJsonb;
use crate::postgres::memory_context::MemoryContext;
use bytes::Bytes;
use std::cell::RefCell;

/// The input columns of a table.
pub struct InputColumns {
    /// All of them, in the order of a product of lists.
    pub order: Vec<Column>,
    /// The payload and its fields, as far as rows show their values.
    shown: Vec<Column>,
    /// The members of the payload; `None` where it is not made of fields.
    payload: Option<Vec<Member>>,
    /// One for each field.
    printers: RefCell<Vec<(Column, ToJsonb)>>,
    /// Holds what PostgreSQL allocates while values are printed.
    context: MemoryContext<'static>,
}

/// A member of an object.
struct Member {
    name: String,
    /// The name as JSON.
    printed: Vec<u8>,
    value: MemberValue,
}

impl Member {
    fn new(name: &str, value: MemberValue) -> Member {
        let printed = serde_json::Value::from(name).to_string();
        Member {
            name: name.to_owned(),
            printed: printed.into_bytes(),
            value,
        }
    }
}

enum MemberValue {
    Field(Column),
    Object(Vec<Member>),
}

/// The fields of one payload, each printed.
pub type PrintedFields = Vec<(Column, Vec<u8>)>;

impl InputColumns {
    /// Those of a table, whose rows show the columns for which `is_read` is true. It is not used after `context` is deleted.
    pub fn new(
        layout: &Layout,
        is_read: impl Fn(i16) -> bool,
        context: MemoryContext<'static>,
    ) -> InputColumns {
        let mut members = Vec::new();
        let mut printers = Vec::new();
        for field in &layout.fields {
            if field.column.part() != Some(Part::Payload) {
                continue;
            }
            add(&mut members, &field.key.names, field.column);
            if let Some(attribute) = layout.find(field.column) {
                // A varchar's values are text, and to_jsonb prints both alike. Those of json are text, and are printed as json.
                let printer = ToJsonb::new(attribute.base_type, context);
                printers.push((field.column, printer));
            }
        }
        sort(&mut members);
        InputColumns {
            order: (layout.inputs_in_order())
                .filter(|column| layout.find(*column).is_some())
                .collect(),
            shown: (layout.attributes.iter())
                .filter(|attribute| is_read(attribute.number))
                .map(|attribute| attribute.column)
                .collect(),
            payload: (!members.is_empty()).then_some(members),
            printers: RefCell::new(printers),
            context: context.child(),
        }
    }

    /// Whether rows show the value of a column. Values beside the payload are small, and always there.
    pub fn is_shown(&self, column: Column) -> bool {
        !is_of_payload(column) || self.shown.contains(&column)
    }

    /// Prints values, and frees what PostgreSQL has allocated for that. Many may be printed before there is a row.
    pub fn printing<T>(&self, print: impl FnOnce() -> T) -> T {
        let printed = self.context.switch_to(print);
        // SAFETY: what is printed is a copy.
        unsafe { self.context.reset() };
        printed
    }

    /// A field's value as JSON, in UTF-8.
    pub fn print(&self, column: Column, value: &Value) -> Result<Vec<u8>, Error> {
        let Some(datum) = value.datum else {
            return Ok(b"null".to_vec());
        };
        let mut printers = self.printers.borrow_mut();
        let printer = printers.iter_mut().find(|(known, _)| *known == column);
        let (_, printer) = printer.ok_or(Error::Unexpected("field cannot be printed"))?;
        printer.call(datum).print()
    }

    /// The payload; `None` where it is not made of fields. A field that is not given is left out, and so is an object without fields. Arguments
    /// are an array of the fields, in the order of the columns, with a null for one that is not given.
    pub fn payload(
        &self,
        fields: &PrintedFields,
        are_arguments: bool,
    ) -> Result<Option<Bytes>, Error> {
        let Some(members) = &self.payload else {
            return Ok(None);
        };
        let names: usize = self.printers.borrow().len() * NAMES_OF_FIELD;
        let length = fields.iter().map(|(_, value)| value.len()).sum::<usize>() + names;
        let mut text = Vec::new();
        memory::try_reserve(&mut text, length).map_err(|()| Error::OutOfMemory {
            what: "payload",
            bytes: length,
        })?;
        if are_arguments {
            let columns = self.printers.borrow();
            write_arguments(columns.iter().map(|(column, _)| *column), fields, &mut text);
        } else if !write(members, fields, &mut text) {
            text.extend(b"{}");
        }
        Ok(Some(Bytes::from(text)))
    }
}

/// Whether a column is the payload or a field of it.
pub fn is_of_payload(column: Column) -> bool {
    column == Column::Payload || column.part().is_some()
}

/// Bytes that the names of a field take, mostly.
const NAMES_OF_FIELD: usize = 128;

/// Adds a field to the members of an object.
fn add(members: &mut Vec<Member>, names: &[String], column: Column) {
    let Some((name, rest)) = names.split_first() else {
        return;
    };
    if rest.is_empty() {
        members.push(Member::new(name, MemberValue::Field(column)));
        return;
    }
    let known = members.iter().position(|member| member.name == *name);
    let index = known.unwrap_or_else(|| {
        members.push(Member::new(name, MemberValue::Object(Vec::new())));
        members.len() - 1
    });
    if let MemberValue::Object(members) = &mut members[index].value {
        add(members, rest, column);
    }
}

/// Sorts the members as jsonb does: by the length of the name, then by its bytes.
fn sort(members: &mut [Member]) {
    members.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
    for member in members {
        if let MemberValue::Object(members) = &mut member.value {
            sort(members);
        }
    }
}

/// Writes an object. False, and nothing is written, where it has no member with a value.
fn write(members: &[Member], fields: &PrintedFields, text: &mut Vec<u8>) -> bool {
    let start = text.len();
    let mut is_empty = true;
    for member in members {
        let before = text.len();
        text.extend(if is_empty { &b"{"[..] } else { b", " });
        text.extend(&member.printed);
        text.extend(b": ");
        let is_written = match &member.value {
            MemberValue::Object(members) => write(members, fields, text),
            MemberValue::Field(column) => {
                let value = fields.iter().find(|(known, _)| known == column);
                text.extend(value.map_or(&b""[..], |(_, value)| value));
                value.is_some()
            }
        };
        match is_written {
            true => is_empty = false,
            false => text.truncate(before),
        }
    }
    match is_empty {
        true => text.truncate(start),
        false => text.push(b'}'),
    }
    !is_empty
}

/// Writes the values of columns as an array.
fn write_arguments(
    columns: impl Iterator<Item = Column>,
    fields: &PrintedFields,
    text: &mut Vec<u8>,
) {
    text.push(b'[');
    for (index, column) in columns.enumerate() {
        if index > 0 {
            text.push(b',');
        }
        let value = fields.iter().find(|(known, _)| *known == column);
        text.extend(value.map_or(&b"null"[..], |(_, value)| value));
    }
    text.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(keys: &[&str], given: &[(i16, &str)]) -> String {
        let mut members = Vec::new();
        for (number, key) in (1..).zip(keys) {
            let names: Vec<String> = key.split('.').map(str::to_owned).collect();
            add(&mut members, &names, Column::PayloadField(number));
        }
        sort(&mut members);
        let fields = (given.iter())
            .map(|(number, value)| (Column::PayloadField(*number), value.as_bytes().to_vec()))
            .collect();
        let mut text = Vec::new();
        let is_written = write(&members, &fields, &mut text);
        assert_eq!(is_written, !text.is_empty());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn has_the_order_of_jsonb() {
        let keys = ["zz", "b", "a", "o.y", "o.x.z", "o.x.\"q"];
        let all: Vec<(i16, &str)> = (1..).zip(["1", "2", "3", "4", "5", "6"]).collect();
        assert_eq!(
            payload(&keys, &all),
            r#"{"a": 3, "b": 2, "o": {"x": {"z": 5, "\"q": 6}, "y": 4}, "zz": 1}"#
        );
    }

    #[test]
    fn leaves_out_what_is_not_given() {
        let keys = ["a", "b.c", "b.d.e", "f"];
        assert_eq!(payload(&keys, &[]), "");
        assert_eq!(payload(&keys, &[(4, "null")]), r#"{"f": null}"#);
        assert_eq!(payload(&keys, &[(3, "7")]), r#"{"b": {"d": {"e": 7}}}"#);
        assert_eq!(
            payload(&keys, &[(1, "1"), (2, "2")]),
            r#"{"a": 1, "b": {"c": 2}}"#
        );
    }
}
