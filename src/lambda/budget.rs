//! The memory that payloads, outer rows that were read ahead, and responses of a statement may take together. What does not fit waits.
//!
//! A response is not read before its bytes fit, in the order of the invocations. One always is read: that which the executor waits for,
//! as what the others have is not given up before. It may not have been sent yet, while all that may be on their way wait here to be read;
//! then it goes out beside them. The executor waits for one thing at a time, so there is one such invocation in a process.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

/// How much a response says of what the next ones have: an eighth.
const PART_OF_MEAN: usize = 8;

/// So many bytes for all that shares it.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    used: AtomicUsize,
    /// What the next ones are expected to have: as much as the last payload and the last outer row, and the mean response.
    payload: AtomicUsize,
    row: AtomicUsize,
    response: AtomicUsize,
}

/// Who waits, and what for.
struct Desk {
    next: u64,
    /// The invocation that the executor waits for, and one that is read so that the former can be sent; 0 is none.
    awaited: u64,
    makes_way: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Invocations that wait for their turn, each with the limit that has none.
    at_limits: BTreeMap<u64, usize>,
}

struct Waiting {
    budget: *const Budget,
    /// What has let it out.
    limit: usize,
    waker: Waker,
}

// SAFETY: the pointer is compared, and never followed.
unsafe impl Send for Waiting {}

static DESK: Mutex<Desk> = Mutex::new(Desk {
    next: 1,
    awaited: 0,
    makes_way: 0,
    waiting: BTreeMap::new(),
    at_limits: BTreeMap::new(),
});

/// The one that is awaited, or who waits to be read, has changed.
static CHANGED: Notify = Notify::const_new();

fn desk() -> MutexGuard<'static, Desk> {
    DESK.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// Lets the first of those that wait for a budget look again.
    fn wake_first(&self, budget: *const Budget) {
        let first = (self.waiting.values()).find(|waiting| waiting.budget == budget);
        if let Some(first) = first {
            first.waker.wake_by_ref();
        }
    }

    fn wait_for(&mut self, number: u64) {
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
    /// One of so many bytes.
    pub fn new(most: usize) -> Arc<Budget> {
        Arc::new(Budget {
            most,
            used: AtomicUsize::new(0),
            payload: AtomicUsize::new(0),
            row: AtomicUsize::new(0),
            response: AtomicUsize::new(0),
        })
    }

    /// A share of it, of no bytes so far.
    pub fn share(self: &Arc<Budget>) -> Arc<Share> {
        let mut desk = desk();
        desk.next += 1;
        Arc::new(Share {
            budget: self.clone(),
            number: desk.next,
            bytes: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        })
    }

    /// A share of a payload that is about to be sent.
    pub fn payload(self: &Arc<Budget>, bytes: usize) -> Arc<Share> {
        self.payload.store(bytes, Relaxed);
        let share = self.share();
        share.set(bytes);
        share
    }

    /// A share of an outer row that was read ahead.
    pub fn row(self: &Arc<Budget>, bytes: usize) -> Arc<Share> {
        self.row.store(bytes, Relaxed);
        let share = self.share();
        share.set(bytes);
        share
    }

    /// A share of a response that is going to come.
    pub fn response(self: &Arc<Budget>) -> Arc<Share> {
        let share = self.share();
        share.set(self.response.load(Relaxed));
        share
    }

    /// Notes how many bytes a response has had.
    pub fn note(&self, bytes: usize) {
        let mean = self.response.load(Relaxed);
        let mean = match mean {
            0 => bytes,
            mean => mean - mean / PART_OF_MEAN + bytes / PART_OF_MEAN,
        };
        self.response.store(mean, Relaxed);
    }

    /// Whether one more invocation is expected to fit.
    pub fn has_room(&self) -> bool {
        self.fits(self.payload.load(Relaxed) + self.response.load(Relaxed))
    }

    /// The same of one more outer row, and an invocation for it.
    pub fn has_room_for_row(&self) -> bool {
        let row = self.row.load(Relaxed);
        self.fits(row + self.payload.load(Relaxed) + self.response.load(Relaxed))
    }

    fn fits(&self, bytes: usize) -> bool {
        self.used.load(Relaxed).saturating_add(bytes) <= self.most
    }
}

