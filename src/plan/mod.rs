//! Planning: how large a scan is, and what its plan carries to the executor.
//!
//! - [`clause`] recognises the clauses that give input columns their values, [`classes`] finds those that PostgreSQL
//!   took apart, [`bind`] sorts them.
//! - [`paths`] offers the ways to run a scan, alone and inside joins.
//! - [`memoize`] forbids one way to run whatever may invoke.
//! - [`turns`] tells which of two scans comes first, where either could give the other values.
//! - [`order`] tells which other relations come before a scan.
//! - [`semijoins`] tells which of their conditions can give values.
//! - [`sorted`] has rows sorted before they invoke.
//! - [`parents`] mends the paths of what scans are parts of.
//! - [`doomed`] finds what can't run of a plan that is finished.
//! - [`sources`] tells which row gives the values, and [`replay`] keeps joins with scans from being run again.
//! - [`estimate`] tells how many invocations and rows there will be.

pub mod bind;
mod classes;
pub mod clause;
pub mod doomed;
pub mod estimate;
pub mod memoize;
pub mod order;
pub mod parents;
pub mod paths;
pub mod replay;
pub mod semijoins;
pub mod sorted;
pub mod sources;
pub mod turns;

use crate::backend::config;
use crate::columns::{Attribute, Column, Layout};
use crate::error::{Error, NoValueReason, OrReport, StatementError};
use crate::lambda::request::Inputs;
use crate::postgres::{compat, nodes};
use bind::Bound;
use clause::{Binding, Kind};
use estimate::{count_a_row_for_each_value, estimate};
use pgrx::{PgMemoryContexts, pg_guard, pg_sys};
use sources::{Decoded, Source};
use std::cell::OnceCell;
use turns::Turns;

/// What planning one relation learns first and uses later.
pub struct Relation {
    /// The foreign table.
    pub table: pg_sys::Oid,
    /// Its columns.
    pub layout: Layout,
    /// What holds for its rows if it is a partition.
    pub partition: Vec<*mut pg_sys::Node>,
    /// The values that its options fix. A change of options makes PostgreSQL plan again.
    pub fixed: Inputs,
    /// The turns of the query's scans, kept with the first of them.
    pub turns: OnceCell<Turns>,
}

impl Relation {
    /// Whether the table has an input column to which neither a binding nor an option gives a value.
    pub fn needs(&self, column: Column, bindings: &[Binding]) -> bool {
        self.layout.find(column).is_some()
            && self.fixed.get(column).is_none()
            && !bindings
                .iter()
                .any(|binding| binding.attribute.column == column)
    }
}

/// What a plan carries to the scan, beside its expressions: lists of integers, since a cached plan is copied.
pub struct PlanData {
    /// The bindings, whose expressions are `fdw_exprs` of the plan.
    pub bindings: Vec<Binding>,
    /// What tells the row apart that gives the values, and the expressions that it is told by.
    pub source: (Decoded, Vec<*mut pg_sys::Node>),
    /// Conditions without which nothing is invoked, of joins and of input columns: the expressions behind those of the bindings.
    pub conditions: Vec<*mut pg_sys::Node>,
    /// Columns that the query reads; `None` reads all.
    pub used: Option<Vec<i16>>,
    /// How the scan is run.
    pub mode: Mode,
}

/// How a scan is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Its bindings are evaluated, and their values invoked.
    Plain,
    /// It can't be: an input column has no value. Whether a join condition on it was there.
    Missing(Column, bool),
    /// A node that reads outer rows prefetch does both for it, and leaves a pointer in this executor parameter.
    Prefetch(i32),
}

impl Mode {
    /// As a path and a plan carry it.
    fn to_list(self) -> *mut pg_sys::List {
        let numbers = match self {
            Mode::Plain => Vec::new(),
            Mode::Missing(column, in_join) => vec![column as i32, in_join.into()],
            Mode::Prefetch(parameter) => vec![parameter],
        };
        nodes::integer_list(numbers)
    }

