//! Paths: the ways to run a scan, alone and as the inner side of joins, and what they cost.
//!
//! The rule that paths follow: a clause that can give an input column its values always does. Otherwise
//! the same query would make other invocations with another plan. So a scan has one path for each choice of outer
//! relations that covers all such clauses, and a last resort that names what is missing when it is run.

use super::bind::Bound;
use super::classes;
use super::clause::{self, Binding};
use super::estimate::{INVOCATION_COST, estimate};
use super::order::{self, Others};
use super::turns::{Turns, has_own};
use super::{Mode, Relation, infos, path_private, semijoins};
use crate::columns::{Column, Layout};
use crate::postgres::{compat, nodes};
use pgrx::{pg_guard, pg_sys};

/// Cost of a plan that invokes before it is known whether it has to: beyond any that PostgreSQL was told to avoid (1e10).
pub const AVOIDED_COST: f64 = 1e20;
/// Cost of a plan that cannot run: beyond that too, joined with anything.
pub const IMPOSSIBLE_COST: f64 = 1e30;
/// Most choices of outer relations that are looked at.
const MAX_CHOICES: usize = 64;

/// Callback: offers the paths.
///
/// # Safety
/// Called by the planner.
#[pg_guard]
pub unsafe extern "C-unwind" fn get_foreign_paths(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    _table: pg_sys::Oid,
) {
    // SAFETY: as above; `fdw_private` is what the size estimate left.
    unsafe {
        let relation = &*(*baserel).fdw_private.cast::<Relation>();
        let relid = (*baserel).relid;
        let own = Bound::sort(root, relid, relation, infos((*baserel).baserestrictinfo));
        let turns = Turns::of(root);
        let mut needs = join_needs(root, baserel, &relation.layout);
        needs.retain(|need| turns.is_none_or(|turns| turns.is_met(root, baserel, need)));
        // The last resort, or the one path where no join gives any values.
        let missing = (needs.iter().find_map(|need| need.column))
            .or_else(|| hashed_away(root, relid, relation, &own.bindings))
            .map(|column| (column, true))
            .or_else(|| {
                let column = own.lacking(relid, relation)?;
                let in_join = outer_join_keeps(root, baserel, &relation.layout, column);
                Some((column, in_join))
            });
        let lateral = (*baserel).lateral_relids;
        let tuples = (*baserel).tuples;
        if let Some((column, in_join)) = missing {
            let mode = Mode::Missing(column, in_join);
            add_path(root, baserel, lateral, tuples, mode, Rank::LastResort);
        }
        let mut sets = choices(&needs, lateral, relid);
        if missing.is_none() {
            sets.push(lateral);
        }
        let others = Others::of(root, baserel, turns);
        let all_come_before = needs.is_empty() || order::is_behind_barrier(root);
        for giving in sets {
            let mut rank = Rank::Any;
            let before = pg_sys::bms_union(others.before(giving), giving);
            if all_come_before && !pg_sys::bms_equal(before, giving) {
                offer(root, baserel, relation, before, rank);
                rank = Rank::Avoided;
            }
            offer(root, baserel, relation, giving, rank);
        }
    }
}

/// Offers the path that has the values of its own clauses, and of those that relations before it give.
unsafe fn offer(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    relation: &Relation,
    before: pg_sys::Relids,
    rank: Rank,
) {
    // SAFETY: the planner's structures.
    unsafe {
        let info = pg_sys::get_baserel_parampathinfo(root, baserel, before).as_ref();
        let joined = info.map_or(std::ptr::null_mut(), |info| info.ppi_clauses);
        let clauses = infos((*baserel).baserestrictinfo).chain(infos(joined));
        let bound = Bound::sort(root, (*baserel).relid, relation, clauses);
        let (mode, rank) = match bound.lacking((*baserel).relid, relation) {
            Some(column) => (Mode::Missing(column, false), Rank::LastResort),
            None => (Mode::Plain, rank),
        };
        add_path(root, baserel, before, estimate(&bound.bindings), mode, rank);
    }
}

/// Whether a relation is a foreign table of this wrapper.
///
/// # Safety
/// `rel` is the planner's.
pub unsafe fn is_ours(rel: *mut pg_sys::RelOptInfo) -> bool {
    // SAFETY: a foreign table's relation has its wrapper's callbacks, and no other relation has any.
    unsafe { is_our_routine((*rel).fdwroutine) }
}

/// Whether callbacks are this wrapper's.
///
/// # Safety
/// `routine` is null or a wrapper's callbacks.
pub unsafe fn is_our_routine(routine: *mut pg_sys::FdwRoutine) -> bool {
    // SAFETY: see above.
    unsafe { routine.as_ref() }.is_some_and(|routine| {
        (routine.GetForeignPaths).is_some_and(|callback| {
            std::ptr::fn_addr_eq(
                callback,
                get_foreign_paths as unsafe extern "C-unwind" fn(_, _, _),
            )
        })
    })
}

