//! The executor's structures (execnodes.h), and its functions.
//!
//! They live in the memory context of a query, from their initialisation to the query's end. What a callback stores for the query is dropped
//! with that context, so it may have references to them whose lifetime is `'static`.

#![allow(dead_code)]

use super::compat;
use super::list::List;
use super::memory_context::MemoryContext;
use super::plans::{Plan, PlanState};
use super::refs::{FromRaw, Node, Ref, as_ptr, fields};
use super::relids::Relids;
use super::slots::Slot;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

/// The state of a query that is run.
pub type EState<'p> = Ref<'p, pg_sys::EState>;
/// What expressions are evaluated with.
pub type ExprContext<'p> = Ref<'p, pg_sys::ExprContext>;
/// A scan of a foreign table.
pub type ForeignScanState<'p> = Ref<'p, pg_sys::ForeignScanState>;
/// A node of a custom scan.
pub type CustomScanState<'p> = Ref<'p, pg_sys::CustomScanState>;
/// The node of a statement that writes. COPY has one without a plan.
pub type ModifyTableState<'p> = Ref<'p, pg_sys::ModifyTableState>;
/// A table that is written.
pub type ResultRel<'p> = Ref<'p, pg_sys::ResultRelInfo>;
/// A table that is open.
pub type OpenTable<'p> = Ref<'p, pg_sys::RelationData>;

fields! {
    /// The query's memory context.
    EState.es_query_cxt as query_context: MemoryContext<'p>;
    /// The statement; `None` for COPY.
    EState.es_plannedstmt as statement: Option<Ref<'p, pg_sys::PlannedStmt>>;
    /// The query.
    PlanState.state as estate: EState<'p>;
    /// The plan.
    PlanState.plan as plan: Option<Plan<'p>>;
    /// The parameters that have changed since the node was run.
    PlanState.chgParam as changed: Relids<'p>;
    /// Memory that is freed before each row.
    ExprContext.ecxt_per_tuple_memory as row_context: MemoryContext<'p>;
    /// The query.
    ForeignScanState.ss.ps.state as estate: EState<'p>;
    /// The plan.
    ForeignScanState.ss.ps.plan as plan: Ref<'p, pg_sys::ForeignScan>;
    /// The foreign table.
    ForeignScanState.ss.ss_currentRelation as table: OpenTable<'p>;
    /// The slot for the table's rows.
    ForeignScanState.ss.ss_ScanTupleSlot as slot: Slot<'p>;
    /// What expressions are evaluated with.
    ForeignScanState.ss.ps.ps_ExprContext as expr_context: ExprContext<'p>;
    /// The query.
    CustomScanState.ss.ps.state as estate: EState<'p>;
    /// The plan.
    CustomScanState.ss.ps.plan as plan: Ref<'p, pg_sys::CustomScan>;
    /// The slot for rows.
    CustomScanState.ss.ss_ScanTupleSlot as slot: Slot<'p>;
    /// The query.
    ModifyTableState.ps.state as estate: EState<'p>;
    /// The plan; `None` for COPY.
    ModifyTableState.ps.plan as plan: Option<Plan<'p>>;
    /// The table.
    ResultRelInfo.ri_RelationDesc as table: OpenTable<'p>;
    /// The table above that rows are routed from.
    ResultRelInfo.ri_RootResultRelInfo as root: Option<ResultRel<'p>>;
    /// The triggers.
    ResultRelInfo.ri_TrigDesc as triggers: Option<Ref<'p, pg_sys::TriggerDesc>>;
    /// The checks of views and policies.
    ResultRelInfo.ri_WithCheckOptions as checks: List<'p, pg_sys::WithCheckOption>;
    /// The state of each check.
    ResultRelInfo.ri_WithCheckOptionExprs as check_states: List<'p, pg_sys::ExprState>;
    /// The condition, as a list of clauses.
    WithCheckOption.qual as clauses: List<'p, pg_sys::Node>;
}

/// Defines the view of a node as one that its structure begins with.
macro_rules! plan_states {
    ($($node:ident),*) => {
        $(impl<'p> Ref<'p, pg_sys::$node> {
            /// The node as any node.
            pub fn as_plan_state(self) -> PlanState<'p> {
                // SAFETY: the structure begins with a PlanState.
                unsafe { Ref::new(self.as_ptr().cast()) }
            }
        })*
    };
}
plan_states!(ForeignScanState, CustomScanState, ModifyTableState);

impl<'p> EState<'p> {
    /// A new slot, which the query's end frees, for virtual rows of a descriptor.
    pub fn new_slot(self, like: pg_sys::TupleDesc) -> Slot<'p> {
        // SAFETY: the query is being initialised or runs, and the descriptor is one of its tables' or slots'.
        unsafe {
            Ref::new(pg_sys::ExecInitExtraTupleSlot(
                self.as_ptr(),
                like,
                &pg_sys::TTSOpsVirtual,
            ))
        }
    }

    /// New memory and slots for expressions to be evaluated with.
    pub fn new_expr_context(self) -> ExprContext<'p> {
        // SAFETY: the query is being initialised or runs.
        unsafe { Ref::new(pg_sys::CreateExprContext(self.as_ptr())) }
    }

    /// The plan of a subplan, whose numbers begin with 1.
    pub fn subplan(self, number: i32) -> Option<Plan<'p>> {
        let index = usize::try_from(number - 1).ok()?;
        self.statement()?.subplans().get(index)
    }
}