    fn from_numbers(numbers: &[i32]) -> Mode {
        match *numbers {
            [column, in_join] => Column::from_number(column)
                .map_or(Mode::Plain, |column| Mode::Missing(column, in_join != 0)),
            [parameter] => Mode::Prefetch(parameter),
            _ => Mode::Plain,
        }
    }
}

/// What a path carries to the plan: how the scan is run, and join clauses that are checked before it is.
///
/// # Safety
/// The clauses are the planner's.
pub unsafe fn path_private(mode: Mode, clauses: *mut pg_sys::List) -> *mut pg_sys::List {
    match (mode, clauses.is_null()) {
        (Mode::Plain, true) => std::ptr::null_mut(),
        _ => nodes::list(&[mode.to_list(), clauses]),
    }
}

/// The mode as a list of numbers, and the clauses.
///
/// # Safety
/// `private` is what `path_private` made.
pub unsafe fn of_path(private: *mut pg_sys::List) -> [*mut pg_sys::List; 2] {
    // SAFETY: see above.
    [0, 1].map(|place| unsafe { nodes::nth(private, place) }.unwrap_or(std::ptr::null_mut()))
}

/// How the scan of a path is run.
///
/// # Safety
/// `path` is the planner's, for a table of this wrapper's.
pub unsafe fn mode_of(path: *mut pg_sys::ForeignPath) -> Mode {
    // SAFETY: see above.
    unsafe {
        let [mode, _] = of_path((*path).fdw_private);
        Mode::from_numbers(&nodes::integers(mode).collect::<Vec<_>>())
    }
}

/// Bindings as a plan carries them: numbers, and expressions in a list of their own.
///
/// # Safety
/// The expressions are the planner's.
pub unsafe fn encode(bindings: &[Binding]) -> (*mut pg_sys::List, *mut pg_sys::List) {
    let numbers = bindings.iter().flat_map(|binding| {
        [
            binding.attribute.number.into(),
            binding.kind as i32,
            binding.collation.to_u32() as i32,
        ]
    });
    let expressions: Vec<_> = (bindings.iter())
        .map(|binding| binding.expression)
        .filter(|expression| !expression.is_null())
        .collect();
    (nodes::integer_list(numbers), nodes::list(&expressions))
}

/// Reads bindings back. Takes of the expressions what belongs to them.
pub fn decode(
    numbers: &[i32],
    expressions: &mut impl Iterator<Item = *mut pg_sys::Node>,
    layout: &Layout,
) -> Vec<Binding> {
    (numbers.chunks_exact(3))
        .filter_map(|binding| {
            let kind = Kind::from_number(binding[1])?;
            Some(Binding {
                attribute: *layout.attribute(binding[0] as i16)?,
                kind,
                collation: pg_sys::Oid::from(binding[2] as u32),
                expression: match kind {
                    Kind::Null => std::ptr::null_mut(),
                    _ => expressions.next()?,
                },
            })
        })
        .collect()
}

/// Callback: estimates a relation's size.
///
/// # Safety
/// Called by the planner.
#[pg_guard]
pub unsafe extern "C-unwind" fn get_foreign_rel_size(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    table: pg_sys::Oid,
) {
    // SAFETY: the planner holds a lock on the table, and its structures live until planning ends, as does
    // the current memory context, which drops what is kept in it also after an error.
    unsafe {
        let open = pg_sys::table_open(table, pg_sys::NoLock as _);
        let layout = Layout::read(open);
        let partition = compat::partition_qual(open);
        // As the relation's own, they are of the first table of a query.
        pg_sys::ChangeVarNodes(partition.cast(), 1, (*baserel).relid as _, 0);
        pg_sys::table_close(open, pg_sys::NoLock as _);
        let relation = PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(Relation {
            table,
            layout: layout.or_report(),
            partition: nodes::pointers(partition).collect(),
            fixed: config::fixed_inputs(table),
            turns: OnceCell::new(),
        });
        (*baserel).fdw_private = relation.cast();
        // Rows that are equal would be one invocation.
        compat::group_after_joins(root);

        let own = infos((*baserel).baserestrictinfo);
        let bound = Bound::sort(root, (*baserel).relid, &*relation, own);
        let filters = nodes::list(&bound.all_filters());
        let selectivity = pg_sys::clauselist_selectivity(
            root,
            filters,
            (*baserel).relid as _,
            pg_sys::JoinType::JOIN_INNER,
            std::ptr::null_mut(),
        );
        count_a_row_for_each_value(root, baserel, &*relation);
        sources::ask(root, baserel, &*relation);
        (*baserel).tuples = estimate(&bound.bindings);
        (*baserel).rows = pg_sys::clamp_row_est((*baserel).tuples * selectivity);
    }
}

