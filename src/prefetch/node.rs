//! The node that prefetches: the executor's callbacks.

use super::methods::{Methods, NAME};
use super::reader::Carried;
use super::rows::{Prefetch, SharedPrefetch};
use crate::backend;
use crate::backend::config::Limits;
use crate::dispatch::executor_hooks;
use crate::error::{Error, OrReport};
use crate::explain;
use crate::plan::sources::Source;
use crate::postgres::nodes;
use crate::postgres::properties::Printer;
use crate::postgres::refs::Ref;
use crate::postgres::slots;
use pgrx::{pg_guard, pg_sys};
use std::cell::RefMut;
use std::ffi::c_int;

/// Makes the state of a plan of the node.
pub static SCAN_METHODS: Methods<pg_sys::CustomScanMethods> = Methods(pg_sys::CustomScanMethods {
    CustomName: NAME.as_ptr(),
    CreateCustomScanState: Some(create_custom_scan_state),
});

static EXEC_METHODS: Methods<pg_sys::CustomExecMethods> = Methods(pg_sys::CustomExecMethods {
    CustomName: NAME.as_ptr(),
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
});

/// The node's state as the executor sees it.
#[repr(C)]
pub struct State {
    css: pg_sys::CustomScanState,
    /// Null under EXPLAIN without ANALYZE.
    prefetch: *mut SharedPrefetch,
}

/// Callback: makes the node's state.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn create_custom_scan_state(
    _plan: *mut pg_sys::CustomScan,
) -> *mut pg_sys::Node {
    // SAFETY: zeroed memory is a valid state without a tag.
    unsafe {
        let state = pg_sys::palloc0(std::mem::size_of::<State>()).cast::<State>();
        (*state).css.ss.ps.type_ = pg_sys::NodeTag::T_CustomScanState;
        (*state).css.methods = &EXEC_METHODS.0;
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
    // SAFETY: the node is being initialised, and its plan is one of ours.
    unsafe {
        let plan = (*node).ss.ps.plan.cast::<pg_sys::CustomScan>();
        name_row_identities(plan);
        let below = eflags as u32
            & !(pg_sys::EXEC_FLAG_REWIND | pg_sys::EXEC_FLAG_BACKWARD | pg_sys::EXEC_FLAG_MARK);
        (*node).ss.ps.lefttree =
            pg_sys::ExecInitNode((*plan).scan.plan.lefttree, estate, below as _);
        if eflags as u32 & pg_sys::EXEC_FLAG_EXPLAIN_ONLY != 0 {
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
            expressions: Ref::new(plan).expressions().iter().collect(),
        };
        let prefetch = SharedPrefetch::begin(node, carried, [first_only != 0, keeps_rows != 0]);
        let slot = (*estate).es_param_exec_vals.add(parameter as usize);
        (*slot).value = pg_sys::Datum::from(prefetch);
        (*slot).isnull = false;
        (*node.cast::<State>()).prefetch = prefetch;
    }
}

/// Renames the columns by which an UPDATE of a partitioned table finds its rows, so that EXPLAIN can print them. In the plan they have names
/// of no columns; see plans.rs.
unsafe fn name_row_identities(plan: *mut pg_sys::CustomScan) {
    // SAFETY: the list has target entries. The same is written each time the plan is run.
    unsafe {
        for entry in nodes::pointers::<pg_sys::TargetEntry>((*plan).custom_scan_tlist) {
            let var = (*entry).expr.cast::<pg_sys::Var>();
            if pgrx::is_a(var.cast(), pg_sys::NodeTag::T_Var)
                && u32::from((*var).varattno.unsigned_abs()) > pg_sys::MaxHeapAttributeNumber
            {
                (*var).varno = pg_sys::OUTER_VAR;
                (*var).varattno = (*entry).resno;
            }
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
    unsafe {
        let slot = (*node).ss.ss_ScanTupleSlot;
        let mut prefetch = prefetch_of(node).or_report();
        // A row that was changed meanwhile is rechecked with the scan's row, which PostgreSQL has kept.
        if prefetch.is_substituted() {
            let below = slots::next((*node).ss.ps.lefttree);
            if slots::is_empty(below) {
                return std::ptr::null_mut();
            }
            let tuple = slots::copy(below);
            pg_sys::ExecForceStoreMinimalTuple(tuple, slot, true);
            return outer_row(node);
        }
        let next = prefetch.next_row().or_report();
        backend::flush().or_report();
        match next {
            Some(tuple) => {
                pg_sys::ExecForceStoreMinimalTuple(tuple, slot, false);
                outer_row(node)
            }
            None => std::ptr::null_mut(),
        }
    }
}

/// What the node and the scan share.
unsafe fn prefetch_of<'a>(
    node: *mut pg_sys::CustomScanState,
) -> Result<RefMut<'a, Prefetch>, Error> {
    // SAFETY: the pointer is that of begin_custom_scan, and lives as long as the query.
    unsafe { (*(*node.cast::<State>()).prefetch).get() }
}

/// The row in the node's slot without the columns that only conditions read.
unsafe fn outer_row(node: *mut pg_sys::CustomScanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the slot has a row. There is a projection where its columns are not the plan's.
    unsafe {
        let slot = (*node).ss.ss_ScanTupleSlot;
        let projection = (*node).ss.ps.ps_ProjInfo;
        if projection.is_null() {
            return slot;
        }
        (*(*node).ss.ps.ps_ExprContext).ecxt_scantuple = slot;
        slots::project(projection)
    }
}

/// Callback: starts over.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn rescan_custom_scan(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the node was begun. A child with changed parameters is rescanned when it is asked.
    unsafe {
        executor_hooks::refuse_rewind(Ref::new((*node).ss.ps.state)).or_report();
        prefetch_of(node)
            .or_report()
            .start_over((*node).ss.ps.chgParam);
        let below = (*node).ss.ps.lefttree;
        if (*below).chgParam.is_null() {
            pg_sys::ExecReScan(below);
        }
    }
}

