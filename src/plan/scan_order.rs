//! The order of a query's scans, where conditions between them could give either its values.
//!
//! `b.payload = a.payload` gives `b` a value if `a` comes first, and `a` one if `b` does. If both took it, each would wait for the other. So
//! scans get an order. The next scan is one whose conditions can all be satisfied by relations that are already placed. Where there is none, it is one that
//! has another value for each column. Its conditions on later scans are then conditions of the join.

use super::paths::OuterRequirement;
use super::relation::ForeignRel;
use crate::columns::Column;
use crate::postgres::planner::{Rel, Root};
use crate::postgres::process;
use crate::postgres::refs::Node;
use crate::postgres::relids::Relids;
use pgrx::pg_sys;
use std::collections::BTreeSet;

/// The order of a query's scans.
pub struct ScanOrder(Vec<Placed>);

/// A scan, or a partitioned table or UNION ALL that has some, by its index in the range table, and the relations that come before it.
struct Placed {
    index: i32,
    before: BTreeSet<i32>,
}

/// The scans at an index in the range table that are not placed yet.
struct Unplaced<'p> {
    index: i32,
    scans: Vec<ForeignRel<'p>>,
}

impl ScanOrder {
    /// Finds the order once for a query, and keeps it with the first scan; `None` for a query without one. Sizes have to be estimated.
    pub fn of<'p>(root: Root<'p>) -> Option<&'p ScanOrder> {
        let first = ForeignRel::all(root).next()?;
        Some((first.relation.scan_order).get_or_init(|| ScanOrder::find(root)))
    }

    fn find(root: Root) -> ScanOrder {
        let mut order = ScanOrder(Vec::new());
        let indexes: BTreeSet<i32> = ForeignRel::all(root)
            .map(|scan| scan.rel.top_index())
            .collect();
        if indexes.len() < 2 {
            return order;
        }
        let at_index = |index: i32| Unplaced {
            index,
            scans: ForeignRel::all(root)
                .filter(|scan| scan.rel.top_index() == index)
                .collect(),
        };
        // In the order in which they are written, which PostgreSQL may have to keep. A view's tables are at the end of the range table.
        let mut written = Vec::new();
        let join_tree = root.query().and_then(|query| query.join_tree());
        note_order(join_tree.map(|tree| tree.as_node()), &mut written);
        let mut unplaced: Vec<Unplaced> = indexes.iter().copied().map(at_index).collect();
        unplaced.sort_by_key(|scan| written.iter().position(|index| *index == scan.index));
        let mut others: Vec<Rel> = root
            .relations()
            .filter(|rel| rel.is_base() && !indexes.contains(&(rel.relid as i32)))
            .collect();
        let mut placed = BTreeSet::new();
        loop {
            place_others(root, &mut others, &mut placed);
            let Some(next) = next(&unplaced, &placed) else {
                return order;
            };
            let index = unplaced.remove(next).index;
            order.0.push(Placed {
                index,
                before: placed.clone(),
            });
            placed.insert(index);
        }
    }

    /// Whether a scan is before another; where neither has a position, whether it is written before.
    pub fn is_before(&self, first: i32, second: i32) -> bool {
        let position = |index| self.0.iter().position(|placed| placed.index == index);
        match (position(first), position(second)) {
            (Some(first), Some(second)) => first < second,
            (None, None) => first < second,
            (first, _) => first.is_some(),
        }
    }

    /// Whether the relations before a scan satisfy a requirement. A scan without a position can't run, whatever it waits for.
    pub fn satisfies(&self, scan: ForeignRel, requirement: &OuterRequirement) -> bool {
        let index = scan.rel.top_index();
        (self.0.iter().find(|placed| placed.index == index))
            .is_none_or(|placed| is_satisfied(scan, requirement, &placed.before))
    }
}

/// Notes the members of a join tree from left to right.
fn note_order(node: Option<Node>, written: &mut Vec<i32>) {
    let Some(node) = node else { return };
    process::check_stack_depth();
    if let Some(member) = node.cast::<pg_sys::RangeTblRef>() {
        written.push(member.rtindex);
    } else if let Some(join) = node.cast::<pg_sys::JoinExpr>() {
        note_order(join.left(), written);
        note_order(join.right(), written);
    } else if let Some(from) = node.cast::<pg_sys::FromExpr>() {
        for member in from.members().iter() {
            note_order(Some(member), written);
        }
    }
}

/// Places relations that are no scans of this wrapper's, and refer to none that is not placed.
fn place_others<'p>(root: Root<'p>, others: &mut Vec<Rel<'p>>, placed: &mut BTreeSet<i32>) {
    loop {
        let known = placed.len();
        others.retain(|rel| {
            let is_ready = are_placed(root, rel.lateral_relids(), placed);
            if is_ready {
                placed.insert(rel.relid as i32);
            }
            !is_ready
        });
        if placed.len() == known {
            return;
        }
    }
}

/// The position of the scans that come next.
fn next(unplaced: &[Unplaced], placed: &BTreeSet<i32>) -> Option<usize> {
    let has_all = |scan: ForeignRel| {
        let mut requirements = scan.outer_requirements().iter();
        requirements.all(|requirement| is_satisfied(scan, requirement, placed))
    };
    // Every column that waits has another value: of the scan's own, or of a relation that is placed.
    let has_enough = |scan: ForeignRel, of_own: bool| {
        let requirements = scan.outer_requirements();
        let is_given = |column: Column| {
            let mut of_column = (requirements.iter()).filter(|it| it.column == Some(column));
            !of_own && of_column.any(|requirement| is_satisfied(scan, requirement, placed))
        };
        let mut columns = requirements.iter().filter_map(|it| it.column);
        columns.all(|column| scan.has_own(column) || is_given(column))
    };
    let find = |is_wanted: &dyn Fn(ForeignRel) -> bool| {
        unplaced.iter().position(|at_index| {
            at_index.scans.iter().all(|scan| {
                let lateral = scan.rel.lateral_relids().difference(scan.rel.relids());
                are_placed(scan.root, lateral, placed) && is_wanted(*scan)
            })
        })
    };
    find(&has_all)
        .or_else(|| find(&|scan| has_enough(scan, true)))
        .or_else(|| find(&|scan| has_enough(scan, false)))
}

fn is_satisfied(scan: ForeignRel, requirement: &OuterRequirement, placed: &BTreeSet<i32>) -> bool {
    (requirement.alternatives.iter())
        .any(|relids| are_placed(scan.root, relids.difference(scan.rel.relids()), placed))
}

/// Whether relations are placed.
fn are_placed<'p>(root: Root<'p>, relids: Relids<'p>, placed: &BTreeSet<i32>) -> bool {
    (root.without_outer_joins(relids).iter())
        .filter_map(|index| root.relation(index))
        .all(|rel| placed.contains(&rel.top_index()))
}
