//! Makes the plan of a node that prefetches, from its path or for rows that are inserted.

use super::node::SCAN_METHODS;
use crate::columns::Attribute;
use crate::plan::scan_clauses::ScanClauses;
use crate::plan::sources::Source;
use crate::plan::{self, ForeignRel};
use crate::postgres::compat;
use crate::postgres::custom_scan::{make_column, make_target};
use crate::postgres::list::{IntList, List};
use crate::postgres::paths::Path;
use crate::postgres::planner::Root;
use crate::postgres::plans::Plan;
use crate::postgres::refs::{FromRaw, Node, Ref, as_ptr};
use crate::postgres::relids::Relids;
use pgrx::{pg_guard, pg_sys};

/// Puts the node above a plan whose rows are inserted into a foreign table. The plan is the planner's, its references not being set.
pub fn wrap(outer: Plan, parameter: i32, table: pg_sys::Oid) -> Plan {
    let mut plan = above(outer, outer.targets().len());
    plan.scan.plan.startup_cost = outer.startup_cost;
    plan.scan.plan.total_cost = outer.total_cost;
    plan.scan.plan.plan_rows = outer.plan_rows;
    plan.scan.plan.plan_width = outer.plan_width;
    let numbers = IntList::of([parameter, table.to_u32() as i32, 0, 1]);
    plan.custom_private = List::of_optional([numbers.as_node(), None, None]).as_ptr();
    Ref::allocate(plan).as_plan()
}

/// A plan of the node above another plan. Rows pass as they are, with the first `width` columns. The outer plan itself needs the columns behind these.
fn above(outer: Plan, width: usize) -> pg_sys::CustomScan {
    // The columns are copies, so that each list has its own.
    let columns = || {
        let first = outer.targets().iter().take(width);
        let copies: List<pg_sys::TargetEntry> =
            List::of(first.filter_map(|column| column.as_node().copy().cast()));
        copies.as_ptr()
    };
    let mut plan = pg_sys::CustomScan::default();
    plan.scan.plan.type_ = pg_sys::NodeTag::T_CustomScan;
    plan.methods = &SCAN_METHODS.0;
    plan.scan.plan.targetlist = columns();
    plan.custom_scan_tlist = columns();
    plan.scan.plan.lefttree = outer.as_ptr();
    plan
}

/// Adds the scan's input columns behind the outer row's, which has columns that only the outer plan itself needs, too. Conditions that are checked before an
/// invocation read them there. The plan is a new one.
fn add_inputs(foreign: ForeignRel, outer: Plan, plan: Ref<pg_sys::CustomScan>) {
    let width = plan.scan_columns().len();
    let columns = outer.targets().iter().skip(width);
    let rest = columns.filter_map(|entry| Some(entry.expression()?.copy()));
    let inputs = (foreign.relation.layout.attributes.iter())
        .filter(|attribute| attribute.column.is_input())
        .map(|attribute| input(foreign.rel.relid, attribute));
    for expression in rest.chain(inputs) {
        let columns = plan.scan_columns();
        let number = columns.len() as i16 + 1;
        plan.set_scan_columns(columns.append(make_target(expression, number)));
    }
}

/// An input column as an expression.
fn input<'p>(relid: pg_sys::Index, attribute: &Attribute) -> Node<'p> {
    make_column(
        relid as i32,
        attribute.number,
        attribute.type_oid,
        attribute.typmod,
    )
}

/// Callback: makes the node's plan.
///
/// # Safety
/// Called by the planner.
#[pg_guard]
pub unsafe extern "C-unwind" fn plan_custom_path(
    root: *mut pg_sys::PlannerInfo,
    _rel: *mut pg_sys::RelOptInfo,
    best_path: *mut pg_sys::CustomPath,
    _targets: *mut pg_sys::List,
    _clauses: *mut pg_sys::List,
    custom_plans: *mut pg_sys::List,
) -> *mut pg_sys::Plan {
    // SAFETY: the planner passes its structures, which live until planning ends. The path is one that paths.rs has made.
    let (root, path, plans): (Root, _, List<pg_sys::Plan>) = unsafe {
        let plans = FromRaw::from_raw(custom_plans);
        (Ref::new(root), Ref::new(best_path), plans)
    };
    as_ptr(plans.get(0).and_then(|outer| plan_node(root, path, outer)))
}

