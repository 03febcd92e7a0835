//! The HTTP client that a client of Lambda's and its sources of credentials share. It is the SDK's, whose connections are served in short
//! turns, or goes [through a proxy](super::tunnel), or says why it can't go.
//!
//! A connection reads in a task of Tokio's. In one turn that may read 128 times, each time up to 400 kB, so an endpoint that sends heads
//! or the length of a chunk without an end kept the thread for seconds. Meanwhile nobody looked at signals, time-outs or other
//! connections. What is read of an answer in all is bounded in [`watch`](super::watch).

use super::authorities::{Bundle, Trust};
use super::machine::Machine;
use super::proxies::{Proxies, Unusable};
use super::tunnel::Through;
use super::watch::while_wanted;
use aws_smithy_http_client::pool::{self, ConnectionPool, DriverSpawner, Partition, PartitionId};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use http::Uri;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::coop;

/// How often a connection may read or write in one turn, of the 128 times that Tokio allows a task.
const MOST: usize = 4;
const OF_TOKIO: usize = 128;

/// How long nothing is sent until TCP asks whether the other end is there. A function may run for half an hour, and what stands in
/// between forgets a connection of which it hears nothing: a NAT gateway of AWS's after 350 s, others sooner.
pub const KEEPALIVE: Duration = Duration::from_secs(60);

/// The HTTP client. Clones share its connections.
#[derive(Clone)]
pub struct Connections(Arc<Shared>);

struct Shared {
    runtime: Handle,
    trust: Arc<Trust>,
    proxies: Proxies,
    /// What makes connections where TLS is spoken, and where not. Each is made when it is first wanted.
    direct: [OnceLock<Result<pool::Client, NoPool>>; 2],
    proxied: [OnceLock<Through>; 2],
    given_up: AtomicBool,
}

/// The SDK finds that its pool can't be made.
#[derive(Debug, Clone)]
struct NoPool(String);

impl fmt::Display for NoPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoPool {}

/// The variable that names the proxy names none.
#[derive(Debug)]
pub struct NoProxy(&'static str, Unusable);

impl fmt::Display for NoProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of the server process ", self.0)?;
        f.write_str(match self.1 {
            Unusable::Malformed => {
                "is no URL such as http://user:password@proxy:3128, in which @ : / ? # and % of a password are written as %40 %3A %2F %3F %23 and %25"
            }
            Unusable::Scheme => "is the URL of a proxy that is neither http:// nor https://",
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
    /// Makes it as the machine says, for the runtime that this runs in. Whoever owns a server, the network is the machine's.
    pub fn of_machine(machine: &Machine) -> Connections {
        let named = |named_by: String, path: PathBuf| {
            (!path.as_os_str().is_empty()).then_some(Bundle { named_by, path })
        };
        let of_profile = || {
            let path = machine.setting("ca_bundle")?;
            named(
                format!("ca_bundle of the AWS profile {}", machine.selected()),
                path.into(),
            )
        };
        let bundle = std::env::var_os("AWS_CA_BUNDLE")
            .and_then(|path| named("AWS_CA_BUNDLE".to_owned(), path.into()))
            .or_else(of_profile);
        let metadata_url = machine.setting("ec2_metadata_service_endpoint");
        Connections::new(Trust::new(bundle), Proxies::of_machine(metadata_url))
    }

    /// One for a client that has another.
    #[cfg(any(test, fuzzing))]
    pub fn nowhere() -> Connections {
        Connections::new(Trust::new(None), Proxies::of_machine(None))
    }

    fn new(trust: Trust, proxies: Proxies) -> Connections {
        Connections(Arc::new(Shared {
            runtime: Handle::current(),
            trust: Arc::new(trust),
            proxies,
            direct: Default::default(),
            proxied: Default::default(),
            given_up: AtomicBool::new(false),
        }))
    }

    /// The proxy that a URL is asked through, and the variable that names it, in words for a message.
    pub fn proxy_of(&self, url: &Uri) -> Option<String> {
        self.0.proxies.of(url)?.shown()
    }

    /// Has the next statement make another, with the files and variables as they are then.
    pub fn give_up(&self) {
        self.0.given_up.store(true, Ordering::Relaxed);
    }

    /// Whether what went wrong stays so until somebody changes something.
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
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            shared: self.0.clone(),
            settings: settings.clone(),
            components: components.clone(),
        })
    }
}

