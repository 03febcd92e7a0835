//! Connections of HTTP/1.1 that are kept for later requests, all of a process's, and what serves each.
//!
//! One that was idle for some time is used no more: servers close what they have kept for long, and a request that meets that may have run.
//! None is kept for much longer either, and after a moment only few are. Who drives the runtime mostly sleeps by then, so [`sweep`] is called
//! from outside when it is time.
//!
//! A connection reads in a task of Tokio's. In one turn that may read 128 times, each time up to 400 kB, so an endpoint that sends heads
//! or the length of a chunk without an end kept the thread for seconds. Meanwhile nobody looked at signals, time-outs or other
//! connections. What is read of an answer in all is bounded in [`attempt_probe`](super::attempt_probe).

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

/// How long a connection may have been idle to be used. Lambda keeps them for longer.
pub const USED_WITHIN: Duration = Duration::from_secs(10);

/// How many are kept for so long, and how long the others.
const FEW: usize = 4;
const OTHERS: Duration = Duration::from_secs(1);

/// How often a connection may read or write in one turn, of the 128 times that Tokio allows a task.
const MOST: usize = 4;
const OF_TOKIO: usize = 128;

/// How often who wants a connection lets others have their turn, for one that is becoming free.
const TURNS: usize = 2;

/// Those that nobody uses, the most recently used last. The process's, as are the descriptors.
static IDLE: Mutex<Vec<Idle>> = Mutex::new(Vec::new());

/// Where a connection goes, and for whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// Connections of one owner are for no other.
    pub owner: u64,
    /// Whether TLS is spoken at the endpoint.
    pub is_secure: bool,
    /// Host and port.
    pub authority: Arc<str>,
}

struct Idle {
    place: Place,
    connection: Connection,
    since: Instant,
}

/// TCP, or TLS in it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// A connection. Dropped, it is broken off.
pub struct Connection {
    sender: SendRequest<SdkBody>,
    /// Its socket, open as long as the sender is not closed.
    socket: RawFd,
    serving: Serving,
}

/// What came of a request on a connection.
pub enum Sent {
    Answered(Response<Answer>),
    /// Not a byte of it was sent.
    Unsent(Request<SdkBody>, hyper::Error),
    /// It may have arrived.
    Lost(hyper::Error),
}

impl Connection {
    /// Speaks HTTP on what is connected.
    pub async fn new(
        stream: Box<dyn Stream>,
        socket: RawFd,
        runtime: &Handle,
    ) -> hyper::Result<Connection> {
        let (sender, serving) = Builder::new().handshake(TokioIo::new(stream)).await?;
        let serving = async { drop(serving.await) };
        let task = runtime.spawn(InTurns(Box::pin(serving))).abort_handle();
        Ok(Connection {
            sender,
            socket,
            serving: Serving {
                task,
                is_broken_off: true,
            },
        })
    }

    /// Sends a request. The connection is kept when all of the answer was read.
    pub async fn send(mut self, place: Place, request: Request<SdkBody>) -> Sent {
        match self.sender.try_send_request(request).await {
            Ok(answer) => Sent::Answered(answer.map(|body| Answer::new(body, place, self))),
            Err(mut error) => match error.take_message() {
                Some(request) => Sent::Unsent(request, error.into_error()),
                None => Sent::Lost(error.into_error()),
            },
        }
    }

    /// Whether the other end has closed it. Who serves it may not have had a turn since.
    fn is_closed(&self) -> bool {
        if self.sender.is_closed() {
            return true;
        }
        let mut socket = libc::pollfd {
            fd: self.socket,
            events: libc::POLLRDHUP,
            revents: 0,
        };
        // SAFETY: one descriptor. Another thread that drives the runtime may close it meanwhile, and another file may have its number. Then
        // the answer is wrong, and hyper gives the request back as it was.
        unsafe { libc::poll(&mut socket, 1, 0) != 0 }
    }

    /// Ends it as HTTP and TLS have it: what serves it does so without a sender. One whose request was answered before it was read is broken
    /// off, as its other end may never read the rest.
    fn close(mut self) {
        self.serving.is_broken_off = !self.sender.is_ready();
    }
}

/// What serves a connection.
struct Serving {
    task: AbortHandle,
    /// Whether the connection ends at once, whatever is on its way.
    is_broken_off: bool,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.is_broken_off {
            self.task.abort();
        }
    }
}

fn lock() -> MutexGuard<'static, Vec<Idle>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that is kept, if there is one.
pub async fn take(place: &Place) -> Option<Connection> {
    for turn in 0..=TURNS {
        let (found, becomes_free) = look_for(place);
        if found.is_some() || !becomes_free || turn == TURNS {
            return found;
        }
        tokio::task::yield_now().await;
    }
    None
}