/// What other relations have to be there for.
#[derive(Clone)]
pub struct Need {
    /// The column that a join condition gives values; `None` for a condition on other relations alone.
    pub column: Option<Column>,
    /// Any one of these sets of outer relations satisfies it.
    pub alternatives: Vec<pg_sys::Relids>,
    /// Whether none of these can come before the scan, so that it gives way to other clauses on the column.
    comes_after: bool,
}

/// The join conditions that give input columns their values, if those relations come before.
///
/// # Safety
/// All are the planner's, and sizes are estimated.
pub unsafe fn join_needs(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    layout: &Layout,
) -> Vec<Need> {
    // SAFETY: the planner's structures.
    unsafe {
        let relid = (*baserel).relid;
        let usable = |info: *mut pg_sys::RestrictInfo| {
            pg_sys::join_clause_is_movable_to(info, baserel)
                .then(|| clause::classify(root, relid, layout, (*info).clause.cast()))
                .flatten()
        };
        let mut needs: Vec<Need> = infos((*baserel).joininfo)
            .filter_map(|info| {
                let binding = usable(info)?;
                Some(Need {
                    column: Some(binding.attribute.column),
                    alternatives: vec![(*info).clause_relids],
                    comes_after: semijoins::comes_after(root, baserel, info),
                })
            })
            .collect();
        if (*baserel).has_eclass_joins {
            for column in Column::INPUTS {
                let clauses = classes::implied_equalities(root, baserel, layout, column);
                let (after, before): (Vec<_>, Vec<_>) = (clauses.into_iter())
                    .filter(|info| usable(*info).is_some())
                    .partition(|info| semijoins::comes_after(root, baserel, *info));
                let comes_after = before.is_empty();
                let alternatives: Vec<_> = (if comes_after { after } else { before })
                    .into_iter()
                    .map(|info| (*info).clause_relids)
                    .collect();
                if !alternatives.is_empty() {
                    needs.push(Need {
                        column: Some(column),
                        alternatives,
                        comes_after,
                    });
                }
            }
        }
        let has_others = |column: Option<Column>, needs: &[Need]| {
            column.is_some_and(|column| has_own(root, baserel, column))
                || (needs.iter()).any(|need| need.column == column && !need.comes_after)
        };
        let all = needs.clone();
        needs.retain(|need| !need.comes_after || !has_others(need.column, &all));
        if !needs.is_empty() {
            // What is joined to the scan before the outer join can't give it parameters.
            let from_outside = |info: &*mut pg_sys::RestrictInfo| {
                pg_sys::bms_is_subset((**info).clause_relids, (**info).outer_relids)
            };
            needs.extend(
                outer_conditions(baserel)
                    .filter(from_outside)
                    .map(|info| Need {
                        column: None,
                        alternatives: vec![(*info).clause_relids],
                        comes_after: false,
                    }),
            );
        }
        needs
    }
}

/// Where a relation, or the one that it is a part of, stands in the range table.
///
/// # Safety
/// `rel` is the planner's.
pub unsafe fn place(rel: *mut pg_sys::RelOptInfo) -> i32 {
    // SAFETY: the planner's structures.
    unsafe {
        match pg_sys::bms_next_member((*rel).top_parent_relids, -1) {
            place if place >= 0 => place,
            _ => (*rel).relid as i32,
        }
    }
}

/// Whether a condition on a column is there that only an outer join above the scan may check, for the sake of
/// the message.
unsafe fn outer_join_keeps(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    layout: &Layout,
    column: Column,
) -> bool {
    // SAFETY: the planner's structures.
    unsafe {
        infos((*baserel).joininfo)
            .filter_map(|info| {
                clause::classify(root, (*baserel).relid, layout, (*info).clause.cast())
            })
            .any(|binding| binding.attribute.column == column)
    }
}

/// The conditions in the ON of an outer join, around the scan as its nullable side, that concern the relations of
/// `outer` alone, some of which may be on the nullable side too. Where one is not true the join takes no row of the scan, so the scan need not invoke.
///
/// # Safety
/// `baserel` and `outer` are the planner's.
pub unsafe fn conditions(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    outer: pg_sys::Relids,
) -> Vec<*mut pg_sys::Node> {
    // SAFETY: the planner's structures.
    unsafe {
        outer_conditions(baserel)
            .map(|info| (*info).clause.cast())
            .map(|clause| match (*baserel).reloptkind {
                pg_sys::RelOptKind::RELOPT_OTHER_MEMBER_REL => of_partitions(root, clause, outer),
                _ => clause,
            })
            .filter(|clause| pg_sys::bms_is_subset(compat::pull_varnos(root, *clause), outer))
            .collect()
    }
}

