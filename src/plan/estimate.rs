//! How many invocations bindings make, and how many rows joins with them have.

use super::clause::{self, Binding, Kind};
use super::relation::ForeignRel;
use crate::columns::{Attribute, Column};
use crate::postgres::compat;
use crate::postgres::expressions::{array_length, columns};
use crate::postgres::list::List;
use crate::postgres::planner::Clause;
use crate::postgres::refs::Node;
use pgrx::pg_sys;

/// Cost of one invocation, by a table or a function, in page reads: more than that of a filter, so that clauses that can filter first do, also by
/// a function of COST 10000, which is 25. And not so much that a thousand of them switch JIT compilation on, which is at 100,000.
pub const INVOCATION_COST: f64 = 30.0;

/// Values taken for an array whose length is not known.
const UNKNOWN_LENGTH: f64 = 10.0;

/// Lets joins have a row for each value, by taking the clauses that give a scan its values out of the estimates: a
/// row that comes of an invocation satisfies them. By PostgreSQL's own statistics, which know nothing of a table of
/// invocations, next to none would.
pub fn count_a_row_for_each_value<'p>(scan: ForeignRel<'p>) {
    // All functions are rows of the table, whatever is asked for.
    if scan.relation.layout.is_of_functions() {
        return;
    }
    for joined in scan.join_clauses() {
        if joined.binding.is_some() {
            compat::always_true_in_estimates(joined.clause);
        }
        if joined.implied_for.is_none() {
            continue;
        }
        // PostgreSQL makes one clause of each pair of members, and finds it again.
        let both = joined.clause.relids();
        let outer = both.without(scan.rel.relid as i32);
        let gives_values = |clause: &Clause<'p>| {
            (clause.expression()).is_some_and(|clause| clause::classify(scan, clause).is_some())
        };
        let equalities = scan.root.join_equalities(scan.rel, outer, both);
        for clause in equalities.iter().filter(gives_values) {
            compat::always_true_in_estimates(clause);
        }
    }
}

/// Functions taken for an account, and how many a page has.
const LISTED: f64 = 200.0;
const PAGE: f64 = 50.0;

/// What a scan sends, and how many rows come of it before filters.
pub struct Estimate {
    /// Requests.
    pub requests: f64,
    /// Rows.
    pub rows: f64,
}

impl Estimate {
    /// Each invocation is one row.
    pub fn of_invocations(count: f64) -> Estimate {
        Estimate {
            requests: count,
            rows: count,
        }
    }
}

/// The estimate of a scan with these bindings.
pub fn estimate_scan(scan: ForeignRel, bindings: &[Binding]) -> Estimate {
    let each = estimate(bindings);
    let lists = scan.relation.layout.is_of_functions()
        && scan.relation.needs(Column::FunctionName, bindings);
    match lists {
        // Each state of a listed function takes a request.
        true => Estimate {
            requests: each * (LISTED / PAGE + if reads_state(scan) { LISTED } else { 0.0 }),
            rows: each * LISTED,
        },
        false => Estimate {
            requests: each,
            rows: each * rows_of_invocation(scan),
        },
    }
}

fn reads_state(scan: ForeignRel) -> bool {
    let state = scan.relation.layout.find(Column::State);
    let is_read = |state: &Attribute| {
        let read = columns(scan.rel.output().as_node(), scan.rel.relid);
        read.contains(&state.number.into()) || read.contains(&0)
    };
    state.is_some_and(is_read)
}

/// The invocations that bindings make: the product of their values, each clause on a column narrowing it.
pub fn estimate(bindings: &[Binding]) -> f64 {
    let values = |binding: &Binding| match binding.kind {
        Kind::Any => binding.expression.map_or(UNKNOWN_LENGTH, length),
        _ => 1.0,
    };
    let mut least: Vec<(Column, f64)> = Vec::new();
    for binding in bindings {
        let (column, values) = (binding.attribute.column, values(binding));
        match least.iter_mut().find(|(known, _)| *known == column) {
            Some((_, known)) => *known = known.min(values),
            None => least.push((column, values)),
        }
    }
    least.into_iter().map(|(_, values)| values).product()
}

/// The rows that an invocation gives.
pub fn rows_of_invocation(scan: ForeignRel) -> f64 {
    match scan.relation.layout.rows {
        Some(_) => UNKNOWN_LENGTH,
        None => 1.0,
    }
}

/// How many combinations of values there are at most, where the plan alone tells.
pub fn known_values(bindings: &[Binding]) -> Option<u64> {
    let is_known = |binding: &Binding| {
        binding.kind != Kind::Any || binding.expression.is_some_and(has_known_length)
    };
    (bindings.iter().all(is_known)).then(|| estimate(bindings) as u64)
}

fn has_known_length(array: Node) -> bool {
    array.cast::<pg_sys::Const>().is_some()
        || array.cast::<pg_sys::ArrayExpr>().is_some()
        || joined_arrays(array).is_some_and(|joined| joined.iter().all(has_known_length))
}

/// The two arrays that an OR put together.
fn joined_arrays(array: Node) -> Option<List<pg_sys::Node>> {
    let call = array.cast::<pg_sys::FuncExpr>()?;
    (call.funcid.to_u32() == pg_sys::F_ARRAY_CAT).then(|| call.arguments())
}

fn length(array: Node) -> f64 {
    if let Some(constant) = array.cast::<pg_sys::Const>() {
        return array_length(constant).into();
    }
    if let Some(array) = array.cast::<pg_sys::ArrayExpr>() {
        return array.elements().len() as f64;
    }
    joined_arrays(array).map_or(UNKNOWN_LENGTH, |joined| joined.iter().map(length).sum())
}
