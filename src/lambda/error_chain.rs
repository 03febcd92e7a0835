//! Errors and their sources, and texts of them for messages.

use super::secrets::Secrets;
use crate::error::quotable;
use std::error::Error as StdError;

/// An error and its sources. The `source` of an `io::Error` skips the error inside it, so that one is taken instead.
pub fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(
        Some(error),
        |error: &&'a (dyn StdError + 'static)| match error.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as _),
            None => (*error).source(),
        },
    )
}

/// The first error of a type among an error and its sources.
pub fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    chain(error).find_map(|error| error.downcast_ref::<T>())
}

/// The text of the innermost error, without secrets, as a sentence.
pub fn root_sentence(error: &(dyn StdError + 'static), secrets: &Secrets) -> String {
    sentence(&secrets.redact(&innermost(error)))
}

/// The text of the innermost error.
pub fn innermost(error: &(dyn StdError + 'static)) -> String {
    (chain(error).last()).map_or_else(String::new, |error| error.to_string())
}

/// The first line of AWS's message. For a wrong signature the other lines show the request, with the session token.
pub fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

fn sentence(text: &str) -> String {
    capitalized(&quotable(text.trim_end_matches('.')))
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_signature_does_not_show_the_request() {
        let message = "The request signature we calculated does not match the signature you provided.\n\n\
            The Canonical String for this request should have been\n'POST\nx-amz-security-token:secret\n'";
        assert_eq!(
            first_line(message),
            "The request signature we calculated does not match the signature you provided."
        );
    }

    #[test]
    fn sentences() {
        assert_eq!(
            sentence("invalid version parsed."),
            "Invalid version parsed."
        );
        assert_eq!(sentence(""), "");
    }
}
