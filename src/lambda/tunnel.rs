//! Connections through a proxy: CONNECT and TLS to the endpoint where that speaks https, requests in the proxy's own
//! form where it speaks http. The proxy itself may speak TLS. What it says instead is in [`http_connect`](super::http_connect).

use super::dial::{Progress, within};
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

/// What went wrong on the way through a proxy.
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

/// The way through one proxy.
pub struct Through {
    /// In words for a message.
    named: String,
    proxy: Proxy,
    trial: Trial,
}

impl Through {
    /// One that nothing is known of.
    pub fn new(named: String, proxy: Proxy) -> Through {
        Through {
            named,
            proxy,
            trial: Trial::default(),
        }
    }

    /// Where the proxy is.
    pub fn url(&self) -> &Uri {
        &self.proxy.uri
    }

    /// Whether it refused for good.
    pub fn is_refused(&self) -> bool {
        self.trial.refused.get().is_some()
    }

    /// An error with the proxy's name.
    pub fn error(&self, source: BoxError) -> BoxError {
        let proxy = self.named.clone();
        ThroughProxy { proxy, source }.into()
    }

    /// Has a request that the proxy is to send on say who asks. A connection that is kept is used no more either, once it has refused.
    pub fn authorize(&self, headers: &mut HeaderMap) -> Result<(), BoxError> {
        self.trial.check().map_err(|error| self.error(error))?;
        if let Some(authorization) = &self.proxy.authorization {
            headers.insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        Ok(())
    }

    /// Looks whether the answer to such a request is the proxy's own. No other server than a proxy has this to say, and it has sent nothing on.
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

    /// Makes a connection in so much time, once it is its turn.
    pub async fn try_once<T>(
        &self,
        longest: Option<Duration>,
        progress: &Progress,
        making: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        self.trial.connect(longest, progress, making).await
    }

    /// CONNECT and TLS, on a connection to the proxy.
    pub async fn connect(
        &self,
        tcp: TcpStream,
        to: &Uri,
        trust: &TrustStore,
        progress: &Progress,
    ) -> Result<Box<dyn Stream>, BoxError> {
        let mut stream: Box<dyn Stream> = Box::new(tcp);
        if self.proxy.uri.scheme_str() == Some("https") {
            progress.waits_for("answer of the proxy in TLS");
            let tls = trust.tls()?;
            let name = name_of(&self.proxy.uri)?;
            stream = Box::new(tls.connect(name, stream).await.map_err(of_proxy)?);
        }
        if to.scheme_str() == Some("https") {
            progress.waits_for("answer of the proxy");
            http_connect::connect(&mut stream, to, &self.proxy).await?;
            progress.waits_for("answer in TLS");
            stream = Box::new(trust.tls()?.connect(name_of(to)?, stream).await?);
        }
        Ok(stream)
    }
}

/// Whether an error is the proxy's last word.
pub fn is_told(error: &(dyn StdError + 'static)) -> bool {
    (error.downcast_ref::<ProxyFailure>()).is_some_and(ProxyFailure::is_final)
}

/// The name that a certificate has to have.
pub fn name_of(url: &Uri) -> Result<ServerName<'static>, BoxError> {
    Ok(ServerName::try_from(host_of(url).to_owned())?)
}

/// The error of a handshake with the proxy.
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

/// Whether the proxy lets us through. Until that is known one connection is made after the other, so that a wrong password is told
/// once, and not as often as there are rows.
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

    /// Notes what will be the same a moment later.
    fn failed(&self, error: BoxError) -> BoxError {
        if let Some(failure) = error.downcast_ref::<ProxyFailure>()
            && failure.is_final()
        {
            let _ = self.refused.set(failure.clone());
        }
        error
    }

    /// Waits for a turn, if there is need of one.
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

    /// Makes a connection in so much time. What another's trial takes is no part of that: those that wait for it would have too little left.
    async fn connect<T>(
        &self,
        longest: Option<Duration>,
        progress: &Progress,
        attempt: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        let _turn = self.turn().await;
        self.check()?;
        let made = within(longest, progress, attempt).await;
        made.map_err(|error| self.failed(error))
    }
}

/// The turn of a connection on trial. However it ends, no other waits for one: it would wait for each that is before it.
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
    use std::sync::Arc;

    /// One after the other goes until one got through, or was refused for good.
    #[test]
    fn one_is_tried_before_the_others() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
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
                                .connect(None, &Progress::default(), attempt)
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

    /// A proxy that takes long for the first has as long for the others, and one that takes too long is not waited for by each.
    #[test]
    fn a_trial_takes_nobody_elses_time() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let (short, long) = (Duration::from_millis(50), Duration::from_millis(200));
        runtime.block_on(async {
            for first_takes in [long, Duration::MAX] {
                let trial = Trial::default();
                let progress = Progress::default();
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
