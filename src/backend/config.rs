//! The configuration of one foreign table for one role: table option, else server option, else setting.
//!
//! The values of a clause or call precede these, in `scan/` and `call.rs`. The AWS SDK looks on the machine for the rest, in `lambda/`.

use super::release;
use super::user_mapping::{Mapping, no_keys};
use crate::error::{ConfigurationError, Error};
use crate::lambda::batch::{Batching, Caller};
use crate::lambda::credentials::NoKeys;
use crate::lambda::request::Inputs;
use crate::lambda::{ClientConfig, Endpoint, Keys, RetryPolicy};
use crate::options::{BatchFormat, Events, Kilobytes, OnError, Options, TableObject};
use crate::postgres::refs::Ref;
use crate::postgres::text;
use crate::postgres::{catalog, process};
use crate::settings;
use pgrx::pg_sys;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of an invocation of several rows, where no option says.
const BATCH_BYTES: usize = 5 << 20;

/// Configuration of all invocations of one scan.
pub struct Config {
    /// Values that the table's options fix.
    pub fixed: Rc<Inputs>,
    /// What the rows of the table are.
    pub object: TableObject,
    /// The foreign server.
    pub server: pg_sys::Oid,
    /// The role whose user mapping is used.
    pub user: pg_sys::Oid,
    /// Limits of one statement.
    pub limits: Limits,
    /// How rows share invocations; `None` where each has its own.
    pub batching: Option<Rc<Batching>>,
    /// Timeout of an attempt, and limits of retries.
    pub retry_policy: RetryPolicy,
    /// Whether a statement makes equal invocations once.
    pub deduplicate: bool,
    /// How a failed invocation is reported.
    pub on_error: OnError,
    /// Whether the functions are durable, so that a queued invocation gets a durable execution name.
    pub durable: bool,
    /// What the table's option says of events.
    pub events: Option<Events>,
    /// The region of the setting, where no option has one.
    pub region_of_setting: Option<String>,
    /// Why the role has no keys in the database.
    pub no_keys: Option<NoKeys>,
    client: ClientConfig,
}

/// Limits of one statement's invocations.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most invocations in flight.
    pub max_concurrency: usize,
    /// The table or server with the option `max_concurrency`. All scans of a statement share the limit of one owner. `None` is the setting,
    /// which limits each scan.
    pub concurrency_of: Option<Owner>,
    /// Most bytes of payloads, outer rows and responses.
    pub max_memory: usize,
    /// The table or server with the option `max_memory`. `None` is the setting, which limits all scans of a statement together.
    pub memory_of: Option<Owner>,
    /// Most invocations of one statement; `None` is no limit.
    pub max_invocations: Option<u64>,
}

/// The object that an option is set on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A foreign table.
    Table(pg_sys::Oid),
    /// A server.
    Server(pg_sys::Oid),
}

impl Limits {
    /// Reads them for a foreign table.
    pub fn read(table: pg_sys::Oid) -> Limits {
        let (table, server) = table_and_server(table);
        let options = [
            Options::of_list(table.options()),
            Options::of_list(server.options()),
        ];
        Limits::of(&options, table.relid, server.serverid)
    }

    /// Limits calls of `aws_lambda.invoke`.
    pub fn limit_calls(&mut self) {
        let most = settings::invoke_concurrency() as usize;
        match self.concurrency_of {
            Some(_) => self.max_concurrency = self.max_concurrency.min(most),
            None => self.max_concurrency = most,
        }
    }

    fn of(options: &[Options; 2], table: pg_sys::Oid, server: pg_sys::Oid) -> Limits {
        let owners = [Owner::Table(table), Owner::Server(server)];
        let owner_of = |is_set: fn(&Options) -> bool| {
            (options.iter().zip(owners))
                .find_map(|(options, owner)| is_set(options).then_some(owner))
        };
        let max_concurrency = first(options, |options| options.max_concurrency);
        let max_memory = first(options, |options| options.max_memory);
        let max_invocations = first(options, |options| options.max_invocations)
            .unwrap_or(settings::max_invocations().into());
        Limits {
            max_concurrency: max_concurrency.unwrap_or(settings::max_concurrency() as usize),
            concurrency_of: owner_of(|options| options.max_concurrency.is_some()),
            max_memory: max_memory
                .unwrap_or(Kilobytes(settings::max_memory()))
                .bytes(),
            memory_of: owner_of(|options| options.max_memory.is_some()),
            max_invocations: (max_invocations > 0).then_some(max_invocations),
        }
    }
}

