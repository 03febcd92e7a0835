//! Lambda: a client for a configuration, and one invocation through it.
//!
//! - [`request`] is a checked invocation, [`name`] the grammar of names, [`response`] what came back.
//! - [`credentials`] finds what a request is signed with, and the region; [`machine`] tells what the machine has of both, [`places`] what is
//!   said of each place, and [`profiles`] where a profile has them from, a [`process`] among that; [`files`] reads what is read of the machine.
//! - [`attempt_probe`] watches an attempt while the SDK makes it, [`body`] bounds what is read of its answer, [`budget`] what is in memory of all.
//! - [`connections`] is the HTTP client, with a [`pool`] of connections; [`dial`] makes them, with addresses of [`names`]; [`authorities`] are
//!   trusted, [`proxies`] are gone through in a [`tunnel`], for which [`http_connect`] asks them, and [`way`] says so.
//! - [`retry`] decides whether an attempt that failed is followed by another, and when.
//! - [`limiter`] lets out fewer attempts when Lambda throttles them, and counts; `descriptor_limiter` lets out as many as there may be connections.
//! - [`failure`] tells from the SDK's errors what went wrong, and whether the function may have run; [`refusal`] is an answer that is no
//!   response, and [`secrets`] what may not be shown.
//!
//! Nothing in this folder knows PostgreSQL, and nothing outside it knows the SDK.

mod attempt_probe;
mod authorities;
mod body;
pub mod budget;
mod connections;
pub mod credentials;
pub mod descriptor_limiter;
mod dial;
mod failure;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http_connect;
pub mod limiter;
mod machine;
pub mod name;
mod names;
mod places;
mod pool;
pub mod process;
mod profiles;
mod proxies;
mod refusal;
pub mod request;
pub mod response;
mod retry;
mod secrets;
mod tunnel;
mod way;

use crate::error::{Cause, Error};
use crate::lambda::request::{InvocationType, InvokeRequest, LogType};
use crate::lambda::response::InvokeResponse;
use crate::lambda::secrets::Secrets;
use attempt_probe::{AttemptInterceptor, AttemptProbe, Reached};
pub use authorities::read_ahead as read_authorities_ahead;
use aws_sdk_lambda::config::{AppName, StalledStreamProtectionConfig};
use aws_smithy_runtime_api::client::interceptors::SharedInterceptor;
use aws_smithy_types::{Blob, retry::RetryConfig, timeout::TimeoutConfig};
use credentials::{Identity, NoKeys};
pub use pool::{next_sweep, sweep};
pub use retry::invoke;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use way::Way;

/// Everything that decides which client serves an invocation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientConfig {
    /// `None` leaves it to what the SDK finds on the machine.
    pub region: Option<String>,
    /// Where Lambda is, if not at its public endpoint.
    pub endpoint: Option<Endpoint>,
    /// Where STS is, if not at its public endpoint.
    pub sts_endpoint_url: Option<String>,
    /// Bounds the time until a connection is made.
    pub connect_timeout: Duration,
    /// Profile in the machine's AWS configuration files.
    pub profile: Option<String>,
    /// Role to assume.
    pub role_arn: Option<String>,
    /// External id for assuming it.
    pub external_id: Option<String>,
    /// `None` leaves it to what the SDK finds on the machine.
    pub use_fips: Option<bool>,
    /// `None` leaves it to what the SDK finds on the machine.
    pub use_dualstack: Option<bool>,
    /// Keys of the user mapping.
    pub keys: Option<Keys>,
    /// Whether environment, profile, container and instance may be asked for what is not given.
    pub use_machine: bool,
}

/// A URL of Lambda's.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The URL.
    pub url: String,
    /// Where it was found, in words for a message.
    pub named_by: &'static str,
}

/// Long-lived or temporary keys. Without `Debug`, so that none ends up in a message.
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
    /// What says where Lambda is, for messages.
    endpoint_named_by: String,
    /// What messages may not show.
    secrets: Secrets,
}

/// Where attempts have their client from.
pub trait Source {
    /// The client, which is made if it is not there.
    fn client(
        &self,
        retry_policy: RetryPolicy,
    ) -> impl Future<Output = Result<Arc<Client>, Error>> + Send;

    /// Drops the clients that nobody uses, but for this one, and tells whether this is then the only one.
    fn drop_others(&self) -> bool;

    /// Why the role has no keys in the database, if it has none.
    fn no_keys(&self) -> Option<&NoKeys>;
}

