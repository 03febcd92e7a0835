//! Custom scans: paths (pathnodes.h), plans (plannodes.h) and nodes (execnodes.h) of a kind that PostgreSQL does not have.

use super::executor::{CustomScanState, EState, ExprContext};
use super::expressions::make_var;
use super::list::List;
use super::planner::Root;
use super::plans::{Plan, PlanState};
use super::refs::{Node, Ref, calls, fields, parts, setters};
use super::slots::{Slot, project};
use pgrx::pg_sys;
use std::ffi::CStr;

fields! {
    /// The provider's own lists.
    CustomScan.custom_private as private: List<'p, pg_sys::Node>;
    /// The columns of the rows that the node scans.
    CustomScan.custom_scan_tlist as scan_columns: List<'p, pg_sys::TargetEntry>;
    /// What expressions are evaluated with.
    CustomScanState.ss.ps.ps_ExprContext as expr_context: ExprContext<'p>;
    /// What makes the plan's columns of those that are scanned; `None` where they are the same.
    CustomScanState.ss.ps.ps_ProjInfo as projection: Option<Ref<'p, pg_sys::ProjectionInfo>>;
    PlannerGlobal.paramExecTypes as parameter_types: Option<Ref<'p, pg_sys::List>>;
    PlannedStmt.paramExecTypes as parameter_types: Option<Ref<'p, pg_sys::List>>;
}

parts! {
    /// The path.
    CustomPath.path as as_path: Path;
    /// The plan.
    CustomScan.scan.plan as as_plan: Plan;
}

setters! {
    /// Sets the provider's own lists.
    CustomScan.custom_private as set_private: List<'p, pg_sys::Node>;
    /// Sets the provider's expressions.
    CustomScan.custom_exprs as set_expressions: List<'p, pg_sys::Node>;
    /// Sets the columns of the rows that the node scans.
    CustomScan.custom_scan_tlist as set_scan_columns: List<'p, pg_sys::TargetEntry>;
    /// Sets the outer plan.
    Plan.lefttree as set_left: Option<Plan<'p>>;
    /// Sets the outer node.
    PlanState.lefttree as set_left: Option<PlanState<'p>>;
    Var.vartypmod as set_modifier: i32;
    Var.varcollid as set_collation: pg_sys::Oid;
    PlannerGlobal.paramExecTypes as set_parameter_types: Option<Ref<'p, pg_sys::List>>;
}

calls! {
    /// Initialises the node of a plan.
    pub fn init_node<'p>(plan: Option<Plan<'p>>, estate: EState<'p>, flags: i32) -> Option<PlanState<'p>>
        = ExecInitNode(plan, estate, flags);
    fn collation_of_type(type_oid: pg_sys::Oid) -> pg_sys::Oid = get_typcollation(type_oid);
    fn append_oid<'p>(list: Option<Ref<'p, pg_sys::List>>, oid: pg_sys::Oid) -> Option<Ref<'p, pg_sys::List>>
        = lappend_oid(list, oid);
}

impl<'p> Root<'p> {
    /// A new executor parameter of the statement.
    pub fn new_parameter(self) -> Option<i32> {
        let global = self.global()?;
        let types = global.parameter_types();
        let number = types.map_or(0, |types| types.length);
        // The list changes.
        global.set_parameter_types(append_oid(types, pg_sys::InvalidOid));
        Some(number)
    }
}

/// A column of a plan.
pub fn make_target<'p>(expression: Node<'p>, number: i16) -> Ref<'p, pg_sys::TargetEntry> {
    let mut target = pg_sys::TargetEntry::default();
    target.xpr.type_ = pg_sys::NodeTag::T_TargetEntry;
    target.expr = expression.as_ptr().cast();
    target.resno = number;
    Ref::allocate(target)
}

/// A column of a relation, with its type's collation.
pub fn make_column<'p>(
    relation: i32,
    number: i16,
    type_oid: pg_sys::Oid,
    modifier: i32,
) -> Node<'p> {
    let column = make_var(relation, number, type_oid);
    if let Some(var) = column.cast::<pg_sys::Var>() {
        var.set_modifier(modifier);
        var.set_collation(collation_of_type(type_oid));
    }
    column
}

impl Ref<'_, pg_sys::Var> {
    /// Makes the expression that of another column.
    pub fn set_column(self, relation: i32, number: i16) {
        // SAFETY: the expression is valid, and no reference to it is held.
        unsafe {
            (*self.as_ptr()).varno = relation as _;
            (*self.as_ptr()).varattno = number;
        }
    }
}

impl<'p> EState<'p> {
    /// An executor parameter, which the statement has unless it is a COPY.
    fn parameter(self, number: i32) -> Option<*mut pg_sys::ParamExecData> {
        let count = self.statement()?.parameter_types()?.length;
        // SAFETY: the array has an element for each parameter of the statement.
        (0..count)
            .contains(&number)
            .then(|| unsafe { self.es_param_exec_vals.add(number as usize) })
    }

    /// The value of an executor parameter; null where the statement does not have it.
    pub fn parameter_value(self, number: i32) -> pg_sys::Datum {
        let parameter = self.parameter(number);
        // SAFETY: the parameter is one of the statement's.
        parameter.map_or(pg_sys::Datum::null(), |it| unsafe { (*it).value })
    }

    /// Sets an executor parameter.
    ///
    /// # Safety
    /// All who read the parameter take it for such a value.
    pub unsafe fn set_parameter(self, number: i32, value: pg_sys::Datum) {
        if let Some(parameter) = self.parameter(number) {
            // SAFETY: the parameter is one of the statement's, and no reference to it is held.
            unsafe {
                (*parameter).value = value;
                (*parameter).isnull = false;
            }
        }
    }

    /// Whether PostgreSQL rechecks a row that was changed meanwhile, and has the row of a table already. The table's index in the range table is
    /// from 1.
    pub fn is_substituted(self, table: pg_sys::Index) -> bool {
        // SAFETY: the state of the recheck is null or valid.
        let rechecked = unsafe { self.es_epq_active.as_ref() };
        let Some(rechecked) = rechecked.filter(|_| (1..=self.es_range_table_size).contains(&table))
        else {
            return false;
        };
        let index = table as usize - 1;
        // SAFETY: while a row is rechecked, each table of the range table has an element in both arrays. It is not null if the table's row is
        // there.
        unsafe {
            !(*rechecked.relsubs_slot.add(index)).is_null()
                || !(*rechecked.relsubs_rowmark.add(index)).is_null()
        }
    }
}

impl<'p> CustomScanState<'p> {
    /// The name of the kind.
    pub fn kind(self) -> &'p CStr {
        // SAFETY: a custom scan has callbacks with a name, which are constants of the library that it comes from.
        unsafe { CStr::from_ptr((*self.methods).CustomName) }
    }

    /// The row in the slot for scanned rows, with the plan's columns. There is a projection where they are others.
    pub fn project(self) -> Slot<'p> {
        let slot = self.slot();
        let Some(projection) = self.projection().filter(|_| !slot.is_empty()) else {
            return slot;
        };
        self.expr_context().set_scan_row(slot);
        // SAFETY: the projection is the node's, and reads the row in the slot.
        unsafe { project(projection) }
    }
}
