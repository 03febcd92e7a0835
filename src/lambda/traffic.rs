//! How many attempts at invocations of one scan go out at once, and what has been counted of them.
//!
//! Lambda answers 429 where a function has no capacity left. Then half as many attempts are let out, and once so many
//! have succeeded one more, up to the scan's limit. What waits here has not been sent.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// The attempts of one scan.
pub struct Traffic {
    gate: Semaphore,
    width: Mutex<Width>,
    most: f64,
    /// Counted since the scan began.
    pub counters: Counters,
}

/// Counts of one scan, from whichever thread.
#[derive(Debug, Default)]
pub struct Counters {
    /// Invocations begun and not yet ended, those that wait for their turn included.
    pub pending: AtomicUsize,
    /// Invocations that ended without a result, or with an error of the function's.
    pub failed: AtomicU64,
    /// Attempts after the first ones.
    pub retries: AtomicU64,
    /// Answers with HTTP status 429.
    pub throttles: AtomicU64,
    /// Attempts on their way.
    pub in_flight: AtomicUsize,
    /// Most attempts on their way at once.
    pub most_in_flight: AtomicUsize,
    /// Bytes of payload sent, each attempt counted.
    pub bytes_out: AtomicU64,
    /// Bytes of payload received.
    pub bytes_in: AtomicU64,
    /// Bytes of payload received that wait to become rows.
    pub bytes_kept: AtomicU64,
}

struct Width {
    /// How many attempts should be let out.
    target: f64,
    /// How many are, or may be: the permits in being.
    issued: usize,
    /// Counts how often it was halved.
    cuts: u64,
}

impl Traffic {
    /// Lets out so many attempts at once as long as none is throttled.
    pub fn new(most: usize) -> Arc<Traffic> {
        Arc::new(Traffic {
            gate: Semaphore::new(most),
            width: Mutex::new(Width {
                target: most as f64,
                issued: most,
                cuts: 0,
            }),
            most: most as f64,
            counters: Counters::default(),
        })
    }

    /// Waits until one more attempt may go out.
    pub async fn admit(self: &Arc<Self>) -> Attempt {
        if let Ok(permit) = self.gate.acquire().await {
            permit.forget();
        }
        let now = self.counters.in_flight.fetch_add(1, Relaxed) + 1;
        self.counters.most_in_flight.fetch_max(now, Relaxed);
        Attempt {
            cuts: self.width().cuts,
            traffic: self.clone(),
        }
    }

    fn width(&self) -> MutexGuard<'_, Width> {
        self.width.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt that was let out. Dropped, it makes room for another.
pub struct Attempt {
    traffic: Arc<Traffic>,
    cuts: u64,
}

impl Attempt {
    /// Lambda had no capacity. Of attempts that were out together only the first to say so counts.
    pub fn throttled(self) {
        self.traffic.counters.throttles.fetch_add(1, Relaxed);
        let mut width = self.traffic.width();
        if width.cuts == self.cuts {
            width.target = (width.target / 2.0).max(1.0);
            width.cuts += 1;
            let too_many = width.issued.saturating_sub(width.target as usize);
            width.issued -= self.traffic.gate.forget_permits(too_many);
        }
    }

    /// Lambda had capacity.
    pub fn succeeded(self) {
        let mut width = self.traffic.width();
        width.target = (width.target + 1.0 / width.target).min(self.traffic.most);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let traffic = &self.traffic;
        traffic.counters.in_flight.fetch_sub(1, Relaxed);
        let mut width = traffic.width();
        let target = width.target as usize;
        // A permit that is given back goes to whoever waits, so one that is too many is not given back.
        if width.issued > target {
            width.issued -= 1;
        } else {
            traffic.gate.add_permits(1 + target - width.issued);
            width.issued = target;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many more attempts are let out right now.
    fn room(traffic: &Arc<Traffic>) -> usize {
        traffic.gate.available_permits()
    }

    async fn admit(traffic: &Arc<Traffic>, count: usize) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for _ in 0..count {
            attempts.push(traffic.admit().await);
        }
        attempts
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(test);
    }

    #[test]
    fn attempts_throttled_together_halve_it_once() {
        run(async {
            let traffic = Traffic::new(8);
            let attempts = admit(&traffic, 8).await;
            assert_eq!(room(&traffic), 0);
            attempts.into_iter().for_each(Attempt::throttled);
            assert_eq!(room(&traffic), 4);
            admit(&traffic, 2)
                .await
                .into_iter()
                .for_each(Attempt::throttled);
            assert_eq!(room(&traffic), 2);
            assert_eq!(traffic.counters.throttles.load(Relaxed), 10);
            assert_eq!(traffic.counters.most_in_flight.load(Relaxed), 8);
        });
    }

    #[test]
    fn room_shrinks_although_others_wait() {
        run(async {
            let traffic = Traffic::new(4);
            let attempts = admit(&traffic, 4).await;
            let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(traffic.admit())).collect();
            for one in &mut waiting {
                assert!(poll(one).is_pending());
            }
            attempts.into_iter().for_each(Attempt::throttled);
            let mut admitted = Vec::new();
            for one in &mut waiting {
                if let std::task::Poll::Ready(attempt) = poll(one) {
                    admitted.push(attempt);
                }
            }
            assert_eq!(admitted.len(), 2);
        });
    }

    fn poll<T>(future: &mut std::pin::Pin<Box<impl Future<Output = T>>>) -> std::task::Poll<T> {
        future
            .as_mut()
            .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn it_never_closes_and_recovers() {
        run(async {
            let traffic = Traffic::new(4);
            for _ in 0..10 {
                traffic.admit().await.throttled();
            }
            assert_eq!(room(&traffic), 1);
            for _ in 0..100 {
                traffic.admit().await.succeeded();
            }
            assert_eq!(room(&traffic), 4);
        });
    }

    #[test]
    fn what_is_dropped_makes_room() {
        run(async {
            let traffic = Traffic::new(3);
            drop(admit(&traffic, 3).await);
            assert_eq!(room(&traffic), 3);
            assert_eq!(traffic.counters.in_flight.load(Relaxed), 0);
        });
    }

    #[test]
    fn room_shrinks_as_attempts_end() {
        run(async {
            let traffic = Traffic::new(4);
            let mut attempts = admit(&traffic, 4).await;
            attempts.remove(0).throttled();
            assert_eq!(room(&traffic), 0);
            drop(attempts.remove(0));
            assert_eq!(room(&traffic), 0);
            drop(attempts.remove(0));
            assert_eq!(room(&traffic), 1);
        });
    }
}
