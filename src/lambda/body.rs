//! The bytes of an answer as they come: no more than are expected, none before they fit into the [budget](super::budget), and no more than
//! there is memory for.
//!
//! The SDK would keep them as they come, then put them together, and ask nobody for memory. So a response is kept here, once, and the SDK
//! is told that it is empty. It has only what tells of an error, which is short.

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

/// How often an answer that the SDK has is in memory at most.
const COPIES: usize = 3;

/// Most pieces that an answer may come in, for each of which there is some work. A chunk may be one byte.
const MOST_PIECES: usize = 1 << 18;

/// For how many bytes more there is room at least, where it is not known how many come.
const STEP: usize = 8 << 10;

/// Why an answer is not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has more bytes than are expected.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// It comes in more pieces than are expected.
    #[error("the answer comes in more than {MOST_PIECES} pieces")]
    TooManyPieces,
    /// There is no memory for what it has.
    #[error("there is no memory for an answer of {0} bytes")]
    NoMemory(usize),
}

/// What is kept of one answer.
#[derive(Debug)]
pub struct Kept {
    /// Where it is counted.
    pub room: Room,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// How long it has waited to be read, and since when it does so now.
    waited: Duration,
    since: Option<Instant>,
}

impl Kept {
    /// Nothing so far.
    pub fn new(room: Room) -> Kept {
        Kept {
            room,
            state: Mutex::default(),
        }
    }

    /// The response. There is none afterwards.
    pub fn take(&self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.state().bytes);
        bytes.shrink_to_fit();
        bytes
    }

    /// How long it has waited to be read.
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

/// Has what is kept.
pub trait Keeps: Send + Sync + 'static {
    /// What is kept of this answer.
    fn kept(&self) -> &Kept;
}

/// A body that is read so far.
pub struct Bounded<K> {
    all: SdkBody,
    most: usize,
    /// Whether it is a response, which is kept here.
    is_response: bool,
    /// Whether it has said how many bytes it has.
    is_known: bool,
    /// Bytes that it is known to have, and for which there is room.
    size: usize,
    room: usize,
    read: usize,
    pieces: usize,
    keeps: K,
}

impl<K: Keeps> Bounded<K> {
    /// One that has `length` bytes, if it says how many.
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

    /// Waits for room, and finds memory, for what is going to be read next.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        if self.size > self.most {
            return Poll::Ready(Err(Refused::TooLong(self.most)));
        }
        if memory::is_short() {
            return Poll::Ready(Err(Refused::NoMemory(self.size)));
        }
        let wanted = match self.is_known {
            true => self.size,
            // Half as much again each time, as a vector that grows.
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
            // They are there already.
            let copies = if self.is_response { 1 } else { COPIES };
            self.room = self.read;
            self.keeps.kept().room.share.set(copies * self.read);
            self.reserve(self.read)?;
        }
        if !self.is_response {
            return Ok(bytes);
        }
        self.keeps.kept().state().bytes.extend_from_slice(&bytes);
        // Those that came are part of what the connection reads into.
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
