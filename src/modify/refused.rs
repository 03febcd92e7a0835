//! Refuses UPDATE and DELETE. The message is ours, so PostgreSQL has to let them begin.

use crate::columns::object_of;
use crate::error::{Error, OrReport, StatementError};
use crate::options::TableObject;
use crate::postgres::executor::{ModifyTableState, ResultRel};
use crate::postgres::rel::{OpenRelation, is_locked};
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
    // SAFETY: PostgreSQL has opened the relation.
    let relation = unsafe { OpenRelation::new(relation) };
    if object_of(relation.rd_id) == TableObject::Functions {
        return 0;
    }
    let is_locked = is_locked(relation, pg_sys::RowExclusiveLock as i32, true);
    let inserts = 1 << pg_sys::CmdType::CMD_INSERT;
    match is_locked {
        true => inserts | 1 << pg_sys::CmdType::CMD_UPDATE | 1 << pg_sys::CmdType::CMD_DELETE,
        false => inserts,
    }
}

/// Errors if a statement is an UPDATE or a DELETE, before it reads a row.
pub fn refuse(state: ModifyTableState, relation: ResultRel) -> Result<(), Error> {
    let verb = match state.operation {
        pg_sys::CmdType::CMD_UPDATE => "update",
        pg_sys::CmdType::CMD_DELETE => "delete from",
        _ => return Ok(()),
    };
    let table = relation.table().name();
    Err(Error::Statement(StatementError::NoSuchRows { verb, table }))
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