/// The value of a table or of its server: the more specific of those that are set.
fn first<T>(options: &[Options; 2], value: impl Fn(&Options) -> Option<T>) -> Option<T> {
    options.iter().find_map(value)
}

/// Whether a foreign table's scan may run beside others of an Append.
pub fn async_capable(table: pg_sys::Oid) -> bool {
    let (table, server) = table_and_server(table);
    let options = [
        Options::of_list(table.options()),
        Options::of_list(server.options()),
    ];
    first(&options, |options| options.async_capable).unwrap_or(true)
}

/// Whether events that are inserted into a foreign table are written to the queue.
pub fn queues_events(table: pg_sys::Oid) -> bool {
    let (table, _) = table_and_server(table);
    Options::of_list(table.options()).events == Some(Events::Queue)
}

/// A foreign table and its server.
fn table_and_server<'p>(
    table: pg_sys::Oid,
) -> (
    Ref<'p, pg_sys::ForeignTable>,
    Ref<'p, pg_sys::ForeignServer>,
) {
    let table = catalog::foreign_table(table);
    (table, catalog::foreign_server(table.serverid))
}

/// A table's options.
pub fn of_table(table: pg_sys::Oid) -> Options {
    Options::of_list(catalog::foreign_table(table).options())
}

/// The values that a table's options fix.
pub fn fixed_inputs(table: pg_sys::Oid) -> Inputs {
    inputs(&of_table(table))
}

/// The values that options of a table fix.
pub fn inputs(table: &Options) -> Inputs {
    let text = |text: &Option<String>| text.as_deref().map(Arc::from);
    Inputs {
        function_name: text(&table.function_name),
        region: text(&table.region),
        qualifier: text(&table.qualifier),
        tenant_id: text(&table.tenant_id),
        invocation_type: text(&table.invocation_type),
        log_type: text(&table.log_type),
        ..Inputs::default()
    }
}

/// The keys of a user mapping.
fn keys(mapping: Options) -> Option<Keys> {
    Some(Keys {
        access_key_id: mapping.access_key_id?,
        secret_access_key: mapping.secret_access_key?,
        session_token: mapping.session_token,
    })
}

impl Config {
    /// Reads options and settings for a foreign table as a role sees them.
    ///
    /// Errors when the role has no keys and may not use the machine's credentials, and when the database has
    /// the extension of another release.
    pub fn read(table: pg_sys::Oid, user: pg_sys::Oid) -> Result<Config, Error> {
        // Without this, a transaction that already holds a lock on the table would go on using keys that were dropped since.
        catalog::accept_invalidation_messages();
        release::check()?;
        let (table, server) = table_and_server(table);
        Config::of(table.relid, Options::of_list(table.options()), server, user)
    }

    /// Reads options and settings for questions about the functions of a server, as a role sees them. Errors as [`Config::read`] does.
    pub fn of_server(server: pg_sys::Oid, user: pg_sys::Oid) -> Result<Config, Error> {
        catalog::accept_invalidation_messages();
        release::check()?;
        let server = catalog::foreign_server(server);
        let options = Options {
            object: Some(TableObject::Functions),
            ..Options::default()
        };
        Config::of(pg_sys::InvalidOid, options, server, user)
    }

