//! Names of functions, qualifiers, tenants and durable executions, checked by Lambda's grammar before anything is sent.
//!
//! The grammar is that of the Invoke API (<https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>). Whether a function exists is not
//! checked.

use super::region::REGION;
use crate::error::{Error, RequestError};
use regex_lite::Regex;
use std::sync::LazyLock;

/// Most characters in a name in any of its forms.
pub const MAX_NAME: usize = 256;
/// Most characters in a bare function name.
pub const MAX_BARE_NAME: usize = 64;
/// Most characters in a qualifier.
pub const MAX_QUALIFIER: usize = 128;
/// Most characters in a tenant's id.
const MAX_TENANT: usize = 256;
/// Most characters in the name of a durable execution.
const MAX_EXECUTION: usize = 64;

const DOTS: &str = "A name of dots alone is a step in a path.";

static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!(
        r"\A(?P<prefix>(?:arn:aws[a-zA-Z-]*:lambda:)?(?:(?P<region>{REGION}):)?(?:\d{{12}}:)?(?:function:)?)(?P<name>[a-zA-Z0-9_.-]+)(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]+))?\z"
    ))
    .ok()
});
static QUALIFIER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\A(?:\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_$-]+)\z").ok());

/// A parsed function name: `name`, `name:qualifier`, a partial ARN or a full ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionName {
    /// The name without its qualifier.
    pub name: String,
    /// The region in the ARN.
    pub region: Option<String>,
    /// The alias or version.
    pub qualifier: Option<String>,
}

impl FunctionName {
    /// Parses a name.
    ///
    /// Errors with [`RequestError::InvalidValue`] when it is too long or outside Lambda's grammar.
    pub fn parse(given: &str) -> Result<FunctionName, Error> {
        let invalid = |allowed: &str| {
            Error::Request(RequestError::InvalidValue {
                what: "function_name",
                value: given.to_owned(),
                allowed: allowed.to_owned(),
            })
        };
        if given.len() > MAX_NAME {
            return Err(invalid("A function name has at most 256 characters."));
        }
        // Most names are bare, and each invocation has one, so these do without the regular expression.
        if given.len() <= MAX_BARE_NAME && !given.is_empty() && given.bytes().all(is_name_byte) {
            return match given {
                "." | ".." => Err(invalid(DOTS)),
                _ => Ok(FunctionName {
                    name: given.to_owned(),
                    region: None,
                    qualifier: None,
                }),
            };
        }
        let parts = (NAME.as_ref())
            .filter(|_| other_resource(given).is_none())
            .and_then(|regex| regex.captures(given))
            .ok_or_else(|| invalid(&suggestion(given)))?;
        let part = |group: &str| parts.name(group).map(|found| found.as_str());
        let prefix = part("prefix").unwrap_or_default();
        let name = part("name").unwrap_or_default();
        if prefix.is_empty() && name.len() > MAX_BARE_NAME {
            return Err(invalid(
                "A function name that is not an ARN has at most 64 characters.",
            ));
        }
        if name == "." || name == ".." {
            return Err(invalid(DOTS));
        }
        Ok(FunctionName {
            name: format!("{prefix}{name}"),
            region: part("region").map(str::to_owned),
            qualifier: part("qualifier").map(str::to_owned),
        })
    }
}

/// A sentence with the name to write instead of an invalid one.
fn suggestion(given: &str) -> String {
    let bare = given.trim_matches([' ', '\t', '\r', '\n', '\'', '"']);
    if bare != given && FunctionName::parse(bare).is_ok() {
        return format!("Write {bare} without quotes and spaces.");
    }
    if let Some((name, qualifier)) = given.rsplit_once(':')
        && qualifier.eq_ignore_ascii_case("$LATEST")
        && FunctionName::parse(name).is_ok()
    {
        return "Write $LATEST in capitals.".to_owned();
    }
    if let Some(resource) = other_resource(given) {
        return format!(
            "That names a {resource}. The ARN of a function looks like arn:aws:lambda:us-east-1:123456789012:function:name."
        );
    }
    let form = match given.split(':').next() {
        Some("http" | "https") => "A URL is no name. Write the function's name, or",
        Some("arn") => "Write the function's name, or",
        _ => {
            return "Write a name, name:qualifier, a partial ARN such as 123456789012:function:name, or a full ARN."
                .to_owned();
        }
    };
    format!("{form} an ARN that looks like arn:aws:lambda:us-east-1:123456789012:function:name.")
}

