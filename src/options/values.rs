//! The types of options, and the checks of their values. A check that fails gives a sentence for HINT.

use crate::error::{Error, RequestError};
use crate::fields::{Key, Part};
use crate::lambda::name::{FunctionName, check_qualifier, check_tenant_id};
use crate::lambda::region::check_region;
use crate::lambda::request::{InvocationType, LogType};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Range of a timeout in milliseconds, as an option or a setting.
pub const TIMEOUT_RANGE_MS: RangeInclusive<i32> = 1..=3_600_000;
/// Range of `max_concurrency`, as an option or a setting. Each invocation takes a file descriptor (`lambda/descriptor_limiter.rs`).
pub const CONCURRENCY_RANGE: RangeInclusive<i32> = 1..=1000;
/// Range of `max_invocations`, as an option or a setting. 0 is no limit.
pub const INVOCATIONS_RANGE: RangeInclusive<i32> = 0..=i32::MAX;
/// Range of `max_payload_bytes`. PostgreSQL has no larger value.
const PAYLOAD_RANGE: RangeInclusive<i32> = 1..=1 << 30;
/// Range of `batch_bytes`. PostgreSQL has no larger value.
const BATCH_BYTES_RANGE: RangeInclusive<i32> = 1024..=1 << 30;
/// Range of `max_memory` in kilobytes, as an option or a setting.
pub const MEMORY_RANGE_KB: RangeInclusive<i32> = 64..=i32::MAX;
/// Range of `max_retries`, as an option or a setting.
pub const RETRIES_RANGE: RangeInclusive<i32> = 0..=100;

/// The type of an option.
pub(super) trait Value: Sized {
    /// Reads the text of an option; `None` where the text is no value of the type.
    fn read(text: &str) -> Option<Self>;
}

impl Value for String {
    fn read(text: &str) -> Option<String> {
        Some(text.to_owned())
    }
}

impl Value for u32 {
    fn read(text: &str) -> Option<u32> {
        text.parse().ok()
    }
}

impl Value for u64 {
    fn read(text: &str) -> Option<u64> {
        text.parse().ok()
    }
}

impl Value for usize {
    fn read(text: &str) -> Option<usize> {
        text.parse().ok()
    }
}

/// A number of milliseconds.
impl Value for Duration {
    fn read(text: &str) -> Option<Duration> {
        text.parse().ok().map(Duration::from_millis)
    }
}

/// A boolean, as PostgreSQL spells it.
impl Value for bool {
    fn read(text: &str) -> Option<bool> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => Some(true),
            "false" | "off" | "no" | "0" => Some(false),
            _ => None,
        }
    }
}

pub(super) fn boolean(value: &str) -> Result<(), String> {
    bool::read(value)
        .map(|_| ())
        .ok_or_else(|| "It is a Boolean: true or false.".to_owned())
}

/// An amount of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kilobytes(pub u32);

impl Kilobytes {
    /// The same amount in bytes.
    pub fn bytes(self) -> usize {
        self.0 as usize * 1024
    }
}

/// A number with a unit, as PostgreSQL has it. A number alone is kilobytes.
impl Value for Kilobytes {
    fn read(text: &str) -> Option<Kilobytes> {
        let end = text
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(text.len());
        let number: u64 = text[..end].parse().ok()?;
        let kilobytes = match &text[end..] {
            "B" => Some(number / 1024),
            "" | "kB" => Some(number),
            "MB" => number.checked_mul(1 << 10),
            "GB" => number.checked_mul(1 << 20),
            "TB" => number.checked_mul(1 << 30),
            _ => None,
        };
        u32::try_from(kilobytes?).ok().map(Kilobytes)
    }
}

pub(super) fn max_memory(value: &str) -> Result<(), String> {
    let kilobytes = Kilobytes::read(value).and_then(|Kilobytes(number)| i32::try_from(number).ok());
    match kilobytes {
        Some(number) if MEMORY_RANGE_KB.contains(&number) => Ok(()),
        _ => Err(format!(
            "It is an amount of memory from {} kB to {} kB, such as 64MB.",
            MEMORY_RANGE_KB.start(),
            MEMORY_RANGE_KB.end()
        )),
    }
}

pub(super) fn timeout_ms(value: &str) -> Result<(), String> {
    number_in(value, TIMEOUT_RANGE_MS, "number of milliseconds")
}

pub(super) fn max_concurrency(value: &str) -> Result<(), String> {
    number_in(value, CONCURRENCY_RANGE, "number")
}

pub(super) fn max_invocations(value: &str) -> Result<(), String> {
    number_in(value, INVOCATIONS_RANGE, "number")
        .map_err(|allowed| format!("{allowed} 0 stands for no limit."))
}