/// The client with the time-outs of one request.
struct Connector {
    shared: Arc<Shared>,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let failed =
            |error: BoxError| HttpConnectorFuture::ready(Err(ConnectorError::other(error, None)));
        let url = match request.uri().parse::<Uri>() {
            Ok(url) => url,
            Err(error) => return failed(error.into()),
        };
        let Some(named) = self.shared.proxies.of(&url) else {
            return match self.shared.direct(&url) {
                Ok(client) => {
                    let connector = client.http_connector(&self.settings, &self.components);
                    connector.call(request)
                }
                Err(error) => failed(error),
            };
        };
        let proxy = match &named.proxy {
            Ok(proxy) => proxy,
            Err(unusable) => return failed(NoProxy(named.variable, *unusable).into()),
        };
        let through = self.shared.proxied[usize::from(is_secure(&url))].get_or_init(|| {
            let shown = named.shown().unwrap_or_default();
            let trust = self.shared.trust.clone();
            Through::new(shown, proxy.clone(), trust, self.shared.runtime.clone())
        });
        let to_connect = self.settings.connect_timeout();
        HttpConnectorFuture::new(through.clone().send(request, to_connect))
    }
}

fn is_secure(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

impl Shared {
    fn direct(&self, url: &Uri) -> Result<&pool::Client, BoxError> {
        let is_secure = is_secure(url);
        let store = match is_secure {
            true => self.trust.authorities()?.store.clone(),
            false => TrustStore::empty(),
        };
        (self.direct[usize::from(is_secure)])
            .get_or_init(|| self.pool(store))
            .as_ref()
            .map_err(|error| error.clone().into())
    }

    fn pool(&self, store: TrustStore) -> Result<pool::Client, NoPool> {
        let runtime = self.runtime.clone();
        let all = PartitionId::from_index(0);
        let spawner =
            DriverSpawner::from_fn(move |work| drop(runtime.spawn(while_wanted(InTurns(work)))));
        let trust = TlsContext::builder().with_trust_store(store).build();
        let pool = ConnectionPool::builder()
            .partitions([Partition::new(all, spawner)])
            .tls_provider(Provider::rustls(CryptoMode::Ring))
            .tcp_keepalive(KEEPALIVE)
            .tls_context(trust.map_err(|error| NoPool(error.to_string()))?)
            .build_https()
            .map_err(|error| NoPool(error.to_string()))?;
        pool::Client::from_partition(&pool, all).map_err(|error| NoPool(error.to_string()))
    }
}

/// A task that gives the thread back sooner than Tokio makes it.
pub struct InTurns(Pin<Box<dyn Future<Output = ()> + Send>>);

impl InTurns {
    /// Makes one of a connection's work.
    pub fn new(work: impl Future<Output = ()> + Send + 'static) -> InTurns {
        InTurns(Box::pin(work))
    }
}

impl Future for InTurns {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        for _ in MOST..OF_TOKIO {
            ready!(coop::poll_proceed(context)).made_progress();
        }
        self.0.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Reads that are always ready end in turns, between which others have theirs.
    #[test]
    fn a_flood_leaves_turns_to_others() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let reads = Arc::new(AtomicUsize::new(0));
            let counted = reads.clone();
            tokio::spawn(InTurns(Box::pin(async move {
                loop {
                    coop::consume_budget().await;
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            })));
            for turn in 1..=10 {
                tokio::task::yield_now().await;
                assert_eq!(reads.load(Ordering::Relaxed), turn * MOST);
            }
        });
    }
}
