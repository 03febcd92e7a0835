//! Looks host names up with the machine's resolver. One look-up serves everybody who waits for the name. Few run at once, as each takes a
//! thread for as long as the resolver takes.
//!
//! The address that could be connected to is remembered where it was not the first. Addresses are `SocketAddr` without a port, as only that
//! type keeps the scope of a link-local address.

use nix::sys::signal::SigSet;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// Most look-ups at once. A look-up that hangs can't be ended.
const MAX_LOOKUPS: usize = 2;

/// Bytes of a look-up's stack.
const STACK: usize = 512 << 10;

/// How long a result is cached. Names change their addresses, so the time suffices only for connections that are made together.
const CACHE_TIME: Duration = Duration::from_secs(5);

/// How long the address that could be connected to is tried first (RFC 6555, 4.2).
const PREFERENCE_TIME: Duration = Duration::from_secs(600);

/// One for the process, as the resolver is.
static RESOLVER: LazyLock<Resolver> = LazyLock::new(|| Resolver::new(resolve));

/// The result of a look-up.
pub type LookupResult = Result<Arc<[SocketAddr]>, NoAddress>;

/// Why a name has no address, in the resolver's words.
#[derive(Debug, Clone)]
pub struct NoAddress(Arc<io::Error>);

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for NoAddress {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

impl From<io::Error> for NoAddress {
    fn from(error: io::Error) -> NoAddress {
        NoAddress(Arc::new(error))
    }
}

struct Resolver {
    resolve: fn(&str) -> io::Result<Vec<SocketAddr>>,
    cache: Mutex<HashMap<String, Cached>>,
    permits: Arc<Semaphore>,
    preferred: Mutex<HashMap<String, (SocketAddr, Instant)>>,
}

enum Cached {
    /// A look-up runs.
    Pending(watch::Receiver<Option<LookupResult>>),
    Found(Arc<[SocketAddr]>, Instant),
}

/// The addresses of a host in the order in which they are to be tried. A host may be an address.
pub async fn lookup(host: &str) -> Result<Vec<SocketAddr>, NoAddress> {
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(vec![without_port(address)]),
        Err(_) => {
            let found = RESOLVER.find(host).await?;
            Ok(interleave(&found, RESOLVER.preferred(host)))
        }
    }
}

/// Has an address of a host tried first, as it could be connected to.
pub fn prefer(host: &str, address: SocketAddr) {
    let until = Instant::now() + PREFERENCE_TIME;
    let mut preferred = lock(&RESOLVER.preferred);
    preferred.retain(|_, (_, until)| *until > Instant::now());
    preferred.insert(host.to_owned(), (address, until));
}

/// Has a host looked up again, as none of its addresses could be connected to.
pub fn forget(host: &str) {
    let mut cache = lock(&RESOLVER.cache);
    if matches!(cache.get(host), Some(Cached::Found(..))) {
        cache.remove(host);
    }
}

fn resolve(host: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((host, 0).to_socket_addrs()?.collect())
}

fn without_port(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 0)
}

