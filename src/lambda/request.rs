//! A checked request, made of the values of a row's input columns.
//!
//! Knows the Invoke API's rules and nothing of PostgreSQL or the SDK. Which function exists is left to Lambda.

use crate::error::{Error, RequestError};
use crate::lambda::name::{
    FunctionName, check_durable_execution_name, check_qualifier, check_tenant_id,
};
use crate::lambda::region::check_region;
use base64::Engine;
use bytes::Bytes;
use std::rc::Rc;
use std::sync::Arc;

/// Most bytes of a client context in base64.
pub const MAX_CLIENT_CONTEXT: usize = 3583;

/// Most bytes of a payload of a request or a response.
pub const MAX_PAYLOAD: usize = 6 << 20;

/// Most bytes of an event's payload.
const MAX_EVENT: usize = 1 << 20;

/// Most bytes that are kept of a name or keyword. What is longer is invalid in any case.
const MAX_WORD: usize = 4096;

/// The invocation type of a call that names none.
const DEFAULT_TYPE: &str = "RequestResponse";

/// How a function is invoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum InvocationType {
    /// Wait for the response.
    #[default]
    RequestResponse,
    /// Queue the event and return at once.
    Event,
    /// Check access without running the function.
    DryRun,
}

impl InvocationType {
    /// Every value, as the API spells it.
    pub const ALL: [(&'static str, InvocationType); 3] = [
        ("RequestResponse", InvocationType::RequestResponse),
        ("Event", InvocationType::Event),
        ("DryRun", InvocationType::DryRun),
    ];

    /// Reads the API's spelling; case matters.
    pub fn parse(given: &str) -> Result<InvocationType, Error> {
        one_of("invocation_type", given, &Self::ALL)
    }
}

/// Whether the tail of the execution log comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LogType {
    /// No log.
    #[default]
    None,
    /// The last 4 KB.
    Tail,
}

impl LogType {
    /// Every value, as the API spells it.
    pub const ALL: [(&'static str, LogType); 2] =
        [("None", LogType::None), ("Tail", LogType::Tail)];

    /// Reads the API's spelling; case matters.
    pub fn parse(given: &str) -> Result<LogType, Error> {
        one_of("log_type", given, &Self::ALL)
    }
}

fn one_of<T: Copy>(what: &'static str, given: &str, all: &[(&str, T)]) -> Result<T, Error> {
    all.iter()
        .find(|(name, _)| *name == given)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
            let is_meant = |name: &&&str| name.eq_ignore_ascii_case(given.trim());
            Error::Request(RequestError::InvalidValue {
                what,
                value: given.to_owned(),
                allowed: match names.iter().find(is_meant) {
                    Some(name) => format!("Write {name}, in exactly this spelling."),
                    None => format!(
                        "Allowed are {}, in exactly this spelling.",
                        names.join(", ")
                    ),
                },
            })
        })
}

/// The values of a row's input columns; `None` is "not given". Rows share the texts that options fix.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inputs {
    /// Name, partial ARN or ARN.
    pub function_name: Option<Arc<str>>,
    /// Where the function is.
    pub region: Option<Arc<str>>,
    /// UTF-8 bytes to send as they are.
    pub payload: Option<Bytes>,
    /// See [`InvocationType`].
    pub invocation_type: Option<Arc<str>>,
    /// See [`LogType`].
    pub log_type: Option<Arc<str>>,
    /// JSON text of the client context.
    pub context: Option<String>,
    /// Alias or version.
    pub qualifier: Option<Arc<str>>,
    /// Whom the function runs for.
    pub tenant_id: Option<Arc<str>>,
    /// What Lambda knows equal requests by.
    pub durable_execution_name: Option<Arc<str>>,
    /// Most bytes of a payload, where it is another number than Lambda's.
    pub max_payload: Option<usize>,
    /// Whether a payload that is made of fields is an array of them.
    pub are_arguments: bool,
    /// Bytes of a payload that is not here, being too large for any invocation.
    pub too_large: Option<usize>,
}

/// What a row gives: inputs, which many rows often share, and a payload.
#[derive(Debug)]
pub struct Given {
    /// All but the payload.
    pub inputs: Rc<Inputs>,
    /// UTF-8 bytes to send as they are.
    pub payload: Option<Bytes>,
    /// Bytes of a payload that is not here, being too large for any invocation.
    pub too_large: Option<usize>,
}

