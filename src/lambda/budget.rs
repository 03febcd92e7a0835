//! The memory budget of a statement: payloads, prefetched outer rows and responses together. A response that does not fit is not read.
//!
//! Responses are read in the order of the invocations. The invocation that the executor waits for is always read: the memory of the others
//! is not freed before the executor has it. It may not even have been sent, while all invocations in flight wait here to be read. Then it is
//! sent in addition to them. The executor waits for one invocation at a time, so a process has one such invocation.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

/// One part in so many of the mean response is the last response.
const MEAN_WEIGHT: usize = 8;

/// A number of bytes that shares are taken of.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    used: AtomicUsize,
    /// The expected sizes of the next payload, outer row and response: those of the last payload, of a row like the last ones, and the
    /// mean response.
    payload: AtomicUsize,
    row: AtomicUsize,
    response: AtomicUsize,
}

/// The invocations that wait, of all budgets of the process.
struct Waiters {
    next: u64,
    /// The invocation that the executor waits for; 0 is none.
    awaited: u64,
    /// An invocation that is read beyond its budget, so that its descriptor becomes free for the awaited one; 0 is none.
    admitted: u64,
    /// Invocations whose responses wait to be read.
    waiting: BTreeMap<u64, Waiting>,
    /// Invocations that wait for a permit, each with its concurrency limit.
    at_limits: BTreeMap<u64, usize>,
}

struct Waiting {
    budget: *const Budget,
    /// The concurrency limit that it has a permit of.
    limit: usize,
    waker: Waker,
}

// SAFETY: the pointer is compared, and never followed.
unsafe impl Send for Waiting {}

static WAITERS: Mutex<Waiters> = Mutex::new(Waiters {
    next: 1,
    awaited: 0,
    admitted: 0,
    waiting: BTreeMap::new(),
    at_limits: BTreeMap::new(),
});

/// Notified when the awaited invocation changes, or the set of those that wait to be read.
static CHANGED: Notify = Notify::const_new();

fn waiters() -> MutexGuard<'static, Waiters> {
    WAITERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiters {
    /// Wakes the first invocation that waits for a budget.
    fn wake_first(&self, budget: *const Budget) {
        let first = (self.waiting.values()).find(|waiting| waiting.budget == budget);
        if let Some(first) = first {
            first.waker.wake_by_ref();
        }
    }

    fn set_awaited(&mut self, number: u64) {
        if self.awaited == number {
            return;
        }
        self.awaited = number;
        if let Some(waiting) = self.waiting.get(&number) {
            waiting.waker.wake_by_ref();
        }
        if !self.waiting.is_empty() || self.at_limits.contains_key(&number) {
            CHANGED.notify_waiters();
        }
    }
}

impl Budget {
    /// A budget of `most` bytes.
    pub fn new(most: usize) -> Arc<Budget> {
        Arc::new(Budget {
            most,
            used: AtomicUsize::new(0),
            payload: AtomicUsize::new(0),
            row: AtomicUsize::new(0),
            response: AtomicUsize::new(0),
        })
    }

    /// How many bytes it has.
    pub fn most(&self) -> usize {
        self.most
    }

    /// A share of no bytes.
    pub fn share(self: &Arc<Budget>) -> Arc<Share> {
        let mut waiters = waiters();
        waiters.next += 1;
        Arc::new(Share {
            budget: self.clone(),
            number: waiters.next,
            bytes: AtomicUsize::new(0),
            is_finished: AtomicBool::new(false),
        })
    }

    /// Notes the size of a payload that shares an invocation.
    pub fn note_payload(&self, bytes: usize) {
        self.payload.store(bytes, Relaxed);
    }

    /// A share of a payload that is about to be sent.
    pub fn payload(self: &Arc<Budget>, bytes: usize) -> Arc<Share> {
        self.payload.store(bytes, Relaxed);
        let share = self.share();
        share.set(bytes);
        share
    }

