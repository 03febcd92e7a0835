//! The pool of idle HTTP/1.1 connections of the process, and the task of each connection.
//!
//! A connection that has been idle for some time is not used: servers close idle connections, and a request on a connection that closes may
//! have run. Such a connection is closed, and after a moment only few idle ones are kept. Mostly nobody drives the runtime by then, so the
//! network thread calls [`sweep`] when it is time.
//!
//! Tokio lets a task read 128 times in one turn, each time up to 400 kB. An endpoint that sends heads or the length of a chunk without an end
//! would keep the thread for seconds, in which no signal, time-out or other connection is looked at. So the task of a connection has shorter
//! turns. [`attempt_probe`](super::attempt_probe) bounds what is read of an answer in all.

use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, coop};

/// Idle time after which a connection is not used. Lambda keeps connections for longer.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections are kept for [`IDLE_TIMEOUT`], and how long the others.
const MAX_LONG_IDLE: usize = 4;
const SHORT_IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a connection may read or write in one turn, and how often Tokio would let it.
const OPERATIONS_PER_TURN: usize = 4;
const TOKIO_BUDGET: usize = 128;

/// How many turns others have while a connection is about to become free.
const TURNS: usize = 2;

/// Idle connections, the most recently used last. One pool for the process, as the descriptors are.
static IDLE: Mutex<Vec<Idle>> = Mutex::new(Vec::new());

/// What the requests of one connection have in common.
#[derive(Clone, PartialEq, Eq)]
pub struct PoolKey {
    /// Connections are not shared between owners.
    pub owner: u64,
    /// Whether the endpoint speaks TLS.
    pub is_secure: bool,
    /// Host and port.
    pub authority: Arc<str>,
}

struct Idle {
    key: PoolKey,
    connection: Connection,
    since: Instant,
}

/// TCP, or TLS in it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// A connection. It is aborted when it is dropped.
pub struct Connection {
    sender: SendRequest<SdkBody>,
    /// The socket, which is open as long as the sender is not closed.
    socket: RawFd,
    task: ConnectionTask,
}

/// The result of a request on a connection.
pub enum SendResult {
    Answered(Response<PooledBody>),
    /// Not a byte of it was sent.
    Unsent(Request<SdkBody>, hyper::Error),
    /// The request may have arrived.
    Lost(hyper::Error),
}

impl Connection {
    /// Starts HTTP on a stream, with a task that serves it.
    pub async fn new(
        stream: Box<dyn Stream>,
        socket: RawFd,
        runtime: &Handle,
    ) -> hyper::Result<Connection> {
        let (sender, serving) = Builder::new().handshake(TokioIo::new(stream)).await?;
        let serving = async { drop(serving.await) };
        let handle = runtime.spawn(ShortTurns(Box::pin(serving))).abort_handle();
        Ok(Connection {
            sender,
            socket,
            task: ConnectionTask {
                handle,
                aborts_on_drop: true,
            },
        })
    }

    /// Sends a request. The connection returns to the pool when the whole answer was read.
    pub async fn send(mut self, key: PoolKey, request: Request<SdkBody>) -> SendResult {
        match self.sender.try_send_request(request).await {
            Ok(answer) => SendResult::Answered(answer.map(|body| PooledBody::new(body, key, self))),
            Err(mut error) => match error.take_message() {
                Some(request) => SendResult::Unsent(request, error.into_error()),
                None => SendResult::Lost(error.into_error()),
            },
        }
    }

    /// Whether the server has closed the connection. Its task may not have had a turn since.
    fn is_closed(&self) -> bool {
        if self.sender.is_closed() {
            return true;
        }
        let mut socket = libc::pollfd {
            fd: self.socket,
            events: libc::POLLRDHUP,
            revents: 0,
        };
        // SAFETY: one pollfd, on the stack. A thread that drives the runtime may close the descriptor meanwhile, and another file may have its
        // number. The result is wrong then, and hyper gives the request back unsent.
        unsafe { libc::poll(&mut socket, 1, 0) != 0 }
    }

    /// Closes the connection in an orderly way: its task does so without a sender. A connection whose request was answered before it was read
    /// is aborted, as the server may never read the rest.
    fn close(mut self) {
        self.task.aborts_on_drop = !self.sender.is_ready();
    }
}

/// The task that serves a connection.
struct ConnectionTask {
    handle: AbortHandle,
    /// Whether the connection ends at once, whatever is in flight.
    aborts_on_drop: bool,
}

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        if self.aborts_on_drop {
            self.handle.abort();
        }
    }
}

fn lock() -> MutexGuard<'static, Vec<Idle>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An idle connection, if there is one.
pub async fn take(key: &PoolKey) -> Option<Connection> {
    for turn in 0..=TURNS {
        let (found, becomes_free) = find(key);
        if found.is_some() || !becomes_free || turn == TURNS {
            return found;
        }
        tokio::task::yield_now().await;
    }
    None
}

