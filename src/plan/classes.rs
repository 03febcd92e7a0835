//! Clauses that PostgreSQL has put into an equivalence class, and makes again for a pair of its members.

use super::{clause, infos};
use crate::columns::{Column, Layout};
use pgrx::{pg_guard, pg_sys};

/// The equalities of an input column with expressions of other relations that PostgreSQL has put into an equivalence class.
///
/// # Safety
/// All are the planner's, and equivalence classes are complete.
pub unsafe fn implied_equalities(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    layout: &Layout,
    column: Column,
) -> Vec<*mut pg_sys::RestrictInfo> {
    // SAFETY: the callback's argument lives across the call.
    unsafe {
        let mut wanted = Wanted {
            layout,
            relid: (*baserel).relid,
            column,
        };
        let clauses = pg_sys::generate_implied_equalities_for_column(
            root,
            baserel,
            Some(matches_column),
            (&raw mut wanted).cast(),
            (*baserel).lateral_referencers,
        );
        infos(clauses).collect()
    }
}

struct Wanted<'a> {
    layout: &'a Layout,
    relid: pg_sys::Index,
    column: Column,
}

/// Whether a member of an equivalence class is the wanted column.
#[pg_guard]
unsafe extern "C-unwind" fn matches_column(
    _root: *mut pg_sys::PlannerInfo,
    _rel: *mut pg_sys::RelOptInfo,
    _class: *mut pg_sys::EquivalenceClass,
    member: *mut pg_sys::EquivalenceMember,
    wanted: *mut std::ffi::c_void,
) -> bool {
    // SAFETY: the argument is the Wanted that implied_equalities passed.
    unsafe {
        let wanted = &*wanted.cast::<Wanted>();
        clause::is_column(
            wanted.relid,
            wanted.layout,
            (*member).em_expr.cast(),
            wanted.column,
        )
    }
}
