//! A delivery: rows that are due are locked, invoked with many in flight, and deleted or changed by what became of them.
//!
//! Each step that reads or changes the queue is a transaction. Invocations are in flight across transactions, and the wait for the network
//! is in none that has read or written anything. So it holds back no VACUUM.

use super::outcome::{micros, pause_after, state_of, writers};
use super::rows::{self, OUTCOME_COLUMNS, QueuedRow, State};
use super::{Queue, locks};
use crate::backend;
use crate::backend::config::Config;
use crate::dispatch::{self, Dispatch, InvocationHandle, Outcome};
use crate::error::{ConfigurationError, Error};
use crate::lambda::request::{Inputs, InvokeRequest};
use crate::options::OnError;
use crate::postgres::memory_context::MemoryContext;
use crate::postgres::{catalog, process, spi};
use crate::rows::output;
use crate::settings;
use pgrx::pg_sys;
use std::collections::{HashMap, VecDeque};
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
/// How often a worker looks for rows that become due while others are in flight.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
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

/// A delivery that runs.
pub struct Delivery {
    /// Rows that may still be locked.
    left: u64,
    /// Where the last rows were found: when they were due, and the last id.
    position: (i64, i64),
    /// Whether no rows were left at the last look.
    is_exhausted: bool,
    /// By foreign table and role.
    dispatches: HashMap<(pg_sys::Oid, pg_sys::Oid), Dispatch>,
    locked: VecDeque<QueuedRow>,
    in_flight: Vec<InFlight>,
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
        mut self,
        transactions: &mut impl Transactions,
        look: Look,
    ) -> Result<Totals, Error> {
        while !process::should_stop() {
            let (until, may_find) = match look {
                Look::Until(until) => (until, !self.is_exhausted || self.in_flight.is_empty()),
                Look::Always => (rows::now(), true),
            };
            if self.locked.is_empty() && self.left > 0 && may_find {
                transactions.run(|| as_owner(|queue| self.lock_due(queue, until)))?;
            }
            self.start()?;
            self.collect()?;
            if !self.ended.is_empty() {
                self.start()?;
                transactions.run(|| as_owner(|_| self.write()))?;
                self.ended
                    .drain(..)
                    .for_each(|ended| locks::unlock(ended.row.id));
            } else if !self.in_flight.is_empty() {
                dispatch::wait_for_any(&self.in_flight[0].handle, look.interval())?;
            } else if self.locked.is_empty() {
                break;
            }
        }
        Ok(self.totals)
    }

    /// Locks rows that are due, behind those that were found before.
    fn lock_due(&mut self, _queue: &Queue, until: i64) -> Result<(), Error> {
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
                // Rows before the position may have become free or due.
                self.position = START;
            }
            if self.is_exhausted || !self.locked.is_empty() || !self.ended.is_empty() {
                return Ok(());
            }
        }
    }

    /// Takes rows whose locks are held, and reads the configurations that they need.
    fn take(&mut self, ids: &[i64], until: i64) -> Result<(), Error> {
        let taken = rows::lock(ids, until)?;
        for id in ids
            .iter()
            .filter(|id| taken.iter().all(|row| row.id != **id))
        {
            locks::unlock(*id);
        }
        self.left = self.left.saturating_sub(taken.len() as u64);
        let mut failures = HashMap::new();
        for row in taken {
            let key = (row.table, row.user);
            let outcome = failures.entry(key).or_insert_with(|| {
                self.configure(key)
                    .err()
                    .map(|error| Rc::new(Outcome::unsent(error)))
            });
            match outcome {
                Some(outcome) => self.ended.push(Ended {
                    row,
                    outcome: outcome.clone(),
                }),
                None => self.locked.push_back(row),
            }
        }
        Ok(())
    }

    /// Reads the configuration of a foreign table and a role, as it is now.
    fn configure(&mut self, key: (pg_sys::Oid, pg_sys::Oid)) -> Result<(), Error> {
        let (table, user) = key;
        if !catalog::lock_foreign_table(table) {
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
        match self.dispatches.get_mut(&key) {
            Some(dispatch) => dispatch.set_config(config),
            None => {
                let keeps_payload = settings::queue_keep() > 0;
                let dispatch = Dispatch::across_transactions(table, config, keeps_payload);
                self.dispatches.insert(key, dispatch);
            }
        }
        Ok(())
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

    /// Takes the outcomes that have come.
    fn collect(&mut self) -> Result<(), Error> {
        let mut index = 0;
        while let Some(in_flight) = self.in_flight.get(index) {
            match in_flight.handle.poll()? {
                Some(outcome) => {
                    let row = self.in_flight.swap_remove(index).row;
                    self.ended.push(Ended { row, outcome });
                }
                None => index += 1,
            }
        }
        Ok(())
    }

    /// Writes what became of the rows that have ended.
    fn write(&mut self) -> Result<(), Error> {
        let keep = settings::queue_keep();
        let mut delivered = Vec::new();
        let mut counts: HashMap<String, i64> = HashMap::new();
        let mut writers = writers();
        for Ended { row, outcome } in &mut self.ended {
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
        let now = rows::now();
        if now - self.forgotten_at > micros(FORGET_INTERVAL) {
            self.forgotten_at = now;
            let kept = Duration::from_secs(keep.into());
            rows::forget(now - micros(COUNTED), now - micros(kept))?;
        }
        Ok(())
    }
}

/// Works with the rights of the queue's owner, in a memory context that is deleted afterwards.
fn as_owner<T>(work: impl FnOnce(&Queue) -> Result<T, Error>) -> Result<T, Error> {
    let queue = Queue::find_of_extension()?;
    let context = MemoryContext::current().child();
    let done = context.switch_to(|| spi::as_role(queue.owner, || work(&queue)));
    // SAFETY: what the work has made in the context is not used afterwards. After an error it goes with the transaction.
    unsafe { context.delete() };
    done
}
