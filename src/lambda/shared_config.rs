//! The shared config file and the shared credentials file of AWS, and the profile that is selected in them.
//!
//! They are read here, and passed to the SDK as text. The SDK takes an unreadable file for an empty one. It finds the home directory by `$HOME`
//! alone, which Debian does not set for the server.

use super::error_chain::innermost;
use super::process::CredentialProcess;
use super::profiles::process_profile;
use super::providers::{NO_FILE, PROFILE, capital, read_file, variable_of};
use aws_config::profile::{Profile, ProfileSet};
use aws_runtime::env_config::file::{Builder, EnvConfigFileKind, EnvConfigFiles};
use aws_types::os_shim_internal::{Env, Fs};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// The shared files, as they were when a client needed them.
pub struct SharedConfig {
    /// The profile that an option names. Then no other provider is asked.
    pub(super) profile_option: Option<String>,
    files: [File; 2],
    /// The profiles of both files, or why one can't be parsed.
    pub(super) profiles: Result<ProfileSet, String>,
}

/// A shared file.
struct File {
    what: &'static str,
    kind: EnvConfigFileKind,
    path: PathBuf,
    text: Result<String, String>,
}

impl File {
    /// Reads the two shared files.
    fn read_both() -> [File; 2] {
        let home = std::env::home_dir();
        let read = |what, kind, variable, default| {
            File::read(home.as_deref(), what, kind, [variable, default])
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
        [variable, default]: [&str; 2],
    ) -> File {
        let path = PathBuf::from(variable_of(variable).unwrap_or_else(|| default.to_owned()));
        // AWS's tools do the same. home_dir also works without HOME.
        let path = match (path.strip_prefix("~"), home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path,
        };
        let text = read_file(&path)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned()));
        File {
            what,
            kind,
            path,
            text,
        }
    }

    fn describe(&self) -> String {
        format!("{} {}", self.what, self.path.display())
    }
}

impl SharedConfig {
    /// Reads the shared files. A backend that makes one call at a time has no other thread, so this thread reads them.
    pub async fn read(profile_option: Option<String>) -> SharedConfig {
        let files = File::read_both();
        let profiles = match parse(&files, profile_option.clone()).await {
            Ok(profiles) => Ok(profiles),
            Err(problem) => Err(malformed_file(&files).await.unwrap_or(problem)),
        };
        SharedConfig {
            profile_option,
            files,
            profiles,
        }
    }

    /// The two files for the SDK.
    pub fn files(&self) -> EnvConfigFiles {
        contents(&self.files).build()
    }

    /// The `credential_process` of the selected profile, a name for it as a `credential_source`, and other files for the SDK. In these the
    /// profile has the source instead of the process.
    pub fn process(&self) -> Option<(CredentialProcess, &'static str, EnvConfigFiles)> {
        const SOURCE: &str = "aws_lambda_fdw.process";
        let profiles = self.profiles.as_ref().ok()?;
        let profile = process_profile(profiles, profiles.get_profile(&self.selected_profile())?)?;
        let name = profile.name();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@+/".contains(&byte);
        if !name.bytes().all(is_plain) {
            return None;
        }
        // A profile with a role needs a source_profile, and may not have a credential_source as well.
        let text = match profile.get("role_arn") {
            None => format!("[{name}]\ncredential_source = {SOURCE}\n"),
            Some(_) => format!(
                "[{name}]\nsource_profile = {SOURCE}\n[{SOURCE}]\ncredential_source = {SOURCE}\n"
            ),
        };
        let files = contents(&self.files)
            .with_contents(EnvConfigFileKind::Credentials, text)
            .build();
        let process = CredentialProcess::new(profile.get("credential_process")?);
        Some((process, SOURCE, files))
    }

    /// A setting of the selected profile.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.profiles.as_ref().ok()?.get(name)
    }

    /// The name of the selected profile.
    pub fn selected_profile(&self) -> Cow<'_, str> {
        match (&self.profile_option, &self.profiles) {
            (Some(option), _) => option.into(),
            (None, Ok(profiles)) => profiles.selected_profile().into(),
            (None, Err(_)) => variable_of(PROFILE).map_or("default".into(), Cow::Owned),
        }
    }

    /// The selected profile, its source profile, and so on.
    pub(super) fn source_profiles(&self) -> impl Iterator<Item = &Profile> {
        let profiles = self.profiles.as_ref().ok();
        let get = move |name: &str| profiles?.get_profile(name);
        std::iter::successors(get(&self.selected_profile()), move |profile| {
            get(profile.get("source_profile")?)
        })
        // They may form a cycle.
        .take(16)
    }

    /// Sentences about the files, if neither has the selected profile.
    pub(super) fn missing_profile(&self) -> Option<String> {
        let selected = self.selected_profile();
        if let Ok(profiles) = &self.profiles
            && profiles.get_profile(&selected).is_some()
        {
            return None;
        }
        let sentences = self.files.iter().map(|file| match &file.text {
            Err(problem) => format!("{}: {problem}.", capital(&file.describe())),
            Ok(_) => format!("{}: no profile [{selected}].", capital(&file.describe())),
        });
        Some(sentences.collect::<Vec<_>>().join(" "))
    }

    /// Sentences about files that exist and can't be read, each with a space before it.
    pub(super) fn unreadable_files(&self) -> String {
        let sentences = self.files.iter().filter_map(|file| {
            let problem = file.text.as_ref().err()?;
            (problem != NO_FILE).then(|| format!(" {}: {problem}.", capital(&file.describe())))
        });
        sentences.collect()
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

/// The first file that can't be parsed, and the SDK's message. Line breaks, and the empty name that the SDK has for the file, are left out.
async fn malformed_file(files: &[File]) -> Option<String> {
    for file in files {
        if let Err(problem) = parse([file], None).await {
            let problem = problem.replace("error parsing  on", "malformed on");
            let words: Vec<&str> = problem.split_whitespace().collect();
            return Some(format!(
                "{}: {}",
                capital(&file.describe()),
                words.join(" ")
            ));
        }
    }
    None
}
