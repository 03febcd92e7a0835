//! Where a client's credentials and region come from: a user mapping's keys, what the SDK finds on the machine, and a role that is
//! assumed with either.
//!
//! What is found is kept as long as its [`Identity`]. One whose credentials were refused, or did not come, is in doubt, and who keeps it
//! makes another for the next statement.

use super::connections::Connections;
use super::failure::Network;
use super::machine::{Explained, Machine};
use super::name::check_region;
use super::places::in_words;
use super::secrets::Secrets;
use super::{ClientConfig, Keys, RetryPolicy, failure};
use crate::error::{ApiFailure, Cause, Error};
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{
    ProvideCredentials, Result as Found, SharedCredentialsProvider,
};
use aws_sdk_lambda::config::{IdentityCache, SharedIdentityCache};
use aws_smithy_async::rt::sleep::default_async_sleep;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_runtime_api::shared::IntoShared;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Longer than any time-out of an attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(4000);

/// How long credentials count at least, as the SDK asks again ten seconds before they expire. Those that seem to have expired when they
/// are handed out tell of a clock that is ahead, or of a `credential_process` that does not renew them: it would be asked for each
/// invocation.
const SHORTEST_LIFE: Duration = Duration::from_secs(15);

/// How long a source that has had credentials is not asked again after it failed.
const NOT_AGAIN: Duration = Duration::from_secs(1);

/// Credentials, once they are found, and what finds them; with a region and connections. Shared by clients that differ in what changes
/// none of these.
pub struct Identity {
    /// What the SDK makes a client of.
    pub base: SdkConfig,
    /// Where Lambda is asked.
    pub region: Region,
    /// Without it each client would have the credentials found anew.
    pub cache: SharedIdentityCache,
    /// What all of it is asked through.
    pub connections: Connections,
    origin: Arc<Origin>,
    /// Whether they can change, other than by a statement of SQL.
    may_change: bool,
    in_doubt: AtomicBool,
}

/// Where credentials come from, for messages.
#[derive(Clone)]
enum Origin {
    Mapping,
    Machine(Arc<Machine>),
    Role(String),
}

/// Why a role has no keys in the database, and the statement that gives it some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoKeys {
    /// A sentence for DETAIL.
    pub reason: String,
    /// A sentence for HINT, with the SQL statement that adds keys.
    pub hint: String,
}

impl Identity {
    /// Makes one. Connects nowhere, except to find out the region where none is given, for as long as an attempt may take.
    pub async fn find(config: &ClientConfig, retry_policy: RetryPolicy) -> Result<Identity, Error> {
        let limit = retry_policy.request_timeout;
        let machine = Arc::new(Machine::read(config.profile.clone()).await);
        let connections = Connections::of_machine(&machine);
        let machine = config.use_machine.then_some(machine);
        let no_region = || match &machine {
            Some(machine) => machine.explain_region(),
            None => "None is given.".to_owned(),
        };
        let base =
            (tokio::time::timeout(limit, base_config(config, machine.as_ref(), &connections))
                .await)
                .map_err(|_| Error::Api(failure::no_region_within(limit, &no_region())))?;
        let region = base.region().cloned().ok_or_else(|| {
            Error::Api(ApiFailure::new(
                Cause::NoRegion,
                "No region",
                format!("{} Nothing was sent.", no_region()),
            ))
        })?;
        // What the machine says is checked like any other region before it becomes part of a host name.
        check_region(region.as_ref())?;
        let origin = match (machine, &config.keys) {
            (Some(machine), None) => Origin::Machine(machine),
            _ => Origin::Mapping,
        };
        let may_change = config.keys.is_none() || config.role_arn.is_some();
        let mut identity = Identity {
            base,
            region,
            // The request's time-out bounds the wait for credentials too; the SDK's own would be another error.
            cache: IdentityCache::lazy().load_timeout(LONGEST_WAIT).build(),
            connections,
            origin: Arc::new(origin),
            may_change,
            in_doubt: AtomicBool::new(false),
        };
        identity.watch_credentials();
        if let Some(role_arn) = &config.role_arn {
            identity.assume(role_arn, config).await;
        }
        Ok(identity)
    }