    /// Notes the size of a prefetched outer row.
    pub fn note_row(&self, bytes: usize) {
        self.row.store(bytes, Relaxed);
    }

    /// A share of a response to come, of the expected size.
    pub fn response(self: &Arc<Budget>) -> Arc<Share> {
        let share = self.share();
        share.set(self.response.load(Relaxed));
        share
    }

    /// Notes the size of a response, for the mean.
    pub fn note_response(&self, bytes: usize) {
        let mean = self.response.load(Relaxed);
        let mean = match mean {
            0 => bytes,
            mean => mean - mean / MEAN_WEIGHT + bytes / MEAN_WEIGHT,
        };
        self.response.store(mean, Relaxed);
    }

    /// Whether one more invocation is expected to fit.
    pub fn has_room(&self) -> bool {
        self.fits(self.payload.load(Relaxed) + self.response.load(Relaxed))
    }

    /// Whether one more outer row and its invocation are expected to fit.
    pub fn has_room_for_row(&self) -> bool {
        let row = self.row.load(Relaxed);
        self.fits(row + self.payload.load(Relaxed) + self.response.load(Relaxed))
    }

    fn fits(&self, bytes: usize) -> bool {
        self.used.load(Relaxed).saturating_add(bytes) <= self.most
    }
}

/// Bytes of a budget. They are given back when the share is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    /// Ascends in the order in which shares are made.
    number: u64,
    bytes: AtomicUsize,
    /// Set while the waiters are locked.
    is_finished: AtomicBool,
}

impl Share {
    /// Changes the size of the share, whether or not it fits.
    pub fn set(&self, bytes: usize) {
        let before = self.bytes.swap(bytes, Relaxed);
        if bytes >= before {
            self.budget.used.fetch_add(bytes - before, Relaxed);
        } else {
            self.budget.used.fetch_sub(before - bytes, Relaxed);
            waiters().wake_first(&*self.budget);
        }
    }

    /// The expected size of a response.
    pub fn expected(&self) -> usize {
        self.budget.response.load(Relaxed)
    }

    /// Makes it a share of so many responses of the expected size.
    pub fn expect(&self, responses: usize) {
        self.set(self.expected().saturating_mul(responses));
    }

    /// Changes the size of the share once it fits. `limit` is the concurrency limit that the invocation has a permit of.
    pub fn poll_set(&self, context: &mut Context<'_>, bytes: usize, limit: usize) -> Poll<()> {
        let before = self.bytes.load(Relaxed);
        if bytes <= before {
            self.set(bytes);
            return Poll::Ready(());
        }
        let budget: *const Budget = &*self.budget;
        let mut waiters = waiters();
        let is_first =
            !(waiters.waiting.range(..self.number)).any(|(_, waiting)| waiting.budget == budget);
        let is_alone = self.budget.used.load(Relaxed) == before;
        let fits = is_first && self.budget.fits(bytes - before);
        if fits || is_alone || [waiters.awaited, waiters.admitted].contains(&self.number) {
            self.bytes.store(bytes, Relaxed);
            self.budget.used.fetch_add(bytes - before, Relaxed);
            let waited = waiters.waiting.remove(&self.number);
            if waited.is_some() {
                waiters.wake_first(budget);
            }
            // To drop a waker may end a task, which drops a share, which locks the waiters.
            drop(waiters);
            drop(waited);
            return Poll::Ready(());
        }
        let waiting = Waiting {
            budget,
            limit,
            waker: context.waker().clone(),
        };
        let waited = waiters.waiting.insert(self.number, waiting);
        drop(waiters);
        if waited.is_none() {
            CHANGED.notify_waiters();
        }
        Poll::Pending
    }

    /// Notes that the executor waits for this invocation alone.
    pub fn set_awaited(&self) {
        let mut waiters = waiters();
        if !self.is_finished.load(Relaxed) {
            waiters.set_awaited(self.number);
        }
    }

