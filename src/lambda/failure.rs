//! From the SDK's errors to ours: what went wrong, and whether the function may have run.

use super::attempt_probe::Reached;
use super::authorities::NoAuthority;
use super::body::Refused;
use super::connections::NoProxy;
use super::http_connect::ProxyFailure;
use super::machine::Explained;
use super::refusal::{Refusal, is_off};
use super::secrets::Secrets;
use super::tunnel::ThroughProxy;
use super::way::Way;
use crate::error::{Answer, ApiFailure, Cause, quotable, shortened};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_lambda::error::SdkError;
use aws_sdk_lambda::operation::invoke::InvokeError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use std::error::Error as StdError;
use std::time::Duration;

/// Codes of errors that end by themselves, as Lambda is still preparing the function, with or without the ending `Exception`. The
/// function did not run.
const NOT_READY: [&str; 5] = [
    "CodeArtifactUserPending",
    "EC2Throttled",
    "ENINotReady",
    "ResourceNotReady",
    "SnapStartNotReady",
];

/// Codes, or how they begin, of errors that the function's configuration causes, whatever their HTTP status.
const CONFIGURATION: [&str; 16] = [
    "CodeArtifact",
    "EC2",
    "EFS",
    "ENI",
    "InvalidRuntime",
    "InvalidSecurityGroup",
    "InvalidSubnet",
    "InvalidZipFile",
    "KMS",
    "NoPublishedVersion",
    "RecursiveInvocation",
    "Resource",
    "S3Files",
    "ServiceQuotaExceeded",
    "SnapStart",
    "SubnetIP",
];

/// Finds the row of the table of errors for what the SDK reports. `reached` tells how far the request got, `way` where it was to go,
/// and `signed_at` the time that was signed. What came from outside may have the `secrets` in it.
pub fn from_sdk(
    error: &SdkError<InvokeError, HttpResponse>,
    reached: Reached,
    way: Option<&Way>,
    signed_at: Option<&str>,
    secrets: &Secrets,
) -> ApiFailure {
    if let SdkError::ServiceError(service) = error {
        let refusal = Refusal::new(service.raw(), service.err());
        return answered(&refusal, signed_at, way, secrets);
    }
    if reached != Reached::Connection
        && let Some((cause, message, hint)) = shortage(error)
    {
        let detail = match way {
            Some(way) => format!("Connecting to {}: {}", way.place(), root(error, secrets)),
            None => root(error, secrets),
        };
        return ApiFailure {
            hint: hint.map(Into::into),
            ..ApiFailure::new(cause, message, detail)
        };
    }
    if let Some(explained) = find::<Explained>(error) {
        return match &explained.network {
            // The SDK has asked for credentials again, which an attempt at the invocation would not.
            Some(network) if network.cause == Cause::Connect => {
                let refused = Network {
                    cause: Cause::Proxy,
                    message: REFUSED_BY_PROXY,
                    ..network.clone()
                };
                of_network(&refused, &explained.detail, secrets)
            }
            Some(network) => of_network(network, &explained.detail, secrets),
            None => no_credentials(explained, secrets),
        };
    }
    let detail = match way {
        // What was sent went somewhere.
        Some(way) if reached == Reached::Connection => {
            format!("{} It was sent to {}.", root(error, secrets), shown(way))
        }
        _ => root(error, secrets),
    };
    let failure = |cause, message: &str| ApiFailure::new(cause, message, detail.clone());
    if let Some(network) = Network::of(error) {
        let place = match way {
            Some(way) => format!("Connecting to {}", way.place()),
            None => "Connecting".to_owned(),
        };
        return of_network(&network, &place, secrets);
    }
    if find::<CredentialsError>(error).is_some() {
        return failure(Cause::Credentials, "No usable credentials");
    }
    if reached == Reached::Nothing {
        return failure(Cause::Client, "Request could not be built");
    }
    let timed_out = matches!(error, SdkError::DispatchFailure(dispatch) if dispatch.is_timeout());
    if reached == Reached::Client && matches!(error, SdkError::DispatchFailure(_)) {
        let (cause, message) = not_connected(error, timed_out);
        let mut detail = match way {
            Some(way) => format!("Connecting to {}: {}", way.place(), root(error, secrets)),
            None => root(error, secrets),
        };
        if cause == Cause::NotTls {
            detail.push_str(" The endpoint may speak http, not https.");
        }
        return ApiFailure {
            detail,
            ..failure(cause, message)
        };
    }
    if timed_out || matches!(error, SdkError::TimeoutError(_)) {
        return failure(Cause::RequestTimeout, "Request timed out");
    }
    if let Some(Refused::NoMemory(_)) = find::<Refused>(error) {
        return failure(Cause::OutOfMemory, "Out of memory");
    }
    let is_unanswered = matches!(error, SdkError::DispatchFailure(_));
    let problem = find::<hyper::Error>(error);
    let mut failure = match problem {
        Some(http) if !http.is_parse() => failure(Cause::ConnectionLost, "Connection lost"),
        None if is_unanswered => failure(Cause::ConnectionLost, "Connection lost"),
        _ => failure(Cause::BadAnswer, "Answer could not be read"),
    };
    let is_large = problem.is_some_and(|problem| problem.to_string().ends_with("too large"));
    let is_clear = way.is_some_and(|way| !way.is_secure() && way.proxy.is_none());
    if is_unanswered && !is_large && is_clear {
        // A request in the clear is broken off there, or answered with what is no HTTP.
        (failure.detail).push_str(" The endpoint may speak https, not http.");
    }
    failure
}

