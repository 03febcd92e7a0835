//! Running a scan beside the other branches of an Append: the executor's callbacks for that (execAsync.c, 14 and later).
//!
//! The Append asks each branch for a row and then waits for all of them at once. Where it may be asked for fewer rows than its
//! branches have, they start one after the other instead, as each would be an invocation that nobody asked for.

use super::{Scan, iterate_foreign_scan};
use crate::backend;
use crate::backend::config;
use crate::error::{Error, OrReport};
use crate::plan::{self, Mode, Relation};
use crate::postgres::refs::Ref;
use crate::postgres::slots;
use pgrx::{is_a, pg_guard, pg_sys};

/// Callback: whether a path may be run beside others.
///
/// # Safety
/// Called by the planner.
#[pg_guard]
pub unsafe extern "C-unwind" fn is_foreign_path_async_capable(
    path: *mut pg_sys::ForeignPath,
) -> bool {
    // SAFETY: the path is one of ours, and its relation has what planning it left.
    unsafe {
        let relation = (*(*path).path.parent).fdw_private.cast::<Relation>();
        let mode = plan::mode_of(Ref::new(path));
        mode == Mode::Plain && config::async_capable((*relation).table)
    }
}

/// Callback: an Append asks for a row.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn foreign_async_request(request: *mut pg_sys::AsyncRequest) {
    // SAFETY: the request is one to a scan of ours.
    unsafe { answer(request).or_report() }
}

/// Callback: the wakeup socket became readable.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn foreign_async_notify(request: *mut pg_sys::AsyncRequest) {
    // SAFETY: the request is one to a scan of ours.
    unsafe {
        backend::drain_wakeup().or_report();
        answer(request).or_report();
    }
}

/// Callback: the Append is about to wait.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn foreign_async_configure_wait(request: *mut pg_sys::AsyncRequest) {
    // SAFETY: the Append has made a set of events, in which each branch may have an event.
    unsafe {
        let scan = scan_of((*request).requestee);
        // A row may have come while another branch drained the wakeup socket. The Append does not look for it before it waits, so it is handed
        // on now, and the socket is notified.
        if poll(scan, request).or_report() {
            answer(request).or_report();
            pg_sys::ffi::pg_guard_ffi_boundary(|| ExecAsyncResponse(request));
            // PostgreSQL counts rows of a request and of a notification. This is neither.
            let instrument = (*(*request).requestee).instrument;
            if !instrument.is_null() && !slots::is_empty((*request).result) {
                pg_sys::InstrUpdateTupleCount(instrument, 1.0);
            }
            backend::notify().or_report();
            return;
        }
        if let Some(handle) = (*scan).own.awaited() {
            handle.note_awaited_too();
        }
        // One branch waits for the socket on behalf of all: each has its turn here before the Append waits again.
        if one_before_waits(request) {
            return;
        }
        let append = (*request).requestor.cast::<pg_sys::AppendState>();
        pg_sys::AddWaitEventToSet(
            (*append).as_eventset,
            pg_sys::WL_SOCKET_READABLE,
            backend::wakeup_socket().or_report(),
            std::ptr::null_mut(),
            request.cast(),
        );
    }
}

unsafe extern "C-unwind" {
    /// Hands an answer to the node that asked (execAsync.h).
    fn ExecAsyncResponse(request: *mut pg_sys::AsyncRequest);
}

/// Gives the Append its row if that is there, as ExecAsyncRequestDone and ExecAsyncRequestPending do.
unsafe fn answer(request: *mut pg_sys::AsyncRequest) -> Result<(), Error> {
    // SAFETY: the node is run past its instrumentation, which the request has.
    unsafe {
        let node = (*request).requestee;
        let ready = poll(scan_of(node), request)?;
        (*request).request_complete = ready;
        (*request).callback_pending = !ready;
        (*request).result = match (*node).ExecProcNodeReal {
            Some(run) if ready => pg_sys::ffi::pg_guard_ffi_boundary(|| run(node)),
            _ => std::ptr::null_mut(),
        };
        Ok(())
    }
}

/// Starts what may be started. True if the next row is there.
unsafe fn poll(scan: *mut Scan, request: *mut pg_sys::AsyncRequest) -> Result<bool, Error> {
    // SAFETY: requests are printed in the memory of a row, as when the scan is iterated.
    unsafe {
        let scan = &mut *scan;
        let memory = (*(*(*request).requestee).ps_ExprContext).ecxt_per_tuple_memory;
        let before = pg_sys::MemoryContextSwitchTo(memory);
        let ready = scan.own.poll(|| others_are_asked(request));
        pg_sys::MemoryContextSwitchTo(before);
        ready
    }
}

/// Whether another branch is about to give a row: one that PostgreSQL runs itself, or one of ours.
unsafe fn others_are_asked(request: *mut pg_sys::AsyncRequest) -> bool {
    // SAFETY: the Append has an entry for each branch, null for those that are not asynchronous.
    unsafe {
        let append = &*(*request).requestor.cast::<pg_sys::AppendState>();
        !append.as_syncdone
            || append.as_nasyncresults > 0
            || pg_sys::bms_next_member(append.as_needrequest, -1) >= 0
            || (0..append.as_nplans.max(0) as usize).any(|index| {
                let other = *append.as_asyncrequests.add(index);
                !other.is_null()
                    && other != request
                    && (*other).callback_pending
                    && is_ours((*other).requestee)
                    && (*scan_of((*other).requestee)).own.awaited().is_some()
            })
    }
}

/// Whether a branch before this one waits for the wakeup socket.
unsafe fn one_before_waits(request: *mut pg_sys::AsyncRequest) -> bool {
    // SAFETY: the Append has an entry for each branch. PostgreSQL goes through the branches in their order.
    unsafe {
        let append = &*(*request).requestor.cast::<pg_sys::AppendState>();
        (0..append.as_nplans.max(0) as usize)
            .map(|index| *append.as_asyncrequests.add(index))
            .take_while(|other| *other != request)
            .any(|other| {
                !other.is_null() && (*other).callback_pending && is_ours((*other).requestee)
            })
    }
}

unsafe fn is_ours(node: *mut pg_sys::PlanState) -> bool {
    // SAFETY: a foreign scan has its wrapper's callbacks.
    unsafe {
        is_a(node.cast(), pg_sys::NodeTag::T_ForeignScanState)
            && (*(*node.cast::<pg_sys::ForeignScanState>()).fdwroutine)
                .IterateForeignScan
                .is_some_and(|callback| {
                    let ours = iterate_foreign_scan as unsafe extern "C-unwind" fn(_) -> _;
                    std::ptr::fn_addr_eq(callback, ours)
                })
    }
}

unsafe fn scan_of(node: *mut pg_sys::PlanState) -> *mut Scan {
    // SAFETY: the node is a scan of ours.
    unsafe { (*node.cast::<pg_sys::ForeignScanState>()).fdw_state.cast() }
}
