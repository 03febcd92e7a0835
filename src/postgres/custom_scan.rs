//! Custom scans: paths (pathnodes.h), plans (plannodes.h) and nodes (execnodes.h) of a kind that PostgreSQL does not have.

use super::compat;
use super::executor::{CustomScanState, EState, ExprContext};
use super::expressions::make_var;
use super::list::List;
use super::planner::Root;
use super::plans::{Plan, PlanState};
use super::refs::{Node, Ref, calls, fields, parts, setters};
use super::slots::{Slot, store_virtual};
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
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
    ProjectionInfo.pi_exprContext as expr_context: ExprContext<'p>;
    /// The slot for the row that is made.
    ExprState.resultslot as result: Slot<'p>;
    /// The recheck of a row that was changed meanwhile, if one is made.
    EState.es_epq_active as recheck: Option<Ref<'p, pg_sys::EPQState>>;
    PlannerGlobal.paramExecTypes as parameter_types: Option<Ref<'p, pg_sys::List>>;
    PlannedStmt.paramExecTypes as parameter_types: Option<Ref<'p, pg_sys::List>>;
}

parts! {
    /// The program that makes the columns.
    ProjectionInfo.pi_state as state: ExprState;
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
    #[cfg(feature = "pg14")]
    Var.varno as set_relation: u32;
    #[cfg(not(feature = "pg14"))]
    Var.varno as set_relation: i32;
    /// Sets the column's number.
    Var.varattno as set_number: i16;
    Var.vartypmod as set_modifier: i32;
    /// Sets the column's collation.
    Var.varcollid as set_collation: pg_sys::Oid;
    ParamExecData.value as set_value: pg_sys::Datum;
    ParamExecData.isnull as set_null: bool;
    PlannerGlobal.paramExecTypes as set_parameter_types: Option<Ref<'p, pg_sys::List>>;
}

calls! {
    /// Initialises the node of a plan.
    pub fn init_node<'p>(plan: Option<Plan<'p>>, estate: EState<'p>, flags: i32) -> Option<PlanState<'p>>
        = ExecInitNode(plan, estate, flags);
    fn collation_of_type(type_oid: pg_sys::Oid) -> pg_sys::Oid = get_typcollation(type_oid);
    fn append_oid(list: Option<Ref<pg_sys::List>>, oid: pg_sys::Oid) -> Option<Ref<pg_sys::List>>
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

impl Node<'_> {
    /// Whether the expression is a row identity: a column by which an UPDATE of a partitioned table finds its rows. Each partition has its own, so
    /// they have a name that only the planner knows.
    pub fn is_row_identity(self) -> bool {
        (self.cast::<pg_sys::Var>()).is_some_and(|var| var.varno == pg_sys::ROWID_VAR)
    }
}

impl Ref<'_, pg_sys::Var> {
    /// Makes the expression that of another column.
    pub fn set_column(self, relation: i32, number: i16) {
        self.set_relation(relation as _);
        self.set_number(number);
    }
}

impl<'p> EState<'p> {
    /// An executor parameter, which the statement has unless it is a COPY.
    fn parameter(self, number: i32) -> Option<Ref<'p, pg_sys::ParamExecData>> {
        let count = self.statement()?.parameter_types()?.length;
        // SAFETY: the array has an element for each parameter of the statement.
        (0..count)
            .contains(&number)
            .then(|| unsafe { Ref::new(self.es_param_exec_vals.add(number as usize)) })
    }

    /// The value of an executor parameter; null where the statement does not have it.
    pub fn parameter_value(self, number: i32) -> pg_sys::Datum {
        let parameter = self.parameter(number);
        parameter.map_or(pg_sys::Datum::null(), |parameter| parameter.value)
    }

    /// Sets an executor parameter.
    ///
    /// # Safety
    /// All who read the parameter take it for such a value.
    pub unsafe fn set_parameter(self, number: i32, value: pg_sys::Datum) {
        if let Some(parameter) = self.parameter(number) {
            parameter.set_value(value);
            parameter.set_null(false);
        }
    }

    /// Whether PostgreSQL rechecks a row that was changed meanwhile, and has the row of a table already. The table's index in the range table is
    /// from 1.
    pub fn is_substituted(self, table: pg_sys::Index) -> bool {
        let is_there = (1..=self.es_range_table_size).contains(&table);
        let Some(rechecked) = self.recheck().filter(|_| is_there) else {
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
        let (state, econtext) = (projection.state(), projection.expr_context());
        let result = state.result();
        result.clear();
        if let Some(evaluate) = state.evalfunc {
            let mut is_null = false;
            let is_null = compat::no_result(&mut is_null);
            // SAFETY: these are the steps of ExecProject (executor.h). The function belongs to the state, and reads the row in the slot. A call
            // through a pointer needs the guard that turns PostgreSQL's errors into unwinding.
            unsafe {
                pg_guard_ffi_boundary(|| evaluate(state.as_ptr(), econtext.as_ptr(), is_null));
            }
        }
        store_virtual(result)
    }
}
