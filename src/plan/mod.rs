//! Planning: the size of a scan, its paths and its plan.
//!
//! - [`clause`] recognises the clauses that give input columns their values, [`scan_clauses`] classifies all clauses of a scan, and [`relation`] keeps them.
//! - [`paths`] offers the ways to run a scan, alone and inside joins.
//! - [`plan_data`] has the lists that a path carries to a plan, and a plan to the executor.
//! - [`calls`] has calls of `aws_lambda.invoke` in FROM planned as scans. [`target_calls`] finds those in a select list.
//! - [`estimate`] tells how many invocations and rows there will be.
//! - [`scan_order`] orders the scans of a query, where either of two could give the other values.
//! - [`join_order`] has other relations read before a scan.
//! - [`semijoins`] tells which of their conditions can give values.
//! - [`sort_outer`] has rows sorted before they invoke.
//! - [`memoize`] keeps Memoize away from relations that may invoke.
//! - [`materialize`] keeps the rows of joins with scans, so that they are not run again.
//! - [`sources`] is the row that gives the values, and [`row_identity`] has PostgreSQL carry the columns that identify it.
//! - [`pathlist_hook`] changes the paths of relations that have scans as parts.
//! - [`not_bound`] finds scans of a finished plan that can't run.

pub mod calls;
pub mod clause;
pub mod estimate;
pub mod join_order;
pub mod materialize;
pub mod memoize;
pub mod not_bound;
pub mod pathlist_hook;
pub mod paths;
pub mod plan_data;
pub mod relation;
mod row_identity;
pub mod scan_clauses;
mod scan_order;
pub mod semijoins;
pub mod sort_outer;
pub mod sources;
pub mod target_calls;

use crate::backend::config;
use crate::columns::Layout;
use crate::error::{Error, OrReport};
use crate::postgres::compat;
use crate::postgres::expressions::{change_relation, columns};
use crate::postgres::list::{IntList, List};
use crate::postgres::planner::{Clause, Rel, Root};
use crate::postgres::refs::{FromRaw, Node, Ref};
use crate::postgres::rel;
use estimate::{count_a_row_for_each_value, estimate_scan};
use pgrx::{PgMemoryContexts, pg_guard, pg_sys};
pub use plan_data::{
    Mode, PlanData, called_function, decode, encode, mode_of, of_path, path_private,
};
pub use relation::{ForeignRel, Relation, is_our_routine};
use scan_clauses::ScanClauses;
use sources::Source;

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
    // SAFETY: the planner passes its structures, which live until planning ends. So does the current memory context, which drops the
    // relation also after an error.
    let (root, rel): (Root, Rel) = unsafe {
        let relation = read_relation(Ref::new(root), table, (*baserel).relid as i32);
        (*baserel).fdw_private = PgMemoryContexts::CurrentMemoryContext
            .leak_and_drop_on_delete(relation)
            .cast();
        (Ref::new(root), Ref::new(baserel))
    };
    // Rows that are equal would be one invocation.
    compat::group_after_joins(Some(root));
    if let Some(scan) = ForeignRel::of(root, rel) {
        let own = scan.own_clauses();
        let selectivity = root.selectivity(rel, List::of(own.all_filters()));
        count_a_row_for_each_value(scan);
        row_identity::request(scan);
        let tuples = estimate_scan(scan, &own.bindings).rows;
        rel.set_size(tuples, tuples * selectivity);
    }
}

/// Reads the table that a relation stands for, which the planner has locked.
fn read_relation<'p>(root: Root<'p>, table: pg_sys::Oid, relid: i32) -> Relation<'p> {
    let (layout, partition) = rel::with_locked(table, |open| {
        let partition = compat::partition_qual(open);
        // The bounds are those of a query's first table.
        change_relation(partition.as_node(), 1, relid);
        (Layout::read(open), partition)
    });
    let options = config::of_table(table);
    let fixed = config::inputs(&options);
    let layout = layout.or_report();
    layout.check_rows(&options).or_report();
    let call = (root.entry(relid)).and_then(|entry| calls::Call::of(entry, &layout));
    Relation::new(table, layout, partition.iter().collect(), fixed, call)
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
    // SAFETY: the planner passes its structures, which live until planning ends.
    let (scan, path, ordered) = unsafe {
        let ordered: List<pg_sys::RestrictInfo> = FromRaw::from_raw(scan_clauses);
        let scan = ForeignRel::of(Ref::new(root), Ref::new(baserel));
        (scan, Ref::new(best_path), ordered)
    };
    let scan = (scan.ok_or(Error::Unexpected("foreign table has no size"))).or_report();
    let clauses = scan.scan_clauses(path.parameters());
    clauses.check_payload(scan).or_report();
    let parts = plan_parts(scan, path, &clauses, ordered);
    // SAFETY: the lists are new ones of nodes, of which PostgreSQL makes a plan.
    unsafe {
        pg_sys::make_foreignscan(
            tlist,
            parts.filters.as_ptr(),
            (*baserel).relid,
            parts.expressions.as_ptr(),
            parts.private.as_ptr(),
            std::ptr::null_mut(),
            parts.recheck.as_ptr(),
            outer_plan,
        )
    }
}

