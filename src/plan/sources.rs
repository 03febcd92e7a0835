//! The row of the source that gives a scan its values. Its invocations are remembered by it, as the same row may come many times where other
//! tables are joined below the scan, or a join with it is run again.
//!
//! A row is identified by ctid and tableoid of the tables that give the values ([`row_identity`](super::row_identity)).

use super::clause::Binding;
use super::relation::ForeignRel;
use super::row_identity::{self, CTID, TABLEOID};
use crate::postgres::expressions::{Walk, make_var, walk};
use crate::postgres::list::IntList;
use crate::postgres::planner::Root;
use crate::postgres::refs::Node;
use crate::postgres::relids::Relids;
use pgrx::pg_sys;

/// The row that gives the values, as a plan carries it.
pub struct Source<'p> {
    /// The numbers that [`Source::decode`] reads.
    numbers: Vec<i32>,
    /// A ctid for each table, and a tableoid where that tells more.
    pub expressions: Vec<Node<'p>>,
}

/// A table whose rows identify source rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Whether it has parts with rows of the same ctid.
    pub has_parts: bool,
    /// Whether it gives values itself.
    pub gives: bool,
    /// The positions of the tables that identify rows where an outer join has made this one's columns null.
    pub kept_by: Vec<usize>,
}

/// The row that gives the values, as it is read from a plan.
#[derive(Default)]
pub struct Decoded {
    /// The tables; none where the row can't be identified.
    pub members: Vec<Member>,
    /// Executor parameters from outside of the query, which the values depend on.
    pub outside: Vec<i32>,
    /// Whether the same row may come again without a rescan.
    pub repeats: bool,
    /// Whether evaluating the values may invoke.
    pub keeps_values: bool,
}

impl Decoded {
    /// How many expressions belong to it.
    pub fn width(&self) -> usize {
        let widths = (self.members.iter()).map(|member| 1 + usize::from(member.has_parts));
        widths.sum()
    }
}

impl<'p> Source<'p> {
    /// The numbers for a plan.
    pub fn encode(&self) -> IntList<'p> {
        IntList::of(self.numbers.iter().copied())
    }

    /// Reads the numbers of a plan.
    pub fn decode(numbers: &[i32]) -> Decoded {
        let mut numbers = numbers.iter().copied();
        let mut decoded = Decoded::default();
        let mut next = || numbers.next().unwrap_or_default();
        decoded.repeats = next() != 0;
        decoded.keeps_values = next() != 0;
        let outside = next();
        decoded.outside = (0..outside).map(|_| next()).collect();
        for _ in 0..next() {
            let (has_parts, gives, kept_by) = (next() != 0, next() != 0, next());
            decoded.members.push(Member {
                has_parts,
                gives,
                kept_by: (0..kept_by).map(|_| next() as usize).collect(),
            });
        }
        decoded
    }

    /// The row that gives the values of bindings, in a plan that has the rows of `known`; `None` where nothing identifies it. A
    /// relation that keeps rows in an outer join and is none of `known` is joined later.
    pub fn of(
        scan: ForeignRel<'p>,
        bindings: &[Binding<'p>],
        known: Relids<'p>,
        repeats: bool,
    ) -> Option<Source<'p>> {
        let root = scan.root;
        let giving: Vec<i32> = giving(scan, bindings).iter().collect();
        let mut all = giving.clone();
        let mut kept_by = Vec::new();
        // The list grows while it is walked.
        let mut walked = 0;
        while let Some(member) = all.get(walked).copied() {
            walked += 1;
            let whole = row_identity::top_index(root, member);
            let keeping = row_identity::keeping(root, whole, scan.rel.top_index(), known);
            let is_part = whole != member;
            let is_known = known.contains(member) && row_identity::is_requested(scan, whole);
            if !is_known || is_part && !keeping.is_empty() {
                return None;
            }
            let positions = keeping.iter().map(|kept| {
                let found = all.iter().position(|known| *known == kept);
                found.unwrap_or_else(|| {
                    all.push(kept);
                    all.len() - 1
                })
            });
            kept_by.push(positions.collect::<Vec<_>>());
        }
        if all.is_empty() {
            return None;
        }
        let outside = outside(bindings);
        let mut nodes = bindings.iter().filter_map(|binding| binding.expression);
        let keeps_values = nodes.any(Node::has_subplans);
        let mut numbers = vec![repeats.into(), keeps_values.into(), outside.len() as i32];
        numbers.extend(outside);
        numbers.push(all.len() as i32);
        let mut expressions = Vec::new();
        for (position, member) in all.iter().enumerate() {
            let has_parts = row_identity::has_parts(root, row_identity::top_index(root, *member));
            expressions.push(make_var(*member, CTID, pg_sys::TIDOID));
            if has_parts {
                expressions.push(make_var(*member, TABLEOID, pg_sys::OIDOID));
            }
            numbers.extend([i32::from(has_parts), i32::from(position < giving.len())]);
            numbers.push(kept_by[position].len() as i32);
            numbers.extend(kept_by[position].iter().map(|kept| *kept as i32));
        }
        Some(Source {
            numbers,
            expressions,
        })
    }
}

/// The relations that the values of bindings come from.
pub fn giving<'p>(scan: ForeignRel<'p>, bindings: &[Binding<'p>]) -> Relids<'p> {
    let root = scan.root;
    let all = (bindings.iter())
        .filter_map(|binding| binding.expression)
        .fold(Relids::EMPTY, |all, value| all.union(read_by(root, value)));
    root.without_outer_joins(all.without(scan.rel.relid as i32))
}

/// The relations that an expression reads. For a placeholder PostgreSQL's own function gives the relations that it is evaluated at, and not those that
/// its expression takes from elsewhere (LATERAL).
fn read_by<'p>(root: Root<'p>, expression: Node) -> Relids<'p> {
    root.placeholders(expression)
        .filter_map(|holder| holder.expression())
        .fold(root.relids(expression), |all, below| {
            all.union(read_by(root, below))
        })
}

/// The executor parameters of bindings, before those of nested loops replace columns.
fn outside(bindings: &[Binding]) -> Vec<i32> {
    let mut found: Vec<i32> = Vec::new();
    for binding in bindings {
        walk(binding.node(), &mut |node| {
            let Some(parameter) = node.cast::<pg_sys::Param>() else {
                return Walk::Into;
            };
            if parameter.paramkind == pg_sys::ParamKind::PARAM_EXEC {
                found.push(parameter.paramid);
            }
            Walk::Over
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back() {
        let source = Source {
            numbers: vec![1, 0, 2, 7, 9, 2, 0, 1, 1, 1, 1, 0, 0],
            expressions: Vec::new(),
        };
        let decoded = Source::decode(&source.numbers);
        assert!(decoded.repeats && !decoded.keeps_values);
        assert_eq!(decoded.outside, [7, 9]);
        let member = |has_parts, gives, kept_by| Member {
            has_parts,
            gives,
            kept_by,
        };
        assert_eq!(
            decoded.members,
            [member(false, true, vec![1]), member(true, false, vec![])]
        );
        assert_eq!(decoded.width(), 3);
        assert!(Source::decode(&[]).members.is_empty());
    }
}
