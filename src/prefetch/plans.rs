//! Makes the plan of a node that prefetches, from its path or for rows that are inserted.

use super::node::SCAN_METHODS;
use super::paths::is_row_identity;
use crate::columns::Attribute;
use crate::plan::scan_clauses::ScanClauses;
use crate::plan::sources::Source;
use crate::plan::{self, ForeignRel};
use crate::postgres::list::{IntList, List};
use crate::postgres::paths::Path;
use crate::postgres::planner::Root;
use crate::postgres::refs::{FromRaw, Node, Ref, as_ptr};
use crate::postgres::relids::Relids;
use crate::postgres::{compat, nodes};
use pgrx::{PgBox, pg_guard, pg_sys};

/// A new executor parameter, by which the node and the scan that it serves find each other, as a recursive query and its work table do.
///
/// # Safety
/// `root` is the planner's.
pub unsafe fn new_parameter(root: *mut pg_sys::PlannerInfo) -> i32 {
    // SAFETY: the planner's structures live until planning ends. A list that is appended to may move.
    unsafe {
        let glob = (*root).glob;
        let parameter = nodes::length((*glob).paramExecTypes) as i32;
        (*glob).paramExecTypes = pg_sys::lappend_oid((*glob).paramExecTypes, pg_sys::InvalidOid);
        parameter
    }
}

/// Puts the node above a plan whose rows are inserted into a foreign table.
///
/// # Safety
/// `outer` is the planner's, its references not being set.
pub unsafe fn wrap(
    outer: *mut pg_sys::Plan,
    parameter: i32,
    table: pg_sys::Oid,
) -> *mut pg_sys::Plan {
    // SAFETY: the plans are the planner's, and the new one is nobody else's.
    unsafe {
        let plan = above(outer, nodes::length((*outer).targetlist));
        (*plan).scan.plan.startup_cost = (*outer).startup_cost;
        (*plan).scan.plan.total_cost = (*outer).total_cost;
        (*plan).scan.plan.plan_rows = (*outer).plan_rows;
        (*plan).scan.plan.plan_width = (*outer).plan_width;
        (*plan).custom_private = nodes::list(&[
            nodes::integer_list([parameter, table.to_u32() as i32, 0, 1]),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        ]);
        plan.cast()
    }
}

/// A plan of the node above another plan. Rows pass as they are, with the first `width` columns. The outer plan itself needs the columns behind these.
///
/// # Safety
/// `outer` is the planner's.
unsafe fn above(outer: *mut pg_sys::Plan, width: usize) -> *mut pg_sys::CustomScan {
    // SAFETY: the outer plan is the planner's. The columns are copies, so that each list has its own.
    unsafe {
        let mut plan = PgBox::<pg_sys::CustomScan>::alloc_node(pg_sys::NodeTag::T_CustomScan);
        plan.methods = &SCAN_METHODS.0;
        let columns = || {
            let all = pg_sys::copyObjectImpl((*outer).targetlist.cast()).cast();
            pg_sys::list_truncate(all, width as _)
        };
        plan.scan.plan.targetlist = columns();
        plan.custom_scan_tlist = columns();
        plan.scan.plan.lefttree = outer;
        plan.into_pg()
    }
}

/// Adds the scan's input columns behind the outer row's, which has columns that only the outer plan itself needs, too. Conditions that are checked before an
/// invocation read them there.
///
/// # Safety
/// The plan is a new one.
unsafe fn add_inputs(foreign: ForeignRel, plan: *mut pg_sys::CustomScan) {
    // SAFETY: nobody else has the plan, and the columns that are added are new nodes.
    unsafe {
        let outer: List<pg_sys::TargetEntry> =
            FromRaw::from_raw((*(*plan).scan.plan.lefttree).targetlist);
        let width = nodes::length((*plan).custom_scan_tlist);
        let rest = (outer.iter().skip(width)).filter_map(|entry| Some(entry.expression()?.copy()));
        let inputs = (foreign.relation.layout.attributes.iter())
            .filter(|attribute| attribute.column.is_input())
            .map(|attribute| input(foreign.rel.relid, attribute));
        for expression in rest.chain(inputs) {
            let number = nodes::length((*plan).custom_scan_tlist) as i16 + 1;
            let expression = expression.as_ptr().cast();
            let entry = pg_sys::makeTargetEntry(expression, number, std::ptr::null_mut(), false);
            (*plan).custom_scan_tlist = pg_sys::lappend((*plan).custom_scan_tlist, entry.cast());
        }
    }
}

