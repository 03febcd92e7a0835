//! Invocations without a result. `cause.rs` has the causes, and `invocation.rs` adds the function's name.

use super::{Cause, Row};
use crate::lambda::credentials::NoKeys;

/// An invocation without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiFailure {
    /// The row of the table of causes.
    pub cause: Cause,
    /// The client's message, in the form `Code: message` where there is a code.
    pub message: String,
    /// Further sentences; may be empty.
    pub detail: String,
    /// The error response of Lambda, where there is one.
    pub answer: Option<Box<Answer>>,
    /// Whether the invocation has a durable execution name, by which Lambda recognises a repetition.
    pub is_repeatable: bool,
    /// A hint that replaces the one of the cause.
    pub hint: Option<Box<str>>,
    /// Whether the endpoint refused the request because of the time that it was signed with.
    pub is_clock_skewed: bool,
}

/// An error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// AWS's name of the error, such as `TooManyRequestsException`.
    pub code: Option<String>,
    /// AWS's id of the request.
    pub request_id: Option<String>,
}

impl ApiFailure {
    /// A failure without an error response.
    pub fn new(cause: Cause, message: &str, detail: String) -> ApiFailure {
        ApiFailure {
            cause,
            message: message.to_owned(),
            detail,
            answer: None,
            is_repeatable: false,
            hint: None,
            is_clock_skewed: false,
        }
    }

    /// Adds why the role has no keys in the database, where the failure is that there are no credentials.
    pub fn add_missing_keys(&mut self, no_keys: Option<&NoKeys>) {
        if let Some(no_keys) = no_keys
            && self.cause == Cause::Credentials
            && self.answer.is_none()
        {
            self.detail = format!("{} {}", no_keys.reason, self.detail);
            self.hint = Some(match self.hint.take() {
                Some(hint) => format!("{hint} {}", no_keys.hint).into(),
                None => no_keys.hint.as_str().into(),
            });
        }
    }

    /// The value of the column `error_code`: Lambda's name of the error, else that of the cause.
    pub fn code(&self) -> &str {
        (self.answer.as_ref())
            .and_then(|answer| answer.code.as_deref())
            .unwrap_or(self.cause.row().code)
    }

    /// The value of the column `error_message`: Lambda's message, else message and detail.
    pub fn column_message(&self) -> String {
        if (self.answer.as_ref()).is_none_or(|answer| answer.code.is_none()) {
            return format!("{}. {}", self.message, self.detail);
        }
        match self.message.split_once(": ") {
            Some((code, message)) if code == self.code() => message.to_owned(),
            _ => self.message.clone(),
        }
    }

    /// What PostgreSQL reports, without the function's name.
    pub(super) fn row(&self) -> Row {
        let cause = self.cause.row();
        let not_again = match self.cause {
            Cause::ConnectionLost | Cause::Service if !self.is_repeatable => {
                " It was not invoked again."
            }
            _ => "",
        };
        let mut detail = format!(
            "AWS Lambda client returned '{}'.",
            self.message.trim_end_matches('.')
        );
        if !self.detail.is_empty() {
            detail.push(' ');
            detail.push_str(&self.detail);
        }
        let mut hint = match &self.hint {
            Some(hint) => hint.to_string(),
            None => format!("{}{not_again}", cause.hint),
        };
        if self.is_repeatable && cause.may_have_run {
            hint.push_str(" Invoked again with the same durable execution name and payload, it does not run twice.");
        }
        // RDS has this message.
        Row::new(cause.sqlstate, "invoke API failed")
            .detail(detail)
            .hint(hint)
    }
}
