//! A stand-in for Lambda that answers as fast as it can: what is measured against it is not its own time.
//!
//! Prints its port, and ends when its standard input does. Functions are known by their names: `echo` sends the payload back,
//! `answer` two bytes at once, `wait-50` two bytes after 50 ms. `GET /count` gives how many were invoked. Nothing is checked, not even
//! signatures: tests/endpoint is the one that misbehaves, and counts more.

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Either, Full};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpListener;

static INVOKED: AtomicU64 = AtomicU64::new(0);

const HEADERS: [(&str, &str); 3] = [
    ("content-type", "application/json"),
    ("x-amzn-requestid", "0b3a5f3c-6c5b-4b5e-8f0e-3b1d0a3f9c11"),
    ("x-amz-executed-version", "$LATEST"),
];

type Body = Either<Full<Bytes>, Collected<Bytes>>;

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    if request.method() == Method::GET {
        let count = INVOKED.load(Relaxed).to_string();
        return Ok(Response::new(Either::Left(Full::from(count))));
    }
    INVOKED.fetch_add(1, Relaxed);
    // /2015-03-31/functions/NAME/invocations
    let name = request.uri().path().split('/').nth(3).map(str::to_owned);
    let payload = request.into_body().collect().await?;
    let name = name.unwrap_or_default();
    let body = if name == "echo" {
        // In the pieces that it came in, none of which is copied.
        Either::Right(payload)
    } else {
        if let Some(ms) = name.strip_prefix("wait-").and_then(|ms| ms.parse().ok()) {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        Either::Left(Full::from("{}"))
    };
    let mut response = Response::new(body);
    for (name, value) in HEADERS {
        (response.headers_mut()).insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

async fn serve() -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)),
        );
    }
}

fn main() -> io::Result<()> {
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    // One thread: it leaves the other core to who is measured.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve())
}
