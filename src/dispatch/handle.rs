//! One invocation: in flight, or ended with an outcome.
//!
//! What was started is a [`Started`]. Who shares it with others makes an [`InvocationHandle`] of it.

use super::batch::{Answered, Ended};
use super::batch_rows::BatchRows;
use super::statement::Totals;
use crate::backend;
use crate::backend::task::Task;
use crate::error::{BatchFailure, Error};
use crate::lambda::batch::answers;
use crate::lambda::budget::Share;
use crate::lambda::limiter::Limiter;
use crate::lambda::response::InvokeResponse;
use crate::memory;
use crate::options::BatchFormat;
use bytes::Bytes;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// An invocation that was started, or rows that share one with others. It is aborted when nobody holds it or others of its rows.
pub enum Started {
    /// One that others may hold, too.
    Handle(Rc<InvocationHandle>),
    /// Rows of several, one behind the other.
    Rows(BatchRows),
}

impl From<Rc<InvocationHandle>> for Started {
    fn from(handle: Rc<InvocationHandle>) -> Started {
        Started::Handle(handle)
    }
}

impl Started {
    /// One that has ended.
    pub fn completed(outcome: Rc<Outcome>) -> Started {
        Started::Handle(InvocationHandle::completed(outcome))
    }

    /// The first of the rows, for several holders.
    pub fn into_handle(self) -> Rc<InvocationHandle> {
        match self {
            Started::Handle(handle) => handle,
            Started::Rows(rows) => InvocationHandle::of_row(rows),
        }
    }

    /// Sends the invocation, if it takes further rows.
    pub fn send(&self) -> Result<(), Error> {
        match self {
            Started::Handle(handle) => handle.send(),
            Started::Rows(rows) => rows.send(),
        }
    }

    /// The outcome of the first of the rows; `None` while the invocation is in flight.
    pub fn poll(&self) -> Result<Option<Rc<Outcome>>, Error> {
        match self {
            Started::Handle(handle) => handle.poll(),
            Started::Rows(rows) => rows.poll(),
        }
    }

    /// Tells the network thread that the executor waits for this invocation, and for no other.
    pub(super) fn note_awaited(&self) {
        match self {
            Started::Handle(handle) => handle.with_share(Share::set_awaited),
            Started::Rows(rows) => rows.share().set_awaited(),
        }
    }

    /// Tells the network thread that an Append waits for this invocation among others.
    pub fn note_awaited_too(&self) {
        match self {
            Started::Handle(handle) => handle.with_share(Share::set_awaited_if_none),
            Started::Rows(rows) => rows.share().set_awaited_if_none(),
        }
    }
}

/// An invocation in flight, or its outcome. It is aborted when its last holder drops it.
pub struct InvocationHandle {
    state: RefCell<State>,
    /// The response's part of the budget.
    share: Option<Arc<Share>>,
}

enum State {
    /// With the function's name, for an error without an outcome.
    InFlight(Task<Outcome>, Arc<str>),
    /// A row of several.
    Row(BatchRows),
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

    /// A row of an invocation of several.
    fn of_row(row: BatchRows) -> Rc<InvocationHandle> {
        Rc::new(InvocationHandle {
            state: RefCell::new(State::Row(row)),
            share: None,
        })
    }

    /// Sends the invocation, if it takes further rows.
    pub fn send(&self) -> Result<(), Error> {
        match &*self.state.borrow() {
            State::Row(row) => row.send(),
            _ => Ok(()),
        }
    }

    /// Does something with the response's part of the budget.
    fn with_share(&self, work: impl FnOnce(&Share)) {
        match (&self.share, &*self.state.borrow()) {
            (Some(share), _) => work(share),
            (None, State::Row(row)) => work(row.share()),
            _ => (),
        }
    }

    /// One that has ended.
    pub fn completed(outcome: Rc<Outcome>) -> Rc<InvocationHandle> {
        Rc::new(InvocationHandle {
            state: RefCell::new(State::Completed(outcome)),
            share: None,
        })
    }

    /// The outcome; `None` while the invocation is in flight.
    pub fn poll(&self) -> Result<Option<Rc<Outcome>>, Error> {
        let mut state = self.state.borrow_mut();
        let (task, name) = match &mut *state {
            State::Completed(outcome) => return Ok(Some(outcome.clone())),
            State::InFlight(task, name) => (task, name),
            State::Row(row) => {
                let outcome = row.poll()?;
                if let Some(outcome) = &outcome {
                    *state = State::Completed(outcome.clone());
                }
                return Ok(outcome);
            }
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

    /// The response, if there is one: also that of an invocation of several rows that has no answers to them.
    pub fn response(&self) -> Option<&InvokeResponse> {
        match &self.result {
            Ok(response) => Some(response),
            Err(Error::Batch(failure)) => Some(&failure.response),
            Err(_) => None,
        }
    }

    /// Makes it the outcome of another row of the same invocation.
    pub(super) fn set_payload(&mut self, payload: Option<Bytes>) {
        if let Ok(response) = &mut self.result {
            response.payload = payload;
        }
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
        self.note_response(response, &share, 1);
        if response.function_error.is_some() {
            return self.failure(Some(name), result, Some(share));
        }
        if !keeps_payload {
            response.payload = None;
        }
        self.outcome(Some(name), result, Some(share))
    }

    fn note_response(&self, response: &InvokeResponse, share: &Share, rows: usize) {
        let bytes = response.payload.as_ref().map_or(0, Bytes::len);
        (self.limiter.counters.bytes_in).fetch_add(bytes as u64, Relaxed);
        share.note_response(bytes / rows.max(1));
    }

    /// What became of an invocation of so many rows. Without a format there are no answers to expect.
    pub fn batch_ended(
        self,
        name: Arc<str>,
        result: Result<InvokeResponse, Error>,
        (rows, format): (usize, Option<BatchFormat>),
        keeps_payload: bool,
        share: Arc<Share>,
    ) -> Ended {
        let mut response = match result {
            Ok(response) if response.function_error.is_none() => response,
            failed => {
                if let Ok(response) = &failed {
                    self.note_response(response, &share, rows);
                }
                return Ended::Same(self.failure(Some(name), failed, Some(share)));
            }
        };
        self.note_response(&response, &share, rows);
        let body = response.payload.take().unwrap_or_default();
        let answers = match format {
            Some(format) => answers::split(&body, rows, format),
            None => return Ended::Same(self.outcome(Some(name), Ok(response), Some(share))),
        };
        match answers {
            Ok(answers) if keeps_payload => {
                self.note_end(&share, answers.bytes());
                Ended::Answered(Answered {
                    response,
                    answers,
                    name,
                    share,
                })
            }
            Ok(_) => Ended::Same(self.outcome(Some(name), Ok(response), Some(share))),
            Err(problem) => {
                let failure = Error::Batch(Box::new(BatchFailure { problem, response }));
                Ended::Same(self.failure(Some(name), Err(failure), Some(share)))
            }
        }
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
        match &share {
            Some(share) => self.note_end(share, payload.map_or(0, Bytes::len)),
            None => self.count_end(),
        }
        Outcome::new(result, function_name, share)
    }
}

impl InFlightGuard {
    /// Notes the end of an invocation whose response has so many bytes.
    fn note_end(&self, share: &Share, bytes: usize) {
        share.set(bytes);
        share.set_finished();
        self.count_end();
    }

    fn count_end(&self) {
        self.totals.done.fetch_add(1, Relaxed);
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.limiter.counters.unfinished.fetch_sub(1, Relaxed);
        self.totals.unfinished.fetch_sub(1, Relaxed);
    }
}
