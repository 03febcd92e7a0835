//! Keeps Memoize away from invocations: a remembered row is an invocation that the statement asked for and did not
//! get, and whether rows are remembered depends on costs.
//!
//! The planner puts no Memoize above what is volatile, and does not know that a scan is. So the relations are
//! marked above which one could come: the scan, the partitioned table or UNION ALL that it is a part of, and each
//! subquery that holds it.

use crate::postgres::compat;
use pgrx::pg_sys;

/// Marks a scan and what holds it.
///
/// # Safety
/// `root` and `baserel` are the planner's.
pub unsafe fn forbid(root: *mut pg_sys::PlannerInfo, baserel: *mut pg_sys::RelOptInfo) {
    // SAFETY: the planner's structures.
    unsafe {
        compat::mark_volatile(baserel);
        let parents = (*baserel).top_parent_relids;
        for (place, relation) in relations(root) {
            if pg_sys::bms_is_member(place, parents) {
                compat::mark_volatile(relation);
            }
        }
        mark((*root).parent_root, pg_sys::RTEKind::RTE_SUBQUERY);
    }
}

/// Marks functions in FROM, and what holds them.
///
/// # Safety
/// `root` is the planner's or null.
pub unsafe fn forbid_for_functions(root: *mut pg_sys::PlannerInfo) {
    // SAFETY: see above.
    unsafe { mark(root, pg_sys::RTEKind::RTE_FUNCTION) };
}

/// Marks the relations of a kind in a query, and the subqueries in those around it.
unsafe fn mark(root: *mut pg_sys::PlannerInfo, kind: pg_sys::RTEKind::Type) {
    let (mut root, mut kind) = (root, kind);
    while !root.is_null() {
        // SAFETY: the planner's structures.
        unsafe {
            for (_, relation) in relations(root) {
                if (*relation).rtekind == kind {
                    compat::mark_volatile(relation);
                }
            }
            root = (*root).parent_root;
        }
        kind = pg_sys::RTEKind::RTE_SUBQUERY;
    }
}

/// The relations of a query that are there so far, with their numbers.
unsafe fn relations(
    root: *mut pg_sys::PlannerInfo,
) -> impl Iterator<Item = (i32, *mut pg_sys::RelOptInfo)> {
    // SAFETY: the array has a place for each member of the range table, null where there is no relation.
    (1..unsafe { (*root).simple_rel_array_size }).filter_map(move |place| unsafe {
        let relation = *(*root).simple_rel_array.add(place as usize);
        (!relation.is_null()).then_some((place, relation))
    })
}
