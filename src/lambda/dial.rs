//! Connections of TCP: the addresses of a host are tried one after the other, the next before the last has failed (RFC 8305).

use super::names;
use aws_smithy_runtime_api::box_error::BoxError;
use socket2::{SockRef, TcpKeepalive};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};

/// How long nothing is sent until TCP asks whether the other end is there. A function may run for half an hour, and what stands in
/// between forgets a connection of which it hears nothing: a NAT gateway of AWS's after 350 s, others sooner.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How long until it asks again, of ten times. It looks no sooner whether it has to ask after an answer, too: by default in 75 s.
const ASKS_AGAIN: Duration = Duration::from_secs(15);

/// How long an address is waited for until the next is tried as well (RFC 8305, 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Most addresses of a host that are tried at once, each with a file descriptor. `descriptor_limiter` counts on two.
const AT_ONCE: usize = 4;
const OF_GATE: usize = 2;

/// Beyond those two, so many for all hosts together.
static BEYOND: Semaphore = Semaphore::const_new(8);

/// How long an address is waited for at least, where there are more of them than are tried at once.
const SHORTEST: Duration = Duration::from_secs(1);

/// How far a connection got, for the message if it is not there in time.
#[derive(Default)]
pub struct Progress(Mutex<Step>);

#[derive(Default, Clone)]
enum Step {
    #[default]
    Nothing,
    /// The resolver has not answered.
    Name(String),
    /// None of these has answered.
    Addresses(Vec<IpAddr>),
    /// The same of what answers there.
    Said(&'static str),
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Step> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is waited for, in words for the end of a sentence.
    pub fn waits_for(&self, what: &'static str) {
        *self.lock() = Step::Said(what);
    }
}

/// There was no connection in time.
#[derive(Debug)]
pub struct TimedOut {
    longest: Duration,
    while_waiting: String,
}

impl TimedOut {
    fn new(longest: Duration, step: &Step) -> TimedOut {
        let while_waiting = match step {
            Step::Nothing => String::new(),
            Step::Name(name) => format!("; the name {name} was still looked up"),
            Step::Addresses(addresses) => {
                let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
                format!("; there was no answer of {}", addresses.join(", "))
            }
            Step::Said(what) => format!("; there was no {what}"),
        };
        TimedOut {
            longest,
            while_waiting,
        }
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (longest, waiting) = (self.longest.as_millis(), &self.while_waiting);
        write!(f, "no connection within {longest} ms{waiting}")
    }
}

impl std::error::Error for TimedOut {}

/// Makes a connection in so much time.
pub async fn within<T>(
    longest: Option<Duration>,
    progress: &Progress,
    making: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, BoxError> {
    let Some(longest) = longest else {
        return making.await;
    };
    match timeout(longest, making).await {
        Ok(made) => made,
        Err(_) => Err(TimedOut::new(longest, &progress.lock()).into()),
    }
}

/// Connects to a host, for which there is so much time.
pub async fn dial(
    host: &str,
    port: u16,
    longest: Option<Duration>,
    progress: &Progress,
) -> Result<TcpStream, BoxError> {
    *progress.lock() = Step::Name(host.to_owned());
    let addresses = names::addresses(host).await?;
    *progress.lock() = Step::Addresses(addresses.clone());
    let connect =
        |address| Box::pin(async move { TcpStream::connect(SocketAddr::new(address, port)).await });
    match first_of(&addresses, longest, connect).await {
        Ok((address, made)) => {
            if addresses.first() != Some(&address) {
                names::answered(host, address);
            }
            made.set_nodelay(true)?;
            let keepalive = TcpKeepalive::new()
                .with_time(KEEPALIVE)
                .with_interval(ASKS_AGAIN);
            SockRef::from(&made).set_tcp_keepalive(&keepalive)?;
            Ok(made)
        }
        Err(error) => {
            names::forget(host);
            Err(match (error.kind(), longest) {
                // Not the system's, which would have taken minutes.
                (ErrorKind::TimedOut, Some(longest)) if error.raw_os_error().is_none() => {
                    TimedOut::new(longest, &progress.lock()).into()
                }
                _ => error.into(),
            })
        }
    }
}

/// The first of the addresses that answers, and what it gives.
async fn first_of<T, C: Future<Output = io::Result<T>> + Unpin>(
    addresses: &[IpAddr],
    longest: Option<Duration>,
    connect: impl Fn(IpAddr) -> C,
) -> io::Result<(IpAddr, T)> {
    let parts =
        |size: usize| u32::try_from(addresses.len().div_ceil(size).max(1)).unwrap_or(u32::MAX);
    let stagger = longest.map_or(STAGGER, |longest| STAGGER.min(longest / parts(1)));
    let part = longest.map(|longest| (longest / parts(AT_ONCE)).max(SHORTEST));
    let mut left = addresses.iter().copied();
    let mut trying: Vec<Pin<Box<_>>> = Vec::new();
    let mut failed: Option<io::Error> = None;
    let mut next = Instant::now();
    let mut beyond = None;
    loop {
        let is_due = trying.is_empty() || Instant::now() >= next;
        let permit = match trying.len() {
            ..OF_GATE => None,
            _ => beyond.take(),
        };
        if is_due
            && (trying.len() < OF_GATE || permit.is_some())
            && let Some(address) = left.next()
        {
            let attempt = connect(address);
            trying.push(Box::pin(async move {
                let _permit = permit;
                let made = match part {
                    Some(part) => timeout(part, attempt).await,
                    None => Ok(attempt.await),
                };
                (
                    address,
                    made.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())),
                )
            }));
            next = Instant::now() + stagger;
        }
        let trying_now = trying.len();
        if trying_now == 0 {
            return Err(failed.unwrap_or_else(|| ErrorKind::NotFound.into()));
        }
        let waits = left.len() > 0 && trying_now < AT_ONCE;
        let may_begin = async {
            sleep_until(next).await;
            match trying_now {
                ..OF_GATE => None,
                _ => BEYOND.acquire().await.ok(),
            }
        };
        let ended = tokio::select! {
            biased;
            ended = any(&mut trying) => ended,
            permit = may_begin, if waits => {
                beyond = permit;
                continue;
            }
        };
        match ended {
            (address, Ok(made)) => return Ok((address, made)),
            (_, Err(error)) => {
                next = Instant::now();
                failed = Some(match failed {
                    Some(known) if rank(&known) >= rank(&error) => known,
                    _ => error,
                });
            }
        }
    }
}