/// The lists of a foreign scan's plan.
struct PlanParts<'p> {
    filters: List<'p, pg_sys::Node>,
    /// Those of the bindings, of the source row, and of the conditions.
    expressions: List<'p, pg_sys::Node>,
    private: List<'p, pg_sys::Node>,
    recheck: List<'p, pg_sys::Node>,
}

/// Makes the lists of a plan. `ordered` are the clauses in the order in which PostgreSQL evaluates them.
fn plan_parts<'a, 'p: 'a>(
    scan: ForeignRel<'p>,
    path: Ref<'p, pg_sys::ForeignPath>,
    clauses: &'a ScanClauses<'p>,
    ordered: List<'p, pg_sys::RestrictInfo>,
) -> PlanParts<'a> {
    let in_order = |clauses: &[Clause<'p>]| {
        let expressions = (ordered.iter())
            .filter(|clause| clauses.contains(clause))
            .filter_map(|clause| clause.expression());
        List::of(expressions)
    };
    let (mode, joined) = of_path(path);
    // The node that prefetches identifies source rows, where there is one.
    let source = (mode.iter().next().is_none())
        .then(|| Source::of(scan, &clauses.bindings, scan.root.outer_relids(), true))
        .flatten();
    let (bindings, expressions) = encode(&clauses.bindings);
    let (source, ids) = source.map_or((None, Vec::new()), |source| {
        (source.encode().as_node(), source.expressions)
    });
    let filters = in_order(&clauses.filters);
    let own = in_order(&clauses.conditions);
    let conditions = conditions(scan, path.parameters(), joined, clauses, own);
    let used = used_columns(scan.rel, filters);
    let call = scan.relation.call.as_ref();
    PlanParts {
        filters,
        expressions: List::of((expressions.iter()).chain(ids).chain(conditions)),
        private: List::of_optional([
            bindings.as_node(),
            used.as_node(),
            mode.as_node(),
            source,
            call.and_then(|call| call.called.encode().as_node()),
        ]),
        recheck: in_order(&clauses.bound).concat(in_order(&clauses.conditions)),
    }
}

/// The conditions without which nothing is invoked: those of outer joins around the scan, clauses that its path carries, and its own
/// filters of inputs and bounds.
pub fn conditions<'p>(
    scan: ForeignRel<'p>,
    parameters: Option<Ref<'p, pg_sys::ParamPathInfo>>,
    joined: List<'p, pg_sys::Node>,
    clauses: &ScanClauses<'p>,
    own: List<'p, pg_sys::Node>,
) -> Vec<Node<'p>> {
    let of_joins = parameters.map_or(Vec::new(), |info| {
        paths::conditions(scan, info.required_outer())
    });
    let is_new = |clause: &Node| !of_joins.iter().any(|known| known.equals(*clause));
    let joined: Vec<_> = joined.iter().filter(is_new).collect();
    (of_joins.iter().copied())
        .chain(joined)
        .chain(own.iter())
        .chain(clauses.bounds.iter().copied())
        .collect()
}

/// The columns that the target list and the filters read, 0 standing for the whole row.
fn used_columns<'p>(rel: Rel, filters: List<pg_sys::Node>) -> IntList<'p> {
    let mut used = columns(rel.output().as_node(), rel.relid);
    used.extend(columns(filters.as_node(), rel.relid));
    used.sort_unstable();
    used.dedup();
    IntList::of(used.into_iter().filter(|number| *number >= 0))
}
