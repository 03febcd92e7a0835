//! Connections through a proxy: CONNECT and TLS to the endpoint where that speaks https, requests in the proxy's own
//! form where it speaks http. The proxy itself may speak TLS. What it says instead is in [`http_connect`](super::http_connect).
//!
//! The SDK's HTTP client can do this too, but does not tell what the proxy answered, so that nobody knows whether to try again. Both
//! use hyper-util.

use super::authorities::{NoAuthority, Trust};
use super::connections::{InTurns, KEEPALIVE};
use super::failure::chain;
use super::http_connect::{ProxyFailure, ask_for_tunnel, schemes};
use super::proxies::{Proxy, host_of};
use super::watch::while_wanted;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http::header::PROXY_AUTHORIZATION;
use http::{StatusCode, Uri};
use hyper::rt::{Executor, ReadBufCursor};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{
    CaptureConnection, Connected, Connection, HttpConnector, capture_connection,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, MutexGuard};
use tokio_rustls::TlsConnector;
use tower_service::Service;

tokio::task_local! {
    /// How long the request that is on its way may take to connect. Other clients share the connections and have another time.
    static TO_CONNECT: Option<Duration>;
}

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

/// No connection was made in time.
#[derive(Debug)]
struct TimedOut(Duration);

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection within {} ms", self.0.as_millis())
    }
}

impl StdError for TimedOut {}

/// The way through one proxy. Clones share its connections.
#[derive(Clone)]
pub struct Through {
    /// In words for a message.
    named: String,
    proxy: Arc<Proxy>,
    trial: Arc<Trial>,
    client: Client<Connector, SdkBody>,
}

impl Through {
    /// Whose connections `runtime` drives.
    pub fn new(named: String, proxy: Proxy, trust: Arc<Trust>, runtime: Handle) -> Through {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        let (proxy, trial) = (Arc::new(proxy), Arc::new(Trial::default()));
        let connector = Connector {
            proxy: proxy.clone(),
            trial: trial.clone(),
            trust,
            tcp,
        };
        let mut builder = Client::builder(Driver(runtime));
        builder.pool_timer(TokioTimer::new());
        Through {
            named,
            client: builder.build(connector),
            proxy,
            trial,
        }
    }

    /// Whether it refused for good.
    pub fn is_refused(&self) -> bool {
        self.trial.refused.get().is_some()
    }

    /// What the SDK makes of it: its words are not asked for, but whether the connection took too long is.
    fn error(&self, error: BoxError) -> ConnectorError {
        let is_late = chain(&*error).any(|error| error.is::<TimedOut>());
        let is_told = chain(&*error).any(|error| {
            let answered = error.downcast_ref::<ProxyFailure>();
            answered.is_some_and(ProxyFailure::is_final) || error.is::<NoAuthority>()
        });
        let error = Box::new(ThroughProxy {
            proxy: self.named.clone(),
            source: error,
        });
        match (is_late, is_told) {
            (true, _) => ConnectorError::timeout(error),
            (_, true) => ConnectorError::other(error, None),
            _ => ConnectorError::io(error),
        }
    }

    /// Sends a request.
    pub async fn send(
        self,
        request: HttpRequest,
        to_connect: Option<Duration>,
    ) -> Result<HttpResponse, ConnectorError> {
        let mut request =
            (request.try_into_http1x()).map_err(|error| ConnectorError::user(error.into()))?;
        let is_forwarded = request.uri().scheme_str() != Some("https");
        if is_forwarded {
            // A connection that is kept is used no more either.
            self.trial.check().map_err(|error| self.error(error))?;
            if let Some(authorization) = &self.proxy.authorization {
                let headers = request.headers_mut();
                headers.insert(PROXY_AUTHORIZATION, authorization.clone());
            }
        }
        let capture = capture_connection(&mut request);
        if let Some(wanted) = request.extensions().get::<CaptureSmithyConnection>() {
            wanted.set_connection_retriever(move || metadata(&capture));
        }
        let sending = self.client.request(request);
        let response = TO_CONNECT.scope(to_connect, sending).await;
        let response = response.map_err(|error| self.error(error.into()))?;
        // No other server than a proxy has this to say, and it has sent nothing on.
        if is_forwarded && response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            let wants = (response
                .headers()
                .get_all(http::header::PROXY_AUTHENTICATE)
                .iter())
            .map(|value| value.as_bytes());
            let failure = ProxyFailure::Answered {
                status: 407,
                reason: "Proxy Authentication Required".to_owned(),
                wants: schemes(wants),
                was_told: self.proxy.authorization.is_some(),
            };
            return Err(self.error(self.trial.failed(failure.into())));
        }
        HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
            .map_err(|error| ConnectorError::other(error.into(), None))
    }
}

