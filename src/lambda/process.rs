//! Runs a `credential_process`, and kills it when no statement waits for it any more: after a timeout, a cancel, or the end of the session.
//!
//! The SDK would let it go on. Its output is parsed as the SDK does. It has a process group, so that its children are killed too. Its signals are
//! reset, since the thread that starts it blocks the backend's signals.

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{ProvideCredentials, Result as Found};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// Most bytes of output.
const MAX_OUTPUT: u64 = 1 << 20;

/// The process groups of running processes.
static RUNNING: Mutex<Vec<libc::pid_t>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<libc::pid_t>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills all processes that are running, as the session ends.
pub fn kill_all() {
    for group in running().drain(..) {
        kill(group);
    }
}

fn kill(group: libc::pid_t) {
    // The group's leader has not been reaped, so no other group has its number.
    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
}

/// Resets and unblocks all signals. The backend's handlers would be called until exec, so they are removed before signals are unblocked.
fn reset_signals() -> std::io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the call is async-signal-safe. It fails for SIGKILL and SIGSTOP.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // Two calls that are async-signal-safe.
    Ok(SigSet::empty().thread_set_mask()?)
}

/// The provider of credentials that runs the process.
pub struct CredentialProcess(String);

/// The command may have a password in it.
impl std::fmt::Debug for CredentialProcess {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("CredentialProcess")
    }
}

impl CredentialProcess {
    /// The command is one of the shell.
    pub fn new(command: &str) -> CredentialProcess {
        CredentialProcess(command.to_owned())
    }

    async fn run(&self) -> Result<Credentials, String> {
        let mut command = std::process::Command::new("sh");
        command.process_group(0);
        // SAFETY: reset_signals, which runs between fork and exec, only makes async-signal-safe calls.
        unsafe { command.pre_exec(reset_signals) };
        command
            .args(["-c", &self.0])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Its errors are not shown, as they may have secrets.
            .stderr(Stdio::null());
        let mut child = (Command::from(command).kill_on_drop(true).spawn())
            .map_err(|error| format!("could not be started: {error}"))?;
        let group = Group::of(&child);
        let mut output = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let mut stdout = stdout.take(MAX_OUTPUT + 1);
            (stdout.read_to_end(&mut output).await).map_err(|error| error.to_string())?;
        }
        if output.len() as u64 > MAX_OUTPUT {
            return Err("could not parse response: it has no end".to_owned());
        }
        let status = child.wait().await.map_err(|error| error.to_string())?;
        group.forget();
        if !status.success() {
            let status = status.to_string().replace("exit status: ", "");
            return Err(format!("exited with {status}"));
        }
        parse(&output).map_err(|problem| format!("could not parse response: {problem}"))
    }
}

impl ProvideCredentials for CredentialProcess {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(async {
            let found: Found = (self.run().await).map_err(|problem| {
                CredentialsError::provider_error(format!("credential_process {problem}"))
            });
            found
        })
    }
}

/// The process group of a running process. Dropping it kills the group.
struct Group(Option<libc::pid_t>);

impl Group {
    fn of(child: &Child) -> Group {
        let group = child.id().and_then(|id| libc::pid_t::try_from(id).ok());
        running().extend(group);
        Group(group)
    }

    /// Forgets the group, as its leader was reaped and its number may be used again.
    fn forget(self) {
        running().retain(|running| Some(*running) != self.0);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut running = running();
        if let Some(group) = self.0
            && let Some(index) = running.iter().position(|running| *running == group)
        {
            running.swap_remove(index);
            kill(group);
        }
    }
}

/// Parses the output. No value becomes part of an error.
fn parse(output: &[u8]) -> Result<Credentials, String> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(output) else {
        return Err("it is no JSON object".to_owned());
    };
    let field = |name: &str| {
        (fields.iter())
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    let text = |name: &str| field(name).and_then(Value::as_str);
    let needed = |name: &str| text(name).ok_or_else(|| format!("it has no {name}"));
    if field("Version").and_then(Value::as_i64) != Some(1) {
        return Err("its Version is not 1".to_owned());
    }
    let expiry = text("Expiration").map(|given| {
        (DateTime::from_str(given, Format::DateTimeWithOffset).ok())
            .and_then(|time| SystemTime::try_from(time).ok())
            .ok_or_else(|| "its Expiration is no time".to_owned())
    });
    let mut credentials = Credentials::builder()
        .access_key_id(needed("AccessKeyId")?)
        .secret_access_key(needed("SecretAccessKey")?)
        .provider_name("CredentialProcess");
    credentials.set_session_token(text("SessionToken").map(str::to_owned));
    credentials.set_expiry(expiry.transpose()?);
    Ok(credentials.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output() {
        let keys = r#""accesskeyid": "A", "SecretAccessKey": "s""#;
        let found = parse(format!(r#" {{"Version": 1, {keys}, "SessionToken": "t", "Expiration": "2100-01-02T03:04:05+01:00"}} "#).as_bytes()).unwrap();
        assert_eq!(
            (
                found.access_key_id(),
                found.secret_access_key(),
                found.session_token()
            ),
            ("A", "s", Some("t"))
        );
        let since = found
            .expiry()
            .unwrap()
            .duration_since(SystemTime::UNIX_EPOCH);
        assert_eq!(since.unwrap().as_secs(), 4_102_538_645);
        for (printed, problem) in [
            (String::new(), "it is no JSON object"),
            ("[]".to_owned(), "it is no JSON object"),
            (format!("{{{keys}}}"), "its Version is not 1"),
            (
                format!(r#"{{"Version": 2, {keys}}}"#),
                "its Version is not 1",
            ),
            (
                r#"{"Version": 1, "AccessKeyId": "A"}"#.to_owned(),
                "it has no SecretAccessKey",
            ),
            (
                format!(r#"{{"Version": 1, {keys}, "Expiration": "soon"}}"#),
                "its Expiration is no time",
            ),
        ] {
            assert_eq!(parse(printed.as_bytes()).unwrap_err(), problem);
        }
    }
}