const REFUSED_BY_PROXY: &str = "Refused by the proxy";

/// Longest reason of the network's that is shown. Paths are in it.
const LONGEST_WHY: usize = 600;

/// What a proxy, or the trust in authorities, has to do with a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    cause: Cause,
    message: &'static str,
    why: String,
    /// The proxy, in words for a message.
    pub proxy: Option<String>,
}

impl Network {
    /// Finds it in an error.
    pub fn of(error: &(dyn StdError + 'static)) -> Option<Network> {
        let proxy = find::<ThroughProxy>(error).map(|through| through.proxy.clone());
        let network = |cause, message, why| Network {
            cause,
            message,
            why,
            proxy: proxy.clone(),
        };
        if let Some(NoAuthority(why)) = find(error) {
            let message = "No trusted authority";
            return Some(network(Cause::NoAuthority, message, why.clone()));
        }
        if let Some(problem) = find::<NoProxy>(error) {
            let why = problem.to_string();
            return Some(network(Cause::Proxy, "Unusable proxy", why));
        }
        let problem = find::<ProxyFailure>(error)?;
        let (cause, message) = match problem {
            ProxyFailure::Certificate(_) => (Cause::Certificate, "Certificate not accepted"),
            _ if problem.is_final() => (Cause::Proxy, REFUSED_BY_PROXY),
            _ => (Cause::Connect, "Unable to connect to endpoint"),
        };
        Some(network(cause, message, problem.to_string()))
    }
}

fn of_network(network: &Network, place: &str, secrets: &Secrets) -> ApiFailure {
    let why = shortened(&secrets.hide(&network.why), LONGEST_WHY);
    ApiFailure::new(network.cause, network.message, format!("{place}: {why}."))
}

/// Why there is no connection.
fn not_connected(error: &(dyn StdError + 'static), timed_out: bool) -> (Cause, &'static str) {
    if timed_out {
        return (Cause::ConnectTimeout, "Connection timed out");
    }
    match find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(_)) => {
            (Cause::Certificate, "Certificate not accepted")
        }
        // What is no TLS begins with another number.
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            (Cause::NotTls, "No TLS at the endpoint")
        }
        _ => (Cause::Connect, "Unable to connect to endpoint"),
    }
}

/// The way, without an end that is too long.
fn shown(way: &Way) -> String {
    shortened(&way.to_string(), LONGEST_WHY)
}

/// The time-out of an attempt.
pub fn timed_out(limit: Duration, way: Option<&Way>) -> ApiFailure {
    let limit = limit.as_millis();
    ApiFailure::new(
        Cause::RequestTimeout,
        "Request timed out",
        // A function that is slow is what it mostly is.
        match way {
            Some(way) if way.proxy.is_some() => {
                format!(
                    "No complete answer came within {limit} ms from {}.",
                    shown(way)
                )
            }
            _ => format!("No complete answer came within {limit} ms."),
        },
    )
}

/// The same before there were credentials.
pub fn no_credentials_within(limit: Duration, explained: Explained) -> ApiFailure {
    ApiFailure {
        detail: format!(
            "{} None came within {} ms, so nothing was sent.",
            explained.detail,
            limit.as_millis()
        ),
        ..no_credentials(&explained, &Secrets::default())
    }
}

fn no_credentials(explained: &Explained, secrets: &Secrets) -> ApiFailure {
    let detail = shortened(&secrets.hide(&explained.detail), 1500);
    ApiFailure {
        hint: explained.advice.as_deref().map(Into::into),
        ..ApiFailure::new(Cause::Credentials, "No usable credentials", detail)
    }
}