fn metadata(capture: &CaptureConnection) -> Option<ConnectionMetadata> {
    capture.connection_metadata().as_ref()?;
    let capture = capture.clone();
    let poison = move || {
        if let Some(connection) = capture.connection_metadata().as_ref() {
            connection.poison();
        }
    };
    let metadata = ConnectionMetadata::builder().proxied(true);
    Some(metadata.poison_fn(poison).build())
}

/// Runs what drives connections.
#[derive(Clone)]
struct Driver(Handle);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Driver {
    fn execute(&self, work: F) {
        drop(self.0.spawn(while_wanted(InTurns::new(work))));
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
        attempt: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        let _turn = self.turn().await;
        self.check()?;
        let made = match longest {
            None => attempt.await,
            Some(longest) => match tokio::time::timeout(longest, attempt).await {
                Ok(made) => made,
                Err(_) => Err(TimedOut(longest).into()),
            },
        };
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

/// Makes the connections.
#[derive(Clone)]
struct Connector {
    proxy: Arc<Proxy>,
    trial: Arc<Trial>,
    trust: Arc<Trust>,
    tcp: HttpConnector,
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let longest = TO_CONNECT.try_with(|longest| *longest).ok().flatten();
        let connector = self.clone();
        Box::pin(async move {
            let trial = connector.trial.clone();
            trial.connect(longest, connector.connect(&to)).await
        })
    }
}

impl Connector {
    /// TCP, CONNECT and TLS.
    async fn connect(mut self, to: &Uri) -> Result<Stream, BoxError> {
        let tcp = self.tcp.call(self.proxy.uri.clone()).await?;
        let mut io: Box<dyn Bytes> = Box::new(tcp.into_inner());
        if self.proxy.uri.scheme_str() == Some("https") {
            let tls = self.trust.tls()?;
            io = Box::new((tls.connect(name_of(&self.proxy.uri)?, io).await).map_err(of_proxy)?);
        }
        let is_forwarded = to.scheme_str() != Some("https");
        if !is_forwarded {
            // What is wrong with the trust would be known too late else.
            let tls = self.trust.tls()?;
            ask_for_tunnel(&mut io, to, &self.proxy).await?;
            io = Box::new(tls.connect(name_of(to)?, io).await?);
        }
        Ok(Stream {
            io: TokioIo::new(io),
            is_forwarded,
        })
    }
}

impl Trust {
    fn tls(&self) -> Result<TlsConnector, BoxError> {
        let roots = self.authorities()?.roots.clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // The only HTTP that a proxy can be asked for a tunnel in here, and that a request can be forwarded in.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn name_of(url: &Uri) -> Result<ServerName<'static>, BoxError> {
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

/// TCP, or TLS in it.
trait Bytes: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Bytes for T {}

/// A connection to the endpoint, or to the proxy that requests are sent to.
struct Stream {
    io: TokioIo<Box<dyn Bytes>>,
    is_forwarded: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_forwarded)
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                (Some(ProxyFailure::Ended), 7, 8),
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
                            trial.connect(None, attempt).await.is_ok()
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
                let first = trial.connect(Some(long * 2), async {
                    tokio::time::sleep(first_takes).await;
                    Ok(())
                });
                let other = || trial.connect(Some(short), async { Ok(()) });
                let (first, others) =
                    tokio::join!(first, async { tokio::join!(other(), other(), other()) });
                assert_eq!(first.is_ok(), first_takes == long);
                assert!(others.0.is_ok() && others.1.is_ok() && others.2.is_ok());
            }
        });
    }
}
