//! An error response: status, code and message, and whether it refuses the time of the request's signature.
//!
//! AWS names its errors. The SDK reads nothing of a response without such a name, which a gateway, a proxy or an emulator sends.

use crate::error::quotable;
use aws_sdk_lambda::error::ErrorMetadata;
use aws_sdk_lambda::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use regex_lite::Regex;
use std::sync::LazyLock;
use std::time::Duration;

/// Largest difference of clocks that may be due to the time that a request is in transit. The SDK has the same limit.
const MOST_SKEW: Duration = Duration::from_secs(4 * 60);

/// Bytes of a body that are searched for text.
const MAX_BODY: usize = 16 << 10;

/// Markup of HTML and XML.
static MARKUP: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?is)<!--.*?(-->|\z)|<(script|style)\b.*?(</(script|style)\s*>|\z)|<[^>]*(>|\z)")
        .ok()
});

/// AWS's codes for a time that is not accepted.
const CLOCK_ERRORS: [&str; 4] = [
    "RequestTimeTooSkewed",
    "RequestExpired",
    "RequestExpiredException",
    "RequestInTheFuture",
];

/// Codes that mean the same where the clocks differ. The SDK has the same list.
const POSSIBLE_CLOCK_ERRORS: [&str; 5] = [
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "AuthFailure",
    "AccessDeniedException",
    "AccessDenied",
];

/// An error response.
pub struct ErrorResponse {
    /// HTTP status.
    pub status: u16,
    /// AWS's name of the error.
    pub code: Option<String>,
    /// AWS's message, or the text of the body.
    pub message: Option<String>,
    /// AWS's id of the request.
    pub request_id: Option<String>,
    date: Option<String>,
}

impl ErrorResponse {
    /// Reads a response of which the SDK has made an error.
    pub fn new(answer: &HttpResponse, meta: &ErrorMetadata) -> ErrorResponse {
        let header = |name| answer.headers().get(name).map(str::to_owned);
        let body = || body_text(answer.body().bytes().unwrap_or_default());
        // The SDK ignores the header if the body is not JSON.
        let code = || {
            let code = header("x-amzn-errortype")?;
            let code = code.split(':').next().unwrap_or_default();
            code.rsplit('#').next().map(str::to_owned)
        };
        ErrorResponse {
            status: answer.status().as_u16(),
            code: (meta.code().map(str::to_owned)).or_else(code),
            message: meta.message().map(str::to_owned).or_else(body),
            request_id: (meta.request_id().or(answer.headers().request_id())).map(str::to_owned),
            // A text that is not a date may be a secret that was sent.
            date: header("date").filter(|date| DateTime::from_str(date, Format::HttpDate).is_ok()),
        }
    }

    /// Whether the response says that the time is not accepted.
    pub fn is_clock_error(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        let message = self.message.as_deref().unwrap_or_default();
        CLOCK_ERRORS.contains(&code)
            || POSSIBLE_CLOCK_ERRORS[..3].contains(&code)
                && ["Signature expired", "Signature not yet current"]
                    .iter()
                    .any(|text| message.contains(text))
    }

    /// Whether the response can mean that the time is not accepted.
    pub fn may_be_clock_error(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        CLOCK_ERRORS.contains(&code) || POSSIBLE_CLOCK_ERRORS.contains(&code)
    }

    /// Seconds by which the endpoint's clock is ahead of the time of the signature, which is given in the format of `X-Amz-Date`.
    pub fn skew(&self, signed_at: Option<&str>) -> Option<i64> {
        let there = DateTime::from_str(self.date.as_deref()?, Format::HttpDate).ok()?;
        let signed = signed_at?;
        let part = |from: usize, to: usize| signed.get(from..to);
        let iso = format!(
            "{}-{}-{}T{}:{}:{}Z",
            part(0, 4)?,
            part(4, 6)?,
            part(6, 8)?,
            part(9, 11)?,
            part(11, 13)?,
            part(13, 15)?
        );
        let here = DateTime::from_str(&iso, Format::DateTime).ok()?;
        Some(there.secs() - here.secs())
    }

