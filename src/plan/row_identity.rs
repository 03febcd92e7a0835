//! The columns that identify the rows which give a scan its values: ctid and tableoid of their tables.
//!
//! PostgreSQL carries these columns up as it does others, once it is told before paths are made that the scan needs them.

use super::relation::{ForeignRel, is_ours};
use super::sources::giving;
use crate::postgres::compat;
use crate::postgres::expressions::make_var;
use crate::postgres::list::List;
use crate::postgres::planner::{Rel, Root};
use crate::postgres::refs::Node;
use crate::postgres::relids::Relids;
use pgrx::pg_sys;

/// The number of the column with a row's position in its table.
pub const CTID: i16 = pg_sys::SelfItemPointerAttributeNumber as i16;
/// The number of the column with a row's table.
pub const TABLEOID: i16 = pg_sys::TableOidAttributeNumber as i16;
/// Bytes of both.
const WIDTH: i32 = 10;

/// Requests the columns that identify the rows which give a scan its values, unless each row comes once. It is called before paths are made, when
/// equivalence classes are complete.
pub fn request(scan: ForeignRel) {
    let root = scan.root;
    let index = scan.rel.top_index();
    // A call is made as often as the row comes, as a function is.
    if scan.relation.call.is_some() {
        return;
    }
    let bindings: Vec<_> = (scan.join_clauses().iter())
        .filter_map(|joined| joined.binding)
        .collect();
    let giving = giving(scan, &bindings);
    let all = root.without_outer_joins(root.base_relids());
    let others = all.difference(giving).without(index);
    if root.parent().is_none() && others.is_empty() {
        return;
    }
    let mut wanted: Vec<i32> = giving.iter().collect();
    let mut requested = 0;
    while let Some(member) = wanted.get(requested).copied() {
        requested += 1;
        let Some(rel) = root
            .relation(member)
            .filter(|_| can_identify(root, member, index))
        else {
            continue;
        };
        request_of(root, rel, index);
        for kept in keeping(root, member, index, all).iter() {
            if !wanted.contains(&kept) {
                wanted.push(kept);
            }
        }
    }
}

/// Has a relation give the columns to the joins up to that with the scan.
fn request_of(root: Root, rel: Rel, scan: i32) {
    if is_requested_of(rel, scan) {
        return;
    }
    let member = rel.relid as i32;
    let before = rel.output().len();
    let mut columns = vec![make_var(member, CTID, pg_sys::TIDOID)];
    if has_parts(root, member) {
        columns.push(make_var(member, TABLEOID, pg_sys::OIDOID));
    }
    compat::add_vars_to_targetlist(root, List::of(columns), Relids::singleton(scan));
    if rel.rows <= 0.0 {
        return;
    }
    // The relation has got its size, and its parts have theirs.
    rel.add_output([], WIDTH);
    let added: Vec<Node> = rel.output().iter().skip(before).collect();
    for part in parts(root, member) {
        let Some(part) = root.relation(part).filter(|part| !part.output().is_empty()) else {
            continue;
        };
        let own = Relids::singleton(part.relid as i32);
        let translated = added
            .iter()
            .map(|column| root.for_partitions(column.copy(), own));
        part.add_output(translated, WIDTH);
    }
}

/// Whether a relation gives its ctid, for a scan. A base relation has a set for each of its columns, but only a table has a ctid among them.
fn is_requested_of(rel: Rel, scan: i32) -> bool {
    rel.needed_by(CTID)
        .is_some_and(|needed| needed.contains(scan))
}

/// Whether a relation gives its ctid, for a scan.
pub fn is_requested(scan: ForeignRel, member: i32) -> bool {
    (scan.root.relation(member))
        .is_some_and(|rel| rel.is_base() && is_requested_of(rel, scan.rel.top_index()))
}

/// Whether a relation's rows have a ctid that stays. Of rows that a semijoin makes unique PostgreSQL keeps any.
fn can_identify(root: Root, member: i32, scan: i32) -> bool {
    let is_made_unique = root.special_joins().iter().any(|join| {
        join.jointype == pg_sys::JoinType::JOIN_SEMI
            && join.right().contains(member)
            && !join.right().contains(scan)
    });
    !is_made_unique
        && root.relation(member).is_some_and(|rel| rel.is_base())
        && has_ctid(root, member)
        && parts(root, member).iter().all(|part| has_ctid(root, *part))
}

/// Whether a relation's rows have a ctid, as those of a table and of a scan of this wrapper's.
fn has_ctid(root: Root, member: i32) -> bool {
    root.entry(member).is_some_and(|entry| {
        entry.rtekind == pg_sys::RTEKind::RTE_RELATION
            && match entry.relkind as u8 {
                pg_sys::RELKIND_FOREIGN_TABLE => root.relation(member).is_some_and(is_ours),
                pg_sys::RELKIND_RELATION
                | pg_sys::RELKIND_MATVIEW
                | pg_sys::RELKIND_PARTITIONED_TABLE => true,
                _ => false,
            }
    })
}

/// The relations whose rows outer joins keep, with nulls for a row of `member`. An outer join does not count if it has the scan
/// inside too. Nor does it count if none of the relations that it keeps is `known`, as it is made later.
pub fn keeping<'p>(root: Root<'p>, member: i32, scan: i32, known: Relids<'p>) -> Relids<'p> {
    use pg_sys::JoinType::{JOIN_ANTI, JOIN_FULL, JOIN_LEFT};
    let mut keeping = Relids::EMPTY;
    for join in root.special_joins().iter() {
        let nulls = |side: Relids<'p>, kept: Relids<'p>| {
            side.contains(member) && !side.contains(scan) && kept.overlaps(known)
        };
        if matches!(join.jointype, JOIN_LEFT | JOIN_FULL | JOIN_ANTI)
            && nulls(join.right(), join.least_left())
        {
            keeping = keeping.union(join.least_left());
        }
        if join.jointype == JOIN_FULL && nulls(join.left(), join.least_right()) {
            keeping = keeping.union(join.least_right());
        }
    }
    root.without_outer_joins(keeping)
}

/// The index of the relation that one is a part of, or its own.
pub fn top_index(root: Root, member: i32) -> i32 {
    root.relation(member).map_or(member, Rel::top_index)
}

/// The parts of a relation, and theirs.
fn parts(root: Root, member: i32) -> Vec<i32> {
    let mut found = Vec::new();
    for index in 1..root.simple_rel_array_size {
        if let Some(step) = root.append_relation(index) {
            let parent = step.parent_relid as i32;
            if parent == member || found.contains(&parent) {
                found.push(index);
            }
        }
    }
    found
}

/// Whether a relation has parts with rows of the same ctid.
pub fn has_parts(root: Root, member: i32) -> bool {
    root.entry(member).is_some_and(|entry| entry.inh)
}
