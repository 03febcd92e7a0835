//! The route of a request, for messages: the URL, where the URL comes from, and the proxy.

use aws_config::{Region, SdkConfig};
use aws_types::service_config::ServiceConfigKey;
use http::Uri;
use std::fmt;

/// The route of one request.
pub struct Route {
    pub url: Uri,
    /// Where the endpoint's URL comes from, in words.
    pub named_by: String,
    /// The proxy, and the variable that names it.
    pub proxy: Option<String>,
}

impl Route {
    /// The endpoint that is connected to.
    pub fn endpoint(&self) -> String {
        self.describe(&self.origin())
    }

    /// The URL without its path, and without the user and password that a variable's URL may have.
    fn origin(&self) -> String {
        let scheme = self.url.scheme_str().unwrap_or_default();
        let authority = self.url.authority().map_or("", |whole| whole.as_str());
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!("{scheme}://{host}")
    }

    /// Whether the URL is https.
    pub fn is_secure(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    fn describe(&self, url: &str) -> String {
        let named_by = &self.named_by;
        match &self.proxy {
            Some(proxy) => format!("{url} ({named_by}) through {proxy}"),
            None => format!("{url} ({named_by})"),
        }
    }
}

/// The URL without user and password.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = (self.url.path_and_query()).map_or("", |path| path.as_str());
        f.write_str(&self.describe(&format!("{}{path}", self.origin())))
    }
}

/// Where the endpoint's URL comes from, if neither an option nor a setting gives it. The SDK does not report it.
pub fn named_by(config: &SdkConfig, region: &Region) -> String {
    let configured_url = |service| {
        let key = ServiceConfigKey::builder()
            .service_id(service)
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build();
        config.service_config()?.load_config(key.ok()?)
    };
    let Some(url) = configured_url("Lambda") else {
        return format!("AWS's own for {region}");
    };
    for name in ["AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"] {
        if std::env::var_os(name).is_some() {
            return format!("{name} of the server process");
        }
    }
    match configured_url("none of this name") == Some(url) {
        true => "endpoint_url of the AWS profile".to_owned(),
        false => "services of the AWS profile".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let route = Route {
            url: Uri::from_static("https://user:password@lambda.test:4566/functions/f?Qualifier=1"),
            named_by: "AWS_ENDPOINT_URL of the server process".to_owned(),
            proxy: None,
        };
        let named = "(AWS_ENDPOINT_URL of the server process)";
        assert_eq!(
            route.endpoint(),
            format!("https://lambda.test:4566 {named}")
        );
        assert_eq!(
            route.to_string(),
            format!("https://lambda.test:4566/functions/f?Qualifier=1 {named}")
        );
    }
}