/// So many bytes of a budget, which are given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    /// In the order in which shares were made.
    number: u64,
    bytes: AtomicUsize,
    /// Set with the desk locked.
    is_over: AtomicBool,
}

impl Share {
    /// Takes so many bytes, whether or not they fit.
    pub fn set(&self, bytes: usize) {
        let before = self.bytes.swap(bytes, Relaxed);
        if bytes >= before {
            self.budget.used.fetch_add(bytes - before, Relaxed);
        } else {
            self.budget.used.fetch_sub(before - bytes, Relaxed);
            desk().wake_first(&*self.budget);
        }
    }

    /// Takes so many bytes once they fit. `limit` tells what has let the invocation out.
    pub fn poll_set(&self, context: &mut Context<'_>, bytes: usize, limit: usize) -> Poll<()> {
        let before = self.bytes.load(Relaxed);
        if bytes <= before {
            self.set(bytes);
            return Poll::Ready(());
        }
        let budget: *const Budget = &*self.budget;
        let mut desk = desk();
        let is_first =
            !(desk.waiting.range(..self.number)).any(|(_, waiting)| waiting.budget == budget);
        let is_alone = self.budget.used.load(Relaxed) == before;
        let fits = is_first && self.budget.fits(bytes - before);
        if fits || is_alone || [desk.awaited, desk.makes_way].contains(&self.number) {
            self.bytes.store(bytes, Relaxed);
            self.budget.used.fetch_add(bytes - before, Relaxed);
            let waited = desk.waiting.remove(&self.number);
            if waited.is_some() {
                desk.wake_first(budget);
            }
            // A waker may end a task, which has a share.
            drop(desk);
            drop(waited);
            return Poll::Ready(());
        }
        let waiting = Waiting {
            budget,
            limit,
            waker: context.waker().clone(),
        };
        let waited = desk.waiting.insert(self.number, waiting);
        drop(desk);
        if waited.is_none() {
            CHANGED.notify_waiters();
        }
        Poll::Pending
    }

    /// The executor waits for this invocation, and for nothing else.
    pub fn await_this(&self) {
        let mut desk = desk();
        if !self.is_over.load(Relaxed) {
            desk.wait_for(self.number);
        }
    }

    /// The executor waits for this invocation, or for others.
    pub fn await_this_too(&self) {
        let mut desk = desk();
        if desk.awaited == 0 && !self.is_over.load(Relaxed) {
            desk.wait_for(self.number);
        }
    }

    /// The invocation is over: nobody waits for it.
    pub fn is_over(&self) {
        let mut desk = desk();
        self.is_over.store(true, Relaxed);
        if desk.awaited == self.number {
            desk.awaited = 0;
        }
    }

    /// There is no descriptor for this invocation. If the executor waits for it, another is read, whose connection is then free.
    pub fn lacks_descriptor(&self) {
        let mut desk = desk();
        if desk.awaited == self.number
            && let Some((number, first)) = desk.waiting.first_key_value()
        {
            first.waker.wake_by_ref();
            desk.makes_way = *number;
        }
    }

    /// Returns once the executor waits for this invocation while others wait to be read, of all or of those that a limit has let out.
    pub async fn is_held_up(&self, limit: Option<usize>) {
        let _at_limit = limit.map(|limit| AtLimit::new(self.number, limit));
        loop {
            let mut changed = pin!(CHANGED.notified());
            changed.as_mut().enable();
            {
                let desk = desk();
                if desk.awaited == self.number
                    && (desk.waiting.values())
                        .any(|waiting| limit.is_none_or(|limit| limit == waiting.limit))
                {
                    return;
                }
            }
            changed.await;
        }
    }

    /// Returns once the executor waits for another invocation that this limit has no turn for. This one is to give its own up, as it may
    /// be kept from being sent by those that wait to be read.
    pub async fn is_in_the_way(&self, limit: usize) {
        loop {
            let mut changed = pin!(CHANGED.notified());
            changed.as_mut().enable();
            {
                let desk = desk();
                if desk.awaited != self.number && desk.at_limits.get(&desk.awaited) == Some(&limit)
                {
                    return;
                }
            }
            changed.await;
        }
    }

