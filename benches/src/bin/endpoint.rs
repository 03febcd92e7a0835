//! A stand-in for Lambda that answers as fast as it can, so that its own time does not count.
//!
//!     endpoint CERTIFICATE KEY    in PEM
//!
//! Prints its port and that where it speaks TLS, and ends when its standard input does. Functions are known by their names: `echo`
//! sends the payload back, `echo-50` after 50 ms, `answer` two bytes at once, `wait-50` two bytes after 50 ms. `late` is `echo`, a second
//! later for a payload that begins with `"late`. `GET /count` returns the number of invocations, and `GET /last` when the last of
//! them arrived, in nanoseconds of the system's monotonic clock. Nothing is checked, not even signatures. tests/endpoint is the
//! endpoint for tests.

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Either, Full};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

static INVOKED: AtomicU64 = AtomicU64::new(0);
static LAST: AtomicU64 = AtomicU64::new(0);

const HEADERS: [(&str, &str); 3] = [
    ("content-type", "application/json"),
    ("x-amzn-requestid", "0b3a5f3c-6c5b-4b5e-8f0e-3b1d0a3f9c11"),
    ("x-amz-executed-version", "$LATEST"),
];

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Body = Either<Full<Bytes>, Collected<Bytes>>;

/// The time of the clock that Python's `time.monotonic_ns` has. Rust's own type for it has no number.
fn monotonic_nanoseconds() -> u64 {
    // SAFETY: the call fills the structure, of which all bits may be zero.
    let time = unsafe {
        let mut time = std::mem::zeroed::<libc::timespec>();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time);
        time
    };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    if request.method() == Method::GET {
        let asked = match request.uri().path() {
            "/last" => &LAST,
            _ => &INVOKED,
        };
        let number = asked.load(Relaxed).to_string();
        return Ok(Response::new(Either::Left(Full::from(number))));
    }
    LAST.store(monotonic_nanoseconds(), Relaxed);
    INVOKED.fetch_add(1, Relaxed);
    // /2015-03-31/functions/NAME/invocations
    let name = request.uri().path().split('/').nth(3).map(str::to_owned);
    let payload = request.into_body().collect().await?;
    let name = name.unwrap_or_default();
    let body = match name.as_str() {
        // In the pieces that were received, without a copy.
        "echo" => Either::Right(payload),
        "late" => {
            let payload = payload.to_bytes();
            if payload.starts_with(b"\"late") {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Either::Left(Full::from(payload))
        }
        name if name.starts_with("echo-") => {
            if let Ok(ms) = name["echo-".len()..].parse() {
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            Either::Right(payload)
        }
        _ => {
            if let Some(ms) = name.strip_prefix("wait-").and_then(|ms| ms.parse().ok()) {
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            Either::Left(Full::from("{}"))
        }
    };
    let mut response = Response::new(body);
    for (name, value) in HEADERS {
        (response.headers_mut()).insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

async fn serve(tls: TlsAcceptor) -> io::Result<()> {
    let clear = TcpListener::bind(("127.0.0.1", 0)).await?;
    let secure = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!(
        "{} {}",
        clear.local_addr()?.port(),
        secure.local_addr()?.port()
    );
    io::stdout().flush()?;
    loop {
        tokio::select! {
            accepted = clear.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                tokio::spawn(serve_one(stream));
            }
            accepted = secure.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                let handshake = tls.accept(stream);
                tokio::spawn(async move {
                    if let Ok(stream) = handshake.await {
                        serve_one(stream).await;
                    }
                });
            }
        }
    }
}

async fn serve_one(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let connection =
        http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    drop(connection.await);
}

fn tls() -> Result<TlsAcceptor, Failure> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let [certificate, key] = files.as_slice() else {
        return Err("endpoint CERTIFICATE KEY".into());
    };
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn main() -> Result<(), Failure> {
    let tls = tls()?;
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    // One thread, so that the other core is free for the measured process.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(tls))?;
    Ok(())
}
