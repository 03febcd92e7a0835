//! What the catalogs and the settings say about one foreign table and one role: the most specific wins.
//!
//! The clause's or call's own values come before all of this, in scan/. What the AWS SDK finds on the
//! machine comes last, in lambda/.

use super::keys::{Mapping, no_keys};
use super::release;
use crate::error::Error;
use crate::lambda::credentials::NoKeys;
use crate::lambda::request::Inputs;
use crate::lambda::{ClientConfig, Endpoint, Keys, RetryPolicy};
use crate::options::{OnError, parse_boolean, parse_kilobytes};
use crate::postgres::{nodes, text};
use crate::settings;
use pgrx::pg_sys;
use std::time::Duration;

/// What holds for every invocation of one scan.
pub struct Config {
    /// Values that the table's options fix.
    pub fixed: Inputs,
    /// The foreign server.
    pub server: pg_sys::Oid,
    /// The role whose user mapping counts.
    pub user: pg_sys::Oid,
    /// How many invocations, how fast, and how often each is tried.
    pub limits: Limits,
    /// Bounds each attempt at an invocation, and how often it is tried.
    pub retry_policy: RetryPolicy,
    /// Whether equal invocations of one statement are one.
    pub deduplicate: bool,
    /// What becomes of an invocation that fails.
    pub on_error: OnError,
    /// Why the role has no keys in the database.
    pub no_keys: Option<NoKeys>,
    client: ClientConfig,
}

/// How many invocations a scan makes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most in flight.
    pub max_concurrency: usize,
    /// The table or server whose option that is: then it holds for all scans of a statement together.
    pub concurrency_of: Option<Owner>,
    /// Most bytes of payloads, outer rows and responses, and whose option that is; the setting is for all scans of a statement.
    pub max_memory: usize,
    pub memory_of: Option<Owner>,
    /// Most of one statement; `None` is no limit.
    pub max_invocations: Option<u64>,
}

/// Whose option it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A foreign table's.
    Table(pg_sys::Oid),
    /// A server's.
    Server(pg_sys::Oid),
}

impl Limits {
    /// Reads them for a foreign table.
    ///
    /// # Safety
    /// Called in a transaction, in the backend's thread.
    pub unsafe fn read(table: pg_sys::Oid) -> Limits {
        // SAFETY: the look-ups return palloc'd structures, or raise an error.
        unsafe {
            let server = (*pg_sys::GetForeignTable(table)).serverid;
            Limits::of(&table_then_server(table), table, server)
        }
    }

    fn of(options: &[Options; 2], table: pg_sys::Oid, server: pg_sys::Oid) -> Limits {
        let owners = [Owner::Table(table), Owner::Server(server)];
        let max_invocations = number(options, "max_invocations", settings::max_invocations());
        let max_memory = (options.iter().zip(owners)).find_map(|(options, owner)| {
            Some((parse_kilobytes(&options.get("max_memory")?)?, Some(owner)))
        });
        let (max_memory_kb, memory_of) = max_memory.unwrap_or((settings::max_memory_kb(), None));
        Limits {
            max_memory: max_memory_kb.unsigned_abs() as usize * 1024,
            memory_of,
            max_concurrency: number(options, "max_concurrency", settings::max_concurrency()) as _,
            concurrency_of: (options.iter().zip(owners))
                .find_map(|(options, owner)| options.get("max_concurrency").map(|_| owner)),
            max_invocations: (max_invocations > 0).then_some(max_invocations),
        }
    }
}

/// Whether a foreign table's scan may run beside others of an Append.
///
/// # Safety
/// Called in a transaction, in the backend's thread.
pub unsafe fn async_capable(table: pg_sys::Oid) -> bool {
    // SAFETY: as above.
    let options = unsafe { table_then_server(table) };
    (options.iter())
        .find_map(|options| options.boolean("async_capable"))
        .unwrap_or(true)
}

/// The options of a foreign table and of its server, the more specific first.
unsafe fn table_then_server(table: pg_sys::Oid) -> [Options; 2] {
    // SAFETY: the look-ups return palloc'd structures, or raise an error.
    unsafe {
        let table = &*pg_sys::GetForeignTable(table);
        let server = &*pg_sys::GetForeignServer(table.serverid);
        [Options::read(table.options), Options::read(server.options)]
    }
}

/// The first value that there is, or the default.
fn number(options: &[Options; 2], name: &str, default: i32) -> u64 {
    (options.iter())
        .find_map(|options| options.get(name)?.parse().ok())
        .unwrap_or(default.unsigned_abs().into())
}