impl<'p> ExprContext<'p> {
    /// Lets expressions read a row of the scan.
    pub fn set_scan_row(self, slot: Slot<'p>) {
        // SAFETY: the context is valid, and no reference to it is held.
        unsafe { (*self.as_ptr()).ecxt_scantuple = slot.as_ptr() };
    }

    /// Works with other memory for what evaluations allocate.
    pub fn with_row_context<T>(self, context: MemoryContext, work: impl FnOnce() -> T) -> T {
        let before = self.ecxt_per_tuple_memory;
        // SAFETY: the context is valid, and no reference to it is held. An error ends the query.
        unsafe {
            (*self.as_ptr()).ecxt_per_tuple_memory = context.as_ptr();
            let result = work();
            (*self.as_ptr()).ecxt_per_tuple_memory = before;
            result
        }
    }
}

/// An expression of a plan, ready to be evaluated.
#[derive(Clone, Copy)]
pub struct Expression<'p> {
    state: Ref<'p, pg_sys::ExprState>,
    econtext: ExprContext<'p>,
}

impl<'p> Expression<'p> {
    /// Initialises an expression of the plan of `parent`. It is evaluated with `econtext`; `None` where there is no expression.
    pub fn init(
        expression: Option<Node>,
        parent: PlanState<'p>,
        econtext: ExprContext<'p>,
    ) -> Option<Expression<'p>> {
        // SAFETY: the expression is null or one of the parent's plan, and the result is null for null.
        let state: Option<Ref<pg_sys::ExprState>> = unsafe {
            let expression = as_ptr(expression).cast();
            FromRaw::from_raw(pg_sys::ExecInitExpr(expression, parent.as_ptr()))
        };
        state.map(|state| Expression { state, econtext })
    }

    /// The value, in the memory of a row; `None` is null.
    pub fn evaluate(self) -> Option<pg_sys::Datum> {
        let evaluate = self.state.evalfunc?;
        let (state, econtext) = (self.state.as_ptr(), self.econtext.as_ptr());
        let mut is_null = false;
        // SAFETY: the function belongs to the state. A call through a pointer needs the guard that turns PostgreSQL's errors into unwinding.
        let datum = (self.econtext.row_context()).switch_to(|| unsafe {
            pg_guard_ffi_boundary(|| evaluate(state, econtext, &mut is_null))
        });
        (!is_null).then_some(datum)
    }

    /// Whether a condition is true, which a null one is not.
    pub fn is_true(self) -> bool {
        self.evaluate().is_some_and(|datum| datum.value() != 0)
    }
}

impl<'p> OpenTable<'p> {
    /// The column with a name.
    pub fn attribute(self, name: &str) -> Option<pg_sys::FormData_pg_attribute> {
        // SAFETY: the table is open, and so has a descriptor.
        let descriptor = unsafe { pgrx::PgTupleDesc::from_pg_unchecked(self.rd_att) };
        let has_name = |attribute: &&pg_sys::FormData_pg_attribute| {
            let bytes = attribute.attname.data.iter().map(|byte| *byte as u8);
            !attribute.attisdropped && bytes.take_while(|byte| *byte != 0).eq(name.bytes())
        };
        descriptor.iter().find(has_name).copied()
    }
}

impl<'p> ModifyTableState<'p> {
    /// The command of the action of a MERGE that runs now. Before 17 PostgreSQL does not tell.
    pub fn merge_action(self) -> Option<pg_sys::CmdType::Type> {
        compat::merge_action(self)
    }

    /// Initialises clauses all of which are to be true.
    pub fn init_clauses(
        self,
        clauses: List<'p, pg_sys::Node>,
    ) -> Option<Ref<'p, pg_sys::ExprState>> {
        // SAFETY: the clauses are about rows that the node writes. The result is null where there are none.
        unsafe {
            let parent = self.as_plan_state().as_ptr();
            FromRaw::from_raw(pg_sys::ExecInitQual(clauses.as_ptr(), parent))
        }
    }
}

impl<'p> ResultRel<'p> {
    /// The columns that an INSERT, a COPY or a partitioned table above names. Members count from the first system column.
    pub fn names_column(self, estate: EState<'p>, number: i16) -> bool {
        // SAFETY: the table is written by the query.
        let named: Relids = unsafe {
            FromRaw::from_raw(pg_sys::ExecGetInsertedCols(self.as_ptr(), estate.as_ptr()))
        };
        named.contains(i32::from(number) - pg_sys::FirstLowInvalidHeapAttributeNumber)
    }

    /// Sets the checks of views and policies, with the state of each.
    pub fn set_checks(
        self,
        checks: List<'p, pg_sys::WithCheckOption>,
        states: List<'p, pg_sys::ExprState>,
    ) {
        // SAFETY: the structure is valid, and no reference to it is held.
        unsafe {
            (*self.as_ptr()).ri_WithCheckOptions = checks.as_ptr();
            (*self.as_ptr()).ri_WithCheckOptionExprs = states.as_ptr();
        }
    }

    /// Makes the checks of a kind with a row. Raises PostgreSQL's error where one is not true.
    pub fn check(self, kind: pg_sys::WCOKind::Type, slot: Slot, estate: EState) {
        // SAFETY: the slot has a row of the table, which is open as long as the query runs.
        unsafe {
            pg_sys::ExecWithCheckOptions(kind, self.as_ptr(), slot.as_ptr(), estate.as_ptr());
        }
    }
}