/// The plan of a path of the node, whose outer path has become a plan.
fn plan_node<'p>(
    root: Root<'p>,
    path: Ref<'p, pg_sys::CustomPath>,
    outer: Plan<'p>,
) -> Option<Plan<'p>> {
    let (private, path) = (path.private(), path.as_path());
    let scan: Ref<pg_sys::ForeignPath> = private.get(0)?.cast()?;
    let numbers: Vec<i32> = private.get(1)?.as_integers().iter().collect();
    let foreign = ForeignRel::of(root, scan.as_path().relation()?)?;
    let width = path.target().map_or(0, |target| target.expressions().len());
    let plan = Ref::allocate(above(outer, width));
    name_row_identities(root, plan.as_plan().targets());
    name_row_identities(root, plan.scan_columns());
    let repeats = numbers.get(4) == Some(&1);
    // A join's outer plan is made first, so that of the scan, which is its inner one or in it, finds the number.
    let parameter = root.new_parameter()?;
    let numbers = (std::iter::once(parameter)).chain(numbers.into_iter().take(4).skip(1));
    let numbers = IntList::of(numbers);
    let (mode, joined) = plan::of_path(scan);
    mode.set(0, parameter);

    let clauses = foreign.scan_clauses(scan.parameters());
    let lists = lists(foreign, path, scan, &clauses, joined, repeats);
    if clauses.checks_inputs() {
        add_inputs(foreign, outer, plan);
    }
    let expressions = (lists.expressions.iter())
        .map(|expression| root.for_partitions(expression.copy(), path.relids()));
    plan.set_expressions(List::of(expressions));
    compat::take_marks(plan.expressions(), plan.scan_columns());
    let call = foreign.relation.call.as_ref();
    let private = [
        numbers.as_node(),
        lists.bindings.as_node(),
        lists.source,
        call.and_then(|call| call.called.encode().as_node()),
    ];
    plan.set_private(List::of_optional(private));
    Some(plan.as_plan())
}

/// The lists of a node's plan.
struct Lists<'p> {
    bindings: IntList<'p>,
    /// The numbers of the row that gives the values.
    source: Option<Node<'p>>,
    /// Those of the bindings, of the source row, and of the conditions.
    expressions: List<'p, pg_sys::Node>,
}

fn lists<'a, 'p: 'a>(
    foreign: ForeignRel<'p>,
    path: Path<'p>,
    scan: Ref<'p, pg_sys::ForeignPath>,
    clauses: &'a ScanClauses<'p>,
    joined: List<'p, pg_sys::Node>,
    repeats: bool,
) -> Lists<'a> {
    let (bindings, expressions) = plan::encode(&clauses.bindings);
    let own = (clauses.conditions.iter()).filter_map(|clause| clause.expression());
    let parameters = scan.parameters();
    let conditions = plan::conditions(foreign, parameters, joined, clauses, List::of(own));
    let known = (path.relation()).map_or(Relids::EMPTY, |rel| rel.relids_and_parents());
    let known = known.union(path.required_outer());
    let source = Source::of(foreign, &clauses.bindings, known, repeats);
    let (source, ids) = source.map_or((None, Vec::new()), |source| {
        (source.encode().as_node(), source.expressions)
    });
    Lists {
        bindings,
        source,
        expressions: List::of(expressions.iter().chain(ids).chain(conditions)),
    }
}

/// Gives row identities a name that may stay in a plan: a column of the table that is updated beyond those that it can have,
/// which nobody else names. EXPLAIN does not see it; see node.rs. Nobody else has the columns.
fn name_row_identities(root: Root, columns: List<pg_sys::TargetEntry>) {
    let Some(query) = root.query() else { return };
    let columns = columns.iter().filter_map(|entry| entry.expression());
    for column in columns.filter(|column| column.is_row_identity()) {
        if let Some(var) = column.cast::<pg_sys::Var>() {
            let number = var.varattno + pg_sys::MaxHeapAttributeNumber as i16;
            var.set_column(query.resultRelation, number);
        }
    }
}
