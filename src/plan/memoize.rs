//! Keeps Memoize away from invocations: a remembered row is an invocation that the statement asked for and did not
//! get, and whether rows are remembered depends on costs.
//!
//! The planner puts no Memoize above a relation whose target or conditions are volatile, and does not look further down. So
//! relations are marked as volatile by all that is in them: scans, functions in FROM, subqueries, and what any of their expressions run.
//! That is done when the paths of a relation are there, of a join when its first ones are. Neither is the inner side of a join before.
//!
//! A volatile function may invoke, whoever wrote it, so it counts as much as an invocation.

use super::infos;
use super::paths::is_ours;
use crate::postgres::{compat, nodes};
use pgrx::{is_a, pg_guard, pg_sys};
use std::ffi::c_void;

/// Marks a relation of the range table.
///
/// # Safety
/// All are the planner's, with which it calls the hook for the paths of a relation.
pub unsafe fn mark_relation(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    entry: *mut pg_sys::RangeTblEntry,
) {
    // SAFETY: see above.
    unsafe {
        if is_ours(rel)
            || has_marked_part(root, rel)
            || of_query((*rel).subroot)
            || of_entry(root, entry)
            || of_clauses(root, rel)
        {
            compat::mark_volatile(rel);
        }
    }
}

/// Marks a join.
///
/// # Safety
/// All are the planner's, with which it calls the hook for the paths of a join.
pub unsafe fn mark_join(hook: &compat::JoinHook) {
    // SAFETY: see above.
    unsafe {
        if is_marked(hook.outerrel)
            || is_marked(hook.innerrel)
            || infos((*hook.extra).restrictlist)
                .any(|info| of_expression(hook.root, (*info).clause.cast()))
            || of_expression(hook.root, (*(*hook.joinrel).reltarget).exprs.cast())
        {
            compat::mark_volatile(hook.joinrel);
        }
    }
}

/// Whether a relation is marked, or its target is volatile.
///
/// # Safety
/// The relation is the planner's, and has its paths.
pub unsafe fn is_marked(rel: *mut pg_sys::RelOptInfo) -> bool {
    // SAFETY: a relation has a target, and the planner asks the same of it.
    unsafe { pg_sys::contain_volatile_functions((*rel).reltarget.cast()) }
}

/// Whether a partitioned table or UNION ALL has a part that is marked. Their paths are made before its own.
unsafe fn has_marked_part(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) -> bool {
    // SAFETY: the planner's structures; the array has a place for each relation, and is not there without parts.
    unsafe {
        let steps = (*root).append_rel_array;
        !steps.is_null()
            && relations(root).any(|(place, part)| {
                let step = *steps.add(place);
                !step.is_null() && (*step).parent_relid == (*rel).relid && is_marked(part)
            })
    }
}

/// What a member of the range table reads that is no relation of its own.
unsafe fn of_entry(root: *mut pg_sys::PlannerInfo, entry: *mut pg_sys::RangeTblEntry) -> bool {
    // SAFETY: the planner's; null where the kind of the member has no such thing.
    unsafe {
        let entry = &*entry;
        [
            entry.functions.cast(),
            entry.values_lists.cast(),
            entry.tablefunc.cast(),
            entry.tablesample.cast(),
        ]
        .into_iter()
        .any(|expression| of_expression(root, expression))
    }
}

/// What is evaluated for a relation's rows: its target, its conditions, and those of joins for which it may take parameters.
unsafe fn of_clauses(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) -> bool {
    // SAFETY: the planner's structures.
    unsafe {
        let movable =
            infos((*rel).joininfo).filter(|info| pg_sys::join_clause_is_movable_to(*info, rel));
        let mut clauses = infos((*rel).baserestrictinfo).chain(movable);
        let mut classes = nodes::pointers::<pg_sys::EquivalenceClass>((*root).eq_classes)
            .filter(|class| pg_sys::bms_overlap((**class).ec_relids, (*rel).relids));
        of_expression(root, (*(*rel).reltarget).exprs.cast())
            || clauses.any(|info| of_expression(root, (*info).clause.cast()))
            || classes.any(|class| {
                nodes::pointers::<pg_sys::EquivalenceMember>((*class).ec_members)
                    .any(|member| of_expression(root, (*member).em_expr.cast()))
            })
    }
}

/// Whether an expression is volatile, or has a subquery that is.
unsafe fn of_expression(root: *mut pg_sys::PlannerInfo, node: *mut pg_sys::Node) -> bool {
    // SAFETY: an expression of the planner's, or a list of them.
    unsafe { pg_sys::contain_volatile_functions(node) || finds_subplan(node, (*root).glob.cast()) }
}

/// Whether a query that is planned is volatile or invokes; null is none. The marks of its relations may be gone, as the last one gets the target
/// of the whole.
unsafe fn of_query(root: *mut pg_sys::PlannerInfo) -> bool {
    if root.is_null() {
        return false;
    }
    // SAFETY: the planner's structures. What it has planned of the range table's expressions and subqueries is there, too.
    unsafe {
        let (parse, glob) = ((*root).parse, (*root).glob.cast());
        pg_sys::contain_volatile_functions(parse.cast())
            || relations(root).any(|(_, rel)| is_ours(rel) || of_query((*rel).subroot))
            || pg_sys::query_tree_walker(parse, Some(finds_subplan), glob, 0)
            || finds_subplan((*root).init_plans.cast(), glob)
    }
}

/// A walker of expression trees (nodeFuncs.h) that looks for a subquery which is volatile or invokes.
#[pg_guard]
unsafe extern "C-unwind" fn finds_subplan(node: *mut pg_sys::Node, glob: *mut c_void) -> bool {
    // SAFETY: the cast follows the node's own tag. A subplan's number is its place among the queries that are planned.
    unsafe {
        if node.is_null() {
            return false;
        }
        if is_a(node, pg_sys::NodeTag::T_SubPlan) {
            let place = ((*node.cast::<pg_sys::SubPlan>()).plan_id - 1) as usize;
            let queries = (*glob.cast::<pg_sys::PlannerGlobal>()).subroots;
            if nodes::nth(queries, place).is_some_and(|query| of_query(query)) {
                return true;
            }
        }
        pg_sys::expression_tree_walker(node, Some(finds_subplan), glob)
    }
}

/// The relations of a query that are there so far, with their numbers.
unsafe fn relations(
    root: *mut pg_sys::PlannerInfo,
) -> impl Iterator<Item = (usize, *mut pg_sys::RelOptInfo)> {
    // SAFETY: the array has a place for each member of the range table, null where there is no relation.
    (1..unsafe { (*root).simple_rel_array_size } as usize).filter_map(move |place| unsafe {
        let relation = *(*root).simple_rel_array.add(place);
        (!relation.is_null()).then_some((place, relation))
    })
}
