//! One invocation to be made: from the values bound to a row's input columns to a checked request.
//!
//! Knows the Invoke API's rules and nothing of PostgreSQL or the SDK. Which function exists is left to Lambda.

use crate::error::{Error, RequestError};
use crate::lambda::name::{
    FunctionName, check_durable_execution_name, check_qualifier, check_tenant_id,
};
use crate::lambda::region::check_region;
use base64::Engine;
use bytes::Bytes;

/// Most bytes of base64 that Lambda takes as client context.
pub const MAX_CLIENT_CONTEXT: usize = 3583;

/// Most bytes of a payload that Lambda takes and answers with.
pub const MAX_PAYLOAD: usize = 6 << 20;

/// Most bytes of an event.
const MAX_EVENT: usize = 1 << 20;

/// Most bytes of a text that may be a name or a word of the API's: what is longer is none, and need not be kept whole to say so.
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

/// What a row's input columns hold; `None` is "not given".
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Name, partial ARN or ARN.
    pub function_name: Option<String>,
    /// Where the function is.
    pub region: Option<String>,
    /// UTF-8 bytes to send as they are.
    pub payload: Option<Bytes>,
    /// See [`InvocationType`].
    pub invocation_type: Option<String>,
    /// See [`LogType`].
    pub log_type: Option<String>,
    /// JSON text of the client context.
    pub context: Option<String>,
    /// Alias or version.
    pub qualifier: Option<String>,
    /// Whom the function runs for.
    pub tenant_id: Option<String>,
    /// What Lambda knows equal requests by.
    pub durable_execution_name: Option<String>,
    /// Most bytes of a payload, where it is another number than Lambda's.
    pub max_payload: Option<usize>,
    /// Bytes of a payload that is not here, being too large for any invocation.
    pub too_large: Option<usize>,
}

/// A request that Lambda's grammar accepts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InvokeRequest {
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
    /// The bytes to send, which are not copied for another attempt; `None` sends no payload.
    pub payload: Option<Bytes>,
    /// Most bytes of a response that are expected.
    pub max_response: usize,
}

impl Inputs {
    /// Most bytes of a payload, whatever is done with it.
    pub fn most_payload(&self) -> usize {
        self.max_payload.unwrap_or(MAX_PAYLOAD)
    }

    /// The text of an input that is a name or a word.
    pub fn word(mut bytes: Vec<u8>) -> String {
        bytes.truncate(MAX_WORD);
        Inputs::text(bytes)
    }

    /// The text of any input, which is UTF-8 but where it was cut.
    pub fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// Takes a structure of name and region apart, such as `(my-function,us-west-2)`: psql's `\\gset` makes a text of what
    /// `aws_commons.create_lambda_function_arn` returns.
    ///
    /// `aws_lambda.invoke` takes that text for a name, so that the arguments behind it arrive one place further right, unless they
    /// were named. Then there is an invocation type where the region should be.
    pub fn with_row_literal(mut self) -> Inputs {
        let structure = (self.function_name.as_deref())
            .and_then(|name| name.strip_prefix('(')?.strip_suffix(')')?.split_once(','));
        let Some((name, region)) = structure else {
            return self;
        };
        let field =
            |text: &str| Some(text.trim_matches('"').to_owned()).filter(|text| !text.is_empty());
        let (name, region) = (field(name), field(region));
        if let Some(third) = self.region {
            let fourth = self.invocation_type.replace(third);
            let fifth = self.log_type.take();
            self.log_type = match fourth {
                Some(fourth) if fourth != DEFAULT_TYPE => Some(fourth),
                _ => fifth.filter(|fifth| fifth == "Tail"),
            };
        }
        self.function_name = name;
        self.region = region;
        self
    }

    /// The same, but not where options fix any of what may be moved.
    pub fn with_row_literal_unless_fixed(self, fixed: &Inputs) -> Inputs {
        match (&fixed.region, &fixed.invocation_type, &fixed.log_type) {
            (None, None, None) => self.with_row_literal(),
            _ => self,
        }
    }
}

