//! Failures of invocations, made of the SDK's errors: the cause, the texts, and so whether the function may have run.

use super::attempt_probe::Reached;
use super::body::Refused;
use super::error_chain::{find, first_line, root_sentence};
use super::error_code::cause_of;
use super::error_response::{ErrorResponse, is_skewed};
use super::network_failure::{LONGEST_REASON, NetworkFailure, not_connected, shortage};
use super::provider_chain::NoCredentials;
use super::route::Route;
use super::secrets::Secrets;
use crate::error::{Answer, ApiFailure, Cause, quotable, shortened};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use std::error::Error as StdError;
use std::time::Duration;

type Error<E> = SdkError<E, HttpResponse>;

/// The SDK's error of an operation.
pub trait OperationError: StdError + ProvideErrorMetadata + 'static {}

impl<E: StdError + ProvideErrorMetadata + 'static> OperationError for E {}

/// The failure that the SDK reports. `reached` tells how far the request got, `route` where it went, and `signed_at` the time of its
/// signature. Texts from outside may have the `secrets` in them.
pub fn from_sdk<E: OperationError>(
    error: &Error<E>,
    reached: Reached,
    route: Option<&Route>,
    signed_at: Option<&str>,
    secrets: &Secrets,
) -> ApiFailure {
    if let SdkError::ServiceError(service) = error {
        let response = ErrorResponse::new(service.raw(), service.err().meta());
        return answered(&response, signed_at, route, secrets);
    }
    if reached != Reached::Connection
        && let Some((cause, message, hint)) = shortage(error)
    {
        return ApiFailure {
            hint: hint.map(Into::into),
            ..ApiFailure::new(cause, message, connecting(error, route, secrets))
        };
    }
    if let Some(problem) = find::<NoCredentials>(error) {
        return match &problem.network {
            Some(network) => (network.without_retry()).while_doing(&problem.detail, secrets),
            None => no_credentials(problem, secrets),
        };
    }
    if let Some(network) = NetworkFailure::find(error) {
        let action = match route {
            Some(route) => format!("Connecting to {}", route.endpoint()),
            None => "Connecting".to_owned(),
        };
        return network.while_doing(&action, secrets);
    }
    let is_timeout = matches!(error, SdkError::DispatchFailure(dispatch) if dispatch.is_timeout());
    let is_dispatch = matches!(error, SdkError::DispatchFailure(_));
    let reason = root_sentence(error, secrets);
    let detail = match route {
        Some(route) if reached == Reached::Connection => {
            format!("{reason} It was sent to {}.", describe(route))
        }
        _ => reason,
    };
    if find::<CredentialsError>(error).is_some() {
        return ApiFailure::new(Cause::Credentials, "No usable credentials", detail);
    }
    match reached {
        Reached::Nothing => ApiFailure::new(Cause::Client, "Request could not be built", detail),
        Reached::Client if is_dispatch => {
            let (cause, message) = not_connected(error, is_timeout);
            let mut detail = connecting(error, route, secrets);
            if cause == Cause::NotTls {
                detail.push_str(" The endpoint may speak http, not https.");
            }
            ApiFailure::new(cause, message, detail)
        }
        _ if is_timeout || matches!(error, SdkError::TimeoutError(_)) => {
            ApiFailure::new(Cause::RequestTimeout, "Request timed out", detail)
        }
        _ => no_response(error, route, detail),
    }
}

/// The failure of a request that was sent, and got no response or an unreadable one.
fn no_response<E: OperationError>(
    error: &Error<E>,
    route: Option<&Route>,
    detail: String,
) -> ApiFailure {
    if let Some(Refused::NoMemory(_)) = find::<Refused>(error) {
        return ApiFailure::new(Cause::OutOfMemory, "Out of memory", detail);
    }
    let has_no_head = matches!(error, SdkError::DispatchFailure(_));
    let problem = find::<hyper::Error>(error);
    let (cause, message) = match problem {
        Some(http) if !http.is_parse() => (Cause::ConnectionLost, "Connection lost"),
        None if has_no_head => (Cause::ConnectionLost, "Connection lost"),
        _ => (Cause::BadAnswer, "Answer could not be read"),
    };
    let mut failure = ApiFailure::new(cause, message, detail);
    let is_large = problem.is_some_and(|problem| problem.to_string().ends_with("too large"));
    let is_clear = route.is_some_and(|route| !route.is_secure() && route.proxy.is_none());
    if has_no_head && !is_large && is_clear {
        // A TLS server closes the connection, or answers with something that is not HTTP.
        (failure.detail).push_str(" The endpoint may speak https, not http.");
    }
    failure
}