impl From<Inputs> for Given {
    fn from(mut inputs: Inputs) -> Given {
        let (payload, too_large) = (inputs.payload.take(), inputs.too_large.take());
        Given {
            inputs: Rc::new(inputs),
            payload,
            too_large,
        }
    }
}

/// A request that Lambda's grammar accepts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InvokeRequest {
    /// All but the payload.
    pub head: Arc<Head>,
    /// The bytes to send, which are not copied for another attempt; `None` sends no payload.
    pub payload: Option<Bytes>,
    /// How many rows share it.
    pub rows: usize,
}

/// What a request has beside the payload.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// Name or ARN, without the qualifier.
    pub function_name: String,
    /// From the row or from the ARN; `None` leaves it to the configuration.
    pub region: Option<String>,
    /// From the row or from the name.
    pub qualifier: Option<String>,
    /// Whom the function runs for.
    pub tenant_id: Option<String>,
    /// With it, Lambda makes equal requests one.
    pub durable_execution_name: Option<String>,
    /// See [`InvocationType`].
    pub invocation_type: InvocationType,
    /// See [`LogType`].
    pub log_type: LogType,
    /// Already in base64.
    pub client_context: Option<String>,
    /// Most bytes of a payload.
    pub most_payload: usize,
    /// Most bytes of a response that are expected.
    pub max_response: usize,
}

impl Inputs {
    /// Whether the invocation type is Event.
    pub fn is_event(&self) -> bool {
        self.invocation_type.as_deref() == Some("Event")
    }

    /// Most bytes of a payload, for any invocation type.
    pub fn most_payload(&self) -> usize {
        self.max_payload.unwrap_or(MAX_PAYLOAD)
    }

    /// The text of an input that is a name or a keyword.
    pub fn word(mut bytes: Vec<u8>) -> Arc<str> {
        bytes.truncate(MAX_WORD);
        Inputs::text(bytes).into()
    }

    /// The text of an input. It is UTF-8, but may have been cut inside a character.
    pub fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// Reads a function name that is a row literal of name and region, such as `(my-function,us-west-2)`. psql's `\\gset` makes such a text of
    /// the result of `aws_commons.create_lambda_function_arn`.
    ///
    /// With a text `aws_lambda.invoke(text, ...)` is called, which has a region behind the name. Arguments without names are then one parameter
    /// too early, and the invocation type is in `region`. This moves them back.
    pub fn with_row_literal(mut self) -> Inputs {
        let structure = (self.function_name.as_deref())
            .and_then(|name| name.strip_prefix('(')?.strip_suffix(')')?.split_once(','));
        let Some((name, region)) = structure else {
            return self;
        };
        let field = |text: &str| {
            Some(text.trim_matches('"'))
                .filter(|text| !text.is_empty())
                .map(Arc::from)
        };
        let (name, region) = (field(name), field(region));
        if let Some(third) = self.region {
            let fourth = self.invocation_type.replace(third);
            let fifth = self.log_type.take();
            self.log_type = match fourth {
                Some(fourth) if *fourth != *DEFAULT_TYPE => Some(fourth),
                _ => fifth.filter(|fifth| **fifth == *"Tail"),
            };
        }
        self.function_name = name;
        self.region = region;
        self
    }

    /// As [`with_row_literal`](Self::with_row_literal), unless options fix an input that may be moved.
    pub fn with_row_literal_unless_fixed(self, fixed: &Inputs) -> Inputs {
        match (&fixed.region, &fixed.invocation_type, &fixed.log_type) {
            (None, None, None) => self.with_row_literal(),
            _ => self,
        }
    }
}

/// Checks inputs, and makes requests of them. Rows often differ in nothing but the payload, so the head that was checked last is kept.
#[derive(Default)]
pub struct Checker {
    /// The inputs, and what was made of them.
    last: Option<(Rc<Inputs>, Arc<Head>)>,
}

