//! The state of a backend between statements: its runtime, its clients, and the tasks that statements have started.
//!
//! - [`config`] is the configuration of a foreign table and a role, from catalogs and settings, [`user_mapping`] the role's user mapping; [`release`]
//!   checks that the extensions are of the library's release.
//! - [`runtime`] runs [`task`]s. [`driver`] decides which thread drives it: the network thread, or the backend's while it [waits](`wait`).
//! - [`wakeup`] notifies the backend of a task's end, [`signals`] blocks signals and reports those that are pending.
//! - [`clients`] are kept for later statements, [`descriptors`] are reserved with PostgreSQL.
//!
//! A client is found by server, role and effective configuration. So a changed option or mapping leads to another client, and no two roles
//! share one. Credentials and connections are found by the part of the configuration that concerns them.

mod clients;
pub mod config;
mod descriptors;
mod driver;
mod release;
mod runtime;
mod signals;
pub mod task;
mod user_mapping;
pub mod wait;
mod wakeup;

use crate::error::Error;
use crate::lambda::api_request::ApiRequest;
use crate::lambda::budget::Share;
use crate::lambda::descriptor_limiter::DescriptorLimiter;
use crate::lambda::limiter::Limiter;
use crate::lambda::response::InvokeResponse;
use crate::lambda::{self, RetryPolicy};
use crate::postgres::process;
use crate::postgres::waiting::WaitEvents;
use clients::{Clients, Kept};
use config::Config;
use descriptors::Descriptors;
use pgrx::{pg_guard, pg_sys};
use runtime::{Runtime, Stop};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use task::{AbortHandle, Task};

struct Backend {
    runtime: Runtime,
    descriptors: Descriptors,
    /// The events that the backend waits for; `None` until its first wait.
    events: Option<WaitEvents>,
    /// Tasks, each with the resource owner that it was started under.
    started: Vec<(usize, AbortHandle)>,
    clients: Arc<Clients>,
}

thread_local! {
    static BACKEND: RefCell<Option<Backend>> = const { RefCell::new(None) };
}

/// A client that its first user makes.
#[derive(Clone)]
pub struct SharedClient {
    kept: Arc<Kept>,
    descriptors: Arc<DescriptorLimiter>,
}

impl SharedClient {
    /// Makes a request. Runs inside a task.
    pub async fn send(
        &self,
        request: &ApiRequest,
        retry_policy: RetryPolicy,
        limiter: &Arc<Limiter>,
        share: &Arc<Share>,
    ) -> Result<InvokeResponse, Error> {
        lambda::send(
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

/// The client for invocations of a scan in a region; `None` leaves the region to the configuration. `run` is the number of the query's run.
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

/// How long a task lives at most.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as the resources of the query that starts it.
    Query,
    /// As long as its handle.
    Handle,
}

/// Starts a task; dropping it aborts it. Before anything but a wait the caller has to [`flush`].
pub fn spawn<T: Send + 'static>(
    lifetime: Lifetime,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<Task<T>, Error> {
    with(|backend| {
        (backend.descriptors).provide(backend.runtime.unfinished() + 1);
        let task = backend.runtime.spawn(future).map_err(not_started)?;
        if lifetime == Lifetime::Handle {
            return Ok(task);
        }
        if backend.started.len() == backend.started.capacity() {
            backend.started.retain(|(_, handle)| !handle.is_finished());
        }
        let owner = process::resource_owner() as usize;
        backend.started.push((owner, task.abort_handle()));
        Ok(task)
    })?
}

fn not_started(error: std::io::Error) -> Error {
    Error::Runtime(format!("{error}."))
}

/// Has the network thread drive for a deferred task.
pub fn flush() -> Result<(), Error> {
    with_if_there(|backend| backend.runtime.flush())
        .map_or(Ok(()), |done| done.map_err(not_started))
}

/// Has the network thread close connections that failed tasks have left open. Without a thread they are closed with the backend.
pub fn drain_connections() {
    let _ = with_if_there(|backend| backend.runtime.drain_connections());
}

fn with_if_there<T>(work: impl FnOnce(&mut Backend) -> T) -> Option<T> {
    BACKEND.with_borrow_mut(|backend| backend.as_mut().map(work))
}

/// Drives for a deferred task until it has ended, a signal comes, or `longest` has passed; `None` if no task is deferred.
fn drive(longest: Option<Duration>, has_come: impl Fn() -> bool) -> Result<Option<Stop>, Error> {
    with(|backend| {
        let runtime = &backend.runtime;
        (runtime.has_deferred())
            .then(|| runtime.drive(longest, has_come))
            .transpose()
    })?
    .map_err(not_started)
}

/// The events that this backend waits for.
fn events() -> Result<WaitEvents, Error> {
    with(|backend| {
        // The wakeup socket is open until the backend exits.
        let wakeup_socket = &backend.runtime.wakeup_socket;
        *(backend.events).get_or_insert_with(|| WaitEvents::new(wakeup_socket.descriptor()))
    })
}

/// The socket that becomes readable when a task has ended.
pub fn wakeup_socket() -> Result<pg_sys::pgsocket, Error> {
    with(|backend| backend.runtime.wakeup_socket.descriptor())
}

/// Makes the socket readable although no task has ended.
pub fn notify() -> Result<(), Error> {
    with(|backend| backend.runtime.notify())
}

/// Makes the socket unreadable until the next task ends.
pub fn drain_wakeup() -> Result<(), Error> {
    with(|backend| backend.runtime.wakeup_socket.drain())
}

fn with<T>(work: impl FnOnce(&mut Backend) -> T) -> Result<T, Error> {
    BACKEND.with_borrow_mut(|backend| {
        let backend = match backend {
            Some(backend) => backend,
            None => {
                let runtime = Runtime::start().map_err(not_started)?;
                let descriptors = Descriptors::reserve(runtime.connections());
                process::at_ends(stop, release);
                backend.insert(Backend {
                    runtime,
                    descriptors,
                    events: None,
                    started: Vec::new(),
                    clients: Arc::default(),
                })
            }
        };
        Ok(work(backend))
    })
}

/// Aborts the tasks of a query when its resources are released. After an error that is at once, while the query's memory, which holds the
/// tasks, may live until the end of the transaction.
#[pg_guard]
extern "C-unwind" fn release(
    phase: pg_sys::ResourceReleasePhase::Type,
    _commits: bool,
    is_top_level: bool,
    _arg: *mut std::ffi::c_void,
) {
    if phase != pg_sys::ResourceReleasePhase::RESOURCE_RELEASE_BEFORE_LOCKS {
        return;
    }
    // PostgreSQL makes the owner that is released the current one.
    let owner = process::resource_owner() as usize;
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
            if is_top_level && backend.runtime.unfinished() == 0 {
                backend.descriptors.give_back();
            }
        }
    });
}

/// Ends the network thread before the process exits: it must not run while the process is torn down.
#[pg_guard]
extern "C-unwind" fn stop(_code: std::ffi::c_int, _arg: pg_sys::Datum) {
    let backend =
        BACKEND.try_with(|backend| backend.try_borrow_mut().ok().and_then(|mut b| b.take()));
    drop(backend);
    lambda::process::kill_all();
}
