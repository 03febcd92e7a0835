//! A client of Lambda for a configuration, and requests through it.
//!
//! - Values: [`request`] is a checked invocation, with names by the grammars of [`name`] and [`region`]; [`response`] is its result.
//!   [`api_request`] is an invocation or a question about functions, and [`configuration`] reads the answer to a question.
//! - Credentials: [`credentials`] has the provider of a client, over [`sdk_config`]. [`shared_config`] reads the files of AWS, by [`files`], and [`profiles`]
//!   follows profiles, one of which may run a [`process`]. [`provider_chain`] and [`providers`] tell why there are no credentials.
//! - Network: [`connections`] is the HTTP client, with a [`pool`] of connections. [`happy_eyeballs`] connects to addresses of [`dns`], through a
//!   [`tunnel`] if [`proxies`] has a [`proxy`], by [`http_connect`], and trusts [`root_certificates`].
//! - Attempts: [`attempt_probe`] observes an attempt, [`body`] and [`budget`] bound memory, [`retry`] repeats attempts, [`limiter`] and
//!   [`descriptor_limiter`] limit how many run at once.
//! - Failures: [`failure`] makes them of the SDK's errors, with [`error_response`], [`error_code`], [`network_failure`] and [`error_chain`];
//!   they name the [`route`], and hide [`secrets`].
//!
//! Nothing in this folder knows PostgreSQL, and nothing outside it knows the SDK.

pub mod api_request;
mod attempt_probe;
pub mod batch;
mod body;
pub mod budget;
pub mod configuration;
mod connections;
pub mod credentials;
pub mod descriptor_limiter;
mod dns;
mod error_chain;
mod error_code;
mod error_response;
mod failure;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod happy_eyeballs;
mod http_connect;
pub mod limiter;
pub mod name;
mod network_failure;
mod pool;
pub mod process;
mod profiles;
mod provider_chain;
mod providers;
mod proxies;
mod proxy;
pub mod region;
pub mod request;
pub mod response;
mod retry;
mod root_certificates;
mod route;
mod sdk_config;
mod secrets;
mod shared_config;
#[cfg(test)]
mod test_runtime;
mod tunnel;

use crate::error::{ApiFailure, Cause, Error};
use crate::lambda::api_request::ApiRequest;
use crate::lambda::request::{InvocationType, InvokeRequest, LogType};
use crate::lambda::response::InvokeResponse;
use crate::lambda::secrets::Secrets;
use attempt_probe::{AttemptInterceptor, AttemptProbe, Reached};
use aws_sdk_lambda::config::{AppName, StalledStreamProtectionConfig};
use aws_sdk_lambda::error::SdkError;
use aws_sdk_lambda::operation::RequestId;
use aws_sdk_lambda::operation::invoke::{InvokeError, InvokeOutput};
use aws_smithy_runtime_api::client::interceptors::SharedInterceptor;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::{Blob, retry::RetryConfig, timeout::TimeoutConfig};
use credentials::{Identity, NoKeys};
use failure::OperationError;
pub use pool::{next_sweep, sweep};
pub use retry::send;
pub use root_certificates::preload as preload_root_certificates;
use route::Route;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The configuration of a client.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientConfig {
    /// `None` leaves it to the SDK.
    pub region: Option<String>,
    /// Lambda's endpoint, if it is not the public one.
    pub endpoint: Option<Endpoint>,
    /// The URL of STS, if it is not the public one.
    pub sts_endpoint_url: Option<String>,
    /// Bounds the time until a connection is made.
    pub connect_timeout: Duration,
    /// Profile in the shared config files.
    pub profile: Option<String>,
    /// Role to assume.
    pub role_arn: Option<String>,
    /// External id for assuming it.
    pub external_id: Option<String>,
    /// `None` leaves it to the SDK.
    pub use_fips: Option<bool>,
    /// `None` leaves it to the SDK.
    pub use_dualstack: Option<bool>,
    /// Keys of the user mapping.
    pub keys: Option<Keys>,
    /// Whether the credentials and the configuration of the machine may be used.
    pub use_machine: bool,
}

/// An endpoint of Lambda.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The URL.
    pub url: String,
    /// The option or setting that it comes from, for messages.
    pub named_by: &'static str,
}

/// Long-lived or temporary keys. There is no `Debug`, so that none ends up in a message.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Keys {
    /// Access key id.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: String,
    /// Session token of temporary keys.
    pub session_token: Option<String>,
}

