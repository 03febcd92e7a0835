//! Outcomes: taken as they come, and written so that one that PostgreSQL refuses stops no other.

use super::{Delivery, Transactions};
use crate::dispatch::Outcome;
use crate::error::{Error, raise_caught, report_of, warn};
use crate::options::OnError;
use crate::postgres::process;
use crate::queue::outcome::{micros, pause_after, state_of, writers};
use crate::queue::rows::{self, OUTCOME_COLUMNS, QueuedRow, State};
use crate::queue::{as_owner, locks};
use crate::rows::invocation_columns;
use crate::settings;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::panic::CaughtError;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

/// The longest wait for a lock while outcomes are written. The rows are locked by then, but a foreign key or a trigger may wait.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the number of delivered rows is known.
const COUNTED: Duration = Duration::from_secs(60);
/// How often old counts and rows are deleted.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);

/// A row that has an outcome.
pub(super) struct Ended {
    row: QueuedRow,
    outcome: Rc<Outcome>,
    state: State,
    /// How often its outcome could not be written.
    failures: i32,
    /// When it is to be written, as a timestamptz.
    due_at: i64,
}

impl Ended {
    pub(super) fn new(mut row: QueuedRow, outcome: Rc<Outcome>) -> Ended {
        Ended {
            state: state_of(&mut row, &outcome),
            row,
            outcome,
            failures: 0,
            due_at: 0,
        }
    }

    /// What no other row has.
    fn identity(&self) -> (i64, i64) {
        (self.row.id, self.row.queued_at)
    }
}

/// What became of an attempt to write outcomes.
struct Written {
    /// The rows whose outcomes are not written: those that another transaction has locked, and those of which PostgreSQL has refused it.
    left: HashSet<(i64, i64)>,
    /// The first error.
    error: Option<Box<CaughtError>>,
}

impl Delivery {
    /// Takes the outcomes that have come. An error of no single invocation is returned once all of them are taken.
    fn collect(&mut self) -> Result<(), Error> {
        let mut collected = Ok(());
        for in_flight in std::mem::take(&mut self.in_flight) {
            match in_flight.started.poll() {
                Ok(Some(outcome)) => self.ended.push(Ended::new(in_flight.row, outcome)),
                Ok(None) => self.in_flight.push(in_flight),
                Err(error @ Error::MemoryIsShort) => {
                    self.in_flight.push(in_flight);
                    collected = Err(error);
                }
                Err(error) => {
                    let outcome = Rc::new(Outcome::unsent(error));
                    self.ended.push(Ended::new(in_flight.row, outcome));
                }
            }
        }
        collected
    }

    /// Takes the outcomes that have come, starts others, and writes what became of the rows. False if it was written of none. Returns an error,
    /// also that of an earlier step, once all is written that can be.
    ///
    /// Rows of which it cannot be written stay with those that have ended, so that they are not sent again while this delivery runs.
    pub(super) fn settle(
        &mut self,
        transactions: &mut impl Transactions,
        earlier: Result<(), Error>,
    ) -> Result<bool, Error> {
        let earlier = earlier.and(self.collect()).and_then(|()| self.start());
        let now = rows::now();
        if self.ended.iter().all(|ended| ended.due_at > now) {
            return earlier.map(|()| false);
        }
        let Some(written) = transactions.run(|| as_owner(|| self.write(now)))? else {
            return earlier.map(|()| false);
        };
        let before = self.ended.len();
        self.ended.retain(|ended| {
            let is_left = ended.due_at > now || written.left.contains(&ended.identity());
            if !is_left {
                locks::unlock(ended.row.id);
            }
            is_left
        });
        if let Some(error) = written.error
            && is_cancel(&error)
        {
            raise_caught(*error);
        }
        earlier.map(|()| self.ended.len() < before)
    }

