//! How many attempts at invocations go out at once, and what has been counted of those of one scan.
//!
//! Lambda answers 429 where a function has no capacity left. Then half as many attempts are let out, and once so many
//! have succeeded one more, up to the limit. What waits here has not been sent. Scans for which a limit holds together share it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// Lets out so many attempts at once, and fewer after some were throttled.
pub struct Limit {
    permits: Semaphore,
    width: Mutex<Width>,
    most: f64,
}

/// The attempts of one scan.
pub struct Traffic {
    limit: Arc<Limit>,
    /// Counted since the scan began.
    pub counters: Counters,
}

/// Counts of one scan, from whichever thread.
#[derive(Debug, Default)]
pub struct Counters {
    /// Invocations begun and not yet ended, those that wait for their turn included.
    pub pending: AtomicUsize,
    /// Invocations that were sent: an attempt had its connection.
    pub sent: AtomicU64,
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
    /// Bytes of payload sent, each attempt counted that had its connection.
    pub bytes_out: AtomicU64,
    /// Bytes of payload received.
    pub bytes_in: AtomicU64,
}

struct Width {
    /// How many attempts should be let out.
    target: f64,
    /// How many are, or may be: the permits in being.
    issued: usize,
    /// Counts how often it was halved.
    cuts: u64,
}

impl Limit {
    /// Lets out so many attempts at once as long as none is throttled.
    pub fn new(most: usize) -> Arc<Limit> {
        Arc::new(Limit {
            permits: Semaphore::new(most),
            width: Mutex::new(Width {
                target: most as f64,
                issued: most,
                cuts: 0,
            }),
            most: most as f64,
        })
    }

    fn width(&self) -> MutexGuard<'_, Width> {
        self.width.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Traffic {
    /// That of a scan for which the limit holds.
    pub fn new(limit: Arc<Limit>) -> Arc<Traffic> {
        Arc::new(Traffic {
            limit,
            counters: Counters::default(),
        })
    }

    /// Tells the limit from others.
    pub fn limit(&self) -> usize {
        Arc::as_ptr(&self.limit) as usize
    }

    /// Waits until one more attempt may go out. One that is `held_up` goes out beside others that the limit has let out and whose functions
    /// have ended.
    pub async fn admit(self: &Arc<Self>, held_up: impl Future<Output = ()>) -> Attempt {
        tokio::select! {
            biased;
            permit = self.limit.permits.acquire() => if let Ok(permit) = permit {
                permit.forget();
            },
            () = held_up => self.limit.width().issued += 1,
        }
        Attempt {
            cuts: self.limit.width().cuts,
            traffic: self.clone(),
            has_begun: false,
        }
    }
}

/// An attempt that was let out. Dropped, it makes room for another.
pub struct Attempt {
    traffic: Arc<Traffic>,
    cuts: u64,
    has_begun: bool,
}

impl Attempt {
    /// It is on its way.
    pub fn begin(&mut self) {
        self.has_begun = true;
        let counters = &self.traffic.counters;
        let now = counters.in_flight.fetch_add(1, Relaxed) + 1;
        counters.most_in_flight.fetch_max(now, Relaxed);
    }

    /// What is counted of the scan.
    pub fn counters(&self) -> &Counters {
        &self.traffic.counters
    }

    /// Lambda had no capacity. Of attempts that were out together only the first to say so counts.
    pub fn throttled(self) {
        self.traffic.counters.throttles.fetch_add(1, Relaxed);
        let limit = &self.traffic.limit;
        let mut width = limit.width();
        if width.cuts == self.cuts {
            width.target = (width.target / 2.0).max(1.0);
            width.cuts += 1;
            let too_many = width.issued.saturating_sub(width.target as usize);
            width.issued -= limit.permits.forget_permits(too_many);
        }
    }

    /// Lambda had capacity.
    pub fn succeeded(self) {
        let limit = &self.traffic.limit;
        let mut width = limit.width();
        width.target = (width.target + 1.0 / width.target).min(limit.most);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.has_begun {
            (self.traffic.counters.in_flight).fetch_sub(1, Relaxed);
        }
        let limit = &self.traffic.limit;
        let mut width = limit.width();
        let target = width.target as usize;
        // A permit that is given back goes to whoever waits, so one that is too many is not given back.
        if width.issued > target {
            width.issued -= 1;
        } else {
            limit.permits.add_permits(1 + target - width.issued);
            width.issued = target;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many more attempts are let out right now.
    fn room(traffic: &Arc<Traffic>) -> usize {
        traffic.limit.permits.available_permits()
    }

    fn traffic(most: usize) -> Arc<Traffic> {
        Traffic::new(Limit::new(most))
    }

    async fn admit(traffic: &Arc<Traffic>, count: usize) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for _ in 0..count {
            let mut attempt = traffic.admit(std::future::pending()).await;
            attempt.begin();
            attempts.push(attempt);
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
            let traffic = traffic(8);
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
            let traffic = traffic(4);
            let attempts = admit(&traffic, 4).await;
            let mut waiting: Vec<_> = (0..4)
                .map(|_| Box::pin(traffic.admit(std::future::pending())))
                .collect();
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
            let traffic = traffic(4);
            for _ in 0..10 {
                traffic.admit(std::future::pending()).await.throttled();
            }
            assert_eq!(room(&traffic), 1);
            for _ in 0..100 {
                traffic.admit(std::future::pending()).await.succeeded();
            }
            assert_eq!(room(&traffic), 4);
        });
    }

    #[test]
    fn what_is_dropped_makes_room() {
        run(async {
            let traffic = traffic(3);
            drop(admit(&traffic, 3).await);
            assert_eq!(room(&traffic), 3);
            assert_eq!(traffic.counters.in_flight.load(Relaxed), 0);
        });
    }

    #[test]
    fn room_shrinks_as_attempts_end() {
        run(async {
            let traffic = traffic(4);
            let mut attempts = admit(&traffic, 4).await;
            attempts.remove(0).throttled();
            assert_eq!(room(&traffic), 0);
            drop(attempts.remove(0));
            assert_eq!(room(&traffic), 0);
            drop(attempts.remove(0));
            assert_eq!(room(&traffic), 1);
        });
    }

    #[test]
    fn scans_share_a_limit_and_not_what_is_counted() {
        run(async {
            let limit = Limit::new(3);
            let [one, other] = [limit.clone(), limit].map(Traffic::new);
            let attempts = admit(&one, 2).await;
            let _more = admit(&other, 1).await;
            assert_eq!(room(&other), 0);
            attempts.into_iter().for_each(Attempt::throttled);
            assert_eq!(room(&other), 0);
            assert_eq!(one.counters.throttles.load(Relaxed), 2);
            assert_eq!(other.counters.throttles.load(Relaxed), 0);
            assert_eq!(one.counters.most_in_flight.load(Relaxed), 2);
        });
    }
}