/// Callback: turns the chosen path into a plan.
///
/// # Safety
/// Called by the planner.
#[pg_guard]
pub unsafe extern "C-unwind" fn get_foreign_plan(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    _table: pg_sys::Oid,
    best_path: *mut pg_sys::ForeignPath,
    tlist: *mut pg_sys::List,
    scan_clauses: *mut pg_sys::List,
    outer_plan: *mut pg_sys::Plan,
) -> *mut pg_sys::ForeignScan {
    // SAFETY: as above. Only palloc'd lists go into the plan.
    unsafe {
        let relation = &*(*baserel).fdw_private.cast::<Relation>();
        let nil: *mut pg_sys::List = std::ptr::null_mut();
        let bound = Bound::sort(root, (*baserel).relid, relation, infos(scan_clauses));
        let (bindings, expressions) = encode(&bound.bindings);
        let outer = (*root).curOuterRels;
        // The node that reads prefetch knows it, where there is one.
        let source = (mode_of(best_path) == Mode::Plain)
            .then(|| Source::of(root, baserel, &bound.bindings, outer, true))
            .flatten();
        let (source, ids) = source.map_or((nil, nil), |source| {
            (source.encode(), nodes::list(&source.expressions))
        });
        let expressions = pg_sys::list_concat(expressions, ids);
        let clauses = |infos: &[*mut pg_sys::RestrictInfo]| {
            let clauses: Vec<_> = infos.iter().map(|info| (**info).clause).collect();
            nodes::list(&clauses)
        };
        let filters = clauses(&bound.filters);
        let [mode, joined] = of_path((*best_path).fdw_private);
        let conditions = conditions(root, baserel, (*best_path).path.param_info, joined, &bound);
        let expressions = pg_sys::list_concat(expressions, nodes::list(&conditions));
        let mut private = pg_sys::lappend(nil, bindings.cast());
        private = pg_sys::lappend(private, used_columns(baserel, filters).cast());
        private = pg_sys::lappend(private, mode.cast());
        private = pg_sys::lappend(private, source.cast());
        pg_sys::make_foreignscan(
            tlist,
            filters,
            (*baserel).relid,
            expressions,
            private,
            nil,
            clauses(&[&bound.taken[..], &bound.checked].concat()),
            outer_plan,
        )
    }
}

/// The conditions without which nothing is invoked: those of outer joins around the scan, clauses that its path carries, and its own
/// filters of inputs and bounds.
///
/// # Safety
/// All are the planner's; `param_info` may be null.
pub unsafe fn conditions(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    param_info: *mut pg_sys::ParamPathInfo,
    joined: *mut pg_sys::List,
    bound: &Bound,
) -> Vec<*mut pg_sys::Node> {
    // SAFETY: see above.
    unsafe {
        let of_joins = match param_info.as_ref() {
            Some(info) => paths::conditions(root, baserel, info.ppi_req_outer),
            None => Vec::new(),
        };
        let is_new = |clause: &*mut pg_sys::Node| {
            !(of_joins.iter()).any(|known| pg_sys::equal(known.cast(), clause.cast()))
        };
        let joined: Vec<_> = nodes::pointers(joined).filter(is_new).collect();
        let own = (bound.checked.iter())
            .map(|info| (**info).clause.cast())
            .chain(bound.bounds.iter().copied());
        of_joins.iter().copied().chain(joined).chain(own).collect()
    }
}