/// A client with its connections and credentials.
pub struct Client {
    sdk: aws_sdk_lambda::Client,
    identity: Arc<Identity>,
    /// Where the endpoint's URL comes from, for messages.
    endpoint_named_by: String,
    /// The secrets that messages may not show.
    secrets: Secrets,
}

/// Provides attempts with a client.
pub trait Source {
    /// The client, which is made if there is none.
    fn client(
        &self,
        retry_policy: RetryPolicy,
    ) -> impl Future<Output = Result<Arc<Client>, Error>> + Send;

    /// Drops all other clients that nobody uses, and returns whether this one is the only one left.
    fn drop_others(&self) -> bool;

    /// Why the role has no keys in the database, if it has none.
    fn no_keys(&self) -> Option<&NoKeys>;
}

/// Time-out of an attempt, and bounds of the retries of an invocation.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Bounds an attempt from its start to the last byte of the answer.
    pub request_timeout: Duration,
    /// Most attempts after the first.
    pub max_retries: u32,
    /// Time of attempts and pauses after which there is no further attempt.
    pub retry_timeout: Duration,
}

impl ClientConfig {
    /// The part that decides about the identity. Any role may set a time-out, and must not have a process started or a role assumed by
    /// that.
    pub fn of_identity(&self) -> ClientConfig {
        ClientConfig {
            endpoint: None,
            connect_timeout: Duration::ZERO,
            ..self.clone()
        }
    }
}

/// Makes a client.
pub fn connect(config: ClientConfig, identity: Arc<Identity>) -> Client {
    let mut builder = aws_sdk_lambda::config::Builder::from(&identity.base)
        .retry_config(RetryConfig::disabled())
        .identity_cache(identity.cache.clone())
        // The time-out of the attempt bounds a stalled body too.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(config.connect_timeout)
                .build(),
        );
    builder.push_interceptor(SharedInterceptor::permanent(AttemptInterceptor::default()));
    if let Ok(name) = AppName::new("aws_lambda_fdw") {
        builder = builder.app_name(name);
    }
    let endpoint_named_by = match &config.endpoint {
        Some(endpoint) => {
            builder = builder.endpoint_url(&endpoint.url);
            endpoint.named_by.to_owned()
        }
        None => route::named_by(&identity.base, &identity.region),
    };
    Client {
        sdk: aws_sdk_lambda::Client::from_conf(builder.build()),
        identity,
        endpoint_named_by,
        secrets: Identity::secrets(config.keys).with_proxy_passwords(),
    }
}

impl Client {
    /// The route of a request.
    fn route(&self, probe: &AttemptProbe) -> Option<Route> {
        let url = probe.url()?;
        Some(Route {
            proxy: self.identity.connections.proxy_of(&url),
            named_by: self.endpoint_named_by.clone(),
            url,
        })
    }

    async fn attempt(
        &self,
        request: &ApiRequest,
        request_timeout: Duration,
        probe: AttemptProbe,
    ) -> Result<InvokeResponse, Error> {
        // The SDK's futures have kilobytes, which would be moved with each future around them.
        match request {
            ApiRequest::Invoke(request) => {
                let sending = Box::pin(self.invoke(request));
                let output = self.observe(sending, request_timeout, &probe).await?;
                Ok(self.response(output, &probe))
            }
            ApiRequest::ListFunctions(request) => {
                let list = self.sdk.list_functions();
                let sending = Box::pin(list.set_marker(request.marker.clone()).send());
                let output = self.observe(sending, request_timeout, &probe).await?;
                Ok(InvokeResponse::of_question(output.request_id(), &probe))
            }
            ApiRequest::GetFunctionConfiguration(request) => {
                let get = self.sdk.get_function_configuration();
                let get = get.function_name(&request.function_name);
                let sending = Box::pin(get.set_qualifier(request.qualifier.clone()).send());
                let output = self.observe(sending, request_timeout, &probe).await?;
                Ok(InvokeResponse::of_question(output.request_id(), &probe))
            }
        }
    }

    async fn invoke(
        &self,
        request: &InvokeRequest,
    ) -> Result<InvokeOutput, SdkError<InvokeError, HttpResponse>> {
        let head = &*request.head;
        self.sdk
            .invoke()
            .function_name(&head.function_name)
            .set_qualifier(head.qualifier.clone())
            .invocation_type(invocation_type(head.invocation_type))
            .set_log_type(log_type(head.log_type))
            .set_client_context(head.client_context.clone())
            .set_tenant_id(head.tenant_id.clone())
            .set_durable_execution_name(head.durable_execution_name.clone())
            .set_payload(request.payload.clone().map(Blob::from_maybe_shared))
            .send()
            .await
    }

