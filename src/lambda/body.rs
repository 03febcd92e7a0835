//! The bytes of an answer as they come: no more than are expected, and no more than there is memory for.
//!
//! The SDK keeps them as they come, then puts them together, and then copies them, and asks nobody for memory. So what all answers on
//! their way are still going to take is claimed here, and has to be there as a whole.

use crate::memory;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

/// How often an answer is in memory at most.
const COPIES: usize = 3;

/// Most pieces that an answer may come in: each is kept with 32 bytes of its own, and a chunk may be one byte.
const MOST_PIECES: usize = 1 << 18;

/// After how many bytes it is looked anew whether there is memory: others take it too.
const LOOK_AGAIN: usize = 1 << 20;

/// Bytes that all answers on their way are still going to take.
static CLAIMED: AtomicUsize = AtomicUsize::new(0);

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

/// The bytes that one answer is still going to take. Dropped, it takes none.
#[derive(Debug, Default)]
pub struct Claim(AtomicUsize);

impl Claim {
    fn set(&self, bytes: usize) {
        let before = self.0.swap(bytes, Relaxed);
        CLAIMED.fetch_add(bytes, Relaxed);
        CLAIMED.fetch_sub(before, Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Tells of each new state of the claim.
pub trait Claims: Send + Sync + 'static {
    /// The claim of this answer.
    fn claim(&self) -> &Claim;
}

/// A body that is read so far.
pub struct Bounded<C> {
    all: SdkBody,
    most: usize,
    /// Bytes that it has, or is known to have.
    size: usize,
    read: usize,
    pieces: usize,
    looked: usize,
    claims: C,
}

impl<C: Claims> Bounded<C> {
    /// One that has `length` bytes, if it says how many.
    pub fn new(all: SdkBody, most: usize, length: Option<usize>, claims: C) -> Bounded<C> {
        Bounded {
            all,
            most,
            size: length.unwrap_or_default(),
            read: 0,
            pieces: 0,
            looked: 0,
            claims,
        }
    }

    fn take(&mut self, bytes: usize) -> Result<(), Refused> {
        let is_first = self.read == 0;
        self.read += bytes;
        self.size = self.size.max(self.read);
        self.pieces += 1;
        if self.size > self.most {
            return Err(Refused::TooLong(self.most));
        }
        if self.pieces > MOST_PIECES {
            return Err(Refused::TooManyPieces);
        }
        self.claims.claim().set(COPIES * self.size - self.read);
        // Small ones are not worth a system call.
        let looks = self.read >= self.looked + LOOK_AGAIN || is_first;
        if looks && self.size >= memory::BIG {
            self.looked = self.read;
            if !memory::is_there(CLAIMED.load(Relaxed)) {
                return Err(Refused::NoMemory(self.size));
            }
        }
        Ok(())
    }
}

impl<C: Claims + Unpin> Body for Bounded<C> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = ready!(Pin::new(&mut self.all).poll_frame(context));
        Poll::Ready(match next {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                Some(self.take(bytes).map(|()| frame).map_err(BoxError::from))
            }
            next => next,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.all.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.all.size_hint()
    }
}
