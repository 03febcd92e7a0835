//! Why each provider of credentials has none, in the words of AWS's tools: environment, web identity, container, instance metadata.

use super::error_chain::{find, first_line, innermost};
use super::files::{self, LARGEST, Unreadable};
use aws_config::imds::client::error::ImdsError;
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use std::env::VarError;
use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::path::Path;

/// The access key id.
pub const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// The secret access key.
pub const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
/// The name of the profile.
pub const PROFILE: &str = "AWS_PROFILE";
/// The region. The first variable precedes the second.
pub const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
/// A file with a web identity token.
pub const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
/// The role for the web identity token.
pub const ROLE: &str = "AWS_ROLE_ARN";
/// The URL of a container's credentials.
pub const CONTAINER: [&str; 2] = [
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];
/// A file with the token for a container's credentials.
pub const CONTAINER_TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
/// Whether instance metadata are disabled.
pub const NO_METADATA: &str = "AWS_EC2_METADATA_DISABLED";

/// Problem of a file that does not exist.
pub const NO_FILE: &str = "no such file";

/// Why a file could not be read.
fn file_problem(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => NO_FILE.to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// Reads a file. The error is the end of a sentence.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    files::read(path).map_err(|error| match error {
        Unreadable::System(error) => file_problem(&error),
        Unreadable::NotRegular => "is no file".to_owned(),
        Unreadable::TooLarge => format!("is larger than {} MB", LARGEST >> 20),
    })
}

/// Why the environment has no credentials.
pub fn environment_problem() -> String {
    let state = |name: &str| match std::env::var(name) {
        Ok(value) if value.trim().is_empty() => Some("empty"),
        Ok(_) => None,
        Err(VarError::NotPresent) => Some("not set"),
        Err(_) => Some("not UTF-8"),
    };
    let why = match (state(KEY_ID), state(SECRET)) {
        (Some(one), Some(other)) if one == other => format!("{KEY_ID} and {SECRET} are {one}"),
        (Some(one), Some(other)) => format!("{KEY_ID} is {one}, and {SECRET} is {other}"),
        (Some(one), None) => format!("{KEY_ID} is {one}, though {SECRET} is set"),
        (None, Some(other)) => format!("{SECRET} is {other}, though {KEY_ID} is set"),
        (None, None) => "not usable".to_owned(),
    };
    format!("Environment variables: {why}.")
}

/// Why the web identity token gives no credentials.
pub fn web_identity_problem(error: Option<&(dyn StdError + 'static)>) -> String {
    let why = match (variable_of(TOKEN_FILE), variable_of(ROLE)) {
        (None, _) => format!("{TOKEN_FILE} is not set"),
        (_, None) => format!("{TOKEN_FILE} is set, and {ROLE} is not"),
        (Some(path), _) => match std::fs::metadata(&path) {
            Err(problem) => format!("{path}: {}", file_problem(&problem)),
            Ok(_) => error_text(error),
        },
    };
    format!("Web identity token: {why}.")
}

/// The problem of the token for a container's credentials.
pub fn container_token_problem() -> Option<String> {
    let path = variable_of(CONTAINER_TOKEN_FILE)?;
    match read_file(path.as_ref()) {
        Err(problem) => Some(format!("{path}: {problem}")),
        Ok(token) if token.iter().any(u8::is_ascii_control) => Some(format!(
            "{path}: has a line end, or another character that a header can't have"
        )),
        Ok(_) => None,
    }
}

/// Why the container has no credentials.
pub fn container_problem(error: Option<&(dyn StdError + 'static)>) -> String {
    let [relative, full] = CONTAINER;
    let why = if let Some(problem) = container_token_problem() {
        problem
    } else if let Some(name) = CONTAINER
        .into_iter()
        .find(|name| variable_of(name).is_some())
    {
        format!("what {name} names: {}", error_text(error))
    } else {
        format!("neither {relative} nor {full} is set")
    };
    format!("Container credentials: {why}.")
}

/// Why instance metadata have no credentials.
pub fn imds_problem(error: Option<&(dyn StdError + 'static)>) -> String {
    let why = if is_true(NO_METADATA) {
        format!("disabled by {NO_METADATA}")
    } else {
        match error.and_then(find::<ImdsError>) {
            Some(ImdsError::ErrorResponse(answer)) => {
                format!("HTTP status {}", answer.response().status().as_u16())
            }
            _ => match error.map(innermost) {
                Some(text) if text.contains("404") => "the instance has no role".to_owned(),
                Some(text) => format!("not reachable ({})", without_period(&text)),
                None => "no answer".to_owned(),
            },
        }
    };
    format!("Instance metadata: {why}.")
}

/// The text of a provider's error.
pub fn error_text(error: Option<&(dyn StdError + 'static)>) -> String {
    let Some(error) = error else {
        return "no answer".to_owned();
    };
    // The message may have the token in it, which is not among the secrets that are redacted.
    if let Some(refused) = find::<AssumeRoleWithWebIdentityError>(error) {
        let code = refused.code().unwrap_or("no error code");
        return format!("AssumeRoleWithWebIdentity returned '{code}'");
    }
    if let Some(refused) = find::<AssumeRoleError>(error) {
        return format!(
            "AssumeRole returned '{}: {}'",
            refused.code().unwrap_or("no error code"),
            first_line(refused.message().unwrap_or("no message"))
        );
    }
    let text = innermost(error);
    // The standard error of a credential_process may have secrets.
    let text = text.split(" Stderr:").next().unwrap_or_default();
    let process_error = (text.strip_prefix("Error retrieving credentials: external process"))
        .or_else(|| text.strip_prefix("Error retrieving credentials from external process"));
    let text = match process_error {
        Some(rest) => format!(
            "credential_process {}",
            rest.trim_start_matches([',', ':', ' '])
                .replace("exited with code exit status:", "exited with")
        ),
        None => text.replace(
            "Non-success status from HTTP credential provider: ",
            "HTTP status ",
        ),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    without_period(&words.join(" ").replace('`', "\"")).to_owned()
}

fn without_period(text: &str) -> &str {
    text.trim_end_matches('.')
}

/// The value of an environment variable.
pub fn variable_of(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether an environment variable is `true`.
pub fn is_true(name: &str) -> bool {
    variable_of(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// The text with a capital first letter.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    (letters.next()).map_or_else(String::new, |first| {
        format!("{}{}", first.to_uppercase(), letters.as_str())
    })
}
