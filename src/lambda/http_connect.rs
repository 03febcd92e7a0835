//! What a proxy says instead of letting us through: asking for a tunnel, the answer, and whether it will be another a moment later.

use super::proxies::{Proxy, port_of};
use aws_smithy_runtime_api::box_error::BoxError;
use http::Uri;
use std::error::Error as StdError;
use std::fmt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Most bytes of what a proxy answers before the tunnel is there, and most headers.
const MOST_OF_ANSWER: usize = 16 << 10;
const MOST_HEADERS: usize = 100;

/// Why there is no connection through a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyFailure {
    /// It answered so. Its words, and which kinds of authentication it wants.
    Answered {
        status: u16,
        reason: String,
        wants: String,
        /// Whether it was told a user and a password.
        was_told: bool,
    },
    /// What it answered is not HTTP.
    NotHttp,
    /// It answered without an end.
    TooLong,
    /// It speaks no TLS.
    NotTls,
    /// Its certificate is not accepted.
    Certificate(String),
    /// It went away without an answer.
    Ended,
}

impl ProxyFailure {
    /// Whether it will be the same a moment later.
    pub fn is_final(&self) -> bool {
        match self {
            // What a proxy can't reach now it may reach then.
            ProxyFailure::Answered { status, .. } => *status < 500 && *status != 429,
            ProxyFailure::Ended => false,
            _ => true,
        }
    }
}

/// A sentence for DETAIL.
impl fmt::Display for ProxyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyFailure::Answered {
                status,
                reason,
                wants,
                was_told,
            } => {
                write!(f, "the proxy answered {status}")?;
                if !reason.is_empty() {
                    write!(f, " {reason}")?;
                }
                if *status == 407 {
                    f.write_str(match was_told {
                        true => "; it was told the user and password of its URL",
                        false => "; its URL has no user and password",
                    })?;
                }
                match wants.is_empty() {
                    true => Ok(()),
                    false => write!(f, ", and it asks for {wants}"),
                }
            }
            ProxyFailure::NotHttp => f.write_str(
                "what the proxy answered is no HTTP; if it speaks TLS, its URL begins with https://",
            ),
            ProxyFailure::TooLong => write!(
                f,
                "the proxy's answer does not end within {} kB",
                MOST_OF_ANSWER >> 10
            ),
            ProxyFailure::NotTls => {
                f.write_str("the proxy speaks no TLS; its URL may have to begin with http://")
            }
            ProxyFailure::Certificate(problem) => {
                write!(f, "the proxy's certificate is not accepted: {problem}")
            }
            ProxyFailure::Ended => f.write_str("the proxy closed the connection without an answer"),
        }
    }
}

impl StdError for ProxyFailure {}

/// Asks for a tunnel, and reads the answer as far as its empty line.
pub async fn ask_for_tunnel(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    to: &Uri,
    proxy: &Proxy,
) -> Result<(), BoxError> {
    let place = format!("{}:{}", to.host().unwrap_or_default(), port_of(to));
    let mut request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n").into_bytes();
    if let Some(authorization) = &proxy.authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    io.write_all(&request).await?;
    io.flush().await?;
    let mut answer = vec![0; MOST_OF_ANSWER];
    let mut length = 0;
    loop {
        match io.read(&mut answer[length..]).await? {
            0 if length == MOST_OF_ANSWER => return Err(ProxyFailure::TooLong.into()),
            0 => return Err(ProxyFailure::Ended.into()),
            more => length += more,
        }
        if let Some(answered) = read_answer(&answer[..length], proxy)? {
            return answered.map_err(Into::into);
        }
        if length == MOST_OF_ANSWER {
            return Err(ProxyFailure::TooLong.into());
        }
    }
}

/// The answer, once it is there: a tunnel, or what else it is.
fn read_answer(
    mut answer: &[u8],
    proxy: &Proxy,
) -> Result<Option<Result<(), ProxyFailure>>, ProxyFailure> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(answer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(ProxyFailure::TooLong),
            Err(_) => return Err(ProxyFailure::NotHttp),
        };
        answer = &answer[length..];
        return match response.code.unwrap_or_default() {
            // One that precedes the answer.
            100..=199 => continue,
            // A server in TLS waits for us to speak, so what follows is not its.
            200..=299 if answer.is_empty() => Ok(Some(Ok(()))),
            200..=299 => Err(ProxyFailure::NotHttp),
            status => {
                let wants = (response.headers.iter())
                    .filter(|header| header.name.eq_ignore_ascii_case("proxy-authenticate"))
                    .map(|header| header.value);
                Ok(Some(Err(ProxyFailure::Answered {
                    status,
                    reason: response.reason.unwrap_or_default().trim().to_owned(),
                    wants: schemes(wants),
                    was_told: proxy.authorization.is_some(),
                })))
            }
        };
    }
}

/// The names of kinds of authentication, of which Basic is the one that is spoken here.
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
        match read_answer(text.as_bytes(), &proxy) {
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
        let many = "A: b\r\n".repeat(MOST_HEADERS + 1);
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
    fn what_it_says() {
        let said = |text| answer(text).unwrap().unwrap_err().to_string();
        assert_eq!(
            said(
                "HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM x\r\nX: y\r\n\r\n"
            ),
            "the proxy answered 407 No; its URL has no user and password, and it asks for Negotiate or NTLM"
        );
        assert_eq!(
            said("HTTP/1.1 403 Forbidden\r\n\r\n<html>"),
            "the proxy answered 403 Forbidden"
        );
        assert_eq!(said("HTTP/1.1 503\r\n\r\n"), "the proxy answered 503");
    }

    #[test]
    fn what_may_change() {
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
        assert!(!ProxyFailure::Ended.is_final() && ProxyFailure::NotHttp.is_final());
    }
}
