//! Fuzz targets: any bytes as the names of an invocation, as an option, and as an answer: to an invocation, to one of several rows, and to a question
//! about functions.
//!
//! They are compiled for `fuzz/`, and for the tests below, which run the corpus.

use super::batch::answers;
use super::budget::Budget;
use super::configuration::{self, Pages};
use super::credentials::{Identity, NoKeys};
use super::descriptor_limiter::DescriptorLimiter;
use super::limiter::{ConcurrencyLimit, Limiter};
use super::name::{self, FunctionName};
use super::request::{Inputs, InvokeRequest};
use super::response::InvokeResponse;
use super::{Client, RetryPolicy, Source, send};
use crate::error::{BatchFailure, Cause, Error};
use crate::options::{self, BatchFormat, Object};
use crate::postgres::text::Text;
use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::http::{Response, StatusCode};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use serde::de::IgnoredAny;
use std::sync::Arc;
use std::time::Duration;

/// Takes any bytes as function name, region, qualifier, tenant and name of an execution, in five lines. Accepted names are safe in a URL, a
/// host name and a header, and parse to the same names again.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut next = || lines.next().map(Arc::from);
    let inputs = Inputs {
        function_name: next(),
        region: next(),
        qualifier: next(),
        tenant_id: next(),
        durable_execution_name: next(),
        ..Inputs::default()
    };
    let given = inputs.function_name.clone().unwrap_or_default();
    let head = match InvokeRequest::new(inputs) {
        Ok(request) => request.head,
        Err(error) => return assert_printable(&error),
    };
    let safe = |text: &str, more: &[u8]| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    assert!(given.len() <= name::MAX_NAME);
    assert!(safe(&head.function_name, b"-_.:"));
    assert!(!["", ".", ".."].contains(&head.function_name.as_str()));
    assert!(head.qualifier.as_deref().is_none_or(|qualifier| {
        safe(qualifier, b"-_$.") && !qualifier.is_empty() && qualifier.len() <= name::MAX_NAME
    }));
    assert!((head.region.as_deref()).is_none_or(|region| safe(region, b"-")));
    assert!((head.tenant_id.as_deref()).is_none_or(|tenant| {
        safe(tenant, b"._:/=+-@ ") && tenant.trim() == tenant && !tenant.is_empty()
    }));
    assert!(
        (head.durable_execution_name.as_deref())
            .is_none_or(|name| safe(name, b"_-") && !name.is_empty() && name.len() <= 64)
    );
    if let Ok(again) = FunctionName::parse(&head.full_name()) {
        assert_eq!(again.name, head.function_name);
        assert_eq!(again.qualifier, head.qualifier);
    }
}

/// Takes any bytes as an option: a byte for the object, then `name=value`, as in a database of SQL_ASCII. Accepted values have nothing that
/// would end a header or be invisible in a message.
pub fn option(data: &[u8]) {
    const OBJECTS: [Object; 5] = [
        Object::Wrapper,
        Object::Server,
        Object::UserMapping,
        Object::Table,
        Object::Column,
    ];
    let Some((object, option)) = data.split_first() else {
        return;
    };
    let object = OBJECTS[usize::from(*object) % OBJECTS.len()];
    let mut parts = option.splitn(2, |byte| *byte == b'=');
    let mut next = || Text::of_utf8(parts.next().unwrap_or_default());
    let (name, value) = (next().shown(), next().checked());
    match options::check(object, &name, value.as_deref()) {
        Ok(definition) => {
            assert_eq!(definition.name, name);
            assert!(definition.objects.contains(&object));
            let value = value.unwrap_or_default();
            let may_have_spaces = name == "tenant_id";
            assert!(!value.chars().any(|c| {
                c.is_control() || (c.is_whitespace() && !(may_have_spaces && c == ' '))
            }));
            assert!(value.is_ascii() || name.ends_with("endpoint_url"));
        }
        Err(error) => {
            assert_printable(&error);
            let secret = options::OPTIONS
                .iter()
                .any(|option| option.is_secret && option.name == name);
            if let Some(value) = value.filter(|value| secret && value.len() > 16) {
                assert!(!format!("{error:?}").contains(&value));
            }
        }
    }
}

/// Takes any bytes as a response: two bytes for the status, lines of headers up to an empty line, and the body.
pub fn answer(data: &[u8]) {
    let Some(answer) = Answer::parse(data) else {
        return;
    };
    let is_success = answer.status.is_success();
    let inputs = Inputs {
        function_name: Some("f".into()),
        ..Inputs::default()
    };
    let (Ok(request), Ok(runtime)) = (
        InvokeRequest::new(inputs),
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build(),
    ) else {
        return;
    };
    let retry_policy = RetryPolicy {
        request_timeout: Duration::from_secs(10),
        max_retries: 0,
        retry_timeout: Duration::from_secs(1),
    };
    let source = {
        // The client's connections belong to a runtime.
        let _entered = runtime.enter();
        Alone(Arc::new(client(answer)))
    };
    let limiter = Limiter::new(ConcurrencyLimit::new(1));
    let descriptors = Arc::new(DescriptorLimiter::new(|| 0));
    let share = Budget::new(usize::MAX).share();
    let result = runtime.block_on(send(
        &source,
        &request.into(),
        retry_policy,
        &limiter,
        &descriptors,
        &share,
    ));
    check_result(result, is_success);
}

