//! The one table of options: for each its name, the catalog objects that take it, and its check.
//!
//! The checks are in [`values`]. Reading options from the catalogs is config.rs's job; what a value means is told where it is
//! used.

mod values;

use crate::error::{Error, quotable};
pub use values::{
    CONCURRENCY_RANGE, INVOCATIONS_RANGE, MEMORY_RANGE_KB, OnError, RETRIES_RANGE,
    TIMEOUT_RANGE_MS, endpoint_url, parse_boolean, parse_kilobytes,
};

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
        ..option(name, &[Object::UserMapping], values::header_value)
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
    option("region", &[Object::Server, Object::Table], values::region),
    superuser(option(
        "endpoint_url",
        &[Object::Server],
        values::endpoint_url,
    )),
    superuser(option(
        "sts_endpoint_url",
        &[Object::Server],
        values::endpoint_url,
    )),
    option("connect_timeout_ms", &[Object::Server], values::timeout_ms),
    option("request_timeout_ms", &[Object::Server], values::timeout_ms),
    superuser(option("profile", &[Object::Server], values::header_value)),
    option("role_arn", &[Object::Server], values::role_arn),
    option("external_id", &[Object::Server], values::external_id),
    option("use_fips", &[Object::Server], values::boolean),
    option("use_dualstack", &[Object::Server], values::boolean),
    secret("access_key_id"),
    secret("secret_access_key"),
    secret("session_token"),
    option("function_name", &[Object::Table], values::function_name),
    option("qualifier", &[Object::Table], values::qualifier),
    option("tenant_id", &[Object::Table], values::tenant_id),
    option("invocation_type", &[Object::Table], values::invocation_type),
    option("log_type", &[Object::Table], values::log_type),
    option("max_concurrency", SCANS, values::max_concurrency),
    option("max_invocations", SCANS, values::max_invocations),
    option("max_payload_bytes", SCANS, values::max_payload_bytes),
    option("max_memory", SCANS, values::max_memory),
    option("max_retries", SCANS, values::max_retries),
    option("retry_timeout_ms", SCANS, values::timeout_ms),
    option("async_capable", SCANS, values::boolean),
    option("deduplicate", &[Object::Table], values::boolean),
    option("on_error", &[Object::Table], values::on_error),
];

/// Checks one option of one object. What is no text in the database's encoding is no value.
///
/// Errors with [`Error::UnknownOption`], which names the nearest option, [`Error::NotText`] or [`Error::InvalidOption`].
pub fn check(
    object: Object,
    name: &str,
    value: Option<&str>,
) -> Result<&'static Definition, Error> {
    let definition = OPTIONS
        .iter()
        .find(|definition| definition.name == name && definition.objects.contains(&object))
        .ok_or_else(|| unknown(object, name))?;
    let value = value.ok_or_else(|| Error::NotText {
        what: format!("option \"{}\"", definition.name),
    })?;
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
        name: quotable(name),
        object: object.name(),
        hint,
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
                let error = check(object, definition.name, Some("hunter2")).err();
                assert!(matches!(error, Some(Error::UnknownOption { .. })));
                assert!(!format!("{error:?}").contains("hunter2"));
            }
        }
        let error = check(Object::UserMapping, "secret_access_key", Some("hunter 2")).err();
        assert!(matches!(
            error,
            Some(Error::InvalidOption { value: None, .. })
        ));
    }

    #[test]
    fn unknown_options_suggest_the_nearest() {
        let hint = |object, name| match check(object, name, Some("x")) {
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
}
