//! The lists that a path carries to a plan, and a plan to the executor. They have integers and expressions alone, since a cached plan is copied.

use super::calls::Called;
use super::clause::{Binding, Kind};
use super::sources::{Decoded, Source};
use crate::backend::config;
use crate::columns::{Column, Layout};
use crate::error::{Error, NoValueReason, StatementError};
use crate::postgres::executor::EState;
use crate::postgres::list::{IntList, List};
use crate::postgres::refs::{Node, Ref};
use pgrx::pg_sys;

/// What a plan carries to the scan.
pub struct PlanData<'p> {
    /// The bindings, whose expressions are the first of the plan's `fdw_exprs`.
    pub bindings: Vec<Binding<'p>>,
    /// The row that gives the values, and the expressions that identify it.
    pub source: (Decoded, Vec<Node<'p>>),
    /// Conditions without which nothing is invoked, of joins and of input columns: the expressions behind those of the bindings.
    pub conditions: Vec<Node<'p>>,
    /// Columns that the query reads; `None` reads all.
    pub used: Option<Vec<i16>>,
    /// How the scan is run.
    pub mode: Mode,
    /// The function whose call the scan stands for.
    pub call: Option<Called>,
}

/// How a scan is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Its bindings are evaluated, and their values invoked.
    Plain,
    /// It can't be: an input column has no value. Whether a join condition on it was there.
    Missing(Column, bool),
    /// A node that prefetches does both for it, and leaves a pointer in this executor parameter.
    Prefetch(i32),
}

impl Mode {
    /// The numbers for a path and a plan.
    fn to_list<'p>(self) -> IntList<'p> {
        let numbers = match self {
            Mode::Plain => Vec::new(),
            Mode::Missing(column, in_join) => vec![column.number(), in_join.into()],
            Mode::Prefetch(parameter) => vec![parameter],
        };
        IntList::of(numbers)
    }

    /// Reads the numbers.
    pub fn from_numbers(numbers: &[i32]) -> Mode {
        match *numbers {
            [column, in_join] => Column::from_number(column)
                .map_or(Mode::Plain, |column| Mode::Missing(column, in_join != 0)),
            [parameter] => Mode::Prefetch(parameter),
            _ => Mode::Plain,
        }
    }
}

/// A path's own list: how the scan is run, and join clauses that are checked before it is.
pub fn path_private<'p>(mode: Mode, clauses: List<'p, pg_sys::Node>) -> List<'p, pg_sys::Node> {
    match (mode, clauses.is_empty()) {
        (Mode::Plain, true) => List::EMPTY,
        _ => List::of_optional([mode.to_list().as_node(), clauses.as_node()]),
    }
}

/// The mode as a list of numbers, and the clauses.
pub fn of_path(path: Ref<'_, pg_sys::ForeignPath>) -> (IntList<'_>, List<'_, pg_sys::Node>) {
    let (mode, clauses) = (path.private().get(0), path.private().get(1));
    (
        mode.map_or(IntList::EMPTY, Node::as_integers),
        clauses.map_or(List::EMPTY, Node::as_list),
    )
}

/// How the scan of a path is run.
pub fn mode_of(path: Ref<pg_sys::ForeignPath>) -> Mode {
    let (mode, _) = of_path(path);
    Mode::from_numbers(&mode.iter().collect::<Vec<_>>())
}

/// Bindings for a plan: numbers, and expressions in a list of their own.
pub fn encode<'p>(bindings: &[Binding<'p>]) -> (IntList<'p>, List<'p, pg_sys::Node>) {
    let numbers = bindings.iter().flat_map(|binding| {
        [
            binding.attribute.number.into(),
            binding.kind as i32,
            binding.collation.to_u32() as i32,
        ]
    });
    let expressions = bindings.iter().filter_map(|binding| binding.expression);
    (IntList::of(numbers), List::of(expressions))
}

/// Reads bindings back. Takes those of the expressions that belong to them.
pub fn decode<'p>(
    numbers: &[i32],
    expressions: &mut impl Iterator<Item = Node<'p>>,
    layout: &Layout,
) -> Vec<Binding<'p>> {
    (numbers.chunks_exact(3))
        .filter_map(|binding| {
            let kind = Kind::from_number(binding[1])?;
            Some(Binding {
                attribute: *layout.attribute(binding[0] as i16)?,
                kind,
                collation: pg_sys::Oid::from(binding[2] as u32),
                expression: match kind {
                    Kind::Null => None,
                    _ => Some(expressions.next()?),
                },
                may_change: false,
            })
        })
        .collect()
}