/// The kind of resource that an ARN of Lambda names, if it is not a function. `function` may be left out of an ARN, so the kind could be taken
/// for the function's name.
fn other_resource(given: &str) -> Option<&'static str> {
    const OTHERS: [(&str, &str); 4] = [
        ("layer", "layer"),
        ("event-source-mapping", "mapping of an event source"),
        ("code-signing-config", "configuration of code signing"),
        ("capacity-provider", "capacity provider"),
    ];
    let mut parts = given.split(':').peekable();
    let is_account = |part: &str| part.len() == 12 && part.bytes().all(|it| it.is_ascii_digit());
    parts.find(|part| is_account(part))?;
    let kind = parts.next()?;
    parts.peek()?;
    (OTHERS.iter()).find_map(|(known, words)| (kind == *known).then_some(*words))
}

/// Whether the text is `$LATEST`, in any case, or the number of a version.
pub fn is_version(given: &str) -> bool {
    given.eq_ignore_ascii_case("$LATEST")
        || (!given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit()))
}

pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// Checks a tenant's id. Lambda accepts a space at either end, but HTTP drops it, and the function would run for another tenant.
pub fn check_tenant_id(given: &str) -> Result<(), Error> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/=+-@ ".contains(&byte);
    if (1..=MAX_TENANT).contains(&given.len())
        && given.bytes().all(is_allowed)
        && given.trim_matches(' ') == given
    {
        return Ok(());
    }
    Err(Error::Request(RequestError::InvalidValue {
        what: "tenant_id",
        value: given.to_owned(),
        allowed: format!(
            "A tenant id has 1 to {MAX_TENANT} letters, digits and ._:/=+-@, and spaces between them."
        ),
    }))
}

/// Checks the name of a durable execution.
pub fn check_durable_execution_name(given: &str) -> Result<(), Error> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if (1..=MAX_EXECUTION).contains(&given.len()) && given.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(Error::Request(RequestError::InvalidValue {
        what: "durable_execution_name",
        value: given.to_owned(),
        allowed: format!(
            "The name of a durable execution has 1 to {MAX_EXECUTION} letters, digits, _ and -."
        ),
    }))
}

