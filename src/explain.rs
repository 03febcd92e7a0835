//! What EXPLAIN says of a scan and of an INSERT: what is bound to what, how many values, and what was invoked.

use crate::backend::config::{self, Limits};
use crate::columns::{Column, Layout};
use crate::dispatch::Dispatch;
use crate::error::OrReport;
use crate::modify::Insert;
use crate::plan::clause::{Binding, Kind};
use crate::plan::sources::Decoded;
use crate::plan::{Mode, PlanData, estimate};
use crate::postgres::list::List;
use crate::postgres::nodes;
use crate::postgres::plans::{Plan, ancestors};
use crate::postgres::properties::{number, text};
use crate::postgres::refs::Ref;
use crate::postgres::text::for_server;
use crate::scan::Scan;
use pgrx::{pg_guard, pg_sys};
use std::ffi::CStr;
use std::sync::atomic::Ordering::Relaxed;

/// Callback: adds to a scan's part of EXPLAIN.
///
/// # Safety
/// Called by EXPLAIN.
#[pg_guard]
pub unsafe extern "C-unwind" fn explain_foreign_scan(
    node: *mut pg_sys::ForeignScanState,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: the node is initialised, so its plan and relation are there; `fdw_state` is null or a Scan.
    unsafe {
        let plan = (*node).ss.ps.plan;
        let relation = (*node).ss.ss_currentRelation;
        let layout = Layout::read(relation).or_report();
        let data = PlanData::read(plan.cast(), &layout);
        let inputs = config::fixed_inputs((*relation).rd_id);
        let fixed: Vec<String> = Column::INPUTS
            .into_iter()
            .filter_map(|column| Some(format!("{} = '{}'", column.name(), inputs.get(column)?)))
            .collect();
        if !fixed.is_empty() {
            text(es, c"Fixed", for_server(&fixed.join(", ")).to_bytes());
        }
        let printer = Printer::new(plan, es);
        let bindings = printer.bindings(&data.bindings);
        if !bindings.is_empty() {
            text(es, c"Bound", &bindings.join(&b", "[..]));
        }
        let conditions: Vec<Vec<u8>> = (data.conditions.iter())
            .map(|condition| printer.print(*condition))
            .collect();
        if !conditions.is_empty() {
            text(es, c"Only If", &conditions.join(&b" AND "[..]));
        }
        match (data.mode, estimate::known_values(&data.bindings)) {
            (Mode::Missing(column, _), _) => text(es, c"Not Bound", column.name().as_bytes()),
            (_, Some(values)) => number(es, c"Values", values),
            (_, None) => text(es, c"Values", b"known when run"),
        }
        if data.mode == Mode::Plain {
            sources(es, plan, &data.source.0, data.source.1.iter().copied());
        }
        let several = estimate::known_values(&data.bindings) != Some(1);
        if several && data.mode == Mode::Plain {
            let limits = Limits::read((*relation).rd_id);
            number(es, c"Max Concurrency", limits.max_concurrency as u64);
        }
        if let Some(scan) = (*node).fdw_state.cast::<Scan>().as_mut()
            && (*es).analyze
        {
            match &mut scan.dispatch {
                Some(dispatch) => counters(es, dispatch),
                None => number(es, c"Invocations", 0),
            }
        }
    }
}

/// Says which rows invoke once, however often they come.
///
/// # Safety
/// `ids` are expressions of the plan that is being explained.
pub unsafe fn sources(
    es: *mut pg_sys::ExplainState,
    plan: *mut pg_sys::Plan,
    told: &Decoded,
    mut ids: impl Iterator<Item = *mut pg_sys::Node>,
) {
    // SAFETY: see above.
    unsafe {
        let printer = Printer::new(plan, es);
        let mut printed = Vec::new();
        for member in &told.members {
            let ctid = ids.next();
            if member.has_parts {
                ids.next();
            }
            if let Some(ctid) = ctid.filter(|_| member.gives) {
                printed.push(printer.print(ctid));
            }
        }
        if !printed.is_empty() {
            text(es, c"Once For Each", &printed.join(&b", "[..]));
        }
    }
}

/// How many expressions bindings have in a plan, as `plan::encode` has them.
pub fn expressions_of(numbers: &[i32]) -> usize {
    (numbers.chunks_exact(3))
        .filter(|binding| Kind::from_number(binding[1]) != Some(Kind::Null))
        .count()
}

/// Callback: adds to an INSERT's part of EXPLAIN.
///
/// # Safety
/// Called by EXPLAIN, once the statement has run.
#[pg_guard]
pub unsafe extern "C-unwind" fn explain_foreign_modify(
    _state: *mut pg_sys::ModifyTableState,
    relation: *mut pg_sys::ResultRelInfo,
    private: *mut pg_sys::List,
    _subplan_index: std::ffi::c_int,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: the relation is open; `ri_FdwState` is null or an Insert.
    unsafe {
        // The node that reads rows prefetch, where there is one, shows it.
        if private.is_null() {
            let limits = Limits::read((*(*relation).ri_RelationDesc).rd_id);
            number(es, c"Max Concurrency", limits.max_concurrency as u64);
        }
        if let Some(insert) = (*relation).ri_FdwState.cast::<Insert>().as_mut()
            && (*es).analyze
        {
            match insert.dispatched() {
                Some(dispatch) => counters(es, dispatch),
                None => number(es, c"Invocations", 0),
            }
        }
    }
}