impl PlanData {
    /// Whether the query reads a column.
    pub fn reads(&self, number: i16) -> bool {
        self.used.as_ref().is_none_or(|used| used.contains(&number))
    }

    /// The error of a plan that has no value for a column, which names all of those that are always needed. `has_invoked` tells whether the
    /// statement has invoked functions before.
    ///
    /// # Safety
    /// Called in a transaction, with the table's columns.
    pub unsafe fn no_value_error(
        &self,
        column: Column,
        in_join: bool,
        table: pg_sys::Oid,
        layout: &Layout,
        has_invoked: bool,
    ) -> Error {
        // SAFETY: see above.
        let fixed = unsafe { config::fixed_inputs(table) };
        let is_missing = |wanted: &Column| {
            *wanted == column
                || (!in_join
                    && matches!(wanted, Column::FunctionName | Column::Payload)
                    && layout.find(*wanted).is_some()
                    && fixed.get(*wanted).is_none()
                    && !(self.bindings.iter()).any(|binding| binding.attribute.column == *wanted))
        };
        let missing: Vec<Column> = Column::INPUTS.into_iter().filter(is_missing).collect();
        let reason = match in_join {
            true => NoValueReason::InJoin,
            false => {
                let examples = (missing.iter())
                    .filter_map(|column| layout.find(*column))
                    .map(Attribute::example);
                NoValueReason::NoClause(examples.collect::<Vec<_>>().join(" AND "))
            }
        };
        Error::Statement(StatementError::NoValue {
            columns: missing.into_iter().map(Column::name).collect(),
            table: layout.table.clone(),
            reason,
            has_invoked,
        })
    }

    /// Reads back what [`get_foreign_plan`] put into a plan.
    ///
    /// # Safety
    /// `plan` is a plan of this wrapper's for a table of that layout.
    pub unsafe fn read(plan: *mut pg_sys::ForeignScan, layout: &Layout) -> PlanData {
        // SAFETY: the lists have the shape that get_foreign_plan gave them.
        unsafe {
            let numbers = |place: usize| -> Vec<i32> {
                let list = nodes::nth((*plan).fdw_private, place);
                nodes::integers(list.unwrap_or(std::ptr::null_mut())).collect()
            };
            let mut expressions = nodes::pointers((*plan).fdw_exprs);
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
            }
        }
    }
}

/// The clauses of one of the planner's lists.
///
/// # Safety
/// `list` is a list of RestrictInfos.
pub unsafe fn infos(list: *mut pg_sys::List) -> impl Iterator<Item = *mut pg_sys::RestrictInfo> {
    // SAFETY: the planner's clause lists hold RestrictInfos.
    unsafe { nodes::pointers(list) }
}

/// The columns that the target list and the filters read, 0 standing for the whole row.
unsafe fn used_columns(
    baserel: *mut pg_sys::RelOptInfo,
    filters: *mut pg_sys::List,
) -> *mut pg_sys::List {
    // SAFETY: both are expressions of the planner's.
    unsafe {
        let mut used = std::ptr::null_mut();
        let targets = (*(*baserel).reltarget).exprs;
        pg_sys::pull_varattnos(targets.cast(), (*baserel).relid, &mut used);
        pg_sys::pull_varattnos(filters.cast(), (*baserel).relid, &mut used);
        let mut columns = std::ptr::null_mut();
        let mut member = pg_sys::bms_next_member(used, -1);
        while member >= 0 {
            let number = member + pg_sys::FirstLowInvalidHeapAttributeNumber;
            if number >= 0 {
                columns = pg_sys::lappend_int(columns, number);
            }
            member = pg_sys::bms_next_member(used, member);
        }
        columns
    }
}
