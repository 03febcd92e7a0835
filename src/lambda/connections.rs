//! The HTTP client that a Lambda client and its credential sources share. It connects directly or [through a proxy](super::tunnel).
//!
//! It speaks HTTP/1.1 alone. A connection has one request at a time there, so it is known of each request whether a byte of it was sent.
//! An HTTP/2 server also tells which streams it has not begun, but the HTTP/2 library does not report that.

use super::error_chain::chain;
use super::happy_eyeballs::{self, ConnectProgress, TimedOut};
use super::pool::{self, Connection, PoolKey, PooledBody, SendResult, Stream};
use super::proxies::{Proxies, host_of, port_of};
use super::proxy::{InvalidProxy, ProxyVariable};
use super::root_certificates::{self, CaBundle, NoRootCertificates, TrustStore};
use super::shared_config::SharedConfig;
use super::tunnel::{self, Through};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use std::fmt;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;

/// The HTTP client. Clones share its connections.
#[derive(Clone)]
pub struct Connections(Arc<Shared>);

/// The number of the next HTTP client.
static NUMBER: AtomicU64 = AtomicU64::new(0);

struct Shared {
    runtime: Handle,
    trust: Arc<TrustStore>,
    proxies: Proxies,
    /// The proxy for https, and the proxy for http. Each is made when it is first needed.
    proxied: [OnceLock<Through>; 2],
    /// The owner of its connections in the pool.
    number: u64,
    given_up: AtomicBool,
}

/// The variable that names the proxy has no usable URL.
#[derive(Debug)]
pub struct NoProxy(&'static str, InvalidProxy);

impl fmt::Display for NoProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of the server process ", self.0)?;
        f.write_str(match self.1 {
            InvalidProxy::Malformed => {
                "is no URL such as http://user:password@proxy:3128, in which @ : / ? # and % of a password are written as %40 %3A %2F %3F %23 and %25"
            }
            InvalidProxy::Scheme => "is the URL of a proxy that is neither http:// nor https://",
        })
    }
}

impl std::error::Error for NoProxy {}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

impl Connections {
    /// An HTTP client of the current runtime, with the proxies and root certificates of the server process, whoever owns the foreign server.
    pub fn with_config(config: &SharedConfig) -> Connections {
        let named = |named_by: String, path: PathBuf| {
            (!path.as_os_str().is_empty()).then_some(CaBundle { named_by, path })
        };
        let of_profile = || {
            let path = config.setting("ca_bundle")?;
            named(
                format!("ca_bundle of the AWS profile {}", config.selected_profile()),
                path.into(),
            )
        };
        let bundle = std::env::var_os("AWS_CA_BUNDLE")
            .and_then(|path| named("AWS_CA_BUNDLE".to_owned(), path.into()))
            .or_else(of_profile);
        let metadata_url = config.setting("ec2_metadata_service_endpoint");
        Connections::new(
            TrustStore::new(bundle),
            Proxies::of_environment(metadata_url),
        )
    }

    /// A client without any configuration of the machine.
    #[cfg(any(test, fuzzing))]
    pub fn nowhere() -> Connections {
        Connections::new(TrustStore::new(None), Proxies::of_environment(None))
    }

    fn new(trust: TrustStore, proxies: Proxies) -> Connections {
        Connections(Arc::new(Shared {
            runtime: Handle::current(),
            trust: Arc::new(trust),
            proxies,
            proxied: Default::default(),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            given_up: AtomicBool::new(false),
        }))
    }

    /// The proxy of a URL, and the variable that names it, in words for a message.
    pub fn proxy_of(&self, url: &Uri) -> Option<String> {
        self.0.proxies.of(url)?.describe()
    }

    /// Has the next statement make another client, which reads files and variables again.
    pub fn give_up(&self) {
        root_certificates::clear_cache();
        self.0.given_up.store(true, Ordering::Relaxed);
    }

