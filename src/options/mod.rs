//! The table of options: name, type, check and catalog objects of each.
//!
//! The checks and the types are in [`values`]. `backend/config.rs` reads the catalogs and decides which object's value applies.

mod values;

use crate::error::{Error, OptionError, quotable};
use crate::fields::{Key, Part};
use crate::postgres::list::List;
use crate::postgres::process;
use crate::postgres::refs::Ref;
use crate::postgres::text::{self, Text};
use pgrx::pg_sys;
use std::time::Duration;
use values::Value;
pub use values::{
    BatchFormat, CONCURRENCY_RANGE, EVENTS, Events, INVOCATIONS_RANGE, Kilobytes, MEMORY_RANGE_KB,
    OnError, RETRIES_RANGE, TIMEOUT_RANGE_MS, TableObject, endpoint_url,
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
    /// A column of a foreign table.
    Column,
    /// `IMPORT FOREIGN SCHEMA`, whose options become those of the foreign tables.
    Import,
}

impl Object {
    fn name(self) -> &'static str {
        match self {
            Object::Wrapper => "foreign-data wrapper",
            Object::Server => "server",
            Object::UserMapping => "user mapping",
            Object::Table => "foreign table",
            Object::Column => "column",
            Object::Import => "statement IMPORT FOREIGN SCHEMA",
        }
    }
}

/// Definition of one option.
pub struct Definition {
    /// Its one spelling, in SQL, code, documents and errors.
    pub name: &'static str,
    /// The objects that take it.
    pub objects: &'static [Object],
    /// Whether its value may never be shown.
    pub is_secret: bool,
    /// Whether only a superuser sets it, since it sends the server process somewhere.
    pub is_for_superusers: bool,
    /// Another option of the same object, without which this one has no use.
    needs: Option<&'static str>,
    /// Whether a table of functions may have it.
    is_for_functions: bool,
    check: fn(&str) -> Result<(), String>,
    read: fn(&mut Options, &str),
}

impl Definition {
    const fn new(
        name: &'static str,
        objects: &'static [Object],
        check: fn(&str) -> Result<(), String>,
        read: fn(&mut Options, &str),
    ) -> Definition {
        Definition {
            name,
            objects,
            is_secret: false,
            is_for_superusers: false,
            needs: None,
            is_for_functions: false,
            check,
            read,
        }
    }

    const fn secret(self) -> Definition {
        Definition {
            is_secret: true,
            ..self
        }
    }

    const fn for_superusers(self) -> Definition {
        Definition {
            is_for_superusers: true,
            ..self
        }
    }

    const fn for_functions(self) -> Definition {
        Definition {
            is_for_functions: true,
            ..self
        }
    }

    const fn needs(self, option: &'static str) -> Definition {
        Definition {
            needs: Some(option),
            ..self
        }
    }
}

/// The spelling of an option in SQL: that of its field, unless the field has another name, as `in` is a word of Rust's.
macro_rules! spelling {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident $spelling:literal) => {
        $spelling
    };
}

/// Makes [`OPTIONS`] and [`Options`] of one row for each option: `name: type, check, objects`, and perhaps `secret()`, `for_superusers()`,
/// `for_functions()` or `needs("another option")`. The type says how the option is read ([`Value`]).
macro_rules! options {
    ($($name:ident $(as $spelling:literal)?: $type:ty, $check:expr, $objects:expr $(, $flag:ident($($argument:expr)?))*;)*) => {
        /// Every option there is.
        pub static OPTIONS: &[Definition] = &[
            $(
                Definition::new(spelling!($name $($spelling)?), $objects, $check, |options, text| {
                    options.$name = Value::read(text);
                })
                $(.$flag($($argument)?))*,
            )*
        ];

        /// The values of the options of one object. There is no `Debug`, so that no secret ends up in a message.
        #[derive(Default)]
        #[allow(missing_docs, reason = "docs/configuration.md describes the options")]
        pub struct Options {
            $(pub $name: Option<$type>,)*
        }
    };
}

