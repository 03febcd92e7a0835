//! The source of a profile's credentials, and the problems of profiles.
//!
//! The SDK follows profiles too, but its errors are those of a Rust crate.

use aws_config::profile::{Profile, ProfileSet};

/// Settings of a profile that needs a login by a person.
const SSO: [&str; 5] = [
    "sso_session",
    "sso_start_url",
    "sso_region",
    "sso_account_id",
    "sso_role_name",
];
const LOGIN: &str = "login_session";

/// Why a profile gives no credentials.
pub struct ProfileProblem {
    /// The profile with the problem: the selected one, or one of its sources.
    pub profile: String,
    /// The end of a sentence that begins with the profile.
    pub reason: String,
    /// What to do, where that is known.
    pub hint: Option<String>,
    /// Whether the SDK asks no further provider.
    pub ends_chain: bool,
}

/// Follows a profile to the source of its credentials, as the SDK does, as far as the first problem.
pub fn profile_problem(profiles: &ProfileSet, selected: &Profile) -> Option<ProfileProblem> {
    let mut seen: Vec<&str> = Vec::new();
    let mut profile = selected;
    loop {
        let name = profile.name();
        let problem = |(reason, hint, ends_chain): Reason| ProfileProblem {
            profile: name.to_owned(),
            reason,
            hint,
            ends_chain,
        };
        if seen.contains(&name) {
            seen.push(name);
            let cycle = seen.join("], [");
            return Some(problem(final_reason(format!(
                "has a source_profile that leads back to it: [{cycle}]"
            ))));
        }
        let is_first = seen.is_empty();
        seen.push(name);
        let has = |key| profile.get(key).is_some();
        if !is_first && has("aws_access_key_id") && has("aws_secret_access_key") {
            return None;
        }
        if has("role_arn") && !has("web_identity_token_file") {
            match role_source(profiles, profile) {
                Ok(RoleSource::Other(next)) => {
                    profile = next;
                    continue;
                }
                Ok(RoleSource::Itself) => (),
                Ok(RoleSource::Known) => return None,
                Err(reason) => return Some(problem(reason)),
            }
        }
        return source_problem(profile)
            .map(|(reason, hint, ends_chain)| problem((reason, hint, ends_chain || !is_first)));
    }
}

/// The reason of a problem, its hint, and whether the SDK asks no further provider.
type Reason = (String, Option<String>, bool);

fn final_reason(reason: impl Into<String>) -> Reason {
    (reason.into(), None, true)
}

/// The source of the credentials that a profile assumes its role with.
enum RoleSource<'a> {
    /// Another profile.
    Other(&'a Profile),
    /// The profile's own credentials.
    Itself,
    /// A provider that needs no profile.
    Known,
}

fn role_source<'a>(
    profiles: &'a ProfileSet,
    profile: &'a Profile,
) -> Result<RoleSource<'a>, Reason> {
    match (
        profile.get("source_profile"),
        profile.get("credential_source"),
    ) {
        (Some(_), Some(_)) => Err(final_reason(
            "has both source_profile and credential_source",
        )),
        (None, None) => Err(final_reason(
            "has a role_arn, and neither source_profile nor credential_source to assume it with",
        )),
        (None, Some(source)) => match credential_source_problem(source) {
            Some(reason) => Err(final_reason(reason)),
            None => Ok(RoleSource::Known),
        },
        (Some(source), None) if source == profile.name() => Ok(RoleSource::Itself),
        (Some(source), None) => match profiles.get_profile(source) {
            Some(next) => Ok(RoleSource::Other(next)),
            None => {
                let reason =
                    format!("has the source_profile [{source}], which is in neither shared file");
                Err((reason, None, false))
            }
        },
    }
}

/// The profile whose `credential_process` gives a profile its credentials.
pub fn process_profile<'a>(profiles: &'a ProfileSet, selected: &'a Profile) -> Option<&'a Profile> {
    if profile_problem(profiles, selected).is_some() {
        return None;
    }
    let mut profile = selected;
    // The loop ends, as there is no problem.
    loop {
        let has = |key: &&str| profile.get(key).is_some();
        let is_role = has(&"role_arn") && !has(&"web_identity_token_file");
        match profile.get("source_profile").filter(|_| is_role) {
            Some(source) if source != profile.name() => profile = profiles.get_profile(source)?,
            None if is_role => return None,
            _ => break,
        }
        if profile.get("aws_access_key_id").is_some()
            && profile.get("aws_secret_access_key").is_some()
        {
            return None;
        }
    }
    let others = ["credential_source", "web_identity_token_file", LOGIN];
    let has_other = (others.iter().chain(&SSO)).any(|key| profile.get(key).is_some());
    (!has_other && profile.get("credential_process").is_some()).then_some(profile)
}

fn credential_source_problem(source: &str) -> Option<String> {
    let known = ["Environment", "Ec2InstanceMetadata", "EcsContainer"];
    (!known.iter().any(|known| known.eq_ignore_ascii_case(source))).then(|| {
        format!(
            "has a credential_source that is none of {}",
            known.join(", ")
        )
    })
}

/// Reason, hint and `ends_chain` of a problem with a profile that assumes no role with another profile.
fn source_problem(profile: &Profile) -> Option<Reason> {
    let has = |key: &&str| profile.get(key).is_some();
    let name = profile.name();
    if let Some(source) = profile.get("credential_source") {
        return credential_source_problem(source).map(|why| (why, None, true));
    }
    if has(&"web_identity_token_file") {
        return (!has(&"role_arn")).then(|| {
            let why = "has a web_identity_token_file and no role_arn";
            (why.to_owned(), None, true)
        });
    }
    let logs_in = match (SSO.iter().any(has), has(&LOGIN)) {
        (true, _) => Some("SSO"),
        (_, true) => Some("aws login"),
        _ => None,
    };
    if let Some(how) = logs_in {
        return Some((
            format!("logs in with {how}, which a server does not: nobody is there to log in"),
            Some(format!(
                "Give the server a profile with keys or a role, or with credential_process = aws configure export-credentials --profile {name}, for as long as somebody logs in."
            )),
            true,
        ));
    }
    if has(&"credential_process") {
        return None;
    }
    let keys = ["aws_access_key_id", "aws_secret_access_key"];
    match keys.each_ref().map(has) {
        [true, true] => None,
        [true, false] => Some((format!("has {} and no {}", keys[0], keys[1]), None, true)),
        [false, true] => Some((format!("has {} and no {}", keys[1], keys[0]), None, true)),
        [false, false] if has(&"aws_session_token") => Some((
            format!("has neither {} nor {}", keys[0], keys[1]),
            None,
            true,
        )),
        _ => Some(("has no credentials".to_owned(), None, false)),
    }
}
