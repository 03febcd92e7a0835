//! Refuses UPDATE and DELETE. The message is ours, so PostgreSQL has to let them begin.

use crate::error::{Error, OrReport, StatementError};
use crate::postgres::refs::Ref;
use pgrx::{pg_guard, pg_sys};
use std::ffi::c_int;

/// Callback: the commands that can be run on a foreign table.
///
/// A statement that is about to change rows has a lock, and is refused when it begins. The views of information_schema have none, and see
/// that rows can't be changed.
///
/// # Safety
/// Called by PostgreSQL with an open relation.
#[pg_guard]
pub unsafe extern "C-unwind" fn is_foreign_rel_updatable(relation: pg_sys::Relation) -> c_int {
    // SAFETY: reads this backend's own locks.
    let is_locked =
        unsafe { pg_sys::CheckRelationLockedByMe(relation, pg_sys::RowExclusiveLock as _, true) };
    let inserts = 1 << pg_sys::CmdType::CMD_INSERT;
    match is_locked {
        true => inserts | 1 << pg_sys::CmdType::CMD_UPDATE | 1 << pg_sys::CmdType::CMD_DELETE,
        false => inserts,
    }
}

/// Errors if a statement is an UPDATE or a DELETE, before it reads a row.
///
/// # Safety
/// The node is being initialised for the relation.
pub unsafe fn refuse(
    state: *mut pg_sys::ModifyTableState,
    relation: *mut pg_sys::ResultRelInfo,
) -> Result<(), Error> {
    // SAFETY: the relation is open.
    unsafe {
        let verb = match (*state).operation {
            pg_sys::CmdType::CMD_UPDATE => "update",
            pg_sys::CmdType::CMD_DELETE => "delete from",
            _ => return Ok(()),
        };
        let open = Ref::new((*relation).ri_RelationDesc);
        Err(Error::Statement(StatementError::NoSuchRows {
            verb,
            table: open.name(),
        }))
    }
}

/// Callback: changes or deletes a row. It is not called, as the statement was refused.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn exec_foreign_change(
    _estate: *mut pg_sys::EState,
    _relation: *mut pg_sys::ResultRelInfo,
    _slot: *mut pg_sys::TupleTableSlot,
    _plan_slot: *mut pg_sys::TupleTableSlot,
) -> *mut pg_sys::TupleTableSlot {
    Err(Error::Unexpected("row of a foreign table is changed")).or_report()
}