impl InvokeRequest {
    /// Checks the inputs and puts them together.
    ///
    /// Errors when the function's name is missing, when a value is outside the API's grammar, and when
    /// `region` or `qualifier` contradicts the name.
    pub fn new(mut inputs: Inputs) -> Result<InvokeRequest, Error> {
        let given = inputs
            .function_name
            .take()
            .ok_or(Error::Request(RequestError::NoFunctionName))?;
        InvokeRequest::of_function(&given, inputs).map_err(|error| error.of_unsent(&given))
    }

    fn of_function(given: &str, inputs: Inputs) -> Result<InvokeRequest, Error> {
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
        let region = agree("region", inputs.region, name.region)?;
        let qualifier = agree("qualifier", inputs.qualifier, name.qualifier)?;
        let invocation_type = match &inputs.invocation_type {
            Some(given) => InvocationType::parse(given)?,
            None => InvocationType::default(),
        };
        let log_type = match &inputs.log_type {
            Some(given) => LogType::parse(given)?,
            None => LogType::default(),
        };
        let encoded = (inputs.context.as_ref()).map_or(0, |context| context.len().div_ceil(3) * 4);
        if encoded > MAX_CLIENT_CONTEXT {
            return Err(Error::Request(RequestError::ContextTooLong {
                length: encoded,
                limit: MAX_CLIENT_CONTEXT,
            }));
        }
        let client_context = inputs
            .context
            .map(|context| base64::engine::general_purpose::STANDARD.encode(context));
        let limit = inputs.max_payload.unwrap_or(match invocation_type {
            InvocationType::Event => MAX_EVENT,
            InvocationType::RequestResponse | InvocationType::DryRun => MAX_PAYLOAD,
        });
        let bytes = inputs.payload.as_ref().map(Bytes::len).or(inputs.too_large);
        if let Some(bytes) = bytes.filter(|bytes| *bytes > limit) {
            return Err(Error::Request(RequestError::PayloadTooLarge {
                is_event: invocation_type == InvocationType::Event,
                bytes,
                limit,
            }));
        }
        Ok(InvokeRequest {
            max_response: inputs.max_payload.unwrap_or_default().max(MAX_PAYLOAD),
            function_name: name.name,
            region,
            qualifier,
            tenant_id: inputs.tenant_id,
            durable_execution_name: inputs.durable_execution_name,
            invocation_type,
            log_type,
            client_context,
            payload: inputs.payload,
        })
    }
}

impl InvokeRequest {
    /// Name or ARN, and the qualifier.
    pub fn full_name(&self) -> String {
        match &self.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", self.function_name),
            None => self.function_name.clone(),
        }
    }
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
mod tests {
    use super::*;

    fn inputs(function_name: &str) -> Inputs {
        Inputs {
            function_name: Some(function_name.to_owned()),
            ..Inputs::default()
        }
    }

    /// Why no request can be made of the inputs.
    fn refusal(inputs: Inputs) -> Error {
        match InvokeRequest::new(inputs) {
            Err(Error::Of(_, error)) => *error,
            Err(error) => error,
            Ok(_) => Error::Unexpected("a request could be made"),
        }
    }

    #[test]
    fn defaults() {
        let request = InvokeRequest::new(inputs("f")).unwrap();
        assert_eq!(request.invocation_type, InvocationType::RequestResponse);
        assert_eq!(request.log_type, LogType::None);
        assert_eq!(request.payload, None);
        assert_eq!(request.region, None);
    }

    #[test]
    fn a_name_is_required() {
        assert!(matches!(
            InvokeRequest::new(Inputs::default()),
            Err(Error::Request(RequestError::NoFunctionName))
        ));
    }