/// DETAIL of a connection that was not made.
fn connecting(
    error: &(dyn StdError + 'static),
    route: Option<&Route>,
    secrets: &Secrets,
) -> String {
    let reason = root_sentence(error, secrets);
    match route {
        Some(route) => format!("Connecting to {}: {reason}", route.endpoint()),
        None => reason,
    }
}

/// The route, shortened.
fn describe(route: &Route) -> String {
    shortened(&route.to_string(), LONGEST_REASON)
}

/// The failure of an attempt that exceeds its timeout after the request was sent.
pub fn request_timed_out(limit: Duration, route: Option<&Route>) -> ApiFailure {
    let limit = limit.as_millis();
    ApiFailure::new(
        Cause::RequestTimeout,
        "Request timed out",
        // Mostly the function is slow, so the route is left out, except for a proxy.
        match route {
            Some(route) if route.proxy.is_some() => {
                format!(
                    "No complete answer came within {limit} ms from {}.",
                    describe(route)
                )
            }
            _ => format!("No complete answer came within {limit} ms."),
        },
    )
}

/// The failure of an attempt that exceeds its timeout before there are credentials.
pub fn credentials_timed_out(limit: Duration, found: NoCredentials) -> ApiFailure {
    ApiFailure {
        detail: format!(
            "{} None came within {} ms, so nothing was sent.",
            found.detail,
            limit.as_millis()
        ),
        ..no_credentials(&found, &Secrets::default())
    }
}

fn no_credentials(explained: &NoCredentials, secrets: &Secrets) -> ApiFailure {
    let detail = shortened(&secrets.redact(&explained.detail), 1500);
    ApiFailure {
        hint: explained.hint.as_deref().map(Into::into),
        ..ApiFailure::new(Cause::Credentials, "No usable credentials", detail)
    }
}

/// The failure of an attempt that exceeds its timeout before there is a connection.
pub fn connect_timed_out(limit: Duration, route: Option<&Route>) -> ApiFailure {
    let place = route.map_or(String::new(), |route| format!(" to {}", route.endpoint()));
    ApiFailure {
        hint: Some("The function did not run. Check the network path to Lambda, or raise aws_lambda.request_timeout_ms or the server option request_timeout_ms.".into()),
        ..ApiFailure::new(
            Cause::ConnectTimeout,
            "Connection timed out",
            format!(
                "Connecting{place}: no connection within the {} ms of the request.",
                limit.as_millis()
            ),
        )
    }
}

/// A sentence about the sender of a response.
fn sent_by(route: Option<&Route>) -> String {
    match route {
        Some(route) => format!(" It came from {}.", describe(route)),
        None => String::new(),
    }
}

/// The failure of an attempt with too many interim responses.
pub fn too_many_interim_responses(most: usize, route: Option<&Route>) -> ApiFailure {
    ApiFailure::new(
        Cause::BadAnswer,
        "No answer",
        format!(
            "The endpoint sent more than {most} heads of the kind that comes before an answer (1xx), or large ones, and no answer.{}",
            sent_by(route)
        ),
    )
}

/// The failure to find a region in time.
pub fn region_timed_out(limit: Duration, sources: &str) -> ApiFailure {
    ApiFailure::new(
        Cause::NoRegion,
        "No region",
        format!(
            "{sources} It was not found within {} ms. Nothing was sent.",
            limit.as_millis()
        ),
    )
}

/// The failure that an error response reports.
fn answered(
    response: &ErrorResponse,
    signed_at: Option<&str>,
    route: Option<&Route>,
    secrets: &Secrets,
) -> ApiFailure {
    // Secrets are redacted before the text is shortened, as half a secret would not be found.
    let quotable = |text: &str| quotable(&secrets.redact(text));
    let status = response.status;
    let mut message = match &response.code {
        Some(code) => quotable(code),
        None => "Unexpected answer".to_owned(),
    };
    if let Some(words) = &response.message {
        message = format!("{message}: {}", quotable(first_line(words)));
    }
    let mut detail = format!("HTTP status {status}");
    if response.code.is_none() {
        detail.push_str(" without an error code");
    }
    detail.push('.');
    let code = response.code.as_deref().unwrap_or_default();
    let skew = response.skew(signed_at);
    let mut cause = cause_of(status, code);
    let is_clock_skewed = is_skewed(skew) && response.may_be_clock_error();
    if is_clock_skewed && cause == Cause::Credentials || response.is_clock_error() {
        cause = Cause::Clock;
    }
    if cause == Cause::Clock {
        detail.push_str(&response.clock_detail(skew));
    }
    if cause == Cause::BadAnswer {
        detail.push_str(&sent_by(route));
    }
    ApiFailure {
        cause,
        message,
        detail,
        answer: Some(Box::new(Answer {
            status,
            code: response.code.as_deref().map(quotable),
            request_id: response.request_id.as_deref().map(quotable),
        })),
        is_repeatable: false,
        hint: None,
        is_clock_skewed,
    }
}
