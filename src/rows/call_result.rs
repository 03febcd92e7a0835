//! The row that `aws_lambda.invoke` returns, made of an outcome.

use super::invocation_columns;
use super::writer::Writer;
use crate::columns::{Attribute, Column};
use crate::dispatch::Outcome;
use crate::error::Error;
use crate::options::OnError;
use crate::plan::calls;
use crate::postgres::fmgr::make_row_type;
use crate::postgres::memory_context::MemoryContext;
use crate::postgres::refs::Ref;
use pgrx::pg_sys;
use std::cell::OnceCell;
use std::ffi::CStr;

/// The columns of a result: what they mean, and their names where those are others.
const RESULT: [(Column, &CStr); 4] = [
    (calls::RESULT[0], c"status_code"),
    (calls::RESULT[1], c"payload"),
    (calls::RESULT[2], c"executed_version"),
    (calls::RESULT[3], c"log_result"),
];

/// The row of an outcome, in the current memory context. `json_type` is json or jsonb.
pub fn row(outcome: &Outcome, json_type: pg_sys::Oid) -> Result<pg_sys::Datum, Error> {
    let mut writers = RESULT.map(|(column, _)| writer(column, json_type));
    let mut values = [pg_sys::Datum::null(); RESULT.len()];
    let mut nulls = [true; RESULT.len()];
    // Whatever the table's option says, as none of the four columns would show a failure.
    invocation_columns::write(&mut writers, outcome, OnError::Raise, |number, datum| {
        let index = number as usize - 1;
        nulls[index] = datum.is_none();
        values[index] = datum.unwrap_or(pg_sys::Datum::null());
    })?;
    let row_type = row_type(json_type).as_ptr();
    // SAFETY: the values are of the columns' types.
    unsafe {
        let row = pg_sys::heap_form_tuple(row_type, values.as_mut_ptr(), nulls.as_mut_ptr());
        Ok(pg_sys::HeapTupleHeaderGetDatum((*row).t_data))
    }
}

fn writer(column: Column, json_type: pg_sys::Oid) -> Writer {
    let type_oid = type_of(column, json_type);
    let number = RESULT.iter().position(|(known, _)| *known == column);
    let attribute = Attribute {
        number: number.unwrap_or_default() as i16 + 1,
        column,
        type_oid,
        base_type: type_oid,
        typmod: -1,
        is_required: false,
    };
    Writer::new(attribute, MemoryContext::current())
}

fn type_of(column: Column, json_type: pg_sys::Oid) -> pg_sys::Oid {
    match column {
        Column::StatusCode => pg_sys::INT4OID,
        Column::Response => json_type,
        _ => pg_sys::TEXTOID,
    }
}

/// The type of a result, which is registered once and kept.
fn row_type(json_type: pg_sys::Oid) -> Ref<'static, pg_sys::TupleDescData> {
    thread_local! {
        static KNOWN: [OnceCell<Ref<'static, pg_sys::TupleDescData>>; 2] = const {
            [OnceCell::new(), OnceCell::new()]
        };
    }
    let index = usize::from(json_type == pg_sys::JSONBOID);
    let make = || make_row_type(RESULT.map(|(column, name)| (name, type_of(column, json_type))));
    KNOWN.with(|known| *known[index].get_or_init(make))
}
