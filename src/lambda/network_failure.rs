//! Failures before anything is sent: of proxies, root certificates and TLS, and of what the process lacks for a connection.

use super::connections::NoProxy;
use super::error_chain::{chain, find};
use super::http_connect::ProxyFailure;
use super::root_certificates::NoRootCertificates;
use super::secrets::Secrets;
use super::tunnel::ThroughProxy;
use crate::error::{ApiFailure, Cause, shortened};
use std::error::Error as StdError;

/// Message of a proxy that refuses.
const REFUSED_BY_PROXY: &str = "Refused by the proxy";

/// Longest reason that is shown. It has paths in it.
pub const LONGEST_REASON: usize = 600;

/// A failure of a proxy or of the root certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFailure {
    pub cause: Cause,
    /// The client's message.
    pub message: &'static str,
    /// The end of a sentence.
    reason: String,
    /// The proxy, in words for a message.
    pub proxy: Option<String>,
}

impl NetworkFailure {
    /// Finds such a failure in an error.
    pub fn find(error: &(dyn StdError + 'static)) -> Option<NetworkFailure> {
        let proxy = find::<ThroughProxy>(error).map(|through| through.proxy.clone());
        let network = |cause, message, reason| NetworkFailure {
            cause,
            message,
            reason,
            proxy: proxy.clone(),
        };
        if let Some(NoRootCertificates(reason)) = find(error) {
            let message = "No trusted authority";
            return Some(network(Cause::NoRootCertificates, message, reason.clone()));
        }
        if let Some(problem) = find::<NoProxy>(error) {
            let reason = problem.to_string();
            return Some(network(Cause::Proxy, "Unusable proxy", reason));
        }
        let problem = find::<ProxyFailure>(error)?;
        let (cause, message) = match problem {
            ProxyFailure::Certificate(_) => (Cause::Certificate, "Certificate not accepted"),
            _ if problem.is_final() => (Cause::Proxy, REFUSED_BY_PROXY),
            _ => (Cause::Connect, "Unable to connect to endpoint"),
        };
        Some(network(cause, message, problem.to_string()))
    }

    /// The same failure for a provider of credentials. The SDK has already retried the provider, so a connection that the proxy
    /// refused is final.
    pub fn without_retry(&self) -> NetworkFailure {
        match self.cause {
            Cause::Connect => NetworkFailure {
                cause: Cause::Proxy,
                message: REFUSED_BY_PROXY,
                ..self.clone()
            },
            _ => self.clone(),
        }
    }

    /// The failure of an invocation, and what was being done.
    pub fn while_doing(&self, action: &str, secrets: &Secrets) -> ApiFailure {
        let reason = shortened(&secrets.redact(&self.reason), LONGEST_REASON);
        ApiFailure::new(self.cause, self.message, format!("{action}: {reason}."))
    }
}

/// Cause and message of a connection that was not made.
pub fn not_connected(error: &(dyn StdError + 'static), timed_out: bool) -> (Cause, &'static str) {
    if timed_out {
        return (Cause::ConnectTimeout, "Connection timed out");
    }
    match find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(_)) => {
            (Cause::Certificate, "Certificate not accepted")
        }
        // A server that does not speak TLS sends another content type.
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            (Cause::NotTls, "No TLS at the endpoint")
        }
        _ => (Cause::Connect, "Unable to connect to endpoint"),
    }
}

/// What this process or its machine lacks for a connection: cause, message and hint, where the cause has another one.
///
/// The resolver and the readers of files do not always report the system's error. Where there is no number, opening files shows whether
/// descriptors are missing.
pub fn shortage(
    error: &(dyn StdError + 'static),
) -> Option<(Cause, &'static str, Option<&'static str>)> {
    let descriptors = (
        Cause::Descriptors,
        "No file descriptor for a connection",
        None,
    );
    let numbers = chain(error)
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .filter_map(std::io::Error::raw_os_error);
    match numbers.last() {
        Some(libc::EMFILE | libc::ENFILE) => Some(descriptors),
        Some(libc::EADDRNOTAVAIL) => {
            Some((Cause::Shortage, "No local port for a connection", None))
        }
        Some(libc::ENOBUFS | libc::ENOMEM) => {
            Some((Cause::Shortage, "No memory for a connection", None))
        }
        // A thread that looks up a name can't be started.
        Some(libc::EAGAIN) => Some((
            Cause::Shortage,
            "No thread for a connection",
            Some(
                "The function did not run. Let the server's user have more processes and threads (ulimit -u, pids.max of its control group), or the machine more memory.",
            ),
        )),
        Some(_) => None,
        None => (!can_open(RESOLVER_FILES)).then_some(descriptors),
    }
}

/// Files that are open at once while a name is resolved.
const RESOLVER_FILES: usize = 3;

/// Whether this process can open so many files.
fn can_open(count: usize) -> bool {
    let open = || std::fs::File::open("/dev/null");
    let opened: Vec<_> = std::iter::repeat_with(open).take(count).collect();
    !(opened.iter())
        .filter_map(|opened| opened.as_ref().err()?.raw_os_error())
        .any(|number| matches!(number, libc::EMFILE | libc::ENFILE))
}
