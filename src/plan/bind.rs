//! Sorts a scan's clauses into bindings and filters, and tells which input column still lacks a value.

use super::Relation;
use super::clause::{self, Binding, Kind};
use crate::columns::{Attribute, Column};
use crate::postgres::compat;
use pgrx::pg_sys;

/// A scan's clauses, sorted.
pub struct Bound {
    /// What gives input columns their values.
    pub bindings: Vec<Binding>,
    /// The clauses that the bindings stand for.
    pub taken: Vec<*mut pg_sys::RestrictInfo>,
    /// The clauses that are checked before anything is invoked, as they read inputs alone, in the order in which that is done.
    pub checked: Vec<*mut pg_sys::RestrictInfo>,
    /// What else holds for the rows of a partition. It is checked as these are.
    pub bounds: Vec<*mut pg_sys::Node>,
    /// The clauses that are left to the executor.
    pub filters: Vec<*mut pg_sys::RestrictInfo>,
}

impl Bound {
    /// Sorts clauses.
    ///
    /// Where two input columns equal one outer value, PostgreSQL may give the scan `payload = t.x` and
    /// `qualifier = payload`; then the second column has the value too. Where an input and an output do, it may give `response = t.x` and
    /// `payload = response`.
    ///
    /// # Safety
    /// All pointers are the planner's.
    pub unsafe fn sort(
        root: *mut pg_sys::PlannerInfo,
        relid: pg_sys::Index,
        relation: &Relation,
        clauses: impl Iterator<Item = *mut pg_sys::RestrictInfo>,
    ) -> Bound {
        let mut bound = Bound {
            bindings: Vec::new(),
            taken: Vec::new(),
            checked: Vec::new(),
            bounds: Vec::new(),
            filters: Vec::new(),
        };
        let mut equal = Vec::new();
        let mut outputs = Vec::new();
        for info in clauses {
            // SAFETY: a RestrictInfo has a clause.
            unsafe {
                // A clause without variables is checked once, by a Result node above the scan.
                if (*info).pseudoconstant {
                    continue;
                }
                let node = (*info).clause.cast();
                match clause::classify(root, relid, &relation.layout, node) {
                    Some(binding) => {
                        bound.bindings.push(binding);
                        bound.taken.push(info);
                    }
                    None => {
                        equal.extend(clause::equal_inputs(relid, &relation.layout, node));
                        outputs.extend(clause::equal_output(relid, &relation.layout, node));
                        bound.filters.push(info);
                    }
                }
            }
        }
        for (column, output) in outputs {
            if relation.needs(column.column, &bound.bindings) {
                // SAFETY: the clauses are the planner's.
                let given = bound.filters.iter().find_map(|info| unsafe {
                    let clause = (**info).clause.cast();
                    clause::given_through(root, relid, column, output, clause)
                });
                bound.bindings.extend(given);
            }
        }
        // SAFETY: the clauses are the planner's.
        unsafe { bound.check_inputs_first(relid, relation) };
        // SAFETY: see above.
        unsafe { bound.take_bounds(root, relid, relation) };
        // Each round binds a column more, or is the last.
        while let Some(more) = equal.iter().find_map(|(a, b)| {
            let of = |column| {
                bound
                    .bindings
                    .iter()
                    .find(move |known| known.attribute.column == column)
            };
            let (from, to) = match (of(a.column), of(b.column)) {
                (Some(from), None) => (from, b),
                (None, Some(from)) => (from, a),
                _ => return None,
            };
            let same_type = clause::value_type(&from.attribute) == clause::value_type(to);
            // SAFETY: the expression is the planner's.
            let expression = unsafe {
                match from.kind {
                    Kind::Equal | Kind::NotDistinct => {
                        pg_sys::copyObjectImpl(from.expression.cast()).cast()
                    }
                    Kind::Null => {
                        let value_type = clause::value_type(to);
                        let collation = pg_sys::get_typcollation(value_type);
                        pg_sys::makeNullConst(value_type, -1, collation).cast()
                    }
                    Kind::Any => return None,
                }
            };
            same_type.then_some(Binding {
                attribute: *to,
                // The equality between the columns lets no null pass.
                kind: Kind::Equal,
                expression,
                ..*from
            })
        }) {
            bound.bindings.push(more);
        }
        // Of values that are equal but not the same, the one that the stricter clause names is meant.
        bound.bindings.sort_by_key(|binding| {
            let collation = binding.collation;
            // SAFETY: a catalog look-up of a collation that a clause uses.
            collation != pg_sys::InvalidOid
                && !unsafe { pg_sys::get_collation_isdeterministic(collation) }
        });
        bound
    }

