//! An answer that is no response: what it says, whoever it came from, and whether the time of the request's signature is what it does
//! not like.
//!
//! AWS names its errors, and the SDK reads nothing of an answer that has no name: that of a gateway, a proxy, an emulator.

use crate::error::quotable;
use aws_sdk_lambda::operation::RequestId;
use aws_sdk_lambda::operation::invoke::InvokeError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use regex_lite::Regex;
use std::sync::LazyLock;
use std::time::Duration;

/// The SDK takes less for the time that a request is under way.
const OFF: Duration = Duration::from_secs(4 * 60);

/// Bytes of a body that words are looked for in.
const MOST_OF_BODY: usize = 16 << 10;

/// What is not text in HTML and XML.
static MARKUP: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?is)<!--.*?(-->|\z)|<(script|style)\b.*?(</(script|style)\s*>|\z)|<[^>]*(>|\z)")
        .ok()
});

/// Codes of AWS's for a time that is not accepted.
const OF_TIME: [&str; 4] = [
    "RequestTimeTooSkewed",
    "RequestExpired",
    "RequestExpiredException",
    "RequestInTheFuture",
];

/// Codes that can mean the same, where times differ: those of the SDK.
const MAYBE_OF_TIME: [&str; 5] = [
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "AuthFailure",
    "AccessDeniedException",
    "AccessDenied",
];

/// What an answer says.
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// AWS's name of the error.
    pub code: Option<String>,
    /// Its message, or the first words of whatever else came.
    pub message: Option<String>,
    /// AWS's id of the request.
    pub request_id: Option<String>,
    date: Option<String>,
}

impl Refusal {
    /// Reads an answer, of which the SDK has made an error.
    pub fn new(answer: &HttpResponse, error: &InvokeError) -> Refusal {
        let header = |name| answer.headers().get(name).map(str::to_owned);
        let meta = error.meta();
        let body = || words(answer.body().bytes().unwrap_or_default());
        // With a body that is no JSON the SDK does not look at the header.
        let code = || {
            let code = header("x-amzn-errortype")?;
            let code = code.split(':').next().unwrap_or_default();
            code.rsplit('#').next().map(str::to_owned)
        };
        Refusal {
            status: answer.status().as_u16(),
            code: (meta.code().map(str::to_owned)).or_else(code),
            message: meta.message().map(str::to_owned).or_else(body),
            request_id: (meta.request_id().or(answer.headers().request_id())).map(str::to_owned),
            // What is no date may be a secret that was sent.
            date: header("date").filter(|date| DateTime::from_str(date, Format::HttpDate).is_ok()),
        }
    }

    /// Whether it says that the time is not accepted.
    pub fn is_of_time(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        let message = self.message.as_deref().unwrap_or_default();
        OF_TIME.contains(&code)
            || MAYBE_OF_TIME[..3].contains(&code)
                && ["Signature expired", "Signature not yet current"]
                    .iter()
                    .any(|said| message.contains(said))
    }

    /// Whether that may be what it means.
    pub fn may_be_of_time(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        OF_TIME.contains(&code) || MAYBE_OF_TIME.contains(&code)
    }

    /// Seconds that the endpoint's clock is ahead of the time that the request was signed with, as `X-Amz-Date` has it.
    pub fn difference(&self, signed_at: Option<&str>) -> Option<i64> {
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

    /// What is said of the clock, as a sentence with a space before it.
    pub fn of_time(&self, difference: Option<i64>) -> String {
        let Some(date) = &self.date else {
            return " The endpoint does not tell its time.".to_owned();
        };
        let date = quotable(date);
        match difference.filter(|_| is_off(difference)) {
            Some(seconds) => format!(
                " The machine's clock is {} {} the endpoint's, which says {date}.",
                span(seconds.unsigned_abs()),
                if seconds > 0 { "behind" } else { "ahead of" },
            ),
            None => format!(" The endpoint's clock says {date}."),
        }
    }
}

/// Whether times differ by more than a request may be under way.
pub fn is_off(difference: Option<i64>) -> bool {
    difference.is_some_and(|seconds| seconds.unsigned_abs() > OFF.as_secs())
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

/// What a body says: the message of JSON, or its text without markup.
fn words(body: &[u8]) -> Option<String> {
    if let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(body) {
        let said = ["message", "Message", "errorMessage", "error"].iter();
        if let Some(said) = said.filter_map(|name| fields.get(*name)?.as_str()).next() {
            return Some(said.to_owned());
        }
    }
    let is_cut = body.len() > MOST_OF_BODY;
    let mut text = String::from_utf8_lossy(&body[..body.len().min(MOST_OF_BODY)]).into_owned();
    if text.trim_start().starts_with('<')
        && let Some(markup) = MARKUP.as_ref()
    {
        text = markup.replace_all(&text, " ").into_owned();
    }
    let mut words: Vec<&str> = text.split_whitespace().collect();
    if is_cut {
        // What is cut may be half a secret.
        words.pop();
    }
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_types::body::SdkBody;

    #[test]
    fn first_words() {
        assert_eq!(
            words(b"{\"message\":\"Forbidden\"}").as_deref(),
            Some("Forbidden")
        );
        assert_eq!(
            words(b"<html><head><style>p { x }</style><title>407</title></head>\n<body><!-- no --><p>Log&nbsp;in</body>").as_deref(),
            Some("407 Log&nbsp;in")
        );
        assert_eq!(
            words(b"no healthy\n upstream").as_deref(),
            Some("no healthy upstream")
        );
        assert_eq!(words(b"<a").as_deref(), None);
        assert_eq!(words(b" \n").as_deref(), None);
        assert_eq!(words(b"a < b").as_deref(), Some("a < b"));
        // Cut in the middle of a word, which is left out.
        let long = "word ".repeat(MOST_OF_BODY);
        assert!(words(long.as_bytes()).is_some_and(|words| words.ends_with("word")));
        assert_eq!(words("x".repeat(2 * MOST_OF_BODY).as_bytes()), None);
    }

    #[test]
    fn what_is_no_date_is_not_shown() {
        let said = |date: &'static str| {
            let mut answer = HttpResponse::new(403.try_into().unwrap(), SdkBody::empty());
            answer.headers_mut().insert("date", date);
            Refusal::new(&answer, &InvokeError::unhandled("refused")).of_time(None)
        };
        assert_eq!(said("a secret"), " The endpoint does not tell its time.");
        let date = "Sun, 29 Nov 2026 12:00:00 GMT";
        assert_eq!(said(date), format!(" The endpoint's clock says {date}."));
    }

    #[test]
    fn differences() {
        let refusal = |date: &str| Refusal {
            status: 403,
            code: Some("InvalidSignatureException".to_owned()),
            message: None,
            request_id: None,
            date: Some(date.to_owned()),
        };
        let there = refusal("Sun, 29 Nov 2026 12:00:00 GMT");
        assert_eq!(there.difference(Some("20261129T110000Z")), Some(3600));
        assert_eq!(there.difference(Some("20261129T120100Z")), Some(-60));
        assert_eq!(there.difference(Some("2026")), None);
        assert_eq!(refusal("today").difference(Some("20261129T110000Z")), None);
        assert!(is_off(Some(-241)) && !is_off(Some(240)) && !is_off(None));
        assert!(there.of_time(Some(3600)).contains("60 minutes behind"));
    }
}
