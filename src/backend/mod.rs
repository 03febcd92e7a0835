//! What a backend keeps between statements: its runtime and its clients; and, while they last, the tasks that statements
//! have started.
//!
//! - [`config`] is what catalogs and settings say about a foreign table and a role, [`keys`] the role's user mapping; [`release`]
//!   tells whether they are of the library's release.
//! - [`runtime`] runs futures, in the network thread or in the backend's while it waits ([`wait`]); [`task`] is one of them,
//!   [`work_queue`] those that nobody has taken yet.
//! - [`wakeup`] wakes the backend, [`signals`] blocks signals and hears of them.
//! - [`clients`] are kept for later statements, [`descriptors`] taken from PostgreSQL's.
//!
//! A client is found by server, role and effective configuration, so a changed option or mapping simply
//! leads to another client, and no two roles ever share one. Its credentials and connections are found by the same without what changes
//! none of them.

mod clients;
pub mod config;
mod descriptors;
mod release;
mod runtime;
mod signals;
pub mod task;
mod user_mapping;
pub mod wait;
mod wakeup;
mod work_queue;

use crate::error::Error;
use crate::lambda::budget::Share;
use crate::lambda::descriptor_limiter::DescriptorLimiter;
use crate::lambda::limiter::Limiter;
use crate::lambda::request::InvokeRequest;
use crate::lambda::response::InvokeResponse;
use crate::lambda::{self, RetryPolicy};
use clients::{Clients, Kept};
use config::Config;
use descriptors::Descriptors;
use pgrx::{pg_guard, pg_sys};
use runtime::{Runtime, Stop};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use task::{AbortHandle, Task};
use work_queue::Sweep;

struct Backend {
    runtime: Runtime,
    descriptors: Descriptors,
    /// Work that has not ended.
    unfinished: Arc<AtomicUsize>,
    /// What it waits for, null until it does.
    events: *mut pg_sys::WaitEventSet,
    /// What is on its way, with the resource owner that it was started under.
    started: Vec<(usize, AbortHandle)>,
    clients: Arc<Clients>,
}

/// What sees to connections that nobody uses.
const SWEEP: Sweep = Sweep {
    now: lambda::sweep,
    next: lambda::next_sweep,
};

thread_local! {
    static BACKEND: RefCell<Option<Backend>> = const { RefCell::new(None) };
}

/// A client that is made when it is first used, by whoever comes first.
#[derive(Clone)]
pub struct SharedClient {
    kept: Arc<Kept>,
    descriptors: Arc<DescriptorLimiter>,
}

impl SharedClient {
    /// Invokes. Runs on the network thread.
    pub async fn invoke(
        &self,
        request: &InvokeRequest,
        retry_policy: RetryPolicy,
        limiter: &Arc<Limiter>,
        share: &Arc<Share>,
    ) -> Result<InvokeResponse, Error> {
        lambda::invoke(
            &*self.kept,
            request,
            retry_policy,
            limiter,
            &self.descriptors,
            share,
        )
        .await
    }
}

/// The client for invocations of a scan in a region; `None` leaves the region to the configuration. `run` tells which run of a query
/// the scan is in.
pub fn client(
    config: &Config,
    region: Option<&str>,
    run: Option<u64>,
) -> Result<SharedClient, Error> {
    let key = (config.server, config.user, config.client(region));
    with(|backend| SharedClient {
        kept: Kept::new(&backend.clients, key, config.no_keys.clone(), run),
        descriptors: backend.descriptors.descriptors.clone(),
    })
}

/// Starts work; dropping the task drops it. Whoever does anything but wait for it next has to [let it go](flush) before.
pub fn spawn<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<Task<T>, Error> {
    with(|backend| {
        let counted = Counted::new(&backend.unfinished);
        backend.descriptors.provide(counted.now());
        let work = async move {
            let _counted = counted;
            work.await
        };
        let task = backend.runtime.spawn(work).map_err(not_started)?;
        if backend.started.len() == backend.started.capacity() {
            backend.started.retain(|(_, handle)| !handle.is_finished());
        }
        // SAFETY: reads a variable of this thread's.
        let owner = unsafe { pg_sys::CurrentResourceOwner } as usize;
        backend.started.push((owner, task.abort_handle()));
        Ok(task)
    })?
}

/// Counts work until it ends.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count.clone())
    }

    fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn not_started(error: std::io::Error) -> Error {
    Error::Runtime(format!("{error}."))
}