    /// Of the filters, takes those that can be checked before. One that may tell of the values it sees does not overtake one of a
    /// security barrier below it.
    unsafe fn check_inputs_first(&mut self, relid: pg_sys::Index, relation: &Relation) {
        // SAFETY: the clauses are the planner's.
        unsafe {
            let mut all = std::mem::take(&mut self.filters);
            all.sort_by_key(|info| (**info).security_level);
            let mut barrier = u32::MAX;
            for info in all {
                let clause = (*info).clause.cast();
                if relation.layout.inputs_in(clause, relid).is_some()
                    && !pg_sys::contain_volatile_functions(clause)
                    && ((*info).leakproof || (*info).security_level <= barrier)
                {
                    self.checked.push(info);
                } else {
                    barrier = barrier.min((*info).security_level);
                    self.filters.push(info);
                }
            }
        }
    }

    /// A partition has no rows of other values. That alone is no reason to invoke for these.
    unsafe fn take_bounds(
        &mut self,
        root: *mut pg_sys::PlannerInfo,
        relid: pg_sys::Index,
        relation: &Relation,
    ) {
        for node in &relation.partition {
            // SAFETY: the expressions are the planner's.
            unsafe {
                if let Some(binding) = clause::classify(root, relid, &relation.layout, *node) {
                    let column = binding.attribute.column;
                    if (self.bindings.iter()).any(|known| known.attribute.column == column) {
                        self.bindings.push(binding);
                    }
                    continue;
                }
                // What lets no null pass is strict beside it.
                let is_strict = pgrx::is_a(*node, pg_sys::NodeTag::T_NullTest);
                let inputs = relation.layout.inputs_in(*node, relid).unwrap_or_default();
                let is_given = |input: &Attribute| !relation.needs(input.column, &self.bindings);
                if !is_strict && !inputs.is_empty() && inputs.iter().all(is_given) {
                    self.bounds.push(*node);
                }
            }
        }
    }

    /// Whether anything is checked of values before they are invoked.
    pub fn checks_inputs(&self) -> bool {
        !self.checked.is_empty() || !self.bounds.is_empty()
    }

    /// What filters rows, before or after they are invoked.
    pub fn all_filters(&self) -> Vec<*mut pg_sys::RestrictInfo> {
        [&self.checked[..], &self.filters].concat()
    }

    /// The input column without which invoking would be wrong: payload and function name, and any column that a
    /// filter wants to have a value, since no row could pass.
    ///
    /// # Safety
    /// The clauses are still the planner's.
    pub unsafe fn lacking(&self, relid: pg_sys::Index, relation: &Relation) -> Option<Column> {
        let filters = self.all_filters();
        let wanted = |column: Column| {
            // SAFETY: see above.
            let strict = |number| unsafe { compat::refuse_null(&filters, relid, number) };
            match column {
                Column::Payload | Column::FunctionName => true,
                _ => (relation.layout.find(column)).is_some_and(|found| strict(found.number)),
            }
        };
        Column::INPUTS
            .into_iter()
            .rev()
            .find(|column| relation.needs(*column, &self.bindings) && wanted(*column))
    }
}