    /// Notes how many bytes the response has had.
    pub fn note(&self, bytes: usize) {
        self.budget.note(bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let budget: *const Budget = &*self.budget;
        self.budget.used.fetch_sub(*self.bytes.get_mut(), Relaxed);
        let mut desk = desk();
        if desk.awaited == self.number {
            desk.awaited = 0;
        }
        let waited = desk.waiting.remove(&self.number);
        desk.wake_first(budget);
        drop(desk);
        drop(waited);
    }
}

/// An invocation that waits for its turn, as long as it does.
struct AtLimit(u64);

impl AtLimit {
    fn new(number: u64, limit: usize) -> AtLimit {
        let mut desk = desk();
        desk.at_limits.insert(number, limit);
        if desk.awaited == number {
            CHANGED.notify_waiters();
        }
        AtLimit(number)
    }
}

impl Drop for AtLimit {
    fn drop(&mut self) {
        desk().at_limits.remove(&self.0);
    }
}

/// Where a response is counted.
#[derive(Debug, Clone)]
pub struct Room {
    /// Its bytes.
    pub share: Arc<Share>,
    /// What has let the invocation out.
    pub limit: usize,
}

impl Room {
    /// One that nobody else shares.
    #[cfg(test)]
    pub fn endless() -> Room {
        Room {
            share: Budget::new(usize::MAX).share(),
            limit: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(share: &Share, bytes: usize) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        share.poll_set(&mut context, bytes, 7).is_ready()
    }

    fn is_held_up(share: &Share, limit: Option<usize>) -> bool {
        let held_up = pin!(share.is_held_up(limit));
        held_up
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    /// One test, as the one that is awaited is the process's.
    #[test]
    fn what_does_not_fit_waits_but_for_the_one_that_is_awaited() {
        let budget = Budget::new(100);
        let shares: Vec<_> = (0..5).map(|_| budget.share()).collect();
        // One alone may have any number.
        assert!(poll(&shares[0], 200));
        shares[0].set(60);
        assert!(!poll(&shares[2], 50));
        // In order: a small one behind a large one waits.
        assert!(!poll(&shares[3], 10) && poll(&shares[1], 40));
        shares[1].set(0);
        assert!(!poll(&shares[2], 50) && !poll(&shares[3], 10));
        shares[4].await_this_too();
        shares[2].await_this_too();
        assert!(is_held_up(&shares[4], None) && is_held_up(&shares[4], Some(7)));
        assert!(!is_held_up(&shares[4], Some(8)) && !is_held_up(&shares[2], None));
        assert!(poll(&shares[4], 1000));
        shares[4].is_over();
        shares[2].await_this();
        assert!(poll(&shares[2], 50) && !poll(&shares[3], 10));

        // One that waits for its turn has those of its limit give theirs up, and nobody once it is over.
        let is_in_the_way = |share: &Share, limit| {
            pin!(share.is_in_the_way(limit))
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_ready()
        };
        let mut turn = Box::pin(shares[0].is_held_up(Some(8)));
        assert!((turn.as_mut().poll(&mut Context::from_waker(Waker::noop()))).is_pending());
        assert!(!is_in_the_way(&shares[1], 8));
        shares[0].await_this();
        assert!(is_in_the_way(&shares[1], 8) && !is_in_the_way(&shares[1], 7));
        assert!(!is_in_the_way(&shares[0], 8));
        drop(turn);
        assert!(!is_in_the_way(&shares[1], 8));
        shares[4].await_this();
        shares[0].await_this();
        assert_eq!(desk().awaited, shares[0].number);
        drop(shares);
        assert_eq!(budget.used.load(Relaxed), 0);
        assert!(desk().waiting.is_empty() && desk().awaited == 0);

        budget.note(80);
        assert!(budget.has_room());
        let payload = budget.payload(30);
        assert!(!budget.has_room());
        drop(payload);
        budget.note(0);
        assert!(budget.has_room() && !budget.row(10).budget.has_room_for_row());
    }
}
