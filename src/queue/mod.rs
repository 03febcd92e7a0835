//! The queue: invocations that a transaction writes to the table `aws_lambda.queue`, and that are made once it has committed.
//!
//! - [`Entry`] is an invocation that is written. `call/` and `modify/` make entries of calls and of inserted rows.
//! - [`rows`] has the statements that read and change the table, [`locks`] the locks of rows in delivery.
//! - [`deliver`] makes the invocations, as many in flight as the configuration says. [`outcome`] is what becomes of a row by that.
//! - [`procedure`] is `aws_lambda.deliver`, and [`worker`] the background workers that deliver too.
//!
//! A row is written and deleted as any row is. So what a ROLLBACK takes back was never sent, and what was committed survives a crash.

mod deliver;
mod locks;
mod outcome;
mod procedure;
mod rows;
pub mod worker;

use crate::backend::config::Config;
use crate::error::{ConfigurationError, Error, StatementError};
use crate::lambda::request::{Inputs, InvokeRequest};
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
            durable: config.durable,
            not_before: None,
        }
    }

    /// Writes the entry, and returns its id.
    ///
    /// Errors if Lambda's grammar does not accept it, so that nothing is queued which can never be delivered.
    pub fn insert(mut self) -> Result<i64, Error> {
        (self.inputs.invocation_type).get_or_insert_with(|| DEFAULT_TYPE.to_owned());
        InvokeRequest::new(self.inputs.clone())?;
        if process::is_in_parallel_mode() {
            return Err(Error::Statement(StatementError::QueuesInParallelQuery));
        }
        let queue = Queue::find()?;
        let _connection = spi::Connection::open()?;
        spi::as_role(queue.owner, || {
            worker::wake_at_commit()?;
            rows::insert(&self, &queue)
        })
    }
}

/// The table of the queue.
struct Queue {
    table: pg_sys::Oid,
    owner: pg_sys::Oid,
}

/// The tables of the queue.
const TABLES: [&CStr; 3] = [c"queue", c"queue_deliveries", c"queue_worker"];

impl Queue {
    /// Looks it up for a delivery. Tables of these names that are not the extension's are refused: a worker is a superuser's process, and
    /// somebody else's tables may have triggers.
    fn find_of_extension() -> Result<Queue, Error> {
        match TABLES
            .iter()
            .all(|name| catalog::is_of_extension(c"aws_lambda", name))
        {
            true => Queue::find(),
            false => Err(Error::Configuration(ConfigurationError::NoQueue)),
        }
    }

    /// Looks it up.
    fn find() -> Result<Queue, Error> {
        // SAFETY: catalog look-ups in a transaction. The relation is locked until the transaction ends.
        unsafe {
            let schema = pg_sys::get_namespace_oid(c"aws_lambda".as_ptr(), true);
            let table = pg_sys::get_relname_relid(c"queue".as_ptr(), schema);
            if table == pg_sys::InvalidOid {
                return Err(Error::Configuration(ConfigurationError::NoQueue));
            }
            let open = pg_sys::table_open(table, pg_sys::AccessShareLock as _);
            let owner = (*(*open).rd_rel).relowner;
            pg_sys::table_close(open, pg_sys::NoLock as _);
            Ok(Queue { table, owner })
        }
    }
}
