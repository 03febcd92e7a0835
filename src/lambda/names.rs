//! Names of hosts, as the machine's resolver finds them. One look-up serves all that want the name, and few go on at once: each takes a
//! thread, with a stack and memory of its own, for as long as the resolver takes.
//!
//! Which address of a name could be connected to is remembered as well, where it was not the first.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// Most look-ups at once. One that hangs can't be ended, only left alone.
const AT_ONCE: usize = 2;

/// Bytes of their stacks.
const STACK: usize = 512 << 10;

/// How long what was found counts. Names change their addresses, so it is no longer than it takes to begin what is begun together.
const FOUND_FOR: Duration = Duration::from_secs(5);

/// How long the address that answered is tried first: as RFC 6555 (4.2) has it.
const ANSWERED_FOR: Duration = Duration::from_secs(600);

/// The process's, as the resolver is.
static NAMES: LazyLock<Names> = LazyLock::new(|| Names::new(resolve));

/// What a look-up came to.
pub type Found = Result<Arc<[IpAddr]>, NoAddress>;

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

struct Names {
    resolve: fn(&str) -> io::Result<Vec<IpAddr>>,
    known: Mutex<HashMap<String, Known>>,
    turns: Arc<Semaphore>,
    answered: Mutex<HashMap<String, (IpAddr, Instant)>>,
}

enum Known {
    /// Somebody looks it up.
    Soon(watch::Receiver<Option<Found>>),
    Found(Arc<[IpAddr]>, Instant),
}

/// The addresses of a host, those first that are to be tried first. A host that is an address has itself.
pub async fn addresses(host: &str) -> Result<Vec<IpAddr>, NoAddress> {
    match host.parse() {
        Ok(address) => Ok(vec![address]),
        Err(_) => {
            let found = NAMES.find(host).await?;
            Ok(in_turn(&found, NAMES.answered(host)))
        }
    }
}

/// Notes which of a host's addresses answered.
pub fn answered(host: &str, address: IpAddr) {
    let until = Instant::now() + ANSWERED_FOR;
    let mut answered = lock(&NAMES.answered);
    answered.retain(|_, (_, until)| *until > Instant::now());
    answered.insert(host.to_owned(), (address, until));
}

/// Has a host looked up anew, as none of its addresses answered.
pub fn forget(host: &str) {
    let mut known = lock(&NAMES.known);
    if matches!(known.get(host), Some(Known::Found(..))) {
        known.remove(host);
    }
}

fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    let found = (host, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).collect())
}

/// Signals are the backend's to handle, and not this thread's.
fn block_signals() {
    // SAFETY: plain data, and system calls about the calling thread.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Names {
    fn new(resolve: fn(&str) -> io::Result<Vec<IpAddr>>) -> Names {
        Names {
            resolve,
            known: Mutex::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            answered: Mutex::default(),
        }
    }

    fn answered(&self, host: &str) -> Option<IpAddr> {
        let answered = lock(&self.answered);
        let (address, until) = answered.get(host)?;
        (*until > Instant::now()).then_some(*address)
    }

    async fn find(&'static self, host: &str) -> Found {
        let mut soon = match self.known(host) {
            Some(Known::Found(addresses, _)) => return Ok(addresses),
            Some(Known::Soon(soon)) => soon,
            None => match self.turns.clone().acquire_owned().await {
                Ok(turn) => match self.known(host) {
                    Some(Known::Found(addresses, _)) => return Ok(addresses),
                    Some(Known::Soon(soon)) => soon,
                    None => self.look_up(host, turn)?,
                },
                Err(_) => return Err(ended()),
            },
        };
        let found = soon.wait_for(Option::is_some).await;
        found
            .map_or(None, |found| found.clone())
            .unwrap_or_else(|| Err(ended()))
    }

    /// What is known, or will be soon.
    fn known(&self, host: &str) -> Option<Known> {
        match lock(&self.known).get(host)? {
            Known::Found(addresses, until) if *until > Instant::now() => {
                Some(Known::Found(addresses.clone(), *until))
            }
            // Who looked it up may be gone without a word.
            Known::Soon(soon) if soon.has_changed().is_ok() => Some(Known::Soon(soon.clone())),
            _ => None,
        }
    }

    /// Begins a look-up, which goes on when nobody waits for it any more.
    fn look_up(
        &'static self,
        host: &str,
        turn: impl Send + 'static,
    ) -> Result<watch::Receiver<Option<Found>>, NoAddress> {
        let (tells, soon) = watch::channel(None);
        let tells = Arc::new(tells);
        let mut known = lock(&self.known);
        let now = Instant::now();
        known.retain(|_, known| !matches!(known, Known::Found(_, until) if *until <= now));
        known.insert(host.to_owned(), Known::Soon(soon.clone()));
        drop(known);
        let (name, told) = (host.to_owned(), tells.clone());
        let look_up = move || {
            block_signals();
            let (host, tells) = (name, told);
            let found = (self.resolve)(&host);
            let mut known = lock(&self.known);
            let found = match found {
                Ok(addresses) if !addresses.is_empty() => {
                    let addresses: Arc<[IpAddr]> = addresses.into();
                    let until = Instant::now() + FOUND_FOR;
                    known.insert(host, Known::Found(addresses.clone(), until));
                    Ok(addresses)
                }
                Ok(_) => {
                    known.remove(&host);
                    Err(io::Error::from(io::ErrorKind::NotFound).into())
                }
                Err(error) => {
                    known.remove(&host);
                    Err(error.into())
                }
            };
            drop(known);
            drop(turn);
            tells.send_replace(Some(found));
        };
        // Tokio panics where no thread can be had.
        let thread = std::thread::Builder::new().stack_size(STACK);
        if let Err(error) = thread.spawn(look_up) {
            let error = NoAddress::from(error);
            lock(&self.known).remove(host);
            tells.send_replace(Some(Err(error.clone())));
            return Err(error);
        }
        Ok(soon)
    }
}