/// Checks the name of an alias or version.
pub fn check_qualifier(given: &str) -> Result<(), Error> {
    match QUALIFIER.as_ref() {
        Some(regex) if given.len() <= MAX_QUALIFIER && regex.is_match(given) => Ok(()),
        _ => Err(Error::Request(RequestError::InvalidValue {
            what: "qualifier",
            value: given.to_owned(),
            allowed:
                "A qualifier is $LATEST, a version number or an alias, with at most 128 characters."
                    .to_owned(),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(given: &str) -> (String, Option<String>, Option<String>) {
        let parsed = FunctionName::parse(given).unwrap();
        (parsed.name, parsed.region, parsed.qualifier)
    }

    #[test]
    fn documented_forms() {
        assert_eq!(parts("my-function"), ("my-function".into(), None, None));
        assert_eq!(
            parts("my-function:v1"),
            ("my-function".into(), None, Some("v1".into()))
        );
        assert_eq!(
            parts("123456789012:function:my-function"),
            ("123456789012:function:my-function".into(), None, None)
        );
        assert_eq!(
            parts("arn:aws:lambda:us-west-2:123456789012:function:my-function:$LATEST"),
            (
                "arn:aws:lambda:us-west-2:123456789012:function:my-function".into(),
                Some("us-west-2".into()),
                Some("$LATEST".into())
            )
        );
        for name in [
            "layer",
            "layer:v1",
            "123456789012:function:layer:v1",
            "123456789012:layer",
        ] {
            assert!(FunctionName::parse(name).is_ok(), "{name}");
        }
        assert_eq!(
            parts("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f").1,
            Some("us-gov-west-1".into())
        );
        assert_eq!(
            parts("us-west-2:123456789012:function:f").1,
            Some("us-west-2".into())
        );
    }

    #[test]
    fn suggestions() {
        assert_eq!(suggestion(" f "), "Write f without quotes and spaces.");
        assert_eq!(suggestion("\"f\""), "Write f without quotes and spaces.");
        assert_eq!(suggestion("f:$latest"), "Write $LATEST in capitals.");
        assert!(suggestion("https://f.lambda-url.us-east-1.on.aws/").contains("no name"));
        assert!(suggestion("arn:aws:lambda:::function:f").contains("looks like arn:aws:lambda:us"));
        for layer in [":layer:f:1", ":layer:f"] {
            let layer = format!("arn:aws:lambda:us-east-1:123456789012{layer}");
            assert!(suggestion(&layer).starts_with("That names a layer."));
        }
    }

    #[test]
    fn lengths() {
        assert!(FunctionName::parse(&"f".repeat(64)).is_ok());
        assert!(FunctionName::parse(&"f".repeat(65)).is_err());
        assert!(FunctionName::parse(&format!("123456789012:function:{}", "f".repeat(65))).is_ok());
        assert!(
            FunctionName::parse(&format!("123456789012:function:{}", "f".repeat(235))).is_err()
        );
        assert!(check_qualifier(&"q".repeat(128)).is_ok());
        assert!(check_qualifier(&"q".repeat(129)).is_err());
    }

    #[test]
    fn tenants_and_executions() {
        for tenant in ["blue", "a b", "a  b", "a._:/=+-@", &"t".repeat(256)] {
            assert!(check_tenant_id(tenant).is_ok(), "{tenant:?}");
        }
        for tenant in [
            "",
            " ",
            " a",
            "a ",
            "a\tb",
            "a\r\nb",
            "a,b",
            "\u{e9}",
            &"t".repeat(257),
        ] {
            assert!(check_tenant_id(tenant).is_err(), "{tenant:?}");
        }
        for name in ["order-1", "_", "A9", &"n".repeat(64)] {
            assert!(check_durable_execution_name(name).is_ok(), "{name:?}");
        }
        for name in [
            "",
            " a",
            "a b",
            "a.b",
            "a:b",
            "a\n",
            "\u{e9}",
            &"n".repeat(65),
        ] {
            assert!(check_durable_execution_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn outside_the_grammar() {
        for name in [
            "",
            " ",
            "a b",
            "f\n",
            "f/../g",
            "f:",
            ":f",
            "f:a:b:c",
            "arn:aws:s3:::bucket",
            "arn:aws:lambda:us-east-1:123456789012:layer:f",
            "arn:aws:lambda:us-east-1:123456789012:layer:f:1",
            "123456789012:layer:f",
            "123456789012:event-source-mapping:f",
            "f?x=1",
            "é",
            "(f,r)",
            "f:$latest",
            "f\0",
            ".",
            "..",
        ] {
            assert!(FunctionName::parse(name).is_err(), "{name:?}");
        }
        for qualifier in ["", "a b", "a:b", "a.b", "$LATEST.X", "é"] {
            assert!(check_qualifier(qualifier).is_err(), "{qualifier:?}");
        }
    }

    proptest! {
        #[test]
        fn generated_names_are_parsed(
            arn in proptest::bool::ANY,
            region in proptest::option::of("[a-z]{2}-(gov-|iso-|isob-)?[a-z]{1,9}-[0-9]"),
            account in proptest::option::of("[0-9]{12}"),
            function in proptest::bool::ANY,
            name in "[a-zA-Z_.][a-zA-Z0-9_.-]{0,60}",
            qualifier in proptest::option::of("[a-zA-Z0-9_-]{1,60}|[$]LATEST|[$]LATEST[.]PUBLISHED"),
        ) {
            // "function" and a region are themselves names, so a qualifier behind them reads as a name.
            prop_assume!(!["function", ".", ".."].contains(&name.as_str()) && crate::lambda::region::check_region(&name).is_err());
            let mut full = String::new();
            if arn { full.push_str("arn:aws:lambda:"); }
            if let Some(region) = &region { full.push_str(&format!("{region}:")); }
            if let Some(account) = &account { full.push_str(&format!("{account}:")); }
            if function { full.push_str("function:"); }
            full.push_str(&name);
            let unqualified = full.clone();
            if let Some(qualifier) = &qualifier { full.push_str(&format!(":{qualifier}")); }
            let parsed = FunctionName::parse(&full).unwrap();
            prop_assert_eq!(parsed.name, unqualified);
            prop_assert_eq!(parsed.region, region);
            prop_assert_eq!(parsed.qualifier, qualifier);
        }

        #[test]
        fn whatever_is_accepted_is_safe_in_a_path(given in "\\PC{0,300}") {
            if let Ok(parsed) = FunctionName::parse(&given) {
                prop_assert!(given.len() <= MAX_NAME);
                prop_assert!(parsed.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)));
            }
            if crate::lambda::region::check_region(&given).is_ok() {
                prop_assert!(given.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
            }
        }
    }
}
