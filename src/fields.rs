//! Columns that are fields of the payload or of the response: what their options say.
//!
//! `columns.rs` reads the options. `rows/payload.rs` puts the payload together, and `rows/response.rs` takes the response apart.

use crate::columns::Column;
use std::fmt::{self, Display, Formatter};

/// Which document a column is a field of: the option `in`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What the function gets.
    Payload,
    /// What it answers.
    Response,
}

impl Part {
    /// The value of the option.
    pub fn name(self) -> &'static str {
        match self {
            Part::Payload => "payload",
            Part::Response => "response",
        }
    }
}

/// Most names in a key. Objects are nested as deep.
const MOST_NAMES: usize = 32;

/// The name at the beginning of a key that stands for the response as a whole.
pub const RESPONSE: &str = "$";
/// The name at the beginning of a key that stands for the element that a row is made of.
pub const ELEMENT: &str = "@";

/// Where a field is: the names of the objects that it is in, and its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// At least one. None is empty.
    pub names: Vec<String>,
}

impl Key {
    /// The key that a column's name is. A dot in it has no meaning.
    pub fn of_name(name: &str) -> Key {
        Key {
            names: vec![name.to_owned()],
        }
    }

    /// Reads names with dots between them; `None` where one is empty, or where there are too many.
    pub fn parse(text: &str) -> Option<Key> {
        let names: Vec<String> = text.split('.').map(str::to_owned).collect();
        let is_valid = names.len() <= MOST_NAMES && names.iter().all(|name| !name.is_empty());
        is_valid.then_some(Key { names })
    }

    /// Whether the key begins with the sign of the response as a whole.
    pub fn is_of_response(&self) -> bool {
        self.names.first().is_some_and(|name| name == RESPONSE)
    }

    /// Whether the key begins with a sign that stands for no field.
    pub fn is_of_document(&self) -> bool {
        let first = self.names.first();
        first.is_some_and(|name| name == RESPONSE || name == ELEMENT)
    }

    /// Whether a field at the other key is this one, or in it.
    fn holds(&self, other: &Key) -> bool {
        other.names.starts_with(&self.names)
    }
}

impl Display for Key {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.names.join("."))
    }
}

/// A column that is a field.
#[derive(Debug, Clone)]
pub struct Field {
    /// The column.
    pub column: Column,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub key: Key,
}

/// The first two fields of the payload that cannot both be there: they have the same key, or one is in the other.
pub fn conflict(fields: &[Field]) -> Option<(&Field, &Field)> {
    let payload = || {
        (fields.iter().enumerate()).filter(|(_, field)| field.column.part() == Some(Part::Payload))
    };
    payload().find_map(|(index, first)| {
        let mut others = payload().filter(|(other, _)| *other > index);
        let conflicts =
            |second: &Field| first.key.holds(&second.key) || second.key.holds(&first.key);
        let (_, second) = others.find(|(_, second)| conflicts(second))?;
        Some((first, second))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: i16, key: &str) -> Field {
        Field {
            column: Column::PayloadField(number),
            name: format!("c{number}"),
            key: Key::parse(key).unwrap(),
        }
    }

    #[test]
    fn keys() {
        let names = |text| Key::parse(text).map(|key| key.names);
        assert_eq!(names("a"), Some(vec!["a".to_owned()]));
        assert_eq!(names("a.b"), Some(vec!["a".to_owned(), "b".to_owned()]));
        for wrong in ["", ".", "a.", ".a", "a..b", &"a.".repeat(MOST_NAMES)] {
            assert_eq!(names(wrong), None);
        }
        assert!(Key::parse(&vec!["a"; MOST_NAMES].join(".")).is_some());
        assert_eq!(Key::of_name("a.b").names, ["a.b"]);
    }

    #[test]
    fn conflicts() {
        let found = |keys: &[&str]| {
            let fields: Vec<Field> = (1..).zip(keys).map(|(n, key)| field(n, key)).collect();
            conflict(&fields).map(|(a, b)| (a.name.clone(), b.name.clone()))
        };
        assert_eq!(found(&["a", "b", "c.a", "c.b", "ab"]), None);
        let both = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(found(&["a", "b", "a"]), both("c1", "c3"));
        assert_eq!(found(&["a.b", "b", "a"]), both("c1", "c3"));
        assert_eq!(found(&["x", "a", "a.b.c"]), both("c2", "c3"));
    }
}
