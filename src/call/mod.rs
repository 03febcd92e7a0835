//! `aws_lambda.invoke`: one invocation, without a plan and a scan.
//!
//! A call does the same as a SELECT from one of the extension's own tables with a clause for each argument. The options of that
//! table hold. Functions in SQL would be planned in each call, which takes longer than the rest.
//!
//! [`arguments`] makes the arguments into inputs, and [`enqueue`] writes them to the queue instead.

mod arguments;
mod enqueue;

use crate::backend::config::Config;
use crate::columns::{Attribute, Column};
use crate::dispatch::{Dispatch, Outcome};
use crate::error::{Error, OrReport};
use crate::lambda::request::{Inputs, InvokeRequest};
use crate::options::{Events, OnError};
use crate::plan::calls;
use crate::plan::estimate::INVOCATION_COST;
use crate::postgres::fmgr::make_row_type;
use crate::postgres::memory_context::MemoryContext;
use crate::postgres::refs::{FromRaw, Node, Ref};
use crate::postgres::{catalog, compat, context};
use crate::queue::Entry;
use crate::rows::output;
use crate::rows::writer::Writer;
use crate::settings;
use arguments::{Arguments, JSON, JSONB, Kind, Signature};
use pgrx::{pg_guard, pg_sys};
use std::cell::OnceCell;
use std::ffi::CStr;

/// The columns of a result: what they mean, and their names where those are others.
const RESULT: [(Column, &CStr); 4] = [
    (calls::RESULT[0], c"status_code"),
    (calls::RESULT[1], c"payload"),
    (calls::RESULT[2], c"executed_version"),
    (calls::RESULT[3], c"log_result"),
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
            // Errors have the CONTEXT that they have on RDS, where the functions are in SQL.
            context::with_line(c"SQL function \"invoke\" statement 1", || {
                // SAFETY: PostgreSQL passes the arguments of the signature.
                unsafe { guarded(call, Signature::$signature, &$kind) }
            })
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
    // SAFETY: PostgreSQL passes one argument, which is a node.
    let request: Option<Node> = unsafe {
        let argument = Ref::new(call).argument(0);
        argument.and_then(|request| FromRaw::from_raw(request.cast_mut_ptr()))
    };
    let Some(request) = request else {
        return pg_sys::Datum::null();
    };
    if let Some(request) = request.cast::<pg_sys::SupportRequestSimplify>() {
        compat::group_after_joins(request.root());
        let call = request.function_call();
        let payload = call.arguments().get(1).map(Node::type_oid);
        let mut kinds = [&JSON, &JSONB].into_iter();
        let kind = kinds.find(|kind| Some(kind.type_oid) == payload);
        let instead = kind.and_then(|kind| calls::simplify(request.root(), call, kind.table));
        if let Some(instead) = instead {
            return pg_sys::Datum::from(instead.as_ptr());
        }
    } else if let Some(request) = request.cast::<pg_sys::SupportRequestCost>() {
        request.set_startup(0.0);
        request.set_per_tuple(INVOCATION_COST);
        return pg_sys::Datum::from(request.as_ptr());
    }
    // The call stays as it is.
    pg_sys::Datum::null()
}

#[pg_guard]
unsafe extern "C-unwind" fn guarded(
    call: pg_sys::FunctionCallInfo,
    signature: Signature,
    kind: &'static Kind,
) -> pg_sys::Datum {
    // SAFETY: PostgreSQL passes the arguments of the signature.
    let arguments = unsafe { Arguments::new(call, signature, kind) };
    invoke(arguments)
        .map_err(|error| error.invoked_by(arguments.by()))
        .or_report()
}

