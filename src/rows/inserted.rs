//! From a row that is inserted to the inputs of an invocation.

use super::values::{self, Value};
use crate::columns::{Column, Layout};
use crate::error::{Error, StatementError};
use crate::lambda::request::Inputs;
use crate::plan::clause::value_type;
use crate::postgres::slots;
use pgrx::pg_sys;

/// The invocation type of a row that names none, nor does its table.
const DEFAULT_TYPE: &str = "Event";

/// What a row holds. A null is a value that was not given, for which the table's option stands in.
///
/// Errors where the row has a value in an output column, or another than the table's option.
///
/// # Safety
/// The slot has a row of the table, whose columns are `layout`. Memory is taken from the current context.
pub unsafe fn inputs(
    layout: &Layout,
    fixed: &Inputs,
    slot: *mut pg_sys::TupleTableSlot,
) -> Result<Inputs, Error> {
    let mut inputs = fixed.clone();
    // SAFETY: the slot has a place for each column of the table.
    unsafe { slots::deform(slot) };
    for attribute in &layout.attributes {
        let place = attribute.number as usize - 1;
        // SAFETY: see above; the types of columns were checked, and are of variable length where they are inputs.
        let value = unsafe {
            if *(*slot).tts_isnull.add(place) {
                continue;
            }
            if !attribute.column.is_input() {
                return Err(Error::Statement(StatementError::OutputColumn {
                    column: attribute.column.name(),
                    table: layout.table.clone(),
                }));
            }
            let datum = *(*slot).tts_values.add(place);
            if attribute.column == Column::Payload {
                let most = fixed.most_payload();
                inputs.too_large = values::too_large(datum, value_type(attribute), most);
                if inputs.too_large.is_some() {
                    continue;
                }
            }
            let whole = values::copy(datum);
            values::print(&Value::borrowed(whole), value_type(attribute))?
        };
        match (fixed.get(attribute.column), &value) {
            (Some(fixed), Some(value)) if fixed.as_bytes() != value.as_slice() => {
                return Err(Error::Statement(StatementError::FixedColumn {
                    column: attribute.column.name(),
                    value: Inputs::word(value.clone()),
                    fixed: fixed.to_owned(),
                }));
            }
            _ => inputs.set(attribute.column, value),
        }
    }
    if inputs.invocation_type.is_none() {
        inputs.set(Column::InvocationType, Some(DEFAULT_TYPE.into()));
    }
    Ok(inputs)
}
