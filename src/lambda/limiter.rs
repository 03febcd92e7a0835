//! How many attempts at invocations go out at once, and what has been counted of those of one scan.
//!
//! Lambda answers 429 where a function has no capacity left. Then half as many attempts are let out, and once so many
//! have succeeded one more, up to the limit. What waits here has not been sent. Scans for which a limit holds together share it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// Lets out so many attempts at once, and fewer after some were throttled.
pub struct ConcurrencyLimit {
    permits: Semaphore,
    width: Mutex<AimdState>,
    most: f64,
}

/// The attempts of one scan.
pub struct Limiter {
    limit: Arc<ConcurrencyLimit>,
    /// Counted since the scan began.
    pub counters: Counters,
}

/// Counts of one scan, from whichever thread.
#[derive(Debug, Default)]
pub struct Counters {
    /// Invocations begun and not yet ended, those that wait for their turn included.
    pub unfinished: AtomicUsize,
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

struct AimdState {
    /// How many attempts should be let out.
    target: f64,
    /// How many are, or may be: the permits in being.
    issued: usize,
    /// Counts how often it was halved.
    cuts: u64,
}

impl ConcurrencyLimit {
    /// Lets out so many attempts at once as long as none is throttled.
    pub fn new(most: usize) -> Arc<ConcurrencyLimit> {
        Arc::new(ConcurrencyLimit {
            permits: Semaphore::new(most),
            width: Mutex::new(AimdState {
                target: most as f64,
                issued: most,
                cuts: 0,
            }),
            most: most as f64,
        })
    }

    fn width(&self) -> MutexGuard<'_, AimdState> {
        self.width.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limiter {
    /// That of a scan for which the limit holds.
    pub fn new(limit: Arc<ConcurrencyLimit>) -> Arc<Limiter> {
        Arc::new(Limiter {
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
    pub async fn acquire(self: &Arc<Self>, held_up: impl Future<Output = ()>) -> Attempt {
        tokio::select! {
            biased;
            permit = self.limit.permits.acquire() => if let Ok(permit) = permit {
                permit.forget();
            },
            () = held_up => self.limit.width().issued += 1,
        }
        Attempt {
            cuts: self.limit.width().cuts,
            limiter: self.clone(),
            has_begun: false,
        }
    }
}

/// An attempt that was let out. Dropped, it makes room for another.
pub struct Attempt {
    limiter: Arc<Limiter>,
    cuts: u64,
    has_begun: bool,
}

impl Attempt {
    /// It is on its way.
    pub fn begin(&mut self) {
        self.has_begun = true;
        let counters = &self.limiter.counters;
        let now = counters.in_flight.fetch_add(1, Relaxed) + 1;
        counters.most_in_flight.fetch_max(now, Relaxed);
    }

    /// What is counted of the scan.
    pub fn counters(&self) -> &Counters {
        &self.limiter.counters
    }

    /// Lambda had no capacity. Of attempts that were out together only the first to say so counts.
    pub fn throttled(self) {
        self.limiter.counters.throttles.fetch_add(1, Relaxed);
        let limit = &self.limiter.limit;
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
        let limit = &self.limiter.limit;
        let mut width = limit.width();
        width.target = (width.target + 1.0 / width.target).min(limit.most);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.has_begun {
            (self.limiter.counters.in_flight).fetch_sub(1, Relaxed);
        }
        let limit = &self.limiter.limit;
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
    fn room(limiter: &Arc<Limiter>) -> usize {
        limiter.limit.permits.available_permits()
    }

    fn limiter(most: usize) -> Arc<Limiter> {
        Limiter::new(ConcurrencyLimit::new(most))
    }

    async fn acquire(limiter: &Arc<Limiter>, count: usize) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for _ in 0..count {
            let mut attempt = limiter.acquire(std::future::pending()).await;
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
            let limiter = limiter(8);
            let attempts = acquire(&limiter, 8).await;
            assert_eq!(room(&limiter), 0);
            attempts.into_iter().for_each(Attempt::throttled);
            assert_eq!(room(&limiter), 4);
            acquire(&limiter, 2)
                .await
                .into_iter()
                .for_each(Attempt::throttled);
            assert_eq!(room(&limiter), 2);
            assert_eq!(limiter.counters.throttles.load(Relaxed), 10);
            assert_eq!(limiter.counters.most_in_flight.load(Relaxed), 8);
        });
    }

    #[test]
    fn room_shrinks_although_others_wait() {
        run(async {
            let limiter = limiter(4);
            let attempts = acquire(&limiter, 4).await;
            let mut waiting: Vec<_> = (0..4)
                .map(|_| Box::pin(limiter.acquire(std::future::pending())))
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
            let limiter = limiter(4);
            for _ in 0..10 {
                limiter.acquire(std::future::pending()).await.throttled();
            }
            assert_eq!(room(&limiter), 1);
            for _ in 0..100 {
                limiter.acquire(std::future::pending()).await.succeeded();
            }
            assert_eq!(room(&limiter), 4);
        });
    }

    #[test]
    fn what_is_dropped_makes_room() {
        run(async {
            let limiter = limiter(3);
            drop(acquire(&limiter, 3).await);
            assert_eq!(room(&limiter), 3);
            assert_eq!(limiter.counters.in_flight.load(Relaxed), 0);
        });
    }

    #[test]
    fn room_shrinks_as_attempts_end() {
        run(async {
            let limiter = limiter(4);
            let mut attempts = acquire(&limiter, 4).await;
            attempts.remove(0).throttled();
            assert_eq!(room(&limiter), 0);
            drop(attempts.remove(0));
            assert_eq!(room(&limiter), 0);
            drop(attempts.remove(0));
            assert_eq!(room(&limiter), 1);
        });
    }

    #[test]
    fn scans_share_a_limit_and_not_what_is_counted() {
        run(async {
            let limit = ConcurrencyLimit::new(3);
            let [one, other] = [limit.clone(), limit].map(Limiter::new);
            let attempts = acquire(&one, 2).await;
            let _more = acquire(&other, 1).await;
            assert_eq!(room(&other), 0);
            attempts.into_iter().for_each(Attempt::throttled);
            assert_eq!(room(&other), 0);
            assert_eq!(one.counters.throttles.load(Relaxed), 2);
            assert_eq!(other.counters.throttles.load(Relaxed), 0);
            assert_eq!(one.counters.most_in_flight.load(Relaxed), 2);
        });
    }
}
