//! Keeps Memoize away from invocations. A remembered row is an invocation that the statement asked for and did not
//! get, and it depends on costs whether rows are remembered.
//!
//! The planner puts no Memoize above a relation whose target or conditions are volatile, and does not look further down. So
//! relations are marked as volatile by everything in them: scans, functions in FROM, subqueries, and subplans of their expressions.
//! A relation is marked when its paths are there, a join when its first ones are. Neither is the inner side of a join before.
//!
//! A volatile function may invoke, whoever wrote it, so it counts as much as an invocation.

use super::relation::is_ours;
use crate::postgres::expressions::{Walk, is_volatile, walk, walk_query};
use crate::postgres::paths::JoinHook;
use crate::postgres::planner::{Clause, Rel, Root};
use crate::postgres::refs::{Node, Ref};
use pgrx::pg_sys;

/// Marks a relation of the range table. The planner calls the hook for its paths.
pub fn mark_relation(root: Root, rel: Rel, entry: Ref<pg_sys::RangeTblEntry>) {
    if is_ours(rel)
        || has_marked_part(root, rel)
        || rel.subquery().is_some_and(is_query_volatile)
        || is_entry_volatile(root, entry)
        || has_volatile_clause(root, rel)
    {
        rel.mark_volatile();
    }
}

/// Marks a join.
pub fn mark_join(hook: &JoinHook) {
    let is_clause_volatile = |clause: Clause| runs_volatile(hook.root, clause.expression());
    if hook.outerrel.is_volatile()
        || hook.innerrel.is_volatile()
        || hook.extra.clauses().iter().any(is_clause_volatile)
        || runs_volatile(hook.root, hook.joinrel.output().as_node())
    {
        hook.joinrel.mark_volatile();
    }
}

/// Whether a partitioned table or UNION ALL has a part that is marked. Their paths are made before its own.
fn has_marked_part(root: Root, rel: Rel) -> bool {
    root.relations().any(|part| {
        (root.append_relation(part.relid as i32))
            .is_some_and(|step| step.parent_relid == rel.relid && part.is_volatile())
    })
}

/// Whether a member of the range table that is no table or subquery is volatile.
fn is_entry_volatile(root: Root, entry: Ref<pg_sys::RangeTblEntry>) -> bool {
    [
        entry.functions().as_node(),
        entry.values().as_node(),
        entry.table_function(),
        entry.table_sample(),
    ]
    .into_iter()
    .any(|expression| runs_volatile(root, expression))
}

/// Whether an expression is volatile that is evaluated for a relation's rows: of its target, its conditions, and those of joins for which it may take
/// parameters.
fn has_volatile_clause(root: Root, rel: Rel) -> bool {
    let movable = (rel.join_clauses().iter()).filter(|clause| clause.is_movable_to(rel));
    let mut clauses = rel.restrictions().iter().chain(movable);
    let mut classes =
        (root.equivalence_classes().iter()).filter(|class| class.relids().overlaps(rel.relids()));
    runs_volatile(root, rel.output().as_node())
        || clauses.any(|clause| runs_volatile(root, clause.expression()))
        || classes.any(|class| {
            let mut members = class.members().iter();
            members.any(|member| runs_volatile(root, member.expression()))
        })
}

/// Whether an expression, or a list of them, is volatile, or has a subquery that is.
fn runs_volatile(root: Root, node: Option<Node>) -> bool {
    is_volatile(node) || walk(node, &mut |node| stop_at_volatile_subplan(root, node))
}

/// Whether a query that is planned is volatile or invokes. The marks of its relations may be gone, as the last one gets the target
/// of the whole.
fn is_query_volatile(root: Root) -> bool {
    // The expressions and subqueries of the range table that are planned are in the query, too.
    is_volatile(root.query().map(Ref::as_node))
        || root
            .relations()
            .any(|rel| is_ours(rel) || rel.subquery().is_some_and(is_query_volatile))
        || root.query().is_some_and(|query| {
            walk_query(query, &mut |node| stop_at_volatile_subplan(root, node))
        })
        || walk(root.init_plans().as_node(), &mut |node| {
            stop_at_volatile_subplan(root, node)
        })
}

/// Stops a walk at a subquery that is volatile or invokes.
fn stop_at_volatile_subplan(root: Root, node: Node) -> Walk {
    let Some(subplan) = node.cast::<pg_sys::SubPlan>() else {
        return Walk::Into;
    };
    // A subplan's number is its position among the queries that are planned, from 1.
    let query = root
        .global()
        .and_then(|global| global.queries().get((subplan.plan_id - 1) as usize));
    match query.is_some_and(is_query_volatile) {
        true => Walk::Stop,
        false => Walk::Into,
    }
}
