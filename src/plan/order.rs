//! Which other relations come before a scan although they give it no values, so that nothing is invoked for a join that they leave
//! empty.
//!
//! A permission table in a view has to be known before, also where the caller of the view has given the scan all its values. It is
//! known before, too, where that can't make the invocations more: where no join gives values. What is joined by the answer itself comes after.

use super::paths::{AVOIDED_COST, is_ours, place};
use super::turns::Turns;
use super::{infos, semijoins};
use crate::columns::Column;
use crate::postgres::{compat, nodes};
use pgrx::pg_sys;
use std::ffi::CStr;

/// What the other relations of a query have to do with a scan.
pub struct Others {
    /// Those that can come before it.
    candidates: pg_sys::Relids,
    /// Those of them that are joined by the answer, and so after it.
    after: pg_sys::Relids,
    /// Sets of them that are joined to each other.
    joined: Vec<pg_sys::Relids>,
}

impl Others {
    /// Looks at the query of a scan.
    ///
    /// # Safety
    /// All are the planner's, and sizes are estimated.
    pub unsafe fn of(
        root: *mut pg_sys::PlannerInfo,
        baserel: *mut pg_sys::RelOptInfo,
        turns: Option<&Turns>,
    ) -> Others {
        let mut others = Others {
            candidates: std::ptr::null_mut(),
            after: std::ptr::null_mut(),
            joined: Vec::new(),
        };
        // SAFETY: the array has a place for each relation, null where there is none.
        unsafe {
            let scan = place(baserel) as usize;
            for member in 1..(*root).simple_rel_array_size as usize {
                let rel = *(*root).simple_rel_array.add(member);
                if member != scan
                    && !rel.is_null()
                    && (*rel).reloptkind == pg_sys::RelOptKind::RELOPT_BASEREL
                    && comes_before(root, scan, rel, turns)
                {
                    others.candidates = pg_sys::bms_add_member(others.candidates, member as _);
                }
            }
            others.look_at_clauses(root, scan);
            others.look_at_classes(root, scan);
            for join in nodes::pointers::<pg_sys::SpecialJoinInfo>((*root).join_info_list) {
                if (*join).jointype == pg_sys::JoinType::JOIN_SEMI {
                    // The right side comes first as a whole.
                    others.join((*join).syn_righthand);
                }
            }
        }
        others
    }

    /// Those that come before the scan, beside those of `giving` that give it values.
    ///
    /// # Safety
    /// The set is the planner's.
    pub unsafe fn before(&self, giving: pg_sys::Relids) -> pg_sys::Relids {
        // SAFETY: see above; each of these makes a new set.
        unsafe {
            let mut after = pg_sys::bms_difference(self.after, giving);
            loop {
                let known = pg_sys::bms_num_members(after);
                for joined in &self.joined {
                    let joined = pg_sys::bms_difference(*joined, giving);
                    if pg_sys::bms_overlap(joined, after) {
                        after = pg_sys::bms_add_members(after, joined);
                    }
                }
                if pg_sys::bms_num_members(after) == known {
                    return pg_sys::bms_difference(self.candidates, after);
                }
            }
        }
    }

    unsafe fn join(&mut self, relids: pg_sys::Relids) {
        // SAFETY: the set is the planner's.
        let joined = unsafe { pg_sys::bms_intersect(relids, self.candidates) };
        self.joined.push(joined);
    }

    unsafe fn come_after(&mut self, relids: pg_sys::Relids) {
        // SAFETY: the set is the planner's.
        self.after = unsafe { pg_sys::bms_union(self.after, relids) };
    }

    unsafe fn look_at_clauses(&mut self, root: *mut pg_sys::PlannerInfo, scan: usize) {
        // SAFETY: the planner's structures.
        unsafe {
            for member in 1..(*root).simple_rel_array_size as usize {
                let rel = *(*root).simple_rel_array.add(member);
                let is_other = pg_sys::bms_is_member(member as _, self.candidates);
                if rel.is_null() || !is_other && member != scan {
                    continue;
                }
                for info in infos((*rel).joininfo) {
                    self.join((*info).clause_relids);
                    if reads_answer(root, (*info).clause.cast(), scan) {
                        self.come_after((*info).clause_relids);
                    }
                }
                if pg_sys::bms_is_member(scan as _, (*rel).lateral_relids) {
                    self.come_after((*rel).relids);
                }
            }
        }
    }

    unsafe fn look_at_classes(&mut self, root: *mut pg_sys::PlannerInfo, scan: usize) {
        // SAFETY: the planner's structures.
        unsafe {
            for class in nodes::pointers::<pg_sys::EquivalenceClass>((*root).eq_classes) {
                // Its members are compared with the constant, and not with each other.
                if (*class).ec_has_const || !(*class).ec_merged.is_null() {
                    continue;
                }
                self.join((*class).ec_relids);
                let mut members = nodes::pointers::<pg_sys::EquivalenceMember>((*class).ec_members);
                if members.any(|member| reads_answer(root, (*member).em_expr.cast(), scan)) {
                    self.come_after((*class).ec_relids);
                }
            }
        }
    }
}

