//! Semijoins, as `IN (SELECT …)` and EXISTS become: whether a condition of one can give a scan on its left side values. It can where PostgreSQL can
//! read the right side first, which it does with its rows made unique.

use super::bind::Bound;
use super::paths::{is_ours, place};
use super::{Relation, classes, clause, infos};
use crate::columns::Column;
use crate::postgres::{compat, nodes};
use pgrx::pg_sys;

/// Whether a join condition is one of a semijoin whose right side can't come before the scan.
///
/// # Safety
/// All are the planner's, and sizes are estimated.
pub unsafe fn comes_after(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    info: *mut pg_sys::RestrictInfo,
) -> bool {
    // SAFETY: the list has SpecialJoinInfos.
    unsafe {
        nodes::pointers::<pg_sys::SpecialJoinInfo>((*root).join_info_list).any(|join| {
            let join = &*join;
            join.jointype == pg_sys::JoinType::JOIN_SEMI
                && pg_sys::bms_is_member(place(baserel), join.min_lefthand)
                && pg_sys::bms_overlap((*info).clause_relids, join.syn_righthand)
                && (!(join.semi_can_btree || join.semi_can_hash)
                    || is_waiting(root, join.syn_righthand))
        })
    }
}

/// Whether a scan is among relations whose values come from none of them.
///
/// # Safety
/// All are the planner's, and sizes are estimated.
pub unsafe fn is_waiting(root: *mut pg_sys::PlannerInfo, relids: pg_sys::Relids) -> bool {
    // SAFETY: the array has a place for each relation, null where there is none.
    unsafe {
        let mut member = pg_sys::bms_next_member(relids, -1);
        while member >= 0 {
            let rel = *(*root).simple_rel_array.add(member as usize);
            if !rel.is_null()
                && is_ours(rel)
                && let Some(relation) = (*rel).fdw_private.cast::<Relation>().as_ref()
            {
                let own = infos((*rel).baserestrictinfo);
                let own = Bound::sort(root, (*rel).relid, relation, own);
                let lacking = own.lacking((*rel).relid, relation);
                if lacking.is_some_and(|column| !is_given(root, rel, relation, column, relids)) {
                    return true;
                }
            }
            member = pg_sys::bms_next_member(relids, member);
        }
        false
    }
}

/// Whether relations give a scan among them the values of a column.
unsafe fn is_given(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    relation: &Relation,
    column: Column,
    relids: pg_sys::Relids,
) -> bool {
    // SAFETY: the planner's structures.
    unsafe {
        let mut implied = Vec::new();
        if (*rel).has_eclass_joins {
            implied = classes::implied_equalities(root, rel, &relation.layout, column);
        }
        infos((*rel).joininfo)
            .chain(implied)
            .filter(|info| pg_sys::bms_is_subset((**info).clause_relids, relids))
            .filter_map(|info| {
                clause::classify(root, (*rel).relid, &relation.layout, (*info).clause.cast())
            })
            .any(|binding| binding.attribute.column == column)
    }
}

/// Adds the paths in which the right side of a semijoin comes first and no clause is left to join it by, since constants stand on both
/// sides: then it is enough that it has a row. PostgreSQL has no rows of it to make unique, and would read it after the scan.
///
/// # Safety
/// All are the planner's, with which it calls the hook for the paths of a join.
pub unsafe fn read_right_side_first(hook: &compat::JoinHook) {
    // SAFETY: see above.
    unsafe {
        let (root, innerrel) = (hook.root, hook.innerrel);
        let right = (*innerrel).cheapest_total_path;
        if hook.jointype != pg_sys::JoinType::JOIN_SEMI
            || !(*hook.extra).restrictlist.is_null()
            || right.is_null()
            || !(*right).param_info.is_null()
        {
            return;
        }
        let waits = |path: &*mut pg_sys::Path| {
            (**path)
                .param_info
                .as_ref()
                .is_some_and(|info| pg_sys::bms_overlap(info.ppi_req_outer, (*innerrel).relids))
        };
        let waiting: Vec<_> = (nodes::pointers::<pg_sys::Path>((*hook.outerrel).pathlist))
            .filter(waits)
            .collect();
        for path in waiting {
            let one_row = pg_sys::create_limit_path(
                root,
                innerrel,
                right,
                std::ptr::null_mut(),
                nodes::bigint_const(1),
                pg_sys::LimitOption::LIMIT_OPTION_COUNT,
                0,
                1,
            );
            let inner_join = pg_sys::JoinType::JOIN_INNER;
            let join = compat::create_nestloop_path(hook, inner_join, one_row.cast(), path);
            pg_sys::add_path(hook.joinrel, join);
        }
    }
}