/// An input column as an expression.
fn input<'p>(relid: pg_sys::Index, attribute: &Attribute) -> Node<'p> {
    // SAFETY: a catalog look-up, and a new node.
    unsafe {
        let collation = pg_sys::get_typcollation(attribute.type_oid);
        let (number, type_oid, typmod) = (attribute.number, attribute.type_oid, attribute.typmod);
        Ref::new(pg_sys::makeVar(relid as _, number, type_oid, typmod, collation, 0).cast())
    }
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
    // SAFETY: the planner passes its structures, which live until planning ends. The path and its list are those that paths.rs has made.
    unsafe {
        let (root, path): (Root, Path) = (Ref::new(root), Ref::new(best_path.cast()));
        let private = Ref::new(best_path).private();
        let (Some(scan), Some(numbers), Some(outer)) = (
            (private.get(0)).and_then(|scan| scan.cast::<pg_sys::ForeignPath>()),
            private.get(1),
            nodes::nth::<pg_sys::Plan>(custom_plans, 0),
        ) else {
            return std::ptr::null_mut();
        };
        let Some(foreign) = (scan.as_path().relation()).and_then(|rel| ForeignRel::of(root, rel))
        else {
            return std::ptr::null_mut();
        };
        let width = path.target().map_or(0, |target| target.expressions().len());
        let plan = above(outer, width);
        name_row_identities(root, (*plan).scan.plan.targetlist);
        name_row_identities(root, (*plan).custom_scan_tlist);
        let numbers: *mut pg_sys::List = numbers.as_ptr().cast();
        let repeats = nodes::integers(numbers).nth(4) == Some(1);
        pg_sys::list_truncate(numbers, 4);
        // A join's outer plan is made first, so that of the scan, which is its inner one or in it, finds the number.
        let parameter = new_parameter(root.as_ptr());
        nodes::set_integer(numbers, 0, parameter);
        let (mode, joined) = plan::of_path(scan);
        nodes::set_integer(mode.as_ptr(), 0, parameter);

        let clauses = foreign.scan_clauses(scan.parameters());
        let lists = lists(foreign, path, scan, &clauses, joined, repeats);
        if clauses.checks_inputs() {
            add_inputs(foreign, plan);
        }
        let expressions = (lists.expressions.as_node())
            .map(|expressions| root.for_partitions(expressions.copy(), path.relids()));
        (*plan).custom_exprs = as_ptr(expressions).cast();
        let columns = FromRaw::from_raw((*plan).custom_scan_tlist);
        compat::take_marks(FromRaw::from_raw((*plan).custom_exprs), columns);
        let numbers: Option<Node> = FromRaw::from_raw(numbers.cast());
        let private = [numbers, lists.bindings.as_node(), lists.source];
        (*plan).custom_private = List::of_optional(private).as_ptr();
        plan.cast()
    }
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
/// which nobody else names. EXPLAIN does not see it; see node.rs.
///
/// # Safety
/// The list has target entries that nobody else has.
unsafe fn name_row_identities(root: Root, columns: *mut pg_sys::List) {
    let Some(query) = root.query() else { return };
    // SAFETY: nobody else has the entries, and no reference to a column is held.
    unsafe {
        let columns: List<pg_sys::TargetEntry> = FromRaw::from_raw(columns);
        for column in columns.iter().filter_map(|entry| entry.expression()) {
            if is_row_identity(column) {
                let var = column.as_ptr().cast::<pg_sys::Var>();
                (*var).varno = query.resultRelation as _;
                (*var).varattno += pg_sys::MaxHeapAttributeNumber as i16;
            }
        }
    }
}
