//! Finds scans of a finished plan that can't run, so that their error comes before anything is invoked, and not after that.
//!
//! Whether a scan is asked for a row depends on others' rows, and counts as if it were. What a statement says that it need not be
//! evaluated, is left alone: CASE, COALESCE, OR, FILTER, conditions without columns, partitions that are looked for when the plan is run, and what a
//! LIMIT may not come to.

use super::{Mode, PlanData, paths};
use crate::columns::Layout;
use crate::error::{Error, OrReport};
use crate::postgres::{compat, nodes};
use pgrx::{is_a, pg_guard, pg_sys};
use std::collections::BTreeSet;
use std::ffi::c_void;

/// Errors if a statement's plan has such a scan.
///
/// # Safety
/// The statement is being executed.
pub unsafe fn refuse(statement: *mut pg_sys::PlannedStmt) -> Result<(), Error> {
    // SAFETY: see above.
    unsafe {
        let statement = &*statement;
        let mut plans = nodes::pointers::<pg_sys::Plan>(statement.subplans);
        if !has_doomed(statement.planTree) && !plans.any(|plan| has_doomed(plan)) {
            return Ok(());
        }
        match (Search::new(statement.subplans)).run(statement.planTree) {
            Some(scan) => Err(error_of(scan, statement.rtable)),
            None => Ok(()),
        }
    }
}

/// Whether such a scan is in a plan, asked for or not.
unsafe fn has_doomed(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: null or a plan.
    unsafe {
        !plan.is_null() && (is_doomed(plan) || nodes::children(plan).any(|child| has_doomed(child)))
    }
}

/// Whether a plan is that of a scan that can't run.
unsafe fn is_doomed(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: each cast follows the node's own tag. Another wrapper's plans have lists of their own.
    unsafe {
        if !is_a(plan.cast(), pg_sys::NodeTag::T_ForeignScan) {
            return false;
        }
        let scan = plan.cast::<pg_sys::ForeignScan>();
        let mode = nodes::nth::<pg_sys::List>((*scan).fdw_private, 2)
            .filter(|list| !list.is_null() && is_a(list.cast(), pg_sys::NodeTag::T_IntList));
        mode.is_some_and(|list| {
            let numbers: Vec<_> = nodes::integers(list).collect();
            matches!(Mode::from_numbers(&numbers), Mode::Missing(..))
        }) && paths::is_our_routine(pg_sys::GetFdwRoutineByServerId((*scan).fs_server))
    }
}

/// The error that such a scan raises.
unsafe fn error_of(scan: *mut pg_sys::ForeignScan, entries: *mut pg_sys::List) -> Error {
    // SAFETY: the executor has the table locked.
    unsafe {
        let place = (*scan).scan.scanrelid as usize - 1;
        let Some(entry) = nodes::nth::<pg_sys::RangeTblEntry>(entries, place) else {
            return Error::Unexpected("foreign scan has no table");
        };
        let table = (*entry).relid;
        let open = pg_sys::table_open(table, pg_sys::NoLock as _);
        let layout = Layout::read(open);
        pg_sys::table_close(open, pg_sys::NoLock as _);
        let layout = layout.or_report();
        let plan = PlanData::read(scan, &layout);
        match plan.mode {
            Mode::Missing(column, in_join) => {
                plan.no_value_error(column, in_join, table, &layout, false)
            }
            _ => Error::Unexpected("foreign scan can run"),
        }
    }
}

/// A walk through what is going to be evaluated.
struct Search {
    subplans: *mut pg_sys::List,
    /// Subplans that are come to, by number, and whether all of their rows may not be wanted; and those that were looked at.
    ahead: Vec<(i32, bool)>,
    behind: BTreeSet<i32>,
    /// Subplans that are run when one of their parameters is asked for.
    on_demand: Vec<(Vec<i32>, i32)>,
    asked: BTreeSet<i32>,
    found: Option<*mut pg_sys::ForeignScan>,
}

impl Search {
    fn new(subplans: *mut pg_sys::List) -> Search {
        Search {
            subplans,
            ahead: Vec::new(),
            behind: BTreeSet::new(),
            on_demand: Vec::new(),
            asked: BTreeSet::new(),
            found: None,
        }
    }

