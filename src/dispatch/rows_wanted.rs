//! How many rows a running query wants of one of its nodes: all of them, a number, or an unknown number.
//!
//! An invocation that nobody asks for costs money for nothing. So a node that may stop early counts as one that does.

use super::executor_hooks::ExecutorRun;
use crate::postgres::plans::{PlanState, ancestors};
use crate::postgres::refs::Ref;
use pgrx::pg_sys;
use std::ffi::CStr;

/// The rows that a query wants of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsWanted {
    /// Whether the query may stop before the last row, after an unknown number.
    pub may_end_early: bool,
    /// The number of a LIMIT. More are wanted only if not each becomes a row of the result.
    pub limit: Option<u64>,
    /// The same number for this run alone: that of a FETCH.
    pub rows: Option<u64>,
    /// Whether the query may ask for the same rows once more.
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

    /// The same in invocations, where it is not known how many rows one gives.
    pub fn of_unknown_rows(self) -> RowsWanted {
        RowsWanted {
            may_end_early: !self.is_all(),
            limit: None,
            rows: None,
            ..self
        }
    }

    /// Whether all rows are wanted.
    pub fn is_all(&self) -> bool {
        !self.may_end_early && self.limit.is_none() && self.rows.is_none()
    }

    /// The rows that a run wants of a node.
    pub fn of(node: PlanState, run: &ExecutorRun) -> RowsWanted {
        let query = run.query();
        if let Some(above) = Ancestors::between(node, query.top()) {
            return above.map_or(RowsWanted::UNKNOWN, |above| above.rows_wanted(run.rows));
        }
        let rewound = query.statement().rewound_subplans();
        let subplans = query.estate().subplans();
        for number in 1..=subplans.len() {
            let root = subplans.get(number - 1);
            let (Some(root), Some(above)) = (root, Ancestors::between(node, root)) else {
                continue;
            };
            let Some(above) = above else {
                return RowsWanted::UNKNOWN;
            };
            let is_rerun = depends_on_parameters(root) || rewound.contains(number as i32);
            let users = Users::of(root, run);
            let is_drained = above.drained || (above.is_all() && users.read_all);
            return RowsWanted {
                may_end_early: !is_drained,
                rescans: above.rescans || is_rerun || users.rescan,
                ..RowsWanted::ALL
            };
        }
        RowsWanted::UNKNOWN
    }
}

/// The nodes that use a subplan.
struct Users {
    /// Whether all of them read it to its end: for an array, for a hash table, or in a scan of a CTE that is read to its end.
    read_all: bool,
    /// Whether one of them may run it again.
    rescan: bool,
}

impl Users {
    fn of(root: PlanState, run: &ExecutorRun) -> Users {
        let (mut all, mut some, mut expressions) = (true, false, 0);
        let query = run.query();
        let mut rest: Vec<PlanState> = query.top().into_iter().collect();
        rest.extend(query.estate().subplans().iter());
        while let Some(node) = rest.pop() {
            let is_ours = |subplan: &Ref<pg_sys::SubPlanState>| subplan.top() == Some(root);
            // A CTE's subplan is run by the nodes that scan it.
            for subplan in node.init_plans().iter().filter(is_ours) {
                let kind = subplan.expression().subLinkType;
                if kind != pg_sys::SubLinkType::CTE_SUBLINK {
                    some = true;
                    all &= kind == pg_sys::SubLinkType::ARRAY_SUBLINK;
                }
            }
            for subplan in node.subplans().iter().filter(is_ours) {
                some = true;
                all &= subplan.expression().useHashTable;
                expressions += 1;
            }
            let scan = node.cast::<pg_sys::CteScanState>();
            if scan.is_some_and(|scan| scan.cte() == Some(root)) {
                some = true;
                let above = Ancestors::between(node, query.top()).flatten();
                all &= above.is_some_and(|above| above.rows_wanted(run.rows).is_all());
            }
            rest.extend(node.children());
        }
        Users {
            read_all: some && all,
            // Each partition has a hash table of its own, and runs the subplan for it. A user that was not found may do anything.
            rescan: !some || expressions > 1 || (expressions == 1 && !all),
        }
    }
}

/// The nodes above a node, up to the root of its plan.
struct Ancestors<'p> {
    node: PlanState<'p>,
    /// The last one that was visited.
    top: PlanState<'p>,
    /// Whether one of them reads all rows of the node, whatever is above.
    drained: bool,
    may_end_early: bool,
    limit: Option<u64>,
    /// Whether each row of the top one needs at least one row of the node.
    counts: bool,
    /// Whether only the node's own join was visited so far.
    direct: bool,
    rescans: bool,
}

