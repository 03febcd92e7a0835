//! `aws_lambda.enqueue`: the arguments of a call as a row of the queue. They are checked as those of `aws_lambda.invoke` are.

use super::arguments::{Arguments, JSON, JSONB, Signature};
use super::{inputs, own_table};
use crate::backend::config::Config;
use crate::columns::Column;
use crate::error::{Error, OrReport, StatementError};
use crate::postgres::catalog;
use crate::queue::Entry;
use pgrx::{pg_guard, pg_sys};

/// Defines functions for PostgreSQL, each with the record of its calling convention (fmgr.h).
macro_rules! functions {
    ($($name:ident $record:ident $signature:ident $kind:ident)*) => {$(
        /// Queues an invocation.
        ///
        /// # Safety
        /// Called by PostgreSQL, with the arguments of the signature and the two of every signature here.
        #[unsafe(no_mangle)]
        #[pg_guard]
        pub unsafe extern "C-unwind" fn $name(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
            // SAFETY: PostgreSQL passes the arguments of the signature.
            let arguments = unsafe { Arguments::new(call, Signature::$signature, &$kind) };
            enqueue(arguments)
                .map_err(|error| error.invoked_by(arguments.by()))
                .or_report()
        }

        /// The calling convention.
        #[unsafe(no_mangle)]
        pub extern "C" fn $record() -> &'static pg_sys::Pg_finfo_record {
            &pg_sys::Pg_finfo_record { api_version: 1 }
        }
    )*};
}

functions! {
    enqueue_structure_json pg_finfo_enqueue_structure_json Structure JSON
    enqueue_name_json pg_finfo_enqueue_name_json Name JSON
    enqueue_structure_jsonb pg_finfo_enqueue_structure_jsonb Structure JSONB
    enqueue_name_jsonb pg_finfo_enqueue_name_jsonb Name JSONB
}

/// The timestamptz that is later than any time (timestamp.h).
const INFINITY: i64 = i64::MAX;

fn enqueue(arguments: Arguments) -> Result<pg_sys::Datum, Error> {
    let table = own_table(arguments.kind);
    let config = Config::read(table, catalog::current_role())?;
    let Some(mut inputs) = inputs(arguments, &config)? else {
        arguments.call.set_is_null(true);
        return Ok(pg_sys::Datum::null());
    };
    let [not_before, name] = arguments.further();
    inputs.set(
        Column::DurableExecutionName,
        arguments.print(name, pg_sys::TEXTOID)?,
    );
    let not_before = (arguments.call.argument(not_before)).map(|time| time.value() as i64);
    if not_before == Some(INFINITY) {
        return Err(Error::Statement(StatementError::NeverDue));
    }
    let id = Entry {
        not_before,
        ..Entry::of_config(table, &config, inputs)
    }
    .insert()?;
    Ok(id.into())
}
