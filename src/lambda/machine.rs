//! What the machine has by way of credentials and a region, and why a source has none, in the words of AWS's tools.
//!
//! The SDK looks; what is here tells what it has seen. Only the two shared files are read here: the SDK takes one that it can't read
//! for an empty one, and knows no home but `$HOME`, which a server that Debian starts has not.

use super::failure::{Network, find, innermost};
use super::files;
use super::places::{
    self, CONTAINER, CONTAINER_TOKEN_FILE, KEY_ID, NO_FILE, NO_METADATA, PROFILE, REGIONS, ROLE,
    SECRET, TOKEN_FILE, capital, in_words, variable_of,
};
use super::process::Process;
use super::profiles::{problem_of, process_of};
use aws_config::meta::ProviderChainError;
use aws_config::profile::{Profile, ProfileSet};
use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::env_config::file::{Builder, EnvConfigFileKind, EnvConfigFiles};
use aws_types::os_shim_internal::{Env, Fs};
use std::borrow::Cow;
use std::env::VarError;
use std::error::Error as StdError;
use std::path::{Path, PathBuf};

/// What was found on the machine when a client needed it.
pub struct Machine {
    /// The option that names a profile: then no other source counts.
    option: Option<String>,
    files: [File; 2],
    /// Both files, or what is wrong with one of them.
    profiles: Result<ProfileSet, String>,
}

/// A shared file.
struct File {
    what: &'static str,
    kind: EnvConfigFileKind,
    path: PathBuf,
    text: Result<String, String>,
}

/// Why there are no credentials, and what would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Sentences.
    pub detail: String,
    /// What to do, where that is known.
    pub advice: Option<String>,
    /// What a proxy or trust has to do with it. Then the detail say what was being done.
    pub network: Option<Network>,
}

impl StdError for Explained {}

impl std::fmt::Display for Explained {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.detail)
    }
}

/// The places that the SDK looks at, in its order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Environment,
    Profile,
    WebIdentity,
    Container,
    Instance,
}

impl Place {
    const ALL: [Place; 5] = [
        Place::Environment,
        Place::Profile,
        Place::WebIdentity,
        Place::Container,
        Place::Instance,
    ];
}

impl File {
    fn both() -> [File; 2] {
        let home = std::env::home_dir();
        let read = |what, kind, variable, usual| {
            File::read(home.as_deref(), what, kind, [variable, usual])
        };
        [
            read(
                "shared config file",
                EnvConfigFileKind::Config,
                "AWS_CONFIG_FILE",
                "~/.aws/config",
            ),
            read(
                "shared credentials file",
                EnvConfigFileKind::Credentials,
                "AWS_SHARED_CREDENTIALS_FILE",
                "~/.aws/credentials",
            ),
        ]
    }

    fn read(
        home: Option<&Path>,
        what: &'static str,
        kind: EnvConfigFileKind,
        [variable, usual]: [&str; 2],
    ) -> File {
        let path = PathBuf::from(variable_of(variable).unwrap_or_else(|| usual.to_owned()));
        // As AWS's tools do, for whoever has no HOME too.
        let path = match (path.strip_prefix("~"), home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path,
        };
        let text = places::read_file(&path)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned()));
        File {
            what,
            kind,
            path,
            text,
        }
    }

    fn shown(&self) -> String {
        format!("{} {}", self.what, self.path.display())
    }
}

impl Machine {
    /// Reads the shared files, as the SDK would: in this thread, as a backend that makes one call at a time has no other.
    pub async fn read(option: Option<String>) -> Machine {
        let files = File::both();
        let profiles = parse(&files, option.clone()).await;
        let profiles = match profiles {
            Ok(profiles) => Ok(profiles),
            Err(problem) => Err(who_is_malformed(&files).await.unwrap_or(problem)),
        };
        Machine {
            option,
            files,
            profiles,
        }
    }

    /// The two files for the SDK, as they were read.
    pub fn files(&self) -> EnvConfigFiles {
        contents(&self.files).build()
    }

