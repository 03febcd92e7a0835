//! Rows are sorted before they invoke, where a query has their order and may not want all of them.
//!
//! PostgreSQL sorts above a join, unless the rows come in order anyway, as from an index. The join has then invoked for all rows. Here each
//! nested loop above invocations is offered once more with its outer side sorted. A LIMIT, a cursor, a window's top rows, DISTINCT and
//! GROUP BY then choose it by its costs.

use super::paths::AVOIDED_COST;
use crate::postgres::list::List;
use crate::postgres::paths::{JoinHook, Path};
use crate::postgres::planner::Root;
use crate::postgres::refs::{Node, Ref};
use pgrx::pg_sys;

/// Offers the nested loops of a join with sorted outer sides.
pub fn sort_outer_sides(hook: &JoinHook) {
    if !hook.can_be_nested_loop() || !may_end_early(hook.root) {
        return;
    }
    let keys = List::of((hook.root.query_pathkeys().iter()).take_while(|key| is_known(hook, *key)));
    if keys.is_empty() || !hook.innerrel.is_volatile() {
        return;
    }
    // A new path may remove others from the list, so the paths are collected before.
    let unsorted: Vec<(Path, Path)> = (hook.joinrel.paths().iter())
        .filter(|path| path.parameters().is_none() && path.total_cost < AVOIDED_COST)
        .filter_map(|path| {
            let join = path.as_nested_loop()?;
            Some((join.outer()?, join.inner()?))
        })
        .filter(|(outer, inner)| {
            outer.relation() == Some(hook.outerrel)
                && inner.relation() == Some(hook.innerrel)
                && !is_contained(keys, outer.pathkeys())
        })
        .collect();
    for (outer, inner) in unsorted {
        let sorted = sort(hook, outer, keys);
        let join = hook.nested_loop(hook.jointype, sorted, inner);
        // SAFETY: the path is a new one. The keys are the query's.
        unsafe {
            (*join.as_ptr()).pathkeys = pg_sys::build_join_pathkeys(
                hook.root.as_ptr(),
                hook.joinrel.as_ptr(),
                hook.jointype,
                keys.as_ptr(),
            );
        }
        hook.joinrel.add_path(join);
    }
}

/// Whether the outer side has a sort key without a subquery. A subquery would run for the sort and for the select list, and may invoke.
fn is_known(hook: &JoinHook, key: Ref<pg_sys::PathKey>) -> bool {
    key.class().is_some_and(|class| {
        let mut members = class
            .members()
            .iter()
            .filter_map(|member| member.expression());
        // SAFETY: the class is one of the query's.
        let is_known = unsafe {
            pg_sys::relation_can_be_sorted_early(
                hook.root.as_ptr(),
                hook.outerrel.as_ptr(),
                class.as_ptr(),
                false,
            )
        };
        is_known && !members.any(Node::has_subplans)
    })
}

fn is_contained(keys: List<pg_sys::PathKey>, order: List<pg_sys::PathKey>) -> bool {
    // SAFETY: both are lists of the query's keys.
    unsafe { pg_sys::pathkeys_contained_in(keys.as_ptr(), order.as_ptr()) }
}

/// A Sort above a path of the outer side.
fn sort<'p>(hook: &JoinHook<'p>, outer: Path<'p>, keys: List<pg_sys::PathKey>) -> Path<'p> {
    let (root, outerrel) = (hook.root.as_ptr(), hook.outerrel.as_ptr());
    // SAFETY: the keys are the query's. The result is a new path.
    unsafe {
        let sorted = pg_sys::create_sort_path(root, outerrel, outer.as_ptr(), keys.as_ptr(), -1.0);
        if hook.innerrel.rtekind == pg_sys::RTEKind::RTE_FUNCTION {
            // PostgreSQL counts one call of a function in FROM for however many rows. The other calls cost more than the sort.
            (*sorted).path.startup_cost = outer.startup_cost;
            (*sorted).path.total_cost = outer.total_cost;
        }
        Ref::new(sorted.cast())
    }
}

/// Whether a query may not want all rows.
fn may_end_early(root: Root) -> bool {
    // A window has a condition on its number of rows, if any, only later.
    root.tuple_fraction > 0.0 || root.query().is_some_and(|query| query.hasWindowFuncs)
}
