//! `aws_lambda.invoke`: one invocation, without a plan and a scan.
//!
//! A call does the same as a SELECT from one of the extension's own tables with a clause for each argument. The options of that
//! table hold. Functions in SQL would be planned in each call, which takes longer than the rest.
//!
//! [`arguments`] makes the arguments into inputs, and [`enqueue`] writes them to the queue instead.

mod arguments;
mod enqueue;

use crate::backend::config::Config;
use crate::columns::Column;
use crate::dispatch::{Dispatch, Outcome};
use crate::error::{CALL_CONTEXT, Error, OrReport};
use crate::lambda::request::Inputs;
use crate::options::Events;
use crate::plan::calls;
use crate::plan::estimate::INVOCATION_COST;
use crate::postgres::refs::{FromRaw, Node, Ref};
use crate::postgres::{catalog, compat, context};
use crate::queue::Entry;
use crate::rows::call_result;
use crate::settings;
use arguments::{Arguments, JSON, JSONB, Kind, Signature};
use pgrx::{pg_guard, pg_sys};

/// Defines functions for PostgreSQL, each with the record of its calling convention (fmgr.h).
macro_rules! functions {
    ($($name:ident $record:ident $signature:ident $kind:ident)*) => {$(
        /// Invokes a function.
        ///
        /// # Safety
        /// Called by PostgreSQL, with the arguments of the signature.
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
            context::with_line(CALL_CONTEXT, || {
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
    let (request, own): (Option<Node>, pg_sys::Oid) = unsafe {
        let call = Ref::new(call);
        let request = (call.argument(0)).and_then(|it| FromRaw::from_raw(it.cast_mut_ptr()));
        (request, call.function())
    };
    calls::note_support(own);
    let Some(request) = request else {
        return pg_sys::Datum::null();
    };
    if let Some(request) = request.cast::<pg_sys::SupportRequestSimplify>() {
        compat::group_after_joins(request.root());
        let instead = calls::simplify(request.root(), request.function_call());
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
        return call_result::row(&Outcome::accepted(), kind.type_oid);
    }
    let mut dispatch = Dispatch::alone(table, config);
    dispatch.note_expected(None)?;
    let handle = dispatch.invoke(Ok(inputs.into()))?;
    let outcome = dispatch.wait_for(handle)?;
    call_result::row(&outcome, kind.type_oid)
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
