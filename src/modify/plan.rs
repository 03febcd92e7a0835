//! Has the rows of an INSERT with RETURNING prefetched.
//!
//! PostgreSQL wants a row's returned columns before it reads the next row, so one invocation would be in flight at a time.

use crate::backend::config::queues_events;
use crate::columns::Layout;
use crate::error::{Error, OrReport, StatementError};
use crate::fields::Field;
use crate::postgres::expressions::columns;
use crate::postgres::list::IntList;
use crate::postgres::planner::Root;
use crate::postgres::refs::Ref;
use crate::postgres::rel;
use crate::prefetch;
use pgrx::{pg_guard, pg_sys};

/// Callback: plans an INSERT.
///
/// # Safety
/// Called by the planner, before the plan's references are set.
#[pg_guard]
pub unsafe extern "C-unwind" fn plan_foreign_modify(
    root: *mut pg_sys::PlannerInfo,
    plan: *mut pg_sys::ModifyTable,
    relation: pg_sys::Index,
    _subplan_index: std::ffi::c_int,
) -> *mut pg_sys::List {
    // SAFETY: the planner passes its structures, which live until planning ends.
    let (root, plan): (Root, Ref<pg_sys::ModifyTable>) =
        unsafe { (Ref::new(root), Ref::new(plan)) };
    refuse_elements(root, plan, relation).or_report();
    prefetch_rows(root, plan, relation).map_or(std::ptr::null_mut(), IntList::as_ptr)
}

/// Errors where RETURNING reads a field of an element, as a response may have any number of them.
fn refuse_elements(
    root: Root,
    plan: Ref<pg_sys::ModifyTable>,
    relation: pg_sys::Index,
) -> Result<(), Error> {
    if plan.returning().is_empty() {
        return Ok(());
    }
    let Some(table) = root.entry(relation as i32) else {
        return Ok(());
    };
    let layout = rel::with_locked(table.relid, Layout::read)?;
    let read = columns(plan.returning().as_node(), relation);
    let is_read = |field: &&Field| {
        let attribute = layout.find(field.column);
        attribute.is_some_and(|found| read.contains(&0) || read.contains(&found.number.into()))
    };
    match (layout.fields_of_elements()).find(is_read) {
        Some(field) => Err(Error::Statement(StatementError::ReturnsElements {
            column: field.name.clone(),
            table: layout.table.clone(),
        })),
        None => Ok(()),
    }
}

/// Has the rows of an INSERT with RETURNING prefetched. Returns the parameter of the node that does; `None` for another statement.
fn prefetch_rows<'p>(
    root: Root<'p>,
    plan: Ref<'p, pg_sys::ModifyTable>,
    relation: pg_sys::Index,
) -> Option<IntList<'p>> {
    let inserts = plan.operation == pg_sys::CmdType::CMD_INSERT;
    if !inserts || plan.returning().is_empty() || plan.relations().iter().count() != 1 {
        return None;
    }
    let table = root.entry(relation as i32)?.relid;
    if changes_rows(table) || queues_events(table) {
        return None;
    }
    let (plan, parameter) = (plan.as_plan(), root.new_parameter()?);
    plan.set_left(Some(prefetch::wrap(plan.left()?, parameter, table)));
    Some(IntList::of([parameter]))
}

/// Whether a row is changed before it is inserted: by a trigger, or by generated columns. The planner holds a lock on the table.
fn changes_rows(table: pg_sys::Oid) -> bool {
    rel::with_locked(table, |open| {
        let triggers = open.triggers();
        let constraints = open.descriptor().constraints();
        triggers.is_some_and(|triggers| triggers.trig_insert_before_row)
            || constraints.is_some_and(|constraints| constraints.has_generated_stored)
    })
}
