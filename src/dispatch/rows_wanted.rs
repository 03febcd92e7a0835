//! What a running query is going to ask of one of its nodes: all rows, so many, or what is not known.
//!
//! An invocation that nobody asks for is paid for nothing, so what may stop early is taken to.

use super::executor_hooks::ExecutorRun;
use crate::postgres::nodes;
use crate::postgres::plans::{PlanState, ancestors};
use crate::postgres::refs::{FromRaw, Ref};
use pgrx::{is_a, pg_sys};
use std::ffi::CStr;

/// What will be asked of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsWanted {
    /// Whether it may be asked for fewer rows than it has, and it is not known for how many.
    pub may_end_early: bool,
    /// At least so many rows, and with more only if not each of them becomes a row of the result: a LIMIT.
    pub limit: Option<u64>,
    /// The same for this run: a FETCH.
    pub rows: Option<u64>,
    /// Whether it may be asked for the same rows once more.
    pub rescans: bool,
}

impl RowsWanted {
    /// All rows, once.
    pub const ALL: RowsWanted = RowsWanted {
        may_end_early: false,
        limit: None,
        rows: None,
        rescans: false,
    };

    /// Nothing is known.
    pub const UNKNOWN: RowsWanted = RowsWanted {
        may_end_early: true,
        rescans: true,
        ..RowsWanted::ALL
    };

    /// Whether it will be asked for all rows.
    pub fn is_all(&self) -> bool {
        !self.may_end_early && self.limit.is_none() && self.rows.is_none()
    }

    /// What a run will ask of a node.
    ///
    /// # Safety
    /// `node` is part of the query that is being run.
    pub unsafe fn of(node: *mut pg_sys::PlanState, run: &ExecutorRun) -> RowsWanted {
        // SAFETY: a query that runs has its nodes' states. A subplan's place in the list is its number.
        unsafe {
            let query = &*run.query;
            if let Some(way) = Way::up(node, query.planstate) {
                return way.map_or(RowsWanted::UNKNOWN, |way| way.rows_wanted(run.rows));
            }
            let rewound = (*query.plannedstmt).rewindPlanIDs;
            let subplans = nodes::pointers((*query.estate).es_subplanstates);
            for (place, root) in subplans.enumerate() {
                let Some(way) = Way::up(node, root) else {
                    continue;
                };
                let Some(way) = way else {
                    return RowsWanted::UNKNOWN;
                };
                let again = !(*(*root).plan).extParam.is_null()
                    || pg_sys::bms_is_member(place as i32 + 1, rewound);
                let users = Users::of(root, run);
                let drained = way.drained || (way.is_all() && users.read_all);
                return RowsWanted {
                    may_end_early: !drained,
                    rescans: way.rescans || again || users.rescan,
                    ..RowsWanted::ALL
                };
            }
            RowsWanted::UNKNOWN
        }
    }
}

/// What uses a subplan.
struct Users {
    /// Whether all of them read it to its end: for an array, for a hash table, or by a scan of a CTE that is.
    read_all: bool,
    /// Whether it may be run again for one of them.
    rescan: bool,
}

impl Users {
    unsafe fn of(root: *mut pg_sys::PlanState, run: &ExecutorRun) -> Users {
        let (mut all, mut some, mut expressions) = (true, false, 0);
        // SAFETY: the nodes are states of the query that is being run.
        unsafe {
            let query = &*run.query;
            let mut rest = vec![query.planstate];
            rest.extend(nodes::pointers::<pg_sys::PlanState>(
                (*query.estate).es_subplanstates,
            ));
            while let Some(node) = rest.pop() {
                if node.is_null() {
                    continue;
                }
                let is_ours = |subplan: &*mut pg_sys::SubPlanState| (**subplan).planstate == root;
                let first = nodes::pointers::<pg_sys::SubPlanState>((*node).initPlan);
                // That of a CTE is run by whoever scans it.
                for subplan in first.filter(is_ours) {
                    let kind = (*(*subplan).subplan).subLinkType;
                    if kind != pg_sys::SubLinkType::CTE_SUBLINK {
                        some = true;
                        all &= kind == pg_sys::SubLinkType::ARRAY_SUBLINK;
                    }
                }
                let later = nodes::pointers::<pg_sys::SubPlanState>((*node).subPlan);
                for subplan in later.filter(is_ours) {
                    some = true;
                    all &= (*(*subplan).subplan).useHashTable;
                    expressions += 1;
                }
                if is_a(node.cast(), pg_sys::NodeTag::T_CteScanState)
                    && (*node.cast::<pg_sys::CteScanState>()).cteplanstate == root
                {
                    some = true;
                    let way = Way::up(node, query.planstate).flatten();
                    all &= way.is_some_and(|way| way.rows_wanted(run.rows).is_all());
                }
                let children = PlanState::new(node).children();
                rest.extend(children.into_iter().map(PlanState::as_ptr));
            }
        }
        Users {
            read_all: some && all,
            // Each partition has its own hash table of one subplan, and runs it again. Who was not found may do anything.
            rescan: !some || expressions > 1 || (expressions == 1 && !all),
        }
    }
}

/// The way from a node up to the root of its plan.
struct Way {
    node: *mut pg_sys::PlanState,
    /// The node reached.
    at: *mut pg_sys::PlanState,
    /// Whether something read all of it, whatever is above.
    drained: bool,
    may_end_early: bool,
    limit: Option<u64>,
    /// Whether each row above needs at least one row of the node.
    counts: bool,
    /// Whether only a node's own join is above it so far.
    direct: bool,
    rescans: bool,
}

impl Way {
    fn new(node: *mut pg_sys::PlanState) -> Way {
        Way {
            node,
            at: node,
            drained: false,
            may_end_early: false,
            limit: None,
            counts: true,
            direct: true,
            rescans: false,
        }
    }

