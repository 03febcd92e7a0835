//! The relations that come before a scan although they give it no values, so that nothing is invoked for a join that they leave
//! empty.
//!
//! A permission table in a view has to be known before, also where the caller of the view has given the scan all its values. It is
//! known before, too, where that can't make the invocations more: where no join gives values. What is joined by the answer comes after.

use super::paths::AVOIDED_COST;
use super::relation::{ForeignRel, is_ours};
use super::scan_order::ScanOrder;
use super::semijoins;
use crate::columns::Column;
use crate::postgres::catalog;
use crate::postgres::paths::{JoinHook, Path};
use crate::postgres::planner::{Rel, Root};
use crate::postgres::refs::{Node, Ref};
use crate::postgres::relids::Relids;
use pgrx::pg_sys;

/// The other relations of a scan's query.
pub struct OtherRelations<'p> {
    /// Those that can come before the scan.
    candidates: Relids<'p>,
    /// Those of them that are joined by the answer, and so after the scan.
    after: Relids<'p>,
    /// Sets of them that are joined to each other.
    joined: Vec<Relids<'p>>,
}

impl<'p> OtherRelations<'p> {
    /// Looks at the query of a scan. Sizes have to be estimated.
    pub fn of(scan: ForeignRel<'p>, order: Option<&ScanOrder>) -> OtherRelations<'p> {
        let root = scan.root;
        let index = scan.rel.top_index();
        let mut others = OtherRelations {
            candidates: Relids::EMPTY,
            after: Relids::EMPTY,
            joined: Vec::new(),
        };
        for rel in root.relations().filter(|rel| rel.is_base()) {
            let other = rel.relid as i32;
            if other != index && can_come_before(root, index, rel, order) {
                others.candidates = others.candidates.union(Relids::singleton(other));
            }
        }
        others.look_at_clauses(root, index);
        others.look_at_classes(root, index);
        for join in root.special_joins().iter() {
            if join.jointype == pg_sys::JoinType::JOIN_SEMI {
                // The right side comes first as a whole.
                others.join(join.right());
            }
        }
        others
    }

    /// Those that come before the scan, beside those of `giving` that give it values.
    pub fn before(&self, giving: Relids<'p>) -> Relids<'p> {
        let mut after = self.after.difference(giving);
        loop {
            let known = after.len();
            for joined in &self.joined {
                let joined = joined.difference(giving);
                if joined.overlaps(after) {
                    after = after.union(joined);
                }
            }
            if after.len() == known {
                return self.candidates.difference(after);
            }
        }
    }

    fn join(&mut self, relids: Relids<'p>) {
        self.joined.push(relids.intersection(self.candidates));
    }

    fn come_after(&mut self, relids: Relids<'p>) {
        self.after = self.after.union(relids);
    }

    fn look_at_clauses(&mut self, root: Root<'p>, scan: i32) {
        for rel in root.relations() {
            let index = rel.relid as i32;
            if !self.candidates.contains(index) && index != scan {
                continue;
            }
            for clause in rel.join_clauses().iter() {
                self.join(clause.relids());
                if clause
                    .expression()
                    .is_some_and(|node| reads_answer(root, node, scan))
                {
                    self.come_after(clause.relids());
                }
            }
            if rel.lateral_relids().contains(scan) {
                self.come_after(rel.relids());
            }
        }
    }

    fn look_at_classes(&mut self, root: Root<'p>, scan: i32) {
        for class in root.equivalence_classes().iter() {
            // The members of a class with a constant are compared with that, and not with each other.
            if class.ec_has_const || !class.ec_merged.is_null() {
                continue;
            }
            self.join(class.relids());
            let mut members = class
                .members()
                .iter()
                .filter_map(|member| member.expression());
            if members.any(|member| reads_answer(root, member, scan)) {
                self.come_after(class.relids());
            }
        }
    }
}

/// Joins a scan that waits for other relations with a relation that comes after the scan, where PostgreSQL insists on that join first. PostgreSQL itself
/// makes no join that takes parameters of neither side. It would leave only a path that does not wait, or one that can't run.
pub fn join_waiting_scans(hook: &JoinHook) {
    let is_avoided = |path: Path| path.total_cost >= AVOIDED_COST;
    if !hook.can_be_nested_loop() || !hook.joinrel.paths().iter().all(is_avoided) {
        return;
    }
    // A new path may remove others from the join's list, but none from those of its sides.
    let (left, right) = (hook.outerrel.relids(), hook.innerrel.relids());
    for outer in hook.outerrel.paths().iter() {
        let of_outer = outer.required_outer();
        if of_outer.overlaps(right) || is_avoided(outer) {
            continue;
        }
        for inner in hook.innerrel.paths().iter() {
            let of_inner = inner.required_outer();
            // PostgreSQL itself looks at those that take parameters of both.
            let waits = match of_inner.overlaps(left) {
                true => !of_outer.is_empty() && of_inner.is_subset(left),
                false => !of_outer.is_empty() || !of_inner.is_empty(),
            };
            if waits && !is_avoided(inner) {
                let join = hook.nested_loop(hook.jointype, outer, inner);
                hook.joinrel.add_path(join);
            }
        }
    }
}

/// Whether a relation can be read before the scan. No outer join is between them, except one with the relation on its outer side. The relation does not
/// wait for the scan.
fn can_come_before(root: Root, scan: i32, rel: Rel, order: Option<&ScanOrder>) -> bool {
    use pg_sys::JoinType::{JOIN_FULL, JOIN_SEMI};
    let other = rel.relid as i32;
    // Of two scans one waits for the other.
    if is_ours(rel) && !order.is_some_and(|order| order.is_before(other, scan)) {
        return false;
    }
    root.special_joins().iter().all(|join| {
        let in_left = |member| join.left().contains(member);
        let in_right = |member| join.right().contains(member);
        match join.jointype {
            JOIN_FULL => in_left(scan) == in_left(other) && in_right(scan) == in_right(other),
            _ if in_right(scan) || !in_right(other) => true,
            JOIN_SEMI => {
                (join.semi_can_btree || join.semi_can_hash)
                    && !semijoins::has_scan_that_waits(root, join.right())
            }
            _ => false,
        }
    })
}

/// Whether an expression reads anything of a scan that is not an input column.
fn reads_answer(root: Root, expression: Node, scan: i32) -> bool {
    let columns = expression.columns(scan as _);
    let is_input = |number| {
        root.entry(scan)
            .is_some_and(|entry| is_input(entry, number))
    };
    !columns.into_iter().all(is_input)
}

/// Whether a column of a foreign table, or of the partitioned table or UNION ALL that it is a part of, has the name of an input. The
/// expressions behind columns of a UNION ALL are not looked at.
fn is_input(entry: Ref<pg_sys::RangeTblEntry>, number: i32) -> bool {
    if entry.rtekind != pg_sys::RTEKind::RTE_RELATION || number <= 0 {
        return false;
    }
    let name = catalog::column_name(entry.relid, number as i16);
    name.is_some_and(|name| Column::is_name_of_input(name.to_bytes()))
}

/// Whether a query may be a view that is a security barrier, or inside of one. A query does not know which member of the query around it
/// it is, so any such view counts.
pub fn is_behind_barrier(root: Root) -> bool {
    std::iter::successors(root.parent(), |outer| outer.parent())
        .filter_map(|outer| outer.query())
        .any(|query| {
            query
                .range_table()
                .iter()
                .any(|entry| entry.security_barrier)
        })
}
