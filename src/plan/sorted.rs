//! Rows are sorted before they invoke, where a query has their order and may not want all of them.
//!
//! PostgreSQL sorts above a join, which has then invoked for all rows, unless the rows come in their order anyway, as from an index. Here each
//! nested loop above invocations is offered once more with its outer side sorted. A LIMIT, a cursor, a window's top rows, DISTINCT and
//! GROUP BY then choose it by its costs.

use super::memoize;
use super::paths::AVOIDED_COST;
use crate::postgres::{compat, nodes};
use pgrx::pg_sys;

/// Offers the nested loops of a join with sorted outer sides.
///
/// # Safety
/// All are the planner's, with which it calls the hook for the paths of a join.
pub unsafe fn sort_before(hook: &compat::JoinHook) {
    use pg_sys::JoinType::{JOIN_ANTI, JOIN_INNER, JOIN_LEFT, JOIN_SEMI};
    let compat::JoinHook {
        root,
        joinrel,
        outerrel,
        innerrel,
        jointype,
        ..
    } = *hook;
    // SAFETY: see above. A new path may remove others from the list, so it is walked before.
    unsafe {
        if !matches!(jointype, JOIN_INNER | JOIN_LEFT | JOIN_SEMI | JOIN_ANTI)
            || !may_end_early(root)
        {
            return;
        }
        let keys: Vec<*mut pg_sys::PathKey> = nodes::pointers((*root).query_pathkeys)
            .take_while(|key: &*mut pg_sys::PathKey| {
                let class = (**key).pk_eclass;
                pg_sys::relation_can_be_sorted_early(root, outerrel, class, false)
                    && !has_subquery(class)
            })
            .collect();
        if keys.is_empty() || !memoize::is_marked(innerrel) {
            return;
        }
        let keys = nodes::list(&keys);
        let unsorted: Vec<_> = nodes::pointers::<pg_sys::Path>((*joinrel).pathlist)
            .filter(|path| {
                pgrx::is_a((*path).cast(), pg_sys::NodeTag::T_NestPath)
                    && (**path).param_info.is_null()
                    && (**path).total_cost < AVOIDED_COST
            })
            .map(|path| {
                let join = &*path.cast::<pg_sys::JoinPath>();
                (join.outerjoinpath, join.innerjoinpath)
            })
            .filter(|(outer, inner)| {
                (**outer).parent == outerrel
                    && (**inner).parent == innerrel
                    && !pg_sys::pathkeys_contained_in(keys, (**outer).pathkeys)
            })
            .collect();
        for (outer, inner) in unsorted {
            let sorted = pg_sys::create_sort_path(root, outerrel, outer, keys, -1.0);
            if (*innerrel).rtekind == pg_sys::RTEKind::RTE_FUNCTION {
                // PostgreSQL counts one call of a function in FROM for however many rows. What the others cost is more than the sort.
                (*sorted).path.startup_cost = (*outer).startup_cost;
                (*sorted).path.total_cost = (*outer).total_cost;
            }
            let join = compat::create_nestloop_path(hook, jointype, sorted.cast(), inner);
            (*join).pathkeys = pg_sys::build_join_pathkeys(root, joinrel, jointype, keys);
            pg_sys::add_path(joinrel, join);
        }
    }
}

/// Whether what is sorted by has a subquery, which may invoke. It would run for the sort and for the select list.
unsafe fn has_subquery(class: *mut pg_sys::EquivalenceClass) -> bool {
    // SAFETY: the planner's structures.
    unsafe {
        nodes::pointers::<pg_sys::EquivalenceMember>((*class).ec_members)
            .any(|member| pg_sys::contain_subplans((*member).em_expr.cast()))
    }
}

/// Whether a query may not want all rows.
unsafe fn may_end_early(root: *mut pg_sys::PlannerInfo) -> bool {
    // SAFETY: the planner's structures. A window has a condition on its number of rows, if any, only later.
    unsafe { (*root).tuple_fraction > 0.0 || (*(*root).parse).hasWindowFuncs }
}
