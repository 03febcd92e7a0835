//! Joins with invocations that a nested loop would run again for each outer row, though nothing of that row goes into them: their rows are kept.
//!
//! PostgreSQL puts a Material node above such a join only where it takes that to be cheaper.

use super::relation::is_ours;
use crate::postgres::compat;
use crate::postgres::expressions::is_volatile;
use crate::postgres::paths::{Path, keeps_rows};
use crate::postgres::planner::Root;
use crate::postgres::refs::Ref;
use pgrx::pg_sys;

/// Has a nested loop keep the rows of its inner side, if that invokes and takes nothing from the outer side.
pub fn keep_inner_side(root: Root, join: Ref<pg_sys::JoinPath>) {
    let (Some(outer), Some(inner)) = (join.outer(), join.inner()) else {
        return;
    };
    let (Some(outerrel), Some(innerrel)) = (outer.relation(), inner.relation()) else {
        return;
    };
    let is_given = (inner.required_outer()).overlaps(outerrel.relids_and_parents());
    let may_invoke = invokes(root, inner) || innerrel.is_volatile();
    if !is_given && runs_again(inner) && may_invoke {
        join.set_inner(compat::create_material_path(innerrel, inner));
    }
}

/// Whether more than scans is run once more, and nothing keeps its rows.
fn runs_again(path: Path) -> bool {
    use pg_sys::NodeTag::{T_AppendPath, T_ForeignPath, T_ProjectionPath, T_SubqueryScanPath};
    match path.tag() {
        T_ForeignPath => false,
        // Above a node that keeps its rows, a target list is evaluated for each of them again.
        T_ProjectionPath if evaluates_volatile(path) => true,
        T_AppendPath | T_ProjectionPath | T_SubqueryScanPath => {
            path.children().into_iter().any(runs_again)
        }
        _ => !keeps_rows(path.pathtype),
    }
}

fn evaluates_volatile(path: Path) -> bool {
    (path.target()).is_some_and(|target| is_volatile(target.expressions().as_node()))
}

/// Whether a path invokes, as far as that is known.
fn invokes(root: Root, path: Path) -> bool {
    use pg_sys::NodeTag::{T_ForeignPath, T_FunctionScan, T_Path, T_SubqueryScanPath};
    let rel = path.relation();
    match path.tag() {
        T_ForeignPath => rel.is_some_and(is_ours),
        T_Path if path.pathtype == T_FunctionScan => rel
            .and_then(|rel| root.entry(rel.relid as i32))
            .is_some_and(|entry| is_volatile(entry.functions().as_node())),
        T_SubqueryScanPath => rel
            .and_then(|rel| rel.subquery())
            .is_some_and(|query| path.children().into_iter().any(|path| invokes(query, path))),
        _ => path.children().into_iter().any(|path| invokes(root, path)),
    }
}
