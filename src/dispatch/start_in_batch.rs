//! Starts rows that share invocations: each in the open batch, or in a new one if it does not fit.

use super::batch::{Batch, Sender};
use super::counted::Counted;
use super::{Dispatch, Started, executor_hooks};
use crate::error::Error;
use crate::lambda::batch::{BatchPayload, Batching, Ids};
use crate::lambda::request::InvokeRequest;
use crate::options::OnError;
use crate::postgres::process;
use bytes::Bytes;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

impl Dispatch {
    /// Starts a row. A row that cannot be sent keeps its position as a failure.
    pub(super) fn start_in_batch(
        &mut self,
        request: InvokeRequest,
        batching: &Batching,
    ) -> Result<Started, Error> {
        self.budget
            .note_payload(request.payload.as_ref().map_or(0, Bytes::len));
        if let Some(open) = self.open.upgrade() {
            if open.takes(&request) {
                return match open.add(request.payload.as_ref()) {
                    Ok(row) => self.started(&open, row),
                    Err(error) => Ok(self.refuse(error.of_unsent(&request.head.full_name()))),
                };
            }
            open.send()?;
        }
        self.open = Default::default();
        executor_hooks::refuse_unrunnable(self.statement.started() > 0)?;
        let refused = match self.check_limits() {
            Ok(()) => None,
            // Rows before it have their outcomes first.
            Err(error @ Error::Statement(_)) => Some(error),
            Err(error) => return Err(error),
        };
        let ids = match &request.head.durable_execution_name {
            Some(name) => Ids::of_execution(&request.head.full_name(), name),
            None => Ids::of_statement(process::random_bytes(), self.statement.number()),
        };
        let mut payload = BatchPayload::new(batching, &request, &ids);
        let added = match refused {
            Some(error) => Err(error),
            None => (payload.add(request.payload.as_ref()))
                .map_err(|error| error.of_unsent(&request.head.full_name())),
        };
        if let Err(error) = added {
            return Ok(self.refuse(error));
        }
        let batch = self.open(request, payload, batching)?;
        self.started(&batch, 0)
    }

    fn open(
        &mut self,
        request: InvokeRequest,
        payload: BatchPayload,
        batching: &Batching,
    ) -> Result<Rc<Batch>, Error> {
        let client = (self.client(request.head.region.as_deref()))
            .map_err(|error| error.of_unsent(&request.head.full_name()))?;
        let is_alone = request.head.durable_execution_name.is_some();
        let sender = Sender {
            batching: Batching {
                rows: if is_alone { 1 } else { batching.rows },
                ..batching.clone()
            },
            client,
            retry_policy: self.config.retry_policy,
            limiter: self.limiter.clone(),
            lifetime: self.lifetime,
            keeps_payload: self.keeps_payload,
            is_shared: self.config.deduplicate,
            statement: self.statement.clone(),
        };
        let payload_share = self.budget.share();
        payload_share.set(payload.bytes());
        let shares = [payload_share, self.budget.response()];
        let batch = Batch::open(request, payload, shares, sender);
        self.open = Rc::downgrade(&batch);
        self.count(Counted::Batch(Rc::downgrade(&batch)));
        Ok(batch)
    }

    /// A row that was just added. A batch that is full is sent as soon as one more may be in flight: one that waits for a permit would be
    /// sent even if an invocation before it failed.
    fn started(&mut self, batch: &Rc<Batch>, row: usize) -> Result<Started, Error> {
        let started = batch.row(row);
        if !batch.is_open() && self.has_room() {
            batch.send()?;
        }
        Ok(started)
    }

    /// Starts a row that shares its invocation with no other.
    pub fn start_alone(&mut self, request: InvokeRequest) -> Result<Started, Error> {
        let others = std::mem::take(&mut self.open);
        let started = self.start(request);
        let sent = self.send();
        self.open = others;
        sent.and(started)
    }

    /// The batch that takes further rows.
    pub(super) fn open_batch(&self) -> Option<Rc<Batch>> {
        self.open.upgrade().filter(|batch| batch.is_open())
    }

    /// Sends the batch that was not sent, if it may be in flight and no other row joins it: it is full, none are left, or as many as are wanted were
    /// started.
    pub fn send_if_last(&mut self, untaken: usize, has_ended: bool) -> Result<(), Error> {
        let Some(batch) = self.open.upgrade() else {
            return Ok(());
        };
        let is_last = has_ended || !batch.is_open() || self.prefetch_limit.is_satisfied(untaken);
        match is_last && self.has_room() && !self.will_raise() {
            true => batch.send(),
            false => Ok(()),
        }
    }

    /// Sends the rows that wait for others.
    pub fn send(&mut self) -> Result<(), Error> {
        match self.open.upgrade() {
            Some(batch) if !self.will_raise() => batch.send(),
            _ => Ok(()),
        }
    }

    /// How many rows an invocation has at most.
    pub(super) fn rows_of_invocation(&self) -> usize {
        (self.config.batching.as_ref()).map_or(1, |batching| batching.rows)
    }

    /// Whether an invocation is known to have failed, and will end the statement.
    pub(super) fn will_raise(&self) -> bool {
        self.config.on_error == OnError::Raise
            && self.limiter.counters.failed.load(Relaxed) > self.failed_before
    }
}
