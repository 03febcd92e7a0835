//! The list of values of each input column. An invocation has one value of each list.

use super::conditions::Conditions;
use super::values::{self, Value};
use crate::columns::Column;
use crate::error::Error;
use crate::lambda::request::Inputs;
use crate::plan::clause::{Binding, value_type};
use bytes::Bytes;
use pgrx::pg_sys;

/// An input column with its values.
#[derive(Clone)]
pub struct List {
    /// The column.
    pub column: Column,
    /// The type of the values: text or jsonb.
    pub value_type: pg_sys::Oid,
    /// At least one, where anything is invoked.
    pub values: Vec<Value>,
    /// The only value as it is sent, where rows do not show it. The datum is freed then, as it may have megabytes.
    pub printed: Option<Bytes>,
}

impl List {
    /// Prints a value that is alone, and frees its datum. Copies several values that are not copies yet.
    ///
    /// # Safety
    /// The values are of the list's type, and in memory.
    pub unsafe fn print_or_copy(&mut self) -> Result<(), Error> {
        // SAFETY: the values are of the list's type. A copy belongs to its value alone.
        unsafe {
            if let [value] = &mut self.values[..] {
                self.printed = values::print(value, self.value_type)?.map(Bytes::from);
                if let Some(datum) = value.datum.take()
                    && value.is_copy
                {
                    pg_sys::pfree(datum.cast_mut_ptr());
                }
            }
            for value in self.values.iter_mut().filter(|value| !value.is_copy) {
                value.datum = value.datum.map(|datum| values::copy(datum));
                value.is_copy = true;
            }
        }
        Ok(())
    }
}

/// Evaluates the values of each input column that has any.
///
/// # Safety
/// `states` are the initialised expressions of the bindings, and `econtext` is theirs.
pub unsafe fn evaluate(
    fixed: &Inputs,
    bindings: &[Binding],
    states: &[*mut pg_sys::ExprState],
    econtext: *mut pg_sys::ExprContext,
    is_shown: &dyn Fn(Column) -> bool,
    conditions: &Conditions,
) -> Result<Vec<List>, Error> {
    let mut lists = Vec::new();
    for column in Column::INPUTS {
        let mut values = fixed.get(column).map(|text| vec![values::from_text(text)]);
        let mut kept_type = pg_sys::TEXTOID;
        for (binding, state) in bindings.iter().zip(states) {
            if binding.attribute.column == column {
                kept_type = value_type(&binding.attribute);
                // A condition needs the value, however large it is.
                let most = match column == Column::Payload && !conditions.read(column) {
                    true => fixed.most_payload(),
                    false => usize::MAX,
                };
                // SAFETY: the state is that of the binding.
                let by =
                    unsafe { values::evaluate(binding, *state, econtext, is_shown(column), most)? };
                values = Some(values::narrow(binding, values, by));
            }
        }
        if let Some(values) = values {
            lists.push(List {
                column,
                value_type: kept_type,
                values,
                printed: None,
            });
        }
    }
    Ok(lists)
}
