//! The configuration of the SDK's clients: region, HTTP client, and the credential provider without a role that options name.

use super::ClientConfig;
use super::connections::Connections;
use super::shared_config::SharedConfig;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::default_async_sleep;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_runtime_api::shared::IntoShared;
use std::sync::Arc;

/// Makes the configuration. Without a shared config, nothing of the machine is used.
pub async fn sdk_config(
    config: &ClientConfig,
    shared_config: Option<&Arc<SharedConfig>>,
    connections: &Connections,
) -> SdkConfig {
    let Some(shared_config) = shared_config else {
        return of_options(config, connections);
    };
    let base = of_machine(config, shared_config, connections).await;
    // The SDK's provider of a profile would run a credential_process itself, and its default chain would ask the environment first.
    let needs_profile_provider = config.profile.is_some() || shared_config.process().is_some();
    if config.keys.is_some() || !needs_profile_provider {
        return base;
    }
    let provider = profile_provider(config, shared_config, connections, &base);
    base.to_builder().credentials_provider(provider).build()
}

/// The keys of the user mapping.
fn keys_provider(config: &ClientConfig) -> Option<SharedCredentialsProvider> {
    let keys = config.keys.as_ref()?;
    Some(SharedCredentialsProvider::new(Credentials::new(
        &keys.access_key_id,
        &keys.secret_access_key,
        keys.session_token.clone(),
        None,
        "user mapping",
    )))
}

/// A configuration that uses nothing of the machine.
fn of_options(config: &ClientConfig, connections: &Connections) -> SdkConfig {
    let mut builder = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        // The SDK's loader sets a clock too. Without it, assuming a role panics.
        .time_source(SystemTimeSource::new())
        .region(config.region.clone().map(Region::new));
    builder.set_http_client(Some(connections.clone().into_shared()));
    builder.set_sleep_impl(default_async_sleep());
    builder.set_credentials_provider(keys_provider(config));
    builder.set_use_fips(config.use_fips);
    builder.set_use_dual_stack(config.use_dualstack);
    builder.build()
}

/// A configuration with the SDK's own chains for what options leave out.
async fn of_machine(
    config: &ClientConfig,
    shared_config: &SharedConfig,
    connections: &Connections,
) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .profile_files(shared_config.files())
        .http_client(connections.clone());
    if let Some(keys) = keys_provider(config) {
        loader = loader.credentials_provider(keys);
    }
    if let Some(profile) = &config.profile {
        // A profile that an option names precedes the environment, which the SDK would otherwise ask first.
        let profile_region = ProfileFileRegionProvider::builder()
            .profile_name(profile)
            .profile_files(shared_config.files());
        if let Some(region) = profile_region.build().region().await {
            loader = loader.region(region);
        }
        loader = loader.profile_name(profile);
    }
    if let Some(region) = config.region.clone() {
        loader = loader.region(Region::new(region));
    }
    if let Some(use_fips) = config.use_fips {
        loader = loader.use_fips(use_fips);
    }
    if let Some(use_dualstack) = config.use_dualstack {
        loader = loader.use_dual_stack(use_dualstack);
    }
    loader.load().await
}

/// The provider of a profile that an option names, or of one with a `credential_process`.
fn profile_provider(
    config: &ClientConfig,
    shared_config: &SharedConfig,
    connections: &Connections,
    base: &SdkConfig,
) -> SharedCredentialsProvider {
    // A profile may assume a role, which takes a region and connections.
    let provider_config = ProviderConfig::without_region()
        .with_region(base.region().cloned())
        .with_use_fips(base.use_fips())
        .with_use_dual_stack(base.use_dual_stack())
        .with_http_client(connections.clone());
    let profile = ProfileFileCredentialsProvider::builder()
        .configure(&provider_config)
        .profile_name(shared_config.selected_profile().into_owned());
    let profile = match shared_config.process() {
        Some((process, name, files)) => {
            (profile.profile_files(files)).with_custom_provider(name, process)
        }
        None => profile.profile_files(shared_config.files()),
    };
    let profile = profile.build();
    match config.profile {
        Some(_) => SharedCredentialsProvider::new(profile),
        // The SDK asks no provider after a profile with a process.
        None => SharedCredentialsProvider::new(
            CredentialsProviderChain::first_try(
                "Environment",
                EnvironmentVariableCredentialsProvider::new(),
            )
            .or_else("Profile", profile),
        ),
    }
}