pub(super) fn max_payload_bytes(value: &str) -> Result<(), String> {
    number_in(value, PAYLOAD_RANGE, "number of bytes")
}

pub(super) fn max_retries(value: &str) -> Result<(), String> {
    number_in(value, RETRIES_RANGE, "number")
}

fn number_in(value: &str, range: RangeInclusive<i32>, what: &str) -> Result<(), String> {
    match value.parse() {
        Ok(number) if range.contains(&number) => Ok(()),
        _ => Err(format!(
            "It is a {what} from {} to {}.",
            range.start(),
            range.end()
        )),
    }
}

/// What the rows of a foreign table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TableObject {
    /// Invocations.
    #[default]
    Invocations,
    /// The functions of the account.
    Functions,
}

impl Value for TableObject {
    fn read(text: &str) -> Option<TableObject> {
        (text == "functions").then_some(TableObject::Functions)
    }
}

pub(super) fn object(value: &str) -> Result<(), String> {
    TableObject::read(value).map(|_| ()).ok_or_else(|| {
        "It is functions. Without the option, the rows of the table are invocations.".to_owned()
    })
}

/// How a failed invocation is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// As an error, which ends the statement.
    #[default]
    Raise,
    /// As a row with the error's name and message.
    Return,
}

impl Value for OnError {
    fn read(text: &str) -> Option<OnError> {
        match text {
            "raise" => Some(OnError::Raise),
            "return" => Some(OnError::Return),
            _ => None,
        }
    }
}

pub(super) fn on_error(value: &str) -> Result<(), String> {
    OnError::read(value)
        .map(|_| ())
        .ok_or_else(|| "It is raise or return.".to_owned())
}

/// What happens to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Events {
    /// It is sent at once.
    #[default]
    Send,
    /// It is written to the queue.
    Queue,
}

impl Events {
    /// The value of the setting, which is empty by default.
    pub fn of_setting(text: Option<String>) -> Events {
        text.and_then(|text| Events::read(&text))
            .unwrap_or_default()
    }
}

/// The values of [`Events`], as an option or a setting.
pub const EVENTS: [&str; 2] = ["send", "queue"];

impl Value for Events {
    fn read(text: &str) -> Option<Events> {
        match text {
            "send" => Some(Events::Send),
            "queue" => Some(Events::Queue),
            _ => None,
        }
    }
}

pub(super) fn events(value: &str) -> Result<(), String> {
    Events::read(value)
        .map(|_| ())
        .ok_or_else(|| "It is send or queue.".to_owned())
}

/// What the payload and the response of several rows look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BatchFormat {
    /// A JSON array of the payloads, and one of the answers.
    #[default]
    Array,
    /// Those of Redshift's Lambda UDFs.
    Redshift,
}

impl BatchFormat {
    const ALL: [BatchFormat; 2] = [BatchFormat::Array, BatchFormat::Redshift];

    /// The value of the option.
    pub fn name(self) -> &'static str {
        match self {
            BatchFormat::Array => "array",
            BatchFormat::Redshift => "redshift",
        }
    }
}

impl Value for BatchFormat {
    fn read(text: &str) -> Option<BatchFormat> {
        (BatchFormat::ALL.into_iter()).find(|format| format.name() == text)
    }
}

pub(super) fn batch_format(value: &str) -> Result<(), String> {
    BatchFormat::read(value)
        .map(|_| ())
        .ok_or_else(|| "It is array or redshift.".to_owned())
}

pub(super) fn batch_rows(value: &str) -> Result<(), String> {
    number_in(value, 1..=i32::MAX, "number of rows")
}

pub(super) fn batch_bytes(value: &str) -> Result<(), String> {
    number_in(value, BATCH_BYTES_RANGE, "number of bytes")
}

impl Value for Part {
    fn read(text: &str) -> Option<Part> {
        let all = [Part::Payload, Part::Response];
        all.into_iter().find(|part| part.name() == text)
    }
}

pub(super) fn part(value: &str) -> Result<(), String> {
    Part::read(value)
        .map(|_| ())
        .ok_or_else(|| "It is payload or response.".to_owned())
}

impl Value for Key {
    fn read(text: &str) -> Option<Key> {
        Key::parse(text)
    }
}

pub(super) fn key(value: &str) -> Result<(), String> {
    Key::parse(value).map(|_| ()).ok_or_else(|| {
        "It is a name, or at most 32 names with dots between them, such as address.country."
            .to_owned()
    })
}