/// Has the network thread begin with what was started.
pub fn flush() -> Result<(), Error> {
    with_if_there(|backend| backend.runtime.flush())
        .map_or(Ok(()), |done| done.map_err(not_started))
}

/// Has the network thread close what work that failed may have left open. Without a thread it is closed with the backend.
pub fn drain_connections() {
    let _ = with_if_there(|backend| backend.runtime.drain_connections());
}

fn with_if_there<T>(work: impl FnOnce(&mut Backend) -> T) -> Option<T> {
    BACKEND.with_borrow_mut(|backend| backend.as_mut().map(work))
}

/// Works itself, if it may, until that is done, a signal comes, or for so long; `None` if the network thread does all.
fn work(longest: Option<Duration>, has_come: impl Fn() -> bool) -> Result<Option<Stop>, Error> {
    with(|backend| {
        let runtime = &backend.runtime;
        (runtime.has_deferred())
            .then(|| runtime.work(longest, has_come))
            .transpose()
    })?
    .map_err(not_started)
}

/// What this backend waits for.
fn events() -> Result<*mut pg_sys::WaitEventSet, Error> {
    with(|backend| {
        if backend.events.is_null() {
            // SAFETY: the wakeup socket is the backend's own, and closed with it.
            backend.events =
                unsafe { wait::new_events(backend.runtime.wakeup_socket.descriptor()) };
        }
        backend.events
    })
}

/// The file descriptor that becomes readable when a task has ended.
pub fn wakeup_socket() -> Result<pg_sys::pgsocket, Error> {
    with(|backend| backend.runtime.wakeup_socket.descriptor())
}

/// Makes the descriptor readable although no task has ended.
pub fn notify() -> Result<(), Error> {
    with(|backend| backend.runtime.notify())
}

/// Makes the descriptor unreadable until the next task ends.
pub fn drain_wakeup() -> Result<(), Error> {
    with(|backend| backend.runtime.wakeup_socket.drain())
}

fn with<T>(work: impl FnOnce(&mut Backend) -> T) -> Result<T, Error> {
    BACKEND.with_borrow_mut(|backend| {
        let backend = match backend {
            Some(backend) => backend,
            None => {
                let runtime = Runtime::start(SWEEP).map_err(not_started)?;
                let descriptors = Descriptors::reserve(runtime.connections());
                // SAFETY: registers a function of this library, which is never unloaded.
                unsafe {
                    pg_sys::on_proc_exit(Some(stop), pg_sys::Datum::from(0));
                    pg_sys::RegisterResourceReleaseCallback(Some(release), std::ptr::null_mut());
                }
                backend.insert(Backend {
                    runtime,
                    descriptors,
                    unfinished: Arc::default(),
                    events: std::ptr::null_mut(),
                    started: Vec::new(),
                    clients: Arc::default(),
                })
            }
        };
        Ok(work(backend))
    })
}

/// Drops what a query has started when its resources are released. After an error that is at once, while the query's memory may
/// live until the end of the transaction, and what is in it would be tried again and again.
#[pg_guard]
unsafe extern "C-unwind" fn release(
    phase: pg_sys::ResourceReleasePhase::Type,
    _commits: bool,
    is_top_level: bool,
    _arg: *mut std::ffi::c_void,
) {
    if phase != pg_sys::ResourceReleasePhase::RESOURCE_RELEASE_BEFORE_LOCKS {
        return;
    }
    // SAFETY: PostgreSQL makes the owner that is released the current one.
    let owner = unsafe { pg_sys::CurrentResourceOwner } as usize;
    let _ = BACKEND.try_with(|backend| {
        if let Ok(mut backend) = backend.try_borrow_mut()
            && let Some(backend) = backend.as_mut()
        {
            backend.started.retain(|(started_under, handle)| {
                if *started_under == owner {
                    handle.abort();
                }
                *started_under != owner
            });
            if is_top_level && backend.unfinished.load(Ordering::Relaxed) == 0 {
                backend.descriptors.give_back();
            }
        }
    });
}

/// Ends the network thread before the process goes, so that it never runs while the process is torn down.
#[pg_guard]
unsafe extern "C-unwind" fn stop(_code: std::ffi::c_int, _arg: pg_sys::Datum) {
    let backend =
        BACKEND.try_with(|backend| backend.try_borrow_mut().ok().and_then(|mut b| b.take()));
    drop(backend);
    lambda::process::kill_all();
}