/// Which of several errors is told: what the machine lacks, then that there was no answer, as that is not tried again.
fn rank(error: &io::Error) -> u8 {
    match (error.raw_os_error(), error.kind()) {
        (Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS), _) => 2,
        (_, ErrorKind::TimedOut) => 1,
        _ => 0,
    }
}

/// Waits for the first that ends, and takes it out.
async fn any<F: Future>(trying: &mut Vec<Pin<Box<F>>>) -> F::Output {
    poll_fn(|context| {
        for place in 0..trying.len() {
            if let Poll::Ready(ended) = trying[place].as_mut().poll(context) {
                drop(trying.swap_remove(place));
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    const T: Duration = Duration::from_secs(1);

    /// What comes of addresses of which 1 is silent, 2 refuses, 3 answers, and 4 answers after 0.3 s, and how many were tried at once.
    fn come(addresses: &[u8], longest: Option<Duration>) -> (Result<u8, ErrorKind>, usize) {
        struct Open<'a>(&'a AtomicUsize);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let kind = |address: IpAddr| address.to_string().as_bytes()[0] - b'0';
        let connect = |address: IpAddr| {
            let (now, most) = (&now, &most);
            Box::pin(async move {
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                let _open = Open(now);
                match kind(address) {
                    1 => pending().await,
                    2 => Err(ErrorKind::ConnectionRefused.into()),
                    3 => Ok(()),
                    _ => {
                        tokio::time::sleep(Duration::from_millis(300)).await;
                        Ok(())
                    }
                }
            })
        };
        let addresses: Vec<IpAddr> = (addresses.iter())
            .map(|kind| IpAddr::from([*kind, 0, 0, 1]))
            .collect();
        let found = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(first_of(&addresses, longest, connect));
        let found = found.map(|(address, ())| kind(address));
        (found.map_err(|error| error.kind()), most.load(SeqCst))
    }

    #[test]
    fn addresses_in_turn() {
        assert_eq!(come(&[3, 3], Some(T)), (Ok(3), 1));
        assert_eq!(come(&[1, 3], Some(T)), (Ok(3), 2));
        assert_eq!(come(&[1, 3], None), (Ok(3), 2));
        assert_eq!(come(&[2, 2, 3], Some(T)), (Ok(3), 1));
        // Slow, and still the first to answer.
        assert_eq!(come(&[4, 1], Some(T)), (Ok(4), 2));
        assert_eq!(
            come(&[2, 2], Some(T)),
            (Err(ErrorKind::ConnectionRefused), 1)
        );
        assert_eq!(come(&[2, 1], Some(T)), (Err(ErrorKind::TimedOut), 1));
        assert_eq!(come(&[1, 1, 1, 3], Some(T)), (Ok(3), 4));
        // The part of one ends before the time does.
        assert_eq!(come(&[1, 1, 1, 1, 3], Some(T * 2)), (Ok(3), 4));
    }

    #[test]
    fn what_was_waited_for() {
        let said = |step: Step| TimedOut::new(T, &step).to_string();
        assert_eq!(said(Step::Nothing), "no connection within 1000 ms");
        let addresses = vec![IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 1, 1])];
        assert_eq!(
            said(Step::Addresses(addresses)),
            "no connection within 1000 ms; there was no answer of 10.0.0.1, 10.0.1.1"
        );
        assert_eq!(
            said(Step::Name("lambda.test".to_owned())),
            "no connection within 1000 ms; the name lambda.test was still looked up"
        );
    }
}