/// The time-out of an attempt before there was a connection.
pub fn no_connection_within(limit: Duration, way: Option<&Way>) -> ApiFailure {
    let place = way.map_or(String::new(), |way| format!(" to {}", way.place()));
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

/// One more sentence about an answer.
fn came_from(way: Option<&Way>) -> String {
    match way {
        Some(way) => format!(" It came from {}.", shown(way)),
        None => String::new(),
    }
}

/// An answer that never begins.
pub fn no_end_of_heads(most: usize, way: Option<&Way>) -> ApiFailure {
    ApiFailure::new(
        Cause::BadAnswer,
        "No answer",
        format!(
            "The endpoint sent more than {most} heads of the kind that comes before an answer (1xx), or large ones, and no answer.{}",
            came_from(way)
        ),
    )
}

/// The time-out of looking for a region.
pub fn no_region_within(limit: Duration, sources: &str) -> ApiFailure {
    ApiFailure::new(
        Cause::NoRegion,
        "No region",
        format!(
            "{sources} It was not found within {} ms. Nothing was sent.",
            limit.as_millis()
        ),
    )
}

/// Lambda's own refusal, or a proxy's.
fn answered(
    refusal: &Refusal,
    signed_at: Option<&str>,
    way: Option<&Way>,
    secrets: &Secrets,
) -> ApiFailure {
    // Shortened only then: half a secret is one too.
    let quotable = |text: &str| quotable(&secrets.hide(text));
    let status = refusal.status;
    let mut message = match &refusal.code {
        Some(code) => quotable(code),
        None => "Unexpected answer".to_owned(),
    };
    if let Some(words) = &refusal.message {
        message = format!("{message}: {}", quotable(first_line(words)));
    }
    let mut detail = format!("HTTP status {status}");
    if refusal.code.is_none() {
        detail.push_str(" without an error code");
    }
    detail.push('.');
    let code = refusal.code.as_deref().unwrap_or_default();
    let difference = refusal.difference(signed_at);
    let mut cause = cause(status, code);
    let is_clock_skewed = is_off(difference) && refusal.may_be_of_time();
    if is_clock_skewed && cause == Cause::Credentials || refusal.is_of_time() {
        cause = Cause::Clock;
    }
    if cause == Cause::Clock {
        detail.push_str(&refusal.of_time(difference));
    }
    if cause == Cause::BadAnswer {
        detail.push_str(&came_from(way));
    }
    ApiFailure {
        cause,
        message,
        detail,
        answer: Some(Box::new(Answer {
            status,
            code: refusal.code.as_deref().map(quotable),
            request_id: refusal.request_id.as_deref().map(quotable),
        })),
        is_repeatable: false,
        hint: None,
        is_clock_skewed,
    }
}

fn cause(status: u16, code: &str) -> Cause {
    match (status, code) {
        (429, _)
        | (_, "ThrottlingException" | "Throttling" | "ThrottledException" | "RequestThrottled") => {
            Cause::Throttled
        }
        (413, _) | (_, "RequestTooLargeException") => Cause::TooLarge,
        // Lambda names its errors; what has no name is a proxy's. This one is of a path that Lambda has not.
        (_, "" | "UnknownOperationException") => Cause::BadAnswer,
        (
            _,
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "ExpiredTokenException"
            | "MissingAuthenticationTokenException"
            | "InvalidClientTokenId"
            | "IncompleteSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "ExpiredToken"
            | "InvalidToken"
            | "AuthFailure"
            | "OptInRequired",
        ) => Cause::Credentials,
        (_, "AccessDeniedException" | "AccessDenied") => Cause::Denied,
        (404, _) => Cause::NotFound,
        (_, "ModeNotSupportedException") => Cause::InvalidRequest,
        (_, "DurableExecutionAlreadyStartedException") => Cause::AlreadyStarted,
        (_, code) if NOT_READY.contains(&code.strip_suffix("Exception").unwrap_or(code)) => {
            Cause::NotReady
        }
        (_, code) if CONFIGURATION.iter().any(|start| code.starts_with(start)) => {
            Cause::Configuration
        }
        (401 | 403, _) => Cause::Denied,
        (400 | 415, _) => Cause::InvalidRequest,
        (500.., _) => Cause::Service,
        _ => Cause::BadAnswer,
    }
}

/// The error and what is in it. Of one that a system's error was made of, the system's error would tell the source alone.
pub fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(
        Some(error),
        |error: &&'a (dyn StdError + 'static)| match error.downcast_ref::<std::io::Error>() {
            Some(of_system) => of_system.get_ref().map(|inner| inner as _),
            None => (*error).source(),
        },
    )
}

/// The first error of a type among an error and its sources.
pub fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    chain(error).find_map(|error| error.downcast_ref::<T>())
}

