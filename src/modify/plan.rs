//! Has the rows of an INSERT with RETURNING prefetched.
//!
//! PostgreSQL wants a row's returned columns before it reads the next row, so one invocation would be in flight at a time.

use crate::postgres::nodes;
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
    // SAFETY: the plan is being made; an INSERT has one subplan and its relation is locked.
    unsafe {
        let inserts = (*plan).operation == pg_sys::CmdType::CMD_INSERT;
        if !inserts
            || (*plan).returningLists.is_null()
            || nodes::length((*plan).resultRelations) != 1
        {
            return std::ptr::null_mut();
        }
        let entry = *(*root).simple_rte_array.add(relation as usize);
        let table = (*entry).relid;
        if changes_rows(table) {
            return std::ptr::null_mut();
        }
        let parameter = prefetch::new_parameter(root);
        (*plan).plan.lefttree = prefetch::wrap((*plan).plan.lefttree, parameter, table);
        nodes::integer_list([parameter])
    }
}

/// Whether a row is changed before it is inserted: by a trigger, or by generated columns.
unsafe fn changes_rows(table: pg_sys::Oid) -> bool {
    // SAFETY: the planner holds a lock on the table.
    unsafe {
        let open = pg_sys::table_open(table, pg_sys::NoLock as _);
        let triggers = (*open).trigdesc.as_ref();
        let constraints = (*(*open).rd_att).constr.as_ref();
        let changes = triggers.is_some_and(|triggers| triggers.trig_insert_before_row)
            || constraints.is_some_and(|constraints| constraints.has_generated_stored);
        pg_sys::table_close(open, pg_sys::NoLock as _);
        changes
    }
}
