//! The concurrency limit of attempts (AIMD: additive increase, multiplicative decrease), and the counters of one scan.
//!
//! Lambda answers 429 where a function has no capacity left. The limit is halved then. It grows by one once as many attempts as the limit have
//! succeeded. An attempt that waits here has not been sent. Scans may share a limit.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// A semaphore whose number of permits follows AIMD.
pub struct ConcurrencyLimit {
    permits: Semaphore,
    aimd: Mutex<AimdState>,
    most: f64,
}

/// The attempts of one scan.
pub struct Limiter {
    limit: Arc<ConcurrencyLimit>,
    /// Counts since the scan began.
    pub counters: Counters,
}

/// Counts of one scan, from any thread.
#[derive(Debug, Default)]
pub struct Counters {
    /// Invocations that were started and have not ended, including those that wait for a permit.
    pub unfinished: AtomicUsize,
    /// Invocations that were sent: an attempt had a connection.
    pub sent: AtomicU64,
    /// Rows of invocations that were sent.
    pub rows: AtomicU64,
    /// Invocations that ended without a result, or with an error of the function.
    pub failed: AtomicU64,
    /// Attempts after the first ones.
    pub retries: AtomicU64,
    /// Answers with HTTP status 429.
    pub throttles: AtomicU64,
    /// Attempts in flight.
    pub in_flight: AtomicUsize,
    /// Most attempts in flight at once.
    pub most_in_flight: AtomicUsize,
    /// Bytes of payload sent, in all attempts that had a connection.
    pub bytes_out: AtomicU64,
    /// Bytes of payload received.
    pub bytes_in: AtomicU64,
}

struct AimdState {
    /// How many permits there should be.
    target: f64,
    /// How many permits there are, taken or free.
    issued: usize,
    /// How often the target was halved.
    halvings: u64,
}

impl ConcurrencyLimit {
    /// A limit of `most` attempts.
    pub fn new(most: usize) -> Arc<ConcurrencyLimit> {
        Arc::new(ConcurrencyLimit {
            permits: Semaphore::new(most),
            aimd: Mutex::new(AimdState {
                target: most as f64,
                issued: most,
                halvings: 0,
            }),
            most: most as f64,
        })
    }

    fn aimd(&self) -> MutexGuard<'_, AimdState> {
        self.aimd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limiter {
    /// The limiter of one scan.
    pub fn new(limit: Arc<ConcurrencyLimit>) -> Arc<Limiter> {
        Arc::new(Limiter {
            limit,
            counters: Counters::default(),
        })
    }

    /// Identifies the limit.
    pub fn limit(&self) -> usize {
        Arc::as_ptr(&self.limit) as usize
    }

    /// Waits for a permit, or for `bypass`: then the attempt goes out beyond the limit, beside others whose functions have ended.
    pub async fn acquire(self: &Arc<Self>, bypass: impl Future<Output = ()>) -> Attempt {
        tokio::select! {
            biased;
            permit = self.limit.permits.acquire() => if let Ok(permit) = permit {
                permit.forget();
            },
            () = bypass => self.limit.aimd().issued += 1,
        }
        Attempt {
            halvings: self.limit.aimd().halvings,
            limiter: self.clone(),
            has_begun: false,
        }
    }
}

/// A permit. It is given back when it is dropped.
pub struct Attempt {
    limiter: Arc<Limiter>,
    halvings: u64,
    has_begun: bool,
}

impl Attempt {
    /// Counts the attempt as in flight.
    pub fn begin(&mut self) {
        self.has_begun = true;
        let counters = &self.limiter.counters;
        let now = counters.in_flight.fetch_add(1, Relaxed) + 1;
        counters.most_in_flight.fetch_max(now, Relaxed);
    }

    /// The counters of the scan.
    pub fn counters(&self) -> &Counters {
        &self.limiter.counters
    }

    /// Lambda had no capacity. Attempts that were in flight together halve the target once.
    pub fn throttled(self) {
        self.limiter.counters.throttles.fetch_add(1, Relaxed);
        let limit = &self.limiter.limit;
        let mut aimd = limit.aimd();
        if aimd.halvings == self.halvings {
            aimd.target = (aimd.target / 2.0).max(1.0);
            aimd.halvings += 1;
            let too_many = aimd.issued.saturating_sub(aimd.target as usize);
            aimd.issued -= limit.permits.forget_permits(too_many);
        }
    }

