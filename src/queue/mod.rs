//! The queue: invocations that a transaction writes to the table `aws_lambda.queue`, and that are made once it has committed.
//!
//! - [`Entry`] is an invocation that is written. `call/` and `modify/` make entries of calls and of inserted rows.
//! - [`rows`] has the statements that read and change the table, [`locks`] the locks of rows in delivery.
//! - [`deliver`] makes the invocations, as many in flight as the configuration says. [`outcome`] is what becomes of a row by that.
//! - [`procedure`] is `aws_lambda.deliver`, and [`worker`] the background workers that deliver too.
//! - [`replicated`] has a subscriber ignore the rows of its publisher.
//!
//! A row is written and deleted as any row is. So what a ROLLBACK takes back was never sent, and what was committed survives a crash.

mod deliver;
mod locks;
mod outcome;
mod procedure;
mod replicated;
mod rows;
pub mod worker;

use crate::backend::config::Config;
use crate::error::{ConfigurationError, Error, StatementError};
use crate::lambda::request::{Inputs, InvokeRequest};
use crate::postgres::memory_context::MemoryContext;
use crate::postgres::{catalog, process, spi};
use pgrx::pg_sys;
use std::ffi::CStr;

/// The invocation type of an entry that has none.
const DEFAULT_TYPE: &str = "Event";

/// An invocation that is about to be queued.
pub struct Entry {
    /// The foreign table whose options and server are used.
    pub table: pg_sys::Oid,
    /// The role whose user mapping is used.
    pub user_mapping_of: pg_sys::Oid,
    /// What is sent.
    pub inputs: Inputs,
    /// The region of this session's setting, where no option has one. The session that delivers may have another.
    pub region_of_setting: Option<String>,
    /// Whether it gets a durable execution name if it has none.
    pub durable: bool,
    /// When it is due, as a timestamptz; `None` is at once.
    pub not_before: Option<i64>,
}

impl Entry {
    /// An entry that is delivered as it would be invoked with a foreign table's configuration.
    pub fn of_config(table: pg_sys::Oid, config: &Config, inputs: Inputs) -> Entry {
        Entry {
            table,
            user_mapping_of: config.user,
            inputs,
            region_of_setting: config.region_of_setting.clone(),
            durable: config.durable,
            not_before: None,
        }
    }

    /// Writes the entry, and returns its id.
    ///
    /// Errors if Lambda's grammar does not accept it, so that nothing is queued which can never be delivered.
    pub fn insert(mut self) -> Result<i64, Error> {
        (self.inputs.invocation_type).get_or_insert_with(|| DEFAULT_TYPE.to_owned());
        let request = InvokeRequest::new(self.inputs.clone())?;
        if request.region.is_none() {
            self.inputs.region = self.region_of_setting.take();
        }
        if process::is_in_parallel_mode() {
            return Err(Error::Statement(StatementError::QueuesInParallelQuery));
        }
        let owner = owner()?;
        let _connection = spi::Connection::open()?;
        spi::as_role(owner, || {
            worker::wake_at_commit()?;
            rows::insert(&self)
        })
    }
}

/// The tables of the queue.
const TABLES: [&CStr; 3] = [c"queue", c"queue_deliveries", c"queue_worker"];

/// The queue's owner. An entry is written with its rights.
fn owner() -> Result<pg_sys::Oid, Error> {
    let table = catalog::relation(c"aws_lambda", c"queue")
        .ok_or(Error::Configuration(ConfigurationError::NoQueue))?;
    // The relation is locked until the transaction ends.
    catalog::lock(table, pg_sys::RowExclusiveLock);
    Ok(catalog::owner(table))
}

/// The queue's owner, for a delivery, whose rows are locked until the transaction ends; `None` where another transaction has locked a table.
/// A delivery waits for no lock, as it has outcomes to write and rows in flight.
///
/// Tables of these names that are not the extension's are refused: a worker is a superuser's process, and somebody else's tables may have
/// triggers.
fn try_owner_of_extension() -> Result<Option<pg_sys::Oid>, Error> {
    let tables = || {
        let tables = TABLES.map(|name| catalog::relation_of_extension(c"aws_lambda", name));
        match tables {
            [Some(queue), Some(deliveries), Some(worker)] => Ok([queue, deliveries, worker]),
            _ => Err(Error::Configuration(ConfigurationError::NoQueue)),
        }
    };
    let found = tables()?;
    let can_lock = |table: pg_sys::Oid| catalog::try_lock(table, pg_sys::RowExclusiveLock);
    if !found.into_iter().all(can_lock) {
        return Ok(None);
    }
    // They may have been dropped before they were locked.
    let [queue, ..] = tables()?;
    Ok((found[0] == queue).then(|| catalog::owner(queue)))
}

/// Works with the rights of the queue's owner, in a memory context that is deleted afterwards. `None` where another transaction has locked
/// one of the tables.
///
/// What is committed by this is on disk before the commit ends, and so is what others have committed before: an event is not sent whose
/// transaction a crash may still take back.
fn as_owner<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<Option<T>, Error> {
    let Some(owner) = try_owner_of_extension()? else {
        return Ok(None);
    };
    process::force_sync_commit();
    let context = MemoryContext::current().child();
    let done = context.switch_to(|| {
        spi::as_role(owner, || {
            let done = work();
            // A worker would run them as superuser when it commits.
            process::fire_deferred_triggers();
            done
        })
    });
    // SAFETY: what the work has made in the context is not used afterwards. After an error it goes with the transaction.
    unsafe { context.delete() };
    done.map(Some)
}