/// Callback: ends the node and what is below it.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn end_custom_scan(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the node was begun, or EXPLAIN began the plan below alone.
    unsafe {
        if !(*node.cast::<State>()).prefetch.is_null() {
            prefetch_of(node).or_report().end();
        }
        pg_sys::ExecEndNode((*node).ss.ps.lefttree);
    }
}

/// One of the lists of numbers that a plan carries.
unsafe fn numbers(plan: *mut pg_sys::CustomScan, index: usize) -> Vec<i32> {
    // SAFETY: the list is one of lists of integers.
    unsafe {
        let list = nodes::nth((*plan).custom_private, index);
        nodes::integers(list.unwrap_or(std::ptr::null_mut())).collect()
    }
}

/// The foreign table that a plan invokes.
unsafe fn table(plan: *mut pg_sys::CustomScan) -> pg_sys::Oid {
    // SAFETY: the plan is one of ours.
    let numbers = unsafe { numbers(plan, 0) };
    numbers.get(1).map_or(pg_sys::InvalidOid, |number| {
        pg_sys::Oid::from(*number as u32)
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
    unsafe {
        let explain = Ref::new(es);
        let plan = (*node).ss.ps.plan.cast::<pg_sys::CustomScan>();
        let limits = Limits::read(table(plan));
        explain.number(c"Max Concurrency", limits.max_concurrency as u64);
        let source = Source::decode(&numbers(plan, 2));
        if source.repeats {
            let first = explain::expressions_of(&numbers(plan, 1));
            let expressions = Ref::new(plan).expressions();
            let ids = expressions.iter().skip(first);
            let printer = Printer::new(explain, Ref::new(plan.cast()));
            explain::sources(explain, &printer, &source, ids);
        }
        if explain.costs {
            let rows = (*(*node).ss.ps.plan).plan_rows;
            explain.number(c"Estimated Invocations", rows as u64);
        }
    }
}