/// The connection that was used last, or else whether one is about to become free.
fn find(key: &PoolKey) -> (Option<Connection>, bool) {
    let (mut dead, mut becomes_free) = (Vec::new(), false);
    let mut idle = lock();
    let now = Instant::now();
    let mut at = idle.len();
    let found = loop {
        if at == 0 {
            break None;
        }
        at -= 1;
        let known = &idle[at];
        if known.key != *key {
            continue;
        }
        if now - known.since > IDLE_TIMEOUT || known.connection.is_closed() {
            dead.push(idle.remove(at));
        } else if known.connection.sender.is_ready() {
            break Some(idle.remove(at).connection);
        } else {
            becomes_free = true;
        }
    };
    drop(idle);
    dead.into_iter().for_each(|idle| idle.connection.close());
    (found, becomes_free)
}

fn keep(key: PoolKey, connection: Connection) {
    if connection.sender.is_closed() {
        return;
    }
    let since = Instant::now();
    lock().push(Idle {
        key,
        connection,
        since,
    });
}

/// When [`sweep`] has a connection to close.
pub fn next_sweep() -> Option<Instant> {
    next_expiry(&lock(), |idle| idle.since)
}

/// Closes connections that have been idle for too long. Their tasks need a turn to do so.
pub fn sweep() {
    let dead = take_expired(&mut lock(), Instant::now(), |idle| idle.since);
    dead.into_iter().for_each(|idle| idle.connection.close());
}

/// How long the connection at a position of the pool is kept, of `count` connections.
fn idle_timeout(position: usize, count: usize) -> Duration {
    match position + MAX_LONG_IDLE < count {
        true => SHORT_IDLE_TIMEOUT,
        false => IDLE_TIMEOUT,
    }
}

fn next_expiry<T>(idle: &[T], since: impl Fn(&T) -> Instant) -> Option<Instant> {
    let ends = (idle.iter().enumerate())
        .map(|(position, known)| since(known) + idle_timeout(position, idle.len()));
    ends.min()
}

/// Removes the connections that have been idle for too long.
fn take_expired<T>(idle: &mut Vec<T>, now: Instant, since: impl Fn(&T) -> Instant) -> Vec<T> {
    let count = idle.len();
    let all = std::mem::take(idle).into_iter().enumerate();
    let (ended, kept): (Vec<_>, Vec<_>) =
        all.partition(|(position, known)| since(known) + idle_timeout(*position, count) <= now);
    *idle = kept.into_iter().map(|(_, known)| known).collect();
    ended.into_iter().map(|(_, known)| known).collect()
}

/// Closes all idle connections of an owner.
pub fn close_all(owner: u64) {
    let mut idle = lock();
    let (dead, kept) = std::mem::take(&mut *idle)
        .into_iter()
        .partition::<Vec<_>, _>(|idle| idle.key.owner == owner);
    *idle = kept;
    drop(idle);
    dead.into_iter().for_each(|idle| idle.connection.close());
}

/// The body of an answer. The connection returns to the pool when the body was read to its end.
pub struct PooledBody {
    body: Incoming,
    from: Option<(PoolKey, Connection)>,
}

impl PooledBody {
    fn new(body: Incoming, key: PoolKey, connection: Connection) -> PooledBody {
        let from = Some((key, connection));
        let mut answer = PooledBody { body, from };
        answer.return_at_end();
        answer
    }

    fn return_to_pool(&mut self) {
        if let Some((key, connection)) = self.from.take() {
            keep(key, connection);
        }
    }

    fn return_at_end(&mut self) {
        if self.body.is_end_stream() {
            self.return_to_pool();
        }
    }
}

impl Body for PooledBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            None => self.return_to_pool(),
            Some(Ok(_)) => self.return_at_end(),
            Some(Err(_)) => self.from = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A task that yields sooner than Tokio's budget makes it.
struct ShortTurns(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Future for ShortTurns {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        for _ in OPERATIONS_PER_TURN..TOKIO_BUDGET {
            ready!(coop::poll_proceed(context)).made_progress();
        }
        self.0.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::test_runtime::block_on;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Reads that are always ready yield to others.
    #[test]
    fn a_flood_leaves_turns_to_others() {
        block_on(async {
            let reads = Arc::new(AtomicUsize::new(0));
            let counted = reads.clone();
            tokio::spawn(ShortTurns(Box::pin(async move {
                loop {
                    coop::consume_budget().await;
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            })));
            for turn in 1..=10 {
                tokio::task::yield_now().await;
                assert_eq!(reads.load(Ordering::Relaxed), turn * OPERATIONS_PER_TURN);
            }
        });
    }

    /// A few connections are kept for long. The others, those that were used longest ago, are kept for a moment.
    #[test]
    fn idle_timeouts() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut idle: Vec<Instant> = (0..6).map(at).collect();
        let mut ends = |now| {
            let ended = take_expired(&mut idle, now, |since| *since);
            (ended, next_expiry(&idle, |since| *since))
        };
        assert_eq!(ends(at(999)), (vec![], Some(at(1000))));
        assert_eq!(ends(at(1000)), (vec![at(0)], Some(at(1001))));
        assert_eq!(ends(at(1001)), (vec![at(1)], Some(at(10_002))));
        assert_eq!(ends(at(10_003)), (vec![at(2), at(3)], Some(at(10_004))));
        assert_eq!(ends(at(20_000)), (vec![at(4), at(5)], None));
    }
}
