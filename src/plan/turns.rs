//! Which of a query's scans come before others, where conditions between them could give either its values.
//!
//! `b.payload = a.payload` gives `b` a value if `a` comes first, and `a` one if `b` does. Were both to take it, each would wait for the other. So
//! scans get turns. One whose conditions can all be met by what is there comes first. Where there is none, one that has other values for each column
//! does, and what it could have had of later ones is a condition of the join, as `b` takes it.

use super::bind::Bound;
use super::paths::{self, Need, is_ours, place};
use super::{Relation, infos};
use crate::columns::Column;
use crate::postgres::{compat, nodes};
use pgrx::pg_sys;
use std::collections::BTreeSet;

/// The turns of a query's scans.
pub struct Turns(Vec<Turn>);

/// The place of a scan, or of a partitioned table or UNION ALL that has some, and the relations that are there when it is its turn.
struct Turn {
    place: i32,
    before: BTreeSet<i32>,
}

/// What has no turn yet: the scans at a place, and what each needs of other relations.
struct Waiting {
    place: i32,
    scans: Vec<(*mut pg_sys::RelOptInfo, Vec<Need>)>,
}

impl Turns {
    /// Finds them once for a query, and keeps them with its first scan.
    ///
    /// # Safety
    /// `root` is the planner's, and has a scan; sizes are estimated. What is given lives as long as the planner's structures.
    pub unsafe fn of<'a>(root: *mut pg_sys::PlannerInfo) -> Option<&'a Turns> {
        // SAFETY: see above.
        unsafe {
            let first = scans(root).next()?;
            let relation = &*(*first).fdw_private.cast::<Relation>();
            Some(relation.turns.get_or_init(|| Turns::find(root)))
        }
    }

    unsafe fn find(root: *mut pg_sys::PlannerInfo) -> Turns {
        let mut turns = Turns(Vec::new());
        // SAFETY: see above.
        unsafe {
            let places: BTreeSet<i32> = scans(root).map(|rel| place(rel)).collect();
            if places.len() < 2 {
                return turns;
            }
            let of_place = |wanted: i32| Waiting {
                place: wanted,
                scans: (scans(root).filter(|rel| place(*rel) == wanted))
                    .map(|rel| {
                        let layout = &(*(*rel).fdw_private.cast::<Relation>()).layout;
                        (rel, paths::join_needs(root, rel, layout))
                    })
                    .collect(),
            };
            // In the order in which they are written, which PostgreSQL may have to keep. A view's tables are at the end of the range table.
            let mut written = Vec::new();
            note_order((*(*root).parse).jointree.cast(), &mut written);
            let mut waiting: Vec<Waiting> = places.iter().copied().map(of_place).collect();
            waiting.sort_by_key(|scan| written.iter().position(|place| *place == scan.place));
            let mut others: Vec<_> = relations(root)
                .filter(|rel| {
                    (**rel).reloptkind == pg_sys::RelOptKind::RELOPT_BASEREL
                        && !places.contains(&((**rel).relid as i32))
                })
                .collect();
            let mut there = BTreeSet::new();
            loop {
                read_others(root, &mut others, &mut there);
                let Some(next) = first(root, &waiting, &there) else {
                    return turns;
                };
                let place = waiting.remove(next).place;
                turns.0.push(Turn {
                    place,
                    before: there.clone(),
                });
                there.insert(place);
            }
        }
    }

    /// Whether a scan's turn is before that of another; where neither has one, whether it is written before.
    pub fn is_before(&self, first: i32, second: i32) -> bool {
        let turn = |place| self.0.iter().position(|turn| turn.place == place);
        match (turn(first), turn(second)) {
            (Some(first), Some(second)) => first < second,
            (None, None) => first < second,
            (first, _) => first.is_some(),
        }
    }

    /// Whether a scan can have what it needs of other relations when it is its turn. One that has no turn can't run, whatever it waits for.
    ///
    /// # Safety
    /// All are the planner's.
    pub unsafe fn is_met(
        &self,
        root: *mut pg_sys::PlannerInfo,
        rel: *mut pg_sys::RelOptInfo,
        need: &Need,
    ) -> bool {
        // SAFETY: see above.
        unsafe {
            (self.0.iter().find(|turn| turn.place == place(rel)))
                .is_none_or(|turn| meets(root, rel, need, &turn.before))
        }
    }
}

/// Notes the members of a join tree from left to right.
unsafe fn note_order(node: *mut pg_sys::Node, written: &mut Vec<i32>) {
    if node.is_null() {
        return;
    }
    // SAFETY: each cast follows the node's own tag.
    unsafe {
        pg_sys::check_stack_depth();
        match (*node).type_ {
            pg_sys::NodeTag::T_RangeTblRef => {
                written.push((*node.cast::<pg_sys::RangeTblRef>()).rtindex);
            }
            pg_sys::NodeTag::T_JoinExpr => {
                let join = &*node.cast::<pg_sys::JoinExpr>();
                note_order(join.larg, written);
                note_order(join.rarg, written);
            }
            pg_sys::NodeTag::T_FromExpr => {
                for member in nodes::pointers((*node.cast::<pg_sys::FromExpr>()).fromlist) {
                    note_order(member, written);
                }
            }
            _ => (),
        }
    }
}

