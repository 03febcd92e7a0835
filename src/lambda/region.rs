//! Names of AWS Regions.

use crate::error::{Error, RequestError};
use regex_lite::Regex;
use std::sync::LazyLock;

/// A regular expression for a region's name.
pub const REGION: &str = r"(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d";

static REGION_ONLY: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(&format!(r"\A{REGION}\z")).ok());

/// Checks a region's name. It becomes part of a host name.
pub fn check_region(given: &str) -> Result<(), Error> {
    if is_region(given) {
        return Ok(());
    }
    Err(Error::Request(RequestError::InvalidValue {
        what: "region",
        value: given.to_owned(),
        allowed: match meant_region(given) {
            Some(region) => format!("Write {region}."),
            None => "A region looks like us-east-1 or us-gov-west-1.".to_owned(),
        },
    }))
}

fn is_region(given: &str) -> bool {
    is_common_region(given) || (REGION_ONLY.as_ref()).is_some_and(|regex| regex.is_match(given))
}

/// The region that an invalid name probably means. It may be in capitals, have another separator or none before the number, or name an
/// availability zone.
pub fn meant_region(given: &str) -> Option<String> {
    let plain =
        (given.trim_matches([' ', '\'', '"']).to_ascii_lowercase()).replace(['_', ' '], "-");
    let end = plain.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    let number = end.chars().last().filter(char::is_ascii_digit)?;
    // One letter behind the number names an availability zone.
    if plain.len() > end.len() + 1 {
        return None;
    }
    let name = end.strip_suffix(number)?.trim_end_matches('-');
    let region = format!("{name}-{number}");
    is_region(&region).then_some(region)
}

/// Whether the name looks like us-east-1. Most do, and each statement checks one, so these do without the regular expression.
fn is_common_region(given: &str) -> bool {
    let is_lower =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let mut parts = given.split('-');
    let four = (parts.next(), parts.next(), parts.next(), parts.next());
    matches!(four, (Some(country), Some(direction), Some(number), None)
        if country.len() == 2 && is_lower(country) && is_lower(direction)
            && number.len() == 1 && number.as_bytes()[0].is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions() {
        for region in [
            "us-east-1",
            "ap-southeast-7",
            "us-gov-west-1",
            "us-iso-east-1",
            "us-isob-east-1",
            "eusc-de-east-1",
            "mx-central-1",
        ] {
            assert!(check_region(region).is_ok(), "{region}");
        }
    }

    #[test]
    fn invalid_regions() {
        for region in [
            "",
            "us-west",
            "us-west-2.evil.example",
            "US-WEST-2",
            "us-west-22",
            "us-west-2\n",
            "localhost",
            "us-west-2/",
            "x@us-west-2",
        ] {
            assert!(check_region(region).is_err(), "{region:?}");
        }
    }

    #[test]
    fn meant_regions() {
        for given in [
            "US-EAST-1",
            "us_east_1",
            "us-east1",
            "us-east-1a",
            " us-east-1",
            "'us-east-1'",
        ] {
            assert_eq!(meant_region(given).as_deref(), Some("us-east-1"), "{given}");
        }
        for given in [
            "",
            "Frankfurt",
            "prod",
            "1",
            "v1",
            "us-east",
            "us-east-1abc",
            "$LATEST",
            "é1",
        ] {
            assert_eq!(meant_region(given), None, "{given}");
        }
    }
}