const SERVER: &[Object] = &[Object::Server];
const TABLE: &[Object] = &[Object::Table];
const COLUMN: &[Object] = &[Object::Column];
/// Of all tables that are imported, or of one.
const TABLE_AND_IMPORT: &[Object] = &[Object::Table, Object::Import];
const USER_MAPPING: &[Object] = &[Object::UserMapping];
/// The table's own value precedes the server's.
const SERVER_AND_TABLE: &[Object] = &[Object::Server, Object::Table];

options! {
    region: String, values::region, SERVER_AND_TABLE, for_functions();
    endpoint_url: String, values::endpoint_url, SERVER, for_superusers();
    sts_endpoint_url: String, values::endpoint_url, SERVER, for_superusers();
    connect_timeout_ms: Duration, values::timeout_ms, SERVER;
    request_timeout_ms: Duration, values::timeout_ms, SERVER;
    profile: String, values::header_value, SERVER, for_superusers();
    role_arn: String, values::role_arn, SERVER;
    external_id: String, values::external_id, SERVER, needs("role_arn");
    use_fips: bool, values::boolean, SERVER;
    use_dualstack: bool, values::boolean, SERVER;
    access_key_id: String, values::header_value, USER_MAPPING, secret(), needs("secret_access_key");
    secret_access_key: String, values::header_value, USER_MAPPING, secret(), needs("access_key_id");
    session_token: String, values::header_value, USER_MAPPING, secret(), needs("access_key_id");
    object: TableObject, values::object, TABLE, for_functions();
    function_name: String, values::function_name, TABLE;
    qualifier: String, values::qualifier, TABLE_AND_IMPORT;
    tenant_id: String, values::tenant_id, TABLE;
    invocation_type: String, values::invocation_type, TABLE;
    log_type: String, values::log_type, TABLE;
    max_concurrency: usize, values::max_concurrency, SERVER_AND_TABLE, for_functions();
    max_invocations: u64, values::max_invocations, SERVER_AND_TABLE;
    max_payload_bytes: usize, values::max_payload_bytes, SERVER_AND_TABLE;
    max_memory: Kilobytes, values::max_memory, SERVER_AND_TABLE, for_functions();
    max_retries: u32, values::max_retries, SERVER_AND_TABLE, for_functions();
    retry_timeout_ms: Duration, values::timeout_ms, SERVER_AND_TABLE, for_functions();
    batch_rows: usize, values::batch_rows, SERVER_AND_TABLE;
    batch_bytes: usize, values::batch_bytes, SERVER_AND_TABLE;
    batch_format: BatchFormat, values::batch_format, SERVER_AND_TABLE;
    async_capable: bool, values::boolean, SERVER_AND_TABLE;
    deduplicate: bool, values::boolean, TABLE;
    on_error: OnError, values::on_error, TABLE_AND_IMPORT;
    events: Events, values::events, TABLE;
    durable: bool, values::boolean, SERVER_AND_TABLE;
    rows: Key, values::key, TABLE;
    part as "in": Part, values::part, COLUMN;
    key: Key, values::key, COLUMN, needs("in");
}

impl Options {
    /// Reads a list of options. The validator has checked them.
    pub fn of_list(list: List<pg_sys::DefElem>) -> Options {
        let mut options = Options::default();
        for option in list.iter() {
            let value = Text::of_server(option.value()).shown();
            options.read(&option.name(), &value);
        }
        options
    }

    /// Reads one option, which the validator has checked. A name that is no option is ignored.
    pub fn read(&mut self, name: &str, text: &str) {
        if let Some(definition) = definition(name) {
            (definition.read)(self, text);
        }
    }
}

fn definition(name: &str) -> Option<&'static Definition> {
    OPTIONS.iter().find(|definition| definition.name == name)
}

/// Checks one option of one object. A value of `None` is one that is not text in the database's encoding.
///
/// Errors with [`OptionError::UnknownOption`], which names the nearest option, [`OptionError::NotText`] or [`OptionError::InvalidOption`].
pub fn check(
    object: Object,
    name: &str,
    value: Option<&str>,
) -> Result<&'static Definition, Error> {
    let definition = definition(name)
        .filter(|definition| definition.objects.contains(&object))
        .ok_or_else(|| unknown(object, name))?;
    let value = value.ok_or_else(|| {
        Error::Option(OptionError::NotText {
            what: format!("option \"{}\"", definition.name),
        })
    })?;
    (definition.check)(value).map_err(|allowed| {
        Error::Option(OptionError::InvalidOption {
            name: definition.name,
            // A URL may be refused because of the password in it.
            value: (!definition.is_secret && !value.contains('@')).then(|| value.to_owned()),
            allowed,
        })
    })?;
    Ok(definition)
}

