//! How many connections all attempts of a backend may have, including idle ones. An attempt beyond that waits before it connects.
//!
//! A connection takes a file descriptor of the process, and PostgreSQL can't write its log without one. How many there may be is decided in
//! `backend/descriptors.rs`. The system may have fewer. If it had none for an attempt, the limit becomes the number of the other attempts that
//! were out, and grows by one once as many have succeeded.

use super::attempt_probe::AttemptProbe;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How often an attempt that waits counts connections again. Nothing notifies it when a connection closes.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Descriptors of an attempt that connects: two addresses are tried at once, or the name is looked up.
const PER_CONNECTING: usize = 2;

/// Limits attempts by file descriptors.
pub struct DescriptorLimiter {
    /// Most descriptors.
    most: AtomicUsize,
    /// How many connections there are, or more.
    connections: Box<dyn Fn() -> usize + Send + Sync>,
    /// Held by the first attempt that waits.
    queue: tokio::sync::Mutex<()>,
    attempts: Mutex<Attempts>,
    ended: Notify,
}

/// The limit after an attempt got no descriptor, and how many attempts have succeeded since.
#[derive(Clone, Copy)]
struct AimdLimit {
    most: usize,
    succeeded: usize,
}

/// The attempts that have a permit.
#[derive(Default)]
struct Attempts {
    next: u64,
    connecting: HashMap<u64, AttemptProbe>,
    connected: usize,
    aimd: Option<AimdLimit>,
}

impl Attempts {
    fn count(&self) -> usize {
        self.connecting.len() + self.connected
    }
}

impl DescriptorLimiter {
    /// A limiter for a single attempt, until [`set_most`](Self::set_most).
    pub fn new(connections: impl Fn() -> usize + Send + Sync + 'static) -> DescriptorLimiter {
        DescriptorLimiter {
            most: AtomicUsize::new(0),
            connections: Box::new(connections),
            queue: tokio::sync::Mutex::default(),
            attempts: Mutex::default(),
            ended: Notify::new(),
        }
    }

    /// Sets the number of descriptors.
    pub fn set_most(&self, most: usize) {
        self.most.store(most, Relaxed);
    }

    /// How many descriptors the present connections and `attempts` further attempts want.
    pub fn wanted(&self, attempts: usize) -> usize {
        ((self.connections)() + PER_CONNECTING * attempts).div_ceil(3) * 4
    }

    /// Waits for a permit, or for `bypass`: then the attempt goes out beside those that wait to be read. `drops_others` drops all clients that
    /// nobody uses but the attempt's own, and returns whether that is the only one left, which can use all idle connections.
    pub async fn acquire(
        self: &Arc<Self>,
        probe: &AttemptProbe,
        drops_others: impl Fn() -> bool,
        bypass: impl Future<Output = ()>,
    ) -> DescriptorPermit {
        tokio::select! {
            biased;
            () = self.wait_for_room(&drops_others) => (),
            () = bypass => drop(drops_others()),
        }
        let mut attempts = self.attempts();
        let number = attempts.next;
        attempts.next += 1;
        attempts.connecting.insert(number, probe.clone());
        DescriptorPermit {
            descriptors: self.clone(),
            number,
        }
    }

    async fn wait_for_room(&self, drops_others: impl Fn() -> bool) {
        let _turn = self.queue.lock().await;
        while !self.has_room(&drops_others) {
            drop(tokio::time::timeout(RETRY_INTERVAL, self.ended.notified()).await);
        }
    }

