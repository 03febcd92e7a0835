//! Whether an invocation that failed is tried again, and when. The rules are here and nowhere else.
//!
//! The function | Tried again | Pause before it
//! --- | --- | ---
//! was not sent, as this process or machine lacks what a connection takes | once another has ended, beside the bounds | short
//! did not run: throttled, or never connected | yes | a random part of 0.1 s, of twice as much each time, of 2 s at most
//! did not run, as Lambda is still preparing it | yes | half of 1 s and a random part of the other half, twice as much each time, 10 s at most
//! may have run: no answer in time, no whole one, or 5xx | with a durable execution name, as Lambda makes equal requests one by it | as the first
//! did not run, refused for the time that it was signed with | once, beside the bounds | none: it is signed with the endpoint's time
//! any other failure | no |
//!
//! `max_retries` bounds the further attempts of one invocation, and `retry_timeout_ms` the time in attempts and pauses before one.

use super::attempt_probe::{AttemptProbe, Reached};
use super::budget::{Room, Share};
use super::descriptor_limiter::DescriptorLimiter;
use super::limiter::{Attempt, Counters, Limiter};
use super::request::InvokeRequest;
use super::response::InvokeResponse;
use super::{RetryPolicy, Source};
use crate::error::{ApiFailure, Cause, Error};
use crate::memory;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Longest pause before a second attempt, and before any.
const REFUSED: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// The same where Lambda is still preparing the function, which takes seconds.
const NOT_READY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
/// The time for retries that these are meant for, which is the default. Where there is less, they are as much shorter.
const USUAL_RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// Pause before an attempt for which the process or the machine had no descriptor.
const SHORTAGE: Duration = Duration::from_millis(10);

/// Invokes once, and again as the rules say.
pub async fn invoke(
    source: &impl Source,
    request: &InvokeRequest,
    retry_policy: RetryPolicy,
    limiter: &Arc<Limiter>,
    descriptors: &Arc<DescriptorLimiter>,
    share: &Arc<Share>,
) -> Result<InvokeResponse, Error> {
    let mut retries = Retries::new(retry_policy, request.durable_execution_name.as_deref());
    let mut corrected = false;
    let is_sent = AtomicBool::new(false);
    let mut alone = false;
    loop {
        let held_up = share.is_held_up(Some(limiter.limit()));
        let mut attempt = limiter.acquire(held_up).await;
        let room = Room {
            share: share.clone(),
            limit: limiter.limit(),
        };
        let Some((result, took, others)) = once(
            source,
            request,
            retry_policy,
            &mut attempt,
            descriptors,
            room,
            &is_sent,
        )
        .await
        else {
            continue;
        };
        let failure = match result {
            Err(Error::Api(failure)) => failure,
            result => {
                attempt.succeeded();
                return result;
            }
        };
        match failure.cause {
            Cause::Throttled => attempt.throttled(),
            _ => drop(attempt),
        }
        // Nothing was sent, and others may give theirs back, or keep idle ones.
        if failure.cause.is_shortage() && (others || !std::mem::replace(&mut alone, true)) {
            share.lacks_descriptor();
            if !others {
                source.drop_others();
            }
            tokio::time::sleep(SHORTAGE).await;
            continue;
        }
        // The client has learned the time by now.
        if !failure.is_clock_skewed || std::mem::replace(&mut corrected, true) {
            let pause = retries.after(failure, took).map_err(|mut failure| {
                failure.add_missing_keys(source.no_keys());
                Error::Api(failure)
            })?;
            tokio::time::sleep(pause).await;
        }
        limiter.counters.retries.fetch_add(1, Relaxed);
    }
}

/// Makes an attempt, and tells how long it took, and whether there are others if there was no descriptor for it. `None` where another is to
/// have its turn.
async fn once(
    source: &impl Source,
    request: &InvokeRequest,
    retry_policy: RetryPolicy,
    attempt: &mut Attempt,
    descriptors: &Arc<DescriptorLimiter>,
    room: Room,
    is_sent: &AtomicBool,
) -> Option<(Result<InvokeResponse, Error>, Duration, bool)> {
    let (share, limit) = (room.share.clone(), room.limit);
    let probe = AttemptProbe::new(request.max_response, room);
    let held_up = share.is_held_up(None);
    let pass = tokio::select! {
        biased;
        pass = descriptors.acquire(&probe, || source.drop_others(), held_up) => pass,
        () = share.is_in_the_way(limit) => return None,
    };
    let client = match source.client(retry_policy).await {
        Ok(client) => client,
        Err(error) => {
            let others = is_shortage(&error) && pass.narrow();
            return Some((Err(error), Duration::ZERO, others));
        }
    };
    if memory::is_short() {
        return Some((Err(Error::MemoryIsShort), Duration::ZERO, false));
    }
    attempt.begin();
    let start = Instant::now();
    let sending = Sending {
        probe: probe.clone(),
        bytes: request.payload.as_ref().map_or(0, Bytes::len),
        counters: attempt.counters(),
        is_sent,
    };
    let timeout = retry_policy.request_timeout;
    let result = client.attempt(request, timeout, probe).await;
    drop(sending);
    let others = match &result {
        Err(error) if is_shortage(error) => pass.narrow(),
        _ => {
            pass.widen();
            false
        }
    };
    // Others wait for these. What became free finds its way back first, or each would make a connection of its own.
    drop(client);
    tokio::task::yield_now().await;
    drop(pass);
    Some((result, start.elapsed(), others))
}

