//! How many invocations bindings make, and how many rows joins with them have.

use super::clause::{self, Binding, Kind};
use super::{Relation, classes, infos};
use crate::columns::Column;
use crate::postgres::{compat, nodes};
use pgrx::pg_sys;

/// Cost of one invocation, by a table or a function, in page reads: more than that of a filter, so that what can be filtered first is, also by
/// a function of COST 10000, which is 25. And not so much that a thousand of them switch JIT compilation on, which is at 100,000.
pub const INVOCATION_COST: f64 = 30.0;

/// Values taken for an array whose length is not known.
const UNKNOWN_LENGTH: f64 = 10.0;

/// Lets joins have a row for each value, by taking the clauses that give a scan its values out of the estimates: a
/// row that comes of an invocation satisfies them. By PostgreSQL's own statistics, which know nothing of a table of
/// invocations, next to none would.
///
/// # Safety
/// All are the planner's, and equivalence classes are complete.
pub unsafe fn count_a_row_for_each_value(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    relation: &Relation,
) {
    // SAFETY: see above. PostgreSQL makes one clause of each pair of members, and finds it again.
    unsafe {
        let relid = (*baserel).relid;
        let take_out = |info: *mut pg_sys::RestrictInfo| {
            let clause = (*info).clause.cast();
            if clause::classify(root, relid, &relation.layout, clause).is_some() {
                compat::always_true_in_estimates(info);
            }
        };
        infos((*baserel).joininfo).for_each(take_out);
        if !(*baserel).has_eclass_joins {
            return;
        }
        for column in Column::INPUTS {
            for info in classes::implied_equalities(root, baserel, &relation.layout, column) {
                take_out(info);
                let both = (*info).clause_relids;
                let outer = pg_sys::bms_del_member(pg_sys::bms_copy(both), relid as _);
                let others = compat::generate_join_implied_equalities(root, both, outer, baserel);
                infos(others).for_each(take_out);
            }
        }
    }
}

/// The invocations that bindings make: the product of their values, each clause on a column narrowing it.
pub fn estimate(bindings: &[Binding]) -> f64 {
    Column::INPUTS
        .into_iter()
        .filter_map(|column| {
            bindings
                .iter()
                .filter(|binding| binding.attribute.column == column)
                .map(|binding| match binding.kind {
                    // SAFETY: the expression is the planner's.
                    Kind::Any => unsafe { array_length(binding.expression) },
                    _ => 1.0,
                })
                .reduce(f64::min)
        })
        .product()
}

/// How many combinations of values there are at most, where the plan alone tells.
pub fn known_values(bindings: &[Binding]) -> Option<u64> {
    bindings
        .iter()
        // SAFETY: the expression is the plan's.
        .all(|binding| binding.kind != Kind::Any || unsafe { has_known_length(binding.expression) })
        .then(|| estimate(bindings) as u64)
}

unsafe fn has_known_length(array: *mut pg_sys::Node) -> bool {
    // SAFETY: the caller's.
    unsafe {
        pgrx::is_a(array, pg_sys::NodeTag::T_Const)
            || pgrx::is_a(array, pg_sys::NodeTag::T_ArrayExpr)
            || joined_arrays(array)
                .is_some_and(|joined| nodes::pointers(joined).all(|array| has_known_length(array)))
    }
}

/// The two arrays that an OR put together.
unsafe fn joined_arrays(array: *mut pg_sys::Node) -> Option<*mut pg_sys::List> {
    // SAFETY: the cast follows the node's own tag.
    unsafe {
        let call = pgrx::is_a(array, pg_sys::NodeTag::T_FuncExpr)
            .then(|| &*array.cast::<pg_sys::FuncExpr>())?;
        (call.funcid.to_u32() == pg_sys::F_ARRAY_CAT).then_some(call.args)
    }
}

unsafe fn array_length(array: *mut pg_sys::Node) -> f64 {
    // SAFETY: each cast follows the node's own tag; a constant array that is not null is whole.
    unsafe {
        if pgrx::is_a(array, pg_sys::NodeTag::T_Const) {
            let constant = &*array.cast::<pg_sys::Const>();
            if constant.constisnull {
                return 0.0;
            }
            let array = pg_sys::pg_detoast_datum(constant.constvalue.cast_mut_ptr());
            let array = array.cast::<pg_sys::ArrayType>();
            let dimensions = array.add(1).cast::<i32>();
            return pg_sys::ArrayGetNItems((*array).ndim, dimensions).into();
        }
        if pgrx::is_a(array, pg_sys::NodeTag::T_ArrayExpr) {
            let elements = (*array.cast::<pg_sys::ArrayExpr>()).elements;
            return nodes::length(elements) as f64;
        }
        if let Some(joined) = joined_arrays(array) {
            return nodes::pointers(joined)
                .map(|array| array_length(array))
                .sum();
        }
        UNKNOWN_LENGTH
    }
}