/// PostgreSQL's signal handlers must not run in this thread.
fn block_signals() {
    let _ = SigSet::all().thread_set_mask();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Resolver {
    fn new(resolve: fn(&str) -> io::Result<Vec<SocketAddr>>) -> Resolver {
        Resolver {
            resolve,
            cache: Mutex::default(),
            permits: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            preferred: Mutex::default(),
        }
    }

    fn preferred(&self, host: &str) -> Option<SocketAddr> {
        let preferred = lock(&self.preferred);
        let (address, until) = preferred.get(host)?;
        (*until > Instant::now()).then_some(*address)
    }

    async fn find(&'static self, host: &str) -> LookupResult {
        let mut pending = match self.cached(host) {
            Some(Cached::Found(addresses, _)) => return Ok(addresses),
            Some(Cached::Pending(pending)) => pending,
            None => match self.permits.clone().acquire_owned().await {
                Ok(permit) => match self.cached(host) {
                    Some(Cached::Found(addresses, _)) => return Ok(addresses),
                    Some(Cached::Pending(pending)) => pending,
                    None => self.start_lookup(host, permit)?,
                },
                Err(_) => return Err(ended()),
            },
        };
        let found = pending.wait_for(Option::is_some).await;
        found
            .map_or(None, |found| found.clone())
            .unwrap_or_else(|| Err(ended()))
    }

    /// The result that is cached, or the look-up that runs.
    fn cached(&self, host: &str) -> Option<Cached> {
        match lock(&self.cache).get(host)? {
            Cached::Found(addresses, until) if *until > Instant::now() => {
                Some(Cached::Found(addresses.clone(), *until))
            }
            // The thread may have ended without a result.
            Cached::Pending(pending) if pending.has_changed().is_ok() => {
                Some(Cached::Pending(pending.clone()))
            }
            _ => None,
        }
    }

    /// Starts a look-up. It goes on when nobody waits for it any more.
    fn start_lookup(
        &'static self,
        host: &str,
        permit: impl Send + 'static,
    ) -> Result<watch::Receiver<Option<LookupResult>>, NoAddress> {
        let (sender, pending) = watch::channel(None);
        let sender = Arc::new(sender);
        let mut cache = lock(&self.cache);
        let now = Instant::now();
        cache.retain(|_, cached| !matches!(cached, Cached::Found(_, until) if *until <= now));
        cache.insert(host.to_owned(), Cached::Pending(pending.clone()));
        drop(cache);
        let (name, answer) = (host.to_owned(), sender.clone());
        let run = move || {
            block_signals();
            let (host, sender) = (name, answer);
            let found = (self.resolve)(&host);
            let mut cache = lock(&self.cache);
            let found = match found {
                Ok(addresses) if !addresses.is_empty() => {
                    let addresses: Arc<[SocketAddr]> = addresses.into();
                    let until = Instant::now() + CACHE_TIME;
                    cache.insert(host, Cached::Found(addresses.clone(), until));
                    Ok(addresses)
                }
                Ok(_) => {
                    cache.remove(&host);
                    Err(io::Error::from(io::ErrorKind::NotFound).into())
                }
                Err(error) => {
                    cache.remove(&host);
                    Err(error.into())
                }
            };
            drop(cache);
            drop(permit);
            sender.send_replace(Some(found));
        };
        // Tokio's own threads panic where no thread can be had.
        let thread = std::thread::Builder::new().stack_size(STACK);
        if let Err(error) = thread.spawn(run) {
            let error = NoAddress::from(error);
            lock(&self.cache).remove(host);
            sender.send_replace(Some(Err(error.clone())));
            return Err(error);
        }
        Ok(pending)
    }
}

fn ended() -> NoAddress {
    io::Error::other("the look-up of the name was ended").into()
}

/// The preferred address, then the resolver's, in which the families alternate (RFC 8305, 4).
fn interleave(found: &[SocketAddr], preferred: Option<SocketAddr>) -> Vec<SocketAddr> {
    let is_6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, other): (Vec<_>, Vec<_>) =
        (found.iter().copied()).partition(|address| address.is_ipv6() == is_6);
    let mut of_other = other.into_iter();
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in first {
        all.push(address);
        all.extend(of_other.next());
    }
    all.extend(of_other);
    if let Some(position) = all.iter().position(|address| Some(*address) == preferred) {
        all[..=position].rotate_right(1);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::test_runtime::block_on;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    fn ip(text: &str) -> SocketAddr {
        without_port(text.parse().unwrap())
    }

    /// A link-local address can't be connected to without its scope.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_scope_is_kept() {
        // SAFETY: reads a name that ends in a zero byte.
        let loopback = unsafe { libc::if_nametoindex(c"lo".as_ptr()) };
        let found = resolve("fe80::1%lo").unwrap();
        assert!(matches!(found[..], [SocketAddr::V6(address)] if address.scope_id() == loopback));
    }

    #[test]
    fn families_alternate() {
        let [a, b, c, d] = ["10.0.0.1", "10.0.0.2", "::1", "::2"].map(ip);
        assert_eq!(interleave(&[a, b], None), [a, b]);
        assert_eq!(interleave(&[a, b], Some(b)), [b, a]);
        assert_eq!(interleave(&[a, b, c, d], None), [a, c, b, d]);
        assert_eq!(interleave(&[c, d, a], Some(a)), [a, c, d]);
        assert_eq!(interleave(&[c], Some(a)), [c]);
    }

    /// All that wait have the result of one look-up, also if its first waiter is gone, and few run at once.
    #[test]
    fn one_look_up_serves_all() {
        static ALL: AtomicUsize = AtomicUsize::new(0);
        static NOW: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        fn slowly(host: &str) -> io::Result<Vec<SocketAddr>> {
            ALL.fetch_add(1, SeqCst);
            MOST.fetch_max(NOW.fetch_add(1, SeqCst) + 1, SeqCst);
            std::thread::sleep(Duration::from_millis(50));
            NOW.fetch_sub(1, SeqCst);
            match host {
                "none" => Err(io::Error::other("no such name")),
                _ => Ok(vec![ip("10.0.0.1")]),
            }
        }
        let resolver: &'static Resolver = Box::leak(Box::new(Resolver::new(slowly)));
        block_on(async {
            let at_once = Duration::from_millis(1);
            assert!(
                tokio::time::timeout(at_once, resolver.find("one"))
                    .await
                    .is_err()
            );
            let waiting: Vec<_> = (0..64)
                .map(|_| tokio::spawn(resolver.find("one")))
                .collect();
            for found in waiting {
                assert_eq!(*found.await.unwrap().unwrap(), [ip("10.0.0.1")]);
            }
            assert_eq!(ALL.load(SeqCst), 1);
            let (one, other) = tokio::join!(resolver.find("none"), resolver.find("none"));
            assert!(one.is_err() && other.unwrap_err().to_string() == "no such name");
            assert_eq!(ALL.load(SeqCst), 2);
            assert!(resolver.find("none").await.is_err());
            assert_eq!(ALL.load(SeqCst), 3);
            let others = ["a", "b", "c", "d"].map(|name| tokio::spawn(resolver.find(name)));
            for found in others {
                found.await.unwrap().unwrap();
            }
            assert_eq!((ALL.load(SeqCst), MOST.load(SeqCst)), (7, MAX_LOOKUPS));
        });
    }
}