    /// Whether each request would fail until somebody changes the machine's configuration.
    pub fn is_given_up(&self) -> bool {
        self.0.given_up.load(Ordering::Relaxed)
            || self.0.trust.is_missing()
            || (self.0.proxied.iter())
                .filter_map(OnceLock::get)
                .any(Through::is_refused)
    }
}

impl HttpClient for Connections {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            shared: self.0.clone(),
            settings: settings.clone(),
        })
    }
}

/// The client with the time-outs of one request.
struct Connector {
    shared: Arc<Shared>,
    settings: HttpConnectorSettings,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (shared, settings) = (self.shared.clone(), self.settings.clone());
        HttpConnectorFuture::new(async move { shared.call(request, &settings).await })
    }
}

/// The answer did not begin in time. Only credential sources have such a time-out.
#[derive(Debug)]
struct NoAnswer(Duration);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer within {} ms", self.0.as_millis())
    }
}

impl std::error::Error for NoAnswer {}

fn is_secure(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

impl Drop for Shared {
    fn drop(&mut self) {
        pool::close_all(self.number);
    }
}

impl Shared {
    async fn call(
        &self,
        request: HttpRequest,
        settings: &HttpConnectorSettings,
    ) -> Result<HttpResponse, ConnectorError> {
        let mut request =
            (request.try_into_http1x()).map_err(|error| ConnectorError::user(error.into()))?;
        let through = self.through(request.uri()).map_err(failed)?;
        let url = request.uri().clone();
        let is_forwarded = through.is_some() && !is_secure(&url);
        prepare(&mut request, is_forwarded);
        if let Some(through) = through.filter(|_| is_forwarded) {
            through.authorize(request.headers_mut()).map_err(failed)?;
        }
        let sending = self.send(request, &url, through, settings.connect_timeout());
        let answer = match settings.read_timeout() {
            None => sending.await,
            Some(longest) => match tokio::time::timeout(longest, sending).await {
                Ok(answer) => answer,
                Err(_) => return Err(ConnectorError::timeout(NoAnswer(longest).into())),
            },
        };
        let answer = answer.map_err(|error| match through {
            Some(through) => failed(through.error(error)),
            None => failed(error),
        })?;
        if let Some(through) = through.filter(|_| is_forwarded) {
            through.check(&answer).map_err(failed)?;
        }
        HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
            .map_err(|error| ConnectorError::other(error.into(), None))
    }

    /// The proxy that a URL is asked through.
    fn through(&self, url: &Uri) -> Result<Option<&Through>, BoxError> {
        let Some(named) = self.proxies.of(url) else {
            return Ok(None);
        };
        let ProxyVariable { name, proxy } = named;
        let proxy = (proxy.as_ref()).map_err(|invalid| NoProxy(name, *invalid))?;
        let made = self.proxied[usize::from(is_secure(url))]
            .get_or_init(|| Through::new(named.describe().unwrap_or_default(), proxy.clone()));
        Ok(Some(made))
    }

    /// Sends a request on a connection that is kept, or on one that is made for it.
    async fn send(
        &self,
        mut request: Request<SdkBody>,
        url: &Uri,
        through: Option<&Through>,
        to_connect: Option<Duration>,
    ) -> Result<Response<PooledBody>, BoxError> {
        let key = PoolKey {
            owner: self.number,
            is_secure: is_secure(url),
            authority: url.authority().map_or("", |whole| whole.as_str()).into(),
        };
        // What asks whether there is a connection.
        let has_connection = Arc::new(AtomicBool::new(false));
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            let (has_connection, proxied) = (has_connection.clone(), through.is_some());
            capture.set_connection_retriever(move || {
                let metadata = || ConnectionMetadata::builder().proxied(proxied);
                // It is broken off anyway where an attempt ends before its answer.
                (has_connection.load(Ordering::Relaxed))
                    .then(|| metadata().poison_fn(|| ()).build())
            });
        }
        loop {
            let kept = pool::take(&key).await;
            let is_kept = kept.is_some();
            let connection = match kept {
                Some(kept) => kept,
                // Its future has many kilobytes, which would be a part of each request's.
                None => Box::pin(self.connect(url, through, to_connect)).await?,
            };
            has_connection.store(true, Ordering::Relaxed);
            match connection.send(key.clone(), request).await {
                SendResult::Answered(answer) => return Ok(answer),
                SendResult::Lost(error) => return Err(error.into()),
                SendResult::Unsent(unsent, error) => {
                    has_connection.store(false, Ordering::Relaxed);
                    if !is_kept {
                        return Err(error.into());
                    }
                    request = unsent;
                }
            }
        }
    }

    async fn connect(
        &self,
        url: &Uri,
        through: Option<&Through>,
        longest: Option<Duration>,
    ) -> Result<Connection, BoxError> {
        let progress = ConnectProgress::default();
        let making = async {
            let to = through.map_or(url, Through::url);
            if is_secure(url) || is_secure(to) {
                // An error of the authorities comes before a connection is made.
                self.trust.tls()?;
            }
            let tcp = happy_eyeballs::connect(host_of(to), port_of(to), longest, &progress).await?;
            let socket = tcp.as_raw_fd();
            let stream: Box<dyn Stream> = match through {
                Some(through) => through.connect(tcp, url, &self.trust, &progress).await?,
                None if is_secure(url) => {
                    progress.set_waiting_for("answer in TLS");
                    let tls = self.trust.tls()?;
                    Box::new(tls.connect(tunnel::name_of(url)?, tcp).await?)
                }
                None => Box::new(tcp),
            };
            Ok(Connection::new(stream, socket, &self.runtime).await?)
        };
        match through {
            Some(through) => through.try_once(longest, &progress, making).await,
            None => happy_eyeballs::within(longest, &progress, making).await,
        }
    }
}

