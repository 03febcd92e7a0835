//! A foreign table while a query is planned. Its clauses are classified once for each set of them, and kept.

use super::calls::Call;
use super::clause::{self, Binding};
use super::paths::OuterRequirement;
use super::paths::{get_foreign_paths, outer_requirements};
use super::scan_clauses::ScanClauses;
use super::scan_order::ScanOrder;
use crate::columns::{Attribute, Column, Layout};
use crate::lambda::request::Inputs;
use crate::postgres::planner::{Clause, Rel, Root};
use crate::postgres::refs::{Node, Ref};
use pgrx::pg_sys;
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

/// A foreign table, as the planner's structure points to it.
pub struct Relation<'p> {
    /// The foreign table.
    pub table: pg_sys::Oid,
    /// Its columns.
    pub layout: Layout,
    /// The bounds of its rows if it is a partition.
    pub partition: Vec<Node<'p>>,
    /// The values that its options fix. A change of options makes PostgreSQL plan again.
    pub fixed: Inputs,
    /// The call of `aws_lambda.invoke` that the scan stands for.
    pub call: Option<Call<'p>>,
    /// The order of the query's scans, kept with the first of them.
    pub scan_order: OnceCell<ScanOrder>,
    scan_clauses: RefCell<Vec<Rc<ScanClauses<'p>>>>,
    join_clauses: OnceCell<Vec<JoinClause<'p>>>,
    outer_requirements: OnceCell<Vec<OuterRequirement<'p>>>,
}

/// A foreign table of this wrapper's in a query.
#[derive(Clone, Copy)]
pub struct ForeignRel<'p> {
    /// The query.
    pub root: Root<'p>,
    /// The table for the planner.
    pub rel: Rel<'p>,
    /// The table for this wrapper.
    pub relation: &'p Relation<'p>,
}

/// A join clause of a foreign table.
pub struct JoinClause<'p> {
    /// The clause.
    pub clause: Clause<'p>,
    /// The values that it gives an input column.
    pub binding: Option<Binding<'p>>,
    /// The input column for which an equivalence class implies the clause.
    pub implied_for: Option<Column>,
}

impl JoinClause<'_> {
    /// The input column that the clause gives values.
    pub fn column(&self) -> Option<Column> {
        Some(self.binding.as_ref()?.attribute.column)
    }
}

impl<'p> Relation<'p> {
    /// A relation of which nothing is classified yet.
    pub fn new(
        table: pg_sys::Oid,
        layout: Layout,
        partition: Vec<Node<'p>>,
        fixed: Inputs,
        call: Option<Call<'p>>,
    ) -> Relation<'p> {
        Relation {
            table,
            layout,
            partition,
            fixed,
            call,
            scan_order: OnceCell::new(),
            scan_clauses: RefCell::default(),
            join_clauses: OnceCell::new(),
            outer_requirements: OnceCell::new(),
        }
    }

    /// Whether the table has an input column to which neither a binding nor an option gives a value.
    pub fn needs(&self, column: Column, bindings: &[Binding]) -> bool {
        self.layout.find(column).is_some()
            && self.fixed.get(column).is_none()
            && !bindings
                .iter()
                .any(|binding| binding.attribute.column == column)
    }
}

