//! A proxy that a variable of the server process names: its URL, its credentials, and why a value is invalid.

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use std::fmt;

/// A variable that names a proxy.
#[derive(Clone)]
pub struct ProxyVariable {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub proxy: Result<Proxy, InvalidProxy>,
}

impl ProxyVariable {
    /// The proxy and the variable, for a message; `None` if the value is invalid.
    pub fn describe(&self) -> Option<String> {
        let proxy = self.proxy.as_ref().ok()?;
        Some(format!("the proxy {proxy} ({})", self.name))
    }
}

/// A proxy. Its `Display` has no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub uri: Uri,
    /// For `Proxy-Authorization`.
    pub authorization: Option<HeaderValue>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or("http");
        let authority = self.uri.authority().map_or("", |whole| whole.as_str());
        write!(f, "{scheme}://{authority}")
    }
}

/// Why the value of a variable names no proxy. The value is not shown, as it may have a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidProxy {
    /// It is not a URL.
    Malformed,
    /// Its scheme is neither http nor https.
    Scheme,
}

impl Proxy {
    /// Parses the value of a variable.
    pub(super) fn parse(value: &str) -> Result<Proxy, InvalidProxy> {
        let scheme = value.split_once("://").map(|(scheme, _)| scheme);
        let is_known = scheme.is_none_or(|scheme| {
            scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
        });
        if !is_known {
            return Err(InvalidProxy::Scheme);
        }
        let all = Matcher::builder().all(value).build();
        let found = all
            .intercept(&Uri::from_static("https://any/"))
            .ok_or(InvalidProxy::Malformed)?;
        // An @ or / in a password must be encoded. Otherwise the URL has another host, or a host with a part of the password.
        let authority = found.uri().authority().ok_or(InvalidProxy::Malformed)?;
        let ends = value.rsplit_once('@').map_or(value, |(_, host)| host);
        if authority.as_str().contains('@')
            || authority.host().is_empty()
            || authority.as_str() != authority.host() && authority.port_u16().is_none()
            || !ends.contains(authority.as_str())
        {
            return Err(InvalidProxy::Malformed);
        }
        Ok(Proxy {
            uri: found.uri().clone(),
            authorization: found.basic_auth().cloned(),
        })
    }
}

/// The password of a value: as it is written, decoded, and as it is sent.
pub(super) fn secrets_of(value: &str) -> Vec<String> {
    let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
    let Some((user, _)) = rest.rsplit_once('@') else {
        return Vec::new();
    };
    // Without a colon, it may be a token.
    let password = user.split_once(':').map_or(user, |(_, password)| password);
    let mut secrets = vec![password.to_owned(), percent_decoded(password)];
    if let Ok(Proxy {
        authorization: Some(sent),
        ..
    }) = Proxy::parse(value.trim())
        && let Ok(sent) = sent.to_str()
    {
        secrets.push(sent.trim_start_matches("Basic ").to_owned());
    }
    secrets
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let mut ahead = bytes.clone();
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    // A type without `Debug` is not printed by mistake.
    static_assertions::assert_not_impl_any!(Proxy: fmt::Debug);
    static_assertions::assert_not_impl_any!(ProxyVariable: fmt::Debug);

    #[test]
    fn invalid_values() {
        let of = |value| match Proxy::parse(value) {
            Ok(proxy) => proxy.to_string(),
            Err(invalid) => format!("{invalid:?}"),
        };
        for value in [
            "http://",
            "http://user:pass@",
            "http://p:99999",
            "http://p:port",
            "http://a b",
            "http://user:p@ss@proxy:3128",
            "http://user:1/2@proxy:3128",
            "http://user:1?2@proxy:3128",
            "http://user:p#ss@proxy:3128",
            "://x",
        ] {
            assert!(
                ["Malformed", "Scheme"].contains(&&*of(value)),
                "{value}: {}",
                of(value)
            );
        }
        assert_eq!(of("socks5://proxy:1080"), "Scheme");
        assert_eq!(of("HTTP://proxy:1080"), "http://proxy:1080");
        assert_eq!(
            of("http://user:p%40ss@proxy:3128/any?x"),
            "http://proxy:3128"
        );
        assert_eq!(of("user:pw@proxy"), "http://proxy");
        assert_eq!(of("http://[::1]:3128"), "http://[::1]:3128");
    }

    #[test]
    fn names_and_passwords_are_decoded() {
        let proxy = Proxy::parse("http://us%3Aer:p%40ss%25@proxy");
        let sent = proxy.ok().unwrap().authorization.unwrap();
        assert!(sent.is_sensitive());
        assert_eq!(sent.to_str().unwrap(), "Basic dXM6ZXI6cEBzcyU=");
        assert_eq!(
            secrets_of("http://us%3Aer:p%40ss%25@proxy"),
            ["p%40ss%25", "p@ss%", "dXM6ZXI6cEBzcyU="]
        );
        assert_eq!(
            secrets_of("http://token@proxy"),
            ["token", "token", "dG9rZW46"]
        );
        assert_eq!(secrets_of("http://proxy:3128"), [""; 0]);
        assert_eq!(percent_decoded("%4"), "%4");
    }
}
