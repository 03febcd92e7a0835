//! Secrets that messages may not show. An endpoint, or a server in its place, may send them back.

use super::files;
use super::proxies::Proxies;
use regex_lite::Regex;
use std::sync::LazyLock;

static SIGNATURE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("[0-9a-fA-F]{64,}").ok());

/// Shortest secret that is redacted.
const SHORTEST: usize = 16;
/// Shortest password of a proxy that is redacted. People choose these.
const SHORTEST_PASSWORD: usize = 4;

/// Secrets of one attempt. There is no `Debug`, so that none ends up in a message.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// A text shorter than any secret of AWS is ignored: an emulator's `test` is part of many words.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Secrets {
        Secrets(
            (secrets.into_iter())
                .filter(|secret| secret.len() >= SHORTEST)
                .collect(),
        )
    }

    /// The credentials in the environment, and the tokens with which credentials are requested.
    pub fn of_environment() -> Vec<String> {
        let named = |name: &str| std::env::var(name).ok();
        let file = named("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
            .and_then(|path| files::read(path.as_ref()).ok())
            .and_then(|token| String::from_utf8(token).ok());
        ([
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        ]
        .into_iter()
        .filter_map(named)
        .chain(file))
        .map(|secret| secret.trim().to_owned())
        .collect()
    }

    /// These secrets and another.
    pub fn with(&self, secret: Option<&str>) -> Secrets {
        let mut secrets = self.clone();
        secrets.0.extend(Secrets::new(secret.map(str::to_owned)).0);
        secrets
    }

    /// These secrets and the passwords of proxies.
    pub fn with_proxy_passwords(self) -> Secrets {
        self.with_passwords(Proxies::secrets())
    }

    fn with_passwords(mut self, secrets: Vec<String>) -> Secrets {
        let mut secrets: Vec<String> = (secrets.into_iter())
            .filter(|secret| secret.len() >= SHORTEST_PASSWORD)
            .collect();
        // A password may be part of a longer one, of which no part may be left.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.0.extend(secrets);
        self
    }

    /// The text with stars for secrets and for anything like a signature, with which a request can be sent again.
    pub fn redact(&self, text: &str) -> String {
        let text =
            (self.0.iter()).fold(text.to_owned(), |text, secret| text.replace(secret, "***"));
        match SIGNATURE.as_ref() {
            Some(signature) => signature.replace_all(&text, "***").into_owned(),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::{Client, ClientConfig, Keys};

    // A type without `Debug` is not printed by mistake.
    static_assertions::assert_not_impl_any!(Secrets: std::fmt::Debug);
    static_assertions::assert_not_impl_any!(Keys: std::fmt::Debug);
    static_assertions::assert_not_impl_any!(ClientConfig: std::fmt::Debug);
    static_assertions::assert_not_impl_any!(Client: std::fmt::Debug);
    static_assertions::assert_not_impl_any!(crate::lambda::shared_config::SharedConfig: std::fmt::Debug);

    #[test]
    fn secrets_are_redacted_wherever_they_are() {
        let (one, other) = ("1".repeat(SHORTEST), "2".repeat(40));
        let secrets = Secrets::new([one.clone(), "test".to_owned()]).with(Some(&other));
        assert_eq!(
            secrets.redact(&format!("{one}, {other}={one}{one}.")),
            "***, ***=******."
        );
        assert_eq!(secrets.with(None).redact("a test"), "a test");
        let passwords = vec!["pass".to_owned(), "password".to_owned(), "abc".to_owned()];
        assert_eq!(
            (secrets.clone().with_passwords(passwords))
                .redact(&format!("password, pass, {other}, abc")),
            "***, ***, ***, abc"
        );
        let signature = format!("Signature={}, and", "0f".repeat(32));
        assert_eq!(secrets.redact(&signature), "Signature=***, and");
    }
}
