//! The response of an invocation: its payload, the log, and the error of a function that failed.
//!
//! The endpoint and the function are not trusted to keep to any format. Whether the payload fits its column is checked elsewhere.

use super::attempt_probe::AttemptProbe;
use crate::memory;
use aws_sdk_lambda::operation::RequestId;
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use base64::Engine;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// The response of an invocation, or a row's part of it. Rows of one invocation share its texts and the bytes of its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvokeResponse {
    /// HTTP status: 200, 202 or 204.
    pub status_code: i32,
    /// `Handled` or `Unhandled` if the function failed; the payload has the error then.
    pub function_error: Option<Arc<str>>,
    /// `None` if it is empty.
    pub payload: Option<Bytes>,
    /// The version that ran.
    pub executed_version: Option<Arc<str>>,
    /// Base64 of the log's tail.
    pub log_result: Option<Arc<str>>,
    /// The request id.
    pub request_id: Option<Arc<str>>,
    /// The durable execution that was started, or that had the name already.
    pub durable_execution_arn: Option<Arc<str>>,
}

/// The error of a function that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thrown {
    /// The error's type, or else `Handled` or `Unhandled`.
    pub code: String,
    /// The error's message, or else the beginning of the payload; `None` if that is empty.
    pub message: Option<String>,
}

/// Most copies of the message in memory, beside the payload.
const COPIES: usize = 3;

/// The payload that Lambda's runtimes make when a function fails.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ErrorPayload {
    error_type: Option<Value>,
    error_message: Option<Value>,
}

/// The first characters.
fn beginning(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The text of a JSON string; `None` for any other value.
fn text(value: &Option<Value>) -> Option<String> {
    value.as_ref()?.as_str().map(str::to_owned)
}

impl InvokeResponse {
    /// The function's error; `None` if it did not fail.
    pub fn thrown(&self) -> Option<Thrown> {
        let function_error = self.function_error.clone()?;
        let payload = self.payload.as_deref().unwrap_or_default();
        // A message may be all of it, and is copied.
        let is_readable = memory::check_available(COPIES * payload.len(), "message").is_ok();
        let readable = if is_readable { payload } else { &[] };
        let thrown: ErrorPayload = serde_json::from_slice(readable).unwrap_or_default();
        let shown = &payload[..payload.len().min(1024)];
        let beginning = || beginning(&String::from_utf8_lossy(shown));
        let message = text(&thrown.error_message).or_else(|| (!payload.is_empty()).then(beginning));
        Some(Thrown {
            code: text(&thrown.error_type)
                .unwrap_or_else(|| function_error.to_string())
                .replace('\0', "?"),
            message: message.map(|message| message.replace('\0', "?")),
        })
    }

    /// The log's tail as text. A tail may begin inside a character, and a log may hold zero bytes, which PostgreSQL's text can't hold: both are
    /// replaced. `None` if it is not base64; `log_result` has it unchanged.
    pub fn log(&self) -> Option<String> {
        let encoded = self.log_result.as_ref()?;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(encoded.as_bytes())
            .ok()?;
        Some(String::from_utf8_lossy(&bytes).replace(['\0', '\u{fffd}'], "?"))
    }
}

impl InvokeResponse {
    /// The answer to a question, whose body was kept apart from the SDK's output.
    pub(super) fn of_question(request_id: Option<&str>, probe: &AttemptProbe) -> InvokeResponse {
        InvokeResponse {
            request_id: request_id.map(Arc::from),
            ..InvokeResponse::empty(200, Some(probe.payload()))
        }
    }

    /// A response that has a status, perhaps a payload, and nothing else.
    pub fn empty(status_code: i32, payload: Option<Vec<u8>>) -> InvokeResponse {
        InvokeResponse {
            status_code,
            function_error: None,
            payload: payload.map(Bytes::from),
            executed_version: None,
            log_result: None,
            request_id: None,
            durable_execution_arn: None,
        }
    }

    /// The SDK's output, with the payload that was kept apart from it.
    pub fn new(output: InvokeOutput, payload: Vec<u8>) -> InvokeResponse {
        InvokeResponse {
            request_id: output.request_id().map(Arc::from),
            status_code: output.status_code,
            function_error: output.function_error.map(Arc::from),
            payload: (!payload.is_empty()).then(|| Bytes::from(payload)),
            executed_version: output.executed_version.map(Arc::from),
            log_result: output.log_result.map(Arc::from),
            durable_execution_arn: output.durable_execution_arn.map(Arc::from),
        }
    }
}
