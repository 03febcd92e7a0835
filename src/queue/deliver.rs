//! A delivery: rows that are due are locked, invoked with many in flight, and deleted or changed by what became of them.
//!
//! Each step that reads or changes the queue is a transaction. Invocations are in flight across transactions, and the wait for the network
//! is in none that has read or written anything. So it holds back no VACUUM.

use super::outcome::{micros, pause_after, state_of, writers};
use super::rows::{self, OUTCOME_COLUMNS, QueuedRow, State};
use super::{as_owner, locks};
use crate::backend::config::Config;
use crate::backend::{self, wait};
use crate::dispatch::{self, Dispatch, InvocationHandle, Outcome};
use crate::error::{ConfigurationError, Error, warn};
use crate::lambda::request::{Inputs, InvokeRequest};
use crate::options::OnError;
use crate::postgres::{catalog, process};
use crate::rows::output;
use crate::settings;
use pgrx::pg_sys::panic::{CaughtError, ErrorReportWithLevel};
use pgrx::{PgSqlErrorCode, pg_sys};
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// Rows that are locked at once, as a multiple of `max_concurrency`: so many are ready while a transaction ends.
const LOCKED_AHEAD: usize = 4;
/// Most rows that are locked at once. Each takes an entry of PostgreSQL's lock table, which all sessions share.
const MOST_LOCKED: usize = 1000;
/// The part of `max_memory` for payloads of locked rows that wait.
const PART_OF_MEMORY: usize = 4;
/// Bounds the attempts that an invocation makes by itself. The queue tries again anyway, and other rows wait meanwhile.
const RETRY_TIMEOUT: Duration = Duration::from_secs(2);
/// How often rows are looked for that become due, or free again, while others are in flight.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How soon is tried again what another transaction has locked.
const LOCKED_INTERVAL: Duration = Duration::from_millis(100);
/// The longest wait for a lock while outcomes are written. The rows are locked by then, but a foreign key or a trigger may wait.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a background worker that is told to stop waits for what is in flight.
const DRAIN_TIME: Duration = Duration::from_secs(2);
/// How many times rows are looked for, where none can be locked, until outcomes are taken again.
const MOST_LOOKS: usize = 8;
/// The part of the time for looking from the first row on, where many are locked by others.
const PART_OF_TIME: i64 = 10;
/// How long the number of delivered rows is known.
const COUNTED: Duration = Duration::from_secs(60);
/// How often old counts and rows are deleted.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);