    /// Notes that the executor waits for this invocation among others. The first of them counts.
    pub fn set_awaited_if_none(&self) {
        let mut waiters = waiters();
        if waiters.awaited == 0 && !self.is_finished.load(Relaxed) {
            waiters.set_awaited(self.number);
        }
    }

    /// Notes that the invocation has ended, so that nobody waits for it.
    pub fn set_finished(&self) {
        let mut waiters = waiters();
        self.is_finished.store(true, Relaxed);
        if waiters.awaited == self.number {
            waiters.awaited = 0;
        }
    }

    /// Notes that the invocation got no file descriptor. If the executor waits for it, another is read, which frees its connection.
    pub fn note_no_descriptor(&self) {
        let mut waiters = waiters();
        if waiters.awaited == self.number
            && let Some((number, first)) = waiters.waiting.first_key_value()
        {
            first.waker.wake_by_ref();
            waiters.admitted = *number;
        }
    }

    /// Returns once the executor waits for this invocation, while others wait to be read: any others, or others with a permit of `limit`.
    pub async fn until_it_blocks(&self, limit: Option<usize>) {
        let _at_limit = limit.map(|limit| AtLimit::new(self.number, limit));
        loop {
            let mut changed = pin!(CHANGED.notified());
            changed.as_mut().enable();
            {
                let waiters = waiters();
                if waiters.awaited == self.number
                    && (waiters.waiting.values())
                        .any(|waiting| limit.is_none_or(|limit| limit == waiting.limit))
                {
                    return;
                }
            }
            changed.await;
        }
    }

    /// Returns once the executor waits for another invocation, which waits for a permit of `limit`. This invocation has to give up its own
    /// permit: it may itself wait for a descriptor of those that wait to be read.
    pub async fn until_it_must_yield(&self, limit: usize) {
        loop {
            let mut changed = pin!(CHANGED.notified());
            changed.as_mut().enable();
            {
                let waiters = waiters();
                if waiters.awaited != self.number
                    && waiters.at_limits.get(&waiters.awaited) == Some(&limit)
                {
                    return;
                }
            }
            changed.await;
        }
    }

    /// Notes how many bytes the response has had.
    pub fn note_response(&self, bytes: usize) {
        self.budget.note_response(bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let budget: *const Budget = &*self.budget;
        self.budget.used.fetch_sub(*self.bytes.get_mut(), Relaxed);
        let mut waiters = waiters();
        if waiters.awaited == self.number {
            waiters.awaited = 0;
        }
        let waited = waiters.waiting.remove(&self.number);
        waiters.wake_first(budget);
        drop(waiters);
        drop(waited);
    }
}

/// Notes that an invocation waits for a permit of a concurrency limit, until it is dropped.
struct AtLimit(u64);

impl AtLimit {
    fn new(number: u64, limit: usize) -> AtLimit {
        let mut waiters = waiters();
        waiters.at_limits.insert(number, limit);
        if waiters.awaited == number {
            CHANGED.notify_waiters();
        }
        AtLimit(number)
    }
}

impl Drop for AtLimit {
    fn drop(&mut self) {
        waiters().at_limits.remove(&self.0);
    }
}

/// The share of a response, and the concurrency limit of its invocation.
#[derive(Debug, Clone)]
pub struct Room {
    /// Counts the bytes of the response.
    pub share: Arc<Share>,
    /// The limit that the invocation has a permit of.
    pub limit: usize,
}

impl Room {
    /// For a response that `share` counts, of an invocation with a permit of a limit.
    pub fn new(share: &Arc<Share>, limit: usize) -> Room {
        let share = share.clone();
        Room { share, limit }
    }

    /// Of a budget without a bound.
    #[cfg(test)]
    pub fn endless() -> Room {
        Room {
            share: Budget::new(usize::MAX).share(),
            limit: 0,
        }
    }
}

#[cfg(test)]
mod tests;
