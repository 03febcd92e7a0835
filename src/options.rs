//! The one table of options: for each its name, the catalog objects that take it, and its check.
//!
//! Reading options from the catalogs is config.rs's job; what a value means is told where it is used.

use crate::error::Error;
use crate::lambda::name::{FunctionName, check_qualifier, check_region};
use crate::lambda::request::{InvocationType, LogType};
use std::ops::RangeInclusive;

/// Shortest and longest time-out, in milliseconds, of the options and the settings.
pub const TIMEOUT_RANGE_MS: RangeInclusive<i32> = 1..=900_000;
/// Fewest and most invocations in flight for one scan, of the options and the setting. Each takes a file descriptor.
pub const CONCURRENCY_RANGE: RangeInclusive<i32> = 1..=1000;
/// Fewest and most invocations of one statement, of the options and the setting; 0 stands for no limit.
pub const INVOCATIONS_RANGE: RangeInclusive<i32> = 0..=i32::MAX;
/// Fewest and most further attempts at one invocation.
const RETRIES_RANGE: RangeInclusive<i32> = 0..=100;

/// A kind of catalog object that carries options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    /// `CREATE FOREIGN DATA WRAPPER`, which takes none.
    Wrapper,
    /// `CREATE SERVER`.
    Server,
    /// `CREATE USER MAPPING`, the only place for secrets.
    UserMapping,
    /// `CREATE FOREIGN TABLE`.
    Table,
    /// A column of a foreign table, which takes none.
    Column,
}

impl Object {
    fn name(self) -> &'static str {
        match self {
            Object::Wrapper => "foreign-data wrapper",
            Object::Server => "server",
            Object::UserMapping => "user mapping",
            Object::Table => "foreign table",
            Object::Column => "column",
        }
    }
}

/// One option.
pub struct Definition {
    /// Its one spelling, in SQL, code, documents and errors.
    pub name: &'static str,
    /// The objects that take it.
    pub objects: &'static [Object],
    /// Whether its value may never be shown.
    pub secret: bool,
    /// Whether only a superuser sets it, since it sends the server process somewhere.
    pub superuser: bool,
    check: fn(&str) -> Result<(), String>,
}

const fn option(
    name: &'static str,
    objects: &'static [Object],
    check: fn(&str) -> Result<(), String>,
) -> Definition {
    Definition {
        name,
        objects,
        secret: false,
        superuser: false,
        check,
    }
}

const fn secret(name: &'static str) -> Definition {
    Definition {
        secret: true,
        ..option(name, &[Object::UserMapping], header_value)
    }
}

const fn superuser(definition: Definition) -> Definition {
    Definition {
        superuser: true,
        ..definition
    }
}

/// The table's own value comes before its server's.
const SCANS: &[Object] = &[Object::Server, Object::Table];

/// Every option there is.
pub static OPTIONS: &[Definition] = &[
    option("region", &[Object::Server, Object::Table], region),
    superuser(option("endpoint_url", &[Object::Server], endpoint_url)),
    superuser(option("sts_endpoint_url", &[Object::Server], endpoint_url)),
    option("connect_timeout_ms", &[Object::Server], timeout_ms),
    option("request_timeout_ms", &[Object::Server], timeout_ms),
    superuser(option("profile", &[Object::Server], header_value)),
    option("role_arn", &[Object::Server], role_arn),
    option("external_id", &[Object::Server], external_id),
    option("use_fips", &[Object::Server], boolean),
    option("use_dualstack", &[Object::Server], boolean),
    secret("access_key_id"),
    secret("secret_access_key"),
    secret("session_token"),
    option("function_name", &[Object::Table], function_name),
    option("qualifier", &[Object::Table], qualifier),
    option("invocation_type", &[Object::Table], invocation_type),
    option("log_type", &[Object::Table], log_type),
    option("max_concurrency", SCANS, max_concurrency),
    option("max_invocations", SCANS, max_invocations),
    option("max_retries", SCANS, max_retries),
    option("retry_timeout_ms", SCANS, timeout_ms),
    option("async_capable", SCANS, boolean),
    option("deduplicate", &[Object::Table], boolean),
    option("on_error", &[Object::Table], on_error),
];