    /// The way from a node up to a root; `None` if it is not below that, and `Some(None)` where not all on the way is
    /// understood.
    unsafe fn up(
        node: *mut pg_sys::PlanState,
        root: *mut pg_sys::PlanState,
    ) -> Option<Option<Way>> {
        // SAFETY: both are states of a query that is being run.
        unsafe {
            let root = Option::<PlanState>::from_raw(root)?;
            let above = ancestors(root, Ref::new(node), PlanState::children)?;
            let mut way = Way::new(node);
            let understood = (above.into_iter().rev()).all(|next| way.pass(next.as_ptr()));
            Some(understood.then_some(way))
        }
    }

    fn is_all(&self) -> bool {
        self.drained || (!self.may_end_early && self.limit.is_none())
    }

    fn rows_wanted(&self, rows: Option<u64>) -> RowsWanted {
        let rows = rows.filter(|_| !self.drained);
        RowsWanted {
            may_end_early: self.may_end_early || (rows.is_some() && !self.counts),
            limit: self.limit,
            rows: rows.filter(|_| self.counts),
            rescans: self.rescans,
        }
    }

    /// Goes one node up; false where it is not known what that does.
    unsafe fn pass(&mut self, next: *mut pg_sys::PlanState) -> bool {
        use pg_sys::NodeTag::*;
        // SAFETY: each cast follows the node's own tag.
        unsafe {
            let inner = (*next).righttree == self.at;
            match (*next.cast::<pg_sys::Node>()).type_ {
                T_ResultState => (),
                T_SubqueryScanState | T_LockRowsState | T_MaterialState | T_UniqueState => {
                    self.direct = false;
                }
                T_SortState | T_HashState => self.drain(),
                T_AggState => {
                    let agg = &*(*next).plan.cast::<pg_sys::Agg>();
                    match agg.aggstrategy {
                        pg_sys::AggStrategy::AGG_PLAIN | pg_sys::AggStrategy::AGG_HASHED => {
                            self.drain()
                        }
                        _ => self.direct = false,
                    }
                    // Of grouping sets one row makes many.
                    self.counts &= agg.groupingSets.is_null();
                }
                T_ModifyTableState => {
                    if (*(*next).plan.cast::<pg_sys::ModifyTable>())
                        .returningLists
                        .is_null()
                    {
                        self.drain();
                    }
                    self.direct = false;
                }
                T_LimitState => self.limit(&*next.cast::<pg_sys::LimitState>()),
                T_CustomScanState if !is_prefetch(next) => return false,
                // Reads ahead at its own pace, which is that of what is above it.
                T_CustomScanState => {
                    self.counts = false;
                    self.direct = false;
                }
                T_AppendState | T_MergeAppendState | T_ProjectSetState => {
                    self.counts = false;
                    self.direct = false;
                }
                T_NestLoopState => {
                    let join = &(*next.cast::<pg_sys::NestLoopState>()).js;
                    let first = join.single_match
                        || matches!(
                            join.jointype,
                            pg_sys::JoinType::JOIN_SEMI | pg_sys::JoinType::JOIN_ANTI
                        );
                    if inner {
                        self.rescans |= !keeps_rows(self.at);
                        self.stop(first);
                    }
                    // One row of an outer table may be joined with many.
                    let own = self.direct
                        && is_a(self.node.cast(), T_CustomScanState)
                        && is_a((*next).righttree.cast(), T_ForeignScanState);
                    self.counts &= !inner && (own || first);
                    self.direct = false;
                }
                // An empty inner side ends it.
                T_HashJoinState | T_MergeJoinState => {
                    self.stop(true);
                    self.rescans |= inner && !keeps_rows(self.at);
                    self.counts = false;
                    self.direct = false;
                }
                T_IncrementalSortState | T_GroupState | T_SetOpState => {
                    self.counts = false;
                    self.direct = false;
                }
                T_WindowAggState => {
                    self.stop(true);
                    self.direct = false;
                }
                _ => return false,
            }
            self.at = next;
            true
        }
    }

    fn drain(&mut self) {
        self.drained = true;
        self.direct = false;
    }

    fn stop(&mut self, may_end_early: bool) {
        self.may_end_early |= may_end_early && !self.drained;
    }

    /// The executor has evaluated it before it asks for the first row.
    fn limit(&mut self, state: &pg_sys::LimitState) {
        self.direct = false;
        if self.drained || state.noCount {
            return;
        }
        let with_ties = state.limitOption != pg_sys::LimitOption::LIMIT_OPTION_COUNT;
        if with_ties || !self.counts {
            self.may_end_early = true;
            return;
        }
        let rows = state.offset.saturating_add(state.count).max(0) as u64;
        self.limit = Some(self.limit.map_or(rows, |limit| limit.min(rows)));
    }
}

/// Whether a nested loop rereads what a node has kept: nothing from outside goes into the rows of a Material node.
unsafe fn keeps_rows(node: *mut pg_sys::PlanState) -> bool {
    // SAFETY: a node has a plan.
    unsafe {
        is_a(node.cast(), pg_sys::NodeTag::T_MaterialState) && (*(*node).plan).extParam.is_null()
    }
}

/// The name of the node that reads ahead.
pub const PREFETCH: &CStr = c"LambdaReadAhead";

unsafe fn is_prefetch(node: *mut pg_sys::PlanState) -> bool {
    // SAFETY: a custom scan has methods with a name.
    unsafe {
        let methods = &*(*node.cast::<pg_sys::CustomScanState>()).methods;
        CStr::from_ptr(methods.CustomName) == PREFETCH
    }
}
