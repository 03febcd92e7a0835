//! The cause of an error response, by its HTTP status and AWS's error code.

use crate::error::Cause;

/// Codes, with or without the suffix `Exception`, of a function that Lambda is still preparing. The function did not run, and the error
/// ends by itself.
const NOT_READY: [&str; 5] = [
    "CodeArtifactUserPending",
    "EC2Throttled",
    "ENINotReady",
    "ResourceNotReady",
    "SnapStartNotReady",
];

/// Prefixes of the codes of errors that the function's configuration causes. Their HTTP status varies.
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

/// The cause of an error response. An empty code stands for none.
pub fn cause_of(status: u16, code: &str) -> Cause {
    match (status, code) {
        (429, _)
        | (_, "ThrottlingException" | "Throttling" | "ThrottledException" | "RequestThrottled") => {
            Cause::Throttled
        }
        (413, _) | (_, "RequestTooLargeException") => Cause::TooLarge,
        // Lambda always gives a code, and this one only for an unknown path. Such a response comes from a proxy or another server.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes() {
        assert_eq!(cause_of(429, "TooManyRequestsException"), Cause::Throttled);
        assert_eq!(cause_of(400, "ThrottlingException"), Cause::Throttled);
        assert_eq!(cause_of(403, "AccessDeniedException"), Cause::Denied);
        assert_eq!(
            cause_of(403, "InvalidSignatureException"),
            Cause::Credentials
        );
        assert_eq!(
            cause_of(403, "EFSMountFailureException"),
            Cause::Configuration
        );
        assert_eq!(cause_of(410, "EFSIOException"), Cause::Configuration);
        assert_eq!(
            cause_of(502, "KMSAccessDeniedException"),
            Cause::Configuration
        );
        assert_eq!(
            cause_of(502, "EC2AccessDeniedException"),
            Cause::Configuration
        );
        for code in NOT_READY {
            assert_eq!(cause_of(502, code), Cause::NotReady);
            assert_eq!(cause_of(409, &format!("{code}Exception")), Cause::NotReady);
            assert_eq!(cause_of(409, &format!("{code}Not")), Cause::Configuration);
        }
        assert_eq!(
            cause_of(409, "DurableExecutionAlreadyStartedException"),
            Cause::AlreadyStarted
        );
        assert_eq!(cause_of(404, "ResourceNotFoundException"), Cause::NotFound);
        assert_eq!(
            cause_of(409, "ResourceConflictException"),
            Cause::Configuration
        );
        assert_eq!(cause_of(413, "RequestTooLargeException"), Cause::TooLarge);
        assert_eq!(
            cause_of(400, "InvalidRequestContentException"),
            Cause::InvalidRequest
        );
        assert_eq!(cause_of(500, "ServiceException"), Cause::Service);
        assert_eq!(cause_of(503, "ServiceUnavailableException"), Cause::Service);
        assert_eq!(cause_of(502, ""), Cause::BadAnswer);
        assert_eq!(cause_of(400, "AccessDeniedException"), Cause::Denied);
        assert_eq!(cause_of(400, "AccessDenied"), Cause::Denied);
        assert_eq!(cause_of(404, "UnknownOperationException"), Cause::BadAnswer);
    }
}
