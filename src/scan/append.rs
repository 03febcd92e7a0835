//! Running a scan beside the other branches of an Append: the executor's callbacks for that (execAsync.c, 14 and later).
//!
//! The Append asks each branch for a row and then waits for all of them at once. Where it may be asked for fewer rows than its
//! branches have, they start one after the other instead, as each would be an invocation that nobody asked for.

use super::{Scan, is_ours};
use crate::backend;
use crate::backend::config;
use crate::error::{Error, OrReport};
use crate::plan::{self, Mode, Relation};
use crate::postgres::async_append::Request;
use crate::postgres::executor::ForeignScanState;
use crate::postgres::refs::Ref;
use pgrx::{pg_guard, pg_sys};
use std::cell::RefMut;

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
        // A table of functions may have any number of rows for a request.
        mode == Mode::Plain
            && !(*relation).layout.is_of_functions()
            && config::async_capable((*relation).table)
    }
}

/// Callback: an Append asks for a row.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn foreign_async_request(request: *mut pg_sys::AsyncRequest) {
    // SAFETY: the executor passes a request that is valid during the callback.
    answer(unsafe { Ref::new(request) }).or_report();
}

/// Callback: the wakeup socket became readable.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn foreign_async_notify(request: *mut pg_sys::AsyncRequest) {
    backend::drain_wakeup().or_report();
    // SAFETY: the executor passes a request that is valid during the callback.
    answer(unsafe { Ref::new(request) }).or_report();
}

/// Callback: the Append is about to wait.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn foreign_async_configure_wait(request: *mut pg_sys::AsyncRequest) {
    // SAFETY: the executor passes a request that is valid during the callback.
    configure_wait(unsafe { Ref::new(request) }).or_report();
}

fn configure_wait(request: Request) -> Result<(), Error> {
    // A row may have come while another branch drained the wakeup socket. The Append does not look for it before it waits, so it is handed
    // on now, and the socket is notified.
    if poll(request)? {
        answer(request)?;
        request.respond();
        // PostgreSQL counts rows of a request and of a notification. This is neither.
        if request.result().is_some_and(|row| !row.is_empty()) {
            request.branch().count_row();
        }
        return backend::notify();
    }
    if let Some(scan) = scan_of(request)?
        && let Some(handle) = scan.own.awaited()
    {
        handle.note_awaited_too();
    }
    // One branch waits for the socket on behalf of all: each has its turn here before the Append waits again.
    if !one_before_waits(request) {
        request.wait_for(backend::wakeup_socket()?);
    }
    Ok(())
}

/// Gives the Append its row if that is there, as ExecAsyncRequestDone and ExecAsyncRequestPending do.
fn answer(request: Request) -> Result<(), Error> {
    let is_ready = poll(request)?;
    request.set_complete(is_ready);
    request.set_pending(!is_ready);
    // The node is run past its instrumentation, which the request has.
    let row = is_ready.then(|| request.branch().run_real());
    request.set_result(row.flatten());
    Ok(())
}

/// Starts what may be started. True if the next row is there.
fn poll(request: Request) -> Result<bool, Error> {
    let (Some(node), Some(mut scan)) = (node_of(request), scan_of(request)?) else {
        return Err(Error::Unexpected("asynchronous branch is not a scan"));
    };
    // Requests are printed in the memory of a row, as when the scan is iterated.
    let context = node.expr_context().row_context();
    context.switch_to(|| scan.poll(|| others_are_asked(request)))
}

/// Whether another branch is about to give a row: one that PostgreSQL runs itself, or one of ours.
fn others_are_asked(request: Request) -> bool {
    let append = request.append();
    let is_asked = |other: Request| {
        let is_other = other != request && other.callback_pending;
        let scan = is_other.then(|| scan_of(other).ok()).flatten().flatten();
        scan.is_some_and(|scan| scan.own.awaited().is_some())
    };
    !append.as_syncdone
        || append.as_nasyncresults > 0
        || !append.needing_request().is_empty()
        || (0..append.as_nplans).any(|index| append.request(index).is_some_and(is_asked))
}

/// Whether a branch before this one waits for the wakeup socket. PostgreSQL goes through the branches in their order.
fn one_before_waits(request: Request) -> bool {
    let append = request.append();
    (0..append.as_nplans)
        .map(|index| append.request(index))
        .take_while(|other| *other != Some(request))
        .flatten()
        .any(|other| other.callback_pending && node_of(other).is_some())
}

/// The scan that a request is to; `None` where it is not of this wrapper.
fn node_of<'p>(request: Request<'p>) -> Option<ForeignScanState<'p>> {
    request.branch().cast().filter(|node| is_ours(*node))
}

/// What was begun of that scan.
fn scan_of<'p>(request: Request<'p>) -> Result<Option<RefMut<'p, Scan>>, Error> {
    node_of(request).map_or(Ok(None), Scan::of)
}
