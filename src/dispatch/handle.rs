//! One invocation: in flight, or ended with an outcome.

use super::statement::Totals;
use crate::backend;
use crate::backend::task::Task;
use crate::error::Error;
use crate::lambda::budget::Share;
use crate::lambda::limiter::Limiter;
use crate::lambda::response::InvokeResponse;
use crate::memory;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// An invocation in flight, or its outcome. It is aborted when its last holder drops it.
pub struct InvocationHandle {
    state: RefCell<State>,
    /// The response's part of the budget.
    share: Option<Arc<Share>>,
}

enum State {
    /// With the function's name, for an error without an outcome.
    InFlight(Task<Outcome>, Arc<str>),
    Completed(Rc<Outcome>),
    GivenUp,
}

impl InvocationHandle {
    /// One that was just started.
    pub(super) fn in_flight(
        task: Task<Outcome>,
        name: Arc<str>,
        share: Arc<Share>,
    ) -> Rc<InvocationHandle> {
        Rc::new(InvocationHandle {
            state: RefCell::new(State::InFlight(task, name)),
            share: Some(share),
        })
    }

    /// One that has ended.
    pub fn completed(outcome: Rc<Outcome>) -> Rc<InvocationHandle> {
        Rc::new(InvocationHandle {
            state: RefCell::new(State::Completed(outcome)),
            share: None,
        })
    }

    /// Tells the network thread that the executor waits for this invocation, and for no other.
    pub(super) fn note_awaited(&self) {
        if let Some(share) = &self.share {
            share.set_awaited();
        }
    }

    /// Tells the network thread that an Append waits for this invocation among others.
    pub fn note_awaited_too(&self) {
        if let Some(share) = &self.share {
            share.set_awaited_if_none();
        }
    }

    /// The outcome; `None` while the invocation is in flight.
    pub fn poll(&self) -> Result<Option<Rc<Outcome>>, Error> {
        let mut state = self.state.borrow_mut();
        let (task, name) = match &mut *state {
            State::Completed(outcome) => return Ok(Some(outcome.clone())),
            State::InFlight(task, name) => (task, name),
            State::GivenUp => return Err(Error::Unexpected("row was asked for after the end")),
        };
        match task.poll() {
            None if memory::is_short() => Err(Error::MemoryIsShort),
            None => Ok(None),
            Some(Ok(outcome)) => {
                if outcome.result.is_err() {
                    backend::drain_connections();
                }
                let outcome = Rc::new(outcome);
                *state = State::Completed(outcome.clone());
                Ok(Some(outcome))
            }
            Some(Err(())) => Err(Error::Panicked.of(name, None)),
        }
    }

    /// Aborts the invocation if it is in flight.
    pub(super) fn give_up(&self) {
        self.state.replace_with(|state| match state {
            State::Completed(outcome) => State::Completed(outcome.clone()),
            _ => State::GivenUp,
        });
    }
}

/// The end of an invocation.
pub struct Outcome {
    /// The response, or the failure.
    pub result: Result<InvokeResponse, Error>,
    /// The function's name or ARN, with its qualifier; `None` where the request could not be made.
    pub function_name: Option<Arc<str>>,
    /// The response's part of the budget.
    share: Option<Arc<Share>>,
}

impl Outcome {
    /// An outcome whose response has a part of the budget.
    pub(super) fn new(
        result: Result<InvokeResponse, Error>,
        function_name: Option<Arc<str>>,
        share: Option<Arc<Share>>,
    ) -> Outcome {
        Outcome {
            result,
            function_name,
            share,
        }
    }

    /// The outcome of an event that was queued: that of one that Lambda has accepted.
    pub fn accepted() -> Outcome {
        Outcome::new(Ok(InvokeResponse::empty(202, None)), None, None)
    }

    /// The outcome of an invocation that could not be started.
    pub fn unsent(error: Error) -> Outcome {
        Outcome::new(Err(error), None, None)
    }

    /// Gives its part of the budget back. An outcome that is kept for later would never free that part.
    pub fn leave_budget(&self) {
        if let Some(share) = &self.share {
            share.set(0);
        }
    }
}

/// Counts an invocation as unfinished until it is dropped.
pub(super) struct InFlightGuard {
    limiter: Arc<Limiter>,
    totals: Arc<Totals>,
}

impl InFlightGuard {
    /// Counts one more.
    pub fn new(limiter: Arc<Limiter>, totals: Arc<Totals>) -> InFlightGuard {
        limiter.counters.unfinished.fetch_add(1, Relaxed);
        totals.unfinished.fetch_add(1, Relaxed);
        InFlightGuard { limiter, totals }
    }

    /// The limiter of its attempts.
    pub fn limiter(&self) -> &Arc<Limiter> {
        &self.limiter
    }

    /// The outcome of an invocation that was started.
    pub fn ended(
        self,
        name: Arc<str>,
        mut result: Result<InvokeResponse, Error>,
        keeps_payload: bool,
        share: Arc<Share>,
    ) -> Outcome {
        let Ok(response) = &mut result else {
            return self.failure(Some(name), result, Some(share));
        };
        let payload = response.payload.as_ref();
        let bytes = payload.map_or(0, Vec::len) as u64;
        self.limiter.counters.bytes_in.fetch_add(bytes, Relaxed);
        share.note_response(bytes as usize);
        if response.function_error.is_some() {
            return self.failure(Some(name), result, Some(share));
        }
        if !keeps_payload {
            response.payload = None;
        }
        self.outcome(Some(name), result, Some(share))
    }

    /// The outcome of an invocation that has failed.
    pub fn failure(
        &self,
        name: Option<Arc<str>>,
        result: Result<InvokeResponse, Error>,
        share: Option<Arc<Share>>,
    ) -> Outcome {
        self.limiter.counters.failed.fetch_add(1, Relaxed);
        self.totals.failed.fetch_add(1, Relaxed);
        self.outcome(name, result, share)
    }

    fn outcome(
        &self,
        function_name: Option<Arc<str>>,
        result: Result<InvokeResponse, Error>,
        share: Option<Arc<Share>>,
    ) -> Outcome {
        let response = result.as_ref().ok();
        let payload = response.and_then(|response| response.payload.as_ref());
        if let Some(share) = &share {
            share.set(payload.map_or(0, Vec::len));
            share.set_finished();
        }
        self.totals.done.fetch_add(1, Relaxed);
        Outcome::new(result, function_name, share)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.limiter.counters.unfinished.fetch_sub(1, Relaxed);
        self.totals.unfinished.fetch_sub(1, Relaxed);
    }
}