impl Config {
    /// Reads options and settings for a foreign table as a role sees them.
    ///
    /// Errors when the role has no keys and may not use the machine's, and when the database has
    /// the extension of another release.
    ///
    /// # Safety
    /// Called in a transaction, in the backend's thread.
    pub unsafe fn read(table: pg_sys::Oid, user: pg_sys::Oid) -> Result<Config, Error> {
        // A transaction that has locked the table before would not hear of keys that were taken away since.
        // SAFETY: as each look-up of a table by PostgreSQL does.
        unsafe { pg_sys::AcceptInvalidationMessages() };
        // SAFETY: the caller's.
        unsafe { release::check()? };
        // SAFETY: these look-ups return palloc'd structures that live as long as the current context, or
        // raise an error.
        let (table, server) = unsafe {
            let table = &*pg_sys::GetForeignTable(table);
            (table, &*pg_sys::GetForeignServer(table.serverid))
        };
        // SAFETY: the lists are those of the structures above.
        let (options, mapping) = unsafe {
            (
                [Options::read(table.options), Options::read(server.options)],
                Mapping::read(user, server.serverid),
            )
        };
        let is_publics = mapping.as_ref().map(|mapping| mapping.is_publics);
        let mapping_options = mapping.map(|mapping| mapping.options).unwrap_or_default();
        let [table_options, server_options] = &options;
        let keys = match (
            mapping_options.get("access_key_id"),
            mapping_options.get("secret_access_key"),
        ) {
            (Some(access_key_id), Some(secret_access_key)) => Some(Keys {
                access_key_id,
                secret_access_key,
                session_token: mapping_options.get("session_token"),
            }),
            _ => None,
        };
        // SAFETY: a catalog look-up.
        let use_machine = unsafe { pg_sys::superuser_arg(server.owner) };
        let no_keys = (keys.is_none())
            // SAFETY: the structures are those above.
            .then(|| unsafe { no_keys(user, server, is_publics, use_machine) });
        if let Some(no_keys) = &no_keys
            && !use_machine
        {
            return Err(Error::NoCredentials {
                // SAFETY: a name in the catalog.
                server: unsafe { text::shown(server.servername) },
                no_keys: no_keys.clone(),
            });
        }
        Ok(Config {
            fixed: Inputs {
                max_payload: (options.iter())
                    .find_map(|options| options.get("max_payload_bytes")?.parse().ok()),
                ..table_options.inputs()
            },
            server: server.serverid,
            user,
            limits: Limits::of(&options, table.relid, server.serverid),
            retry_policy: RetryPolicy {
                request_timeout: Duration::from_millis(
                    server_options
                        .milliseconds("request_timeout_ms", settings::request_timeout_ms()),
                ),
                max_retries: number(&options, "max_retries", settings::max_retries()) as _,
                retry_timeout: Duration::from_millis(number(
                    &options,
                    "retry_timeout_ms",
                    settings::retry_timeout_ms(),
                )),
            },
            deduplicate: table_options.boolean("deduplicate").unwrap_or_default(),
            on_error: (table_options.get("on_error"))
                .and_then(|value| OnError::parse(&value))
                .unwrap_or_default(),
            no_keys,
            client: ClientConfig {
                region: match server_options.get("region") {
                    Some(region) => Some(region),
                    None => settings::region(),
                },
                endpoint: match server_options.get("endpoint_url") {
                    Some(url) => Some(Endpoint {
                        url,
                        named_by: "the server option endpoint_url",
                    }),
                    None => settings::endpoint_override().map(|url| Endpoint {
                        url,
                        named_by: "aws_lambda.endpoint_override",
                    }),
                },
                sts_endpoint_url: server_options.get("sts_endpoint_url"),
                connect_timeout_ms: server_options
                    .milliseconds("connect_timeout_ms", settings::connect_timeout_ms()),
                profile: server_options.get("profile"),
                role_arn: server_options.get("role_arn"),
                external_id: server_options.get("external_id"),
                use_fips: server_options.boolean("use_fips"),
                use_dualstack: server_options.boolean("use_dualstack"),
                keys,
                use_machine,
            },
        })
    }

    /// The configuration of the client for an invocation in a region; `None` leaves the region to options,
    /// settings and machine.
    pub fn client(&self, region: Option<&str>) -> ClientConfig {
        let mut client = self.client.clone();
        if let Some(region) = region {
            client.region = Some(region.to_owned());
        }
        client
    }
}

/// The values that a table's options fix.
///
/// # Safety
/// Called in a transaction, in the backend's thread.
pub unsafe fn fixed_inputs(table: pg_sys::Oid) -> Inputs {
    // SAFETY: the look-up gives a palloc'd structure with a list of options, or raises an error.
    unsafe { Options::read((*pg_sys::GetForeignTable(table)).options) }.inputs()
}

/// The options of one object, which its validator has checked.
#[derive(Default)]
pub struct Options(Vec<(String, String)>);

impl Options {
    /// Reads them.
    ///
    /// # Safety
    /// The list is one of options.
    pub unsafe fn read(list: *mut pg_sys::List) -> Options {
        // SAFETY: an option list holds DefElems, and defGetString gives a string for each.
        unsafe {
            Options(
                nodes::pointers::<pg_sys::DefElem>(list)
                    .map(|option| {
                        (
                            text::shown((*option).defname),
                            text::shown(pg_sys::defGetString(option)),
                        )
                    })
                    .collect(),
            )
        }
    }

    fn get(&self, name: &str) -> Option<String> {
        self.0
            .iter()
            .find(|(option, _)| option == name)
            .map(|(_, value)| value.clone())
    }

    fn inputs(&self) -> Inputs {
        Inputs {
            function_name: self.get("function_name"),
            region: self.get("region"),
            qualifier: self.get("qualifier"),
            tenant_id: self.get("tenant_id"),
            invocation_type: self.get("invocation_type"),
            log_type: self.get("log_type"),
            ..Inputs::default()
        }
    }

    fn boolean(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(|value| parse_boolean(&value))
    }

    fn milliseconds(&self, name: &str, default: i32) -> u64 {
        self.get(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default.unsigned_abs().into())
    }
}