/// Notes the relations that are no scans of ours and refer to nothing that is not there.
unsafe fn read_others(
    root: *mut pg_sys::PlannerInfo,
    others: &mut Vec<*mut pg_sys::RelOptInfo>,
    there: &mut BTreeSet<i32>,
) {
    loop {
        let known = there.len();
        // SAFETY: the relations are the planner's.
        others.retain(|rel| unsafe {
            let waits = !is_there(root, (**rel).lateral_relids, std::ptr::null_mut(), there);
            if !waits {
                there.insert((**rel).relid as i32);
            }
            waits
        });
        if there.len() == known {
            return;
        }
    }
}

/// What is next.
unsafe fn first(
    root: *mut pg_sys::PlannerInfo,
    waiting: &[Waiting],
    there: &BTreeSet<i32>,
) -> Option<usize> {
    // SAFETY: the scans are the planner's.
    unsafe {
        let all = |rel: *mut pg_sys::RelOptInfo, needs: &[Need]| {
            needs.iter().all(|need| meets(root, rel, need, there))
        };
        // Every column that waits has another value: of its own, or of a relation that is there.
        let enough = |rel: *mut pg_sys::RelOptInfo, needs: &[Need], of_own: bool| {
            let is_met = |column| {
                let mut of_column = needs.iter().filter(|need| need.column == Some(column));
                !of_own && of_column.any(|need| meets(root, rel, need, there))
            };
            let mut columns = needs.iter().filter_map(|need| need.column);
            columns.all(|column| has_own(root, rel, column) || is_met(column))
        };
        let find = |wanted: &dyn Fn(*mut pg_sys::RelOptInfo, &[Need]) -> bool| {
            waiting.iter().position(|at_place| {
                (at_place.scans.iter()).all(|(rel, needs)| {
                    is_there(root, (**rel).lateral_relids, (**rel).relids, there)
                        && wanted(*rel, needs)
                })
            })
        };
        find(&all)
            .or_else(|| find(&|rel, needs| enough(rel, needs, true)))
            .or_else(|| find(&|rel, needs| enough(rel, needs, false)))
    }
}

unsafe fn meets(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    need: &Need,
    there: &BTreeSet<i32>,
) -> bool {
    // SAFETY: the planner's structures.
    (need.alternatives.iter())
        .any(|relids| unsafe { is_there(root, *relids, (*rel).relids, there) })
}

/// Whether relations are there, but for those of `own`.
unsafe fn is_there(
    root: *mut pg_sys::PlannerInfo,
    relids: pg_sys::Relids,
    own: pg_sys::Relids,
    there: &BTreeSet<i32>,
) -> bool {
    // SAFETY: the sets are the planner's, of which new ones are made; the array has a place for each relation.
    unsafe {
        let others = pg_sys::bms_difference(relids, own);
        let others = compat::without_outer_joins(root, others);
        let mut member = pg_sys::bms_next_member(others, -1);
        while member >= 0 {
            let rel = *(*root).simple_rel_array.add(member as usize);
            if !rel.is_null() && !there.contains(&place(rel)) {
                return false;
            }
            member = pg_sys::bms_next_member(others, member);
        }
        true
    }
}

/// Whether a scan has a clause of its own for a column.
///
/// # Safety
/// All are the planner's, and sizes are estimated.
pub unsafe fn has_own(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    column: Column,
) -> bool {
    // SAFETY: see above.
    unsafe {
        let relation = &*(*rel).fdw_private.cast::<Relation>();
        let own = Bound::sort(root, (*rel).relid, relation, infos((*rel).baserestrictinfo));
        !relation.needs(column, &own.bindings)
    }
}

/// The scans of a query whose sizes are estimated.
unsafe fn scans(root: *mut pg_sys::PlannerInfo) -> impl Iterator<Item = *mut pg_sys::RelOptInfo> {
    // SAFETY: see below.
    unsafe { relations(root).filter(|rel| is_ours(*rel) && !(**rel).fdw_private.is_null()) }
}

unsafe fn relations(
    root: *mut pg_sys::PlannerInfo,
) -> impl Iterator<Item = *mut pg_sys::RelOptInfo> {
    // SAFETY: the array has a place for each relation, null where there is none.
    (1..unsafe { (*root).simple_rel_array_size } as usize).filter_map(move |place| unsafe {
        let rel = *(*root).simple_rel_array.add(place);
        (!rel.is_null()).then_some(rel)
    })
}
