//! The executor's structures (execnodes.h), and its functions.
//!
//! They live in the memory context of a query, from their initialisation to the query's end. What a callback stores for the query is dropped
//! with that context, so it may have references to them whose lifetime is `'static`.

use super::list::List;
use super::memory_context::MemoryContext;
use super::plans::{Plan, PlanState};
use super::refs::{FromRaw, Node, Ref, Untyped, calls, fields, parts, setters};
use super::rel::OpenRelation;
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
    ForeignScanState.ss.ss_currentRelation as table: OpenRelation<'p>;
    /// The slot for the table's rows.
    ForeignScanState.ss.ss_ScanTupleSlot as slot: Slot<'p>;
    /// What expressions are evaluated with.
    ForeignScanState.ss.ps.ps_ExprContext as expr_context: ExprContext<'p>;
    /// The callbacks of the table's wrapper.
    ForeignScanState.fdwroutine as routine: Ref<'p, pg_sys::FdwRoutine>;
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
    ResultRelInfo.ri_RelationDesc as table: OpenRelation<'p>;
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

setters! {
    /// Sets the checks of views and policies.
    ResultRelInfo.ri_WithCheckOptions as set_checks: List<'p, pg_sys::WithCheckOption>;
    /// Sets the state of each check.
    ResultRelInfo.ri_WithCheckOptionExprs as set_check_states: List<'p, pg_sys::ExprState>;
    ForeignScanState.fdw_state as set_own_state: Untyped<'p>;
    WithCheckOption.qual as set_clauses: Option<Node<'p>>;
    /// Lets expressions read a row of the scan.
    ExprContext.ecxt_scantuple as set_scan_row: Slot<'p>;
    /// Sets the memory that evaluations allocate in.
    ExprContext.ecxt_per_tuple_memory as set_row_context: MemoryContext<'p>;
}

parts! {
    /// The node as any node.
    ForeignScanState.ss.ps as as_plan_state: PlanState;
    /// The node as any node.
    CustomScanState.ss.ps as as_plan_state: PlanState;
    /// The node as any node.
    ModifyTableState.ps as as_plan_state: PlanState;
}

impl<'p> EState<'p> {
    /// A new slot, which the query's end frees, for virtual rows of a descriptor.
    pub fn new_slot(self, like: Ref<'p, pg_sys::TupleDescData>) -> Slot<'p> {
        let (query, like) = (self.as_ptr(), like.as_ptr());
        // SAFETY: the query is being initialised or runs, and the descriptor is one of its tables' or slots'.
        unsafe {
            let virtual_rows = &pg_sys::TTSOpsVirtual;
            Ref::new(pg_sys::ExecInitExtraTupleSlot(query, like, virtual_rows))
        }
    }

    calls! {
        /// New memory and slots for expressions to be evaluated with.
        pub fn new_expr_context(self) -> ExprContext<'p> = CreateExprContext(self);
    }

    /// The plan of a subplan, whose numbers begin with 1.
    pub fn subplan(self, number: i32) -> Option<Plan<'p>> {
        let index = usize::try_from(number - 1).ok()?;
        self.statement()?.subplans().get(index)
    }
}

impl<'p> ExprContext<'p> {
    /// Works with other memory for what evaluations allocate. An error ends the query.
    pub fn with_row_context<T>(self, context: MemoryContext<'p>, work: impl FnOnce() -> T) -> T {
        let before = self.row_context();
        self.set_row_context(context);
        let result = work();
        self.set_row_context(before);
        result
    }
}

/// An expression of a plan, ready to be evaluated.
#[derive(Clone, Copy)]
pub struct Expression<'p> {
    state: Ref<'p, pg_sys::ExprState>,
    econtext: ExprContext<'p>,
}

impl<'p> Expression<'p> {
    /// Initialises an expression of the plan of `parent`, which is evaluated with `econtext`, in the current memory context.
    pub fn init(
        expression: Node,
        parent: PlanState<'p>,
        econtext: ExprContext<'p>,
    ) -> Expression<'p> {
        let state = init_expr(expression, parent);
        Expression { state, econtext }
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

impl<'p> ForeignScanState<'p> {
    /// Gives the node a state, which is dropped with the query.
    pub fn set_state<T>(self, state: T) {
        let state = self.estate().query_context().own(state);
        self.set_own_state(Ref::from(state).into());
    }

    /// The state that the node was given; `None` where it has none.
    ///
    /// # Safety
    /// The state is a `T`.
    pub unsafe fn state<T>(self) -> Option<&'p T> {
        // SAFETY: the contract of this function says that the state is a `T`. It lives as long as the query.
        unsafe { self.fdw_state.cast::<T>().as_ref() }
    }
}

impl<'p> ModifyTableState<'p> {
    /// Initialises clauses all of which are to be true, about rows that the node writes; `None` where there are none.
    pub fn init_clauses(
        self,
        clauses: List<'p, pg_sys::Node>,
    ) -> Option<Ref<'p, pg_sys::ExprState>> {
        init_qual(clauses, self.as_plan_state())
    }
}

calls! {
    fn init_expr<'p>(expression: Node, parent: PlanState<'p>) -> Ref<'p, pg_sys::ExprState> = ExecInitExpr(expression, parent);
    fn init_qual<'p>(clauses: List<'p, pg_sys::Node>, parent: PlanState<'p>) -> Option<Ref<'p, pg_sys::ExprState>>
        = ExecInitQual(clauses, parent);
    fn inserted_columns<'p>(relation: ResultRel<'p>, estate: EState<'p>) -> Relids<'p> = ExecGetInsertedCols(relation, estate);
}

impl<'p> Ref<'p, pg_sys::WithCheckOption> {
    /// A copy with other clauses.
    pub fn with_clauses(self, clauses: List<'p, pg_sys::Node>) -> Self {
        let copy = self.duplicate();
        copy.set_clauses(clauses.as_node());
        copy
    }
}

impl<'p> ResultRel<'p> {
    /// The targets of RETURNING, once the statement runs.
    pub fn returning(self) -> Option<Node<'p>> {
        // SAFETY: a projection is null or there, and is made of a list of targets.
        unsafe {
            let projection = self.ri_projectReturning.as_ref()?;
            FromRaw::from_raw(projection.pi_state.expr.cast::<pg_sys::Node>())
        }
    }

    /// Whether an INSERT, a COPY or a partitioned table above names a column.
    pub fn names_column(self, estate: EState<'p>, number: i16) -> bool {
        let member = i32::from(number) - pg_sys::FirstLowInvalidHeapAttributeNumber;
        inserted_columns(self, estate).contains(member)
    }

    calls! {
        /// Makes the checks of a kind with a row of the table. Raises PostgreSQL's error where one is not true.
        pub fn check(self, kind: pg_sys::WCOKind::Type, slot: Slot, estate: EState) = ExecWithCheckOptions(kind, self, slot, estate);
    }
}
