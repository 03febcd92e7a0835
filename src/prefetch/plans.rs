//! Makes the plan of a node that reads ahead, of its path or for rows that are inserted.

use super::node::SCAN_METHODS;
use super::paths::is_row_identity;
use crate::columns::Layout;
use crate::plan::bind::Bound;
use crate::plan::sources::Source;
use crate::plan::{self, Relation, infos, paths};
use crate::postgres::{compat, nodes};
use pgrx::{PgBox, pg_guard, pg_sys};

/// A parameter by which the node and what it serves find each other, as a recursive query and its work table do.
///
/// # Safety
/// `root` is the planner's.
pub unsafe fn new_parameter(root: *mut pg_sys::PlannerInfo) -> i32 {
    // SAFETY: see above.
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
    // SAFETY: see above.
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

/// A plan of the node above another plan. Rows pass as they are, without columns behind those first ones, which only the
/// outer plan itself needs.
unsafe fn above(outer: *mut pg_sys::Plan, width: usize) -> *mut pg_sys::CustomScan {
    // SAFETY: the caller's.
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

/// Adds the scan's input columns behind the outer row's, which has columns that only the outer plan itself needs, too. What is checked before an
/// invocation reads them there.
unsafe fn add_inputs(relid: pg_sys::Index, layout: &Layout, plan: *mut pg_sys::CustomScan) {
    // SAFETY: the plan is a new one.
    unsafe {
        let outer = (*(*plan).scan.plan.lefttree).targetlist;
        let width = nodes::length((*plan).custom_scan_tlist);
        let rest = nodes::pointers::<pg_sys::TargetEntry>(outer).skip(width);
        let rest = rest.map(|entry| pg_sys::copyObjectImpl((*entry).expr.cast()).cast());
        let inputs = (layout.attributes.iter()).filter(|attribute| attribute.column.is_input());
        let inputs = inputs.map(|attribute| {
            pg_sys::makeVar(
                relid as _,
                attribute.number,
                attribute.type_oid,
                attribute.typmod,
                pg_sys::get_typcollation(attribute.type_oid),
                0,
            )
            .cast()
        });
        for expression in rest.chain(inputs) {
            let place = nodes::length((*plan).custom_scan_tlist) as i16 + 1;
            let entry = pg_sys::makeTargetEntry(expression, place, std::ptr::null_mut(), false);
            (*plan).custom_scan_tlist = pg_sys::lappend((*plan).custom_scan_tlist, entry.cast());
        }
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
    // SAFETY: the private list is what read_ahead made; the scan's relation has what planning it left.
    unsafe {
        let private = (*best_path).custom_private;
        let (Some(scan), Some(numbers), Some(outer)) = (
            nodes::nth::<pg_sys::ForeignPath>(private, 0),
            nodes::nth::<pg_sys::List>(private, 1),
            nodes::nth::<pg_sys::Plan>(custom_plans, 0),
        ) else {
            return std::ptr::null_mut();
        };
        let width = nodes::length((*(*best_path).path.pathtarget).exprs);
        let plan = above(outer, width);
        name_row_identities(root, (*plan).scan.plan.targetlist);
        name_row_identities(root, (*plan).custom_scan_tlist);
        let repeats = nodes::integers(numbers).nth(4) == Some(1);
        pg_sys::list_truncate(numbers, 4);
        // A join's outer plan is made first, so that of the scan, which is its inner one or in it, finds the number.
        let parameter = new_parameter(root);
        nodes::set_integer(numbers, 0, parameter);
        let [mode, joined] = plan::of_path((*scan).fdw_private);
        nodes::set_integer(mode, 0, parameter);

        let baserel = (*scan).path.parent;
        let param_info = (*scan).path.param_info;
        let relation = &*(*baserel).fdw_private.cast::<Relation>();
        let clauses = infos((*baserel).baserestrictinfo).chain(infos((*param_info).ppi_clauses));
        let bound = Bound::sort(root, (*baserel).relid, relation, clauses);
        let (bindings, expressions) = plan::encode(&bound.bindings);
        let conditions = plan::conditions(root, baserel, param_info, joined, &bound);
        let outer = (*best_path).path.parent;
        let known = super::paths::of_parents_too(outer);
        let known = ((*best_path).path.param_info.as_ref())
            .map_or(known, |info| pg_sys::bms_union(known, info.ppi_req_outer));
        let source = Source::of(root, baserel, &bound.bindings, known, repeats);
        let (source, ids) = source.map_or_else(Default::default, |source| {
            (source.encode(), source.expressions)
        });
        let expressions = pg_sys::list_concat(expressions, nodes::list(&ids));
        let expressions = pg_sys::list_concat(expressions, nodes::list(&conditions));
        if bound.checks_inputs() {
            add_inputs((*baserel).relid, &relation.layout, plan);
        }
        let outer = (*outer).relids;
        let expressions = pg_sys::copyObjectImpl(expressions.cast());
        (*plan).custom_exprs = paths::of_partitions(root, expressions.cast(), outer).cast();
        compat::take_marks((*plan).custom_exprs, (*plan).custom_scan_tlist);
        (*plan).custom_private = nodes::list(&[numbers, bindings, source]);
        plan.cast()
    }
}

/// Gives row identities a name that may stay in a plan: a column of the table that is updated beyond those that it can have,
/// which nobody else names. EXPLAIN does not see it; see node.rs.
unsafe fn name_row_identities(root: *mut pg_sys::PlannerInfo, columns: *mut pg_sys::List) {
    // SAFETY: the list has target entries that nobody else has.
    unsafe {
        for entry in nodes::pointers::<pg_sys::TargetEntry>(columns) {
            if is_row_identity((*entry).expr.cast()) {
                let var = (*entry).expr.cast::<pg_sys::Var>();
                (*var).varno = (*(*root).parse).resultRelation as _;
                (*var).varattno += pg_sys::MaxHeapAttributeNumber as i16;
            }
        }
    }
}
