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
use crate::lambda::batch::{BatchPayload, Batching};
use crate::lambda::request::{Inputs, InvokeRequest};
use crate::postgres::memory_context::MemoryContext;
use crate::postgres::{catalog, process, spi};
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::CStr;
use std::rc::Rc;
use std::sync::Arc;

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
    /// How it shares an invocation with other rows, if it does.
    pub batching: Option<Rc<Batching>>,
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
            batching: config.batching.clone(),
        }
    }

    /// Writes the entry, and returns its id.
    ///
    /// Errors if Lambda's grammar does not accept it, so that nothing is queued which can never be delivered.
    pub fn insert(mut self) -> Result<i64, Error> {
        (self.inputs.invocation_type).get_or_insert_with(|| DEFAULT_TYPE.into());
        let request = InvokeRequest::new(self.inputs.clone())?;
        if request.head.region.is_none() {
            self.inputs.region = self.region_of_setting.take().map(Arc::from);
        }
        if let Some(batching) = &self.batching {
            BatchPayload::check(batching, &InvokeRequest::new(self.inputs.clone())?)?;
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

/// The queue's tables. Tables of these names that are not the extension's are refused: a role that may create schemas could have made them, with
/// triggers that run where somebody queues or delivers.
fn tables() -> Result<[pg_sys::Oid; 3], Error> {
    let found = TABLES.map(|name| catalog::relation_of_extension(c"aws_lambda", name));
    match found {
        [Some(queue), Some(deliveries), Some(worker)] => Ok([queue, deliveries, worker]),
        _ => Err(Error::Configuration(ConfigurationError::NoQueue)),
    }
}

/// The owner of the queue, with whose rights its rows are written. The owner's triggers can leave things that run when the transaction commits,
/// with the rights of who commits. So the owner has to be a superuser, as the extension's is.
fn trusted_owner(queue: pg_sys::Oid) -> Result<pg_sys::Oid, Error> {
    let owner = catalog::owner(queue);
    match catalog::is_superuser(owner) {
        true => Ok(owner),
        false => Err(Error::Configuration(ConfigurationError::QueueOfNoSuperuser)),
    }
}

/// The queue's owner, for an entry.
fn owner() -> Result<pg_sys::Oid, Error> {
    thread_local! {
        /// The queue that was last found to be the extension's.
        static KNOWN: Cell<pg_sys::Oid> = const { Cell::new(pg_sys::Oid::INVALID) };
    }
    let found = catalog::relation(c"aws_lambda", c"queue");
    let queue = match found.filter(|queue| *queue == KNOWN.get()) {
        Some(queue) => queue,
        None => {
            let [queue, ..] = tables()?;
            KNOWN.set(queue);
            queue
        }
    };
    // The relation is locked until the transaction ends.
    catalog::lock(queue, pg_sys::RowExclusiveLock);
    trusted_owner(queue)
}

/// The queue's owner, for a delivery, whose tables are locked until the transaction ends; `None` where another transaction has locked one. A
/// delivery waits for no table, as it has outcomes to write and rows in flight.
fn try_owner() -> Result<Option<pg_sys::Oid>, Error> {
    let found = tables()?;
    let can_lock = |table: pg_sys::Oid| catalog::try_lock(table, pg_sys::RowExclusiveLock);
    if !found.into_iter().all(can_lock) {
        return Ok(None);
    }
    // They may have been dropped before they were locked.
    let [queue, ..] = tables()?;
    match found[0] == queue {
        true => trusted_owner(queue).map(Some),
        false => Ok(None),
    }
}

/// Works with the rights of the queue's owner, in a memory context that is deleted afterwards. `None` where another transaction has locked
/// one of the tables.
///
/// What is committed by this is on disk before the commit ends, and so is what others have committed before: an event is not sent whose
/// transaction a crash may still take back.
fn as_owner<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<Option<T>, Error> {
    let Some(owner) = try_owner()? else {
        return Ok(None);
    };
    process::force_sync_commit();
    let context = MemoryContext::current().child();
    let done = context.switch_to(|| spi::as_role(owner, work));
    // SAFETY: what the work has made in the context is not used afterwards. After an error it goes with the transaction.
    unsafe { context.delete() };
    done.map(Some)
}