    /// One that finds nothing.
    #[cfg(any(test, fuzzing))]
    pub fn none(region: Region) -> Identity {
        Identity {
            base: SdkConfig::builder().build(),
            region,
            cache: IdentityCache::no_cache(),
            connections: Connections::nowhere(),
            origin: Arc::new(Origin::Mapping),
            may_change: false,
            in_doubt: AtomicBool::new(false),
        }
    }

    async fn assume(&mut self, role_arn: &str, config: &ClientConfig) {
        let mut sts = self.base.to_builder();
        if let Some(url) = &config.sts_endpoint_url {
            sts = sts.endpoint_url(url);
        }
        let mut role = AssumeRoleProvider::builder(role_arn)
            .session_name("aws_lambda_fdw")
            .region(self.region.clone())
            .configure(&sts.build());
        if let Some(external_id) = &config.external_id {
            role = role.external_id(external_id);
        }
        let role = SharedCredentialsProvider::new(role.build().await);
        self.base = self.base.to_builder().credentials_provider(role).build();
        self.origin = Arc::new(Origin::Role(role_arn.to_owned()));
        self.watch_credentials();
    }

    fn watch_credentials(&mut self) {
        if let Some(source) = self.base.credentials_provider() {
            let watched = Watched::new(source, self.origin.clone());
            let watched = SharedCredentialsProvider::new(watched);
            self.base = self.base.to_builder().credentials_provider(watched).build();
        }
    }

    /// Where its credentials would come from, when none have come so far.
    pub fn explain(&self) -> Explained {
        self.origin.explain(None)
    }

    /// Notes that the credentials were refused, or that there are none.
    pub fn doubt(&self) {
        self.in_doubt.store(self.may_change, Relaxed);
    }

    /// Whether another is to be made in its place, as its credentials or its way to the network may be others by now.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Relaxed) || self.connections.is_given_up()
    }

    /// What messages may not show.
    pub fn secrets(keys: Option<Keys>) -> Secrets {
        Secrets::new(
            (keys.into_iter())
                .flat_map(|keys| [Some(keys.secret_access_key), keys.session_token])
                .flatten()
                .chain(Secrets::of_machine()),
        )
    }
}

impl Origin {
    fn explain(&self, error: Option<&CredentialsError>) -> Explained {
        if let Some(known) = error.and_then(|error| failure::find::<Explained>(error)) {
            return match self {
                Origin::Role(role_arn) => Explained {
                    detail: match known.network {
                        Some(_) => known.detail.clone(),
                        None => format!("Assuming {role_arn} needs credentials. {}", known.detail),
                    },
                    advice: known.advice.clone(),
                    network: known.network.clone(),
                },
                _ => known.clone(),
            };
        }
        let error = error.map(|error| error as &(dyn std::error::Error + 'static));
        if let Some(network) = error.and_then(Network::of) {
            let source = match self {
                Origin::Role(role_arn) => format!("Assuming {role_arn}"),
                _ => "Looking at environment, profile, container and instance".to_owned(),
            };
            return Explained {
                detail: match &network.proxy {
                    Some(proxy) => format!("{source}, through {proxy}"),
                    None => source,
                },
                advice: None,
                network: Some(network),
            };
        }
        match self {
            Origin::Machine(machine) => machine.explain(error),
            Origin::Mapping => Explained {
                detail: format!("The user mapping's keys: {}.", in_words(error)),
                advice: None,
                network: None,
            },
            Origin::Role(role_arn) => Explained {
                detail: format!("Assuming {role_arn}: {}.", in_words(error)),
                advice: None,
                network: None,
            },
        }
    }
}

/// A source of credentials that says in words why it has none, and is not asked again and again.
struct Watched {
    source: SharedCredentialsProvider,
    origin: Arc<Origin>,
    had: AtomicBool,
    failed: Mutex<Option<(Instant, Explained)>>,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Watched")
    }
}

impl Watched {
    fn new(source: SharedCredentialsProvider, origin: Arc<Origin>) -> Watched {
        Watched {
            source,
            origin,
            had: AtomicBool::new(false),
            failed: Mutex::default(),
        }
    }

