//! Which proxy a URL is asked through: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY of the server process, as curl reads them.
//!
//! hyper-util has the rules, but for ports. Here is what it leaves out: which variable counts, what makes a value unusable, and which addresses
//! are never asked through a proxy. [`tunnel`](super::tunnel) makes the connections.

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use std::fmt;
use std::net::IpAddr;

/// Where the credentials of instances, containers and pods are. Through a proxy they would travel in the clear.
const METADATA: [&str; 5] = [
    "169.254.169.254",
    "fd00:ec2::254",
    "169.254.170.2",
    "169.254.170.23",
    "fd00:ec2::23",
];

/// Variables that move these elsewhere.
const METADATA_URLS: [&str; 2] = [
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// The proxies of a machine.
pub struct Proxies {
    https: Option<Named>,
    http: Option<Named>,
    /// Rules of NO_PROXY.
    none_for: Vec<String>,
    /// Hosts and ports that credentials come from.
    metadata: Vec<(String, u16)>,
}

/// What a variable says.
#[derive(Clone)]
pub struct Named {
    /// The variable.
    pub variable: &'static str,
    /// The proxy, or why there is none.
    pub proxy: Result<Proxy, Unusable>,
}

impl Named {
    /// In words for a message.
    pub fn shown(&self) -> Option<String> {
        let proxy = self.proxy.as_ref().ok()?;
        Some(format!("the proxy {proxy} ({})", self.variable))
    }
}

/// Where a proxy is, and what it is to know of us. Its `Display` has no password.
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

/// A value that names no proxy, which is not shown: it may have a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// No URL.
    Malformed,
    /// Of another kind than the two that are spoken here.
    Scheme,
}

impl Proxies {
    /// Reads the environment of the process. `metadata_url` is where the AWS profile says that the instance's metadata are.
    pub fn of_machine(metadata_url: Option<&str>) -> Proxies {
        let value = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into());
        Proxies::read(value, metadata_url)
    }

    fn read(value: impl Fn(&str) -> Option<String>, metadata_url: Option<&str>) -> Proxies {
        let first = |names: &[&'static str]| {
            (names.iter()).find_map(|name| {
                let value = value(name).map(|value| value.trim().to_owned());
                Some((*name, value.filter(|value| !value.is_empty())?))
            })
        };
        let named = |names: &[&'static str]| {
            first(names).map(|(variable, value)| Named {
                variable,
                proxy: Proxy::parse(&value),
            })
        };
        let (_, none_for) = first(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        let metadata = METADATA_URLS
            .into_iter()
            .filter_map(&value)
            .chain(metadata_url.map(str::to_owned))
            .filter_map(|url| {
                let url: Uri = url.trim().parse().ok()?;
                // What is encrypted may go through a proxy.
                (url.scheme_str() == Some("http")).then_some(())?;
                Some((host_of(&url).to_owned(), port_of(&url)))
            })
            .collect();
        Proxies {
            https: named(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            http: named(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]),
            none_for: none_for
                .split(|at: char| at == ',' || at.is_whitespace())
                .filter(|rule| !rule.is_empty())
                .map(str::to_owned)
                .collect(),
            metadata,
        }
    }

    /// The proxy that a URL is asked through.
    pub fn of(&self, url: &Uri) -> Option<&Named> {
        let named = match url.scheme_str() {
            Some("https") => self.https.as_ref()?,
            _ => self.http.as_ref()?,
        };
        let is_direct = self.is_of_machine(url) || self.is_excepted(url);
        (!is_direct).then_some(named)
    }

    /// Whether it is this machine, or where its credentials come from.
    fn is_of_machine(&self, url: &Uri) -> bool {
        let host = host_of(url);
        let is_local = match host.parse::<IpAddr>() {
            Ok(address) => {
                let address = address.to_canonical();
                address.is_loopback()
                    || METADATA
                        .iter()
                        .any(|known| known.parse() == Ok::<IpAddr, _>(address))
            }
            Err(_) => {
                let name = host.trim_end_matches('.').to_ascii_lowercase();
                name == "localhost" || name.ends_with(".localhost")
            }
        };
        is_local
            || (self.metadata.iter())
                .any(|(known, port)| known.eq_ignore_ascii_case(host) && *port == port_of(url))
    }

    /// Whether NO_PROXY has it.
    fn is_excepted(&self, url: &Uri) -> bool {
        let port = port_of(url);
        let rules: Vec<&str> = (self.none_for.iter())
            .filter_map(|rule| match with_port(rule) {
                (host, Some(of)) => (of.parse() == Ok(port)).then_some(host),
                (host, None) => Some(host),
            })
            // For curl `*.name` is no pattern, but people write it.
            .map(|host| match host.strip_prefix('*') {
                Some(rest) if rest.starts_with('.') => rest,
                _ => host,
            })
            .collect();
        let matcher = Matcher::builder()
            .all("http://any")
            .no(rules.join(","))
            .build();
        matcher.intercept(url).is_none()
    }

    /// What no message may have in it, however short it is.
    pub fn secrets() -> Vec<String> {
        [
            "https_proxy",
            "HTTPS_PROXY",
            "http_proxy",
            "HTTP_PROXY",
            "all_proxy",
            "ALL_PROXY",
        ]
        .into_iter()
        .filter_map(std::env::var_os)
        .flat_map(|value| secrets_of(&value.to_string_lossy()))
        .collect()
    }
}