/// Takes any bytes as the answer to an invocation of several rows: a byte for the format, one for the number of rows, and the body. All rows have an
/// answer that is JSON, or none has one.
pub fn batches(data: &[u8]) {
    let [format, rows, body @ ..] = data else {
        return;
    };
    let format = match format % 2 {
        0 => BatchFormat::Array,
        _ => BatchFormat::Redshift,
    };
    match answers::split(&Bytes::copy_from_slice(body), (*rows).into(), format) {
        Ok(answers) => {
            for row in 0..usize::from(*rows) {
                let answer = answers.get(row).unwrap_or_default();
                assert!(serde_json::from_slice::<IgnoredAny>(&answer).is_ok());
            }
            assert_eq!(answers.get((*rows).into()), None);
        }
        Err(problem) => {
            let response = InvokeResponse::empty(200, Some(body.to_vec()));
            // The function may give its own message.
            let failure = Error::Batch(Box::new(BatchFailure { problem, response }));
            assert_printable_within(&failure, 10_000);
        }
    }
}

/// Takes any bytes as a page of functions, and as the configuration of one.
pub fn functions(data: &[u8]) {
    for read in [
        Pages::new(None).read(data).map(drop),
        configuration::read(data, "f").map(drop),
    ] {
        if let Err(error) = read {
            assert_printable(&error);
        }
    }
}

/// Checks the result of an invocation to which an answer with a status came.
fn check_result(result: Result<InvokeResponse, Error>, is_success: bool) {
    match result {
        Ok(response) => {
            assert!((200..300).contains(&response.status_code));
            assert_ne!(response.payload.as_deref(), Some(&b""[..]));
            let thrown = response.thrown();
            assert_eq!(thrown.is_some(), response.function_error.is_some());
            for text in (response.log().into_iter()).chain(thrown.and_then(|thrown| thrown.message))
            {
                assert!(!text.contains('\0'));
            }
        }
        Err(error) => {
            if let Error::Api(failure) = &error {
                // A response came, so an attempt is repeated only if the function was not run.
                assert!(!matches!(
                    failure.cause,
                    Cause::Connect | Cause::ConnectTimeout
                ));
                assert!(failure.cause != Cause::Throttled || !is_success);
            }
            assert_printable(&error);
        }
    }
}

impl Answer {
    fn parse(data: &[u8]) -> Option<Answer> {
        let (status, rest) = data.split_first_chunk()?;
        let code = 100 + u16::from_be_bytes(*status) % 900;
        let status = StatusCode::try_from(code).ok()?;
        let end = rest.windows(2).position(|two| two == b"\n\n");
        let (head, body) = match end {
            Some(end) => (&rest[..end], &rest[end + 2..]),
            None => (rest, &b""[..]),
        };
        Some(Answer {
            status,
            headers: (head.split(|byte| *byte == b'\n'))
                .filter_map(|line| {
                    let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
                    Some((name.to_ascii_lowercase(), value.to_owned()))
                })
                .collect(),
            body: body.to_vec(),
        })
    }
}

/// Whatever the input, a message is short and printable.
fn assert_printable(error: &Error) {
    assert_printable_within(error, 4000);
}

fn assert_printable_within(error: &Error, most: usize) {
    let (message, detail) = error.texts();
    for text in [message, detail.unwrap_or_default()] {
        assert!(text.chars().all(crate::error::is_visible), "{text:?}");
        assert!(text.len() < most, "{} bytes", text.len());
    }
}

fn client(answer: Answer) -> Client {
    let connector = SharedHttpConnector::new(answer);
    let config = aws_sdk_lambda::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("k", "s", None, None, "fuzzing"))
        .retry_config(aws_smithy_types::retry::RetryConfig::disabled())
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .build();
    Client {
        sdk: aws_sdk_lambda::Client::from_conf(config),
        identity: Arc::new(Identity::none(Region::from_static("us-east-1"))),
        endpoint_named_by: String::new(),
        secrets: Default::default(),
    }
}

/// A source with one client.
struct Alone(Arc<Client>);

impl Source for Alone {
    async fn client(&self, _patience: RetryPolicy) -> Result<Arc<Client>, Error> {
        Ok(self.0.clone())
    }

    fn drop_others(&self) -> bool {
        true
    }

    fn no_keys(&self) -> Option<&NoKeys> {
        None
    }
}

/// An HTTP client with one response to all requests.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl HttpConnector for Answer {
    fn call(&self, _request: HttpRequest) -> HttpConnectorFuture {
        let mut response = Response::new(self.status, SdkBody::from(self.body.clone()));
        for (name, value) in &self.headers {
            // The HTTP client would refuse other headers.
            let _ = (response.headers_mut()).try_append(name.clone(), value.clone());
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Runs each file of a corpus.
    fn run(corpus: &str, target: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(corpus);
        let mut count = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            target(&std::fs::read(file.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 50, "only {count} files in the corpus");
    }

    #[test]
    fn corpus_of_names() {
        run("names", super::names);
    }

    #[test]
    fn corpus_of_options() {
        run("options", super::option);
    }

    #[test]
    fn corpus_of_answers() {
        run("answers", super::answer);
    }

    #[test]
    fn corpus_of_batches() {
        run("batches", super::batches);
    }

    #[test]
    fn corpus_of_functions() {
        run("functions", super::functions);
    }
}
