//! The body of an answer. It is bounded, and read only as far as it fits into the [budget](super::budget) and there is memory.
//!
//! The SDK would keep all pieces, copy them together, and abort without memory. So the bytes of a response are kept here, once, and the SDK
//! sees an empty body. The SDK reads the bodies of errors, which are short.

use super::budget::Room;
use crate::memory;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Most copies in memory of a body that the SDK reads.
const COPIES: usize = 3;

/// Most pieces of an answer. Each takes some work, and may be one byte.
const MOST_PIECES: usize = 1 << 18;

/// The least growth of the room for an answer of unknown length.
const STEP: usize = 8 << 10;

/// Why an answer is not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has more bytes than the bound.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// It comes in more pieces than the bound.
    #[error("the answer comes in more than {MOST_PIECES} pieces")]
    TooManyPieces,
    /// There is no memory for it.
    #[error("there is no memory for an answer of {0} bytes")]
    NoMemory(usize),
}

/// The bytes of one response.
#[derive(Debug)]
pub struct Kept {
    /// Counts the bytes in the budget.
    pub room: Room,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// How long the answer has waited for memory before, and since when it waits now.
    waited: Duration,
    since: Option<Instant>,
}

impl Kept {
    /// A response without a byte.
    pub fn new(room: Room) -> Kept {
        Kept {
            room,
            state: Mutex::default(),
        }
    }

    /// Takes the bytes.
    pub fn take(&self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.state().bytes);
        bytes.shrink_to_fit();
        bytes
    }

    /// How long the answer has waited for memory.
    pub fn waited(&self) -> Duration {
        let state = self.state();
        state.waited + state.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_room(&self, context: &mut Context<'_>, bytes: usize) -> Poll<()> {
        let room = &self.room;
        let polled = room.share.poll_set(context, bytes, room.limit);
        let mut state = self.state();
        match polled {
            Poll::Pending => {
                state.since.get_or_insert_with(Instant::now);
            }
            Poll::Ready(()) => {
                let since = state.since.take();
                state.waited += since.map_or(Duration::ZERO, |since| since.elapsed());
            }
        }
        polled
    }
}

/// Owns the bytes of a response.
pub trait Keeps: Send + Sync + 'static {
    /// The bytes of this response.
    fn kept(&self) -> &Kept;
}

/// A body with its bounds.
pub struct Bounded<K> {
    all: SdkBody,
    most: usize,
    /// Whether it is a response, whose bytes are kept here.
    is_response: bool,
    /// Whether the answer's head has its length.
    is_known: bool,
    /// Bytes that it has at least, and bytes that there is room for.
    size: usize,
    room: usize,
    read: usize,
    pieces: usize,
    keeps: K,
}

impl<K: Keeps> Bounded<K> {
    /// A body of `length` bytes, if its head has a length.
    pub fn new(
        all: SdkBody,
        most: usize,
        length: Option<usize>,
        is_response: bool,
        keeps: K,
    ) -> Bounded<K> {
        Bounded {
            all,
            most,
            is_response,
            is_known: length.is_some(),
            size: length.unwrap_or_default(),
            room: 0,
            read: 0,
            pieces: 0,
            keeps,
        }
    }

    /// Waits for room in the budget, and checks memory, for the next read.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        if self.size > self.most {
            return Poll::Ready(Err(Refused::TooLong(self.most)));
        }
        if memory::is_short() {
            return Poll::Ready(Err(Refused::NoMemory(self.size)));
        }
        let wanted = match self.is_known {
            true => self.size,
            // Grows by half each time.
            false => (self.read + STEP.max(self.read / 2)).min(self.most.max(self.read)),
        };
        if self.room < wanted && !self.all.is_end_stream() {
            let copies = if self.is_response { 1 } else { COPIES };
            ready!(self.keeps.kept().poll_room(context, copies * wanted));
            self.room = wanted;
            return Poll::Ready(self.reserve(wanted));
        }
        Poll::Ready(Ok(()))
    }

    fn reserve(&self, size: usize) -> Result<(), Refused> {
        let no_memory = Refused::NoMemory(size);
        if !self.is_response {
            let is_there = size < memory::LARGE || memory::is_available(COPIES * size);
            return is_there.then_some(()).ok_or(no_memory);
        }
        let mut state = self.keeps.kept().state();
        let more = size.saturating_sub(state.bytes.len());
        memory::try_reserve(&mut state.bytes, more).map_err(|()| no_memory)
    }

    fn take(&mut self, bytes: Bytes) -> Result<Bytes, Refused> {
        self.read += bytes.len();
        self.size = self.size.max(self.read);
        self.pieces += 1;
        if self.size > self.most {
            return Err(Refused::TooLong(self.most));
        }
        if self.pieces > MOST_PIECES {
            return Err(Refused::TooManyPieces);
        }
        if self.read > self.room {
            // These bytes are in memory already.
            let copies = if self.is_response { 1 } else { COPIES };
            self.room = self.read;
            self.keeps.kept().room.share.set(copies * self.read);
            self.reserve(self.read)?;
        }
        if !self.is_response {
            return Ok(bytes);
        }
        self.keeps.kept().state().bytes.extend_from_slice(&bytes);
        // The piece is a part of the connection's read buffer, which is freed with it.
        Ok(Bytes::new())
    }
}

impl<K: Keeps + Unpin> Body for Bounded<K> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Err(refused) = ready!(self.poll_ready(context)) {
            return Poll::Ready(Some(Err(refused.into())));
        }
        let next = ready!(Pin::new(&mut self.all).poll_frame(context));
        Poll::Ready(match next {
            Some(Ok(frame)) => Some(match frame.into_data() {
                Ok(bytes) => (self.take(bytes).map(Frame::data)).map_err(BoxError::from),
                Err(frame) => Ok(frame),
            }),
            next => next,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.all.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.is_response {
            true => SizeHint::default(),
            false => self.all.size_hint(),
        }
    }
}
