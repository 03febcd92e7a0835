//! The proxy of a URL, by HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY of the server process, which are read as curl reads them.
//!
//! hyper-util matches hosts. This file adds the order of the variables, ports in NO_PROXY, and the addresses that are always connected to
//! directly. [`tunnel`](super::tunnel) makes the connections.

use super::proxy::{Proxy, ProxyVariable, secrets_of};
use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use std::net::IpAddr;

/// Addresses that credentials of instances, containers and pods come from. Through a proxy they would be sent in the clear.
const METADATA_ADDRESSES: [&str; 5] = [
    "169.254.169.254",
    "fd00:ec2::254",
    "169.254.170.2",
    "169.254.170.23",
    "fd00:ec2::23",
];

/// Variables with other URLs for these.
const METADATA_VARIABLES: [&str; 2] = [
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// The proxies of the server process.
pub struct Proxies {
    https: Option<ProxyVariable>,
    http: Option<ProxyVariable>,
    /// Rules of NO_PROXY.
    no_proxy: Vec<String>,
    /// Hosts and ports that credentials come from.
    metadata: Vec<(String, u16)>,
}

impl Proxies {
    /// Reads the environment of the process. `metadata_url` is the endpoint of the instance metadata service in the AWS profile.
    pub fn of_environment(metadata_url: Option<&str>) -> Proxies {
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
            first(names).map(|(name, value)| ProxyVariable {
                name,
                proxy: Proxy::parse(&value),
            })
        };
        let (_, no_proxy) = first(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        let metadata = METADATA_VARIABLES
            .into_iter()
            .filter_map(&value)
            .chain(metadata_url.map(str::to_owned))
            .filter_map(|url| {
                let url: Uri = url.trim().parse().ok()?;
                // An encrypted request may go through a proxy.
                (url.scheme_str() == Some("http")).then_some(())?;
                Some((host_of(&url).to_owned(), port_of(&url)))
            })
            .collect();
        Proxies {
            https: named(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            http: named(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]),
            no_proxy: no_proxy
                .split(|at: char| at == ',' || at.is_whitespace())
                .filter(|rule| !rule.is_empty())
                .map(str::to_owned)
                .collect(),
            metadata,
        }
    }

    /// The proxy for a URL.
    pub fn of(&self, url: &Uri) -> Option<&ProxyVariable> {
        let named = match url.scheme_str() {
            Some("https") => self.https.as_ref()?,
            _ => self.http.as_ref()?,
        };
        let is_direct = self.is_local_or_metadata(url) || self.is_in_no_proxy(url);
        (!is_direct).then_some(named)
    }

    /// Whether the host is this machine, or a source of credentials.
    fn is_local_or_metadata(&self, url: &Uri) -> bool {
        let host = host_of(url);
        let is_local = match host.parse::<IpAddr>() {
            Ok(address) => {
                let address = address.to_canonical();
                address.is_loopback()
                    || METADATA_ADDRESSES
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

    /// Whether NO_PROXY has the host.
    fn is_in_no_proxy(&self, url: &Uri) -> bool {
        let port = port_of(url);
        let rules: Vec<&str> = (self.no_proxy.iter())
            .filter_map(|rule| match split_port(rule) {
                (host, Some(of)) => (of.parse() == Ok(port)).then_some(host),
                (host, None) => Some(host),
            })
            // curl does not know `*.name`, but it is often written.
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

    /// The passwords of the proxies.
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

/// The host of a URL, without the brackets of an IPv6 address.
pub fn host_of(url: &Uri) -> &str {
    let host = url.host().unwrap_or_default();
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// The port of a URL, else the default of its scheme.
pub fn port_of(url: &Uri) -> u16 {
    let default = match url.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    url.port_u16().unwrap_or(default)
}

/// The host of a rule, without brackets, and its port.
fn split_port(rule: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = rule.strip_prefix('[').and_then(|rule| rule.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match rule.split_once(':') {
        // More than one colon is an IPv6 address without a port.
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (rule, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            Err(invalid) => format!("{invalid:?}"),
        };
        Some(format!("{} {proxy}", named.name))
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
        // As in curl and AWS's tools, lower case comes first, and an empty variable is ignored.
        let lower = proxies(&[("HTTPS_PROXY", "one:1"), ("https_proxy", "two:2")]);
        assert_eq!(through(&lower, HTTPS).unwrap(), "https_proxy http://two:2");
        assert_eq!(through(&lower, HTTP), None);
        let all = proxies(&[
            ("https_proxy", ""),
            ("HTTPS_PROXY", " "),
            ("ALL_PROXY", "all:3"),
        ]);
        assert_eq!(through(&all, HTTPS).unwrap(), "ALL_PROXY http://all:3");
        assert_eq!(through(&all, HTTP).unwrap(), "ALL_PROXY http://all:3");
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
    fn credentials_are_requested_without_a_proxy() {
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
            // This request is encrypted.
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