    /// Why there were none, as long as that holds: for good if there never were any, as each invocation of a statement would else start
    /// a process or assume a role. The next statement has another identity.
    fn still_failed(&self) -> Option<Explained> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, explained) = failed.as_ref()?;
        (!self.had.load(Relaxed) || since.elapsed() < NOT_AGAIN).then(|| explained.clone())
    }

    async fn find(&self) -> Found {
        if let Some(explained) = self.still_failed() {
            return Err(CredentialsError::provider_error(explained));
        }
        if let Origin::Machine(machine) = &*self.origin
            && let Some(explained) = machine.endless_token()
        {
            return Err(CredentialsError::provider_error(explained));
        }
        match self.source.provide_credentials().await {
            Ok(mut found) => {
                self.had.store(true, Relaxed);
                let earliest = SystemTime::now() + SHORTEST_LIFE;
                if found.expiry().is_some_and(|expiry| expiry < earliest) {
                    *found.expiry_mut() = Some(earliest);
                }
                Ok(found)
            }
            Err(error) => {
                let explained = self.origin.explain(Some(&error));
                let now = Some((Instant::now(), explained.clone()));
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = now;
                Err(CredentialsError::provider_error(explained))
            }
        }
    }
}

impl ProvideCredentials for Watched {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(self.find())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.source.fallback_on_interrupt()
    }
}

async fn base_config(
    config: &ClientConfig,
    machine: Option<&Arc<Machine>>,
    connections: &Connections,
) -> SdkConfig {
    let keys = config.keys.as_ref().map(|keys| {
        SharedCredentialsProvider::new(Credentials::new(
            &keys.access_key_id,
            &keys.secret_access_key,
            keys.session_token.clone(),
            None,
            "user mapping",
        ))
    });
    let region = config.region.clone().map(Region::new);
    let Some(machine) = machine else {
        let mut builder = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            // What else the loader below would bring: assuming a role panics without a clock.
            .time_source(SystemTimeSource::new())
            .region(region);
        builder.set_http_client(Some(connections.clone().into_shared()));
        builder.set_sleep_impl(default_async_sleep());
        builder.set_credentials_provider(keys);
        builder.set_use_fips(config.use_fips);
        builder.set_use_dual_stack(config.use_dualstack);
        return builder.build();
    };
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .profile_files(machine.files())
        .http_client(connections.clone());
    let is_mapped = keys.is_some();
    if let Some(keys) = keys {
        loader = loader.credentials_provider(keys);
    }
    if let Some(profile) = &config.profile {
        // A profile that was named comes before the environment, which the SDK would otherwise ask first.
        let of_profile = ProfileFileRegionProvider::builder()
            .profile_name(profile)
            .profile_files(machine.files());
        if let Some(region) = of_profile.build().region().await {
            loader = loader.region(region);
        }
        loader = loader.profile_name(profile);
    }
    if let Some(region) = region {
        loader = loader.region(region);
    }
    if let Some(use_fips) = config.use_fips {
        loader = loader.use_fips(use_fips);
    }
    if let Some(use_dualstack) = config.use_dualstack {
        loader = loader.use_dual_stack(use_dualstack);
    }
    let base = loader.load().await;
    let process = machine.process();
    if is_mapped || config.profile.is_none() && process.is_none() {
        return base;
    }
    // With a region and connections, as a profile may assume a role.
    let around = ProviderConfig::without_region()
        .with_region(base.region().cloned())
        .with_use_fips(base.use_fips())
        .with_use_dual_stack(base.use_dual_stack())
        .with_http_client(connections.clone());
    let mut of_profile = ProfileFileCredentialsProvider::builder()
        .configure(&around)
        .profile_name(machine.selected().into_owned());
    of_profile = match process {
        Some((process, name, files)) => {
            (of_profile.profile_files(files)).with_custom_provider(name, process)
        }
        None => of_profile.profile_files(machine.files()),
    };
    let of_profile = of_profile.build();
    let source = match config.profile {
        Some(_) => SharedCredentialsProvider::new(of_profile),
        // Where the profile has a process, the SDK goes no further.
        None => SharedCredentialsProvider::new(
            CredentialsProviderChain::first_try(
                "Environment",
                EnvironmentVariableCredentialsProvider::new(),
            )
            .or_else("Profile", of_profile),
        ),
    };
    base.to_builder().credentials_provider(source).build()
}
