//! `aws_lambda.invoke`: one invocation, without a plan and a scan.
//!
//! A call does the same as a SELECT from one of the extension's own tables with a clause for each argument. The options of that
//! table hold. Functions in SQL would be planned in each call, which takes longer than the rest.
//!
//! [`arguments`] makes the arguments into inputs.

mod arguments;

use crate::backend::config::Config;
use crate::columns::{Attribute, Column};
use crate::dispatch::Dispatch;
use crate::error::{Error, OrReport};
use crate::lambda::request::{Inputs, InvokeRequest};
use crate::options::OnError;
use crate::plan::estimate::INVOCATION_COST;
use crate::postgres::{compat, context};
use crate::rows::output;
use crate::rows::writer::Writer;
use arguments::{Arguments, JSON, JSONB, Kind, Signature, by};
use pgrx::{is_a, pg_guard, pg_sys};
use std::cell::Cell;
use std::ffi::CStr;

/// The columns of a result: what they mean, and their names where those are others.
const RESULT: [(Column, &CStr); 4] = [
    (Column::StatusCode, c"status_code"),
    (Column::Response, c"payload"),
    (Column::ExecutedVersion, c"executed_version"),
    (Column::LogResult, c"log_result"),
];

/// Defines functions for PostgreSQL, each with the record of its calling convention (fmgr.h).
macro_rules! functions {
    ($($name:ident $record:ident $signature:ident $kind:ident)*) => {$(
        /// Invokes a function.
        ///
        /// # Safety
        /// Called by PostgreSQL, with the arguments of the signature.
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
            // SAFETY: the arguments are those of the signature.
            unsafe { in_context(call, Signature::$signature, &$kind) }
        }

        /// The calling convention.
        #[unsafe(no_mangle)]
        pub extern "C" fn $record() -> &'static pg_sys::Pg_finfo_record {
            &pg_sys::Pg_finfo_record { api_version: 1 }
        }
    )*};
}

functions! {
    invoke_structure_json pg_finfo_invoke_structure_json Structure JSON
    invoke_name_json pg_finfo_invoke_name_json Name JSON
    invoke_either_json pg_finfo_invoke_either_json Either JSON
    invoke_structure_jsonb pg_finfo_invoke_structure_jsonb Structure JSONB
    invoke_name_jsonb pg_finfo_invoke_name_jsonb Name JSONB
    invoke_either_jsonb pg_finfo_invoke_either_jsonb Either JSONB
}

/// The calling convention.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_invoke_support() -> &'static pg_sys::Pg_finfo_record {
    &pg_sys::Pg_finfo_record { api_version: 1 }
}

/// The planner support function of all of these. A call of it loads the library, and with it the session's settings. It
/// forbids grouping before a join, which would make one call of equal rows. It returns the cost of a call, which is that of a table's
/// invocation.
///
/// # Safety
/// Called by PostgreSQL, with a request (supportnodes.h).
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn invoke_support(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the one argument is a node; the cast follows its tag.
    unsafe {
        let request = (*call).args.as_slice(1)[0].value.cast_mut_ptr();
        if is_a(request, pg_sys::NodeTag::T_SupportRequestSimplify) {
            let request = &*request.cast::<pg_sys::SupportRequestSimplify>();
            compat::group_after_joins(request.root);
        } else if is_a(request, pg_sys::NodeTag::T_SupportRequestCost) {
            let request = &mut *request.cast::<pg_sys::SupportRequestCost>();
            request.startup = 0.0;
            request.per_tuple = INVOCATION_COST;
            return pg_sys::Datum::from(&raw mut *request);
        }
        // A call is not simplified.
        pg_sys::Datum::null()
    }
}

/// Invokes with the CONTEXT that errors have on RDS, where the functions are in SQL. PostgreSQL's errors jump over this function, which has
/// nothing to drop.
unsafe fn in_context(
    call: pg_sys::FunctionCallInfo,
    signature: Signature,
    kind: &'static Kind,
) -> pg_sys::Datum {
    // SAFETY: the callback is removed before its memory goes (elog.h).
    unsafe {
        let mut context_callback = pg_sys::ErrorContextCallback {
            previous: pg_sys::error_context_stack,
            callback: Some(add_context),
            arg: std::ptr::null_mut(),
        };
        pg_sys::error_context_stack = &mut context_callback;
        let row = guarded(call, signature, kind);
        pg_sys::error_context_stack = context_callback.previous;
        row
    }
}

unsafe extern "C-unwind" fn add_context(_arg: *mut std::ffi::c_void) {
    // SAFETY: called while an error is put together.
    unsafe { context::errcontext_msg(c"SQL function \"invoke\" statement 1".as_ptr()) };
}

#[pg_guard]
unsafe extern "C-unwind" fn guarded(
    call: pg_sys::FunctionCallInfo,
    signature: Signature,
    kind: &'static Kind,
) -> pg_sys::Datum {
    // SAFETY: the arguments are those of the signature.
    unsafe {
        invoke(call, signature, kind).map_err(|error| error.invoked_by(by(call, signature, kind)))
    }
    .or_report()
}