impl Proxy {
    fn parse(value: &str) -> Result<Proxy, Unusable> {
        let scheme = value.split_once("://").map(|(scheme, _)| scheme);
        let is_spoken = scheme.is_none_or(|scheme| {
            scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
        });
        if !is_spoken {
            return Err(Unusable::Scheme);
        }
        let all = Matcher::builder().all(value).build();
        let found = all
            .intercept(&Uri::from_static("https://any/"))
            .ok_or(Unusable::Malformed)?;
        // An @ or / of a password that is not encoded: what is left of the URL would be another host, or show a part of it.
        let authority = found.uri().authority().ok_or(Unusable::Malformed)?;
        let ends = value.rsplit_once('@').map_or(value, |(_, host)| host);
        if authority.as_str().contains('@')
            || authority.host().is_empty()
            || authority.as_str() != authority.host() && authority.port_u16().is_none()
            || !ends.contains(authority.as_str())
        {
            return Err(Unusable::Malformed);
        }
        Ok(Proxy {
            uri: found.uri().clone(),
            authorization: found.basic_auth().cloned(),
        })
    }
}

/// The password as it is, as it is written, and as it is sent.
fn secrets_of(value: &str) -> Vec<String> {
    let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
    let Some((user, _)) = rest.rsplit_once('@') else {
        return Vec::new();
    };
    // A token may stand alone.
    let password = user.split_once(':').map_or(user, |(_, password)| password);
    let mut secrets = vec![password.to_owned(), decoded(password)];
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

fn decoded(text: &str) -> String {
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

/// Without the brackets of an address.
pub fn host_of(url: &Uri) -> &str {
    let host = url.host().unwrap_or_default();
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// The port, or that of the scheme.
pub fn port_of(url: &Uri) -> u16 {
    let usual = match url.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    url.port_u16().unwrap_or(usual)
}

/// A rule's host, without brackets, and its port.
fn with_port(rule: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = rule.strip_prefix('[').and_then(|rule| rule.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match rule.split_once(':') {
        // Two colons are an address without a port.
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (rule, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What can't be printed is not printed by mistake.
    static_assertions::assert_not_impl_any!(Proxy: fmt::Debug);
    static_assertions::assert_not_impl_any!(Named: fmt::Debug);

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let value = |name: &str| {
            (variables.iter())
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Proxies::read(value, None)
    }

    fn through(proxies: &Proxies, url: &str) -> Option<String> {
        let named = proxies.of(&url.parse().unwrap())?;
        let proxy = match &named.proxy {
            Ok(proxy) => proxy.to_string(),
            Err(unusable) => format!("{unusable:?}"),
        };
        Some(format!("{} {proxy}", named.variable))
    }

    const HTTPS: &str = "https://lambda.us-east-1.amazonaws.com/";
    const HTTP: &str = "http://lambda.test:4566/";

    #[test]
    fn variables() {
        let none = proxies(&[]);
        assert_eq!((through(&none, HTTPS), through(&none, HTTP)), (None, None));
        let both = proxies(&[
            ("HTTPS_PROXY", "http://one:1"),
            ("HTTP_PROXY", "https://two:2/"),
        ]);
        assert_eq!(through(&both, HTTPS).unwrap(), "HTTPS_PROXY http://one:1");
        assert_eq!(through(&both, HTTP).unwrap(), "HTTP_PROXY https://two:2");
        // As curl and AWS's tools have it, what is written small comes first, and what is empty is not there.
        let small = proxies(&[("HTTPS_PROXY", "one:1"), ("https_proxy", "two:2")]);
        assert_eq!(through(&small, HTTPS).unwrap(), "https_proxy http://two:2");
        assert_eq!(through(&small, HTTP), None);
        let all = proxies(&[
            ("https_proxy", ""),
            ("HTTPS_PROXY", " "),
            ("ALL_PROXY", "all:3"),
        ]);
        assert_eq!(through(&all, HTTPS).unwrap(), "ALL_PROXY http://all:3");
        assert_eq!(through(&all, HTTP).unwrap(), "ALL_PROXY http://all:3");
    }

    #[test]
    fn values_that_name_no_proxy() {
        let of = |value| through(&proxies(&[("HTTPS_PROXY", value)]), HTTPS).unwrap();
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
                ["HTTPS_PROXY Malformed", "HTTPS_PROXY Scheme"].contains(&&*of(value)),
                "{value}: {}",
                of(value)
            );
        }
        assert_eq!(of("socks5://proxy:1080"), "HTTPS_PROXY Scheme");
        assert_eq!(of("HTTP://proxy:1080"), "HTTPS_PROXY http://proxy:1080");
        assert_eq!(
            of("http://user:p%40ss@proxy:3128/any?x"),
            "HTTPS_PROXY http://proxy:3128"
        );
        assert_eq!(of("user:pw@proxy"), "HTTPS_PROXY http://proxy");
        assert_eq!(of("http://[::1]:3128"), "HTTPS_PROXY http://[::1]:3128");
    }

    #[test]
    fn names_and_passwords_are_decoded() {
        let named = proxies(&[("HTTPS_PROXY", "http://us%3Aer:p%40ss%25@proxy")]);
        let proxy = named.of(&HTTPS.parse().unwrap()).unwrap().proxy.clone();
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
        assert_eq!(decoded("%4"), "%4");
    }

    #[test]
    fn hosts_without_a_proxy() {
        let is_direct = |rules, url| {
            let proxies = proxies(&[("ALL_PROXY", "proxy"), ("NO_PROXY", rules)]);
            through(&proxies, url).is_none()
        };
        for (rules, url) in [
            ("*", HTTPS),
            ("lambda.us-east-1.amazonaws.com", HTTPS),
            ("LAMBDA.us-east-1.AmazonAWS.com", HTTPS),
            ("amazonaws.com", HTTPS),
            (".amazonaws.com", HTTPS),
            ("*.amazonaws.com", HTTPS),
            ("a.b, .amazonaws.com ,c", HTTPS),
            ("a.b .amazonaws.com", HTTPS),
            ("amazonaws.com:443", HTTPS),
            (".amazonaws.com:443", HTTPS),
            ("lambda.test:4566", HTTP),
            ("lambda.test", HTTP),
            ("10.1.2.3", "https://10.1.2.3/"),
            ("10.0.0.0/8", "https://10.1.2.3/"),
            ("10.0.0.0/8:443", "https://10.1.2.3/"),
            ("10.1.2.3:443", "https://10.1.2.3/"),
            ("2001:db8::1", "https://[2001:db8::1]/"),
            ("2001:db8::/32", "https://[2001:db8::1]/"),
            ("[2001:db8::1]", "https://[2001:db8::1]/"),
            ("[2001:db8::1]:443", "https://[2001:db8::1]/"),
        ] {
            assert!(is_direct(rules, url), "{rules} has {url}");
        }
        for (rules, url) in [
            ("", HTTPS),
            ("notamazonaws.com", HTTPS),
            ("mazonaws.com", HTTPS),
            ("amazonaws.com:80", HTTPS),
            ("lambda.test:80", HTTP),
            ("lambda.test:x", HTTP),
            ("10.0.0.0/8", HTTPS),
            ("10.1.2.3:80", "https://10.1.2.3/"),
            ("10.1.2.4", "https://10.1.2.3/"),
            ("[2001:db8::1]:80", "https://[2001:db8::1]/"),
        ] {
            assert!(!is_direct(rules, url), "{rules} does not have {url}");
        }
    }

    #[test]
    fn credentials_never_go_through_a_proxy() {
        let all = proxies(&[
            ("ALL_PROXY", "http://proxy:3128"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://meta.test:81"),
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "https://vault.test/keys",
            ),
        ]);
        for url in [
            "http://169.254.169.254/latest/api/token",
            "http://[fd00:ec2::254]/latest/api/token",
            "http://169.254.170.2/v2/credentials",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://[::ffff:169.254.169.254]/",
            "http://127.0.0.1:8080/keys",
            "http://127.8.9.1/keys",
            "http://[::1]:8080/keys",
            "http://localhost:8080/keys",
            "http://LocalHost./keys",
            "http://a.localhost/keys",
            "http://meta.test:81/latest",
        ] {
            assert_eq!(through(&all, url), None, "{url}");
        }
        for url in [
            "http://169.254.169.253/",
            "http://localhost.test/",
            "http://meta.test/latest",
            // Encrypted on its way.
            "https://vault.test/keys",
        ] {
            assert!(through(&all, url).is_some(), "{url}");
        }
        let of_profile = Proxies::read(
            |name| (name == "ALL_PROXY").then(|| "p".to_owned()),
            Some("http://meta.test"),
        );
        assert_eq!(through(&of_profile, "http://meta.test/latest"), None);
    }
}
