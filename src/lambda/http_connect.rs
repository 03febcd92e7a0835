//! CONNECT, the HTTP request for a tunnel through a proxy, and the errors of proxies.

use super::proxies::port_of;
use super::proxy::Proxy;
use aws_smithy_runtime_api::box_error::BoxError;
use http::Uri;
use std::error::Error as StdError;
use std::fmt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Most bytes of a response to CONNECT, and most headers in it.
const MAX_RESPONSE: usize = 16 << 10;
const MAX_HEADERS: usize = 100;

/// Why there is no connection through a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyFailure {
    /// It answered with an error status.
    Refused {
        status: u16,
        /// The reason phrase.
        reason: String,
        /// The authentication schemes that it offers.
        schemes: String,
        /// Whether the request had a user and a password.
        had_credentials: bool,
    },
    /// Its answer is not HTTP.
    NotHttp,
    /// Its answer is too long.
    TooLong,
    /// It speaks no TLS.
    NotTls,
    /// Its certificate is not accepted.
    Certificate(String),
    /// It closed the connection without an answer.
    Closed,
}

impl ProxyFailure {
    /// Whether another attempt would fail in the same way.
    pub fn is_final(&self) -> bool {
        match self {
            // The proxy may reach later what it can't reach now.
            ProxyFailure::Refused { status, .. } => *status < 500 && *status != 429,
            ProxyFailure::Closed => false,
            _ => true,
        }
    }
}

/// Words for DETAIL.
impl fmt::Display for ProxyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyFailure::Refused {
                status,
                reason,
                schemes,
                had_credentials,
            } => {
                write!(f, "the proxy answered {status}")?;
                if !reason.is_empty() {
                    write!(f, " {reason}")?;
                }
                if *status == 407 {
                    f.write_str(match had_credentials {
                        true => "; it was told the user and password of its URL",
                        false => "; its URL has no user and password",
                    })?;
                }
                match schemes.is_empty() {
                    true => Ok(()),
                    false => write!(f, ", and it asks for {schemes}"),
                }
            }
            ProxyFailure::NotHttp => f.write_str(
                "what the proxy answered is no HTTP; if it speaks TLS, its URL begins with https://",
            ),
            ProxyFailure::TooLong => write!(
                f,
                "the proxy's answer does not end within {} kB",
                MAX_RESPONSE >> 10
            ),
            ProxyFailure::NotTls => {
                f.write_str("the proxy speaks no TLS; its URL may have to begin with http://")
            }
            ProxyFailure::Certificate(problem) => {
                write!(f, "the proxy's certificate is not accepted: {problem}")
            }
            ProxyFailure::Closed => f.write_str("the proxy closed the connection without an answer"),
        }
    }
}

impl StdError for ProxyFailure {}

/// Sends CONNECT, and reads the head of the response.
pub async fn connect(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    to: &Uri,
    proxy: &Proxy,
) -> Result<(), BoxError> {
    let authority = format!("{}:{}", to.host().unwrap_or_default(), port_of(to));
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(authorization) = &proxy.authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    io.write_all(&request).await?;
    io.flush().await?;
    let mut answer = vec![0; MAX_RESPONSE];
    let mut length = 0;
    loop {
        match io.read(&mut answer[length..]).await? {
            0 if length == MAX_RESPONSE => return Err(ProxyFailure::TooLong.into()),
            0 => return Err(ProxyFailure::Closed.into()),
            more => length += more,
        }
        if let Some(answered) = parse_response(&answer[..length], proxy)? {
            return answered.map_err(Into::into);
        }
        if length == MAX_RESPONSE {
            return Err(ProxyFailure::TooLong.into());
        }
    }
}