/// An expression about partitioned tables as one about their partitions in `outer`: where partitions are joined, a scan's own
/// join clauses still speak of the others' parents.
///
/// # Safety
/// All are the planner's.
pub unsafe fn of_partitions(
    root: *mut pg_sys::PlannerInfo,
    clause: *mut pg_sys::Node,
    outer: pg_sys::Relids,
) -> *mut pg_sys::Node {
    // SAFETY: the array has a place for each relation, null where that is no partition; none is there without partitions.
    unsafe {
        let mut clause = clause;
        let mut member = pg_sys::bms_next_member(outer, -1);
        while member >= 0 {
            let mut steps = Vec::new();
            let mut place = member as usize;
            while !(*root).append_rel_array.is_null() {
                let step = *(*root).append_rel_array.add(place);
                if step.is_null() {
                    break;
                }
                steps.push(step);
                place = (*step).parent_relid as usize;
            }
            for mut step in steps.into_iter().rev() {
                clause = pg_sys::adjust_appendrel_attrs(root, clause, 1, &mut step);
            }
            member = pg_sys::bms_next_member(outer, member);
        }
        clause
    }
}

unsafe fn outer_conditions(
    baserel: *mut pg_sys::RelOptInfo,
) -> impl Iterator<Item = *mut pg_sys::RestrictInfo> {
    // SAFETY: the planner's structures. `outer_relids` is empty but for the clauses of an outer join's ON.
    unsafe {
        let relid = (*baserel).relid as i32;
        infos((*baserel).joininfo).filter(move |clause| {
            let info = &**clause;
            !info.outer_relids.is_null()
                && !info.pseudoconstant
                && !pg_sys::bms_is_member(relid, info.outer_relids)
                && !compat::is_clone(*clause)
                && !pg_sys::contain_volatile_functions(info.clause.cast())
                // A subquery would run here and in the join once more, and may itself invoke.
                && !pg_sys::contain_subplans(info.clause.cast())
        })
    }
}

/// The sets of outer relations that satisfy every need, each once.
unsafe fn choices(
    needs: &[Need],
    lateral: pg_sys::Relids,
    relid: pg_sys::Index,
) -> Vec<pg_sys::Relids> {
    if needs.is_empty() {
        return Vec::new();
    }
    let mut sets = vec![lateral];
    for need in needs {
        let mut wider: Vec<pg_sys::Relids> = Vec::new();
        for set in &sets {
            for alternative in &need.alternatives {
                // SAFETY: bms_union makes a new set, from which the scan's own relation is then taken.
                let (union, known) = unsafe {
                    let union =
                        pg_sys::bms_del_member(pg_sys::bms_union(*set, *alternative), relid as _);
                    (
                        union,
                        wider.iter().any(|known| pg_sys::bms_equal(*known, union)),
                    )
                };
                if !known && wider.len() < MAX_CHOICES {
                    wider.push(union);
                }
            }
        }
        sets = wider;
    }
    sets
}

/// The input column whose clause PostgreSQL took out of an EXISTS in order to hash its rows, if this is such a
/// subquery: its rows would come of invocations without that value. The subquery as it was written is planned too,
/// and wins. The columns that the hash is made of are the only ones of a target list without a name.
unsafe fn hashed_away(
    root: *mut pg_sys::PlannerInfo,
    relid: pg_sys::Index,
    relation: &Relation,
    bindings: &[Binding],
) -> Option<Column> {
    // SAFETY: the planner's structures.
    unsafe {
        if (*root).parent_root.is_null() {
            return None;
        }
        nodes::pointers::<pg_sys::TargetEntry>((*(*root).parse).targetList)
            .filter(|entry| (**entry).resname.is_null() && !(**entry).resjunk)
            .find_map(|entry| {
                Column::INPUTS.into_iter().find(|column| {
                    clause::is_column(relid, &relation.layout, (*entry).expr.cast(), *column)
                        && relation.needs(*column, bindings)
                })
            })
    }
}

/// Which paths come before others, whatever they cost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    /// Those that cost less.
    Any,
    /// Any other that can run.
    Avoided,
    /// Any other.
    LastResort,
}

unsafe fn add_path(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    required_outer: pg_sys::Relids,
    invocations: f64,
    mode: Mode,
    rank: Rank,
) {
    let (total_cost, disabled_nodes) = match rank {
        Rank::Any => (INVOCATION_COST * invocations, 0),
        Rank::Avoided => (AVOIDED_COST, 100),
        Rank::LastResort => (IMPOSSIBLE_COST, 1000),
    };
    // SAFETY: the planner's structures.
    unsafe {
        let share = (*baserel).rows / (*baserel).tuples.max(1.0);
        let path = compat::create_foreignscan_path(
            root,
            baserel,
            compat::ForeignPath {
                rows: pg_sys::clamp_row_est(invocations * share.min(1.0)),
                total_cost,
                required_outer,
                fdw_private: path_private(mode, std::ptr::null_mut()),
                disabled_nodes,
            },
        );
        pg_sys::add_path(baserel, path);
    }
}
