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
        let mut outer = (*root).parent_root;
        while !outer.is_null() {
            for (_, relation) in relations(outer) {
                if (*relation).rtekind == pg_sys::RTEKind::RTE_SUBQUERY {
                    compat::mark_volatile(relation);
                }
            }
            outer = (*outer).parent_root;
        }
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