    unsafe fn run(mut self, root: *mut pg_sys::Plan) -> Option<*mut pg_sys::ForeignScan> {
        // SAFETY: the statement's plans.
        unsafe {
            self.look_at(root, false);
            loop {
                let (asked, ahead) = (&self.asked, &mut self.ahead);
                self.on_demand.retain(|(parameters, number)| {
                    let is_asked = parameters.iter().any(|it| asked.contains(it));
                    if is_asked {
                        ahead.push((*number, false));
                    }
                    !is_asked
                });
                let Some((number, may_end_early)) = self.ahead.pop() else {
                    return self.found;
                };
                if self.behind.insert(number)
                    && let Some(plan) = nodes::nth(self.subplans, number as usize - 1)
                {
                    self.look_at(plan, may_end_early);
                }
            }
        }
    }

    unsafe fn look_at(&mut self, plan: *mut pg_sys::Plan, may_end_early: bool) {
        use pg_sys::NodeTag::{T_Append, T_CteScan, T_Limit, T_Result};
        if plan.is_null() || self.found.is_some() {
            return;
        }
        // SAFETY: each cast follows the node's own tag.
        unsafe {
            if is_doomed(plan) {
                self.found = Some(plan.cast());
                return;
            }
            for subplan in nodes::pointers::<pg_sys::SubPlan>((*plan).initPlan) {
                let parameters = nodes::integers((*subplan).setParam).collect();
                self.on_demand.push((parameters, (*subplan).plan_id));
            }
            let tag = (*plan.cast::<pg_sys::Node>()).type_;
            if tag == T_Result {
                let descriptors = (*plan.cast::<pg_sys::Result>()).resconstantqual;
                if !descriptors.is_null() {
                    find(descriptors, (&raw mut *self).cast());
                    return;
                }
            }
            if tag == T_CteScan {
                let number = (*plan.cast::<pg_sys::CteScan>()).ctePlanId;
                self.ahead.push((number, may_end_early));
            }
            for expression in nodes::own_expressions(plan) {
                find(expression, (&raw mut *self).cast());
            }
            let parts = match tag {
                _ if compat::chooses_parts(plan) => return,
                T_Append if may_end_early => 1,
                _ => usize::MAX,
            };
            let below = nodes::children(plan).filter(|child| !child.is_null());
            let below: Vec<_> = below.take(parts).collect();
            for child in below {
                self.look_at(child, may_end_early || tag == T_Limit);
            }
        }
    }
}

/// A walker of expression trees (nodeFuncs.h) that leaves out what may not be evaluated.
#[pg_guard]
unsafe extern "C-unwind" fn find(node: *mut pg_sys::Node, search: *mut c_void) -> bool {
    use pg_sys::NodeTag::*;
    if node.is_null() {
        return false;
    }
    // SAFETY: the argument is a Search; each cast follows the node's own tag.
    unsafe {
        let first = |list| nodes::nth::<pg_sys::Node>(list, 0).unwrap_or(std::ptr::null_mut());
        let filtered = |filter: *mut pg_sys::Expr| match filter.is_null() {
            true => pg_sys::expression_tree_walker(node, Some(find), search),
            false => find(filter.cast(), search),
        };
        match (*node).type_ {
            T_CaseExpr => {
                let case = &*node.cast::<pg_sys::CaseExpr>();
                find(case.arg.cast(), search);
                let when = first(case.args).cast::<pg_sys::CaseWhen>();
                !when.is_null() && find((*when).expr.cast(), search)
            }
            T_CoalesceExpr => find(first((*node.cast::<pg_sys::CoalesceExpr>()).args), search),
            // Of NOT it is the only one.
            T_BoolExpr => find(first((*node.cast::<pg_sys::BoolExpr>()).args), search),
            T_Aggref => filtered((*node.cast::<pg_sys::Aggref>()).aggfilter),
            T_WindowFunc => filtered((*node.cast::<pg_sys::WindowFunc>()).aggfilter),
            tag => {
                let found = &mut *search.cast::<Search>();
                if tag == T_Param {
                    let param = &*node.cast::<pg_sys::Param>();
                    // A statement's own parameters have numbers of their own.
                    if param.paramkind == pg_sys::ParamKind::PARAM_EXEC {
                        found.asked.insert(param.paramid);
                    }
                }
                if tag == T_SubPlan {
                    let subplan = &*node.cast::<pg_sys::SubPlan>();
                    let may_end_early = subplan.subLinkType == pg_sys::SubLinkType::EXISTS_SUBLINK;
                    found.ahead.push((subplan.plan_id, may_end_early));
                }
                pg_sys::expression_tree_walker(node, Some(find), search)
            }
        }
    }
}
