//! The credentials and the region of a client: keys of a user mapping, else the SDK's credential provider chain, and a role that is
//! assumed with either.
//!
//! An [`Identity`] keeps its credentials. If they were refused, or none were found, it is in doubt, and its owner replaces it for the next
//! statement.

use super::connections::Connections;
use super::error_chain::find;
use super::network_failure::NetworkFailure;
use super::provider_chain::NoCredentials;
use super::providers::error_text;
use super::region::check_region;
use super::sdk_config::sdk_config;
use super::secrets::Secrets;
use super::shared_config::SharedConfig;
use super::{ClientConfig, Keys, RetryPolicy, failure};
use crate::error::{ApiFailure, Cause, Error};
use aws_config::{Region, SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{
    ProvideCredentials, Result as Found, SharedCredentialsProvider,
};
use aws_sdk_lambda::config::{IdentityCache, SharedIdentityCache};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Longer than any time-out of an attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(4000);

/// Shortest lifetime of credentials. The SDK asks for others ten seconds before they expire. A clock that is ahead, or a
/// `credential_process` that does not renew them, gives credentials that are expired. The process would then run for each invocation.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(15);

/// How long the failure of a provider that once had credentials is remembered.
const FAILURE_LIFETIME: Duration = Duration::from_secs(1);

/// The credential provider with its cache, the region, and the connections. Clients that differ in timeouts and endpoint alone share one.
pub struct Identity {
    /// Configuration of SDK clients.
    pub base: SdkConfig,
    /// The region of the functions.
    pub region: Region,
    /// Cache of credentials. Each client would otherwise ask the provider.
    pub cache: SharedIdentityCache,
    /// The HTTP client of the SDK's clients and providers.
    pub connections: Connections,
    origin: Arc<Origin>,
    /// Whether credentials can change without a statement of SQL.
    may_change: bool,
    in_doubt: AtomicBool,
}

/// The source of credentials, for messages.
#[derive(Clone)]
enum Origin {
    UserMapping,
    ProviderChain(Arc<SharedConfig>),
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
    /// Makes an identity. It connects only to find the region where none is given, for as long as an attempt may take.
    pub async fn find(config: &ClientConfig, retry_policy: RetryPolicy) -> Result<Identity, Error> {
        let limit = retry_policy.request_timeout;
        let shared_config = Arc::new(SharedConfig::read(config.profile.clone()).await);
        let connections = Connections::with_config(&shared_config);
        let shared_config = config.use_machine.then_some(shared_config);
        let no_region = || match &shared_config {
            Some(shared_config) => shared_config.explain_region(),
            None => "None is given.".to_owned(),
        };
        let base = (tokio::time::timeout(
            limit,
            sdk_config(config, shared_config.as_ref(), &connections),
        )
        .await)
            .map_err(|_| Error::Api(failure::region_timed_out(limit, &no_region())))?;
        let region = base.region().cloned().ok_or_else(|| {
            Error::Api(ApiFailure::new(
                Cause::NoRegion,
                "No region",
                format!("{} Nothing was sent.", no_region()),
            ))
        })?;
        // The region becomes part of a host name, so the one of the machine is checked as well.
        check_region(region.as_ref())?;
        let origin = match (shared_config, &config.keys) {
            (Some(shared_config), None) => Origin::ProviderChain(shared_config),
            _ => Origin::UserMapping,
        };
        let may_change = config.keys.is_none() || config.role_arn.is_some();
        let mut identity = Identity {
            base,
            region,
            // The request's timeout bounds the wait for credentials too. The SDK's timeout would be another error.
            cache: IdentityCache::lazy().load_timeout(LONGEST_WAIT).build(),
            connections,
            origin: Arc::new(origin),
            may_change,
            in_doubt: AtomicBool::new(false),
        };
        identity.report_failures();
        if let Some(role_arn) = &config.role_arn {
            identity.assume(role_arn, config).await;
        }
        Ok(identity)
    }

    /// An identity without credentials.
    #[cfg(any(test, fuzzing))]
    pub fn none(region: Region) -> Identity {
        Identity {
            base: SdkConfig::builder().build(),
            region,
            cache: IdentityCache::no_cache(),
            connections: Connections::nowhere(),
            origin: Arc::new(Origin::UserMapping),
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
        self.report_failures();
    }

    fn report_failures(&mut self) {
        if let Some(source) = self.base.credentials_provider() {
            let watched = ReportingProvider::new(source, self.origin.clone());
            let watched = SharedCredentialsProvider::new(watched);
            self.base = self.base.to_builder().credentials_provider(watched).build();
        }
    }

    /// Why no credentials have been found so far.
    pub fn explain(&self) -> NoCredentials {
        self.origin.explain(None)
    }

    /// Notes that the credentials were refused, or that none were found.
    pub fn doubt(&self) {
        self.in_doubt.store(self.may_change, Relaxed);
    }

    /// Whether to replace the identity, as its credentials or its proxies may have changed.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Relaxed) || self.connections.is_given_up()
    }

    /// The secrets that messages may not show.
    pub fn secrets(keys: Option<Keys>) -> Secrets {
        Secrets::new(
            (keys.into_iter())
                .flat_map(|keys| [Some(keys.secret_access_key), keys.session_token])
                .flatten()
                .chain(Secrets::of_environment()),
        )
    }
}

impl Origin {
    fn explain(&self, error: Option<&CredentialsError>) -> NoCredentials {
        if let Some(known) = error.and_then(|error| find::<NoCredentials>(error)) {
            return match self {
                Origin::Role(role_arn) => NoCredentials {
                    detail: match known.network {
                        Some(_) => known.detail.clone(),
                        None => format!("Assuming {role_arn} needs credentials. {}", known.detail),
                    },
                    hint: known.hint.clone(),
                    network: known.network.clone(),
                },
                _ => known.clone(),
            };
        }
        let error = error.map(|error| error as &(dyn std::error::Error + 'static));
        if let Some(network) = error.and_then(NetworkFailure::find) {
            let source = match self {
                Origin::Role(role_arn) => format!("Assuming {role_arn}"),
                _ => "Looking at environment, profile, container and instance".to_owned(),
            };
            return NoCredentials {
                detail: match &network.proxy {
                    Some(proxy) => format!("{source}, through {proxy}"),
                    None => source,
                },
                hint: None,
                network: Some(network),
            };
        }
        match self {
            Origin::ProviderChain(shared_config) => shared_config.explain(error),
            Origin::UserMapping => NoCredentials {
                detail: format!("The user mapping's keys: {}.", error_text(error)),
                hint: None,
                network: None,
            },
            Origin::Role(role_arn) => NoCredentials {
                detail: format!("Assuming {role_arn}: {}.", error_text(error)),
                hint: None,
                network: None,
            },
        }
    }
}

/// A provider of credentials whose errors are [`NoCredentials`], and that is not asked again soon after it failed.
struct ReportingProvider {
    provider: SharedCredentialsProvider,
    origin: Arc<Origin>,
    has_succeeded: AtomicBool,
    last_failure: Mutex<Option<(Instant, NoCredentials)>>,
}

impl std::fmt::Debug for ReportingProvider {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ReportingProvider")
    }
}

impl ReportingProvider {
    fn new(provider: SharedCredentialsProvider, origin: Arc<Origin>) -> ReportingProvider {
        ReportingProvider {
            provider,
            origin,
            has_succeeded: AtomicBool::new(false),
            last_failure: Mutex::default(),
        }
    }

    /// The last failure, while it is remembered. It is remembered for good if there never were credentials: each invocation of a statement
    /// would otherwise start a process or assume a role. The next statement has another identity.
    fn remembered_failure(&self) -> Option<NoCredentials> {
        let failed = self
            .last_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (since, explained) = failed.as_ref()?;
        (!self.has_succeeded.load(Relaxed) || since.elapsed() < FAILURE_LIFETIME)
            .then(|| explained.clone())
    }

    async fn find(&self) -> Found {
        if let Some(explained) = self.remembered_failure() {
            return Err(CredentialsError::provider_error(explained));
        }
        if let Origin::ProviderChain(shared_config) = &*self.origin
            && let Some(explained) = shared_config.special_token_file()
        {
            return Err(CredentialsError::provider_error(explained));
        }
        match self.provider.provide_credentials().await {
            Ok(mut found) => {
                self.has_succeeded.store(true, Relaxed);
                let earliest = SystemTime::now() + SHORTEST_LIFETIME;
                if found.expiry().is_some_and(|expiry| expiry < earliest) {
                    *found.expiry_mut() = Some(earliest);
                }
                Ok(found)
            }
            Err(error) => {
                let explained = self.origin.explain(Some(&error));
                let failure = Some((Instant::now(), explained.clone()));
                *self
                    .last_failure
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = failure;
                Err(CredentialsError::provider_error(explained))
            }
        }
    }
}

impl ProvideCredentials for ReportingProvider {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(self.find())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.provider.fallback_on_interrupt()
    }
}