    /// A sentence about the clocks, with a space before it.
    pub fn clock_detail(&self, skew: Option<i64>) -> String {
        let Some(date) = &self.date else {
            return " The endpoint does not tell its time.".to_owned();
        };
        let date = quotable(date);
        match skew.filter(|_| is_skewed(skew)) {
            Some(seconds) => format!(
                " The machine's clock is {} {} the endpoint's, which says {date}.",
                duration(seconds.unsigned_abs()),
                if seconds > 0 { "behind" } else { "ahead of" },
            ),
            None => format!(" The endpoint's clock says {date}."),
        }
    }
}

/// Whether clocks differ by more than the time that a request is in transit.
pub fn is_skewed(skew: Option<i64>) -> bool {
    skew.is_some_and(|seconds| seconds.unsigned_abs() > MOST_SKEW.as_secs())
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

/// The text of a body: the message in JSON, else the body without markup.
fn body_text(body: &[u8]) -> Option<String> {
    if let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(body) {
        let names = ["message", "Message", "errorMessage", "error"];
        if let Some(message) = (names.iter()).find_map(|name| fields.get(*name)?.as_str()) {
            return Some(message.to_owned());
        }
    }
    let is_cut = body.len() > MAX_BODY;
    let mut text = String::from_utf8_lossy(&body[..body.len().min(MAX_BODY)]).into_owned();
    if text.trim_start().starts_with('<')
        && let Some(markup) = MARKUP.as_ref()
    {
        text = markup.replace_all(&text, " ").into_owned();
    }
    let mut words: Vec<&str> = text.split_whitespace().collect();
    if is_cut {
        // The last word is cut, and may be half a secret.
        words.pop();
    }
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_types::body::SdkBody;

    #[test]
    fn text_of_a_body() {
        assert_eq!(
            body_text(b"{\"message\":\"Forbidden\"}").as_deref(),
            Some("Forbidden")
        );
        assert_eq!(
            body_text(b"<html><head><style>p { x }</style><title>407</title></head>\n<body><!-- no --><p>Log&nbsp;in</body>").as_deref(),
            Some("407 Log&nbsp;in")
        );
        assert_eq!(
            body_text(b"no healthy\n upstream").as_deref(),
            Some("no healthy upstream")
        );
        assert_eq!(body_text(b"<a").as_deref(), None);
        assert_eq!(body_text(b" \n").as_deref(), None);
        assert_eq!(body_text(b"a < b").as_deref(), Some("a < b"));
        // Cut in the middle of a word, which is left out.
        let long = "word ".repeat(MAX_BODY);
        assert!(body_text(long.as_bytes()).is_some_and(|words| words.ends_with("word")));
        assert_eq!(body_text("x".repeat(2 * MAX_BODY).as_bytes()), None);
    }

    #[test]
    fn only_a_date_is_shown() {
        let detail = |date: &'static str| {
            let mut answer = HttpResponse::new(403.try_into().unwrap(), SdkBody::empty());
            answer.headers_mut().insert("date", date);
            ErrorResponse::new(&answer, &ErrorMetadata::builder().build()).clock_detail(None)
        };
        assert_eq!(detail("a secret"), " The endpoint does not tell its time.");
        let date = "Sun, 29 Nov 2026 12:00:00 GMT";
        assert_eq!(detail(date), format!(" The endpoint's clock says {date}."));
    }

    #[test]
    fn clock_skew() {
        let with_date = |date: &str| ErrorResponse {
            status: 403,
            code: Some("InvalidSignatureException".to_owned()),
            message: None,
            request_id: None,
            date: Some(date.to_owned()),
        };
        let there = with_date("Sun, 29 Nov 2026 12:00:00 GMT");
        assert_eq!(there.skew(Some("20261129T110000Z")), Some(3600));
        assert_eq!(there.skew(Some("20261129T120100Z")), Some(-60));
        assert_eq!(there.skew(Some("2026")), None);
        assert_eq!(with_date("today").skew(Some("20261129T110000Z")), None);
        assert!(is_skewed(Some(-241)) && !is_skewed(Some(240)) && !is_skewed(None));
        assert!(there.clock_detail(Some(3600)).contains("60 minutes behind"));
    }
}
