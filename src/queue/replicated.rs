//! Rows of a publisher's queue at a subscriber of logical replication. The publisher delivers them, so the subscriber must not: its queue
//! stays its own. A publication FOR ALL TABLES has the queue, and nothing can take it out there.

use crate::error::{Error, OrReport};
use crate::postgres::process;
use pgrx::{pg_guard, pg_sys};

/// A trigger before each change of a row, for processes that replicate. Where a subscription makes the change, it is left out.
///
/// # Safety
/// Called by PostgreSQL.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn ignore_replicated(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the context of a call is null or a node, and a trigger's is of this type.
    let row = unsafe {
        (*call)
            .context
            .cast::<pg_sys::TriggerData>()
            .as_ref()
            .filter(|data| data.type_ == pg_sys::NodeTag::T_TriggerData)
            .map(row_of)
    };
    let row = (row.ok_or(Error::Unexpected(
        "ignore_replicated is not called as a trigger",
    )))
    .or_report();
    match process::is_subscriber() {
        true => pg_sys::Datum::null(),
        false => row.into(),
    }
}

/// The row that the change leaves, or deletes.
fn row_of(data: &pg_sys::TriggerData) -> pg_sys::HeapTuple {
    match data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
        pg_sys::TRIGGER_EVENT_UPDATE => data.tg_newtuple,
        _ => data.tg_trigtuple,
    }
}

/// The calling convention.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ignore_replicated() -> &'static pg_sys::Pg_finfo_record {
    &pg_sys::Pg_finfo_record { api_version: 1 }
}