fn is_shortage(error: &Error) -> bool {
    matches!(error, Error::Api(failure) if failure.cause.is_shortage())
}

/// Counts what was sent when an attempt ends, also where it is given up.
struct Sending<'a> {
    probe: AttemptProbe,
    bytes: usize,
    counters: &'a Counters,
    /// Whether an attempt at the invocation was counted.
    is_sent: &'a AtomicBool,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.probe.reached() != Reached::Connection {
            return;
        }
        (self.counters.bytes_out).fetch_add(self.bytes as u64, Relaxed);
        if !self.is_sent.swap(true, Relaxed) {
            self.counters.sent.fetch_add(1, Relaxed);
        }
    }
}

/// What a failure says of another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It did not run, and may soon.
    Refused,
    /// It did not run, and may in seconds.
    NotReady,
    /// It may have run.
    Unknown,
    /// Another attempt would end as this one.
    Final,
}

impl Kind {
    fn of(failure: &ApiFailure) -> Kind {
        let status = failure.answer.as_ref().map_or(0, |answer| answer.status);
        match failure.cause {
            Cause::Throttled | Cause::Connect => Kind::Refused,
            Cause::NotReady => Kind::NotReady,
            Cause::RequestTimeout | Cause::ConnectionLost | Cause::Service => Kind::Unknown,
            // That of something in between, which may have asked Lambda.
            Cause::BadAnswer if status >= 500 => Kind::Unknown,
            _ => Kind::Final,
        }
    }
}

/// The attempts at one invocation.
struct Retries<'a> {
    retry_policy: RetryPolicy,
    /// The name of its durable execution.
    name: Option<&'a str>,
    /// Attempts after the first.
    made: u32,
    /// Time in attempts and pauses.
    spent: Duration,
    /// The last failure of those after which the function may have run.
    unknown: Option<ApiFailure>,
}

