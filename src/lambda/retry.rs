//! Whether and when a failed request is tried again. All rules are in this file.
//!
//! The function | Tried again | Pause before it
//! --- | --- | ---
//! was not sent, as process or machine lacks a resource for the connection | once another attempt has ended, not counted by the bounds | short
//! did not run: throttled, or never connected | yes | a random part of 0.1 s, of twice as much each time, of 2 s at most
//! did not run, as Lambda is still preparing it | yes | half of 1 s and a random part of the other half, twice as much each time, 10 s at most
//! may have run: no answer in time, no complete answer, or 5xx | with a durable execution name, by which Lambda runs equal requests once; and where the request asks about functions, and runs none | as for throttling
//! did not run, refused for the time in its signature | once, not counted by the bounds | none: it is signed with the endpoint's time
//! any other failure | no |
//!
//! `max_retries` bounds the attempts after the first, and `retry_timeout_ms` the time of attempts and pauses before a further attempt.

use super::api_request::ApiRequest;
use super::attempt_probe::{AttemptProbe, Reached};
use super::budget::{Room, Share};
use super::descriptor_limiter::DescriptorLimiter;
use super::limiter::{Attempt, Counters, Limiter};
use super::response::InvokeResponse;
use super::{RetryPolicy, Source};
use crate::error::{ApiFailure, Cause, Error};
use crate::memory;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Longest pause before a second attempt, and before any attempt.
const REFUSED: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// Longest pauses while Lambda still prepares the function, which takes seconds.
const NOT_READY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
/// The default of `retry_timeout_ms`. With less time the pauses of [`NOT_READY`] are shorter in proportion.
const USUAL_RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// Pause after an attempt for which process or machine had no file descriptor.
const SHORTAGE: Duration = Duration::from_millis(10);

/// Makes a request, with further attempts as the rules allow.
pub async fn send(
    source: &impl Source,
    request: &ApiRequest,
    retry_policy: RetryPolicy,
    limiter: &Arc<Limiter>,
    descriptors: &Arc<DescriptorLimiter>,
    share: &Arc<Share>,
) -> Result<InvokeResponse, Error> {
    let mut retries = Retries {
        is_question: request.question().is_some(),
        ..Retries::new(retry_policy, request.durable_execution_name())
    };
    let mut corrected = false;
    let is_sent = AtomicBool::new(false);
    let mut has_dropped_others = false;
    loop {
        let limit = limiter.limit();
        let bypass = share.until_it_blocks(Some(limit));
        let mut attempt = limiter.acquire(bypass).await;
        let room = Room::new(share, limit);
        let policy = retry_policy;
        let once = attempt_once(
            source,
            request,
            policy,
            &mut attempt,
            descriptors,
            room,
            &is_sent,
        );
        let Some((result, took, has_others)) = once.await else {
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
        if failure.cause.is_shortage()
            && (has_others || !std::mem::replace(&mut has_dropped_others, true))
        {
            wait_for_descriptor(source, share, has_others).await;
            continue;
        }
        // The client knows the endpoint's time by now.
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

/// Nothing was sent. Other attempts may free their descriptors, or other clients have idle connections.
async fn wait_for_descriptor(source: &impl Source, share: &Share, has_others: bool) {
    share.note_no_descriptor();
    if !has_others {
        source.drop_others();
    }
    tokio::time::sleep(SHORTAGE).await;
}

/// Makes an attempt. Returns its result, its duration, and whether other attempts are out if it got no descriptor. `None` if it has to give
/// its permit to another invocation.
async fn attempt_once(
    source: &impl Source,
    request: &ApiRequest,
    retry_policy: RetryPolicy,
    attempt: &mut Attempt,
    descriptors: &Arc<DescriptorLimiter>,
    room: Room,
    is_sent: &AtomicBool,
) -> Option<(Result<InvokeResponse, Error>, Duration, bool)> {
    let (share, limit) = (room.share.clone(), room.limit);
    let probe = AttemptProbe::new(request.max_response(), room);
    let bypass = share.until_it_blocks(None);
    let permit = tokio::select! {
        biased;
        permit = descriptors.acquire(&probe, || source.drop_others(), bypass) => permit,
        () = share.until_it_must_yield(limit) => return None,
    };
    let client = match source.client(retry_policy).await {
        Ok(client) => client,
        Err(error) => {
            let has_others = is_shortage(&error) && permit.note_shortage();
            return Some((Err(error), Duration::ZERO, has_others));
        }
    };
    if memory::is_short() {
        return Some((Err(Error::MemoryIsShort), Duration::ZERO, false));
    }
    attempt.begin();
    let start = Instant::now();
    let sending = Sending {
        probe: probe.clone(),
        bytes: request.payload_bytes(),
        rows: request.rows(),
        counters: attempt.counters(),
        is_sent,
    };
    let timeout = retry_policy.request_timeout;
    let result = client.attempt(request, timeout, probe).await;
    drop(sending);
    let has_others = match &result {
        Err(error) if is_shortage(error) => permit.note_shortage(),
        _ => {
            permit.note_success();
            false
        }
    };
    // Others wait for the permit. The connection returns to the pool before, or each of them would make a new connection.
    drop(client);
    tokio::task::yield_now().await;
    drop(permit);
    Some((result, start.elapsed(), has_others))
}

fn is_shortage(error: &Error) -> bool {
    matches!(error, Error::Api(failure) if failure.cause.is_shortage())
}

/// Counts what was sent when it is dropped: an attempt that is aborted counts too.
struct Sending<'a> {
    probe: AttemptProbe,
    bytes: usize,
    rows: usize,
    counters: &'a Counters,
    /// Whether the invocation is counted as sent.
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
            (self.counters.rows).fetch_add(self.rows as u64, Relaxed);
        }
    }
}

