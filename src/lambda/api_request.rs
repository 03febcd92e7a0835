//! A request of Lambda's API: an invocation, or a question about functions.
//!
//! A question has no effect and costs nothing. It is no invocation, and may be repeated. [`super::request`] checks invocations.

use super::name::{MAX_BARE_NAME, check_qualifier, is_name_byte};
use super::region::check_region;
use super::request::{Inputs, InvokeRequest, MAX_PAYLOAD};
use super::response::InvokeResponse;
use crate::error::{Cause, Error, Question};
use bytes::Bytes;
use std::sync::Arc;

/// Most bytes of a marker, which is part of a URL.
pub const MAX_MARKER: usize = 4096;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ApiRequest {
    /// Invoke.
    Invoke(InvokeRequest),
    /// ListFunctions.
    ListFunctions(ListFunctions),
    /// GetFunctionConfiguration.
    GetFunctionConfiguration(GetFunctionConfiguration),
}

/// A request for one page of the account's functions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ListFunctions {
    /// Whose functions; `None` leaves it to the configuration.
    pub region: Option<String>,
    /// What the page before says of the next one; `None` asks for the first.
    pub marker: Option<String>,
}

/// A request for the configuration of one function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GetFunctionConfiguration {
    /// The bare name.
    pub function_name: String,
    /// Where the function is; `None` leaves it to the configuration.
    pub region: Option<String>,
    /// Alias or version.
    pub qualifier: Option<String>,
}

impl From<InvokeRequest> for ApiRequest {
    fn from(request: InvokeRequest) -> ApiRequest {
        ApiRequest::Invoke(request)
    }
}

impl From<ListFunctions> for ApiRequest {
    fn from(request: ListFunctions) -> ApiRequest {
        ApiRequest::ListFunctions(request)
    }
}

impl From<GetFunctionConfiguration> for ApiRequest {
    fn from(request: GetFunctionConfiguration) -> ApiRequest {
        ApiRequest::GetFunctionConfiguration(request)
    }
}

impl ApiRequest {
    /// The question for one function or all of them. `None` where there can be no function of the name.
    pub fn of_functions(inputs: &Inputs) -> Result<Option<ApiRequest>, Error> {
        if let Some(region) = &inputs.region {
            check_region(region)?;
        }
        if let Some(qualifier) = &inputs.qualifier {
            check_qualifier(qualifier)?;
        }
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let region = text(&inputs.region);
        Ok(match &inputs.function_name {
            None => Some(ApiRequest::ListFunctions(ListFunctions {
                region,
                marker: None,
            })),
            Some(name) if !is_bare_name(name) => None,
            Some(name) => Some(ApiRequest::GetFunctionConfiguration(
                GetFunctionConfiguration {
                    function_name: name.to_string(),
                    region,
                    qualifier: text(&inputs.qualifier),
                },
            )),
        })
    }

    /// The question, if it is one.
    pub fn question(&self) -> Option<Question> {
        match self {
            ApiRequest::Invoke(_) => None,
            ApiRequest::ListFunctions(_) => Some(Question::Functions),
            ApiRequest::GetFunctionConfiguration(request) => {
                Some(Question::Function(request.function_name.clone()))
            }
        }
    }

    /// The region in the request; `None` leaves it to the configuration.
    pub fn region(&self) -> Option<&str> {
        match self {
            ApiRequest::Invoke(request) => request.head.region.as_deref(),
            ApiRequest::ListFunctions(request) => request.region.as_deref(),
            ApiRequest::GetFunctionConfiguration(request) => request.region.as_deref(),
        }
    }

    /// The function with its qualifier; empty where it is about all functions.
    pub fn full_name(&self) -> String {
        match self {
            ApiRequest::Invoke(request) => request.head.full_name(),
            ApiRequest::ListFunctions(_) => String::new(),
            ApiRequest::GetFunctionConfiguration(request) => request.function_name.clone(),
        }
    }

    /// What Lambda knows equal invocations by.
    pub fn durable_execution_name(&self) -> Option<&str> {
        match self {
            ApiRequest::Invoke(request) => request.head.durable_execution_name.as_deref(),
            _ => None,
        }
    }

    /// Bytes of the payload.
    pub fn payload_bytes(&self) -> usize {
        match self {
            ApiRequest::Invoke(request) => request.payload.as_ref().map_or(0, Bytes::len),
            _ => 0,
        }
    }

    /// How many rows share it.
    pub fn rows(&self) -> usize {
        match self {
            ApiRequest::Invoke(request) => request.rows,
            _ => 1,
        }
    }

    /// Most bytes of a response that are expected.
    pub fn max_response(&self) -> usize {
        match self {
            ApiRequest::Invoke(request) => request.head.max_response,
            _ => MAX_PAYLOAD,
        }
    }

    /// The result of this request. An error names the question. A function that is not there is the answer to the question for it.
    pub fn settle(&self, result: Result<InvokeResponse, Error>) -> Result<InvokeResponse, Error> {
        match (self, result) {
            (ApiRequest::GetFunctionConfiguration(_), Err(Error::Api(failure)))
                if failure.cause == Cause::NotFound =>
            {
                Ok(InvokeResponse::empty(404, None))
            }
            (_, Err(error)) => Err(match self.question() {
                Some(question) => error.of_question(question),
                None => error,
            }),
            (_, result) => result,
        }
    }

    /// An error of this request that was not sent.
    pub fn unsent(&self, error: Error) -> Error {
        match self.question() {
            Some(question) => error.of_question(question),
            None => error.of_unsent(&self.full_name()),
        }
    }
}

/// Whether a text is a function's name, and nothing else.
pub fn is_bare_name(name: &str) -> bool {
    (1..=MAX_BARE_NAME).contains(&name.len())
        && name.bytes().all(is_name_byte)
        && !matches!(name, "." | "..")
}