impl Checker {
    /// Makes a request; see [`InvokeRequest::new`].
    pub fn request(&mut self, given: Given) -> Result<InvokeRequest, Error> {
        let Given {
            inputs,
            payload,
            too_large,
        } = given;
        let bytes = too_large.or(payload.as_ref().map(Bytes::len));
        let checked = match self.last.take() {
            Some(last) if Rc::ptr_eq(&last.0, &inputs) || last.0 == inputs => last,
            _ => {
                let head = Arc::new(Head::new(&inputs)?);
                (inputs, head)
            }
        };
        let (given, head) = self.last.insert(checked);
        if let Some(bytes) = bytes.filter(|bytes| *bytes > head.most_payload) {
            let error = Error::Request(RequestError::PayloadTooLarge {
                is_event: head.invocation_type == InvocationType::Event,
                bytes,
                limit: head.most_payload,
            });
            return Err(error.of_unsent(given.function_name.as_deref().unwrap_or_default()));
        }
        Ok(InvokeRequest {
            head: head.clone(),
            payload,
            rows: 1,
        })
    }
}

impl InvokeRequest {
    /// Checks the inputs, and makes a request of them.
    ///
    /// Errors if the function's name is missing, if a value is outside the API's grammar, and if `region` or `qualifier` contradicts the name.
    pub fn new(inputs: Inputs) -> Result<InvokeRequest, Error> {
        Checker::default().request(inputs.into())
    }

    /// Whether it differs from another one in nothing but the payload and the number of rows. With a durable execution name it is an execution of
    /// its own.
    pub fn may_share(&self, other: &InvokeRequest) -> bool {
        self.head.durable_execution_name.is_none() && self.head == other.head
    }
}

impl Head {
    fn new(inputs: &Inputs) -> Result<Head, Error> {
        let given = inputs
            .function_name
            .as_deref()
            .ok_or(Error::Request(RequestError::NoFunctionName))?;
        Head::of_function(given, inputs).map_err(|error| error.of_unsent(given))
    }

    fn of_function(given: &str, inputs: &Inputs) -> Result<Head, Error> {
        let name = FunctionName::parse(given)?;
        if let Some(region) = &inputs.region {
            check_region(region)?;
        }
        if let Some(qualifier) = &inputs.qualifier {
            check_qualifier(qualifier)?;
        }
        if let Some(tenant) = &inputs.tenant_id {
            check_tenant_id(tenant)?;
        }
        if let Some(name) = &inputs.durable_execution_name {
            check_durable_execution_name(name)?;
        }
        let region = agree("region", owned(&inputs.region), name.region)?;
        let qualifier = agree("qualifier", owned(&inputs.qualifier), name.qualifier)?;
        let invocation_type = match &inputs.invocation_type {
            Some(given) => InvocationType::parse(given)?,
            None => InvocationType::default(),
        };
        let log_type = match &inputs.log_type {
            Some(given) => LogType::parse(given)?,
            None => LogType::default(),
        };
        let context = inputs.context.as_deref();
        let encoded = context.map_or(0, |context| context.len().div_ceil(3) * 4);
        if encoded > MAX_CLIENT_CONTEXT {
            return Err(Error::Request(RequestError::ContextTooLong {
                length: encoded,
                limit: MAX_CLIENT_CONTEXT,
            }));
        }
        Ok(Head {
            most_payload: inputs.max_payload.unwrap_or(match invocation_type {
                InvocationType::Event => MAX_EVENT,
                InvocationType::RequestResponse | InvocationType::DryRun => MAX_PAYLOAD,
            }),
            max_response: inputs.max_payload.unwrap_or_default().max(MAX_PAYLOAD),
            function_name: name.name,
            region,
            qualifier,
            tenant_id: owned(&inputs.tenant_id),
            durable_execution_name: owned(&inputs.durable_execution_name),
            invocation_type,
            log_type,
            client_context: context
                .map(|context| base64::engine::general_purpose::STANDARD.encode(context)),
        })
    }

    /// Name or ARN, with the qualifier.
    pub fn full_name(&self) -> String {
        match &self.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", self.function_name),
            None => self.function_name.clone(),
        }
    }
}

fn owned(text: &Option<Arc<str>>) -> Option<String> {
    text.as_deref().map(str::to_owned)
}

fn agree(
    what: &'static str,
    argument: Option<String>,
    in_name: Option<String>,
) -> Result<Option<String>, Error> {
    match (argument, in_name) {
        (Some(argument), Some(in_name)) if argument != in_name => {
            Err(Error::Request(RequestError::Contradiction {
                what,
                argument,
                in_name,
            }))
        }
        (argument, in_name) => Ok(argument.or(in_name)),
    }
}

#[cfg(test)]
mod tests;