/// Checks one option of one object.
///
/// Errors with [`Error::UnknownOption`], which names the nearest option, or [`Error::InvalidOption`].
pub fn check(object: Object, name: &str, value: &str) -> Result<&'static Definition, Error> {
    let definition = OPTIONS
        .iter()
        .find(|definition| definition.name == name && definition.objects.contains(&object))
        .ok_or_else(|| unknown(object, name))?;
    (definition.check)(value).map_err(|allowed| Error::InvalidOption {
        name: definition.name,
        // A URL that is refused may be so for the password in it.
        value: (!definition.secret && !value.contains('@')).then(|| value.to_owned()),
        allowed,
    })?;
    Ok(definition)
}

/// Checks that the options of one object make sense together.
///
/// Half a key would otherwise be no key, and the machine's own credentials would be used instead.
pub fn check_together(names: &[&str]) -> Result<(), Error> {
    for (given, missing) in [
        ("access_key_id", "secret_access_key"),
        ("secret_access_key", "access_key_id"),
        ("session_token", "access_key_id"),
        ("external_id", "role_arn"),
    ] {
        if names.contains(&given) && !names.contains(&missing) {
            return Err(Error::OptionsTogether { missing, given });
        }
    }
    Ok(())
}

fn unknown(object: Object, name: &str) -> Error {
    let elsewhere = OPTIONS.iter().find(|definition| definition.name == name);
    let here: Vec<&str> = OPTIONS
        .iter()
        .filter(|definition| definition.objects.contains(&object))
        .map(|definition| definition.name)
        .collect();
    let nearest = here
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, name), *known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3));
    let hint = if let Some(definition) = elsewhere {
        let objects: Vec<&str> = definition.objects.iter().map(|o| o.name()).collect();
        format!(
            "\"{}\" is an option of a {}.",
            definition.name,
            objects.join(" or a ")
        )
    } else if let Some((_, nearest)) = nearest {
        format!("Perhaps you meant the option \"{nearest}\".")
    } else if here.is_empty() {
        format!("There are no options for a {}.", object.name())
    } else {
        format!("Options here are {}.", here.join(", "))
    };
    Error::UnknownOption {
        name: name.to_owned(),
        object: object.name(),
        hint,
    }
}

/// Reads a boolean as PostgreSQL spells them.
pub fn parse_boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

fn boolean(value: &str) -> Result<(), String> {
    parse_boolean(value)
        .map(|_| ())
        .ok_or_else(|| "It is a Boolean: true or false.".to_owned())
}

fn timeout_ms(value: &str) -> Result<(), String> {
    number_in(value, TIMEOUT_RANGE_MS, "number of milliseconds")
}

fn max_concurrency(value: &str) -> Result<(), String> {
    number_in(value, CONCURRENCY_RANGE, "number")
}

fn max_invocations(value: &str) -> Result<(), String> {
    number_in(value, INVOCATIONS_RANGE, "number")
        .map_err(|allowed| format!("{allowed} 0 stands for no limit."))
}

fn max_retries(value: &str) -> Result<(), String> {
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

/// What becomes of an invocation that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// It ends the statement.
    #[default]
    Raise,
    /// It is a row that tells what went wrong.
    Return,
}

impl OnError {
    /// Reads the option `on_error`.
    pub fn parse(value: &str) -> Option<OnError> {
        match value {
            "raise" => Some(OnError::Raise),
            "return" => Some(OnError::Return),
            _ => None,
        }
    }
}

fn on_error(value: &str) -> Result<(), String> {
    OnError::parse(value)
        .map(|_| ())
        .ok_or_else(|| "It is raise or return.".to_owned())
}

/// Checks the URL of an endpoint: scheme and host, perhaps a port and a path, and nothing that could hide
/// a secret or another host.
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

