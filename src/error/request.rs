//! Errors of the values of an invocation.

use super::{Row, quotable};
use pgrx::PgSqlErrorCode::*;

/// Why no request can be made of the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestError {
    /// No clause, argument or option names a function.
    NoFunctionName,
    /// A value that the API does not allow.
    InvalidValue {
        /// The column or argument.
        what: &'static str,
        /// The value.
        value: String,
        /// A sentence with the allowed values.
        allowed: String,
    },
    /// A region or qualifier that differs from the one in the function's name.
    Contradiction {
        /// `region` or `qualifier`.
        what: &'static str,
        /// The value given beside the name.
        argument: String,
        /// The value in the name.
        in_name: String,
    },
    /// A client context that exceeds Lambda's limit.
    ContextTooLong {
        /// Its length in base64.
        length: usize,
        /// Most bytes of base64.
        limit: usize,
    },
    /// A payload that is not JSON, of a row that shares an invocation.
    PayloadNotJson,
    /// A payload that exceeds the limit of its invocation type.
    PayloadTooLarge {
        /// Whether the invocation type is Event.
        is_event: bool,
        /// Its size, or the memory that it takes.
        bytes: usize,
        /// Most bytes.
        limit: usize,
    },
}

impl RequestError {
    /// What PostgreSQL reports.
    pub(super) fn row(&self) -> Row {
        match self {
            RequestError::NoFunctionName => Row::new(ERRCODE_NULL_VALUE_NOT_ALLOWED, "no function name")
                .detail("No function was invoked.")
                .hint("Name the function in the call, in a clause on function_name, or in the table option function_name."),
            RequestError::InvalidValue {
                what,
                value,
                allowed,
            } => Row::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("invalid {what}: \"{}\"", quotable(value)),
            )
            .hint(allowed),
            RequestError::Contradiction {
                what,
                argument,
                in_name,
            } => Row::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("{what} \"{argument}\" conflicts with {what} \"{in_name}\" in the function name"),
            )
            .hint(format!("Give the {what} once.")),
            RequestError::ContextTooLong { length, limit } => Row::new(
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "client context is too long",
            )
            .detail(format!(
                "It has {length} bytes in base64; Lambda takes at most {limit}."
            ))
            .hint("Put the data into the payload."),
            RequestError::PayloadNotJson => Row::new(
                ERRCODE_INVALID_TEXT_REPRESENTATION,
                "payload is not valid JSON",
            )
            .hint("Rows can share an invocation if each payload is JSON. Otherwise leave out the options batch_rows and batch_format."),
            RequestError::PayloadTooLarge {
                is_event,
                bytes,
                limit,
            } => Row::new(ERRCODE_PROGRAM_LIMIT_EXCEEDED, "payload is too large")
                .detail(format!(
                    "It takes {bytes} bytes, and {limit} are the most {}.",
                    match is_event {
                        true => "as an event",
                        false => "in a synchronous invocation",
                    }
                ))
                .hint("Send where the data is in the place of the data. If the endpoint takes more than Lambda does, raise the server or table option max_payload_bytes."),
        }
    }
}