    #[test]
    fn region_and_qualifier_come_from_either_side_and_must_agree() {
        let arn = "arn:aws:lambda:us-west-2:123456789012:function:f:v1";
        let request = InvokeRequest::new(inputs(arn)).unwrap();
        assert_eq!(
            request.function_name,
            "arn:aws:lambda:us-west-2:123456789012:function:f"
        );
        assert_eq!(request.region.as_deref(), Some("us-west-2"));
        assert_eq!(request.qualifier.as_deref(), Some("v1"));

        let same = Inputs {
            region: Some("us-west-2".into()),
            qualifier: Some("v1".into()),
            ..inputs(arn)
        };
        assert!(InvokeRequest::new(same).is_ok());
        let other = Inputs {
            region: Some("eu-west-1".into()),
            ..inputs(arn)
        };
        assert!(matches!(
            refusal(other),
            Error::Request(RequestError::Contradiction { what: "region", .. })
        ));
        let other = Inputs {
            qualifier: Some("v2".into()),
            ..inputs(arn)
        };
        assert!(matches!(
            refusal(other),
            Error::Request(RequestError::Contradiction {
                what: "qualifier",
                ..
            })
        ));
    }

    #[test]
    fn a_structure_moves_what_follows_it() {
        let call = |name: &str, others: [Option<&str>; 3]| {
            let [region, invocation_type, log_type] = others.map(|other| other.map(str::to_owned));
            let given = Inputs {
                region,
                invocation_type,
                log_type,
                ..inputs(name)
            };
            InvokeRequest::new(given.with_row_literal())
        };
        let request = call("(f,us-west-2)", [None, Some("DryRun"), Some("Tail")]).unwrap();
        assert_eq!(request.function_name, "f");
        assert_eq!(request.region.as_deref(), Some("us-west-2"));
        assert_eq!(request.invocation_type, InvocationType::DryRun);
        assert_eq!(request.log_type, LogType::Tail);

        let moved = [Some("Event"), Some("Tail"), Some("{}")];
        let request = call("(f,)", moved).unwrap();
        assert_eq!(request.region, None);
        assert_eq!(request.invocation_type, InvocationType::Event);
        assert_eq!(request.log_type, LogType::Tail);
        // The default of the fourth argument is not what was given for the third.
        let request = call(
            "(f,)",
            [Some("Event"), Some("RequestResponse"), Some("None")],
        )
        .unwrap();
        assert_eq!(request.log_type, LogType::None);

        for name in [
            "(f",
            "(f)",
            "(f,us-west-2,x)",
            "(,us-west-2)",
            "f,us-west-2)",
            "()",
        ] {
            assert!(call(name, [None; 3]).is_err(), "{name}");
        }
    }

    #[test]
    fn spelling_of_types_matters() {
        assert!(InvocationType::parse("Event").is_ok());
        assert!(InvocationType::parse("event").is_err());
        assert!(LogType::parse("tail").is_err());
    }

    #[test]
    fn a_payload_has_the_limit_of_its_type_or_of_its_table() {
        let given = |bytes: usize, invocation_type: &str, max_payload| Inputs {
            payload: Some(vec![b' '; bytes].into()),
            invocation_type: Some(invocation_type.to_owned()),
            max_payload,
            ..inputs("f")
        };
        let request = |bytes, invocation_type: &str, most| {
            InvokeRequest::new(given(bytes, invocation_type, most))
        };
        for (invocation_type, most) in [
            ("RequestResponse", 6_291_456),
            ("DryRun", 6_291_456),
            ("Event", 1_048_576),
        ] {
            assert!(request(most, invocation_type, None).is_ok());
            assert!(matches!(
                refusal(given(most + 1, invocation_type, None)),
                Error::Request(RequestError::PayloadTooLarge { bytes, limit, .. }) if limit == most && bytes == most + 1
            ));
            assert!(request(most + 1, invocation_type, Some(most + 1)).is_ok());
            assert!(request(11, invocation_type, Some(10)).is_err());
        }
        let not_here = Inputs {
            too_large: Some(7 << 20),
            ..inputs("f")
        };
        assert!(matches!(
            refusal(not_here),
            Error::Request(RequestError::PayloadTooLarge { .. })
        ));
    }

    #[test]
    fn client_context_has_a_limit() {
        let context = |length: usize| Inputs {
            context: Some("x".repeat(length)),
            ..inputs("f")
        };
        // 2,685 bytes are 3,580 of base64; one group more is 3,584, over the limit of 3,583.
        assert!(InvokeRequest::new(context(2685)).is_ok());
        assert!(matches!(
            refusal(context(2686)),
            Error::Request(RequestError::ContextTooLong { length: 3584, .. })
        ));
    }
}