/// What a failure means for another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The function did not run, and may run soon.
    Refused,
    /// The function did not run, and may run in seconds.
    NotReady,
    /// The function may have run.
    Unknown,
    /// Another attempt would fail as well.
    Final,
}

impl Kind {
    fn of(failure: &ApiFailure) -> Kind {
        let status = failure.answer.as_ref().map_or(0, |answer| answer.status);
        match failure.cause {
            Cause::Throttled | Cause::Connect => Kind::Refused,
            Cause::NotReady => Kind::NotReady,
            Cause::RequestTimeout | Cause::ConnectionLost | Cause::Service => Kind::Unknown,
            // From a gateway, which may have invoked the function.
            Cause::BadAnswer if status >= 500 => Kind::Unknown,
            _ => Kind::Final,
        }
    }
}

/// The attempts at one invocation.
struct Retries<'a> {
    retry_policy: RetryPolicy,
    /// The durable execution name.
    name: Option<&'a str>,
    /// Whether the request is a question, which has no effect.
    is_question: bool,
    /// Attempts after the first.
    made: u32,
    /// Time of attempts and pauses.
    spent: Duration,
    /// The last failure after which the function may have run.
    unknown: Option<ApiFailure>,
}

impl<'a> Retries<'a> {
    fn new(retry_policy: RetryPolicy, name: Option<&'a str>) -> Retries<'a> {
        Retries {
            retry_policy,
            name,
            is_question: false,
            made: 0,
            spent: Duration::ZERO,
            unknown: None,
        }
    }

    /// The pause before the next attempt, or the failure of the invocation if there is none.
    fn after(&mut self, failure: ApiFailure, took: Duration) -> Result<Duration, ApiFailure> {
        let kind = Kind::of(&failure);
        let may_repeat = match kind {
            Kind::Refused | Kind::NotReady => true,
            Kind::Unknown => self.is_question || self.name.is_some(),
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

    /// The failure of the invocation. If an attempt may have run the function, and the last one did not, the error has both.
    fn give_up(&mut self, last: ApiFailure) -> ApiFailure {
        let Some(name) = self.name else {
            return last;
        };
        let is_complete = last.cause.may_have_run() || last.cause == Cause::AlreadyStarted;
        let mut failure = match self.unknown.take() {
            Some(unknown) if !is_complete => ApiFailure {
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
            let tries = format!(" It was tried {times} with durable execution name \"{name}\".");
            failure.detail.push_str(&tries);
        }
        failure
    }
}

#[cfg(test)]
mod tests;
