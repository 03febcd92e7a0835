//! Invocations without a result: why, and what is said for each cause. Which function it was is told in invocation.rs.

use super::Row;
use crate::lambda::credentials::NoKeys;
use pgrx::PgSqlErrorCode;

/// An invocation without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiFailure {
    /// Which row of the table of errors applies.
    pub cause: Cause,
    /// What the client said, in the form `Code: message`.
    pub said: String,
    /// Further facts as sentences; empty when there are none.
    pub facts: String,
    /// What Lambda answered, where it was Lambda.
    pub answer: Option<Box<Answer>>,
    /// Whether Lambda knows the same invocation by its durable execution name, so that it may be made again.
    pub is_repeatable: bool,
    /// What to do, where more is known than the cause.
    pub hint: Option<Box<str>>,
    /// Whether it was signed with another time than the endpoint's, and refused.
    pub clock_is_off: bool,
}

/// Lambda's own account of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// AWS's name of the error, such as `TooManyRequestsException`.
    pub code: Option<String>,
    /// AWS's id of the request.
    pub request_id: Option<String>,
}

/// Why an invocation has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No connection was made: the function did not run.
    Connect,
    /// No connection was made in time: the function did not run.
    ConnectTimeout,
    /// What is at the endpoint has no certificate that is trusted: nothing was sent.
    Certificate,
    /// What is at the endpoint speaks no TLS: nothing was sent.
    NotTls,
    /// There is no authority that could be trusted: nothing was sent.
    NoAuthority,
    /// A proxy refuses, or what names it is wrong: the function did not run.
    Proxy,
    /// There is no file descriptor for a connection: the function did not run.
    Descriptors,
    /// The machine has no port, or no memory, for a connection: the function did not run.
    Shortage,
    /// Nothing, or not all, came back in time: the function may have run.
    RequestTimeout,
    /// The connection broke after the request was sent: the function may have run.
    ConnectionLost,
    /// There is no memory for what came back: the function may have run.
    OutOfMemory,
    /// What came back is not an answer of Lambda's: the function may have run.
    BadAnswer,
    /// HTTP 429.
    Throttled,
    /// Lambda is still preparing the function, which did not run.
    NotReady,
    /// The name of the durable execution is that of one with another payload: with this one the function did not run.
    AlreadyStarted,
    /// Lambda knows the caller and refuses.
    Denied,
    /// No usable credentials, or Lambda does not accept them.
    Credentials,
    /// The endpoint does not accept the time that the request was signed with: the function did not run.
    Clock,
    /// No such function, alias or version.
    NotFound,
    /// Payload or response over Lambda's limits.
    TooLarge,
    /// Lambda finds the request itself wrong.
    InvalidRequest,
    /// The function's own configuration keeps it from running.
    Configuration,
    /// Lambda failed.
    Service,
    /// No region is known: nothing was sent.
    NoRegion,
    /// The client could not build the request: nothing was sent.
    Client,
}

