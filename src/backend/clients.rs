//! The clients of a backend, with their connections and credentials.
//!
//! Only this cache keeps a client that no invocation uses. So a client that is evicted is gone once its invocations have ended, and is made
//! again when it is needed.

use crate::error::Error;
use crate::lambda::credentials::{Identity, NoKeys};
use crate::lambda::{self, Client, ClientConfig, RetryPolicy, Source};
use pgrx::pg_sys;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// Most clients, and most identities. The least recently used is evicted.
const MOST_KEPT: usize = 32;

/// Server, role and configuration.
pub type Key = (pg_sys::Oid, pg_sys::Oid, ClientConfig);

/// A client or an identity, or the error of making it. Everybody who waits for it gets the error, and nobody tries again.
type Cell<T> = OnceCell<Result<Arc<T>, Error>>;

/// When an entry was made, and in which run of a query, if that is known.
#[derive(Clone, Copy)]
struct Made {
    run: Option<u64>,
    at: Instant,
}

/// How long a failure counts for a run at least. The run of a function or a worker may last as long as the session.
const AGAIN_IN_RUN: Duration = Duration::from_secs(10);

impl Made {
    fn now(run: Option<u64>) -> Made {
        let at = Instant::now();
        Made { run, at }
    }

    /// Whether a failure may be tried again: once for each statement, or each scan of a statement could start a process or assume a role.
    fn is_over(&self, now: &Made) -> bool {
        self.run.is_none() || self.run != now.run || now.at - self.at >= AGAIN_IN_RUN
    }
}

struct Entry<T> {
    key: Key,
    cell: Arc<Cell<T>>,
    made: Made,
}

/// Entries, the most recently used last.
struct Recent<T>(Vec<Entry<T>>);

impl<T> Default for Recent<T> {
    fn default() -> Recent<T> {
        Recent(Vec::new())
    }
}

impl<T> Recent<T> {
    fn get(&mut self, key: &Key, made: Made) -> Arc<Cell<T>> {
        let entry = match self.0.iter().position(|entry| entry.key == *key) {
            Some(position) => self.0.remove(position),
            None => Entry {
                key: key.clone(),
                cell: Arc::default(),
                made,
            },
        };
        let cell = entry.cell.clone();
        self.0.push(entry);
        if self.0.len() > MOST_KEPT {
            self.0.remove(0);
        }
        cell
    }

    /// Forgets entries that failed, or whose credentials are in doubt, so that the next statement tries again.
    fn forget_failures(&mut self, now: &Made, is_in_doubt: impl Fn(&T) -> bool) {
        self.0.retain(|entry| {
            let has_failed = match entry.cell.get() {
                Some(Ok(known)) => is_in_doubt(known),
                Some(Err(_)) => true,
                None => false,
            };
            !has_failed || !entry.made.is_over(now)
        });
    }

    /// Removes and returns the entries that nobody uses, except for the key `but`.
    fn take_unused(&mut self, but: &Key) -> Self {
        let is_used = |cell: &Arc<Cell<T>>| {
            Arc::strong_count(cell) > 1
                || matches!(cell.get(), Some(Ok(known)) if Arc::strong_count(known) > 1)
        };
        let all = std::mem::take(&mut self.0);
        let (kept, unused) =
            (all.into_iter()).partition(|entry| entry.key == *but || is_used(&entry.cell));
        self.0 = kept;
        Recent(unused)
    }
}

/// The clients and identities of a backend.
#[derive(Default)]
pub struct Clients(Mutex<All>);

#[derive(Default)]
struct All {
    clients: Recent<Client>,
    identities: Recent<Identity>,
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client of a key. It is made when it is needed.
pub struct Kept {
    clients: Arc<Clients>,
    key: Key,
    no_keys: Option<NoKeys>,
    made: Made,
    cell: Mutex<Weak<Cell<Client>>>,
}

impl Kept {
    /// The client for a scan in a run of a query.
    pub fn new(
        clients: &Arc<Clients>,
        key: Key,
        no_keys: Option<NoKeys>,
        run: Option<u64>,
    ) -> Arc<Kept> {
        let made = Made::now(run);
        let mut all = clients.lock();
        all.clients.forget_failures(&made, Client::is_in_doubt);
        (all.identities).forget_failures(&made, Identity::is_in_doubt);
        let cell = Mutex::new(Arc::downgrade(&all.clients.get(&key, made)));
        drop(all);
        Arc::new(Kept {
            clients: clients.clone(),
            key,
            no_keys,
            made,
            cell,
        })
    }

    fn cell(&self) -> Arc<Cell<Client>> {
        let mut known = self.cell.lock().unwrap_or_else(PoisonError::into_inner);
        known.upgrade().unwrap_or_else(|| {
            let cell = self.clients.lock().clients.get(&self.key, self.made);
            *known = Arc::downgrade(&cell);
            cell
        })
    }

    fn key_of_identity(&self) -> Key {
        let (server, role, config) = &self.key;
        (*server, *role, config.of_identity())
    }

    async fn connect(&self, retry_policy: RetryPolicy) -> Result<Arc<Client>, Error> {
        let key = self.key_of_identity();
        let cell = self.clients.lock().identities.get(&key, self.made);
        let identifying = async || Identity::find(&key.2, retry_policy).await.map(Arc::new);
        let identity = cell.get_or_init(identifying).await.clone()?;
        Ok(Arc::new(lambda::connect(self.key.2.clone(), identity)))
    }
}

impl Source for Kept {
    async fn client(&self, retry_policy: RetryPolicy) -> Result<Arc<Client>, Error> {
        let cell = self.cell();
        // To make a client takes a future of many kilobytes, which would be a part of each attempt's.
        cell.get_or_init(|| Box::pin(self.connect(retry_policy)))
            .await
            .clone()
    }

    fn drop_others(&self) -> bool {
        let own = self.key_of_identity();
        // Dropped after the lock: to drop clients closes connections, and nobody is to wait for that.
        let (_clients, _identities);
        let mut all = self.clients.lock();
        _clients = all.clients.take_unused(&self.key);
        _identities = all.identities.take_unused(&own);
        all.clients.0.iter().all(|entry| entry.key == self.key)
    }

    fn no_keys(&self) -> Option<&NoKeys> {
        self.no_keys.as_ref()
    }
}
