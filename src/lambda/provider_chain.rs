//! Why the credential provider chain has no credentials, or no region, in the words of AWS's tools.
//!
//! The SDK asks the providers. This file goes through the same providers in the same order, and tells why each has none. It decides
//! nothing.

use super::error_chain::find;
use super::files;
use super::network_failure::NetworkFailure;
use super::profiles::profile_problem;
use super::providers::{
    self, CONTAINER, CONTAINER_TOKEN_FILE, KEY_ID, NO_METADATA, REGIONS, ROLE, SECRET, TOKEN_FILE,
    error_text, variable_of,
};
use super::shared_config::SharedConfig;
use aws_config::meta::ProviderChainError;
use aws_credential_types::provider::error::CredentialsError;
use std::env::VarError;
use std::error::Error as StdError;

/// Why there are no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCredentials {
    /// Sentences.
    pub detail: String,
    /// What to do, where that is known.
    pub hint: Option<String>,
    /// The failure of a proxy or of the root certificates that caused it. Then `detail` is the action that failed.
    pub network: Option<NetworkFailure>,
}

impl StdError for NoCredentials {}

impl std::fmt::Display for NoCredentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.detail)
    }
}

/// The providers of the SDK's default chain, in their order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Provider {
    Environment,
    Profile,
    WebIdentity,
    Container,
    Instance,
}

impl Provider {
    const ALL: [Provider; 5] = [
        Provider::Environment,
        Provider::Profile,
        Provider::WebIdentity,
        Provider::Container,
        Provider::Instance,
    ];
}

impl SharedConfig {
    /// Why there are no credentials. `error` is the SDK's, or `None` while the SDK still asks.
    pub fn explain(&self, error: Option<&(dyn StdError + 'static)>) -> NoCredentials {
        let chain = error.and_then(find::<ProviderChainError<CredentialsError>>);
        let mut detail = Vec::new();
        let mut hint = None;
        for (provider, name) in self.providers() {
            let attempts = chain.map(|chain| chain.attempts()).unwrap_or_default();
            let error = (attempts.iter())
                .find(|attempt| attempt.name() == name)
                .map(|attempt| attempt.error() as &(dyn StdError + 'static))
                .or(error);
            detail.push(match provider {
                Provider::Environment => providers::environment_problem(),
                Provider::Profile => {
                    let (problem, profile_hint) = self.profile_problem(error);
                    hint = hint.or(profile_hint);
                    problem
                }
                Provider::WebIdentity => providers::web_identity_problem(error),
                Provider::Container => providers::container_problem(error),
                Provider::Instance => providers::imds_problem(error),
            });
            if chain.is_none() && self.is_last(provider) {
                break;
            }
        }
        NoCredentials {
            detail: detail.join(" "),
            hint,
            network: None,
        }
    }

    /// Whether a token's file is a special file. The SDK would read it in this thread, and nothing else would run meanwhile.
    pub fn special_token_file(&self) -> Option<NoCredentials> {
        let is_asked = self.profile_option.is_none() && !self.is_last(Provider::Environment);
        let is_read = |name, with: &[&str]| {
            variable_of(name)
                .filter(|_| is_asked && with.iter().any(|with| std::env::var_os(with).is_some()))
        };
        let of_variables = [
            is_read(TOKEN_FILE, &[ROLE]).map(|path| ("Web identity token", path)),
            is_read(CONTAINER_TOKEN_FILE, &CONTAINER).map(|path| ("Container credentials", path)),
        ];
        let of_profiles = (self.source_profiles())
            .filter_map(|profile| profile.get("web_identity_token_file"))
            .map(|path| ("Web identity token", path.to_owned()));
        let (what, path) = (of_variables.into_iter().flatten())
            .chain(of_profiles)
            .find(|(_, path)| files::is_special(path.as_ref()))?;
        Some(NoCredentials {
            detail: format!("{what}: {path}: is no file."),
            hint: None,
            network: None,
        })
    }

    /// Why there is no region.
    pub fn explain_region(&self) -> String {
        let [first, second] = REGIONS;
        let profile = match self.missing_profile() {
            Some(missing) => missing,
            None => format!("Profile [{}] has no region.", self.selected_profile()),
        };
        let profile = match &self.profiles {
            Err(malformed) => format!("{malformed}."),
            Ok(_) => profile,
        };
        let instance = match providers::is_true(NO_METADATA) {
            true => format!("Instance metadata: disabled by {NO_METADATA}."),
            false => "Instance metadata: no answer with a region.".to_owned(),
        };
        format!(
            "None is given. Environment variables: {first} and {second} are not set. {profile} {instance}"
        )
    }

    /// The providers that are asked, by the names that the SDK has for them.
    fn providers(&self) -> impl Iterator<Item = (Provider, &'static str)> {
        let names = [
            "Environment",
            "Profile",
            "WebIdentityToken",
            "EcsContainer",
            "Ec2InstanceMetadata",
        ];
        let only_profile = self.profile_option.is_some();
        (Provider::ALL.into_iter().zip(names))
            .filter(move |(provider, _)| !only_profile || *provider == Provider::Profile)
    }

    /// Whether the SDK asks no provider after this one.
    fn is_last(&self, provider: Provider) -> bool {
        let is_set = |name| std::env::var_os(name).is_some();
        match provider {
            Provider::Environment => {
                [KEY_ID, SECRET].into_iter().all(is_set)
                    || [KEY_ID, SECRET]
                        .into_iter()
                        .any(|name| matches!(std::env::var(name), Err(VarError::NotUnicode(_))))
            }
            Provider::Profile => match &self.profiles {
                Err(_) => true,
                Ok(profiles) => {
                    (profiles.get_profile(profiles.selected_profile())).is_some_and(|profile| {
                        profile_problem(profiles, profile).is_none_or(|problem| problem.ends_chain)
                    })
                }
            },
            Provider::WebIdentity => is_set(TOKEN_FILE) && is_set(ROLE),
            Provider::Container => {
                CONTAINER.into_iter().any(is_set) || providers::container_token_problem().is_some()
            }
            Provider::Instance => true,
        }
    }

    /// Why the selected profile has no credentials, and what to do.
    fn profile_problem(
        &self,
        error: Option<&(dyn StdError + 'static)>,
    ) -> (String, Option<String>) {
        let profiles = match &self.profiles {
            Ok(profiles) => profiles,
            Err(malformed) => return (format!("{malformed}."), None),
        };
        if let Some(missing) = self.missing_profile() {
            return (missing, None);
        }
        let selected = profiles.selected_profile();
        let unreadable = self.unreadable_files();
        let problem =
            (profiles.get_profile(selected)).and_then(|profile| profile_problem(profiles, profile));
        match problem {
            Some(problem) => (
                format!(
                    "Profile [{}] {}.{unreadable}",
                    problem.profile, problem.reason
                ),
                problem.hint,
            ),
            None => (
                format!("Profile [{selected}]: {}.{unreadable}", error_text(error)),
                None,
            ),
        }
    }
}
