//! Refuses rows without a payload where the statement does not name the column, as a SELECT without a payload is refused.
//!
//! A NULL in a column that the statement names means that no payload is to be sent.

use crate::columns::{Column, Layout};
use crate::error::{Error, NoValueReason, StatementError};
use crate::postgres::{compat, nodes, slots};
use pgrx::pg_sys;
use std::ffi::CStr;

/// The payload's number, if an INSERT leaves the column out and the table that the statement names has no default for it.
///
/// # Safety
/// `relation` is initialised for a statement of `estate`, and has the columns of `layout`.
pub unsafe fn number(
    relation: *mut pg_sys::ResultRelInfo,
    estate: *mut pg_sys::EState,
    layout: &Layout,
) -> Option<i16> {
    let number = layout.find(Column::Payload)?.number;
    // SAFETY: INSERT, COPY and a partitioned table above have a list of columns. The relations are open.
    unsafe {
        let named = pg_sys::ExecGetInsertedCols(relation, estate);
        let member = i32::from(number) - pg_sys::FirstLowInvalidHeapAttributeNumber;
        let root = (*relation).ri_RootResultRelInfo;
        let has_default = match root.is_null() {
            true => has_default(relation),
            // A partition's default does not count, but a column that it computes does.
            false => has_default(root) || is_computed(relation),
        };
        (!has_default && !pg_sys::bms_is_member(member, named)).then_some(number)
    }
}

/// Whether the payload has a default, or is computed.
unsafe fn has_default(relation: *mut pg_sys::ResultRelInfo) -> bool {
    // SAFETY: the relation is open.
    unsafe { attribute(relation).is_some_and(|it| it.atthasdef) }
}

unsafe fn is_computed(relation: *mut pg_sys::ResultRelInfo) -> bool {
    // SAFETY: the relation is open.
    unsafe { attribute(relation).is_some_and(|it| it.attgenerated != 0) }
}

/// The column of the payload. It has the same name in a partition and in the table above.
unsafe fn attribute(relation: *mut pg_sys::ResultRelInfo) -> Option<pg_sys::FormData_pg_attribute> {
    // SAFETY: the relation is open.
    let descriptor =
        unsafe { pgrx::PgTupleDesc::from_pg_unchecked((*(*relation).ri_RelationDesc).rd_att) };
    (descriptor.iter())
        .find(|it| {
            // SAFETY: a NameData always ends in a zero byte.
            let name = unsafe { CStr::from_ptr(it.attname.data.as_ptr()) };
            !it.attisdropped && name.to_bytes() == Column::Payload.name().as_bytes()
        })
        .copied()
}

/// Errors if all rows of an INSERT are going to lack a payload. Its source was not read by then, as that may invoke.
///
/// A view may have a default for the column, and a trigger may set it.
///
/// # Safety
/// `relation` and `state` are initialised, but for what is below `state`.
pub unsafe fn refuse_all(
    payload: i16,
    relation: *mut pg_sys::ResultRelInfo,
    state: *mut pg_sys::ModifyTableState,
    layout: &Layout,
) -> Result<(), Error> {
    // SAFETY: the plan below an INSERT has a column for each of the table's. A null constant of the planner's is one in each node above.
    let lacks = unsafe {
        let triggers = (*relation).ri_TrigDesc.as_ref();
        let column = (*(*state).ps.plan).lefttree.as_ref().and_then(|plan| {
            nodes::nth::<pg_sys::TargetEntry>(plan.targetlist, payload as usize - 1)
        });
        let value = column.map(|column| (*column).expr);
        (*state).operation == pg_sys::CmdType::CMD_INSERT
            && !triggers.is_some_and(|triggers| triggers.trig_insert_before_row)
            && value.is_some_and(|value| {
                pgrx::is_a(value.cast(), pg_sys::NodeTag::T_Const)
                    && (*value.cast::<pg_sys::Const>()).constisnull
            })
    };
    match lacks {
        true => Err(error(layout)),
        false => Ok(()),
    }
}

fn error(layout: &Layout) -> Error {
    Error::Statement(StatementError::NoValue {
        columns: vec![Column::Payload.name()],
        table: layout.table.clone(),
        reason: NoValueReason::LeftOut,
        has_invoked: false,
    })
}

/// Errors if a row lacks the payload that the statement leaves out. A trigger may have set it.
///
/// # Safety
/// The slot has a row of the table, and `state` is the statement's node.
pub unsafe fn refuse(
    payload: i16,
    slot: *mut pg_sys::TupleTableSlot,
    state: *mut pg_sys::ModifyTableState,
    layout: &Layout,
) -> Result<(), Error> {
    // SAFETY: the slot has a row of the table.
    let is_null = unsafe {
        // An UPDATE moves a row to another partition that was a row before.
        let inserts = match (*state).operation {
            pg_sys::CmdType::CMD_INSERT => true,
            _ => {
                compat::merge_action(crate::postgres::refs::Ref::new(state))
                    == Some(pg_sys::CmdType::CMD_INSERT)
            }
        };
        slots::deform(slot);
        inserts && *(*slot).tts_isnull.add(payload as usize - 1)
    };
    match is_null {
        true => Err(error(layout)),
        false => Ok(()),
    }
}