/// Whether what follows a host is nothing or a port.
fn is_port(rest: Option<&str>) -> bool {
    match rest.map(|rest| rest.strip_prefix(':').ok_or(rest)) {
        Some(Ok(port)) => port.parse::<u16>().is_ok_and(|port| port > 0),
        Some(Err(rest)) => rest.is_empty(),
        None => false,
    }
}

fn role_arn(value: &str) -> Result<(), String> {
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

/// Most bytes of what becomes a header: what a server takes of all headers together, or less.
const MAX_HEADER: usize = 8192;

fn header_value(value: &str) -> Result<(), String> {
    let graphic = value.bytes().all(|byte| byte.is_ascii_graphic());
    if graphic && (1..=MAX_HEADER).contains(&value.len()) {
        Ok(())
    } else {
        Err(format!(
            "It is text of 1 to {MAX_HEADER} printable ASCII characters without spaces."
        ))
    }
}

/// As AssumeRole has it (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>).
fn external_id(value: &str) -> Result<(), String> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
    if value.bytes().all(safe) && (2..=1224).contains(&value.len()) {
        Ok(())
    } else {
        Err("It is text of 2 to 1224 letters, digits and _+=,.@:/-.".to_owned())
    }
}

fn region(value: &str) -> Result<(), String> {
    check_region(value).map_err(allowed)
}

fn function_name(value: &str) -> Result<(), String> {
    FunctionName::parse(value).map(|_| ()).map_err(allowed)
}

fn qualifier(value: &str) -> Result<(), String> {
    check_qualifier(value).map_err(allowed)
}

fn invocation_type(value: &str) -> Result<(), String> {
    InvocationType::parse(value).map(|_| ()).map_err(allowed)
}

fn log_type(value: &str) -> Result<(), String> {
    LogType::parse(value).map(|_| ()).map_err(allowed)
}

fn allowed(error: Error) -> String {
    match error {
        Error::InvalidValue { allowed, .. } => allowed,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_live_only_in_user_mappings() {
        for definition in OPTIONS.iter().filter(|definition| definition.secret) {
            assert_eq!(definition.objects, [Object::UserMapping]);
            for object in [
                Object::Wrapper,
                Object::Server,
                Object::Table,
                Object::Column,
            ] {
                let error = check(object, definition.name, "hunter2").err();
                assert!(matches!(error, Some(Error::UnknownOption { .. })));
                assert!(!format!("{error:?}").contains("hunter2"));
            }
        }
        let error = check(Object::UserMapping, "secret_access_key", "hunter 2").err();
        assert!(matches!(
            error,
            Some(Error::InvalidOption { value: None, .. })
        ));
    }

    #[test]
    fn unknown_options_suggest_the_nearest() {
        let hint = |object, name| match check(object, name, "x") {
            Err(Error::UnknownOption { hint, .. }) => hint,
            _ => String::new(),
        };
        assert!(hint(Object::Server, "regoin").contains("\"region\""));
        assert!(hint(Object::Server, "request_timeout").contains("\"request_timeout_ms\""));
        assert!(hint(Object::Table, "endpoint_url").contains("option of a server"));
        assert!(hint(Object::Column, "zzz").contains("no options"));
        assert!(hint(Object::Server, "zzzzzzzzzzzz").starts_with("Options here are region"));
    }

    #[test]
    fn half_a_key_is_refused() {
        assert!(check_together(&["access_key_id", "secret_access_key"]).is_ok());
        assert!(check_together(&["access_key_id"]).is_err());
        assert!(check_together(&["secret_access_key"]).is_err());
        assert!(check_together(&["session_token"]).is_err());
        assert!(check_together(&[]).is_ok());
    }

    #[test]
    fn values() {
        let ok = |name, value| check(Object::Server, name, value).is_ok();
        assert!(ok("connect_timeout_ms", "1") && ok("connect_timeout_ms", "900000"));
        assert!(!ok("connect_timeout_ms", "0") && !ok("connect_timeout_ms", "900001"));
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