fn invoke(arguments: Arguments) -> Result<pg_sys::Datum, Error> {
    let kind = arguments.kind;
    let table = own_table(kind);
    let config = Config::read(table, catalog::current_role())?;
    let Some(inputs) = inputs(arguments, &config)? else {
        arguments.call.set_is_null(true);
        return Ok(pg_sys::Datum::null());
    };
    let events = (config.events).unwrap_or_else(|| Events::of_setting(settings::events()));
    if events == Events::Queue && inputs.is_event() {
        Entry::of_config(table, &config, inputs).insert()?;
        return write(&Outcome::accepted(), kind);
    }
    let mut dispatch = Dispatch::alone(table, config);
    dispatch.note_expected(None)?;
    let handle = match InvokeRequest::new(inputs) {
        Ok(request) => dispatch.start(request)?,
        Err(error) => dispatch.refuse(error),
    };
    let outcome = dispatch.wait_for(handle)?;
    write(&outcome, kind)
}

/// The extension's table, locked as long as the transaction lasts. The role whose rights count may read it, as for a SELECT.
fn own_table(kind: &Kind) -> pg_sys::Oid {
    let is_table = pg_sys::ObjectType::OBJECT_FOREIGN_TABLE;
    catalog::lock_readable_table(c"aws_lambda", kind.table, is_table)
}

/// The inputs that a call gives; `None` where an argument contradicts an option: a clause that does so selects nothing.
fn inputs(arguments: Arguments, config: &Config) -> Result<Option<Inputs>, Error> {
    let inputs = Inputs {
        // No argument gives it.
        tenant_id: config.fixed.tenant_id.clone(),
        ..arguments.inputs(config.fixed.max_payload)?
    };
    let contradicts = |column: &Column| {
        let fixed = config.fixed.get(*column);
        fixed.is_some() && fixed != inputs.get(*column)
    };
    if Column::INPUTS.iter().any(contradicts) {
        return Ok(None);
    }
    Ok(Some(inputs.with_row_literal_unless_fixed(&config.fixed)))
}

/// The row of an outcome.
fn write(outcome: &Outcome, kind: &Kind) -> Result<pg_sys::Datum, Error> {
    let mut writers = RESULT.map(|(column, _)| writer(column, kind));
    let mut values = [pg_sys::Datum::null(); RESULT.len()];
    let mut nulls = [true; RESULT.len()];
    // Whatever the table's option says, as none of the four columns would show a failure.
    output::write(&mut writers, outcome, OnError::Raise, |writer, datum| {
        let index = writer.attribute.number as usize - 1;
        nulls[index] = datum.is_none();
        values[index] = datum.unwrap_or(pg_sys::Datum::null());
    })?;
    let row_type = row_type(kind).as_ptr();
    // SAFETY: the values are of the columns' types.
    unsafe {
        let row = pg_sys::heap_form_tuple(row_type, values.as_mut_ptr(), nulls.as_mut_ptr());
        Ok(pg_sys::HeapTupleHeaderGetDatum((*row).t_data))
    }
}

fn writer(column: Column, kind: &Kind) -> Writer {
    let type_oid = type_of(column, kind);
    let number = RESULT.iter().position(|(known, _)| *known == column);
    let attribute = Attribute {
        number: number.unwrap_or_default() as i16 + 1,
        column,
        type_oid,
        base_type: type_oid,
        typmod: -1,
    };
    Writer::new(attribute, MemoryContext::current())
}

fn type_of(column: Column, kind: &Kind) -> pg_sys::Oid {
    match column {
        Column::StatusCode => pg_sys::INT4OID,
        Column::Response => kind.type_oid,
        _ => pg_sys::TEXTOID,
    }
}

/// The type of a result, which is registered once and kept.
fn row_type(kind: &Kind) -> Ref<'static, pg_sys::TupleDescData> {
    thread_local! {
        static KNOWN: [OnceCell<Ref<'static, pg_sys::TupleDescData>>; 2] = const {
            [OnceCell::new(), OnceCell::new()]
        };
    }
    let index = usize::from(kind.type_oid == pg_sys::JSONBOID);
    let make = || make_row_type(RESULT.map(|(column, name)| (name, type_of(column, kind))));
    KNOWN.with(|known| *known[index].get_or_init(make))
}