/// The function whose call a scan stands for.
pub fn called_function(plan: Ref<pg_sys::ForeignScan>) -> Option<Called> {
    let numbers = plan.private().get(4).map(Node::as_integers)?;
    Called::decode(&numbers.iter().collect::<Vec<_>>())
}

impl<'p> PlanData<'p> {
    /// Whether the query reads a column.
    pub fn reads(&self, number: i16) -> bool {
        self.used.as_ref().is_none_or(|used| used.contains(&number))
    }

    /// Leaves columns out that the join above the scan does not read. The planner has a scan give each column of its join clauses.
    pub fn narrow(&mut self, plan: Ref<'p, pg_sys::ForeignScan>, estate: EState<'p>) {
        let statement = estate.statement();
        let join = statement.and_then(|statement| statement.join_above(plan.as_plan()));
        let Some(read) = join.map(|join| join.columns_of_inner(plan.scan.scanrelid)) else {
            return;
        };
        let is_read = |number: &i16| read.contains(&0) || read.contains(&i32::from(*number));
        if let Some(used) = &mut self.used {
            used.retain(is_read);
        }
    }

    /// The error of a plan that has no value for a column, which names all of those that are always needed. `has_invoked` tells whether the
    /// statement has invoked functions before.
    pub fn no_value_error(
        &self,
        column: Column,
        in_join: bool,
        table: pg_sys::Oid,
        layout: &Layout,
        has_invoked: bool,
    ) -> Error {
        let fixed = config::fixed_inputs(table);
        let has_payload_fields = layout.has_payload_fields();
        let has_payload =
            (self.bindings.iter()).any(|binding| binding.attribute.column == Column::Payload);
        let is_needed = |wanted: Column| match wanted {
            Column::FunctionName => true,
            Column::Payload => !has_payload_fields,
            _ => layout
                .find(wanted)
                .is_some_and(|found| found.is_required && !has_payload),
        };
        let is_missing = |wanted: &Column| {
            *wanted == column
                || (!in_join
                    && !layout.is_of_functions()
                    && is_needed(*wanted)
                    && layout.find(*wanted).is_some()
                    && fixed.get(*wanted).is_none()
                    && !(self.bindings.iter()).any(|binding| binding.attribute.column == *wanted))
        };
        let missing: Vec<Column> = layout.inputs_in_order().filter(is_missing).collect();
        let reason = match in_join {
            true => NoValueReason::InJoin,
            false => {
                let examples = (missing.iter())
                    .filter_map(|column| layout.find(*column))
                    .map(|attribute| attribute.example(layout.name(attribute.column)));
                NoValueReason::NoClause(examples.collect::<Vec<_>>().join(" AND "))
            }
        };
        Error::Statement(StatementError::NoValue {
            columns: (missing.into_iter())
                .map(|column| layout.name(column).to_owned())
                .collect(),
            table: layout.table.clone(),
            reason,
            has_invoked,
        })
    }

    /// Reads the lists that [`get_foreign_plan`](super::get_foreign_plan) has put into a plan of this wrapper's for a table of that layout.
    pub fn read(plan: Ref<'p, pg_sys::ForeignScan>, layout: &Layout) -> PlanData<'p> {
        let numbers = |index: usize| -> Vec<i32> {
            let list = plan.private().get(index).map(Node::as_integers);
            list.map_or(Vec::new(), |list| list.iter().collect())
        };
        let mut expressions = plan.expressions().iter();
        let bindings = decode(&numbers(0), &mut expressions, layout);
        let source = Source::decode(&numbers(3));
        let ids = expressions.by_ref().take(source.width()).collect();
        let used: Vec<i16> = numbers(1).iter().map(|number| *number as i16).collect();
        PlanData {
            bindings,
            source: (source, ids),
            conditions: expressions.collect(),
            used: (!used.contains(&0)).then_some(used),
            mode: Mode::from_numbers(&numbers(2)),
            call: called_function(plan),
        }
    }
}
