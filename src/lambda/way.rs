//! The way to an endpoint, in words for a message: which URL was called, what names it, and through which proxy.

use aws_config::{Region, SdkConfig};
use aws_types::service_config::ServiceConfigKey;
use http::Uri;
use std::fmt;

/// The way of one request.
pub struct Way {
    pub url: Uri,
    /// What says that Lambda is there.
    pub named_by: String,
    /// The proxy and what names it.
    pub proxy: Option<String>,
}

impl Way {
    /// Where a connection goes.
    pub fn place(&self) -> String {
        let scheme = self.url.scheme_str().unwrap_or_default();
        let authority = self.url.authority().map_or("", |whole| whole.as_str());
        self.tell(&format!("{scheme}://{authority}"))
    }

    /// Whether TLS is spoken at the endpoint.
    pub fn is_secure(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    fn tell(&self, url: &str) -> String {
        let named_by = &self.named_by;
        match &self.proxy {
            Some(proxy) => format!("{url} ({named_by}) through {proxy}"),
            None => format!("{url} ({named_by})"),
        }
    }
}

/// All of the URL.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tell(&self.url.to_string()))
    }
}

/// What says where Lambda is, if neither option nor setting does: the SDK has looked, but does not tell.
pub fn named_by(found: &SdkConfig, region: &Region) -> String {
    let of_service = |service| {
        let key = ServiceConfigKey::builder()
            .service_id(service)
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build();
        found.service_config()?.load_config(key.ok()?)
    };
    let Some(url) = of_service("Lambda") else {
        return format!("AWS's own for {region}");
    };
    for name in ["AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"] {
        if std::env::var_os(name).is_some() {
            return format!("{name} of the server process");
        }
    }
    match of_service("none of this name") == Some(url) {
        true => "endpoint_url of the AWS profile".to_owned(),
        false => "services of the AWS profile".to_owned(),
    }
}
