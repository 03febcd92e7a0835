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
use crate::error::{ConfigurationError, Error};
use crate::lambda::request::{Inputs, InvokeRequest};
use crate::options::OnError;
use crate::postgres::{catalog, process};
use crate::rows::output;
use crate::settings;
use pgrx::pg_sys;
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
    /// When rows were last looked for from the first one on, as a timestamptz.
    restarted_at: i64,
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
        (self.position, self.is_exhausted) = (START, false);
        while !process::should_stop() {
            self.find(transactions, look)?;
            let collected = self.start().and_then(|()| self.collect());
            // Also before an error ends the delivery.
            let wrote = self.settle(transactions)?;
            collected?;
            if wrote {
                self.forget(transactions)?;
                continue;
            }
            match self.in_flight.first() {
                Some(oldest) => dispatch::wait_for_any(&oldest.handle, self.interval(look))?,
                None if self.is_locked_out || !self.ended.is_empty() => {
                    wait::wait(Some(LOCKED_INTERVAL))?
                }
                None if self.locked.is_empty() => break,
                None => (),
            }
        }
        self.forget(transactions)?;
        Ok(std::mem::take(&mut self.totals))
    }

    /// How long a wait may take until there is something else to do.
    fn interval(&self, look: Look) -> Option<Duration> {
        match self.is_locked_out || !self.ended.is_empty() {
            true => Some(LOCKED_INTERVAL),
            false => look.interval(),
        }
    }

    /// Locks rows that are due, once none is left to start.
    fn find(&mut self, transactions: &mut impl Transactions, look: Look) -> Result<(), Error> {
        let (until, may_find) = match look {
            Look::Until(until) => (until, !self.is_exhausted || self.in_flight.is_empty()),
            Look::Always => (rows::now(), true),
        };
        if self.locked.is_empty() && self.left > 0 && may_find {
            let found = transactions.run(|| as_owner(|| self.lock_due(until)))?;
            self.is_locked_out = found.is_none();
        }
        Ok(())
    }

    /// Locks rows that are due, behind those that were found before.
    fn lock_due(&mut self, until: i64) -> Result<(), Error> {
        let now = rows::now();
        if now.saturating_sub(self.restarted_at) > micros(LOOK_INTERVAL) {
            // Rows before the position may have become free or due.
            (self.position, self.restarted_at) = (START, now);
        }
        let ahead = (settings::max_concurrency() as usize * LOCKED_AHEAD).min(MOST_LOCKED);
        let count = ahead.min(self.left as usize);
        let most_bytes = settings::max_memory() as usize * 1024 / PART_OF_MEMORY;
        loop {
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
                self.position = START;
            }
            if self.is_exhausted || !self.locked.is_empty() || !self.ended.is_empty() {
                return Ok(());
            }
        }
    }

    /// Takes rows whose locks are held, and reads the configurations that they need.
    fn take(&mut self, ids: &[i64], until: i64) -> Result<(), Error> {
        let found = rows::lock(ids, until)?;
        let mut taken = HashSet::new();
        let mut known = HashMap::new();
        for row in found {
            let key = (row.table, row.user);
            let readiness = known
                .entry(key)
                .or_insert_with(|| self.configure(key).unwrap_or_else(failed));
            match readiness {
                Readiness::Locked => continue,
                _ => taken.insert(row.id),
            };
            match readiness {
                Readiness::Failed(outcome) => self.ended.push(Ended {
                    row,
                    outcome: outcome.clone(),
                }),
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
        config.on_error = OnError::Return;
        config.deduplicate = false;
        config.limits.max_invocations = None;
        config.retry_policy.retry_timeout = config.retry_policy.retry_timeout.min(RETRY_TIMEOUT);
        let keeps_payload = settings::queue_keep() > 0;
        match self.dispatches.get_mut(&key) {
            Some(dispatch) => dispatch.set_config(config, keeps_payload),
            None => {
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
            let key = (row.table, row.user);
            let Some(dispatch) = self.dispatches.get_mut(&key) else {
                return Err(Error::Unexpected("queued row has no configuration"));
            };
            let same = |other: &&InFlight| (other.row.table, other.row.user) == key;
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
                Err(error) => self.ended.push(Ended {
                    row,
                    outcome: Rc::new(Outcome::unsent(error)),
                }),
            }
        }
        self.locked = blocked;
        backend::flush()
    }

    /// Takes the outcomes that have come. An error is returned once all of them are taken.
    fn collect(&mut self) -> Result<(), Error> {
        let mut collected = Ok(());
        for in_flight in std::mem::take(&mut self.in_flight) {
            match in_flight.handle.poll() {
                Ok(Some(outcome)) => self.ended.push(Ended {
                    row: in_flight.row,
                    outcome,
                }),
                Ok(None) => self.in_flight.push(in_flight),
                Err(error) => collected = Err(error),
            }
        }
        collected
    }

    /// Writes what became of the rows that have ended. False if it could be written of none.
    ///
    /// A row that another transaction has locked stays with those that have ended, so that it is not sent again. Nothing interrupts this: it
    /// waits for no lock, and what would not be written would be sent again.
    fn settle(&mut self, transactions: &mut impl Transactions) -> Result<bool, Error> {
        if self.ended.is_empty() {
            return Ok(false);
        }
        self.start()?;
        let written =
            process::without_interrupts(|| transactions.run(|| as_owner(|| self.write())));
        let Some(kept) = written? else {
            return Ok(false);
        };
        let before = self.ended.len();
        self.ended.retain(|ended| {
            let is_kept = kept.contains(&ended.row.id);
            if !is_kept {
                locks::unlock(ended.row.id);
            }
            is_kept
        });
        Ok(self.ended.len() < before)
    }

    /// Writes what became of the rows that have ended, except those that another transaction has locked. Returns the ids of these.
    fn write(&mut self) -> Result<HashSet<i64>, Error> {
        let ids: Vec<i64> = self.ended.iter().map(|ended| ended.row.id).collect();
        let free = rows::lock_ended(&ids)?;
        let others: Vec<i64> = (ids.into_iter()).filter(|id| !free.contains(id)).collect();
        let kept = match others.is_empty() {
            true => HashSet::new(),
            // Those that are not there were deleted.
            false => rows::existing(&others)?,
        };
        let keep = settings::queue_keep();
        let mut delivered = Vec::new();
        let mut counts: HashMap<String, i64> = HashMap::new();
        let mut writers = writers();
        let ended = self.ended.iter_mut();
        for Ended { row, outcome } in ended.filter(|ended| !kept.contains(&ended.row.id)) {
            let state = state_of(row, outcome);
            match state {
                State::Delivered => {
                    self.totals.delivered += 1;
                    let name = row.inputs.function_name.clone().unwrap_or_default();
                    *counts.entry(name).or_default() += 1;
                    if keep == 0 {
                        delivered.push(row.id);
                        continue;
                    }
                }
                State::Waiting => self.totals.postponed += 1,
                State::Failed => self.totals.failed += 1,
            }
            let mut columns = [None; OUTCOME_COLUMNS];
            output::write(&mut writers, outcome, OnError::Return, |writer, datum| {
                columns[writer.attribute.number as usize - 1] = datum;
            })?;
            let pause = micros(pause_after(row.attempts + row.postponements));
            rows::update(row, state, rows::now().saturating_add(pause), &columns)?;
        }
        if !delivered.is_empty() {
            rows::delete(&delivered)?;
        }
        for (name, count) in &counts {
            rows::count(name, *count)?;
        }
        Ok(kept)
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
