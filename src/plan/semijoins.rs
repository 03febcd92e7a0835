//! Semijoins, as PostgreSQL makes of `IN (SELECT …)` and EXISTS. A condition of one can give a scan on its left side values where PostgreSQL can
//! read the right side first. PostgreSQL then makes the rows of the right side unique.

use super::relation::ForeignRel;
use crate::columns::Column;
use crate::postgres::expressions::make_bigint;
use crate::postgres::paths::{JoinHook, Path};
use crate::postgres::planner::{Clause, Root};
use crate::postgres::refs::Ref;
use crate::postgres::relids::Relids;
use pgrx::pg_sys;

/// Whether a join condition is one of a semijoin whose right side can't come before the scan. Sizes have to be estimated.
pub fn comes_after(scan: ForeignRel, clause: Clause) -> bool {
    scan.root.special_joins().iter().any(|join| {
        join.jointype == pg_sys::JoinType::JOIN_SEMI
            && join.least_left().contains(scan.rel.top_index())
            && clause.relids().overlaps(join.right())
            && (!(join.semi_can_btree || join.semi_can_hash)
                || has_scan_that_waits(scan.root, join.right()))
    })
}

/// Whether a scan is among relations, and its values come from none of them. Sizes have to be estimated.
pub fn has_scan_that_waits(root: Root, relids: Relids) -> bool {
    relids
        .iter()
        .filter_map(|index| ForeignRel::of(root, root.relation(index)?))
        .any(|scan| {
            let missing = scan.own_clauses().missing_column(scan);
            missing.is_some_and(|column| !is_given(scan, column, relids))
        })
}

/// Whether relations give a scan among them the values of a column.
fn is_given(scan: ForeignRel, column: Column, relids: Relids) -> bool {
    (scan.join_clauses().iter()).any(|joined| {
        joined.implied_for.is_none_or(|implied| implied == column)
            && joined.clause.relids().is_subset(relids)
            && joined.column() == Some(column)
    })
}

/// Adds the paths in which the right side of a semijoin comes first, where no clause is left to join by, since both sides were compared with constants.
/// Then it is enough that the right side has a row. PostgreSQL has no rows to make unique, and would read the right side after the scan.
pub fn read_right_side_first(hook: &JoinHook) {
    let Some(right) = hook.innerrel.cheapest_path() else {
        return;
    };
    if hook.jointype != pg_sys::JoinType::JOIN_SEMI
        || !hook.extra.clauses().is_empty()
        || right.parameters().is_some()
    {
        return;
    }
    let waiting = (hook.outerrel.paths().iter())
        .filter(|path| path.required_outer().overlaps(hook.innerrel.relids()));
    for path in waiting {
        let one_row = first_row(hook, right);
        let join = hook.nested_loop(pg_sys::JoinType::JOIN_INNER, one_row, path);
        hook.joinrel.add_path(join);
    }
}

/// The first row of the inner side.
fn first_row<'p>(hook: &JoinHook<'p>, path: Path<'p>) -> Path<'p> {
    // SAFETY: the path is one of the inner side. The result is a new path.
    unsafe {
        let limit = pg_sys::create_limit_path(
            hook.root.as_ptr(),
            hook.innerrel.as_ptr(),
            path.as_ptr(),
            std::ptr::null_mut(),
            make_bigint(1).as_ptr(),
            pg_sys::LimitOption::LIMIT_OPTION_COUNT,
            0,
            1,
        );
        Ref::new(limit.cast())
    }
}