impl<'p> ForeignRel<'p> {
    /// The foreign table of a relation, if it is one of this wrapper's and its size is estimated.
    pub fn of(root: Root<'p>, rel: Rel<'p>) -> Option<ForeignRel<'p>> {
        Some(ForeignRel {
            root,
            rel,
            relation: relation_of(rel)?,
        })
    }

    /// The foreign tables of a query whose sizes are estimated.
    pub fn all(root: Root<'p>) -> impl Iterator<Item = ForeignRel<'p>> {
        root.relations()
            .filter_map(move |rel| ForeignRel::of(root, rel))
    }

    /// The clauses about the table alone.
    pub fn own_clauses(self) -> Rc<ScanClauses<'p>> {
        self.scan_clauses(None)
    }

    /// The clauses of a path of the table that takes parameters from other relations.
    pub fn scan_clauses(
        self,
        parameters: Option<Ref<'p, pg_sys::ParamPathInfo>>,
    ) -> Rc<ScanClauses<'p>> {
        let joined = parameters
            .into_iter()
            .flat_map(|info| info.clauses().iter());
        let clauses: Vec<Clause> = self.rel.restrictions().iter().chain(joined).collect();
        let known = self.relation.scan_clauses.borrow();
        let found = known.iter().find(|known| known.all == clauses).cloned();
        drop(known);
        found.unwrap_or_else(|| {
            let classified = (self.rel).in_context(|| ScanClauses::classify(self, clauses));
            let classified = Rc::new(classified);
            let mut known = self.relation.scan_clauses.borrow_mut();
            known.push(classified.clone());
            classified
        })
    }

    /// The join clauses, those that equivalence classes imply for input columns among them.
    pub fn join_clauses(self) -> &'p [JoinClause<'p>] {
        (self.relation.join_clauses).get_or_init(|| self.rel.in_context(|| self.classify_joins()))
    }

    fn classify_joins(self) -> Vec<JoinClause<'p>> {
        let classify = |clause: Clause<'p>, implied_for| JoinClause {
            clause,
            binding: (clause.expression()).and_then(|clause| clause::classify(self, clause)),
            implied_for,
        };
        let written = self.rel.join_clauses().iter();
        let mut all: Vec<_> = written.map(|clause| classify(clause, None)).collect();
        if self.rel.has_eclass_joins {
            for column in self.relation.layout.inputs_in_order() {
                let is_column = |node: Node| clause::is_column(self, node, column);
                let implied = self.root.implied_equalities(self.rel, &is_column);
                all.extend(implied.iter().map(|clause| classify(clause, Some(column))));
            }
        }
        all
    }

    /// The relations that have to be on the outer side of a join with the table.
    pub fn outer_requirements(self) -> &'p [OuterRequirement<'p>] {
        (self.relation.outer_requirements)
            .get_or_init(|| self.rel.in_context(|| outer_requirements(self)))
    }

    /// The columns that an expression reads of the table, if all are inputs.
    pub fn inputs_in(self, node: Node) -> Option<Vec<Attribute>> {
        let numbers = node.columns(self.rel.relid);
        self.relation.layout.inputs(&numbers)
    }

    /// Whether a clause of the table alone, or an option, gives a column values.
    pub fn has_own(self, column: Column) -> bool {
        !(self.relation).needs(column, &self.own_clauses().bindings)
    }
}

/// What a relation of this wrapper points to, once its size is estimated.
fn relation_of<'p>(rel: Rel<'p>) -> Option<&'p Relation<'p>> {
    if !is_ours(rel) {
        return None;
    }
    // SAFETY: a relation with this wrapper's callbacks points to nothing, or to what the estimate of its size left there. That
    // lives as long as the planner's memory context.
    unsafe { rel.fdw_private.cast::<Relation<'p>>().as_ref() }
}

/// Whether a relation stands for a call of `aws_lambda.invoke`.
pub fn is_call(rel: Rel) -> bool {
    relation_of(rel).is_some_and(|relation| relation.call.is_some())
}

/// Whether a relation is a foreign table of this wrapper.
pub fn is_ours(rel: Rel) -> bool {
    rel.routine().is_some_and(is_our_routine)
}

/// Whether callbacks are this wrapper's.
pub fn is_our_routine(routine: Ref<pg_sys::FdwRoutine>) -> bool {
    (routine.GetForeignPaths).is_some_and(|callback| {
        std::ptr::fn_addr_eq(
            callback,
            get_foreign_paths as unsafe extern "C-unwind" fn(_, _, _),
        )
    })
}
