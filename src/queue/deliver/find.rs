//! Rows that are due: found, locked, and given the configuration that they need.

use super::settle::Ended;
use super::{Delivery, LOOK_INTERVAL, START};
use crate::backend::config::Config;
use crate::dispatch::{Dispatch, Outcome};
use crate::error::{ConfigurationError, Error};
use crate::options::OnError;
use crate::postgres::catalog;
use crate::queue::outcome::micros;
use crate::queue::{locks, rows};
use crate::settings;
use pgrx::pg_sys;
use std::collections::{HashMap, HashSet};
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
/// How many times rows are looked for, where none can be locked, until outcomes are taken again.
const MOST_LOOKS: usize = 8;
/// The part of the time for looking from the first row on, where many are locked by others.
const PART_OF_TIME: i64 = 10;

/// What the configuration of a row allows.
#[derive(Clone)]
enum Readiness {
    Ready,
    /// It is not sent.
    Failed(Rc<Outcome>),
    /// Its foreign table is being altered. It is delivered later.
    Locked,
}

impl Delivery {
    /// Locks rows that are due, behind those that were found before.
    pub(super) fn lock_due(&mut self, until: i64) -> Result<(), Error> {
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

    pub(super) fn restart(&mut self) {
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
}

/// The readiness of a row whose configuration could not be read.
fn failed(error: Error) -> Readiness {
    Readiness::Failed(Rc::new(Outcome::unsent(error)))
}
