//! Classifies a scan's clauses into bindings, conditions and filters, and tells which input column still lacks a value.

use super::clause::{self, Binding, Kind};
use super::relation::ForeignRel;
use crate::columns::{Attribute, Column};
use crate::error::{Error, StatementError};
use crate::fields::Part;
use crate::postgres::expressions::make_null;
use crate::postgres::planner::Clause;
use crate::postgres::refs::Node;
use crate::postgres::{catalog, nulls};
use pgrx::pg_sys;

/// A scan's clauses, classified.
pub struct ScanClauses<'p> {
    /// All of them, as they were given.
    pub all: Vec<Clause<'p>>,
    /// The values of input columns.
    pub bindings: Vec<Binding<'p>>,
    /// The clauses that the bindings stand for.
    pub bound: Vec<Clause<'p>>,
    /// The clauses that read inputs alone, in the order in which they are checked before anything is invoked.
    pub conditions: Vec<Clause<'p>>,
    /// The bounds of a partition that are checked in the same way.
    pub bounds: Vec<Node<'p>>,
    /// The clauses that are left to the executor.
    pub filters: Vec<Clause<'p>>,
}

impl<'p> ScanClauses<'p> {
    /// Classifies clauses.
    ///
    /// Where two input columns equal one outer value, PostgreSQL may give the scan `payload = t.x` and
    /// `qualifier = payload`; then the second column has the value too. Where an input and an output do, it may give `response = t.x` and
    /// `payload = response`.
    pub fn classify(scan: ForeignRel<'p>, all: Vec<Clause<'p>>) -> ScanClauses<'p> {
        let mut clauses = ScanClauses {
            bindings: Vec::new(),
            bound: Vec::new(),
            conditions: Vec::new(),
            bounds: Vec::new(),
            filters: Vec::new(),
            all,
        };
        if let Some(call) = &scan.relation.call {
            clauses.bindings = call.bindings.clone();
            let filters = clauses.all.iter().filter(|clause| !clause.pseudoconstant);
            clauses.filters = filters.copied().collect();
            return clauses;
        }
        if scan.relation.layout.is_of_functions() {
            clauses.classify_of_functions(scan);
            return clauses;
        }
        let mut equal_inputs = Vec::new();
        let mut equal_outputs = Vec::new();
        for clause in &clauses.all {
            // A clause without variables is checked once, by a Result node above the scan.
            let Some(node) = clause.expression().filter(|_| !clause.pseudoconstant) else {
                continue;
            };
            match clause::classify(scan, node) {
                Some(binding) => {
                    clauses.bindings.push(binding);
                    clauses.bound.push(*clause);
                    if binding.may_change {
                        clauses.filters.push(*clause);
                    }
                }
                None => {
                    equal_inputs.extend(clause::equal_inputs(scan, node));
                    equal_outputs.extend(clause::equal_output(scan, node));
                    clauses.filters.push(*clause);
                }
            }
        }
        for (column, output) in equal_outputs {
            if scan.relation.needs(column.column, &clauses.bindings) {
                let given = clauses.filters.iter().find_map(|filter| {
                    clause::given_through(scan, column, output, filter.expression()?)
                });
                clauses.bindings.extend(given);
            }
        }
        clauses.take_conditions(scan);
        clauses.take_bounds(scan);
        clauses.bind_equal_inputs(&equal_inputs);
        // Of values that are equal but not the same, the one of the stricter clause is invoked.
        (clauses.bindings).sort_by_key(|binding| is_nondeterministic(binding.collation));
        clauses
    }

    /// Classifies the clauses of a table of functions. Its rows are the same whichever of them give values, as the name is compared again with the
    /// answer's. What is not bound filters the list.
    fn classify_of_functions(&mut self, scan: ForeignRel<'p>) {
        for clause in &self.all {
            let Some(node) = clause.expression().filter(|_| !clause.pseudoconstant) else {
                continue;
            };
            let binding = clause::classify(scan, node);
            let is_of_name = (binding.as_ref())
                .is_some_and(|binding| binding.attribute.column == Column::FunctionName);
            match binding.filter(|binding| !is_of_name || is_exact(binding)) {
                Some(binding) => {
                    self.bindings.push(binding);
                    if is_of_name {
                        self.filters.push(*clause);
                    } else {
                        self.bound.push(*clause);
                    }
                }
                None => self.filters.push(*clause),
            }
        }
    }

    /// Gives input columns the values of those that they equal.
    fn bind_equal_inputs(&mut self, equal: &[(Attribute, Attribute)]) {
        // Each round binds a column more, or is the last.
        while let Some(more) = equal.iter().find_map(|(a, b)| {
            let of = |column| {
                let mut bindings = self.bindings.iter();
                bindings.find(move |known| known.attribute.column == column)
            };
            let (from, to) = match (of(a.column), of(b.column)) {
                (Some(from), None) => (from, b),
                (None, Some(from)) => (from, a),
                _ => return None,
            };
            let value_type = clause::value_type(to);
            let expression = match from.kind {
                Kind::Equal | Kind::NotDistinct => from.expression?.copy(),
                Kind::Null => make_null(value_type),
                Kind::Any => return None,
            };
            (clause::value_type(&from.attribute) == value_type).then_some(Binding {
                attribute: *to,
                // The equality between the columns lets no null pass.
                kind: Kind::Equal,
                expression: Some(expression),
                ..*from
            })
        }) {
            self.bindings.push(more);
        }
    }

    /// Takes filters that can be checked before an invocation. A filter that is not leakproof does not overtake a filter of a security barrier
    /// below it.
    fn take_conditions(&mut self, scan: ForeignRel) {
        let mut filters = std::mem::take(&mut self.filters);
        filters.sort_by_key(|clause| clause.security_level);
        let mut barrier = u32::MAX;
        for clause in filters {
            let reads_inputs = (clause.expression())
                .is_some_and(|node| scan.inputs_in(node).is_some() && !node.is_volatile());
            if reads_inputs && (clause.leakproof || clause.security_level <= barrier) {
                self.conditions.push(clause);
            } else {
                barrier = barrier.min(clause.security_level);
                self.filters.push(clause);
            }
        }
    }

    /// Takes the bounds of a partition, which has no rows of other values. A bound alone is no reason to invoke.
    fn take_bounds(&mut self, scan: ForeignRel<'p>) {
        for node in &scan.relation.partition {
            if let Some(binding) = clause::classify(scan, *node) {
                let column = binding.attribute.column;
                if (self.bindings.iter()).any(|known| known.attribute.column == column) {
                    self.bindings.push(binding);
                }
                continue;
            }
            // IS NOT NULL stands beside a bound that no null satisfies.
            let is_null_test = node.cast::<pg_sys::NullTest>().is_some();
            let inputs = scan.inputs_in(*node).unwrap_or_default();
            let is_given = |input: &Attribute| !scan.relation.needs(input.column, &self.bindings);
            if !is_null_test && !inputs.is_empty() && inputs.iter().all(is_given) {
                self.bounds.push(*node);
            }
        }
    }

    /// Whether values are checked before they are invoked.
    pub fn checks_inputs(&self) -> bool {
        !self.conditions.is_empty() || !self.bounds.is_empty()
    }

    /// The clauses that filter rows, before or after they are invoked.
    pub fn all_filters(&self) -> Vec<Clause<'p>> {
        [&self.conditions[..], &self.filters].concat()
    }

    /// Errors where both the payload and a field of it have a value.
    pub fn check_payload(&self, scan: ForeignRel) -> Result<(), Error> {
        let bound = |is_wanted: fn(Column) -> bool| {
            let mut columns = self.bindings.iter().map(|binding| binding.attribute.column);
            columns.find(|column| is_wanted(*column))
        };
        let whole = bound(|column| column == Column::Payload);
        let field = bound(|column| column.part() == Some(Part::Payload));
        match (whole, field) {
            (Some(_), Some(field)) => Err(Error::Statement(StatementError::TwoPayloads {
                column: scan.relation.layout.name(field).to_owned(),
                table: scan.relation.layout.table.clone(),
            })),
            _ => Ok(()),
        }
    }

    /// The input column without which invoking would be wrong: function name, payload unless it has fields, a field that is NOT NULL, or any
    /// column that a filter wants to have a value, since no row could pass without.
    pub fn missing_column(&self, scan: ForeignRel) -> Option<Column> {
        let filters = self.all_filters();
        let refuse_null = |number| nulls::refuse_null(&filters, scan.rel.relid, number);
        let layout = &scan.relation.layout;
        let of_functions = layout.is_of_functions();
        let has_payload =
            (self.bindings.iter()).any(|binding| binding.attribute.column == Column::Payload);
        let is_required = |column| {
            let found = layout.find(column).filter(|_| !has_payload);
            found.is_some_and(|found| found.is_required)
        };
        let is_wanted = |column: Column| match column {
            // Without a name all functions are listed, of which no qualifier says what.
            Column::FunctionName if of_functions => {
                let gives_qualifier = |binding: &Binding| {
                    binding.attribute.column == Column::Qualifier && binding.kind != Kind::Null
                };
                let is_fixed = scan.relation.fixed.get(Column::Qualifier).is_some();
                layout.find(Column::Qualifier).is_some()
                    && (is_fixed || self.bindings.iter().any(gives_qualifier))
            }
            Column::FunctionName => true,
            Column::Payload if !layout.has_payload_fields() => true,
            _ if is_required(column) => true,
            _ => layout
                .find(column)
                .is_some_and(|found| refuse_null(found.number)),
        };
        (layout.inputs_in_order())
            .filter(|column| scan.relation.needs(*column, &self.bindings) && is_wanted(*column))
            .last()
    }
}

/// Whether the values of a binding are those that the clause lets pass, and none of them is null.
fn is_exact(binding: &Binding) -> bool {
    matches!(binding.kind, Kind::Equal | Kind::Any) && !is_nondeterministic(binding.collation)
}

fn is_nondeterministic(collation: pg_sys::Oid) -> bool {
    collation != pg_sys::InvalidOid && !catalog::is_deterministic(collation)
}