impl<'a> Retries<'a> {
    fn new(retry_policy: RetryPolicy, name: Option<&'a str>) -> Retries<'a> {
        Retries {
            retry_policy,
            name,
            made: 0,
            spent: Duration::ZERO,
            unknown: None,
        }
    }

    /// The pause before the next attempt; what the invocation fails with where there is none.
    fn after(&mut self, failure: ApiFailure, took: Duration) -> Result<Duration, ApiFailure> {
        let kind = Kind::of(&failure);
        let may_repeat = match kind {
            Kind::Refused | Kind::NotReady => true,
            Kind::Unknown => self.name.is_some(),
            Kind::Final => false,
        };
        let pause = self.pause(kind);
        self.spent += took + pause;
        if !may_repeat
            || self.made == self.retry_policy.max_retries
            || self.spent > self.retry_policy.retry_timeout
        {
            return Err(self.give_up(failure));
        }
        if kind == Kind::Unknown {
            self.unknown = Some(failure);
        }
        self.made += 1;
        Ok(pause)
    }

    fn pause(&self, kind: Kind) -> Duration {
        let doubled =
            |[first, most]: [Duration; 2]| first.saturating_mul(1 << self.made.min(16)).min(most);
        let timeout = self.retry_policy.retry_timeout;
        match kind {
            Kind::NotReady => {
                let share = timeout.div_duration_f64(USUAL_RETRY_TIMEOUT).min(1.0);
                doubled(NOT_READY).mul_f64(share * (0.5 + fastrand::f64() / 2.0))
            }
            _ => doubled(REFUSED).mul_f64(fastrand::f64()),
        }
    }

    /// What is told in the end. If any attempt may have run the function, a last one that did not is not all there is to say.
    fn give_up(&mut self, last: ApiFailure) -> ApiFailure {
        let Some(name) = self.name else {
            return last;
        };
        let tells_all = last.cause.may_have_run() || last.cause == Cause::AlreadyStarted;
        let mut failure = match self.unknown.take() {
            Some(unknown) if !tells_all => ApiFailure {
                detail: format!(
                    "{} The last attempt: {}.",
                    unknown.detail,
                    last.message.trim_end_matches('.')
                ),
                ..unknown
            },
            _ => last,
        };
        failure.is_repeatable = true;
        let times = match self.made {
            0 => "once".to_owned(),
            made => format!("{} times", made + 1),
        };
        if failure.cause.may_have_run() {
            let told = format!(" It was tried {times} with durable execution name \"{name}\".");
            failure.detail.push_str(&told);
        }
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Answer;

    fn retry_policy(max_retries: u32, retry_timeout_ms: u64) -> RetryPolicy {
        RetryPolicy {
            request_timeout: Duration::from_secs(3),
            max_retries,
            retry_timeout: Duration::from_millis(retry_timeout_ms),
        }
    }

    fn failure(cause: Cause) -> ApiFailure {
        ApiFailure::new(cause, "It failed", "A fact.".to_owned())
    }

    fn answered(cause: Cause, status: u16) -> ApiFailure {
        let code = None;
        ApiFailure {
            answer: Some(Box::new(Answer {
                status,
                code,
                request_id: None,
            })),
            ..failure(cause)
        }
    }

    fn is_repeated(failure: ApiFailure, name: Option<&str>) -> bool {
        (Retries::new(retry_policy(1, 20_000), name))
            .after(failure, Duration::ZERO)
            .is_ok()
    }

    #[test]
    fn what_may_have_run_is_repeated_with_a_name_alone() {
        for cause in [Cause::Throttled, Cause::Connect, Cause::NotReady] {
            assert!(is_repeated(failure(cause), None), "{cause:?}");
            assert!(is_repeated(failure(cause), Some("n")), "{cause:?}");
        }
        for cause in [Cause::RequestTimeout, Cause::ConnectionLost, Cause::Service] {
            assert!(!is_repeated(failure(cause), None), "{cause:?}");
            assert!(is_repeated(failure(cause), Some("n")), "{cause:?}");
        }
        assert!(!is_repeated(answered(Cause::BadAnswer, 502), None));
        assert!(is_repeated(answered(Cause::BadAnswer, 502), Some("n")));
        assert!(!is_repeated(answered(Cause::BadAnswer, 302), Some("n")));
        for cause in [
            Cause::Configuration,
            Cause::Denied,
            Cause::AlreadyStarted,
            Cause::OutOfMemory,
        ] {
            assert!(!is_repeated(failure(cause), Some("n")), "{cause:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_are_in_proportion_to_the_time_for_them() {
        let pauses = |cause, retry_timeout_ms| -> Vec<f64> {
            let mut retries = Retries::new(retry_policy(100, retry_timeout_ms), None);
            std::iter::from_fn(|| retries.after(failure(cause), Duration::ZERO).ok())
                .map(|pause| pause.as_secs_f64())
                .collect()
        };
        for (retry_timeout_ms, share) in [(20_000, 1.0), (2_000, 0.1), (3_600_000, 1.0)] {
            let found = pauses(Cause::NotReady, retry_timeout_ms);
            assert!(found.len() >= 3, "{found:?}");
            for (number, pause) in found.iter().enumerate() {
                let most = (2_f64.powi(number.min(10) as i32)).min(10.0) * share;
                assert!((most / 2.0..=most).contains(pause), "{found:?}");
            }
            assert!(found.iter().sum::<f64>() <= retry_timeout_ms as f64 / 1000.0);
        }
        for (number, pause) in pauses(Cause::Throttled, 20_000).iter().enumerate() {
            assert!(*pause <= (0.1 * 2_f64.powi(number.min(10) as i32)).min(2.0));
        }
    }

    #[test]
    fn both_bounds_hold() {
        let mut retries = Retries::new(retry_policy(2, 20_000), None);
        let mut next = || retries.after(failure(Cause::Connect), Duration::ZERO);
        assert!(next().is_ok() && next().is_ok() && next().is_err());
        let mut retries = Retries::new(retry_policy(9, 1_000), None);
        let slow = Duration::from_millis(1_001);
        assert!(retries.after(failure(Cause::Connect), slow).is_err());
    }

    #[test]
    fn what_may_have_run_is_told_although_the_last_attempt_did_not() {
        let told = |last| {
            let mut retries = Retries::new(retry_policy(1, 20_000), Some("order-1"));
            let first = retries.after(failure(Cause::RequestTimeout), Duration::ZERO);
            assert!(first.is_ok());
            retries.after(failure(last), Duration::ZERO).unwrap_err()
        };
        for last in [Cause::Throttled, Cause::Denied, Cause::Connect] {
            let failure = told(last);
            assert_eq!(failure.cause, Cause::RequestTimeout);
            assert_eq!(
                failure.detail,
                "A fact. The last attempt: It failed. It was tried 2 times with durable execution name \"order-1\"."
            );
        }
        for last in [Cause::ConnectionLost, Cause::AlreadyStarted] {
            assert_eq!(told(last).cause, last);
        }
        let mut unnamed = Retries::new(retry_policy(1, 20_000), None);
        let alone = unnamed.after(failure(Cause::RequestTimeout), Duration::ZERO);
        assert_eq!(alone.unwrap_err(), failure(Cause::RequestTimeout));
    }
}
