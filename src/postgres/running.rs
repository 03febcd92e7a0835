//! Queries that are run (execdesc.h, portal.h), and what their nodes know of each other (execnodes.h).

use super::executor::EState;
use super::list::List;
use super::plans::PlanState;
use super::refs::{Ref, calls, fields, variables};
use super::relids::Relids;
use pgrx::pg_sys;

/// A query that is run.
pub type Query<'p> = Ref<'p, pg_sys::QueryDesc>;

fields! {
    /// The state of the query.
    QueryDesc.estate as estate: EState<'p>;
    /// The statement.
    QueryDesc.plannedstmt as statement: Ref<'p, pg_sys::PlannedStmt>;
    /// The node at the top.
    QueryDesc.planstate as top: Option<PlanState<'p>>;
    /// The nodes at the tops of subplans. A subplan's number is its position from 1. A subplan that is not used is null.
    EState.es_subplanstates as subplans: List<'p, pg_sys::PlanState>;
    /// The numbers of the subplans that can be rewound.
    PlannedStmt.rewindPlanIDs as rewound_subplans: Relids<'p>;
    /// The subplans that run for their parameters.
    PlanState.initPlan as init_plans: List<'p, pg_sys::SubPlanState>;
    /// The subplans of the node's expressions.
    PlanState.subPlan as subplans: List<'p, pg_sys::SubPlanState>;
    /// The node at the top of the subplan.
    SubPlanState.planstate as top: Option<PlanState<'p>>;
    /// The expression that runs the subplan.
    SubPlanState.subplan as expression: Ref<'p, pg_sys::SubPlan>;
    /// The node at the top of the CTE's plan.
    CteScanState.cteplanstate as cte: Option<PlanState<'p>>;
    /// The statements of the portal.
    PortalData.stmts as statements: List<'p, pg_sys::PlannedStmt>;
}

/// Does something with the portal whose statement runs, if there is one.
pub fn with_active_portal<T>(work: impl FnOnce(Ref<pg_sys::PortalData>) -> T) -> Option<T> {
    active_portal().map(work)
}

variables! {
    /// The portal is there as long as it is active.
    fn active_portal<'p>() -> Option<Ref<'p, pg_sys::PortalData>> = ActivePortal;
}

calls! {
    /// When the client's statement has begun.
    pub fn statement_start() -> pg_sys::TimestampTz = GetCurrentStatementStartTimestamp();
}