    /// Lambda had capacity.
    pub fn succeeded(self) {
        let limit = &self.limiter.limit;
        let mut aimd = limit.aimd();
        aimd.target = (aimd.target + 1.0 / aimd.target).min(limit.most);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.has_begun {
            (self.limiter.counters.in_flight).fetch_sub(1, Relaxed);
        }
        let limit = &self.limiter.limit;
        let mut aimd = limit.aimd();
        let target = aimd.target as usize;
        // The semaphore hands a permit to a waiter at once, so a permit beyond the target is not given back.
        if aimd.issued > target {
            aimd.issued -= 1;
        } else {
            limit.permits.add_permits(1 + target - aimd.issued);
            aimd.issued = target;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::test_runtime::block_on;

    /// How many permits are free.
    fn free(limiter: &Arc<Limiter>) -> usize {
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

    #[test]
    fn attempts_throttled_together_halve_it_once() {
        block_on(async {
            let limiter = limiter(8);
            let attempts = acquire(&limiter, 8).await;
            assert_eq!(free(&limiter), 0);
            attempts.into_iter().for_each(Attempt::throttled);
            assert_eq!(free(&limiter), 4);
            acquire(&limiter, 2)
                .await
                .into_iter()
                .for_each(Attempt::throttled);
            assert_eq!(free(&limiter), 2);
            assert_eq!(limiter.counters.throttles.load(Relaxed), 10);
            assert_eq!(limiter.counters.most_in_flight.load(Relaxed), 8);
        });
    }

    #[test]
    fn permits_shrink_although_others_wait() {
        block_on(async {
            let limiter = limiter(4);
            let attempts = acquire(&limiter, 4).await;
            let mut waiting: Vec<_> = (0..4)
                .map(|_| Box::pin(limiter.acquire(std::future::pending())))
                .collect();
            for one in &mut waiting {
                assert!(poll(one).is_pending());
            }
            attempts.into_iter().for_each(Attempt::throttled);
            let mut acquired = Vec::new();
            for one in &mut waiting {
                if let std::task::Poll::Ready(attempt) = poll(one) {
                    acquired.push(attempt);
                }
            }
            assert_eq!(acquired.len(), 2);
        });
    }

    fn poll<T>(future: &mut std::pin::Pin<Box<impl Future<Output = T>>>) -> std::task::Poll<T> {
        future
            .as_mut()
            .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn the_limit_stays_above_zero_and_recovers() {
        block_on(async {
            let limiter = limiter(4);
            for _ in 0..10 {
                limiter.acquire(std::future::pending()).await.throttled();
            }
            assert_eq!(free(&limiter), 1);
            for _ in 0..100 {
                limiter.acquire(std::future::pending()).await.succeeded();
            }
            assert_eq!(free(&limiter), 4);
        });
    }

    #[test]
    fn a_dropped_attempt_gives_its_permit_back() {
        block_on(async {
            let limiter = limiter(3);
            drop(acquire(&limiter, 3).await);
            assert_eq!(free(&limiter), 3);
            assert_eq!(limiter.counters.in_flight.load(Relaxed), 0);
        });
    }

    #[test]
    fn permits_shrink_as_attempts_end() {
        block_on(async {
            let limiter = limiter(4);
            let mut attempts = acquire(&limiter, 4).await;
            attempts.remove(0).throttled();
            assert_eq!(free(&limiter), 0);
            drop(attempts.remove(0));
            assert_eq!(free(&limiter), 0);
            drop(attempts.remove(0));
            assert_eq!(free(&limiter), 1);
        });
    }

    #[test]
    fn scans_share_a_limit_and_no_counters() {
        block_on(async {
            let limit = ConcurrencyLimit::new(3);
            let [one, other] = [limit.clone(), limit].map(Limiter::new);
            let attempts = acquire(&one, 2).await;
            let _more = acquire(&other, 1).await;
            assert_eq!(free(&other), 0);
            attempts.into_iter().for_each(Attempt::throttled);
            assert_eq!(free(&other), 0);
            assert_eq!(one.counters.throttles.load(Relaxed), 2);
            assert_eq!(other.counters.throttles.load(Relaxed), 0);
            assert_eq!(one.counters.most_in_flight.load(Relaxed), 2);
        });
    }
}