    fn has_room(&self, drops_others: impl Fn() -> bool) -> bool {
        let mut attempts = self.attempts();
        let most = self.most.load(Relaxed);
        // The rest is for connections that return to the pool a moment after another was made in their place.
        let usual = most / 4 * 3;
        let connections = (self.connections)();
        let with = |connecting: usize| connections + PER_CONNECTING * (connecting + 1);
        if attempts.count() > 0
            && attempts
                .aimd
                .is_some_and(|aimd| attempts.count() >= aimd.most)
        {
            return false;
        }
        if with(attempts.count()) <= usual {
            return true;
        }
        let before = attempts.connecting.len();
        attempts
            .connecting
            .retain(|_, probe| !probe.has_connection());
        attempts.connected += before - attempts.connecting.len();
        let connecting = attempts.connecting.len();
        let in_use = attempts.connected + connecting;
        drop(attempts);
        if in_use == 0 || with(connecting) <= usual {
            return true;
        }
        // An idle connection is used before another is made.
        let idle = connections.saturating_sub(in_use);
        drops_others() && (idle > most - usual || idle > 0 && with(connecting) <= most)
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A permit. It is given back when it is dropped.
pub struct DescriptorPermit {
    descriptors: Arc<DescriptorLimiter>,
    number: u64,
}

impl DescriptorPermit {
    /// The attempt got no descriptor. Returns whether other attempts are out, which may free theirs.
    pub fn note_shortage(&self) -> bool {
        let mut attempts = self.descriptors.attempts();
        let others = attempts.count() - 1;
        let most = attempts.aimd.map_or(others, |aimd| aimd.most.min(others));
        let most = most.max(1);
        attempts.aimd = Some(AimdLimit { most, succeeded: 0 });
        others > 0
    }

    /// The attempt got its descriptors.
    pub fn note_success(&self) {
        let mut attempts = self.descriptors.attempts();
        if let Some(aimd) = &mut attempts.aimd {
            aimd.succeeded += 1;
            if aimd.succeeded >= aimd.most {
                aimd.most += 1;
                aimd.succeeded = 0;
            }
        }
    }
}

impl Drop for DescriptorPermit {
    fn drop(&mut self) {
        let mut attempts = self.descriptors.attempts();
        if attempts.connecting.remove(&self.number).is_none() {
            attempts.connected -= 1;
        }
        drop(attempts);
        self.descriptors.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::test_runtime::block_on;
    use std::future::{pending, ready};
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    /// A limiter, and its number of connections.
    fn descriptors(most: usize) -> (Arc<DescriptorLimiter>, Arc<AtomicUsize>) {
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let descriptors = DescriptorLimiter::new(move || counted.load(Relaxed));
        descriptors.set_most(most);
        (Arc::new(descriptors), connections)
    }

    fn try_acquire(descriptors: &Arc<DescriptorLimiter>, alone: bool) -> Option<DescriptorPermit> {
        let probe = AttemptProbe::default();
        let acquired = pin!(descriptors.acquire(&probe, || alone, pending()));
        poll(acquired)
    }

    fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_connecting_attempt_takes_two_descriptors_and_leaves_a_reserve() {
        block_on(async {
            let (descriptors, _) = descriptors(16);
            let permits: Vec<DescriptorPermit> =
                std::iter::from_fn(|| try_acquire(&descriptors, false)).collect();
            assert_eq!(permits.len(), 6);
        });
    }

    #[test]
    fn one_attempt_always_goes_out() {
        block_on(async {
            let (descriptors, connections) = descriptors(0);
            connections.store(1000, Relaxed);
            let permit = try_acquire(&descriptors, false);
            assert!(permit.is_some() && try_acquire(&descriptors, false).is_none());
            drop(permit);
            assert!(try_acquire(&descriptors, false).is_some());
        });
    }

    #[test]
    fn idle_connections_count_unless_they_can_be_used() {
        block_on(async {
            let (descriptors, connections) = descriptors(16);
            let _permits = [(); 3].map(|()| try_acquire(&descriptors, false).unwrap());
            connections.store(7, Relaxed);
            assert!(try_acquire(&descriptors, false).is_none());
            let _more = try_acquire(&descriptors, true).unwrap();
            // No attempt beyond the descriptors, unless there are many idle connections.
            assert!(try_acquire(&descriptors, true).is_none());
            connections.store(9, Relaxed);
            assert!(try_acquire(&descriptors, false).is_none());
            assert!(try_acquire(&descriptors, true).is_some());
        });
    }

    #[test]
    fn fewer_go_out_after_there_was_no_descriptor_and_more_again() {
        block_on(async {
            let (descriptors, _) = descriptors(1000);
            let mut permits: Vec<DescriptorPermit> = (0..4)
                .filter_map(|_| try_acquire(&descriptors, false))
                .collect();
            let last = permits.pop().unwrap();
            assert!(last.note_shortage());
            drop(last);
            assert!(try_acquire(&descriptors, false).is_none());
            permits.iter().for_each(DescriptorPermit::note_success);
            permits.push(try_acquire(&descriptors, false).unwrap());
            assert!(try_acquire(&descriptors, false).is_none());
            permits.truncate(1);
            assert!(!permits[0].note_shortage());
            assert!(try_acquire(&descriptors, false).is_none());
            permits.clear();
            assert!(try_acquire(&descriptors, false).is_some());
        });
    }

    #[test]
    fn a_bypass_goes_beyond_the_limit() {
        block_on(async {
            let (descriptors, _) = descriptors(0);
            let _permit = try_acquire(&descriptors, false).unwrap();
            let probe = AttemptProbe::default();
            assert!(poll(pin!(descriptors.acquire(&probe, || false, ready(())))).is_some());
        });
    }

    #[test]
    fn an_end_lets_the_first_waiter_out() {
        block_on(async {
            let (descriptors, _) = descriptors(4);
            let permit = descriptors
                .acquire(&AttemptProbe::default(), || false, pending())
                .await;
            let probe = AttemptProbe::default();
            let mut first = pin!(descriptors.acquire(&probe, || false, pending()));
            let mut second = pin!(descriptors.acquire(&probe, || false, pending()));
            assert!(poll(first.as_mut()).is_none() && poll(second.as_mut()).is_none());
            drop(permit);
            assert!(poll(second.as_mut()).is_none());
            let permit = poll(first.as_mut());
            assert!(permit.is_some() && poll(second.as_mut()).is_none());
        });
    }
}
