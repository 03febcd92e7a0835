//! Finds scans of a finished plan that can't run, so that their error comes before anything is invoked, and not after that.
//!
//! Whether a scan is asked for a row depends on others' rows, and counts as if it were asked. Expressions that the statement may leave out are
//! left alone: CASE, COALESCE, OR, FILTER, conditions without columns, partitions that are chosen when the plan is run, the rest of a
//! UNION ALL below a LIMIT, and anything below LIMIT 0.

use super::plan_data::{Mode, PlanData};
use super::relation;
use crate::columns::Layout;
use crate::error::{Error, OrReport};
use crate::postgres::expressions::{Walk, walk};
use crate::postgres::list::List;
use crate::postgres::plans::Plan;
use crate::postgres::refs::{Node, Ref};
use crate::postgres::rel;
use crate::postgres::{catalog, compat};
use pgrx::pg_sys;
use std::collections::BTreeSet;

type ForeignScan<'p> = Ref<'p, pg_sys::ForeignScan>;

/// Errors if a statement's plan has such a scan. The error's DETAIL says whether the statement `has_invoked` before.
pub fn refuse(statement: Ref<pg_sys::PlannedStmt>, has_invoked: bool) -> Result<(), Error> {
    let Some(top) = statement.top() else {
        return Ok(());
    };
    if !has_unrunnable(top) && !statement.subplans().iter().any(has_unrunnable) {
        return Ok(());
    }
    match Search::new(statement.subplans()).run(top) {
        Some(scan) => Err(error_of(scan, statement.range_table(), has_invoked)),
        None => Ok(()),
    }
}

/// Whether a scan that can't run is in a plan, asked for or not.
fn has_unrunnable(plan: Plan) -> bool {
    unrunnable(plan).is_some() || plan.children().into_iter().any(has_unrunnable)
}

/// The plan as that of a scan that can't run, if it is one.
fn unrunnable(plan: Plan) -> Option<ForeignScan> {
    let scan: ForeignScan = plan.cast()?;
    // Another wrapper's plans have lists of other things.
    if scan.private().as_node()?.tag() != pg_sys::NodeTag::T_List {
        return None;
    }
    let mode = scan.private().get(2)?;
    if mode.tag() != pg_sys::NodeTag::T_IntList {
        return None;
    }
    let mode = Mode::from_numbers(&mode.as_integers().iter().collect::<Vec<_>>());
    if !matches!(mode, Mode::Missing(..)) {
        return None;
    }
    let routine = catalog::wrapper_routine(scan.fs_server);
    routine
        .is_some_and(relation::is_our_routine)
        .then_some(scan)
}

/// Whether a plan is a LIMIT 0, which reads no rows.
fn is_limit_zero(plan: Plan) -> bool {
    let count = (plan.cast()).and_then(|limit: Ref<pg_sys::Limit>| limit.count());
    let count = count.and_then(|count| count.cast::<pg_sys::Const>());
    count.is_some_and(|count| !count.constisnull && count.constvalue.value() == 0)
}

/// The error that such a scan raises.
fn error_of(scan: ForeignScan, entries: List<pg_sys::RangeTblEntry>, has_invoked: bool) -> Error {
    let index = scan.scan.scanrelid as usize - 1;
    let Some(entry) = entries.get(index) else {
        return Error::Unexpected("foreign scan has no table");
    };
    // The executor has the table locked.
    let layout = rel::with_locked(entry.relid, Layout::read).or_report();
    let plan = PlanData::read(scan, &layout);
    match plan.mode {
        Mode::Missing(column, in_join) => {
            plan.no_value_error(column, in_join, entry.relid, &layout, has_invoked)
        }
        _ => Error::Unexpected("foreign scan can run"),
    }
}

/// A walk through the plans and expressions that are going to be evaluated.
struct Search<'p> {
    subplans: List<'p, pg_sys::Plan>,
    /// Subplans to be searched, by number, and whether some of their rows may not be wanted.
    pending: Vec<(i32, bool)>,
    searched: BTreeSet<i32>,
    /// Subplans that run when one of their parameters is read.
    on_demand: Vec<(Vec<i32>, i32)>,
    /// The executor parameters that are read.
    parameters: BTreeSet<i32>,
    found: Option<ForeignScan<'p>>,
}

