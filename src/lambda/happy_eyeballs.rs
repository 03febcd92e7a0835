//! Connects to a host by TCP. Addresses are tried in turn, the next one before the last one has failed ("Happy Eyeballs", RFC 8305).

use super::dns;
use aws_smithy_runtime_api::box_error::BoxError;
use socket2::{SockRef, TcpKeepalive};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};

/// Idle time after which TCP sends a keepalive probe. A function may run for half an hour, and a NAT forgets an idle connection sooner: AWS's
/// NAT gateway after 350 s.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);

/// Time between keepalive probes, of which ten are sent. Linux checks no sooner either whether an answered connection is idle again: after
/// 75 s by default.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Time after which the next address is tried as well ("Connection Attempt Delay", RFC 8305, 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Most addresses of a host that are tried at once. Each takes a file descriptor.
const MAX_PARALLEL: usize = 4;

/// Addresses that may be tried at once without a permit of [`EXTRA_ATTEMPTS`]: as many as `descriptor_limiter` counts for an attempt.
const PER_PERMIT: usize = 2;

/// Further addresses that may be tried at once, for all hosts together.
static EXTRA_ATTEMPTS: Semaphore = Semaphore::const_new(8);

/// Shortest time-out of an address where there are more addresses than [`MAX_PARALLEL`].
const MIN_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

/// How far a connection attempt got, for the message of a time-out.
#[derive(Default)]
pub struct ConnectProgress(Mutex<Stage>);

