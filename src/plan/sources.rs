//! Which row of the source gives a scan its values: what its invocations are remembered by, as the same row may come many times where other
//! tables are joined below the scan, or a join with it is run again.
//!
//! A row is told by ctid and tableoid of the tables that give the values. PostgreSQL carries these columns up as it does others,
//! once it is told before paths are made that the scan needs them.

use super::clause::{self, Binding};
use super::paths::{is_ours, of_partitions, place};
use super::{Relation, classes, infos};
use crate::columns::Column;
use crate::postgres::{compat, nodes};
use pgrx::{is_a, pg_guard, pg_sys};

const CTID: i16 = pg_sys::SelfItemPointerAttributeNumber as i16;
const TABLEOID: i16 = pg_sys::TableOidAttributeNumber as i16;
/// Bytes of both.
const WIDTH: i32 = 10;

/// What a plan carries of the row that gives the values.
pub struct Source {
    /// As [`Source::encode`] has it.
    numbers: Vec<i32>,
    /// A ctid for each table, and a tableoid where that tells more.
    pub expressions: Vec<*mut pg_sys::Node>,
}

/// A table whose rows tell source rows apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Whether it has parts with rows of the same ctid.
    pub has_parts: bool,
    /// Whether it gives values itself.
    pub gives: bool,
    /// The places of those that tell rows apart where an outer join has made its own null.
    pub kept_by: Vec<usize>,
}

/// What was read back of a plan.
#[derive(Default)]
pub struct Decoded {
    /// The tables; none where the row can't be told.
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

impl Source {
    /// As a plan carries it.
    pub fn encode(&self) -> *mut pg_sys::List {
        nodes::integer_list(self.numbers.iter().copied())
    }

    /// Reads it back.
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