/// Checks one option of one object as a statement has it.
///
/// Errors as [`check`] does, with [`OptionError::TooLong`], and where only a superuser sets the option.
pub fn check_given(
    object: Object,
    option: Ref<pg_sys::DefElem>,
) -> Result<&'static Definition, Error> {
    let (name, value) = (option.name(), option.value());
    if value.len() > text::LONGEST {
        return Err(Error::Option(OptionError::TooLong {
            what: format!("option \"{}\"", quotable(&name)),
            bytes: value.len(),
            most: text::LONGEST,
        }));
    }
    let value = Text::of_server(value).checked();
    let definition = check(object, &name, value.as_deref())?;
    if definition.is_for_superusers && !process::is_superuser() {
        return Err(Error::Option(OptionError::OptionNeedsSuperuser {
            name: definition.name,
        }));
    }
    Ok(definition)
}

/// Checks that an object with an option also has the option that it needs, and that a table of functions has none that is about invocations.
///
/// Half a key would otherwise be no key, and the credentials of the machine would be used instead.
pub fn check_together(names: &[&str]) -> Result<(), Error> {
    let given = OPTIONS
        .iter()
        .filter(|definition| names.contains(&definition.name));
    let are_functions = names.contains(&"object");
    for definition in given {
        if are_functions && !definition.is_for_functions {
            let mut known: Vec<&str> = Vec::new();
            known.extend(
                (OPTIONS.iter())
                    .filter(|known| known.is_for_functions)
                    .map(|known| known.name),
            );
            return Err(Error::Option(OptionError::NotForFunctions {
                name: definition.name,
                known: known.join(", "),
            }));
        }
        if let Some(missing) = definition.needs
            && !names.contains(&missing)
        {
            return Err(Error::Option(OptionError::OptionsTogether {
                missing,
                given: definition.name,
            }));
        }
    }
    Ok(())
}

fn unknown(object: Object, name: &str) -> Error {
    let elsewhere = definition(name);
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
    Error::Option(OptionError::UnknownOption {
        name: quotable(name),
        object: object.name(),
        hint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_live_only_in_user_mappings() {
        for definition in OPTIONS.iter().filter(|definition| definition.is_secret) {
            assert_eq!(definition.objects, [Object::UserMapping]);
            for object in [
                Object::Wrapper,
                Object::Server,
                Object::Table,
                Object::Column,
            ] {
                let error = check(object, definition.name, Some("hunter2")).err();
                assert!(matches!(
                    error,
                    Some(Error::Option(OptionError::UnknownOption { .. }))
                ));
                assert!(!format!("{error:?}").contains("hunter2"));
            }
        }
        let error = check(Object::UserMapping, "secret_access_key", Some("hunter 2")).err();
        assert!(matches!(
            error,
            Some(Error::Option(OptionError::InvalidOption {
                value: None,
                ..
            }))
        ));
    }

    #[test]
    fn unknown_options_suggest_the_nearest() {
        let hint = |object, name| match check(object, name, Some("x")) {
            Err(Error::Option(OptionError::UnknownOption { hint, .. })) => hint,
            _ => String::new(),
        };
        assert!(hint(Object::Server, "regoin").contains("\"region\""));
        assert!(hint(Object::Server, "request_timeout").contains("\"request_timeout_ms\""));
        assert!(hint(Object::Table, "endpoint_url").contains("option of a server"));
        assert!(hint(Object::Wrapper, "zzz").contains("no options"));
        assert!(hint(Object::Column, "zzzz").contains("in, key"));
        assert!(hint(Object::Server, "zzzzzzzzzzzz").starts_with("Options here are region"));
    }

    #[test]
    fn a_table_of_functions_has_no_options_of_invocations() {
        assert!(check_together(&["object", "region", "max_retries"]).is_ok());
        for name in ["function_name", "on_error", "max_invocations", "events"] {
            assert!(check_together(&["object", name]).is_err(), "{name}");
        }
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
