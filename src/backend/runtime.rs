//! The runtime that runs a backend's tasks. The network thread drives it, or the backend while it waits for a single task.
//!
//! Knows nothing of PostgreSQL: the backend's side of waiting is in wait.rs. The first invocation makes the runtime, and the first that is
//! not alone starts the thread, so a backend that never calls Lambda pays nothing.
//!
//! A PostgreSQL signal handler must run in the backend's own thread only. So every signal is blocked in the network thread and in the
//! threads that the runtime starts. While the backend drives, signals are blocked in its thread too, and end the driving.

use super::driver::Driver;
use super::signals::{self, Signals};
use super::task::Task;
use super::wakeup::{self, Wakeup, WakeupReceiver};
use crate::memory;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Most threads beside the network thread, in which the resolver is asked for names, and the bytes of their stacks.
const MOST_THREADS: usize = 4;
const STACK: usize = 512 << 10;

/// Descriptors of the runtime and of the backend's waiting. Tokio panics where it gets no descriptor for waking its thread.
const DESCRIPTORS: usize = 12;

/// How many turns connections have before the backend starts a task. An idle connection whose server has ended TLS, or has answered unasked,
/// reads that in the first, and is not used. poll(2) does not tell of either.
const TURNS_BEFORE_TASKS: usize = 2;

fn check_descriptors() -> io::Result<()> {
    let open = || std::fs::File::open("/dev/null");
    let opened: io::Result<Vec<_>> = std::iter::repeat_with(open).take(DESCRIPTORS).collect();
    opened.map(drop)
}

/// A runtime and its network thread.
pub struct Runtime {
    tokio: Option<Arc<tokio::runtime::Runtime>>,
    driver: Arc<Driver>,
    wakeup: Arc<Wakeup>,
    /// Where the backend is notified.
    pub wakeup_socket: WakeupReceiver,
    /// `None` where the system has no descriptor for blocked signals: the thread drives for all tasks then.
    signals: Option<Signals>,
}

/// Why the backend has stopped to drive.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// The task has ended.
    Done,
    /// A signal has come.
    Signal,
    /// The time is up.
    Late,
}

impl Runtime {
    /// Makes the runtime without its thread.
    pub fn start() -> io::Result<Runtime> {
        check_descriptors()?;
        let (wakeup, wakeup_socket) = wakeup::new()?;
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MOST_THREADS)
            .thread_stack_size(STACK)
            // A thread inherits the signal mask of the thread that starts it, which may be the backend's.
            .on_thread_start(|| drop(signals::block_all().map(std::mem::forget)))
            .build()?;
        let signals = {
            let _inside = tokio.enter();
            Signals::new()?
        };
        memory::set_wakeup_socket(wakeup.descriptor());
        let tokio = Arc::new(tokio);
        let driver = Arc::new(Driver::new(&tokio, wakeup.clone()));
        tokio.spawn(driver.clone().notify_of_ends());
        Ok(Runtime {
            driver,
            tokio: Some(tokio),
            wakeup,
            wakeup_socket,
            signals,
        })
    }

    /// Starts a task. It may be deferred until the backend waits: before anything else the backend has to [flush](Runtime::flush).
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<Task<T>> {
        Task::start(&self.driver, self.signals.is_some(), future)
    }

    /// How many tasks have not ended.
    pub fn unfinished(&self) -> usize {
        self.driver.unfinished()
    }

    /// Counts connections, or more: each is a task of Tokio's, as are the started tasks and the one that notifies.
    pub fn connections(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let tokio = (self.tokio.as_ref()).map(|tokio| tokio.handle().metrics());
        let driver = Arc::downgrade(&self.driver);
        move || {
            let tasks = tokio.as_ref().map_or(0, |tokio| tokio.num_alive_tasks());
            let running = driver.upgrade().map_or(0, |driver| driver.running());
            tasks.saturating_sub(running + 1)
        }
    }

    /// Whether the backend may drive.
    pub fn has_deferred(&self) -> bool {
        self.driver.has_deferred()
    }

    /// Has the thread drive for a deferred task.
    pub fn flush(&self) -> io::Result<()> {
        self.driver.flush()
    }

    /// Has the thread close what a task that failed may have left open.
    ///
    /// Not while a task is deferred: it may be about to be dropped because of the failure, and must not begin before.
    pub fn drain_connections(&self) -> io::Result<()> {
        match self.has_deferred() {
            true => Ok(()),
            false => self.driver.drain_connections(),
        }
    }

    /// Drives in this thread until the deferred task has ended, a signal comes, or `longest` has passed. Does not drive if `has_come` tells of
    /// a signal that was handled before signals are blocked.
    pub fn drive(
        &self,
        longest: Option<Duration>,
        has_come: impl Fn() -> bool,
    ) -> io::Result<Stop> {
        let late = longest.map(|longest| Instant::now() + longest);
        let blocked = signals::block_most()?;
        if has_come() {
            return Ok(Stop::Signal);
        }
        let (Some(tokio), Some(signals)) = (&self.tokio, &self.signals) else {
            return Ok(Stop::Done);
        };
        let stop = tokio.block_on(async {
            for _ in 0..TURNS_BEFORE_TASKS {
                tokio::task::yield_now().await;
            }
            self.driver.start_queued();
            tokio::select! {
                biased;
                () = signals.come() => Stop::Signal,
                () = self.driver.all_ended() => Stop::Done,
                () = until(late) => Stop::Late,
            }
        });
        drop(blocked);
        // Nobody drives now. Without a thread idle connections are closed with the backend.
        let _ = self.driver.schedule_sweep();
        Ok(stop)
    }

    /// Ends the thread's draining, and waits until it sleeps.
    #[cfg(test)]
    fn stop_draining(&self) {
        self.driver.stop_draining();
    }

    /// Notifies the backend.
    pub fn notify(&self) {
        self.wakeup.notify();
    }
}

async fn until(late: Option<Instant>) {
    match late {
        Some(late) => tokio::time::sleep_until(late).await,
        None => std::future::pending().await,
    }
}

impl Drop for Runtime {
    /// Ends the thread and drops the tasks.
    fn drop(&mut self) {
        self.driver.close();
        self.signals = None;
        if let Some(tokio) = self.tokio.take().and_then(Arc::into_inner) {
            tokio.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests;