impl<'p> Ancestors<'p> {
    fn new(node: PlanState<'p>) -> Ancestors<'p> {
        Ancestors {
            node,
            top: node,
            drained: false,
            may_end_early: false,
            limit: None,
            counts: true,
            direct: true,
            rescans: false,
        }
    }

    /// The nodes between a node and a root. `None` if the node is not below the root, and `Some(None)` if there is a node between them
    /// whose demand is not known.
    fn between(node: PlanState<'p>, root: Option<PlanState<'p>>) -> Option<Option<Ancestors<'p>>> {
        let above = ancestors(root?, node, PlanState::children)?;
        let mut visited = Ancestors::new(node);
        let are_known = (above.into_iter().rev()).all(|next| visited.visit(next));
        Some(are_known.then_some(visited))
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

    /// Visits the next node up. False if it is not known how many rows that wants.
    fn visit(&mut self, next: PlanState<'p>) -> bool {
        use pg_sys::NodeTag::*;
        match next.tag() {
            T_ResultState => (),
            T_SubqueryScanState | T_LockRowsState | T_MaterialState | T_UniqueState => {
                self.direct = false;
            }
            T_SortState | T_HashState => self.note_drained(),
            T_AggState => match next.plan().and_then(Ref::cast) {
                Some(aggregate) => self.visit_aggregate(aggregate),
                None => return false,
            },
            T_ModifyTableState => {
                let modify = next.plan().and_then(Ref::cast::<pg_sys::ModifyTable>);
                if modify.is_some_and(|modify| modify.returning().is_empty()) {
                    self.note_drained();
                }
                self.direct = false;
            }
            // A row for each of those below.
            T_CustomScanState if is_kind(next, INVOKE) => self.direct = false,
            T_CustomScanState if !is_kind(next, PREFETCH) => return false,
            // A node that prefetches has a limit of its own, which follows from the same nodes above.
            T_CustomScanState
            | T_AppendState
            | T_MergeAppendState
            | T_ProjectSetState
            | T_IncrementalSortState
            | T_GroupState
            | T_SetOpState => self.note_other_count(),
            // The join ends early if its inner side is empty.
            T_HashJoinState | T_MergeJoinState => {
                self.note_may_end_early(true);
                self.rescans |= self.is_inner_side_of(next) && !keeps_rows(self.top);
                self.note_other_count();
            }
            T_WindowAggState => {
                self.note_may_end_early(true);
                self.direct = false;
            }
            _ => match (next.cast(), next.cast()) {
                (Some(limit), _) => self.note_limit(limit),
                (_, Some(join)) => self.visit_nested_loop(next, join),
                _ => return false,
            },
        }
        self.top = next;
        true
    }

    fn visit_aggregate(&mut self, aggregate: Ref<pg_sys::Agg>) {
        match aggregate.aggstrategy {
            pg_sys::AggStrategy::AGG_PLAIN | pg_sys::AggStrategy::AGG_HASHED => self.note_drained(),
            _ => self.direct = false,
        }
        // One row is in many groups where there are grouping sets.
        self.counts &= aggregate.groupingSets.is_null();
    }

    fn visit_nested_loop(&mut self, next: PlanState<'p>, join: Ref<pg_sys::NestLoopState>) {
        let wants_first = join.js.single_match
            || matches!(
                join.js.jointype,
                pg_sys::JoinType::JOIN_SEMI | pg_sys::JoinType::JOIN_ANTI
            );
        let is_inner = self.is_inner_side_of(next);
        if is_inner {
            self.rescans |= !keeps_rows(self.top);
            self.note_may_end_early(wants_first);
        }
        // One outer row may be joined with many inner rows.
        let is_tag = |node: PlanState, tag| node.tag() == tag;
        let is_own = self.direct
            && is_kind(self.node, PREFETCH)
            && (next.right())
                .is_some_and(|inner| is_tag(inner, pg_sys::NodeTag::T_ForeignScanState));
        self.counts &= !is_inner && (is_own || wants_first);
        self.direct = false;
    }

    /// Whether the last node that was visited is the inner side of a join.
    fn is_inner_side_of(&self, join: PlanState) -> bool {
        join.right() == Some(self.top)
    }

    /// A row of the next node may need no row of this one.
    fn note_other_count(&mut self) {
        self.counts = false;
        self.direct = false;
    }

    fn note_drained(&mut self) {
        self.drained = true;
        self.direct = false;
    }

    fn note_may_end_early(&mut self, may_end_early: bool) {
        self.may_end_early |= may_end_early && !self.drained;
    }

    /// The executor evaluates the LIMIT before it asks for the first row.
    fn note_limit(&mut self, state: Ref<pg_sys::LimitState>) {
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

/// Whether a node keeps its rows for a rescan: a Material node does, unless parameters from outside go into its rows.
fn keeps_rows(node: PlanState) -> bool {
    node.tag() == pg_sys::NodeTag::T_MaterialState && !depends_on_parameters(node)
}

/// Whether parameters from outside of a node go into its rows.
fn depends_on_parameters(node: PlanState) -> bool {
    node.plan().is_some_and(|plan| !plan.extParam.is_null())
}

/// The name of the node that prefetches, in EXPLAIN.
pub const PREFETCH: &CStr = c"LambdaReadAhead";
/// The name of the node that makes the calls of a select list, in EXPLAIN.
pub const INVOKE: &CStr = c"LambdaInvoke";

fn is_kind(node: PlanState, kind: &CStr) -> bool {
    node.cast::<pg_sys::CustomScanState>()
        .is_some_and(|node| node.kind() == kind)
}
