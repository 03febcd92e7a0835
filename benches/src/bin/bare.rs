//! The programs that SQL is compared with: raw HTTP, and the bare SDK.
//!
//!     bare URL first              how long the first call takes, from the start of main, and its CPU
//!     bare URL                    a line of standard input is `hyper|sdk|threads FUNCTION BYTES CALLS IN_FLIGHT`
//!
//! and each is answered by a line of JSON: the time of each call where one is in flight, the time of all, and CPU, in ns. `sdk` is a
//! runtime in this thread, `threads` one of a thread for each core.

use aws_config::BehaviorVersion;
use aws_sdk_lambda::Client;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_types::Blob;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A line of standard input.
struct Work {
    function: String,
    payload: Vec<u8>,
    calls: u64,
    in_flight: usize,
}

impl Work {
    fn parse(words: &[&str]) -> Result<Work, Failure> {
        let [function, bytes, calls, in_flight] = words else {
            return Err("FUNCTION BYTES CALLS IN_FLIGHT".into());
        };
        // A JSON string of so many bytes.
        let length = bytes.parse::<usize>()?.max(2);
        Ok(Work {
            function: (*function).to_owned(),
            payload: format!("\"{}\"", "x".repeat(length - 2)).into_bytes(),
            calls: calls.parse()?,
            in_flight: in_flight.parse()?,
        })
    }
}

async fn client(url: &str) -> Client {
    // The SDK's connector, with the extension's cryptography.
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let base = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .load()
        .await;
    let config = aws_sdk_lambda::config::Builder::from(&base).endpoint_url(url);
    Client::from_conf(config.build())
}

async fn invoke(client: &Client, function: &str, payload: Vec<u8>) -> Result<usize, Failure> {
    let output = client
        .invoke()
        .function_name(function)
        .payload(Blob::new(payload))
        .send()
        .await?;
    Ok(output.payload.map_or(0, |blob| blob.into_inner().len()))
}

/// Sequential calls. Each makes its payload, as SQL does.
async fn one_by_one(client: &Client, work: &Work) -> Result<Vec<u64>, Failure> {
    let mut times = Vec::new();
    for _ in 0..work.calls {
        let start = Instant::now();
        invoke(client, &work.function, work.payload.clone()).await?;
        times.push(start.elapsed().as_nanos() as u64);
    }
    Ok(times)
}

async fn many(client: Arc<Client>, work: Arc<Work>) -> Result<Vec<u64>, Failure> {
    let started = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..work.in_flight)
        .map(|_| {
            let (client, work, started) = (client.clone(), work.clone(), started.clone());
            tokio::spawn(async move {
                while started.fetch_add(1, Relaxed) < work.calls {
                    invoke(&client, &work.function, work.payload.clone()).await?;
                }
                Ok::<_, Failure>(())
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    Ok(Vec::new())
}

async fn post(
    connection: &mut SendRequest<Full<Bytes>>,
    host: &str,
    work: &Work,
) -> Result<usize, Failure> {
    let request = hyper::Request::post(format!(
        "/2015-03-31/functions/{}/invocations",
        work.function
    ))
    .header("host", host)
    .body(Full::from(work.payload.clone()))?;
    let response = connection.send_request(request).await?;
    Ok(response.into_body().collect().await?.to_bytes().len())
}

async fn raw(url: &str, work: &Work) -> Result<Vec<u64>, Failure> {
    let host = url.trim_start_matches("http://");
    let stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut times = Vec::new();
    for _ in 0..work.calls {
        let start = Instant::now();
        post(&mut sender, host, work).await?;
        times.push(start.elapsed().as_nanos() as u64);
    }
    Ok(times)
}

/// User and system time of this process.
fn cpu() -> Duration {
    // SAFETY: `rusage` is plain data, for which zeros are valid, and the call writes it.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    [usage.ru_utime, usage.ru_stime]
        .iter()
        .map(|time| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000))
        .sum()
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn main() -> Result<(), Failure> {
    let start = Instant::now();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let url = arguments.first().ok_or("no URL")?;
    let here = runtime()?;
    if arguments.get(1).is_some_and(|word| word == "first") {
        here.block_on(async { invoke(&client(url).await, "answer", b"{}".to_vec()).await })?;
        println!("{} {}", start.elapsed().as_nanos(), cpu().as_nanos());
        return Ok(());
    }
    let threads = tokio::runtime::Runtime::new()?;
    let (own, of_threads) = (
        Arc::new(here.block_on(client(url))),
        Arc::new(threads.block_on(client(url))),
    );
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let (how, words) = words.split_first().ok_or("an empty line")?;
        let work = Arc::new(Work::parse(words)?);
        let (start, before) = (Instant::now(), cpu());
        let times = match (*how, work.in_flight) {
            ("hyper", _) => here.block_on(raw(url, &work))?,
            ("sdk", 1) => here.block_on(one_by_one(&own, &work))?,
            ("sdk", _) => here.block_on(many(own.clone(), work.clone()))?,
            ("threads", _) => threads.block_on(many(of_threads.clone(), work.clone()))?,
            _ => return Err(format!("no such way: {how}").into()),
        };
        let answer = json!({
            "times": times,
            "all": start.elapsed().as_nanos() as u64,
            "cpu": (cpu() - before).as_nanos() as u64,
        });
        println!("{answer}");
        io::stdout().flush()?;
    }
    Ok(())
}
