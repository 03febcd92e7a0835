//! The answers to questions about functions: the configuration of one, and pages of them.
//!
//! The endpoint is not trusted to keep to any format. Names and texts stay as they are, and their users have to check or quote them.

use super::api_request::{ListFunctions, MAX_MARKER};
use crate::error::{Error, Question};
use crate::memory;
use serde::Deserialize;

/// The configuration of a function, as far as it is of use here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", expecting = "a function")]
#[allow(missing_docs, reason = "the names are those of the API")]
pub struct FunctionConfiguration {
    pub function_name: String,
    pub function_arn: Option<String>,
    pub runtime: Option<String>,
    pub handler: Option<String>,
    pub role: Option<String>,
    pub description: Option<String>,
    pub version: Option<String>,
    pub state: Option<String>,
    pub package_type: Option<String>,
    pub last_modified: Option<String>,
    pub memory_size: Option<i32>,
    pub timeout: Option<i32>,
    pub code_size: Option<i64>,
    pub architectures: Option<Vec<String>>,
}

/// Most bytes in memory for each byte of an answer: a function may be nothing but its name.
const IN_MEMORY: usize = 40;

/// One page of functions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", expecting = "a page of functions")]
struct Page {
    functions: Vec<FunctionConfiguration>,
    next_marker: Option<String>,
}

/// Reads the answer to the question for one function.
pub fn read(body: &[u8], function_name: &str) -> Result<FunctionConfiguration, Error> {
    let question = || Question::Function(function_name.to_owned());
    serde_json::from_slice(body).map_err(|error| unreadable(question(), &error))
}

fn unreadable(question: Question, error: &serde_json::Error) -> Error {
    Error::bad_answer(question, format!("It is not what was asked for: {error}."))
}

/// The pages of one list, asked for one after the other.
#[derive(Debug)]
pub struct Pages {
    next: Option<ListFunctions>,
    /// A marker that was seen, and after how many pages the next one takes its place. A list that goes in a circle comes by it again.
    seen: Option<String>,
    count: u64,
    replaced_at: u64,
}

impl Pages {
    /// The pages of a region.
    pub fn new(region: Option<String>) -> Pages {
        Pages {
            next: Some(ListFunctions {
                region,
                marker: None,
            }),
            seen: None,
            count: 0,
            replaced_at: 1,
        }
    }

    /// The request for the next page; `None` after the last.
    pub fn next(&self) -> Option<&ListFunctions> {
        self.next.as_ref()
    }

    /// Reads the answer to that request.
    ///
    /// Errors if it is not Lambda's, or if it leads back to a page before.
    pub fn read(&mut self, body: &[u8]) -> Result<Vec<FunctionConfiguration>, Error> {
        memory::check_available(body.len().saturating_mul(IN_MEMORY), "list of functions")?;
        let page: Page = serde_json::from_slice(body)
            .map_err(|error| unreadable(Question::Functions, &error))?;
        let bad = |problem: &str| Err(Error::bad_answer(Question::Functions, problem.to_owned()));
        // Some endpoints mark the end by an empty text.
        let marker = page.next_marker.filter(|marker| !marker.is_empty());
        let Some(marker) = marker else {
            self.next = None;
            return Ok(page.functions);
        };
        if marker.len() > MAX_MARKER {
            return bad("The marker of the next page is too long.");
        }
        if self.seen.as_ref() == Some(&marker) {
            return bad("The list leads back to a page that was there before.");
        }
        self.count += 1;
        if self.count == self.replaced_at {
            self.seen = Some(marker.clone());
            self.replaced_at *= 2;
        }
        if let Some(next) = &mut self.next {
            next.marker = Some(marker);
        }
        Ok(page.functions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(marker: &str) -> Vec<u8> {
        format!(r#"{{"Functions": [{{"FunctionName": "f"}}], "NextMarker": "{marker}"}}"#).into()
    }

    #[test]
    fn a_list_that_goes_in_a_circle_ends_in_an_error() {
        for (before, round) in [(0, 1), (0, 2), (3, 1), (5, 7), (100, 30)] {
            let mut pages = Pages::new(None);
            let read = (0..10_000).map(|number: u64| match number < before {
                true => pages.read(&page(&format!("before {number}"))),
                false => pages.read(&page(&format!("round {}", number % round))),
            });
            let good = read.take_while(Result::is_ok).count() as u64;
            assert!(
                (before + round..4 * (before + round)).contains(&good),
                "{good}"
            );
        }
    }

    #[test]
    fn the_last_page_has_no_marker() {
        for last in [
            &page("")[..],
            br#"{"Functions": []}"#,
            br#"{"Functions": [], "NextMarker": null}"#,
        ] {
            let mut pages = Pages::new(Some("eu-west-1".to_owned()));
            assert!(pages.read(&page("a")).is_ok());
            let next = pages.next().cloned().unwrap_or_default();
            assert_eq!(next.region.as_deref(), Some("eu-west-1"));
            assert_eq!(next.marker.as_deref(), Some("a"));
            assert!(pages.read(last).is_ok());
            assert!(pages.next().is_none());
        }
    }

    #[test]
    fn what_is_not_lambdas_is_an_error() {
        let long = page(&"m".repeat(MAX_MARKER + 1));
        for body in [
            &b""[..],
            b"null",
            b"[]",
            b"{}",
            br#"{"Functions": 1}"#,
            br#"{"Functions": [{}]}"#,
            br#"{"Functions": [{"FunctionName": 5}]}"#,
            br#"{"Functions": [{"FunctionName": "f", "MemorySize": 1e99}]}"#,
            b"{\"Functions\": [{\"FunctionName\": \"\xff\"}]}",
            &long,
        ] {
            assert!(Pages::new(None).read(body).is_err());
            assert!(read(body, "f").is_err());
        }
    }
}
