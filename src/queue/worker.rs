//! The background workers: one for each database delivers its queue, and one for the server starts those.
//!
//! A commit that has queued sets the latch of its database's worker, which it finds by the process id in `aws_lambda.queue_worker`. Nothing is
//! in shared memory, so a worker also runs where the library is not preloaded. A wrong process id sets a latch for nothing.

use super::deliver::{Delivery, Look, Transactions};
use super::{as_owner, locks, rows};
use crate::error::{ConfigurationError, Error, OrReport};
use crate::postgres::process::{self, Activity};
use crate::postgres::{catalog, spi};
use crate::settings;
use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BackgroundWorkerStatus, BgWorkerStartTime,
    DynamicBackgroundWorker, SignalWakeFlags,
};
use pgrx::{pg_guard, pg_sys};
use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

/// How often a worker looks at a queue that nobody has said is not empty: after COMMIT PREPARED, or on a standby that was promoted.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How often a worker looks at rows that another delivery has.
const OTHERS_INTERVAL: Duration = Duration::from_secs(1);
/// How long the server waits before it starts a worker again that has failed.
const RESTART_INTERVAL: Duration = Duration::from_secs(5);

const LIBRARY: &str = "aws_lambda_fdw";

/// Registers the worker that starts the others. Called while the server starts, with the library preloaded.
pub fn register() {
    // pg_upgrade's servers must not deliver.
    if settings::worker_databases().is_some() && !process::is_upgrading() {
        BackgroundWorkerBuilder::new("aws_lambda launcher")
            .set_library(LIBRARY)
            .set_function("aws_lambda_launcher_main")
            .set_start_time(BgWorkerStartTime::RecoveryFinished)
            .set_restart_time(Some(RESTART_INTERVAL))
            .enable_spi_access()
            .load();
    }
}

/// A worker for a database. One that fails is started again if `restarts`, unless it ends by itself or is terminated.
fn builder(database: pg_sys::Oid, restarts: bool) -> BackgroundWorkerBuilder {
    BackgroundWorkerBuilder::new("aws_lambda delivery")
        .set_library(LIBRARY)
        .set_function("aws_lambda_worker_main")
        .set_argument(Some(database.into()))
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(restarts.then_some(RESTART_INTERVAL))
        .enable_spi_access()
}

/// Starts a worker for this database. False if the server can have no more workers.
pub fn start() -> bool {
    builder(process::database(), true).load_dynamic().is_ok()
}

/// Starts a worker for each database of `aws_lambda.worker_databases` that is there, and starts it again when it has ended.
///
/// # Safety
/// Called by PostgreSQL in a new background worker.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn aws_lambda_launcher_main(_argument: pg_sys::Datum) {
    process::note_when_terminated();
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP);
    BackgroundWorker::connect_worker_to_spi(None, None);
    let mut workers: HashMap<pg_sys::Oid, DynamicBackgroundWorker> = HashMap::new();
    while !process::should_stop() {
        process::reload_if_asked();
        let names = settings::worker_databases().unwrap_or_default();
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        let databases = process::in_transaction(|| Ok::<_, Error>(catalog::databases()));
        for (name, database) in databases.or_report() {
            if !names.iter().any(|wanted| wanted.as_bytes() == name) {
                continue;
            }
            let runs = (workers.get(&database)).is_some_and(|worker| {
                let pid = worker.pid();
                pid.is_ok() || matches!(pid, Err(BackgroundWorkerStatus::NotYetStarted))
            });
            if !runs && let Ok(worker) = builder(database, false).load_dynamic() {
                workers.insert(database, worker);
            }
        }
        wait(LOOK_INTERVAL);
    }
    drop(workers);
    // The postmaster starts it again, unless the server stops.
    process::exit(1);
}

/// The transactions of a worker.
struct OfWorker;

