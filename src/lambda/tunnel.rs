//! Connections through a proxy: CONNECT and TLS for an https endpoint, forwarded requests for an http endpoint. The proxy itself may speak TLS.
//! [`http_connect`](super::http_connect) reads the proxy's answer to CONNECT.

use super::happy_eyeballs::{ConnectProgress, within};
use super::http_connect::{self, ProxyFailure, schemes};
use super::pool::Stream;
use super::proxies::host_of;
use super::proxy::Proxy;
use super::root_certificates::TrustStore;
use aws_smithy_runtime_api::box_error::BoxError;
use http::header::{PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use http::{HeaderMap, Response, StatusCode, Uri};
use rustls::pki_types::ServerName;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};

/// A failure of a connection or request through a proxy.
#[derive(Debug)]
pub struct ThroughProxy {
    /// The proxy, in words for a message.
    pub proxy: String,
    source: BoxError,
}

impl fmt::Display for ThroughProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "through {}", self.proxy)
    }
}

impl StdError for ThroughProxy {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

/// One proxy, and whether it lets connections through.
pub struct Through {
    /// In words for a message.
    named: String,
    proxy: Proxy,
    trial: Trial,
}

impl Through {
    /// A proxy that has not been tried.
    pub fn new(named: String, proxy: Proxy) -> Through {
        Through {
            named,
            proxy,
            trial: Trial::default(),
        }
    }

    /// The proxy's URL.
    pub fn url(&self) -> &Uri {
        &self.proxy.uri
    }

    /// Whether the proxy has refused for good.
    pub fn is_refused(&self) -> bool {
        self.trial.refused.get().is_some()
    }

    /// An error with the proxy's name.
    pub fn error(&self, source: BoxError) -> BoxError {
        let proxy = self.named.clone();
        ThroughProxy { proxy, source }.into()
    }

    /// Adds the proxy's credentials to a request that it forwards. Errors once the proxy has refused for good, with an idle connection too.
    pub fn authorize(&self, headers: &mut HeaderMap) -> Result<(), BoxError> {
        self.trial.check().map_err(|error| self.error(error))?;
        if let Some(authorization) = &self.proxy.authorization {
            headers.insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        Ok(())
    }

    /// Errors if the answer to a forwarded request is the proxy's own: only a proxy answers 407, and it has not forwarded the request.
    pub fn check<B>(&self, answer: &Response<B>) -> Result<(), BoxError> {
        if answer.status() != StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Ok(());
        }
        let offered = answer.headers().get_all(PROXY_AUTHENTICATE).iter();
        let failure = ProxyFailure::Refused {
            status: 407,
            reason: "Proxy Authentication Required".to_owned(),
            schemes: schemes(offered.map(|value| value.as_bytes())),
            had_credentials: self.proxy.authorization.is_some(),
        };
        Err(self.error(self.trial.failed(failure.into())))
    }

    /// Makes a connection within `longest`, once no other connection is on trial.
    pub async fn try_once<T>(
        &self,
        longest: Option<Duration>,
        progress: &ConnectProgress,
        making: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        self.trial.connect(longest, progress, making).await
    }

    /// CONNECT and TLS on a connection to the proxy.
    pub async fn connect(
        &self,
        tcp: TcpStream,
        to: &Uri,
        trust: &TrustStore,
        progress: &ConnectProgress,
    ) -> Result<Box<dyn Stream>, BoxError> {
        let mut stream: Box<dyn Stream> = Box::new(tcp);
        if self.proxy.uri.scheme_str() == Some("https") {
            progress.set_waiting_for("answer of the proxy in TLS");
            let tls = trust.tls()?;
            let name = name_of(&self.proxy.uri)?;
            stream = Box::new(tls.connect(name, stream).await.map_err(of_proxy)?);
        }
        if to.scheme_str() == Some("https") {
            progress.set_waiting_for("answer of the proxy");
            http_connect::connect(&mut stream, to, &self.proxy).await?;
            progress.set_waiting_for("answer in TLS");
            stream = Box::new(trust.tls()?.connect(name_of(to)?, stream).await?);
        }
        Ok(stream)
    }
}

/// Whether an error is a final refusal of the proxy.
pub fn is_final_refusal(error: &(dyn StdError + 'static)) -> bool {
    (error.downcast_ref::<ProxyFailure>()).is_some_and(ProxyFailure::is_final)
}

/// The name that the certificate must have.
pub fn name_of(url: &Uri) -> Result<ServerName<'static>, BoxError> {
    Ok(ServerName::try_from(host_of(url).to_owned())?)
}

/// The error of a TLS handshake with the proxy.
fn of_proxy(error: io::Error) -> BoxError {
    let inner = error.get_ref().and_then(|error| error.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidMessage(_)) => ProxyFailure::NotTls.into(),
        Some(problem @ rustls::Error::InvalidCertificate(_)) => {
            ProxyFailure::Certificate(problem.to_string()).into()
        }
        _ => error.into(),
    }
}