impl<'p> Search<'p> {
    fn new(subplans: List<'p, pg_sys::Plan>) -> Search<'p> {
        Search {
            subplans,
            pending: Vec::new(),
            searched: BTreeSet::new(),
            on_demand: Vec::new(),
            parameters: BTreeSet::new(),
            found: None,
        }
    }

    fn run(mut self, top: Plan<'p>) -> Option<ForeignScan<'p>> {
        self.search_plan(top, false);
        // A WITH clause that writes runs to its end, also where nobody reads its rows.
        for (number, index) in (1..).zip(0..self.subplans.len()) {
            let plan = self.subplans.get(index);
            if plan.is_some_and(|plan| plan.tag() == pg_sys::NodeTag::T_ModifyTable) {
                self.pending.push((number, false));
            }
        }
        loop {
            let (read, pending) = (&self.parameters, &mut self.pending);
            self.on_demand.retain(|(parameters, number)| {
                let is_read = parameters.iter().any(|it| read.contains(it));
                if is_read {
                    pending.push((*number, false));
                }
                !is_read
            });
            let Some((number, may_end_early)) = self.pending.pop() else {
                return self.found;
            };
            if self.searched.insert(number)
                && let Some(plan) = self.subplans.get(number as usize - 1)
            {
                self.search_plan(plan, may_end_early);
            }
        }
    }

    fn search_plan(&mut self, plan: Plan<'p>, may_end_early: bool) {
        use pg_sys::NodeTag::{T_Append, T_Limit};
        if self.found.is_some() {
            return;
        }
        self.found = unrunnable(plan);
        if self.found.is_some() {
            return;
        }
        for subplan in plan.init_plans().iter() {
            let parameters = subplan.set_parameters().iter().collect();
            self.on_demand.push((parameters, subplan.plan_id));
        }
        let constant_filter = plan
            .cast()
            .and_then(|result: Ref<pg_sys::Result>| result.constant_filter());
        if constant_filter.is_some() {
            self.search_expression(constant_filter);
            return;
        }
        if let Some(cte) = plan.cast::<pg_sys::CteScan>() {
            self.pending.push((cte.ctePlanId, may_end_early));
        }
        for expression in plan.own_expressions() {
            self.search_expression(Some(expression));
        }
        let parts = match plan.tag() {
            _ if compat::prunes_at_run_time(plan) || is_limit_zero(plan) => return,
            T_Append if may_end_early => 1,
            _ => usize::MAX,
        };
        for child in plan.children().into_iter().take(parts) {
            self.search_plan(child, may_end_early || plan.tag() == T_Limit);
        }
    }

    /// Searches an expression, but for the parts of it that may not be evaluated.
    fn search_expression(&mut self, node: Option<Node<'p>>) {
        walk(node, &mut |node| self.search_node(node));
    }

    fn search_node(&mut self, node: Node<'p>) -> Walk {
        let filter = (node.cast().and_then(|it: Ref<pg_sys::Aggref>| it.filter()))
            .or_else(|| node.cast::<pg_sys::WindowFunc>()?.filter());
        if let Some(case) = node.cast::<pg_sys::CaseExpr>() {
            self.search_expression(case.argument());
            self.search_expression(case.whens().get(0).and_then(|when| when.condition()));
        } else if let Some(coalesce) = node.cast::<pg_sys::CoalesceExpr>() {
            self.search_expression(coalesce.arguments().get(0));
        } else if let Some(boolean) = node.cast::<pg_sys::BoolExpr>() {
            // NOT has one argument.
            self.search_expression(boolean.arguments().get(0));
        } else if filter.is_some() {
            self.search_expression(filter);
        } else {
            if let Some(parameter) = node.cast::<pg_sys::Param>()
                && parameter.paramkind == pg_sys::ParamKind::PARAM_EXEC
            {
                self.parameters.insert(parameter.paramid);
            } else if let Some(subplan) = node.cast::<pg_sys::SubPlan>() {
                let may_end_early = subplan.subLinkType == pg_sys::SubLinkType::EXISTS_SUBLINK;
                self.pending.push((subplan.plan_id, may_end_early));
            }
            return Walk::Into;
        }
        Walk::Over
    }
}