impl Transactions for OfWorker {
    fn run<T>(&mut self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        process::in_transaction(|| {
            let _connection = spi::Connection::open()?;
            work()
        })
    }
}

/// Delivers the queue of a database until it is told to stop, or the database has no queue.
///
/// # Safety
/// Called by PostgreSQL in a new background worker, with the database's oid.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn aws_lambda_worker_main(database: pg_sys::Datum) {
    process::note_when_terminated();
    process::stay_away_when_terminated();
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP);
    let database = pg_sys::Oid::from(database.value() as u32);
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(database), None);
    work().or_report();
}

fn work() -> Result<(), Error> {
    if !locks::try_lock_worker() {
        return Ok(());
    }
    match deliver_until_stopped() {
        // The database has no extension, or it was dropped.
        Err(Error::Configuration(ConfigurationError::NoQueue)) => Ok(()),
        done => done,
    }
}

fn deliver_until_stopped() -> Result<(), Error> {
    let mut transactions = OfWorker;
    let mut delivery = Delivery::new(None);
    let mut is_registered = false;
    while !process::should_stop() {
        process::reload_if_asked();
        process::report(Activity::Running, c"delivers the queue");
        if !is_registered {
            let register = || rows::register_worker(process::id());
            is_registered = transactions.run(|| as_owner(register))?.is_some();
        }
        process::defer_termination(true);
        let totals = delivery.run(&mut transactions, Look::Always)?;
        delivery.drain(&mut transactions)?;
        process::defer_termination(false);
        // Rows that are due and not found are in delivery elsewhere.
        let shortest = match totals.is_empty() {
            true => OTHERS_INTERVAL,
            false => Duration::ZERO,
        };
        let pause = match transactions.run(|| as_owner(rows::next_due))? {
            Some(next) if is_registered => next.map_or(LOOK_INTERVAL, until),
            // The tables are locked.
            _ => OTHERS_INTERVAL,
        };
        process::report(Activity::Idle, c"waits for the queue");
        wait(pause.clamp(shortest, LOOK_INTERVAL));
    }
    Ok(())
}

/// How long it is until a time, a timestamptz.
fn until(time: i64) -> Duration {
    Duration::from_micros(time.saturating_sub(rows::now()).max(0) as u64)
}

/// Waits until this worker is woken or told to stop.
fn wait(longest: Duration) {
    let goes_on = BackgroundWorker::wait_latch(Some(longest.max(Duration::from_millis(1))));
    if !goes_on {
        // The postmaster is gone.
        process::exit(1);
    }
}

thread_local! {
    /// The worker that is woken when this transaction commits; 0 if it has queued nothing.
    static TO_WAKE: Cell<i32> = const { Cell::new(0) };
    static HAS_QUEUED: Cell<bool> = const { Cell::new(false) };
    static IS_REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// Has the database's worker woken when the transaction commits. Called with a connection to SPI, as the queue's owner.
pub fn wake_at_commit() -> Result<(), Error> {
    if HAS_QUEUED.get() {
        return Ok(());
    }
    if !IS_REGISTERED.replace(true) {
        process::at_end_of_transactions(wake);
    }
    TO_WAKE.set(rows::worker()?.unwrap_or_default());
    HAS_QUEUED.set(true);
    Ok(())
}

#[pg_guard]
unsafe extern "C-unwind" fn wake(event: pg_sys::XactEvent::Type, _arg: *mut std::ffi::c_void) {
    let has_ended = [
        pg_sys::XactEvent::XACT_EVENT_COMMIT,
        pg_sys::XactEvent::XACT_EVENT_ABORT,
        pg_sys::XactEvent::XACT_EVENT_PREPARE,
    ];
    if has_ended.contains(&event) && HAS_QUEUED.replace(false) {
        let worker = TO_WAKE.replace(0);
        if event == pg_sys::XactEvent::XACT_EVENT_COMMIT && worker != 0 {
            process::wake(worker);
        }
    }
}
