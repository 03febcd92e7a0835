//! The HTTP client that a client of Lambda's and its sources of credentials share: the SDK's, whose connections are served in short
//! turns.
//!
//! A connection reads in a task of Tokio's. In one turn that may read 128 times, each time up to 400 kB, so an endpoint that sends heads
//! or the length of a chunk without an end kept the thread for seconds. Meanwhile nobody looked at signals, time-outs or other
//! connections. What is read of an answer in all is bounded in [`watch`](super::watch).

use super::watch::while_wanted;
use aws_smithy_http_client::pool::{self, ConnectionPool, DriverSpawner, Partition, PartitionId};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::coop;

/// How often a connection may read or write in one turn, of the 128 times that Tokio allows a task.
const MOST: usize = 4;
const OF_TOKIO: usize = 128;

/// How long nothing is sent until TCP asks whether the other end is there. A function may run for half an hour, and what stands in
/// between forgets a connection of which it hears nothing: a NAT gateway of AWS's after 350 s, others sooner.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Makes it, for the runtime that this runs in. `None` if the SDK finds that it can't be, and then has one of its own.
pub fn client() -> Option<SharedHttpClient> {
    let runtime = Handle::current();
    let all = PartitionId::from_index(0);
    let spawner =
        DriverSpawner::from_fn(move |work| drop(runtime.spawn(while_wanted(InTurns(work)))));
    let pool = ConnectionPool::builder()
        .proxy_config(ProxyConfig::from_env())
        .partitions([Partition::new(all, spawner)])
        .tls_provider(Provider::rustls(CryptoMode::AwsLc))
        .tcp_keepalive(KEEPALIVE)
        .build_https()
        .ok()?;
    let client = pool::Client::from_partition(&pool, all).ok()?;
    Some(SharedHttpClient::new(client))
}

/// A task that gives the thread back sooner than Tokio makes it.
struct InTurns(Pin<Box<dyn Future<Output = ()> + Send>>);

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