    fn of(
        table: pg_sys::Oid,
        table_options: Options,
        server: Ref<pg_sys::ForeignServer>,
        user: pg_sys::Oid,
    ) -> Result<Config, Error> {
        let options = [table_options, Options::of_list(server.options())];
        let mapping = Mapping::read(user, server.serverid);
        let is_publics = mapping.as_ref().map(|mapping| mapping.is_publics);
        let keys = mapping.and_then(|mapping| keys(mapping.options));
        let use_machine = catalog::is_superuser(server.owner);
        let no_keys = (keys.is_none()).then(|| no_keys(user, server, is_publics, use_machine));
        if let Some(no_keys) = &no_keys
            && !use_machine
        {
            return Err(Error::Configuration(ConfigurationError::NoCredentials {
                server: text::shown(server.name()),
                no_keys: no_keys.clone(),
            }));
        }
        let object = options[0].object.unwrap_or_default();
        let mut limits = Limits::of(&options, table, server.serverid);
        if object == TableObject::Functions {
            limits.max_invocations = None;
        }
        let retry_policy = retry_policy(&options);
        let mut batching = batching_of(&options);
        if let Some(batching) = batching
            .as_mut()
            .filter(|batching| batching.format == BatchFormat::Redshift)
        {
            batching.caller = Arc::new(caller(table, user));
        }
        let max_payload = first(&options, |options| options.max_payload_bytes);
        let durable = first(&options, |options| options.durable).unwrap_or_default();
        let region_of_setting = match first(&options, |options| options.region.clone()) {
            Some(_) => None,
            None => settings::region(),
        };
        let [table_options, server_options] = options;
        Ok(Config {
            fixed: Rc::new(Inputs {
                max_payload,
                are_arguments: (batching.as_ref())
                    .is_some_and(|batching| batching.format == BatchFormat::Redshift),
                ..inputs(&table_options)
            }),
            object,
            server: server.serverid,
            user,
            limits,
            batching: batching.map(Rc::new),
            retry_policy,
            deduplicate: table_options.deduplicate.unwrap_or_default(),
            on_error: table_options.on_error.unwrap_or_default(),
            durable,
            events: table_options.events,
            region_of_setting,
            no_keys,
            client: client(server_options, keys, use_machine),
        })
    }

    /// Leaves out the region of this session's setting.
    pub fn ignore_region_setting(&mut self) {
        if self.region_of_setting.take().is_some() {
            self.client.region = None;
        }
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

/// How rows of a foreign table share invocations; `None` where each has its own.
pub fn batching(table: pg_sys::Oid) -> Option<Batching> {
    let (table, server) = table_and_server(table);
    batching_of(&[
        Options::of_list(table.options()),
        Options::of_list(server.options()),
    ])
}

/// A function that is given a format is sent it with a single row too. Questions about functions are asked one by one.
fn batching_of(options: &[Options; 2]) -> Option<Batching> {
    if options[0].object == Some(TableObject::Functions) {
        return None;
    }
    let rows = first(options, |options| options.batch_rows).unwrap_or(1);
    let format = first(options, |options| options.batch_format);
    (rows > 1 || format.is_some()).then(|| Batching {
        rows,
        bytes: first(options, |options| options.batch_bytes).unwrap_or(BATCH_BYTES),
        format: format.unwrap_or_default(),
        caller: Arc::default(),
    })
}

/// Who invokes, by the names of the database.
fn caller(table: pg_sys::Oid, user: pg_sys::Oid) -> Caller {
    let cluster = text::shown(process::cluster_name());
    let (schema, name) = catalog::schema_and_name(table);
    Caller {
        cluster: if cluster.is_empty() {
            "postgresql".to_owned()
        } else {
            cluster
        },
        user: text::shown(catalog::role_name(user)),
        database: text::shown(catalog::database_name(process::database())),
        external_function: format!("{}.{}", text::shown(schema), text::shown(name)),
    }
}

fn retry_policy(options: &[Options; 2]) -> RetryPolicy {
    let [_, server] = options;
    RetryPolicy {
        request_timeout: (server.request_timeout_ms)
            .unwrap_or(milliseconds(settings::request_timeout_ms())),
        max_retries: first(options, |options| options.max_retries)
            .unwrap_or(settings::max_retries()),
        retry_timeout: first(options, |options| options.retry_timeout_ms)
            .unwrap_or(milliseconds(settings::retry_timeout_ms())),
    }
}

fn client(server: Options, keys: Option<Keys>, use_machine: bool) -> ClientConfig {
    let endpoint = match server.endpoint_url {
        Some(url) => Some((url, "the server option endpoint_url")),
        None => settings::endpoint_override().map(|url| (url, "aws_lambda.endpoint_override")),
    };
    ClientConfig {
        region: server.region.or_else(settings::region),
        endpoint: endpoint.map(|(url, named_by)| Endpoint { url, named_by }),
        sts_endpoint_url: server.sts_endpoint_url,
        connect_timeout: (server.connect_timeout_ms)
            .unwrap_or(milliseconds(settings::connect_timeout_ms())),
        profile: server.profile,
        role_arn: server.role_arn,
        external_id: server.external_id,
        use_fips: server.use_fips,
        use_dualstack: server.use_dualstack,
        keys,
        use_machine,
    }
}

fn milliseconds(number: u32) -> Duration {
    Duration::from_millis(number.into())
}