impl Cause {
    /// The name that `error_code` has where Lambda gave none.
    fn code(self) -> &'static str {
        match self {
            Cause::Connect => "ConnectionRefused",
            Cause::ConnectTimeout => "ConnectTimeout",
            Cause::Certificate => "CertificateNotAccepted",
            Cause::NotTls => "NoTls",
            Cause::NoAuthority => "NoTrustedAuthority",
            Cause::Proxy => "ProxyRefused",
            Cause::Descriptors => "NoFileDescriptor",
            Cause::Shortage => "NoLocalResources",
            Cause::RequestTimeout => "RequestTimeout",
            Cause::ConnectionLost => "ConnectionLost",
            Cause::OutOfMemory => "OutOfMemory",
            Cause::BadAnswer => "UnexpectedAnswer",
            Cause::Throttled => "TooManyRequestsException",
            Cause::NotReady => "FunctionNotReady",
            Cause::AlreadyStarted => "DurableExecutionAlreadyStartedException",
            Cause::Denied => "AccessDeniedException",
            Cause::Credentials => "NoUsableCredentials",
            Cause::Clock => "RequestTimeTooSkewed",
            Cause::NotFound => "ResourceNotFoundException",
            Cause::TooLarge => "RequestTooLargeException",
            Cause::InvalidRequest => "InvalidRequest",
            Cause::Configuration => "FunctionConfiguration",
            Cause::Service => "ServiceException",
            Cause::NoRegion => "NoRegion",
            Cause::Client => "RequestNotBuilt",
        }
    }

    /// Whether the function may have run.
    pub fn may_have_run(self) -> bool {
        matches!(
            self,
            Cause::RequestTimeout
                | Cause::ConnectionLost
                | Cause::OutOfMemory
                | Cause::BadAnswer
                | Cause::Service
        )
    }

    /// Whether this process or machine lacks what a connection takes.
    pub fn is_shortage(self) -> bool {
        matches!(self, Cause::Descriptors | Cause::Shortage)
    }

    /// What goes behind the function's name in a primary message.
    pub(super) fn phrase(self) -> &'static str {
        match self {
            Cause::Connect => "no connection",
            Cause::ConnectTimeout => "connection timed out",
            Cause::Certificate => "certificate not accepted",
            Cause::NoAuthority => "no trusted authority",
            Cause::NotTls => "no TLS at the endpoint",
            Cause::Proxy => "refused by the proxy",
            Cause::Descriptors => "no file descriptor for a connection",
            Cause::Shortage => "no port or memory for a connection",
            Cause::RequestTimeout => "request timed out",
            Cause::ConnectionLost => "connection lost",
            Cause::OutOfMemory => "no memory for the answer",
            Cause::BadAnswer => "unexpected answer",
            Cause::Throttled => "throttled",
            Cause::NotReady => "function not ready",
            Cause::AlreadyStarted => "durable execution already started",
            Cause::Denied => "access denied",
            Cause::Credentials => "no usable credentials",
            Cause::Clock => "the clock is off",
            Cause::NotFound => "no such function or version",
            Cause::TooLarge => "payload or response too large",
            Cause::InvalidRequest => "request refused",
            Cause::Configuration => "function cannot be started",
            Cause::Service => "Lambda failed",
            Cause::NoRegion => "no region",
            Cause::Client => "request could not be built",
        }
    }
}

impl ApiFailure {
    /// A failure without an answer of Lambda's.
    pub fn new(cause: Cause, said: &str, facts: String) -> ApiFailure {
        ApiFailure {
            cause,
            said: said.to_owned(),
            facts,
            answer: None,
            is_repeatable: false,
            hint: None,
            clock_is_off: false,
        }
    }

    /// Says of a role that nothing could be signed for that it has no keys in the database.
    pub fn lacks_keys(&mut self, no_keys: Option<&NoKeys>) {
        if let Some(no_keys) = no_keys
            && self.cause == Cause::Credentials
            && self.answer.is_none()
        {
            self.facts = format!("{} {}", no_keys.why, self.facts);
            self.hint = Some(match self.hint.take() {
                Some(advice) => format!("{advice} {}", no_keys.remedy).into(),
                None => no_keys.remedy.as_str().into(),
            });
        }
    }

    /// AWS's name of the error, or one of ours.
    pub fn code(&self) -> &str {
        (self.answer.as_ref())
            .and_then(|answer| answer.code.as_deref())
            .unwrap_or(self.cause.code())
    }

    /// What Lambda says, or what happened instead.
    pub fn message(&self) -> String {
        if (self.answer.as_ref()).is_none_or(|answer| answer.code.is_none()) {
            return format!("{}. {}", self.said, self.facts);
        }
        match self.said.split_once(": ") {
            Some((code, message)) if code == self.code() => message.to_owned(),
            _ => self.said.clone(),
        }
    }

