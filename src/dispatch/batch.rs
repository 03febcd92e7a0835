//! Rows that share an invocation. A batch is open and takes rows until it is sent, and has an outcome for each row once it has ended.
//!
//! [`Dispatch`](super::Dispatch) opens a batch, and adds each row that fits. It is sent when it is full, when a row does not fit, when the
//! executor waits for one of its rows, or when there are no more rows. What payload and response look like is lambda/batch/'s.

use super::batch_rows::BatchRows;
use super::handle::{InFlightGuard, Outcome, Started};
use super::statement::Statement;
use crate::backend::task::Task;
use crate::backend::{self, Lifetime, SharedClient};
use crate::error::Error;
use crate::lambda::RetryPolicy;
use crate::lambda::api_request::ApiRequest;
use crate::lambda::batch::answers::Answers;
use crate::lambda::batch::{BatchPayload, Batching};
use crate::lambda::budget::Share;
use crate::lambda::limiter::Limiter;
use crate::lambda::request::{InvocationType, InvokeRequest};
use crate::lambda::response::InvokeResponse;
use crate::memory;
use bytes::Bytes;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Rows that share an invocation. It is aborted when its last row is dropped.
pub struct Batch {
    state: RefCell<State>,
    /// The function's name, for an error without an outcome.
    name: Arc<str>,
    /// The response's part of the budget.
    share: Arc<Share>,
    /// The rows that were dropped before it was sent, in ascending order.
    dropped: RefCell<Vec<usize>>,
}

enum State {
    Open(Box<Open>),
    InFlight(Task<Ended>),
    /// The rows have answers of their own. With the row whose outcome was made last.
    Answered(Answered, Option<(usize, Rc<Outcome>)>),
    /// All rows have the same outcome.
    Same(Rc<Outcome>),
    GivenUp,
}

/// A batch that takes rows.
struct Open {
    request: InvokeRequest,
    payload: BatchPayload,
    payload_share: Arc<Share>,
    /// Bytes of its rows and of their expected answers that the budget does not know of yet.
    uncounted: usize,
    sender: Sender,
    _counted: OpenGuard,
}

/// Most bytes that the budget does not know of. To count each small row would take as long as to add it.
const MOST_UNCOUNTED: usize = 4096;

/// What sends a batch.
pub(super) struct Sender {
    pub batching: Batching,
    pub client: SharedClient,
    pub retry_policy: RetryPolicy,
    pub limiter: Arc<Limiter>,
    pub lifetime: Lifetime,
    pub keeps_payload: bool,
    /// Whether later rows may have the same outcomes.
    pub is_shared: bool,
    pub statement: Rc<Statement>,
}

/// What became of a batch.
pub(super) enum Ended {
    Answered(Answered),
    Same(Outcome),
}

/// One response, and the answers in it.
pub(super) struct Answered {
    /// Without a payload.
    pub response: InvokeResponse,
    pub answers: Answers,
    pub name: Arc<str>,
    pub share: Arc<Share>,
}

impl Answered {
    /// The outcome of a row. The one that was made last becomes it, if nobody has that any more: to make one takes longer than to read the answer.
    fn next_outcome(&self, last: &mut Option<(usize, Rc<Outcome>)>, row: usize) -> Rc<Outcome> {
        match last {
            Some((known, outcome)) => {
                if *known != row {
                    match Rc::get_mut(outcome) {
                        Some(outcome) => outcome.set_payload(self.answers.get(row)),
                        None => *outcome = Rc::new(self.outcome(row)),
                    }
                    *known = row;
                }
                outcome.clone()
            }
            None => {
                let outcome = Rc::new(self.outcome(row));
                last.insert((row, outcome)).1.clone()
            }
        }
    }

    fn outcome(&self, row: usize) -> Outcome {
        let response = InvokeResponse {
            payload: self.answers.get(row),
            ..self.response.clone()
        };
        Outcome::new(
            Ok(response),
            Some(self.name.clone()),
            Some(self.share.clone()),
        )
    }
}

impl Batch {
    /// Opens one with its first row, which the payload has. `request` is that row's.
    pub(super) fn open(
        request: InvokeRequest,
        payload: BatchPayload,
        [payload_share, share]: [Arc<Share>; 2],
        sender: Sender,
    ) -> Rc<Batch> {
        let name = request.head.full_name().into();
        let open = Open {
            _counted: OpenGuard::new(&sender.statement),
            request: InvokeRequest {
                payload: None,
                ..request
            },
            payload,
            payload_share,
            uncounted: 0,
            sender,
        };
        Rc::new(Batch {
            state: RefCell::new(State::Open(Box::new(open))),
            name,
            share,
            dropped: RefCell::default(),
        })
    }

    /// Whether it takes one more row.
    pub(super) fn is_open(&self) -> bool {
        match &*self.state.borrow() {
            State::Open(open) => open.payload.len() < open.sender.batching.rows,
            _ => false,
        }
    }

    /// Whether it takes the row of a request.
    pub(super) fn takes(&self, request: &InvokeRequest) -> bool {
        match &*self.state.borrow() {
            State::Open(open) => {
                open.payload.len() < open.sender.batching.rows
                    && open.request.may_share(request)
                    && open.payload.fits(request.payload.as_ref())
            }
            _ => false,
        }
    }