/// Runs work as transactions.
pub trait Transactions {
    /// Does the work in a transaction, in which a connection to SPI is open, and commits.
    fn run<T>(&mut self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error>;
}

/// Which rows a delivery finds.
#[derive(Clone, Copy)]
pub enum Look {
    /// Those that are due at a time, a timestamptz.
    Until(i64),
    /// Also those that become due or are queued while it runs.
    Always,
}

impl Look {
    /// How long a wait may take until there is another look.
    fn interval(self) -> Option<Duration> {
        match self {
            Look::Until(_) => None,
            Look::Always => Some(LOOK_INTERVAL),
        }
    }
}

/// How many rows were delivered, or what else became of them.
#[derive(Default)]
pub struct Totals {
    /// Lambda has accepted the event, or the function has answered.
    pub delivered: u64,
    /// They are tried again.
    pub postponed: u64,
    /// They are not tried again.
    pub failed: u64,
}

impl Totals {
    /// Whether there was no row.
    pub fn is_empty(&self) -> bool {
        self.delivered + self.postponed + self.failed == 0
    }
}

/// A row in flight.
struct InFlight {
    row: QueuedRow,
    handle: Rc<InvocationHandle>,
}

/// A row that has an outcome.
struct Ended {
    row: QueuedRow,
    outcome: Rc<Outcome>,
    state: State,
    /// How often its outcome could not be written.
    failures: i32,
    /// When it is to be written, as a timestamptz.
    due_at: i64,
}

impl Ended {
    fn new(mut row: QueuedRow, outcome: Rc<Outcome>) -> Ended {
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

/// What the configuration of a row allows.
#[derive(Clone)]
enum Readiness {
    Ready,
    /// It is not sent.
    Failed(Rc<Outcome>),
    /// Its foreign table is being altered. It is delivered later.
    Locked,
}

/// A delivery. It can run again.
pub struct Delivery {
    /// Rows that may still be locked.
    left: u64,
    /// Where the last rows were found: when they were due, and the last id.
    position: (i64, i64),
    /// When rows were last looked for from the first one on, and when one was found after that, as timestamptz.
    restarted_at: i64,
    found_at: Option<i64>,
    /// Whether another transaction had locked the queue.
    is_locked_out: bool,
    /// Whether no rows were left at the last look.
    is_exhausted: bool,
    /// By foreign table and role.
    dispatches: HashMap<(pg_sys::Oid, pg_sys::Oid), Dispatch>,
    locked: VecDeque<QueuedRow>,
    /// In the order in which they were started.
    in_flight: Vec<InFlight>,
    /// Rows that stay locked until their outcome is written.
    ended: Vec<Ended>,
    /// When old counts and rows were last deleted, as a timestamptz.
    forgotten_at: i64,
    totals: Totals,
}

/// Before every row.
const START: (i64, i64) = (i64::MIN, 0);

impl Delivery {
    /// A delivery of at most so many rows.
    pub fn new(most: Option<u64>) -> Delivery {
        Delivery {
            left: most.unwrap_or(u64::MAX),
            position: START,
            restarted_at: 0,
            found_at: None,
            is_locked_out: false,
            is_exhausted: false,
            dispatches: HashMap::new(),
            locked: VecDeque::new(),
            in_flight: Vec::new(),
            ended: Vec::new(),
            forgotten_at: 0,
            totals: Totals::default(),
        }
    }

    /// Delivers rows until none is due, or a background worker is told to stop.
    pub fn run(
        &mut self,
        transactions: &mut impl Transactions,
        look: Look,
    ) -> Result<Totals, Error> {
        self.restart();
        self.is_exhausted = false;
        while !process::should_stop() {
            if matches!(look, Look::Always) {
                process::reload_if_asked();
            }
            let started = self.start();
            if self.settle(transactions, started)? {
                self.forget(transactions)?;
            }
            if self.find(transactions, look)? {
                continue;
            }
            match self.in_flight.first() {
                Some(oldest) => dispatch::wait_for_any(&oldest.handle, self.interval(look))?,
                None if self.is_locked_out || !self.ended.is_empty() => {
                    wait::wait(Some(LOCKED_INTERVAL))?
                }
                None if self.is_exhausted || self.left == 0 => break,
                None => {
                    pgrx::check_for_interrupts!();
                }
            }
        }
        self.forget(transactions)?;
        Ok(std::mem::take(&mut self.totals))
    }

    /// Waits for what is in flight, while a background worker stops, and writes it.
    pub fn drain(&mut self, transactions: &mut impl Transactions) -> Result<(), Error> {
        self.locked.clear();
        let end = rows::now().saturating_add(micros(DRAIN_TIME));
        while !self.in_flight.is_empty() || !self.ended.is_empty() {
            let left = end.saturating_sub(rows::now());
            if left <= 0 {
                break;
            }
            self.settle(transactions, Ok(()))?;
            let longest = Some(LOCKED_INTERVAL.min(Duration::from_micros(left as u64)));
            match self.in_flight.first() {
                Some(oldest) => dispatch::wait_for_any(&oldest.handle, longest)?,
                None if self.ended.is_empty() => (),
                None => wait::wait(longest)?,
            }
        }
        Ok(())
    }

    /// How long a wait may take until there is something else to do.
    fn interval(&self, look: Look) -> Option<Duration> {
        match self.is_locked_out || !self.ended.is_empty() {
            true => Some(LOCKED_INTERVAL),
            false => look.interval(),
        }
    }

    /// Locks rows that are due, once none is left to start. False if there is none now.
    fn find(&mut self, transactions: &mut impl Transactions, look: Look) -> Result<bool, Error> {
        let (until, may_find) = match look {
            Look::Until(until) => (until, !self.is_exhausted || self.in_flight.is_empty()),
            Look::Always => (rows::now(), true),
        };
        if !self.locked.is_empty() || self.left == 0 || !may_find {
            return Ok(false);
        }
        let ended = self.ended.len();
        let found = transactions.run(|| as_owner(|| self.lock_due(until)))?;
        self.is_locked_out = found.is_none();
        Ok(!self.locked.is_empty() || self.ended.len() > ended)
    }

    /// Locks rows that are due, behind those that were found before.
    fn lock_due(&mut self, until: i64) -> Result<(), Error> {
        self.restart_if_late();
        let ahead = (settings::max_concurrency() as usize * LOCKED_AHEAD).min(MOST_LOCKED);
        let count = ahead.min(self.left as usize);
        let most_bytes = settings::max_memory() as usize * 1024 / PART_OF_MEMORY;
        for _ in 0..MOST_LOOKS {
            let due = rows::due(until, self.position, count)?;
            let (mut ids, mut bytes) = (Vec::new(), 0);
            self.is_exhausted = due.len() < count;
            for row in &due {
                if !ids.is_empty() && bytes + row.bytes > most_bytes {
                    self.is_exhausted = false;
                    break;
                }
                self.position = (row.due_at, row.id);
                if locks::try_lock(row.id) {
                    ids.push(row.id);
                    bytes += row.bytes;
                }
            }
            if !ids.is_empty() {
                self.take(&ids, until)?;
            }
            if self.is_exhausted {
                self.restart();
            }
            if self.is_exhausted || !self.locked.is_empty() || !self.ended.is_empty() {
                self.found_at.get_or_insert_with(rows::now);
                break;
            }
        }
        Ok(())
    }

    /// Goes back to the first row from time to time. Rows before the position may have become free or due. Where many rows are locked, most
    /// of the time is for those behind them.
    fn restart_if_late(&mut self) {
        let Some(found_at) = self.found_at else {
            return;
        };
        let pause = (found_at - self.restarted_at).saturating_mul(PART_OF_TIME);
        if rows::now() - found_at > pause.max(micros(LOOK_INTERVAL)) {
            self.restart();
        }
    }

    fn restart(&mut self) {
        (self.position, self.restarted_at, self.found_at) = (START, rows::now(), None);
    }

    /// Takes rows whose locks are held, and reads the configurations that they need.
    fn take(&mut self, ids: &[i64], until: i64) -> Result<(), Error> {
        let found = rows::lock(ids, until)?;
        let mut taken = HashSet::new();
        let mut known = HashMap::new();
        for row in found {
            let key = row.key();
            let readiness = known
                .entry(key)
                .or_insert_with(|| self.configure(key).unwrap_or_else(failed));
            match readiness {
                Readiness::Locked => continue,
                _ => taken.insert(row.id),
            };
            match readiness {
                Readiness::Failed(outcome) => self.ended.push(Ended::new(row, outcome.clone())),
                _ => self.locked.push_back(row),
            }
        }
        self.left = self.left.saturating_sub(taken.len() as u64);
        let others = ids.iter().filter(|id| !taken.contains(id));
        others.for_each(|id| locks::unlock(*id));
        Ok(())
    }

    /// Reads the configuration of a foreign table and a role, as it is now.
    fn configure(&mut self, key: (pg_sys::Oid, pg_sys::Oid)) -> Result<Readiness, Error> {
        let (table, user) = key;
        if !catalog::try_lock(table, pg_sys::AccessShareLock) {
            return Ok(Readiness::Locked);
        }
        if !catalog::is_foreign_table(table) {
            return Err(Error::Configuration(ConfigurationError::DroppedTable(
                table.to_u32(),
            )));
        }
        if catalog::role_name(user).is_none() {
            return Err(Error::Configuration(ConfigurationError::DroppedRole(
                user.to_u32(),
            )));
        }
        let mut config = Config::read(table, user)?;
        // The row has the region of the session that queued it.
        config.ignore_region_setting();
        config.on_error = OnError::Return;
        config.deduplicate = false;
        config.limits.max_invocations = None;
        config.retry_policy.retry_timeout = config.retry_policy.retry_timeout.min(RETRY_TIMEOUT);
        let keeps_payload = settings::queue_keep() > 0;
        let is_in_flight = (self.in_flight.iter()).any(|other| other.row.key() == key);
        match self.dispatches.get_mut(&key) {
            Some(dispatch) if is_in_flight => dispatch.set_config(config, keeps_payload),
            // Limits are those of the beginning.
            _ => {
                let dispatch = Dispatch::across_transactions(table, config, keeps_payload);
                self.dispatches.insert(key, dispatch);
            }
        }
        Ok(Readiness::Ready)
    }

    /// Starts what may be started.
    fn start(&mut self) -> Result<(), Error> {
        let mut blocked = VecDeque::new();
        while let Some(row) = self.locked.pop_front() {
            let key = row.key();
            let Some(dispatch) = self.dispatches.get_mut(&key) else {
                return Err(Error::Unexpected("queued row has no configuration"));
            };
            let same = |other: &&InFlight| other.row.key() == key;
            if !dispatch.may_start(self.in_flight.iter().filter(same).count()) {
                blocked.push_back(row);
                continue;
            }
            let request = InvokeRequest::new(Inputs {
                max_payload: dispatch.config.fixed.max_payload,
                ..row.inputs.clone()
            });
            match request.and_then(|request| dispatch.start(request)) {
                Ok(handle) => self.in_flight.push(InFlight { row, handle }),
                Err(error) => {
                    let outcome = Rc::new(Outcome::unsent(error));
                    self.ended.push(Ended::new(row, outcome));
                }
            }
        }
        self.locked = blocked;
        backend::flush()
    }

    /// Takes the outcomes that have come. An error of no single invocation is returned once all of them are taken.
    fn collect(&mut self) -> Result<(), Error> {
        let mut collected = Ok(());
        for in_flight in std::mem::take(&mut self.in_flight) {
            match in_flight.handle.poll() {
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
    fn settle(
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
            error.rethrow();
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
    fn forget(&mut self, transactions: &mut impl Transactions) -> Result<(), Error> {
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

/// The readiness of a row whose configuration could not be read.
fn failed(error: Error) -> Readiness {
    Readiness::Failed(Rc::new(Outcome::unsent(error)))
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
        output::write(&mut writers, outcome, OnError::Return, |writer, datum| {
            columns[writer.attribute.number as usize - 1] = datum;
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

fn report_of(error: &CaughtError) -> &ErrorReportWithLevel {
    let (CaughtError::PostgresError(report)
    | CaughtError::ErrorReport(report)
    | CaughtError::RustPanic {
        ereport: report, ..
    }) = error;
    report
}
