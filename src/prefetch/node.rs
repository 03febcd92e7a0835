//! The node that prefetches: the executor's callbacks. The kind that makes the calls of a select list takes their outcomes itself.

use super::consumer::{Consumer, ScanConsumer};
use super::methods::{INVOKE, Methods, NAME};
use super::reader::Carried;
use super::rows::{Prefetch, SharedPrefetch};
use crate::backend;
use crate::backend::config::{self, Limits};
use crate::columns::{Column, Layout};
use crate::dispatch::executor_hooks;
use crate::error::{Error, OrReport, raise, raise_of_call};
use crate::explain;
use crate::plan;
use crate::plan::calls::Called;
use crate::plan::sources::Source;
use crate::postgres::catalog;
use crate::postgres::custom_scan::init_node;
use crate::postgres::executor::{CustomScanState, EState};
use crate::postgres::plans::PlanState;
use crate::postgres::properties::{Explain, Printer};
use crate::postgres::refs::{Ref, as_ptr};
use crate::postgres::rel;
use crate::postgres::slots::Slot;
use crate::rows::call_result;
use crate::rows::payload::InputColumns;
use pgrx::{pg_guard, pg_sys};
use std::cell::{Cell, RefMut};
use std::ffi::{CStr, c_int};
use std::rc::Rc;

/// Makes the state of a plan of the node.
pub static SCAN_METHODS: Methods<pg_sys::CustomScanMethods> = Methods(pg_sys::CustomScanMethods {
    CustomName: NAME.as_ptr(),
    CreateCustomScanState: Some(create_custom_scan_state),
});

/// Makes the state of a plan of the node that makes calls.
pub static INVOKE_METHODS: Methods<pg_sys::CustomScanMethods> =
    Methods(pg_sys::CustomScanMethods {
        CustomName: INVOKE.as_ptr(),
        CreateCustomScanState: Some(create_invoke_state),
    });

static EXEC_METHODS: Methods<pg_sys::CustomExecMethods> = Methods(exec_methods(NAME));
static EXEC_INVOKE_METHODS: Methods<pg_sys::CustomExecMethods> = Methods(exec_methods(INVOKE));

const fn exec_methods(name: &CStr) -> pg_sys::CustomExecMethods {
    pg_sys::CustomExecMethods {
        CustomName: name.as_ptr(),
        BeginCustomScan: Some(begin_custom_scan),
        ExecCustomScan: Some(exec_custom_scan),
        EndCustomScan: Some(end_custom_scan),
        ReScanCustomScan: Some(rescan_custom_scan),
        MarkPosCustomScan: None,
        RestrPosCustomScan: None,
        EstimateDSMCustomScan: None,
        InitializeDSMCustomScan: None,
        ReInitializeDSMCustomScan: None,
        InitializeWorkerCustomScan: None,
        ShutdownCustomScan: None,
        ExplainCustomScan: Some(explain_custom_scan),
    }
}

/// The node's state as the executor sees it.
#[repr(C)]
pub struct State {
    css: pg_sys::CustomScanState,
    /// `None` under EXPLAIN without ANALYZE.
    prefetch: Cell<Option<&'static SharedPrefetch>>,
    /// The call whose results the node puts into its rows.
    call: Cell<Option<TargetCall>>,
}

/// A call of a select list.
#[derive(Clone, Copy)]
struct TargetCall {
    /// The column for its results.
    column: i16,
    /// The type of its payload: json or jsonb.
    json_type: pg_sys::Oid,
}

/// The node, which lives as long as its query.
type PrefetchNode = Ref<'static, State>;

impl PrefetchNode {
    /// The node as a custom scan.
    fn scan(self) -> CustomScanState<'static> {
        // SAFETY: the state begins with that of a custom scan.
        unsafe { Ref::new(self.as_ptr().cast()) }
    }

    /// What the node and the scan share.
    fn prefetch(&self) -> Result<RefMut<'static, Prefetch>, Error> {
        let shared = self.prefetch.get();
        shared.map_or(
            Err(Error::Unexpected("node was not begun")),
            SharedPrefetch::get,
        )
    }
}

/// Callback: makes the node's state.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn create_custom_scan_state(
    _plan: *mut pg_sys::CustomScan,
) -> *mut pg_sys::Node {
    new_state(&EXEC_METHODS)
}

/// Callback: makes the state of a node that makes calls.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn create_invoke_state(
    _plan: *mut pg_sys::CustomScan,
) -> *mut pg_sys::Node {
    new_state(&EXEC_INVOKE_METHODS)
}

fn new_state(methods: &'static Methods<pg_sys::CustomExecMethods>) -> *mut pg_sys::Node {
    // SAFETY: zeroed memory is a valid state without a tag.
    unsafe {
        let state = pg_sys::palloc0(std::mem::size_of::<State>()).cast::<State>();
        (*state).css.ss.ps.type_ = pg_sys::NodeTag::T_CustomScanState;
        (*state).css.methods = &methods.0;
        (*state).prefetch = Cell::new(None);
        (*state).call = Cell::new(None);
        state.cast()
    }
}