#[derive(Default, Clone)]
enum Stage {
    #[default]
    NotStarted,
    /// The resolver has not answered for this name.
    Resolving(String),
    /// None of these has answered.
    Connecting(Vec<SocketAddr>),
    /// This has not come, in words for a message.
    WaitingFor(&'static str),
}

impl ConnectProgress {
    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the answer that the attempt waits for, in words for the end of a sentence.
    pub fn set_waiting_for(&self, what: &'static str) {
        *self.lock() = Stage::WaitingFor(what);
    }
}

/// No connection was made in time.
#[derive(Debug)]
pub struct TimedOut {
    longest: Duration,
    while_waiting: String,
}

impl TimedOut {
    fn new(longest: Duration, stage: &Stage) -> TimedOut {
        let while_waiting = match stage {
            Stage::NotStarted => String::new(),
            Stage::Resolving(name) => format!("; the name {name} was still looked up"),
            Stage::Connecting(addresses) => {
                let addresses: Vec<String> = addresses
                    .iter()
                    .map(|address| address.ip().to_string())
                    .collect();
                format!("; there was no answer of {}", addresses.join(", "))
            }
            Stage::WaitingFor(what) => format!("; there was no {what}"),
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

/// Bounds the time of a connection attempt.
pub async fn within<T>(
    longest: Option<Duration>,
    progress: &ConnectProgress,
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

/// Connects to a host within `longest`.
pub async fn connect(
    host: &str,
    port: u16,
    longest: Option<Duration>,
    progress: &ConnectProgress,
) -> Result<TcpStream, BoxError> {
    *progress.lock() = Stage::Resolving(host.to_owned());
    let addresses = dns::lookup(host).await?;
    *progress.lock() = Stage::Connecting(addresses.clone());
    let connect = |mut address: SocketAddr| {
        address.set_port(port);
        Box::pin(TcpStream::connect(address))
    };
    match race(&addresses, longest, connect).await {
        Ok((address, made)) => {
            if addresses.first() != Some(&address) {
                dns::prefer(host, address);
            }
            made.set_nodelay(true)?;
            let keepalive = TcpKeepalive::new()
                .with_time(KEEPALIVE_TIME)
                .with_interval(KEEPALIVE_INTERVAL);
            SockRef::from(&made).set_tcp_keepalive(&keepalive)?;
            Ok(made)
        }
        Err(error) => {
            dns::forget(host);
            Err(match (error.kind(), longest) {
                // The time-out of an address, and not the system's, which takes minutes.
                (ErrorKind::TimedOut, Some(longest)) if error.raw_os_error().is_none() => {
                    TimedOut::new(longest, &progress.lock()).into()
                }
                _ => error.into(),
            })
        }
    }
}

/// The delay before the next of so many addresses is tried as well, and the time-out of one.
fn attempt_times(addresses: usize, longest: Option<Duration>) -> (Duration, Option<Duration>) {
    let rounds_of =
        |size: usize| u32::try_from(addresses.div_ceil(size).max(1)).unwrap_or(u32::MAX);
    (
        longest.map_or(ATTEMPT_DELAY, |longest| {
            ATTEMPT_DELAY.min(longest / rounds_of(1))
        }),
        longest.map(|longest| (longest / rounds_of(MAX_PARALLEL)).max(MIN_ATTEMPT_TIMEOUT)),
    )
}

async fn within_or_timed_out<T>(
    longest: Option<Duration>,
    attempt: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match longest {
        Some(longest) => {
            (timeout(longest, attempt).await).unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
        }
        None => attempt.await,
    }
}

/// The first address that can be connected to, and its connection.
async fn race<T, C: Future<Output = io::Result<T>> + Unpin>(
    addresses: &[SocketAddr],
    longest: Option<Duration>,
    connect: impl Fn(SocketAddr) -> C,
) -> io::Result<(SocketAddr, T)> {
    let (attempt_delay, attempt_timeout) = attempt_times(addresses.len(), longest);
    let mut left = addresses.iter().copied();
    let mut trying: Vec<Pin<Box<_>>> = Vec::new();
    let mut failed: Option<io::Error> = None;
    let mut next = Instant::now();
    let mut extra = None;
    loop {
        let is_due = trying.is_empty() || Instant::now() >= next;
        let permit = match trying.len() {
            ..PER_PERMIT => None,
            _ => extra.take(),
        };
        if is_due
            && (trying.len() < PER_PERMIT || permit.is_some())
            && let Some(address) = left.next()
        {
            let attempt = within_or_timed_out(attempt_timeout, connect(address));
            trying.push(Box::pin(async move {
                let _permit = permit;
                (address, attempt.await)
            }));
            next = Instant::now() + attempt_delay;
        }
        let trying_now = trying.len();
        if trying_now == 0 {
            return Err(failed.unwrap_or_else(|| ErrorKind::NotFound.into()));
        }
        let waits = left.len() > 0 && trying_now < MAX_PARALLEL;
        let may_begin = async {
            sleep_until(next).await;
            match trying_now {
                ..PER_PERMIT => None,
                _ => EXTRA_ATTEMPTS.acquire().await.ok(),
            }
        };
        let ended = tokio::select! {
            biased;
            ended = first_ready(&mut trying) => ended,
            permit = may_begin, if waits => {
                extra = permit;
                continue;
            }
        };
        match ended {
            (address, Ok(made)) => return Ok((address, made)),
            (_, Err(error)) => {
                next = Instant::now();
                failed = Some(match failed {
                    Some(known) if severity(&known) >= severity(&error) => known,
                    _ => error,
                });
            }
        }
    }
}

/// Which of several errors is reported: a shortage of the machine first, then a time-out, which is not tried again.
fn severity(error: &io::Error) -> u8 {
    match (error.raw_os_error(), error.kind()) {
        (Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS), _) => 2,
        (_, ErrorKind::TimedOut) => 1,
        _ => 0,
    }
}

/// Waits for the first attempt that ends, and removes it.
async fn first_ready<F: Future>(trying: &mut Vec<Pin<Box<F>>>) -> F::Output {
    poll_fn(|context| {
        for index in 0..trying.len() {
            if let Poll::Ready(ended) = trying[index].as_mut().poll(context) {
                drop(trying.swap_remove(index));
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
    use crate::lambda::test_runtime::block_on;
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    const T: Duration = Duration::from_secs(1);

    /// Connects to addresses of which 1 is silent, 2 refuses, 3 answers, and 4 answers after 0.3 s. Returns the result and how many were tried
    /// at once.
    fn come(addresses: &[u8], longest: Option<Duration>) -> (Result<u8, ErrorKind>, usize) {
        struct Open<'a>(&'a AtomicUsize);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let kind = |address: SocketAddr| address.to_string().as_bytes()[0] - b'0';
        let connect = |address: SocketAddr| {
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
        let addresses: Vec<SocketAddr> = (addresses.iter())
            .map(|kind| SocketAddr::from(([*kind, 0, 0, 1], 0)))
            .collect();
        let found = block_on(race(&addresses, longest, connect));
        let found = found.map(|(address, ())| kind(address));
        (found.map_err(|error| error.kind()), most.load(SeqCst))
    }

    #[test]
    fn addresses_are_tried_in_order() {
        assert_eq!(come(&[3, 3], Some(T)), (Ok(3), 1));
        assert_eq!(come(&[1, 3], Some(T)), (Ok(3), 2));
        assert_eq!(come(&[1, 3], None), (Ok(3), 2));
        assert_eq!(come(&[2, 2, 3], Some(T)), (Ok(3), 1));
        // The first answers late, and before the second.
        assert_eq!(come(&[4, 1], Some(T)), (Ok(4), 2));
        assert_eq!(
            come(&[2, 2], Some(T)),
            (Err(ErrorKind::ConnectionRefused), 1)
        );
        assert_eq!(come(&[2, 1], Some(T)), (Err(ErrorKind::TimedOut), 1));
        assert_eq!(come(&[1, 1, 1, 3], Some(T)), (Ok(3), 4));
        // The time-out of an address ends before that of all.
        assert_eq!(come(&[1, 1, 1, 1, 3], Some(T * 2)), (Ok(3), 4));
    }

    #[test]
    fn messages_of_time_outs() {
        let message = |stage: Stage| TimedOut::new(T, &stage).to_string();
        assert_eq!(message(Stage::NotStarted), "no connection within 1000 ms");
        let addresses = [[10, 0, 0, 1], [10, 0, 1, 1]].map(|ip| SocketAddr::from((ip, 0)));
        let addresses = addresses.to_vec();
        assert_eq!(
            message(Stage::Connecting(addresses)),
            "no connection within 1000 ms; there was no answer of 10.0.0.1, 10.0.1.1"
        );
        assert_eq!(
            message(Stage::Resolving("lambda.test".to_owned())),
            "no connection within 1000 ms; the name lambda.test was still looked up"
        );
    }
}