/// Makes the request's form as it is sent: the host is a header, and the URL is the path alone, unless a proxy is to forward the request.
fn prepare(request: &mut Request<SdkBody>, is_forwarded: bool) {
    let url = request.uri();
    let usual = match is_secure(url) {
        true => 443,
        false => 80,
    };
    let host = url.host().unwrap_or_default();
    let host = match url.port_u16().filter(|port| *port != usual) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    if !request.headers().contains_key(HOST)
        && let Ok(host) = HeaderValue::try_from(host)
    {
        request.headers_mut().insert(HOST, host);
    }
    if !is_forwarded {
        let path = (request.uri().path_and_query().cloned())
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = path.into();
    }
}

/// The SDK's form of an error. The SDK asks whether it is a time-out.
fn failed(error: BoxError) -> ConnectorError {
    let is = |test: fn(&(dyn std::error::Error + 'static)) -> bool| chain(&*error).any(test);
    if is(|error| error.is::<TimedOut>()) {
        ConnectorError::timeout(error)
    } else if is(|error| error.is::<NoRootCertificates>() || error.is::<NoProxy>())
        || is(tunnel::is_final_refusal)
    {
        ConnectorError::other(error, None)
    } else {
        ConnectorError::io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_of_a_request() {
        let form = |url: &str, is_forwarded| {
            let mut request = Request::new(SdkBody::empty());
            *request.uri_mut() = url.parse().unwrap();
            prepare(&mut request, is_forwarded);
            let host = request.headers()[HOST].to_str().unwrap().to_owned();
            (host, request.uri().to_string())
        };
        let is = |host: &str, url: &str| (host.to_owned(), url.to_owned());
        assert_eq!(form("https://a.test/f?q=1", false), is("a.test", "/f?q=1"));
        assert_eq!(form("https://a.test:443", false), is("a.test", "/"));
        assert_eq!(form("http://a.test:443/", false), is("a.test:443", "/"));
        assert_eq!(form("http://[::1]:8080/x", false), is("[::1]:8080", "/x"));
        let whole = "http://a.test:80/f";
        assert_eq!(form(whole, true), is("a.test", whole));
    }
}