/// Callback: prepares the node and what is below it.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn begin_custom_scan(
    node: *mut pg_sys::CustomScanState,
    estate: *mut pg_sys::EState,
    eflags: c_int,
) {
    // SAFETY: the executor initialises the node, whose state and plan are ours. What is made here is dropped with the query, before them.
    let (node, estate) = unsafe { (PrefetchNode::new(node.cast()), EState::new(estate)) };
    begin(node, estate, eflags as u32);
}

fn begin(node: PrefetchNode, estate: EState<'static>, flags: u32) {
    let scan = node.scan();
    let plan = scan.plan();
    name_row_identities(plan);
    let below =
        flags & !(pg_sys::EXEC_FLAG_REWIND | pg_sys::EXEC_FLAG_BACKWARD | pg_sys::EXEC_FLAG_MARK);
    let below = init_node(plan.as_plan().left(), estate, below as i32);
    scan.as_plan_state().set_left(below);
    if let Some(called) = called(plan).filter(|_| is_of_targets(plan)) {
        catalog::check_execute(called.function);
    }
    if flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY != 0 {
        return;
    }
    let own = numbers(plan, 0);
    let [parameter, _, first_only, keeps_rows] = own[..] else {
        Err(Error::Unexpected(
            "plan of a prefetching node is incomplete",
        ))
        .or_report()
    };
    let carried = Carried {
        bindings: numbers(plan, 1),
        source: numbers(plan, 2),
        expressions: plan.expressions().iter().collect(),
        has_inputs: !is_of_targets(plan),
    };
    let prefetch = SharedPrefetch::begin(scan, carried, [first_only != 0, keeps_rows != 0]);
    match is_of_targets(plan) {
        true => serve_itself(node, prefetch).or_report(),
        false => prefetch.put(estate, parameter),
    }
    node.prefetch.set(Some(prefetch));
}

/// Has the node make the calls of its own targets.
fn serve_itself(node: PrefetchNode, prefetch: &SharedPrefetch) -> Result<(), Error> {
    let plan = node.scan().plan();
    let (table, carried) = (table(plan), oids(plan, 4));
    let layout = Rc::new(rel::with_locked(table, Layout::read)?);
    let (Some(response), [owner, column]) = (layout.find(Column::Response), &carried[..]) else {
        return Err(Error::Unexpected("plan of a call is incomplete"));
    };
    node.call.set(Some(TargetCall {
        column: column.to_u32() as i16,
        json_type: response.type_oid,
    }));
    let user = match *owner == pg_sys::InvalidOid {
        true => catalog::current_role(),
        false => *owner,
    };
    let context = node.scan().estate().query_context();
    prefetch.get()?.serve(Consumer::Scan(ScanConsumer {
        table,
        user,
        columns: Rc::new(InputColumns::new(&layout, |_| false, context)),
        layout,
        range_table_index: 0,
        reads_response: true,
        is_call: true,
    }));
    Ok(())
}

/// Renames the columns by which an UPDATE of a partitioned table finds its rows, so that EXPLAIN can print them. In the plan they have names
/// of no columns; see plans.rs. The same is written each time the plan is run.
fn name_row_identities(plan: Ref<pg_sys::CustomScan>) {
    for entry in plan.scan_columns().iter() {
        let var = (entry.expression()).and_then(|column| column.cast::<pg_sys::Var>());
        if let Some(var) = var
            && u32::from(var.varattno.unsigned_abs()) > pg_sys::MaxHeapAttributeNumber
        {
            var.set_column(pg_sys::OUTER_VAR as _, entry.resno);
        }
    }
}

/// Callback: gives the next outer row.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn exec_custom_scan(
    node: *mut pg_sys::CustomScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the state is the one that was begun.
    let node = unsafe { PrefetchNode::new(node.cast()) };
    match next(node) {
        Ok(row) => as_ptr(row),
        Err(error) => match called(node.scan().plan()) {
            Some(called) => raise_of_call(error, called.by),
            None => raise(&error),
        },
    }
}

fn next(node: PrefetchNode) -> Result<Option<Slot<'static>>, Error> {
    let scan = node.scan();
    let mut prefetch = node.prefetch()?;
    // A row that was changed meanwhile is rechecked with the scan's row, which PostgreSQL has kept.
    let is_copy = prefetch.is_substituted();
    let row = if is_copy {
        let below = scan.as_plan_state().left().and_then(PlanState::next_row);
        below.map(Slot::copy)
    } else {
        let next = prefetch.next_row()?;
        backend::flush()?;
        next
    };
    let Some(row) = row else {
        scan.slot().clear();
        return Ok(None);
    };
    // SAFETY: the row has the columns of the plan below, as the slot has. One that is no copy is freed when the slot is not read any more.
    unsafe { scan.slot().store(row, is_copy) };
    if let Some(call) = node.call.get() {
        put_result(scan, &mut prefetch, call)?;
    }
    // The row is without the columns that only conditions read.
    Ok(Some(scan.project()))
}