/// Joins a scan that waits for other relations, with what comes after it, where PostgreSQL wants that done first: it would take parameters of
/// neither, and leave only a path that does not wait or can't run.
///
/// # Safety
/// All are the planner's, with which it calls the hook for the paths of a join.
pub unsafe fn wait_on(hook: &compat::JoinHook) {
    use pg_sys::JoinType::{JOIN_ANTI, JOIN_INNER, JOIN_LEFT, JOIN_SEMI};
    // SAFETY: see above. A new path may remove others from its list, so what is walked is another one.
    unsafe {
        let is_avoided = |path: *mut pg_sys::Path| (*path).total_cost >= AVOIDED_COST;
        let all = |rel: *mut pg_sys::RelOptInfo| -> Vec<*mut pg_sys::Path> {
            nodes::pointers((*rel).pathlist).collect()
        };
        let known = all(hook.joinrel);
        if !matches!(
            hook.jointype,
            JOIN_INNER | JOIN_LEFT | JOIN_SEMI | JOIN_ANTI
        ) || !known.iter().all(|path| is_avoided(*path))
        {
            return;
        }
        let parameters = |path: *mut pg_sys::Path| -> pg_sys::Relids {
            ((*path).param_info.as_ref()).map_or(std::ptr::null_mut(), |info| info.ppi_req_outer)
        };
        let (left, right) = ((*hook.outerrel).relids, (*hook.innerrel).relids);
        for outer in all(hook.outerrel) {
            let of_outer = parameters(outer);
            if pg_sys::bms_overlap(of_outer, right) || is_avoided(outer) {
                continue;
            }
            for inner in all(hook.innerrel) {
                let of_inner = parameters(inner);
                // PostgreSQL itself looks at those that take parameters of both.
                let waits = match pg_sys::bms_overlap(of_inner, left) {
                    true => !of_outer.is_null() && pg_sys::bms_is_subset(of_inner, left),
                    false => !of_outer.is_null() || !of_inner.is_null(),
                };
                if waits && !is_avoided(inner) {
                    let join = compat::create_nestloop_path(hook, hook.jointype, outer, inner);
                    pg_sys::add_path(hook.joinrel, join);
                }
            }
        }
    }
}

/// Whether a relation can be read before the scan: no outer join is between them, except one that has it outside, and it does not wait for
/// the scan itself.
unsafe fn comes_before(
    root: *mut pg_sys::PlannerInfo,
    scan: usize,
    rel: *mut pg_sys::RelOptInfo,
    turns: Option<&Turns>,
) -> bool {
    use pg_sys::JoinType::{JOIN_FULL, JOIN_SEMI};
    // SAFETY: the planner's structures.
    unsafe {
        let scan = scan as i32;
        let other = (*rel).relid as i32;
        // Of two scans one waits for the other.
        if is_ours(rel) && !turns.is_some_and(|turns| turns.is_before(other, scan)) {
            return false;
        }
        nodes::pointers::<pg_sys::SpecialJoinInfo>((*root).join_info_list).all(|join| {
            let join = &*join;
            let in_left = |member| pg_sys::bms_is_member(member, join.syn_lefthand);
            let in_right = |member| pg_sys::bms_is_member(member, join.syn_righthand);
            match join.jointype {
                JOIN_FULL => in_left(scan) == in_left(other) && in_right(scan) == in_right(other),
                _ if in_right(scan) || !in_right(other) => true,
                JOIN_SEMI => {
                    (join.semi_can_btree || join.semi_can_hash)
                        && !semijoins::is_waiting(root, join.syn_righthand)
                }
                _ => false,
            }
        })
    }
}

/// Whether an expression reads anything of a scan that is not an input column.
unsafe fn reads_answer(
    root: *mut pg_sys::PlannerInfo,
    expression: *mut pg_sys::Node,
    scan: usize,
) -> bool {
    // SAFETY: the array has a place for each relation.
    unsafe {
        let entry = *(*root).simple_rte_array.add(scan);
        let mut numbers = std::ptr::null_mut();
        pg_sys::pull_varattnos(expression, scan as _, &mut numbers);
        let mut member = pg_sys::bms_next_member(numbers, -1);
        while member >= 0 {
            let number = member + pg_sys::FirstLowInvalidHeapAttributeNumber;
            if !is_input(&*entry, number) {
                return true;
            }
            member = pg_sys::bms_next_member(numbers, member);
        }
        false
    }
}

/// Whether a column of a foreign table, or of the partitioned table or UNION ALL that it is a part of, has the name of an input. What
/// the columns of a UNION ALL are made of is not looked at.
unsafe fn is_input(entry: &pg_sys::RangeTblEntry, number: i32) -> bool {
    // SAFETY: a name of the catalog is zero-terminated.
    unsafe {
        if entry.rtekind != pg_sys::RTEKind::RTE_RELATION || number <= 0 {
            return false;
        }
        let name = pg_sys::get_attname(entry.relid, number as _, true);
        !name.is_null() && Column::is_name_of_input(CStr::from_ptr(name).to_bytes())
    }
}

/// Whether a query may be that of a view that is a security barrier, or inside of one. A query does not know which part of the one around
/// it is itself, so it is enough that there is such a view.
///
/// # Safety
/// `root` is the planner's.
pub unsafe fn is_behind_barrier(root: *mut pg_sys::PlannerInfo) -> bool {
    // SAFETY: see above.
    unsafe {
        let mut outer = (*root).parent_root;
        while !outer.is_null() {
            let mut entries = nodes::pointers::<pg_sys::RangeTblEntry>((*(*outer).parse).rtable);
            if entries.any(|entry| (*entry).security_barrier) {
                return true;
            }
            outer = (*outer).parent_root;
        }
        false
    }
}