    /// Sends a request under a probe and a time-out.
    async fn observe<T, E: OperationError>(
        &self,
        sending: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        request_timeout: Duration,
        probe: &AttemptProbe,
    ) -> Result<T, Error> {
        let sending = probe.over(sending);
        let sending = async {
            tokio::select! {
                biased;
                () = probe.flooded() => None,
                result = sending => Some(result),
            }
        };
        let result = match within(request_timeout, probe, sending).await {
            Ok(Some(result)) => Ok(result),
            Ok(None) => {
                return Err(Error::Api(failure::too_many_interim_responses(
                    attempt_probe::MOST_HEADS,
                    self.route(probe).as_ref(),
                )));
            }
            Err(late) => Err(late),
        };
        match result {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(Error::Api(self.failure(&error, probe))),
            Err(_) => Err(Error::Api(self.timed_out(request_timeout, probe))),
        }
    }

    fn response(&self, output: InvokeOutput, probe: &AttemptProbe) -> InvokeResponse {
        let mut response = InvokeResponse::new(output, probe.payload());
        // Messages show these headers.
        let shown = [&mut response.function_error, &mut response.request_id];
        for text in shown.into_iter().flatten().filter(|text| !is_id(text)) {
            *text = self.secrets.with(probe.token()).redact(text).into();
        }
        response
    }

    fn failure<E: OperationError>(
        &self,
        error: &SdkError<E, HttpResponse>,
        probe: &AttemptProbe,
    ) -> ApiFailure {
        let failure = failure::from_sdk(
            error,
            probe.reached(),
            self.route(probe).as_ref(),
            probe.signed_at(),
            &self.secrets.with(probe.token()),
        );
        match failure.cause {
            // Credentials are fetched through the proxy too.
            Cause::Credentials | Cause::Proxy => self.identity.doubt(),
            // Its files may be corrected meanwhile.
            Cause::Certificate => self.identity.connections.give_up(),
            _ => (),
        }
        failure
    }

    fn timed_out(&self, request_timeout: Duration, probe: &AttemptProbe) -> ApiFailure {
        let route = self.route(probe);
        match probe.reached() {
            Reached::Nothing => {
                self.identity.doubt();
                failure::credentials_timed_out(request_timeout, self.identity.explain())
            }
            Reached::Client => failure::connect_timed_out(request_timeout, route.as_ref()),
            Reached::Connection => failure::request_timed_out(request_timeout, route.as_ref()),
        }
    }

    /// Whether the credentials or the proxy refused, or there are no credentials. The next statement then has another client.
    pub fn is_in_doubt(&self) -> bool {
        self.identity.is_in_doubt()
    }
}

/// Whether a text has the form of AWS's request ids, and so is no secret.
fn is_id(text: &str) -> bool {
    text.len() == 36 && (text.bytes()).all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// Bounds the time of an attempt. The time in which the answer waits for memory does not count.
async fn within<T>(
    timeout: Duration,
    probe: &AttemptProbe,
    attempt: impl Future<Output = T>,
) -> Result<T, ()> {
    let mut attempt = pin!(attempt);
    let begin = Instant::now();
    let mut left = timeout;
    loop {
        match tokio::time::timeout(left, &mut attempt).await {
            Ok(result) => return Ok(result),
            Err(_) => {
                left = (timeout + probe.waited()).saturating_sub(begin.elapsed());
                if left.is_zero() {
                    return Err(());
                }
                left = left.max(CHECK_INTERVAL);
            }
        }
    }
}

/// The shortest time until the attempt's time is checked again.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

fn invocation_type(given: InvocationType) -> aws_sdk_lambda::types::InvocationType {
    use aws_sdk_lambda::types::InvocationType as Sdk;
    match given {
        InvocationType::RequestResponse => Sdk::RequestResponse,
        InvocationType::Event => Sdk::Event,
        InvocationType::DryRun => Sdk::DryRun,
    }
}

fn log_type(given: LogType) -> Option<aws_sdk_lambda::types::LogType> {
    match given {
        LogType::None => None,
        LogType::Tail => Some(aws_sdk_lambda::types::LogType::Tail),
    }
}