/// Puts the result of the current row's call into the row.
fn put_result(
    scan: CustomScanState,
    prefetch: &mut Prefetch,
    target: TargetCall,
) -> Result<(), Error> {
    let context = scan.expr_context().row_context();
    // SAFETY: nothing of the row before is read any more.
    unsafe { context.reset() };
    let Some((_, taken, _)) = prefetch.next_outcome()? else {
        return Err(Error::Unexpected("call has no outcome"));
    };
    let result = context.switch_to(|| call_result::row(&taken.outcome, target.json_type))?;
    scan.slot().set(target.column, Some(result));
    Ok(())
}

/// Callback: starts over.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn rescan_custom_scan(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the state is the one that was begun.
    let node = unsafe { PrefetchNode::new(node.cast()) };
    let scan = node.scan();
    executor_hooks::refuse_rewind(scan.estate()).or_report();
    let changed = scan.as_plan_state().changed();
    node.prefetch().or_report().start_over(changed);
    // A child with changed parameters is rescanned when it is asked.
    if let Some(below) = scan.as_plan_state().left() {
        below.start_over();
    }
}

/// Callback: ends the node and what is below it.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn end_custom_scan(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the node was begun, or EXPLAIN began the plan below alone. Nobody asks for its rows any more.
    unsafe {
        let node = PrefetchNode::new(node.cast());
        if node.prefetch.get().is_some() {
            node.prefetch().or_report().end();
        }
        pg_sys::ExecEndNode(as_ptr(node.scan().as_plan_state().left()));
    }
}

/// One of the lists of numbers that a plan carries.
fn numbers(plan: Ref<pg_sys::CustomScan>, index: usize) -> Vec<i32> {
    let list = plan.private().get(index).map(|list| list.as_integers());
    list.map_or(Vec::new(), |numbers| numbers.iter().collect())
}

fn oids(plan: Ref<pg_sys::CustomScan>, index: usize) -> Vec<pg_sys::Oid> {
    let numbers = numbers(plan, index).into_iter();
    numbers
        .map(|number| pg_sys::Oid::from(number as u32))
        .collect()
}

/// The function whose calls a plan makes.
fn called(plan: Ref<pg_sys::CustomScan>) -> Option<Called> {
    Called::decode(&numbers(plan, 3))
}

/// Whether a plan is of the kind that makes the calls of its own targets.
fn is_of_targets(plan: Ref<pg_sys::CustomScan>) -> bool {
    std::ptr::eq(plan.methods, &INVOKE_METHODS.0)
}

/// The foreign table that a plan invokes.
fn table(plan: Ref<pg_sys::CustomScan>) -> pg_sys::Oid {
    let number = numbers(plan, 0).get(1).copied();
    number.map_or(pg_sys::InvalidOid, |number| {
        pg_sys::Oid::from(number as u32)
    })
}

/// Callback: adds to the node's part of EXPLAIN.
///
/// # Safety
/// Called by EXPLAIN.
#[pg_guard]
pub unsafe extern "C-unwind" fn explain_custom_scan(
    node: *mut pg_sys::CustomScanState,
    _ancestors: *mut pg_sys::List,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: EXPLAIN passes its state, and a node with a plan that was made by this module.
    let (explain, node) = unsafe { (Explain::new(es), CustomScanState::new(node)) };
    let plan = node.plan();
    let mut limits = Limits::read(table(plan));
    if called(plan).is_some() {
        limits.limit_calls();
    }
    if is_of_targets(plan) {
        // SAFETY: the state is the one that was begun.
        explain_call(explain, unsafe { PrefetchNode::new(node.as_ptr().cast()) });
    }
    explain.number(c"Max Concurrency", limits.max_concurrency as u64);
    let batching = config::batching(table(plan));
    explain::batching(explain, batching.as_ref());
    let source = Source::decode(&numbers(plan, 2));
    if source.repeats {
        let first = explain::expressions_of(&numbers(plan, 1));
        let ids = plan.expressions().iter().skip(first);
        let printer = Printer::new(explain, plan.as_plan());
        explain::sources(explain, &printer, &source, ids);
    }
    if explain.costs {
        let share = batching.map_or(1, |batching| batching.rows);
        let rows = plan.as_plan().plan_rows as u64;
        explain.number(c"Estimated Invocations", rows.div_ceil(share as u64));
    }
}

/// Adds what a call is given, and counts of invocations.
fn explain_call(explain: Explain, node: PrefetchNode) {
    let plan = node.scan().plan();
    let layout = rel::with_locked(table(plan), Layout::read).or_report();
    let mut expressions = plan.expressions().iter();
    let bindings = plan::decode(&numbers(plan, 1), &mut expressions, &layout);
    let printer = Printer::new(explain, plan.as_plan());
    explain::bound(explain, &printer, &bindings, &layout);
    if explain.analyze && node.prefetch.get().is_some() {
        let mut prefetch = node.prefetch().or_report();
        explain::counters(explain, prefetch.dispatch(), false);
    }
}