/// What this process or its machine lacks for a connection: cause, message and hint, where the cause has another one.
///
/// The resolver and the readers of files do not always report the system's error. Where there is no number, opening files shows whether
/// descriptors are what is missing.
fn shortage(
    error: &(dyn StdError + 'static),
) -> Option<(Cause, &'static str, Option<&'static str>)> {
    let descriptors = (
        Cause::Descriptors,
        "No file descriptor for a connection",
        None,
    );
    let numbers = chain(error)
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .filter_map(std::io::Error::raw_os_error);
    match numbers.last() {
        Some(libc::EMFILE | libc::ENFILE) => Some(descriptors),
        Some(libc::EADDRNOTAVAIL) => {
            Some((Cause::Shortage, "No local port for a connection", None))
        }
        Some(libc::ENOBUFS | libc::ENOMEM) => {
            Some((Cause::Shortage, "No memory for a connection", None))
        }
        // A thread that looks up a name can't be started.
        Some(libc::EAGAIN) => Some((
            Cause::Shortage,
            "No thread for a connection",
            Some(
                "The function did not run. Let the server's user have more processes and threads (ulimit -u, pids.max of its control group), or the machine more memory.",
            ),
        )),
        Some(_) => None,
        None => (!can_open(OF_LOOKING)).then_some(descriptors),
    }
}

/// Files that are open at once while a name is looked for.
const OF_LOOKING: usize = 3;

/// Whether this process can open so many files.
fn can_open(count: usize) -> bool {
    let open = || std::fs::File::open("/dev/null");
    let opened: Vec<_> = std::iter::repeat_with(open).take(count).collect();
    !(opened.iter())
        .filter_map(|opened| opened.as_ref().err()?.raw_os_error())
        .any(|number| matches!(number, libc::EMFILE | libc::ENFILE))
}

/// The innermost error's words, as a sentence.
fn root(error: &(dyn StdError + 'static), secrets: &Secrets) -> String {
    sentence(&secrets.hide(&innermost(error)))
}

/// The same as they are.
pub fn innermost(error: &(dyn StdError + 'static)) -> String {
    (chain(error).last()).map_or_else(String::new, |error| error.to_string())
}

/// AWS explains a wrong signature with the whole request behind an empty line, session token included.
pub fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

fn sentence(text: &str) -> String {
    capitalized(&quotable(text.trim_end_matches('.')))
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes() {
        assert_eq!(cause(429, "TooManyRequestsException"), Cause::Throttled);
        assert_eq!(cause(400, "ThrottlingException"), Cause::Throttled);
        assert_eq!(cause(403, "AccessDeniedException"), Cause::Denied);
        assert_eq!(cause(403, "InvalidSignatureException"), Cause::Credentials);
        assert_eq!(cause(403, "EFSMountFailureException"), Cause::Configuration);
        assert_eq!(cause(410, "EFSIOException"), Cause::Configuration);
        assert_eq!(cause(502, "KMSAccessDeniedException"), Cause::Configuration);
        assert_eq!(cause(502, "EC2AccessDeniedException"), Cause::Configuration);
        for code in NOT_READY {
            assert_eq!(cause(502, code), Cause::NotReady);
            assert_eq!(cause(409, &format!("{code}Exception")), Cause::NotReady);
            assert_eq!(cause(409, &format!("{code}Not")), Cause::Configuration);
        }
        assert_eq!(
            cause(409, "DurableExecutionAlreadyStartedException"),
            Cause::AlreadyStarted
        );
        assert_eq!(cause(404, "ResourceNotFoundException"), Cause::NotFound);
        assert_eq!(
            cause(409, "ResourceConflictException"),
            Cause::Configuration
        );
        assert_eq!(cause(413, "RequestTooLargeException"), Cause::TooLarge);
        assert_eq!(
            cause(400, "InvalidRequestContentException"),
            Cause::InvalidRequest
        );
        assert_eq!(cause(500, "ServiceException"), Cause::Service);
        assert_eq!(cause(503, "ServiceUnavailableException"), Cause::Service);
        assert_eq!(cause(502, ""), Cause::BadAnswer);
        assert_eq!(cause(400, "AccessDeniedException"), Cause::Denied);
        assert_eq!(cause(400, "AccessDenied"), Cause::Denied);
        assert_eq!(cause(404, "UnknownOperationException"), Cause::BadAnswer);
    }

    #[test]
    fn a_refused_signature_does_not_show_the_request() {
        let message = "The request signature we calculated does not match the signature you provided.\n\n\
            The Canonical String for this request should have been\n'POST\nx-amz-security-token:secret\n'";
        assert_eq!(
            first_line(message),
            "The request signature we calculated does not match the signature you provided."
        );
    }

    #[test]
    fn sentences() {
        assert_eq!(
            sentence("invalid version parsed."),
            "Invalid version parsed."
        );
        assert_eq!(sentence(""), "");
    }
}