/// Parses the response; `None` while it is not complete.
fn parse_response(
    mut answer: &[u8],
    proxy: &Proxy,
) -> Result<Option<Result<(), ProxyFailure>>, ProxyFailure> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(answer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(ProxyFailure::TooLong),
            Err(_) => return Err(ProxyFailure::NotHttp),
        };
        answer = &answer[length..];
        return match response.code.unwrap_or_default() {
            // An interim response.
            100..=199 => continue,
            // In TLS the client speaks first, so data behind the head does not come from the endpoint.
            200..=299 if answer.is_empty() => Ok(Some(Ok(()))),
            200..=299 => Err(ProxyFailure::NotHttp),
            status => {
                let offered = (response.headers.iter())
                    .filter(|header| header.name.eq_ignore_ascii_case("proxy-authenticate"))
                    .map(|header| header.value);
                Ok(Some(Err(ProxyFailure::Refused {
                    status,
                    reason: response.reason.unwrap_or_default().trim().to_owned(),
                    schemes: schemes(offered),
                    had_credentials: proxy.authorization.is_some(),
                })))
            }
        };
    }
}

/// The names of the authentication schemes in `Proxy-Authenticate` headers. The client knows Basic alone.
pub fn schemes<'a>(values: impl Iterator<Item = &'a [u8]>) -> String {
    let names = values.filter_map(|value| {
        let name = value.split(|byte| *byte == b' ').next()?;
        let is_name = (1..=20).contains(&name.len()) && name.iter().all(u8::is_ascii_alphanumeric);
        is_name.then(|| String::from_utf8_lossy(name).into_owned())
    });
    let names: Vec<String> = names.take(4).collect();
    names.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Option<Result<(), ProxyFailure>> {
        let proxy = Proxy {
            uri: Uri::from_static("http://proxy:3128"),
            authorization: None,
        };
        match parse_response(text.as_bytes(), &proxy) {
            Ok(answer) => answer,
            Err(failure) => Some(Err(failure)),
        }
    }

    #[test]
    fn answers() {
        assert_eq!(answer("HTTP/1.1 200 Connection established\r\n"), None);
        for tunnel in [
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "HTTP/1.0 200 OK\r\nVia: one\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204\r\n\r\n",
        ] {
            assert_eq!(answer(tunnel), Some(Ok(())), "{tunnel}");
        }
        let many = "A: b\r\n".repeat(MAX_HEADERS + 1);
        for (text, failure) in [
            (
                "\x15\x03\x01\0\x02\x02\x46".to_owned(),
                ProxyFailure::NotHttp,
            ),
            ("SSH-2.0-OpenSSH\r\n".to_owned(), ProxyFailure::NotHttp),
            ("HTTP/1.1 2000 OK\r\n\r\n".to_owned(), ProxyFailure::NotHttp),
            (
                "HTTP/1.1 200 OK\r\n\r\nHello".to_owned(),
                ProxyFailure::NotHttp,
            ),
            (
                format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
                ProxyFailure::TooLong,
            ),
        ] {
            assert_eq!(answer(&text), Some(Err(failure)), "{text}");
        }
    }

    #[test]
    fn texts() {
        let text_of = |text| answer(text).unwrap().unwrap_err().to_string();
        assert_eq!(
            text_of(
                "HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM x\r\nX: y\r\n\r\n"
            ),
            "the proxy answered 407 No; its URL has no user and password, and it asks for Negotiate or NTLM"
        );
        assert_eq!(
            text_of("HTTP/1.1 403 Forbidden\r\n\r\n<html>"),
            "the proxy answered 403 Forbidden"
        );
        assert_eq!(text_of("HTTP/1.1 503\r\n\r\n"), "the proxy answered 503");
    }

    #[test]
    fn errors_that_are_final() {
        let is_final = |status: u16| {
            let text = format!("HTTP/1.1 {status} x\r\n\r\n");
            answer(&text).unwrap().unwrap_err().is_final()
        };
        for status in [301, 400, 403, 404, 405, 407, 451] {
            assert!(is_final(status), "{status}");
        }
        for status in [429, 500, 502, 503, 504] {
            assert!(!is_final(status), "{status}");
        }
        assert!(!ProxyFailure::Closed.is_final() && ProxyFailure::NotHttp.is_final());
    }
}
