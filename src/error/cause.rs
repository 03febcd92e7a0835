//! The table of causes for which an invocation has no result.

use pgrx::PgSqlErrorCode::{self, *};

/// What is reported of a cause.
pub(super) struct CauseRow {
    /// The value of `error_code` where Lambda gave no name.
    pub code: &'static str,
    /// The end of the primary message, behind the function's name.
    pub phrase: &'static str,
    pub sqlstate: PgSqlErrorCode,
    /// Whether the function may have run.
    pub may_have_run: bool,
    pub hint: &'static str,
}

/// Makes [`Cause`] and its rows. A row of the table has the cause's name, `error_code`, phrase, SQLSTATE, whether the function may have
/// run, and HINT.
macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident: $code:literal, $phrase:literal, $sqlstate:ident, $may_have_run:literal, $hint:literal;)*) => {
        /// Why an invocation has no result.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Cause {
            $($(#[$doc])* $name,)*
        }

        impl Cause {
            pub(super) fn row(self) -> CauseRow {
                match self {
                    $(Cause::$name => CauseRow {
                        code: $code,
                        phrase: $phrase,
                        sqlstate: $sqlstate,
                        may_have_run: $may_have_run,
                        hint: $hint,
                    },)*
                }
            }
        }
    };
}

causes! {
    /// No connection was made: the function did not run.
    Connect: "ConnectionRefused", "no connection", ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION, false,
        "The function did not run. Check the region, the network path to Lambda, and the server option endpoint_url or aws_lambda.endpoint_override.";
    /// No connection was made in time: the function did not run.
    ConnectTimeout: "ConnectTimeout", "connection timed out", ERRCODE_SQLSERVER_REJECTED_ESTABLISHMENT_OF_SQLCONNECTION, false,
        "The function did not run. Check the network path to Lambda, or raise aws_lambda.connect_timeout_ms or the server option connect_timeout_ms.";
    /// The endpoint's certificate is not trusted: nothing was sent.
    Certificate: "CertificateNotAccepted", "certificate not accepted", ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION, false,
        "The function did not run. Check that the endpoint is Lambda's, and which authorities the server process trusts.";
    /// The endpoint does not speak TLS: nothing was sent.
    NotTls: "NoTls", "no TLS at the endpoint", ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION, false,
        "The function did not run. Check scheme and port of the endpoint's URL.";
    /// There are no root certificates: nothing was sent.
    NoRootCertificates: "NoTrustedAuthority", "no trusted authority", ERRCODE_CONFIG_FILE_ERROR, false,
        "The function did not run. Check AWS_CA_BUNDLE, SSL_CERT_FILE and SSL_CERT_DIR of the server process and ca_bundle of its AWS profile, or install the system's certificates (on Debian, the package ca-certificates).";
    /// A proxy refuses, or its variable is invalid: the function did not run.
    Proxy: "ProxyRefused", "refused by the proxy", ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION, false,
        "The function did not run. Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the server process, and what the proxy allows.";
    /// There is no file descriptor for a connection: the function did not run.
    Descriptors: "NoFileDescriptor", "no file descriptor for a connection", ERRCODE_INSUFFICIENT_RESOURCES, false,
        "The function did not run. Lower aws_lambda.max_concurrency, or let the server process and its machine open more files (ulimit -n, fs.file-max).";
    /// The machine has no port, thread or memory for a connection: the function did not run.
    Shortage: "NoLocalResources", "no port, thread or memory for a connection", ERRCODE_INSUFFICIENT_RESOURCES, false,
        "The function did not run. Lower aws_lambda.max_concurrency, or let the server's machine have more ports and memory (net.ipv4.ip_local_port_range, net.ipv4.tcp_mem).";
    /// The response was not complete in time: the function may have run.
    RequestTimeout: "RequestTimeout", "request timed out", ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN, true,
        "The function may have run. A cold start can take longer than 3 s: SET aws_lambda.request_timeout_ms = '30s', or raise the server option request_timeout_ms where that is set.";
    /// The connection broke after the request was sent: the function may have run.
    ConnectionLost: "ConnectionLost", "connection lost", ERRCODE_CONNECTION_FAILURE, true,
        "The function may have run.";
    /// There is no memory for the response: the function may have run.
    OutOfMemory: "OutOfMemory", "no memory for the answer", ERRCODE_OUT_OF_MEMORY, true,
        "The function may have run. Lower aws_lambda.max_memory or aws_lambda.max_concurrency, or give the server more memory.";
    /// The response is not Lambda's: the function may have run.
    BadAnswer: "UnexpectedAnswer", "unexpected answer", ERRCODE_PROTOCOL_VIOLATION, true,
        "The function may have run. Check that the endpoint is Lambda's.";
    /// HTTP 429.
    Throttled: "TooManyRequestsException", "throttled", ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, false,
        "The function did not run. Try again later, or raise its concurrency in Lambda.";
    /// Lambda is still preparing the function, which did not run.
    NotReady: "FunctionNotReady", "function not ready", ERRCODE_OBJECT_IN_USE, false,
        "The function did not run. Lambda is still preparing it: try again later, or raise aws_lambda.retry_timeout_ms or the server or table option retry_timeout_ms.";
    /// The name of the durable execution is that of one with another payload: with this one the function did not run.
    AlreadyStarted: "DurableExecutionAlreadyStartedException", "durable execution already started", ERRCODE_DUPLICATE_OBJECT, false,
        "The function did not run with this payload. Use another durable execution name, or the payload that this one was first used with.";
    /// Lambda knows the caller and refuses.
    Denied: "AccessDeniedException", "access denied", ERRCODE_INSUFFICIENT_PRIVILEGE, false,
        "Allow the action lambda:InvokeFunction on the function to the credentials in use.";
    /// No usable credentials, or Lambda does not accept them.
    Credentials: "NoUsableCredentials", "no usable credentials", ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, false,
        "Check the user mapping's keys, the role to assume, or the credentials that the server process finds on its machine. The next statement looks for those anew.";
    /// The endpoint does not accept the time that the request was signed with: the function did not run.
    Clock: "RequestTimeTooSkewed", "the clock is off", ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, false,
        "The function did not run. Set the clock of the server's machine.";
    /// No such function, alias or version.
    NotFound: "ResourceNotFoundException", "no such function or version", ERRCODE_UNDEFINED_FUNCTION, false,
        "Check the function's name, its region, and the alias or version.";
    /// Payload or response over Lambda's limits.
    TooLarge: "RequestTooLargeException", "payload or response too large", ERRCODE_PROGRAM_LIMIT_EXCEEDED, false,
        "Lambda takes 6 MB as a synchronous payload or response, and 1 MB as an event.";
    /// Lambda finds the request itself wrong.
    InvalidRequest: "InvalidRequest", "request refused", ERRCODE_INVALID_PARAMETER_VALUE, false,
        "Check the payload and the other values of the invocation.";
    /// The function's own configuration keeps it from running.
    Configuration: "FunctionConfiguration", "function cannot be started", ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, false,
        "Check the function's configuration in Lambda.";
    /// Lambda failed.
    Service: "ServiceException", "Lambda failed", ERRCODE_SYSTEM_ERROR, true,
        "The function may have run.";
    /// No region is known: nothing was sent.
    NoRegion: "NoRegion", "no region", ERRCODE_FDW_UNABLE_TO_CREATE_EXECUTION, false,
        "Name the region in the call, in the server option region, or in aws_lambda.region.";
    /// The client could not build the request: nothing was sent.
    Client: "RequestNotBuilt", "request could not be built", ERRCODE_FDW_ERROR, false,
        "Nothing was sent. Check the options of the server and of the user mapping.";
}

impl Cause {
    /// Whether the function may have run.
    pub fn may_have_run(self) -> bool {
        self.row().may_have_run
    }

    /// Whether no function ran for a reason that lies in no single invocation, and that may pass.
    pub fn may_pass(self) -> bool {
        matches!(
            self,
            Cause::Connect
                | Cause::ConnectTimeout
                | Cause::Certificate
                | Cause::NotTls
                | Cause::NoRootCertificates
                | Cause::Proxy
                | Cause::Descriptors
                | Cause::Shortage
                | Cause::Throttled
                | Cause::NotReady
                | Cause::Credentials
                | Cause::Clock
                | Cause::NoRegion
        )
    }

    /// Whether this process or machine lacks a resource for a connection.
    pub fn is_shortage(self) -> bool {
        matches!(self, Cause::Descriptors | Cause::Shortage)
    }
}