/// How long an invocation is waited for, and how often it is tried.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Bounds each attempt from its first step to the last byte.
    pub request_timeout: Duration,
    /// Most attempts after the first.
    pub max_retries: u32,
    /// Time, in attempts and the waits between them, after which there is no further one.
    pub retry_timeout: Duration,
}

impl ClientConfig {
    /// What decides about the identity. An ordinary role may set a time-out, and is not to have a process started or a role assumed
    /// by that.
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
        // The request's own time-out bounds a stalled body too.
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
        None => way::named_by(&identity.base, &identity.region),
    };
    Client {
        sdk: aws_sdk_lambda::Client::from_conf(builder.build()),
        identity,
        endpoint_named_by,
        secrets: Identity::secrets(config.keys).and_of_proxies(),
    }
}

impl Client {
    /// The way that a request took, or would have.
    fn way(&self, probe: &AttemptProbe) -> Option<Way> {
        let url = probe.url()?;
        Some(Way {
            proxy: self.identity.connections.proxy_of(&url),
            named_by: self.endpoint_named_by.clone(),
            url,
        })
    }

    async fn attempt(
        &self,
        request: &InvokeRequest,
        request_timeout: Duration,
        probe: AttemptProbe,
    ) -> Result<InvokeResponse, Error> {
        let sending = self
            .sdk
            .invoke()
            .function_name(&request.function_name)
            .set_qualifier(request.qualifier.clone())
            .invocation_type(invocation_type(request.invocation_type))
            .set_log_type(log_type(request.log_type))
            .set_client_context(request.client_context.clone())
            .set_tenant_id(request.tenant_id.clone())
            .set_durable_execution_name(request.durable_execution_name.clone())
            .set_payload(request.payload.clone().map(Blob::from_maybe_shared))
            .send();
        // The SDK's state takes kilobytes, which would be moved with each future around it.
        let sending = probe.over(Box::pin(sending));
        let sending = async {
            tokio::select! {
                biased;
                () = probe.flooded() => None,
                result = sending => Some(result),
            }
        };
        let result = match within(request_timeout, &probe, sending).await {
            Ok(Some(result)) => Ok(result),
            Ok(None) => {
                return Err(Error::Api(failure::no_end_of_heads(
                    attempt_probe::MOST_HEADS,
                    self.way(&probe).as_ref(),
                )));
            }
            Err(late) => Err(late),
        };
        match result {
            Ok(Ok(output)) => {
                let payload = probe.payload();
                let mut response = InvokeResponse::new(output, payload);
                // Headers, which messages show.
                let shown = [&mut response.function_error, &mut response.request_id];
                for text in shown.into_iter().flatten().filter(|text| !is_id(text)) {
                    *text = self.secrets.and(probe.token()).hide(text);
                }
                Ok(response)
            }
            Ok(Err(error)) => {
                let failure = failure::from_sdk(
                    &error,
                    probe.reached(),
                    self.way(&probe).as_ref(),
                    probe.signed_at(),
                    &self.secrets.and(probe.token()),
                );
                match failure.cause {
                    // Credentials are looked for through one, too.
                    Cause::Credentials | Cause::Proxy => self.identity.doubt(),
                    // Its files may be put right meanwhile.
                    Cause::Certificate => self.identity.connections.give_up(),
                    _ => (),
                }
                Err(Error::Api(failure))
            }
            Err(_) => Err(Error::Api(match probe.reached() {
                Reached::Nothing => {
                    self.identity.doubt();
                    failure::no_credentials_within(request_timeout, self.identity.explain())
                }
                Reached::Client => {
                    failure::no_connection_within(request_timeout, self.way(&probe).as_ref())
                }
                Reached::Connection => {
                    failure::timed_out(request_timeout, self.way(&probe).as_ref())
                }
            })),
        }
    }

    /// Whether its credentials were refused, or there are none, or the way is refused: then another is made for the next statement.
    pub fn is_in_doubt(&self) -> bool {
        self.identity.is_in_doubt()
    }
}

/// Whether it looks like AWS's ids of requests, and so like no secret.
fn is_id(text: &str) -> bool {
    text.len() == 36 && (text.bytes()).all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// Waits for so long, beside the time for which the answer waits to be read.
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
                left = left.max(LOOK_AGAIN);
            }
        }
    }
}

/// After how long it is looked anew whether an answer is being read.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

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