    pub(super) fn row(&self) -> Row {
        use PgSqlErrorCode::*;
        let not_again = match self.is_repeatable {
            true => "The function may have run.",
            false => "The function may have run. It was not invoked again.",
        };
        let (sqlstate, hint) = match self.cause {
            Cause::Connect => (
                ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
                "The function did not run. Check the region, the network path to Lambda, and the server option endpoint_url or aws_lambda.endpoint_override.",
            ),
            Cause::ConnectTimeout => (
                ERRCODE_SQLSERVER_REJECTED_ESTABLISHMENT_OF_SQLCONNECTION,
                "The function did not run. Check the network path to Lambda, or raise aws_lambda.connect_timeout_ms or the server option connect_timeout_ms.",
            ),
            Cause::Certificate => (
                ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
                "The function did not run. Check that the endpoint is Lambda's, and which authorities the server process trusts.",
            ),
            Cause::NotTls => (
                ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
                "The function did not run. Check scheme and port of the endpoint's URL.",
            ),
            Cause::NoAuthority => (
                ERRCODE_CONFIG_FILE_ERROR,
                "The function did not run. Check AWS_CA_BUNDLE, SSL_CERT_FILE and SSL_CERT_DIR of the server process and ca_bundle of its AWS profile, or install the system's certificates (on Debian, the package ca-certificates).",
            ),
            Cause::Proxy => (
                ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
                "The function did not run. Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the server process, and what the proxy allows.",
            ),
            Cause::Descriptors => (
                ERRCODE_INSUFFICIENT_RESOURCES,
                "The function did not run. Lower aws_lambda.max_concurrency, or let the server process and its machine open more files (ulimit -n, fs.file-max).",
            ),
            Cause::Shortage => (
                ERRCODE_INSUFFICIENT_RESOURCES,
                "The function did not run. Lower aws_lambda.max_concurrency, or let the server's machine have more ports and memory (net.ipv4.ip_local_port_range, net.ipv4.tcp_mem).",
            ),
            Cause::RequestTimeout => (
                ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN,
                "The function may have run. A cold start can take longer than 3 s: SET aws_lambda.request_timeout_ms = '30s', or raise the server option request_timeout_ms where that is set.",
            ),
            Cause::ConnectionLost => (ERRCODE_CONNECTION_FAILURE, not_again),
            Cause::OutOfMemory => (
                ERRCODE_OUT_OF_MEMORY,
                "The function may have run. Lower aws_lambda.max_memory or aws_lambda.max_concurrency, or give the server more memory.",
            ),
            Cause::BadAnswer => (
                ERRCODE_PROTOCOL_VIOLATION,
                "The function may have run. Check that the endpoint is Lambda's.",
            ),
            Cause::Throttled => (
                ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "The function did not run. Try again later, or raise its concurrency in Lambda.",
            ),
            Cause::NotReady => (
                ERRCODE_OBJECT_IN_USE,
                "The function did not run. Lambda is still preparing it: try again later, or raise aws_lambda.retry_timeout_ms or the server or table option retry_timeout_ms.",
            ),
            Cause::AlreadyStarted => (
                ERRCODE_DUPLICATE_OBJECT,
                "The function did not run with this payload. Use another durable execution name, or the payload that this one was first used with.",
            ),
            Cause::Denied => (
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                "Allow the action lambda:InvokeFunction on the function to the credentials in use.",
            ),
            Cause::Credentials => (
                ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "Check the user mapping's keys, the role to assume, or the credentials that the server process finds on its machine. The next statement looks for those anew.",
            ),
            Cause::Clock => (
                ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "The function did not run. Set the clock of the server's machine.",
            ),
            Cause::NotFound => (
                ERRCODE_UNDEFINED_FUNCTION,
                "Check the function's name, its region, and the alias or version.",
            ),
            Cause::TooLarge => (
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "Lambda takes 6 MB as a synchronous payload or response, and 1 MB as an event.",
            ),
            Cause::InvalidRequest => (
                ERRCODE_INVALID_PARAMETER_VALUE,
                "Check the payload and the other values of the invocation.",
            ),
            Cause::Configuration => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "Check the function's configuration in Lambda.",
            ),
            Cause::Service => (ERRCODE_SYSTEM_ERROR, not_again),
            Cause::NoRegion => (
                ERRCODE_FDW_UNABLE_TO_CREATE_EXECUTION,
                "Name the region in the call, in the server option region, or in aws_lambda.region.",
            ),
            Cause::Client => (
                ERRCODE_FDW_ERROR,
                "Nothing was sent. Check the options of the server and of the user mapping.",
            ),
        };
        let mut detail = format!(
            "AWS Lambda client returned '{}'.",
            self.said.trim_end_matches('.')
        );
        if !self.facts.is_empty() {
            detail.push(' ');
            detail.push_str(&self.facts);
        }
        let mut hint = self.hint.as_deref().unwrap_or(hint).to_owned();
        if self.is_repeatable && self.cause.may_have_run() {
            hint.push_str(" Invoked again with the same durable execution name and payload, it does not run twice.");
        }
        // RDS's words.
        Row::new(sqlstate, "invoke API failed")
            .detail(detail)
            .hint(hint)
    }
}
