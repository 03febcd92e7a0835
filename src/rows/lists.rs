//! The list of values of each input column. An invocation has one value of each list.

use super::conditions::Conditions;
use super::payload::{InputColumns, is_of_payload};
use super::values::{self, Place, ReadyBinding, Value, Values};
use crate::columns::Column;
use crate::error::Error;
use crate::lambda::request::Inputs;
use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

/// An input column with its values.
#[derive(Clone)]
pub struct List {
    /// The column.
    pub column: Column,
    /// At least one, where anything is invoked.
    pub values: Values,
    /// The only value as it is sent, where rows do not show it. The datum is freed then, as it may have megabytes; see [`super::invocation_set`].
    pub printed: Option<Bytes>,
}

impl List {
    /// Prints a payload that is alone, and frees its datum. Copies other values that are not copies yet.
    pub fn print_or_copy(&mut self) -> Result<(), Error> {
        if let [value] = &mut self.values[..]
            && self.column == Column::Payload
        {
            self.printed = value.print()?.map(Bytes::from);
            if let Some(datum) = value.datum.take()
                && value.place == Place::Own
            {
                // SAFETY: a copy belongs to its value alone.
                unsafe { datum.free() };
            }
        }
        for value in (self.values.iter_mut()).filter(|value| value.place == Place::Elsewhere) {
            value.datum = value.datum.map(|datum| datum.copy());
            value.place = Place::Own;
        }
        Ok(())
    }
}

/// The lists of a set, which often has one.
pub type Lists = SmallVec<[List; 1]>;

/// Evaluates the values of each input column that has any.
pub fn evaluate(
    fixed: &Inputs,
    inputs: &InputColumns,
    bindings: &[ReadyBinding],
    is_shown: &dyn Fn(Column) -> bool,
    conditions: &Conditions,
) -> Result<Lists, Error> {
    let mut lists = Lists::new();
    for column in inputs.order.iter().copied() {
        let mut values = fixed
            .get(column)
            .map(|text| smallvec![Value::of_text(text)]);
        for binding in bindings.iter().filter(|binding| binding.column() == column) {
            // A condition needs the value, however large it is.
            let most = match is_of_payload(column) && !conditions.read(column) {
                true => fixed.most_payload(),
                false => usize::MAX,
            };
            let mut by = binding.evaluate(is_shown(column), most)?;
            if binding.attribute().is_required {
                by.retain(|value| !value.is_null());
            }
            values = Some(values::narrow(binding, values, by));
        }
        if let Some(values) = values {
            lists.push(List {
                column,
                values,
                printed: None,
            });
        }
    }
    Ok(lists)
}
