//! Tests of the rules of retries.

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