    /// The `credential_process` of the profile in use; the name that a profile has for it as a source, and the files with that in its place.
    pub fn process(&self) -> Option<(Process, &'static str, EnvConfigFiles)> {
        const SOURCE: &str = "aws_lambda_fdw.process";
        let profiles = self.profiles.as_ref().ok()?;
        let profile = process_of(profiles, profiles.get_profile(&self.selected())?)?;
        let name = profile.name();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@+/".contains(&byte);
        if !name.bytes().all(is_plain) {
            return None;
        }
        // One that is its own source may not have another as well.
        let text = match profile.get("role_arn") {
            None => format!("[{name}]\ncredential_source = {SOURCE}\n"),
            Some(_) => format!(
                "[{name}]\nsource_profile = {SOURCE}\n[{SOURCE}]\ncredential_source = {SOURCE}\n"
            ),
        };
        let files = contents(&self.files)
            .with_contents(EnvConfigFileKind::Credentials, text)
            .build();
        let process = Process::new(profile.get("credential_process")?);
        Some((process, SOURCE, files))
    }

    /// What the profile in use says.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.profiles.as_ref().ok()?.get(name)
    }

    /// Why there are no credentials. `error` is the SDK's, and `None` if it has not come to an end.
    pub fn explain(&self, error: Option<&(dyn StdError + 'static)>) -> Explained {
        let tried = error.and_then(find::<ProviderChainError<CredentialsError>>);
        let mut detail = Vec::new();
        let mut advice = None;
        for (place, name) in self.places() {
            let of_place = match tried {
                Some(tried) => (tried.attempts().iter())
                    .find(|attempt| attempt.name() == name)
                    .map(|attempt| attempt.error() as &(dyn StdError + 'static)),
                None => None,
            };
            let is_last = tried.is_none() && self.is_configured(place);
            let why = match place {
                Place::Environment => places::of_environment(),
                Place::Profile => {
                    let (why, what_to_do) = self.of_profile(of_place.or(error));
                    advice = advice.or(what_to_do);
                    why
                }
                Place::WebIdentity => places::of_web_identity(of_place.or(error)),
                Place::Container => places::of_container(of_place.or(error)),
                Place::Instance => places::of_instance(of_place.or(error)),
            };
            detail.push(why);
            if is_last {
                break;
            }
        }
        Explained {
            detail: detail.join(" "),
            advice,
            network: None,
        }
    }

    /// A token's file that has no end: the SDK would read it in this thread, without a turn for anybody else.
    pub fn endless_token(&self) -> Option<Explained> {
        let counts = self.option.is_none() && !self.is_configured(Place::Environment);
        let is_read = |name, with: &[&str]| {
            variable_of(name)
                .filter(|_| counts && with.iter().any(|with| std::env::var_os(with).is_some()))
        };
        let of_variables = [
            is_read(TOKEN_FILE, &[ROLE]).map(|path| ("Web identity token", path)),
            is_read(CONTAINER_TOKEN_FILE, &CONTAINER).map(|path| ("Container credentials", path)),
        ];
        let of_profiles = (self.sources_of_profile())
            .filter_map(|profile| profile.get("web_identity_token_file"))
            .map(|path| ("Web identity token", path.to_owned()));
        let (what, path) = (of_variables.into_iter().flatten())
            .chain(of_profiles)
            .find(|(_, path)| files::is_endless(path.as_ref()))?;
        Some(Explained {
            detail: format!("{what}: {path}: is no file."),
            advice: None,
            network: None,
        })
    }

    /// The profile in use, its source, and so on.
    fn sources_of_profile(&self) -> impl Iterator<Item = &Profile> {
        let profiles = self.profiles.as_ref().ok();
        let get = move |name: &str| profiles?.get_profile(name);
        std::iter::successors(get(&self.selected()), move |profile| {
            get(profile.get("source_profile")?)
        })
        // They may lead in a circle.
        .take(16)
    }

    /// Why there is no region.
    pub fn explain_region(&self) -> String {
        let [first, second] = REGIONS;
        let profile = match self.missing_profile() {
            Some(missing) => missing,
            None => format!("Profile [{}] has no region.", self.selected()),
        };
        let profile = match &self.profiles {
            Err(malformed) => format!("{malformed}."),
            Ok(_) => profile,
        };
        let instance = match places::is_true(NO_METADATA) {
            true => format!("Instance metadata: disabled by {NO_METADATA}."),
            false => "Instance metadata: no answer with a region.".to_owned(),
        };
        format!(
            "None is given. Environment variables: {first} and {second} are not set. {profile} {instance}"
        )
    }

    /// The places that count, by the names that the SDK has for them.
    fn places(&self) -> impl Iterator<Item = (Place, &'static str)> {
        let named = [
            "Environment",
            "Profile",
            "WebIdentityToken",
            "EcsContainer",
            "Ec2InstanceMetadata",
        ];
        let only_profile = self.option.is_some();
        (Place::ALL.into_iter().zip(named))
            .filter(move |(place, _)| !only_profile || *place == Place::Profile)
    }

    /// Whether the SDK goes no further than to this place.
    fn is_configured(&self, place: Place) -> bool {
        let is_set = |name| std::env::var_os(name).is_some();
        match place {
            Place::Environment => {
                [KEY_ID, SECRET].into_iter().all(is_set)
                    || [KEY_ID, SECRET]
                        .into_iter()
                        .any(|name| matches!(std::env::var(name), Err(VarError::NotUnicode(_))))
            }
            Place::Profile => match &self.profiles {
                Err(_) => true,
                Ok(profiles) => {
                    (profiles.get_profile(profiles.selected_profile())).is_some_and(|profile| {
                        problem_of(profiles, profile).is_none_or(|why| why.is_there)
                    })
                }
            },
            Place::WebIdentity => is_set(TOKEN_FILE) && is_set(ROLE),
            Place::Container => {
                CONTAINER.into_iter().any(is_set) || places::container_token_problem().is_some()
            }
            Place::Instance => true,
        }
    }

    /// The name of the profile in use.
    pub fn selected(&self) -> Cow<'_, str> {
        match (&self.option, &self.profiles) {
            (Some(option), _) => option.into(),
            (None, Ok(profiles)) => profiles.selected_profile().into(),
            (None, Err(_)) => variable_of(PROFILE).map_or("default".into(), Cow::Owned),
        }
    }

    /// What is message where neither file has the profile; `None` if one has.
    fn missing_profile(&self) -> Option<String> {
        let selected = self.selected();
        if let Ok(profiles) = &self.profiles
            && profiles.get_profile(&selected).is_some()
        {
            return None;
        }
        let sentences = self.files.iter().map(|file| match &file.text {
            Err(problem) => format!("{}: {problem}.", capital(&file.shown())),
            Ok(_) => format!("{}: no profile [{selected}].", capital(&file.shown())),
        });
        Some(sentences.collect::<Vec<_>>().join(" "))
    }

    fn of_profile(&self, error: Option<&(dyn StdError + 'static)>) -> (String, Option<String>) {
        let profiles = match &self.profiles {
            Ok(profiles) => profiles,
            Err(malformed) => return (format!("{malformed}."), None),
        };
        if let Some(missing) = self.missing_profile() {
            return (missing, None);
        }
        let selected = profiles.selected_profile();
        let problem =
            (profiles.get_profile(selected)).and_then(|profile| problem_of(profiles, profile));
        let unread = (self.files.iter())
            .filter_map(|file| {
                let problem = file.text.as_ref().err()?;
                (problem != NO_FILE).then(|| format!(" {}: {problem}.", capital(&file.shown())))
            })
            .collect::<String>();
        match problem {
            Some(problem) => (
                format!("Profile [{}] {}.{unread}", problem.profile, problem.why),
                problem.advice,
            ),
            None => (
                format!("Profile [{selected}]: {}.{unread}", in_words(error)),
                None,
            ),
        }
    }
}

fn contents<'a>(files: impl IntoIterator<Item = &'a File>) -> Builder {
    (files.into_iter()).fold(EnvConfigFiles::builder(), |files, file| {
        files.with_contents(file.kind, file.text.as_deref().unwrap_or_default())
    })
}

async fn parse<'a>(
    files: impl IntoIterator<Item = &'a File>,
    profile: Option<String>,
) -> Result<ProfileSet, String> {
    let (real, variables) = (Fs::real(), Env::real());
    aws_config::profile::load(
        &real,
        &variables,
        &contents(files).build(),
        profile.map(Cow::Owned),
    )
    .await
    .map_err(|error| innermost(&error))
}

/// The first file that can't be parsed, and the SDK's words without a line break and a name that is none.
async fn who_is_malformed(files: &[File]) -> Option<String> {
    for file in files {
        if let Err(problem) = parse([file], None).await {
            let problem = problem.replace("error parsing  on", "malformed on");
            let words: Vec<&str> = problem.split_whitespace().collect();
            return Some(format!("{}: {}", capital(&file.shown()), words.join(" ")));
        }
    }
    None
}
