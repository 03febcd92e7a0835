//! A delivery: rows that are due are locked, invoked with many in flight, and deleted or changed by what became of them.
//!
//! Each step that reads or changes the queue is a transaction. Invocations are in flight across transactions, and the wait for the network
//! is in none that has read or written anything. So it holds back no VACUUM.
//!
//! [`find`] locks rows that are due, and [`settle`] takes outcomes and writes them.

mod find;
mod settle;

use super::as_owner;
use super::outcome::micros;
use super::rows::{self, QueuedRow};
use crate::backend::{self, wait};
use crate::dispatch::{self, Dispatch, Outcome, Started};
use crate::error::Error;
use crate::lambda::request::{Inputs, InvokeRequest};
use crate::postgres::process;
use pgrx::pg_sys;
use settle::Ended;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// How often rows are looked for that become due, or free again, while others are in flight.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How soon is tried again what another transaction has locked.
const LOCKED_INTERVAL: Duration = Duration::from_millis(100);
/// How long a background worker that is told to stop waits for what is in flight.
const DRAIN_TIME: Duration = Duration::from_secs(2);

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
    started: Started,
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
            let waits = self.is_locked_out || !self.ended.is_empty();
            if waits || !self.in_flight.is_empty() {
                self.wait(self.interval(look))?;
            } else if self.is_exhausted || self.left == 0 {
                break;
            } else {
                pgrx::check_for_interrupts!();
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
            let longest = Some(LOCKED_INTERVAL.min(Duration::from_micros(left as u64)));
            if !self.settle(transactions, Ok(()))? {
                self.wait(longest)?;
            }
        }
        Ok(())
    }

    /// Waits for an invocation in flight, or for `longest`.
    fn wait(&self, longest: Option<Duration>) -> Result<(), Error> {
        match self.in_flight.first() {
            Some(oldest) => dispatch::wait_for_any(&oldest.started, longest),
            None => wait::wait(longest),
        }
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
            // What has failed may be the reason why others that share its invocation fail, and go on to.
            let started = request.and_then(|request| match row.attempts {
                0 => dispatch.start(request),
                _ => dispatch.start_alone(request),
            });
            match started {
                Ok(started) => self.in_flight.push(InFlight { row, started }),
                Err(error) => {
                    let outcome = Rc::new(Outcome::unsent(error));
                    self.ended.push(Ended::new(row, outcome));
                }
            }
        }
        self.locked = blocked;
        for dispatch in self.dispatches.values_mut() {
            dispatch.send()?;
        }
        backend::flush()
    }
}