fn ended() -> NoAddress {
    io::Error::other("the look-up of the name was ended").into()
}

/// Addresses in the order in which they are tried: the one that answered, then the resolver's, of one family after the other (RFC 8305, 4).
fn in_turn(found: &[IpAddr], answered: Option<IpAddr>) -> Vec<IpAddr> {
    let is_6 = found.first().is_some_and(IpAddr::is_ipv6);
    let (first, other): (Vec<_>, Vec<_>) =
        (found.iter().copied()).partition(|address| address.is_ipv6() == is_6);
    let mut of_other = other.into_iter();
    let mut all: Vec<IpAddr> = Vec::new();
    for address in first {
        all.push(address);
        all.extend(of_other.next());
    }
    all.extend(of_other);
    if let Some(place) = all.iter().position(|address| Some(*address) == answered) {
        all[..=place].rotate_right(1);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(test);
    }

    #[test]
    fn turns() {
        let [a, b, c, d] = ["10.0.0.1", "10.0.0.2", "::1", "::2"].map(ip);
        assert_eq!(in_turn(&[a, b], None), [a, b]);
        assert_eq!(in_turn(&[a, b], Some(b)), [b, a]);
        assert_eq!(in_turn(&[a, b, c, d], None), [a, c, b, d]);
        assert_eq!(in_turn(&[c, d, a], Some(a)), [a, c, d]);
        assert_eq!(in_turn(&[c], Some(a)), [c]);
    }

    /// All that wait are told by one look-up, also if who began it is gone, and few go on at once.
    #[test]
    fn one_look_up_serves_all() {
        static ALL: AtomicUsize = AtomicUsize::new(0);
        static NOW: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        fn slowly(host: &str) -> io::Result<Vec<IpAddr>> {
            ALL.fetch_add(1, SeqCst);
            MOST.fetch_max(NOW.fetch_add(1, SeqCst) + 1, SeqCst);
            std::thread::sleep(Duration::from_millis(50));
            NOW.fetch_sub(1, SeqCst);
            match host {
                "none" => Err(io::Error::other("no such name")),
                _ => Ok(vec![ip("10.0.0.1")]),
            }
        }
        let names: &'static Names = Box::leak(Box::new(Names::new(slowly)));
        run(async {
            let at_once = Duration::from_millis(1);
            assert!(
                tokio::time::timeout(at_once, names.find("one"))
                    .await
                    .is_err()
            );
            let waiting: Vec<_> = (0..64).map(|_| tokio::spawn(names.find("one"))).collect();
            for found in waiting {
                assert_eq!(*found.await.unwrap().unwrap(), [ip("10.0.0.1")]);
            }
            assert_eq!(ALL.load(SeqCst), 1);
            let (one, other) = tokio::join!(names.find("none"), names.find("none"));
            assert!(one.is_err() && other.unwrap_err().to_string() == "no such name");
            assert_eq!(ALL.load(SeqCst), 2);
            assert!(names.find("none").await.is_err());
            assert_eq!(ALL.load(SeqCst), 3);
            let others = ["a", "b", "c", "d"].map(|name| tokio::spawn(names.find(name)));
            for found in others {
                found.await.unwrap().unwrap();
            }
            assert_eq!((ALL.load(SeqCst), MOST.load(SeqCst)), (7, AT_ONCE));
        });
    }
}