/// The one that was used last, and else whether one is becoming free.
fn look_for(place: &Place) -> (Option<Connection>, bool) {
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
        if known.place != *place {
            continue;
        }
        if now - known.since > USED_WITHIN || known.connection.is_closed() {
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

fn keep(place: Place, connection: Connection) {
    if connection.sender.is_closed() {
        return;
    }
    let since = Instant::now();
    lock().push(Idle {
        place,
        connection,
        since,
    });
}

/// When [`sweep`] has something to do, if ever.
pub fn next_sweep() -> Option<Instant> {
    next_end(&lock(), |idle| idle.since)
}

/// Closes what has been idle for too long. The runtime has to have a turn then.
pub fn sweep() {
    let dead = take_ended(&mut lock(), Instant::now(), |idle| idle.since);
    dead.into_iter().for_each(|idle| idle.connection.close());
}

/// How long the one at a place is kept, of so many.
fn kept_for(place: usize, of: usize) -> Duration {
    match place + FEW < of {
        true => OTHERS,
        false => USED_WITHIN,
    }
}

fn next_end<T>(idle: &[T], since: impl Fn(&T) -> Instant) -> Option<Instant> {
    let ends =
        (idle.iter().enumerate()).map(|(place, known)| since(known) + kept_for(place, idle.len()));
    ends.min()
}

/// Takes out those that end by now.
fn take_ended<T>(idle: &mut Vec<T>, now: Instant, since: impl Fn(&T) -> Instant) -> Vec<T> {
    let of = idle.len();
    let all = std::mem::take(idle).into_iter().enumerate();
    let (ended, kept): (Vec<_>, Vec<_>) =
        all.partition(|(place, known)| since(known) + kept_for(*place, of) <= now);
    *idle = kept.into_iter().map(|(_, known)| known).collect();
    ended.into_iter().map(|(_, known)| known).collect()
}

/// Closes all that are kept for an owner.
pub fn close_all(owner: u64) {
    let mut idle = lock();
    let (dead, kept) = std::mem::take(&mut *idle)
        .into_iter()
        .partition::<Vec<_>, _>(|idle| idle.place.owner == owner);
    *idle = kept;
    drop(idle);
    dead.into_iter().for_each(|idle| idle.connection.close());
}

/// The body of an answer. Read to its end, it gives the connection back.
pub struct Answer {
    body: Incoming,
    from: Option<(Place, Connection)>,
}

impl Answer {
    fn new(body: Incoming, place: Place, connection: Connection) -> Answer {
        let from = Some((place, connection));
        let mut answer = Answer { body, from };
        answer.give_back_at_end();
        answer
    }

    fn give_back(&mut self) {
        if let Some((place, connection)) = self.from.take() {
            keep(place, connection);
        }
    }

    fn give_back_at_end(&mut self) {
        if self.body.is_end_stream() {
            self.give_back();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            None => self.give_back(),
            Some(Ok(_)) => self.give_back_at_end(),
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

/// A task that gives the thread back sooner than Tokio makes it.
struct InTurns(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Future for InTurns {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        for _ in MOST..OF_TOKIO {
            ready!(coop::poll_proceed(context)).made_progress();
        }
        self.0.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Reads that are always ready end in turns, between which others have theirs.
    #[test]
    fn a_flood_leaves_turns_to_others() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let reads = Arc::new(AtomicUsize::new(0));
            let counted = reads.clone();
            tokio::spawn(InTurns(Box::pin(async move {
                loop {
                    coop::consume_budget().await;
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            })));
            for turn in 1..=10 {
                tokio::task::yield_now().await;
                assert_eq!(reads.load(Ordering::Relaxed), turn * MOST);
            }
        });
    }

    /// A few are kept for long, and the others, those that were used longest ago, for a moment.
    #[test]
    fn what_is_kept() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut idle: Vec<Instant> = (0..6).map(at).collect();
        let mut ends = |now| {
            let ended = take_ended(&mut idle, now, |since| *since);
            (ended, next_end(&idle, |since| *since))
        };
        assert_eq!(ends(at(999)), (vec![], Some(at(1000))));
        assert_eq!(ends(at(1000)), (vec![at(0)], Some(at(1001))));
        assert_eq!(ends(at(1001)), (vec![at(1)], Some(at(10_002))));
        assert_eq!(ends(at(10_003)), (vec![at(2), at(3)], Some(at(10_004))));
        assert_eq!(ends(at(20_000)), (vec![at(4), at(5)], None));
    }
}