unsafe fn invoke(
    call: pg_sys::FunctionCallInfo,
    signature: Signature,
    kind: &Kind,
) -> Result<pg_sys::Datum, Error> {
    // SAFETY: the arguments are those of the signature, and what they are made into is used before the call ends.
    unsafe {
        let table = own_table(kind);
        let config = Config::read(table, pg_sys::GetUserId())?;
        let inputs = Inputs {
            // No argument gives it.
            tenant_id: config.fixed.tenant_id.clone(),
            ..Arguments { call, kind }.inputs(signature, config.fixed.max_payload)?
        };
        // A clause that contradicts an option selects nothing.
        let contradicts = |column: &Column| {
            let fixed = config.fixed.get(*column);
            fixed.is_some() && fixed != inputs.get(*column)
        };
        if Column::INPUTS.iter().any(contradicts) {
            (*call).isnull = true;
            return Ok(pg_sys::Datum::null());
        }
        let inputs = inputs.with_row_literal_unless_fixed(&config.fixed);
        let mut dispatch = Dispatch::alone(table, config);
        dispatch.note_expected(None)?;
        let handle = match InvokeRequest::new(inputs) {
            Ok(request) => dispatch.start(request)?,
            Err(error) => dispatch.refuse(error),
        };
        let outcome = dispatch.wait_for(handle)?;
        let mut writers = RESULT.map(|(column, _)| writer(column, kind));
        let mut values = [pg_sys::Datum::null(); RESULT.len()];
        let mut nulls = [true; RESULT.len()];
        // Whatever the table's option says, as none of the four columns would show a failure.
        output::write(&mut writers, &outcome, OnError::Raise, |writer, datum| {
            let index = writer.attribute.number as usize - 1;
            nulls[index] = datum.is_none();
            values[index] = datum.unwrap_or(pg_sys::Datum::null());
        })?;
        let row =
            pg_sys::heap_form_tuple(descriptor(kind), values.as_mut_ptr(), nulls.as_mut_ptr());
        Ok(pg_sys::HeapTupleHeaderGetDatum((*row).t_data))
    }
}

/// The extension's table, locked as long as the transaction lasts. The role whose rights count may read it, as for a SELECT.
unsafe fn own_table(kind: &Kind) -> pg_sys::Oid {
    // SAFETY: catalog look-ups, and PostgreSQL's own errors if there is no such table or it may not be read.
    unsafe {
        let schema = c"aws_lambda".as_ptr().cast_mut();
        let name = kind.table.as_ptr().cast_mut();
        let range = pg_sys::makeRangeVar(schema, name, -1);
        let lock = pg_sys::AccessShareLock as _;
        let table = pg_sys::RangeVarGetRelidExtended(range, lock, 0, None, std::ptr::null_mut());
        let allowed =
            pg_sys::pg_class_aclcheck(table, pg_sys::GetUserId(), pg_sys::ACL_SELECT as _);
        if allowed != pg_sys::AclResult::ACLCHECK_OK {
            pg_sys::aclcheck_error(allowed, pg_sys::ObjectType::OBJECT_FOREIGN_TABLE, name);
        }
        table
    }
}

unsafe fn writer(column: Column, kind: &Kind) -> Writer {
    let type_oid = type_of(column, kind);
    let number = RESULT.iter().position(|(known, _)| *known == column);
    let attribute = Attribute {
        number: number.unwrap_or_default() as i16 + 1,
        column,
        type_oid,
        base_type: type_oid,
        typmod: -1,
    };
    // SAFETY: the writer is used during the call.
    unsafe { Writer::new(attribute, pg_sys::CurrentMemoryContext) }
}

fn type_of(column: Column, kind: &Kind) -> pg_sys::Oid {
    match column {
        Column::StatusCode => pg_sys::INT4OID,
        Column::Response => kind.type_oid,
        _ => pg_sys::TEXTOID,
    }
}

/// The type of a result, which is registered once and kept.
unsafe fn descriptor(kind: &Kind) -> pg_sys::TupleDesc {
    thread_local! {
        static KNOWN: [Cell<pg_sys::TupleDesc>; 2] = const {
            [Cell::new(std::ptr::null_mut()), Cell::new(std::ptr::null_mut())]
        };
    }
    let index = usize::from(kind.type_oid == pg_sys::JSONBOID);
    let known = KNOWN.with(|known| known[index].get());
    if !known.is_null() {
        return known;
    }
    // SAFETY: made in memory that is there as long as the backend.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let made = pg_sys::CreateTemplateTupleDesc(RESULT.len() as _);
        for (position, (column, name)) in RESULT.iter().enumerate() {
            let number = position as i16 + 1;
            pg_sys::TupleDescInitEntry(made, number, name.as_ptr(), type_of(*column, kind), -1, 0);
        }
        let made = pg_sys::BlessTupleDesc(made);
        pg_sys::MemoryContextSwitchTo(before);
        KNOWN.with(|known| known[index].set(made));
        made
    }
}