/// What was done, once nothing is on its way any more. In text, two lines.
unsafe fn counters(es: *mut pg_sys::ExplainState, dispatch: &mut Dispatch) {
    dispatch.give_up().or_report();
    let counters = &dispatch.limiter.counters;
    let waited = dispatch.waited.as_secs_f64() * 1000.0;
    let counts = [
        (c"Invocations", counters.sent.load(Relaxed)),
        (c"Retries", counters.retries.load(Relaxed)),
        (c"Throttles", counters.throttles.load(Relaxed)),
        (c"Errors", counters.failed.load(Relaxed)),
        (
            c"Most In Flight",
            counters.most_in_flight.load(Relaxed) as u64,
        ),
        (c"Bytes Sent", counters.bytes_out.load(Relaxed)),
        (c"Bytes Received", counters.bytes_in.load(Relaxed)),
    ];
    // SAFETY: the state is EXPLAIN's.
    unsafe {
        if (*es).format != pg_sys::ExplainFormat::EXPLAIN_FORMAT_TEXT {
            for (label, count) in counts {
                number(es, label, count);
            }
            if (*es).timing {
                pg_sys::ExplainPropertyFloat(
                    c"Time Waited".as_ptr(),
                    c"ms".as_ptr(),
                    waited,
                    3,
                    es,
                );
            }
            return;
        }
        let line = |counts: &[(&CStr, u64)]| {
            let counts: Vec<String> = (counts.iter())
                .map(|(label, count)| format!("{}: {count}", label.to_string_lossy()))
                .collect();
            counts.join("  ")
        };
        let (first, rest) = counts[0];
        text(
            es,
            first,
            format!("{rest}  {}", line(&counts[1..5])).as_bytes(),
        );
        let (first, rest) = counts[5];
        let mut second = format!("{rest}  {}", line(&counts[6..]));
        if (*es).timing {
            second.push_str(&format!("  Time Waited: {waited:.3} ms"));
        }
        text(es, first, second.as_bytes());
    }
}

/// Prints expressions of one plan, parameters as what they stand for.
struct Printer {
    context: *mut pg_sys::List,
    prefix: bool,
}

impl Printer {
    unsafe fn new(plan: *mut pg_sys::Plan, es: *mut pg_sys::ExplainState) -> Printer {
        // SAFETY: the plan is one of the statement's being explained.
        unsafe {
            let above = above(Ref::new((*es).pstmt), Ref::new(plan)).as_ptr();
            Printer {
                context: pg_sys::set_deparse_context_plan((*es).deparse_cxt, plan, above),
                prefix: (*es).verbose || nodes::length((*es).rtable) > 1,
            }
        }
    }

    /// In the database's encoding.
    unsafe fn print(&self, expression: *mut pg_sys::Node) -> Vec<u8> {
        // SAFETY: the expression is the plan's; the result is a palloc'd string.
        unsafe {
            let text = pg_sys::deparse_expression(expression, self.context, self.prefix, false);
            CStr::from_ptr(text).to_bytes().to_vec()
        }
    }

    /// In the order of the columns, whatever order the clauses had.
    unsafe fn bindings(&self, bindings: &[Binding]) -> Vec<Vec<u8>> {
        Column::INPUTS
            .into_iter()
            .flat_map(|column| {
                bindings
                    .iter()
                    .filter(move |binding| binding.attribute.column == column)
            })
            .map(|binding| {
                let (column, operator) = (binding.attribute.column.name(), binding.kind.operator());
                let left = format!("{column} {operator}").into_bytes();
                if binding.kind == Kind::Null {
                    return left;
                }
                // SAFETY: a binding's expression is the plan's.
                let right = unsafe { self.print(binding.expression) };
                match binding.kind {
                    Kind::Any => [&left, &b" ("[..], &right, b")"].concat(),
                    _ => [&left, &b" "[..], &right].concat(),
                }
            })
            .collect()
    }
}

/// The plans above a plan, the nearest first. Above the top of a subplan is the SubPlan that runs it, and the plan that has that in
/// an expression. PostgreSQL's EXPLAIN knows them but does not hand them to a foreign scan.
fn above<'p>(statement: Ref<'p, pg_sys::PlannedStmt>, plan: Plan<'p>) -> List<'p, pg_sys::Node> {
    // A subplan's number is its position behind the top.
    let subplans = statement.subplans();
    let root = |number: usize| match number {
        0 => statement.top(),
        _ => subplans.get(number - 1),
    };
    let roots: Vec<(usize, Plan)> = (0..=subplans.len())
        .filter_map(|number| Some((number, root(number)?)))
        .collect();
    let mut found = Vec::new();
    let mut plan = plan;
    while let Some((number, above)) = (roots.iter())
        .find_map(|(number, root)| Some((*number, ancestors(*root, plan, Plan::children)?)))
    {
        found.extend(above.into_iter().rev().map(Plan::as_node));
        let user = (roots.iter()).find_map(|(_, root)| root.user_of_subplan(number as i32));
        let Some((subplan, user)) = user.filter(|_| number > 0) else {
            break;
        };
        found.extend([subplan.as_node(), user.as_node()]);
        plan = user;
    }
    List::of(found)
}
