//! Where a profile's credentials come from, and what keeps them from coming.
//!
//! The SDK follows profiles too, and says what is wrong in the words of a Rust crate.

use aws_config::profile::{Profile, ProfileSet};

/// What a profile has that logs in, as a person does.
const SSO: [&str; 5] = [
    "sso_session",
    "sso_start_url",
    "sso_region",
    "sso_account_id",
    "sso_role_name",
];
const LOGIN: &str = "login_session";

/// What is wrong with a profile.
pub struct Problem {
    /// The profile that has it, which may be another one's source.
    pub profile: String,
    /// What it has, or lacks.
    pub why: String,
    /// What to do, where that is known.
    pub advice: Option<String>,
    /// Whether the SDK stops there, instead of looking further.
    pub is_there: bool,
}

/// Follows a profile to where its credentials come from, as the SDK does, until something is missing.
pub fn problem_of(profiles: &ProfileSet, selected: &Profile) -> Option<Problem> {
    let mut seen: Vec<&str> = Vec::new();
    let mut profile = selected;
    loop {
        let name = profile.name();
        let problem = |why: String| Problem {
            profile: name.to_owned(),
            why,
            advice: None,
            is_there: true,
        };
        if seen.contains(&name) {
            seen.push(name);
            let round = seen.join("], [");
            return Some(problem(format!(
                "has a source_profile that leads back to it: [{round}]"
            )));
        }
        let is_first = seen.is_empty();
        seen.push(name);
        let has = |key| profile.get(key).is_some();
        if !is_first && has("aws_access_key_id") && has("aws_secret_access_key") {
            return None;
        }
        if has("role_arn") && !has("web_identity_token_file") {
            match (
                profile.get("source_profile"),
                profile.get("credential_source"),
            ) {
                (Some(_), Some(_)) => {
                    let why = "has both source_profile and credential_source";
                    return Some(problem(why.to_owned()));
                }
                (None, None) => {
                    let why = "has a role_arn, and neither source_profile nor credential_source to assume it with";
                    return Some(problem(why.to_owned()));
                }
                (None, Some(source)) => return of_source(source).map(problem),
                (Some(source), None) if source == name => (),
                (Some(source), None) => match profiles.get_profile(source) {
                    Some(next) => {
                        profile = next;
                        continue;
                    }
                    None => {
                        return Some(Problem {
                            is_there: false,
                            ..problem(format!(
                                "has the source_profile [{source}], which is in neither shared file"
                            ))
                        });
                    }
                },
            }
        }
        return of_base(profile).map(|(why, advice, is_there)| Problem {
            advice,
            is_there: is_there || !is_first,
            ..problem(why)
        });
    }
}

/// The profile whose `credential_process` gives a profile its credentials.
pub fn process_of<'a>(profiles: &'a ProfileSet, selected: &'a Profile) -> Option<&'a Profile> {
    if problem_of(profiles, selected).is_some() {
        return None;
    }
    let mut profile = selected;
    // It leads to an end, as there is no problem.
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

fn of_source(source: &str) -> Option<String> {
    let known = ["Environment", "Ec2InstanceMetadata", "EcsContainer"];
    (!known.iter().any(|known| known.eq_ignore_ascii_case(source))).then(|| {
        format!(
            "has a credential_source that is none of {}",
            known.join(", ")
        )
    })
}

/// What is wrong with a profile that is no role, what to do, and whether the SDK goes no further.
fn of_base(profile: &Profile) -> Option<(String, Option<String>, bool)> {
    let has = |key: &&str| profile.get(key).is_some();
    let name = profile.name();
    if let Some(source) = profile.get("credential_source") {
        return of_source(source).map(|why| (why, None, true));
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
