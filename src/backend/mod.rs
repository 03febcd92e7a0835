//! What a backend keeps between statements: its network thread and its clients. The only state of that kind.
//!
//! - [`config`] is what catalogs and settings say about a foreign table and a role.
//! - [`runtime`] is the network thread, [`wait`] the backend's waiting for it.
//!
//! A client is found by server, role and effective configuration, so a changed option or mapping simply
//! leads to another client, and no two roles ever share one.

pub mod config;
mod runtime;
pub mod wait;

use crate::error::Error;
use crate::lambda::request::InvokeRequest;
use crate::lambda::{self, Client, ClientConfig, InvokeResponse};
use config::Config;
use pgrx::{pg_guard, pg_sys};
use runtime::{Runtime, Task};
use std::cell::RefCell;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Most clients kept; the one unused for longest goes first.
const MAX_CLIENTS: usize = 32;

type Key = (pg_sys::Oid, pg_sys::Oid, ClientConfig);

struct Backend {
    runtime: Runtime,
    /// Most recently used last.
    clients: Vec<(Key, Arc<OnceCell<Client>>)>,
}

thread_local! {
    static BACKEND: RefCell<Option<Backend>> = const { RefCell::new(None) };
}

/// An invocation on its way.
pub type Flight = Task<Result<InvokeResponse, Error>>;

/// Starts an invocation; dropping the flight drops it.
pub fn invoke(config: &Config, request: InvokeRequest) -> Result<Flight, Error> {
    let client_config = config.client(request.region.as_deref());
    let request_timeout = config.request_timeout;
    with(|backend| {
        let client = backend.client((config.server, config.user, client_config.clone()));
        backend.runtime.spawn(async move {
            client
                .get_or_try_init(|| lambda::connect(client_config))
                .await?
                .invoke(request, request_timeout)
                .await
        })
    })
}

/// The file descriptor that becomes readable when a flight has landed.
pub fn door() -> Result<i32, Error> {
    with(|backend| backend.runtime.door())
}

/// Forgets the landings so far.
pub fn answer_door() -> Result<(), Error> {
    with(|backend| backend.runtime.answer_door())
}

fn with<T>(work: impl FnOnce(&mut Backend) -> T) -> Result<T, Error> {
    BACKEND.with_borrow_mut(|backend| {
        let backend = match backend {
            Some(backend) => backend,
            None => {
                let runtime =
                    Runtime::start().map_err(|error| Error::Runtime(format!("{error}.")))?;
                // SAFETY: registers a function of this library, which is never unloaded.
                unsafe { pg_sys::on_proc_exit(Some(stop), pg_sys::Datum::from(0)) };
                backend.insert(Backend {
                    runtime,
                    clients: Vec::new(),
                })
            }
        };
        Ok(work(backend))
    })
}

impl Backend {
    fn client(&mut self, key: Key) -> Arc<OnceCell<Client>> {
        let entry = match self.clients.iter().position(|(known, _)| *known == key) {
            Some(position) => self.clients.remove(position),
            None => (key, Arc::default()),
        };
        let client = entry.1.clone();
        self.clients.push(entry);
        if self.clients.len() > MAX_CLIENTS {
            self.clients.remove(0);
        }
        client
    }
}

/// Ends the network thread before the process goes, so that it never runs while the process is torn down.
#[pg_guard]
unsafe extern "C-unwind" fn stop(_code: std::ffi::c_int, _arg: pg_sys::Datum) {
    let backend =
        BACKEND.try_with(|backend| backend.try_borrow_mut().ok().and_then(|mut b| b.take()));
    drop(backend);
}
