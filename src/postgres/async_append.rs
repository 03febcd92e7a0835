//! Requests of an Append to its branches (execAsync.c, execnodes.h).

use super::plans::PlanState;
use super::refs::{Ref, arrays, fields, setters};
use super::relids::Relids;
use super::slots::Slot;
use super::waiting::add_event;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

/// A request for a row.
pub type Request<'p> = Ref<'p, pg_sys::AsyncRequest>;

fields! {
    /// The Append. No other node makes requests.
    AsyncRequest.requestor as append: Ref<'p, pg_sys::AppendState>;
    /// The branch that the request is to.
    AsyncRequest.requestee as branch: PlanState<'p>;
    /// The answer: a row, or none or an empty slot after the last.
    AsyncRequest.result as result: Option<Slot<'p>>;
    /// The events that the Append is about to wait for. There is room for one of each branch.
    AppendState.as_eventset as events: Ref<'p, pg_sys::WaitEventSet>;
    /// The branches that are going to be asked.
    AppendState.as_needrequest as needing_request: Relids<'p>;
}

arrays! {
    /// The request to the branch with an index; `None` if it is not asynchronous.
    AppendState.as_asyncrequests[as_nplans] as request: Option<Request<'p>>;
}

setters! {
    /// Sets whether the answer is there.
    AsyncRequest.request_complete as set_complete: bool;
    /// Sets whether the branch is going to be notified.
    AsyncRequest.callback_pending as set_pending: bool;
    /// Sets the answer.
    AsyncRequest.result as set_result: Option<Slot<'p>>;
}

unsafe extern "C-unwind" {
    /// Hands an answer to the node that asked (execAsync.h).
    fn ExecAsyncResponse(request: *mut pg_sys::AsyncRequest);
}

impl<'p> Request<'p> {
    /// Hands the answer to the Append.
    pub fn respond(self) {
        // SAFETY: the request has an answer. The guard turns PostgreSQL's errors into unwinding.
        unsafe { pg_guard_ffi_boundary(|| ExecAsyncResponse(self.as_ptr())) };
    }

    /// Lets the Append notify the branch when a socket is readable.
    pub fn wait_for(self, socket: pg_sys::pgsocket) {
        let (set, event) = (self.append().events(), pg_sys::WL_SOCKET_READABLE);
        add_event(set, event, socket, None, Some(self.into()));
    }
}

impl<'p> PlanState<'p> {
    /// Counts a row for EXPLAIN ANALYZE.
    pub fn count_row(self) {
        if !self.instrument.is_null() {
            // SAFETY: the instrumentation is the node's.
            unsafe { pg_sys::InstrUpdateTupleCount(self.instrument, 1.0) };
        }
    }

    /// Runs the node past its instrumentation. Gives the next row, or none or an empty slot after the last.
    pub fn run_real(self) -> Option<Slot<'p>> {
        let run = self.ExecProcNodeReal?;
        // SAFETY: the function is the node's. The guard turns PostgreSQL's errors into unwinding.
        unsafe { super::refs::FromRaw::from_raw(pg_guard_ffi_boundary(|| run(self.as_ptr()))) }
    }
}
