//! What a message may not have in it, though an endpoint, or something in its place, sends it back to us.

use super::files;
use super::proxies::Proxies;
use regex_lite::Regex;
use std::sync::LazyLock;

static SIGNATURE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("[0-9a-fA-F]{64,}").ok());

/// Fewest bytes of a secret.
const SHORTEST: usize = 16;
/// Fewest bytes of a proxy's password: people choose these.
const SHORTEST_OF_PEOPLE: usize = 4;

/// Secrets of one attempt. Without `Debug`, so that none ends up in a message.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// What is shorter than any of AWS's is none: an emulator's `test` is part of many a word.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Secrets {
        Secrets(
            (secrets.into_iter())
                .filter(|secret| secret.len() >= SHORTEST)
                .collect(),
        )
    }

    /// What the machine gives a client as credentials, or to ask for them with.
    pub fn of_machine() -> Vec<String> {
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

    /// The same and one more.
    pub fn and(&self, secret: Option<&str>) -> Secrets {
        let mut secrets = self.clone();
        secrets.0.extend(Secrets::new(secret.map(str::to_owned)).0);
        secrets
    }

    /// The same and what the machine's proxies are told.
    pub fn and_of_proxies(self) -> Secrets {
        self.and_of_people(Proxies::secrets())
    }

    fn and_of_people(mut self, secrets: Vec<String>) -> Secrets {
        let mut secrets: Vec<String> = (secrets.into_iter())
            .filter(|secret| secret.len() >= SHORTEST_OF_PEOPLE)
            .collect();
        // One may be a part of another, of which nothing is to be left.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.0.extend(secrets);
        self
    }

    /// The text with stars in their place, and in that of what can be a signature: who has one can send the request again.
    pub fn hide(&self, text: &str) -> String {
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

    // What can't be printed is not printed by mistake.
    static_assertions::assert_not_impl_any!(Secrets: std::fmt::Debug);
    static_assertions::assert_not_impl_any!(Keys: std::fmt::Debug);
    static_assertions::assert_not_impl_any!(ClientConfig: std::fmt::Debug);
    static_assertions::assert_not_impl_any!(Client: std::fmt::Debug);
    static_assertions::assert_not_impl_any!(crate::lambda::machine::Machine: std::fmt::Debug);

    #[test]
    fn they_are_hidden_wherever_they_are() {
        let (one, other) = ("1".repeat(SHORTEST), "2".repeat(40));
        let secrets = Secrets::new([one.clone(), "test".to_owned()]).and(Some(&other));
        assert_eq!(
            secrets.hide(&format!("{one}, {other}={one}{one}.")),
            "***, ***=******."
        );
        assert_eq!(secrets.and(None).hide("a test"), "a test");
        let told = vec!["pass".to_owned(), "password".to_owned(), "abc".to_owned()];
        assert_eq!(
            (secrets.clone().and_of_people(told)).hide(&format!("password, pass, {other}, abc")),
            "***, ***, ***, abc"
        );
        let signature = format!("Signature={}, and", "0f".repeat(32));
        assert_eq!(secrets.hide(&signature), "Signature=***, and");
    }
}
