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
        self.tell(&self.origin())
    }

    /// Without the user and password that a variable's URL may have.
    fn origin(&self) -> String {
        let scheme = self.url.scheme_str().unwrap_or_default();
        let authority = self.url.authority().map_or("", |whole| whole.as_str());
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!("{scheme}://{host}")
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

/// All of the URL but who asks.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = (self.url.path_and_query()).map_or("", |path| path.as_str());
        f.write_str(&self.tell(&format!("{}{path}", self.origin())))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_password_is_shown() {
        let way = Way {
            url: Uri::from_static("https://user:password@lambda.test:4566/functions/f?Qualifier=1"),
            named_by: "AWS_ENDPOINT_URL of the server process".to_owned(),
            proxy: None,
        };
        let named = "(AWS_ENDPOINT_URL of the server process)";
        assert_eq!(way.place(), format!("https://lambda.test:4566 {named}"));
        assert_eq!(
            way.to_string(),
            format!("https://lambda.test:4566/functions/f?Qualifier=1 {named}")
        );
    }
}