/// Whether the proxy lets connections through. Until that is known, connections are made one after the other, so that a wrong password is sent
/// once, and not once for each row.
#[derive(Default)]
struct Trial {
    is_over: AtomicBool,
    turn: Mutex<()>,
    refused: OnceLock<ProxyFailure>,
}

impl Trial {
    fn check(&self) -> Result<(), BoxError> {
        match self.refused.get() {
            Some(refused) => Err(refused.clone().into()),
            None => Ok(()),
        }
    }

    /// Notes an error that is final.
    fn failed(&self, error: BoxError) -> BoxError {
        if let Some(failure) = error.downcast_ref::<ProxyFailure>()
            && failure.is_final()
        {
            let _ = self.refused.set(failure.clone());
        }
        error
    }

    /// Waits until no other connection is on trial; `None` if the trial is over.
    async fn turn(&self) -> Option<Turn<'_>> {
        let is_over = || self.is_over.load(Ordering::Relaxed);
        if is_over() {
            return None;
        }
        let lock = self.turn.lock().await;
        (!is_over()).then_some(Turn {
            trial: self,
            _lock: lock,
        })
    }

    /// Makes a connection within `longest`. The wait for another connection's trial does not count.
    async fn connect<T>(
        &self,
        longest: Option<Duration>,
        progress: &ConnectProgress,
        attempt: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        let _turn = self.turn().await;
        self.check()?;
        let made = within(longest, progress, attempt).await;
        made.map_err(|error| self.failed(error))
    }
}

/// The connection on trial. Its end ends the trial in any case, or the last of many connections would wait for each one before it.
struct Turn<'a> {
    trial: &'a Trial,
    _lock: MutexGuard<'a, ()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.trial.is_over.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::test_runtime::block_on;
    use std::sync::Arc;

    /// Connections are made one after the other until one got through, or was refused for good.
    #[test]
    fn one_is_tried_before_the_others() {
        block_on(async {
            for (failure, most, tried) in [
                (Some(ProxyFailure::NotHttp), 1, 1),
                (Some(ProxyFailure::Closed), 7, 8),
                (None, 7, 8),
            ] {
                let trial = Arc::new(Trial::default());
                let seen = Arc::new(std::sync::Mutex::new((0, 0, 0)));
                let tasks: Vec<_> = (0..8)
                    .map(|_| {
                        let (trial, seen, failure) = (trial.clone(), seen.clone(), failure.clone());
                        tokio::spawn(async move {
                            let attempt = async {
                                {
                                    let mut seen = seen.lock().unwrap();
                                    seen.0 += 1;
                                    seen.1 += 1;
                                    seen.2 = seen.2.max(seen.1);
                                }
                                tokio::time::sleep(Duration::from_millis(20)).await;
                                seen.lock().unwrap().1 -= 1;
                                failure.map_or(Ok(()), |failure| Err(BoxError::from(failure)))
                            };
                            trial
                                .connect(None, &ConnectProgress::default(), attempt)
                                .await
                                .is_ok()
                        })
                    })
                    .collect();
                for task in tasks {
                    assert_eq!(task.await.unwrap(), failure.is_none());
                }
                let (all, _, at_once) = *seen.lock().unwrap();
                assert_eq!((all, at_once), (tried, most));
            }
        });
    }

    /// The wait for the first connection counts for no other, and a time-out of the first ends the trial.
    #[test]
    fn a_trial_takes_nobody_elses_time() {
        let (short, long) = (Duration::from_millis(50), Duration::from_millis(200));
        block_on(async {
            for first_takes in [long, Duration::MAX] {
                let trial = Trial::default();
                let progress = ConnectProgress::default();
                let first = trial.connect(Some(long * 2), &progress, async {
                    tokio::time::sleep(first_takes).await;
                    Ok(())
                });
                let other = || trial.connect(Some(short), &progress, async { Ok(()) });
                let (first, others) =
                    tokio::join!(first, async { tokio::join!(other(), other(), other()) });
                assert_eq!(first.is_ok(), first_takes == long);
                assert!(others.0.is_ok() && others.1.is_ok() && others.2.is_ok());
            }
        });
    }
}