    /// Writes what became of the rows that have ended and are due at `now`.
    fn write(&mut self, now: i64) -> Result<Written, Error> {
        let is_due = |ended: &&Ended| ended.due_at <= now;
        let due: Vec<(i64, i64)> = (self.ended.iter().filter(is_due))
            .map(Ended::identity)
            .collect();
        let ids: Vec<i64> = due.iter().map(|(id, _)| *id).collect();
        let free = rows::lock_ended(&ids)?;
        let others: Vec<i64> = (due.iter())
            .filter(|identity| !free.contains(identity))
            .map(|(id, _)| *id)
            .collect();
        // Those that are not there any more, or that somebody has decided about, need no outcome.
        let left = match others.is_empty() {
            true => HashSet::new(),
            false => rows::existing(&others)?,
        };
        let mut written = Written { left, error: None };
        process::with_lock_timeout(LOCK_TIMEOUT, || self.write_free(&free, &mut written));
        let is_settled = |identity: &&(i64, i64)| !written.left.contains(identity);
        self.count(&due.iter().filter(is_settled).copied().collect());
        Ok(written)
    }

    /// Writes the outcomes of locked rows: together, or else each by itself.
    fn write_free(&mut self, free: &HashSet<(i64, i64)>, written: &mut Written) {
        let is_free = |ended: &&mut Ended| free.contains(&ended.identity());
        let mut ended: Vec<&mut Ended> = self.ended.iter_mut().filter(is_free).collect();
        let Err(error) = process::in_subtransaction(|| write_outcomes(&mut ended)) else {
            return;
        };
        written.error = Some(error);
        for ended in ended {
            let mut alone = [ended];
            let Err(error) = process::in_subtransaction(|| write_outcomes(&mut alone)) else {
                continue;
            };
            let [ended] = alone;
            ended.failures = ended.failures.saturating_add(1);
            ended.due_at = rows::now().saturating_add(micros(pause_after(ended.failures)));
            written.left.insert(ended.identity());
            let id = ended.row.id;
            let problem = message_of(&error);
            warn(&Error::Unwritten { id, problem });
        }
    }

    /// Counts rows whose outcomes are written. If that cannot be written, it is left out.
    fn count(&mut self, settled: &HashSet<(i64, i64)>) {
        let mut counts: HashMap<&str, i64> = HashMap::new();
        let is_settled = |ended: &&Ended| settled.contains(&ended.identity());
        for ended in self.ended.iter().filter(is_settled) {
            match ended.state {
                State::Delivered => {
                    self.totals.delivered += 1;
                    let name = ended.row.inputs.function_name.as_deref();
                    *counts.entry(name.unwrap_or_default()).or_default() += 1;
                }
                State::Waiting => self.totals.postponed += 1,
                State::Failed => self.totals.failed += 1,
            }
        }
        let write = || (counts.iter()).try_for_each(|(name, count)| rows::count(name, *count));
        let _ = process::in_subtransaction(write);
    }

    /// Deletes old counts, and delivered rows that are no longer kept.
    pub(super) fn forget(&mut self, transactions: &mut impl Transactions) -> Result<(), Error> {
        let now = rows::now();
        if now.saturating_sub(self.forgotten_at) > micros(FORGET_INTERVAL) {
            self.forgotten_at = now;
            let kept = Duration::from_secs(settings::queue_keep().into());
            let (counts_before, delivered_before) = (now - micros(COUNTED), now - micros(kept));
            transactions.run(|| as_owner(|| rows::forget(counts_before, delivered_before)))?;
        }
        Ok(())
    }
}

/// Writes outcomes of rows that are locked.
fn write_outcomes(ended: &mut [&mut Ended]) -> Result<(), Error> {
    let keeps = settings::queue_keep() > 0;
    let mut delivered = Vec::new();
    let mut writers = writers();
    for ended in ended {
        let Ended {
            row,
            outcome,
            state,
            ..
        } = &**ended;
        if *state == State::Delivered && !keeps {
            delivered.push(row.id);
            continue;
        }
        let mut columns = [None; OUTCOME_COLUMNS];
        invocation_columns::write(&mut writers, outcome, OnError::Return, |number, datum| {
            columns[number as usize - 1] = datum;
        })?;
        let pause = micros(pause_after(row.attempts + row.postponements));
        rows::update(row, *state, rows::now().saturating_add(pause), &columns)?;
    }
    match delivered.is_empty() {
        true => Ok(()),
        false => rows::delete(&delivered),
    }
}

/// Whether an error is a cancel by the user.
fn is_cancel(error: &CaughtError) -> bool {
    report_of(error).sql_error_code() == PgSqlErrorCode::ERRCODE_QUERY_CANCELED
}

fn message_of(error: &CaughtError) -> String {
    report_of(error).message().to_owned()
}