    /// What tells the rows apart that give the values of bindings, in a plan that has the rows of `known`; `None` where nothing does. A
    /// relation that keeps rows in an outer join that is none of `known` is joined later.
    ///
    /// # Safety
    /// All are the planner's, which makes a plan of the scan.
    pub unsafe fn of(
        root: *mut pg_sys::PlannerInfo,
        baserel: *mut pg_sys::RelOptInfo,
        bindings: &[Binding],
        known: pg_sys::Relids,
        repeats: bool,
    ) -> Option<Source> {
        // SAFETY: the arrays have a place for each relation.
        unsafe {
            let giving = members(giving(root, baserel, bindings));
            let mut all = giving.clone();
            let mut kept_by = Vec::new();
            // The list grows while it is walked.
            let mut walked = 0;
            while let Some(member) = all.get(walked).copied() {
                walked += 1;
                let keeping = keeping(root, whole(root, member), place(baserel), known);
                let keeping = members(keeping);
                let is_part = whole(root, member) != member;
                if !is_known(root, baserel, member, known) || is_part && !keeping.is_empty() {
                    return None;
                }
                let places = keeping.into_iter().map(|kept| {
                    let found = all.iter().position(|known| *known == kept);
                    found.unwrap_or_else(|| {
                        all.push(kept);
                        all.len() - 1
                    })
                });
                kept_by.push(places.collect::<Vec<_>>());
            }
            if all.is_empty() {
                return None;
            }
            let outside = outside(bindings);
            let keeps_values = (bindings.iter())
                .any(|binding| pg_sys::contain_subplans(binding.expression.cast()));
            let mut numbers = vec![repeats.into(), keeps_values.into(), outside.len() as i32];
            numbers.extend(outside);
            numbers.push(all.len() as i32);
            let mut expressions = Vec::new();
            for (number, member) in all.iter().enumerate() {
                let has_parts = has_parts(root, whole(root, *member));
                expressions.push(column(*member, CTID));
                if has_parts {
                    expressions.push(column(*member, TABLEOID));
                }
                numbers.extend([i32::from(has_parts), i32::from(number < giving.len())]);
                numbers.push(kept_by[number].len() as i32);
                numbers.extend(kept_by[number].iter().map(|place| *place as i32));
            }
            Some(Source {
                numbers,
                expressions,
            })
        }
    }
}

/// The relations that the values of bindings come from.
///
/// # Safety
/// All are the planner's.
pub unsafe fn giving(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    bindings: &[Binding],
) -> pg_sys::Relids {
    // SAFETY: see above; each of these makes a new set.
    unsafe {
        let all = bindings.iter().fold(std::ptr::null_mut(), |all, binding| {
            pg_sys::bms_union(all, read_by(root, binding.expression))
        });
        let others = pg_sys::bms_del_member(all, (*baserel).relid as _);
        compat::without_outer_joins(root, others)
    }
}

/// The relations that an expression reads. PostgreSQL's own list has a placeholder's place of evaluation alone, and not what that
/// takes from other relations (LATERAL).
unsafe fn read_by(root: *mut pg_sys::PlannerInfo, expression: *mut pg_sys::Node) -> pg_sys::Relids {
    let flags = pg_sys::PVC_RECURSE_AGGREGATES
        | pg_sys::PVC_RECURSE_WINDOWFUNCS
        | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
    // SAFETY: the planner's expression; each of these makes a new set.
    unsafe {
        let found = pg_sys::pull_var_clause(expression, flags as _);
        nodes::pointers::<pg_sys::Node>(found)
            .filter(|node| pgrx::is_a(*node, pg_sys::NodeTag::T_PlaceHolderVar))
            .map(|node| (*node.cast::<pg_sys::PlaceHolderVar>()).phexpr)
            .fold(compat::pull_varnos(root, expression), |all, below| {
                pg_sys::bms_union(all, read_by(root, below.cast()))
            })
    }
}

/// Asks for the columns by which the rows are told apart that give a scan its values, unless each of them comes once.
///
/// # Safety
/// All are the planner's, and equivalence classes are complete.
pub unsafe fn ask(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    relation: &Relation,
) {
    // SAFETY: see above. Paths are made when all relations have their sizes.
    unsafe {
        let mut clauses: Vec<_> = infos((*baserel).joininfo).collect();
        if (*baserel).has_eclass_joins {
            for column in Column::INPUTS {
                let implied = classes::implied_equalities(root, baserel, &relation.layout, column);
                clauses.extend(implied);
            }
        }
        let bindings: Vec<_> = (clauses.into_iter())
            .filter_map(|info| {
                let clause = (*info).clause.cast();
                clause::classify(root, (*baserel).relid, &relation.layout, clause)
            })
            .collect();
        let scan = place(baserel);
        let giving = giving(root, baserel, &bindings);
        let all = compat::without_outer_joins(root, (*root).all_baserels);
        let others = pg_sys::bms_del_member(pg_sys::bms_difference(all, giving), scan);
        if (*root).parent_root.is_null() && pg_sys::bms_next_member(others, -1) < 0 {
            return;
        }
        let mut wanted = members(giving);
        let mut asked = 0;
        while let Some(member) = wanted.get(asked).copied() {
            asked += 1;
            if !can_be_told(root, member, scan) {
                continue;
            }
            ask_of(root, member, scan);
            for kept in members(keeping(root, member, scan, all)) {
                if !wanted.contains(&kept) {
                    wanted.push(kept);
                }
            }
        }
    }
}

/// Has a relation give the columns to the joins up to that with the scan.
unsafe fn ask_of(root: *mut pg_sys::PlannerInfo, member: i32, scan: i32) {
    // SAFETY: the array has a place for each relation.
    unsafe {
        let rel = *(*root).simple_rel_array.add(member as usize);
        if is_asked(rel, scan) {
            return;
        }
        let before = nodes::length((*(*rel).reltarget).exprs);
        let mut columns = vec![column(member, CTID)];
        if has_parts(root, member) {
            columns.push(column(member, TABLEOID));
        }
        compat::add_vars_to_targetlist(
            root,
            nodes::list(&columns),
            pg_sys::bms_make_singleton(scan),
        );
        if (*rel).rows <= 0.0 {
            return;
        }
        // It has got its size, and its parts have theirs.
        (*(*rel).reltarget).width += WIDTH;
        let added: Vec<*mut pg_sys::Node> = nodes::pointers((*(*rel).reltarget).exprs)
            .skip(before)
            .collect();
        for part in parts(root, member) {
            let target = (*(*(*root).simple_rel_array.add(part as usize))).reltarget;
            if (*target).exprs.is_null() {
                continue;
            }
            let own = pg_sys::bms_make_singleton(part);
            for column in &added {
                let copy = pg_sys::copyObjectImpl(column.cast()).cast();
                let translated = of_partitions(root, copy, own);
                (*target).exprs = pg_sys::lappend((*target).exprs, translated.cast());
            }
            (*target).width += WIDTH;
        }
    }
}

/// Whether a relation was asked for its ctid, for a scan.
unsafe fn is_asked(rel: *mut pg_sys::RelOptInfo, scan: i32) -> bool {
    // SAFETY: a base relation has a set for each of its columns, but only a table has a ctid among them.
    unsafe {
        (*rel).min_attr <= CTID
            && !(*rel).attr_needed.is_null()
            && pg_sys::bms_is_member(
                scan,
                *(*rel).attr_needed.add((CTID - (*rel).min_attr) as usize),
            )
    }
}

/// Whether a plan has a relation's columns that were asked for.
unsafe fn is_known(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    member: i32,
    known: pg_sys::Relids,
) -> bool {
    // SAFETY: the array has a place for each relation.
    unsafe {
        let rel = *(*root).simple_rel_array.add(whole(root, member) as usize);
        pg_sys::bms_is_member(member, known)
            && !rel.is_null()
            && (*rel).reloptkind == pg_sys::RelOptKind::RELOPT_BASEREL
            && is_asked(rel, place(baserel))
    }
}

/// Whether a relation's rows have a ctid that stays. Of those that a semijoin makes unique PostgreSQL keeps any.
unsafe fn can_be_told(root: *mut pg_sys::PlannerInfo, member: i32, scan: i32) -> bool {
    // SAFETY: the arrays have a place for each relation.
    unsafe {
        let rel = *(*root).simple_rel_array.add(member as usize);
        let made_unique =
            nodes::pointers::<pg_sys::SpecialJoinInfo>((*root).join_info_list).any(|join| {
                (*join).jointype == pg_sys::JoinType::JOIN_SEMI
                    && pg_sys::bms_is_member(member, (*join).syn_righthand)
                    && !pg_sys::bms_is_member(scan, (*join).syn_righthand)
            });
        !rel.is_null()
            && (*rel).reloptkind == pg_sys::RelOptKind::RELOPT_BASEREL
            && !made_unique
            && has_ctid(root, member)
            && parts(root, member).iter().all(|part| has_ctid(root, *part))
    }
}

/// A table has one, and so has a scan of ours.
unsafe fn has_ctid(root: *mut pg_sys::PlannerInfo, member: i32) -> bool {
    // SAFETY: the arrays have a place for each relation.
    unsafe {
        let entry = &**(*root).simple_rte_array.add(member as usize);
        let rel = *(*root).simple_rel_array.add(member as usize);
        entry.rtekind == pg_sys::RTEKind::RTE_RELATION
            && match entry.relkind as u8 {
                pg_sys::RELKIND_FOREIGN_TABLE => !rel.is_null() && is_ours(rel),
                pg_sys::RELKIND_RELATION
                | pg_sys::RELKIND_MATVIEW
                | pg_sys::RELKIND_PARTITIONED_TABLE => true,
                _ => false,
            }
    }
}

/// The relations whose rows outer joins keep with nulls in the place of one of a relation. An outer join does not count that has the scan
/// inside too, or none of what it keeps is `known`, as it is made later.
unsafe fn keeping(
    root: *mut pg_sys::PlannerInfo,
    member: i32,
    scan: i32,
    known: pg_sys::Relids,
) -> pg_sys::Relids {
    use pg_sys::JoinType::{JOIN_ANTI, JOIN_FULL, JOIN_LEFT};
    // SAFETY: the planner's structures; each union is a new set.
    unsafe {
        let mut keeping = std::ptr::null_mut();
        for join in nodes::pointers::<pg_sys::SpecialJoinInfo>((*root).join_info_list) {
            let join = &*join;
            let nulls = |side, kept| {
                pg_sys::bms_is_member(member, side)
                    && !pg_sys::bms_is_member(scan, side)
                    && pg_sys::bms_overlap(kept, known)
            };
            if matches!(join.jointype, JOIN_LEFT | JOIN_FULL | JOIN_ANTI)
                && nulls(join.syn_righthand, join.min_lefthand)
            {
                keeping = pg_sys::bms_union(keeping, join.min_lefthand);
            }
            if join.jointype == JOIN_FULL && nulls(join.syn_lefthand, join.min_righthand) {
                keeping = pg_sys::bms_union(keeping, join.min_righthand);
            }
        }
        compat::without_outer_joins(root, keeping)
    }
}

/// The relation that one is a part of, or itself.
unsafe fn whole(root: *mut pg_sys::PlannerInfo, member: i32) -> i32 {
    // SAFETY: the array has a place for each relation.
    unsafe {
        let rel = *(*root).simple_rel_array.add(member as usize);
        if rel.is_null() { member } else { place(rel) }
    }
}

/// The parts of a relation, and theirs.
unsafe fn parts(root: *mut pg_sys::PlannerInfo, member: i32) -> Vec<i32> {
    // SAFETY: the array has a place for each relation, null where that is no part; none is there without parts.
    unsafe {
        let mut found = Vec::new();
        if (*root).append_rel_array.is_null() {
            return found;
        }
        for place in 1..(*root).simple_rel_array_size {
            let step = *(*root).append_rel_array.add(place as usize);
            if let Some(step) = step.as_ref() {
                let parent = step.parent_relid as i32;
                if parent == member || found.contains(&parent) {
                    found.push(place);
                }
            }
        }
        found
    }
}

unsafe fn has_parts(root: *mut pg_sys::PlannerInfo, member: i32) -> bool {
    // SAFETY: the array has a place for each relation.
    unsafe { (**(*root).simple_rte_array.add(member as usize)).inh }
}

fn column(member: i32, number: i16) -> *mut pg_sys::Node {
    let type_oid = match number {
        CTID => pg_sys::TIDOID,
        _ => pg_sys::OIDOID,
    };
    // SAFETY: makes a node.
    unsafe { pg_sys::makeVar(member as _, number, type_oid, -1, pg_sys::InvalidOid, 0).cast() }
}

unsafe fn members(set: pg_sys::Relids) -> Vec<i32> {
    // SAFETY: the caller's.
    unsafe {
        let mut members = Vec::new();
        let mut member = pg_sys::bms_next_member(set, -1);
        while member >= 0 {
            members.push(member);
            member = pg_sys::bms_next_member(set, member);
        }
        members
    }
}

/// The executor parameters of bindings, before those of nested loops take the place of columns.
unsafe fn outside(bindings: &[Binding]) -> Vec<i32> {
    let mut found: Vec<i32> = Vec::new();
    for binding in bindings {
        // SAFETY: the list lives across the call.
        unsafe { find_parameters(binding.expression, (&raw mut found).cast()) };
    }
    found
}

/// A walker of expression trees (nodeFuncs.h).
#[pg_guard]
unsafe extern "C-unwind" fn find_parameters(
    node: *mut pg_sys::Node,
    found: *mut std::ffi::c_void,
) -> bool {
    // SAFETY: the argument is the list that `outside` passed; the cast follows the node's own tag.
    unsafe {
        if node.is_null() {
            return false;
        }
        if is_a(node, pg_sys::NodeTag::T_Param) {
            let parameter = &*node.cast::<pg_sys::Param>();
            if parameter.paramkind == pg_sys::ParamKind::PARAM_EXEC {
                (*found.cast::<Vec<i32>>()).push(parameter.paramid);
            }
            return false;
        }
        pg_sys::expression_tree_walker(node, Some(find_parameters), found)
    }
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