    /// Adds a row that it takes. Errors if the row's payload is not JSON, or if there is no memory.
    pub(super) fn add(&self, payload: Option<&Bytes>) -> Result<usize, Error> {
        let mut state = self.state.borrow_mut();
        let State::Open(open) = &mut *state else {
            return Err(Error::Unexpected("row is added to a batch that was sent"));
        };
        let before = open.payload.bytes();
        open.payload.add(payload)?;
        open.uncounted += open.payload.bytes() - before + self.share.expected();
        if open.uncounted > MOST_UNCOUNTED {
            open.count(&self.share);
        }
        Ok(open.payload.len() - 1)
    }

    /// Sends it, if it was not sent.
    pub(super) fn send(&self) -> Result<(), Error> {
        let open = match self.state.replace(State::GivenUp) {
            State::Open(open) => open,
            state => {
                self.state.replace(state);
                return Ok(());
            }
        };
        let dropped = self.dropped.borrow();
        let sent = open.send(self.name.clone(), self.share.clone(), &dropped);
        let (state, result) = match sent {
            Ok(task) => (State::InFlight(task), Ok(())),
            Err(error) => {
                let error = error.of_unsent(&self.name);
                let unsent = Outcome::unsent(error.clone());
                (State::Same(Rc::new(unsent)), Err(error))
            }
        };
        self.state.replace(state);
        result
    }

    /// Notes that nobody waits for a row. If the batch was not sent, it is sent without the row.
    pub(super) fn note_dropped(&self, row: usize) {
        if let (Ok(state), Ok(mut dropped)) =
            (self.state.try_borrow(), self.dropped.try_borrow_mut())
            && matches!(*state, State::Open(_))
            && let Err(at) = dropped.binary_search(&row)
        {
            dropped.insert(at, row);
        }
    }

    /// The outcome of a row; `None` as long as it is not known.
    pub(super) fn poll(&self, row: usize) -> Result<Option<Rc<Outcome>>, Error> {
        let mut state = self.state.borrow_mut();
        if let State::InFlight(task) = &mut *state {
            match task.poll() {
                None => (),
                Some(Ok(Ended::Answered(answered))) => *state = State::Answered(answered, None),
                Some(Ok(Ended::Same(outcome))) => {
                    if outcome.result.is_err() {
                        backend::drain_connections();
                    }
                    *state = State::Same(Rc::new(outcome));
                }
                Some(Err(())) => return Err(Error::Panicked.of(&self.name, None)),
            }
        }
        match &mut *state {
            State::Open(_) | State::InFlight(_) if memory::is_short() => Err(Error::MemoryIsShort),
            State::Open(_) | State::InFlight(_) => Ok(None),
            State::Answered(answered, last) => {
                let dropped = self.dropped.borrow();
                let row = row - dropped.partition_point(|dropped| *dropped < row);
                Ok(Some(answered.next_outcome(last, row)))
            }
            State::Same(outcome) => Ok(Some(outcome.clone())),
            State::GivenUp => Err(Error::Unexpected("row was asked for after the end")),
        }
    }

    /// Aborts the invocation if it is in flight. It is not sent any more.
    pub(super) fn give_up(&self) {
        self.state.replace_with(|state| match state {
            State::Open(_) | State::InFlight(_) => State::GivenUp,
            state => std::mem::replace(state, State::GivenUp),
        });
    }

    /// The response's part of the budget.
    pub(super) fn share(&self) -> &Share {
        &self.share
    }
}

impl Open {
    /// Tells the budget of all rows so far, and of their expected answers.
    fn count(&mut self, response: &Share) {
        self.uncounted = 0;
        self.payload_share.set(self.payload.bytes());
        response.expect(self.payload.len());
    }

    fn send(
        mut self,
        name: Arc<str>,
        share: Arc<Share>,
        dropped: &[usize],
    ) -> Result<Task<Ended>, Error> {
        self.count(&share);
        let Open {
            mut request,
            payload,
            payload_share,
            sender,
            ..
        } = self;
        let rows = payload.len() - dropped.len();
        request.rows = rows;
        request.payload = Some(payload.finish(dropped)?);
        let Sender {
            batching,
            client,
            retry_policy,
            limiter,
            lifetime,
            keeps_payload,
            is_shared,
            statement,
        } = sender;
        let unfinished = InFlightGuard::new(limiter, statement.totals.clone());
        let is_answered = request.head.invocation_type == InvocationType::RequestResponse;
        let format = is_answered.then_some(batching.format);
        let request = ApiRequest::Invoke(request);
        let task = backend::spawn(lifetime, async move {
            let limiter = unfinished.limiter();
            let invoked = client.send(&request, retry_policy, limiter, &share);
            let result = invoked.await;
            drop((request, payload_share));
            let ended = unfinished.batch_ended(name, result, (rows, format), keeps_payload, share);
            if is_shared {
                ended.leave_budget();
            }
            ended
        })?;
        statement.count();
        Ok(task)
    }
}

impl Ended {
    fn leave_budget(&self) {
        match self {
            Ended::Answered(answered) => answered.share.set(0),
            Ended::Same(outcome) => outcome.leave_budget(),
        }
    }
}

impl Batch {
    /// One of its rows.
    pub(super) fn row(self: &Rc<Self>, row: usize) -> Started {
        Started::Rows(BatchRows::one(self.clone(), row))
    }
}

/// Counts a batch as open until it is dropped.
struct OpenGuard(Rc<Statement>);

impl OpenGuard {
    fn new(statement: &Rc<Statement>) -> OpenGuard {
        statement.count_open(1);
        OpenGuard(statement.clone())
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.count_open(-1);
    }
}