/// Checks the URL of an endpoint. It has a scheme and a host, perhaps a port and a path, and nothing that could hide a secret or another
/// host.
pub fn endpoint_url(value: &str) -> Result<(), String> {
    let allowed =
        "It is a URL such as https://lambda.us-east-1.amazonaws.com or http://127.0.0.1:4566.";
    let uri: http::Uri = value.parse().map_err(|_| allowed.to_owned())?;
    let scheme = uri.scheme_str().unwrap_or_default();
    match uri.authority() {
        Some(authority)
            if (scheme == "http" || scheme == "https")
                && !authority.as_str().contains('@')
                && !authority.host().is_empty()
                && is_port(authority.as_str().strip_prefix(authority.host()))
                && uri.query().is_none()
                && !value.contains('#') =>
        {
            Ok(())
        }
        _ => Err(allowed.to_owned()),
    }
}

/// Whether the rest of an authority, behind the host, is empty or a port.
fn is_port(rest: Option<&str>) -> bool {
    match rest.map(|rest| rest.strip_prefix(':').ok_or(rest)) {
        Some(Ok(port)) => port.parse::<u16>().is_ok_and(|port| port > 0),
        Some(Err(rest)) => rest.is_empty(),
        None => false,
    }
}

pub(super) fn role_arn(value: &str) -> Result<(), String> {
    let parts: Vec<&str> = value.splitn(6, ':').collect();
    match parts[..] {
        ["arn", partition, "iam", "", account, role]
            if partition.starts_with("aws")
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && role.starts_with("role/")
                && value.len() <= 2048
                && value.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(())
        }
        _ => Err("It is an ARN such as arn:aws:iam::123456789012:role/name.".to_owned()),
    }
}

/// Most bytes of a value that becomes a header. Many servers accept no more in all headers together.
const MAX_HEADER: usize = 8192;

pub(super) fn header_value(value: &str) -> Result<(), String> {
    let graphic = value.bytes().all(|byte| byte.is_ascii_graphic());
    if graphic && (1..=MAX_HEADER).contains(&value.len()) {
        Ok(())
    } else {
        Err(format!(
            "It is text of 1 to {MAX_HEADER} printable ASCII characters without spaces."
        ))
    }
}

/// Checks an external id as AssumeRole does (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>).
pub(super) fn external_id(value: &str) -> Result<(), String> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
    if value.bytes().all(safe) && (2..=1224).contains(&value.len()) {
        Ok(())
    } else {
        Err("It is text of 2 to 1224 letters, digits and _+=,.@:/-.".to_owned())
    }
}

pub(super) fn region(value: &str) -> Result<(), String> {
    check_region(value).map_err(allowed)
}

pub(super) fn function_name(value: &str) -> Result<(), String> {
    FunctionName::parse(value).map(|_| ()).map_err(allowed)
}

pub(super) fn qualifier(value: &str) -> Result<(), String> {
    check_qualifier(value).map_err(allowed)
}

pub(super) fn tenant_id(value: &str) -> Result<(), String> {
    check_tenant_id(value).map_err(allowed)
}

pub(super) fn invocation_type(value: &str) -> Result<(), String> {
    InvocationType::parse(value).map(|_| ()).map_err(allowed)
}

pub(super) fn log_type(value: &str) -> Result<(), String> {
    LogType::parse(value).map(|_| ()).map_err(allowed)
}

fn allowed(error: Error) -> String {
    match error {
        Error::Request(RequestError::InvalidValue { allowed, .. }) => allowed,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Object, check};

    #[test]
    fn of_a_server() {
        let ok = |name, value| check(Object::Server, name, Some(value)).is_ok();
        assert!(ok("connect_timeout_ms", "1") && ok("connect_timeout_ms", "3600000"));
        assert!(!ok("connect_timeout_ms", "0") && !ok("connect_timeout_ms", "3600001"));
        assert!(!ok("connect_timeout_ms", "1s"));
        assert!(ok("endpoint_url", "http://127.0.0.1:4566"));
        assert!(ok(
            "endpoint_url",
            "https://vpce-1.lambda.us-east-1.vpce.amazonaws.com/"
        ));
        assert!(ok("endpoint_url", "http://[::1]:4566"));
        for url in [
            "",
            "127.0.0.1:80",
            "ftp://h",
            "http://",
            "http://u:p@h",
            "http://h?x=1",
            "http://h\r\nX: y",
            "http://h /",
            "http://h#x",
            "http://h:",
            "http://h:0",
            "http://h:99999",
        ] {
            assert!(!ok("endpoint_url", url), "{url:?}");
        }
        assert!(ok("use_fips", "on") && !ok("use_fips", "maybe"));
        assert!(ok("role_arn", "arn:aws:iam::123456789012:role/path/name"));
        assert!(!ok("role_arn", "arn:aws:iam::1:role/name") && !ok("role_arn", "name"));
    }
}
