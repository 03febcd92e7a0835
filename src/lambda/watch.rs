//! What is watched of an attempt while the SDK makes it: whether its request was sent and on which connection, and that its
//! answer is whole and ends some time.
//!
//! The SDK tells a client's one interceptor of all its attempts. It runs inside of the future of each, so which one it is comes with
//! the task. Here is also what the SDK need not do for each attempt anew.

use aws_runtime::invocation_id::InvocationIdInterceptor;
use aws_runtime::request_info::RequestInfoInterceptor;
use aws_runtime::service_clock_skew::ServiceClockSkewInterceptor;
use aws_runtime::user_agent::UserAgentInterceptor;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeSerializationInterceptorContextRef,
    BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{
    Intercept, disable_interceptor, dyn_dispatch_hint,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use http_body_util::Limited;
use std::sync::{Arc, OnceLock};

/// Most bytes of an answer that are read, ten times as many as Lambda gives. What has more is no answer of Lambda's, and
/// could take all memory.
const MAX_ANSWER: usize = 64 << 20;

/// Headers in which the SDK says what it is.
const USER_AGENT: [&str; 2] = ["user-agent", "x-amz-user-agent"];

/// In a request's configuration: the SDK need not say once more what it is.
#[derive(Debug)]
struct IsKnown;

impl Storable for IsKnown {
    type Storer = StoreReplace<IsKnown>;
}

tokio::task_local! {
    static ATTEMPT: Watch;
}

/// An attempt as the SDK makes it.
#[derive(Clone, Default)]
pub struct Watch(Arc<Seen>);

#[derive(Default)]
struct Seen {
    request: OnceLock<Request>,
    /// The bytes that the answer promises to have.
    length: OnceLock<usize>,
}

struct Request {
    token: Option<String>,
    connection: Option<CaptureSmithyConnection>,
}

impl Watch {
    /// Makes the attempt.
    pub async fn over<T>(&self, attempt: impl Future<Output = T>) -> T {
        ATTEMPT.scope(self.clone(), attempt).await
    }

    /// Whether the request was handed to the HTTP client.
    pub fn has_sent(&self) -> bool {
        self.0.request.get().is_some()
    }

    /// The session token that it was sent with.
    pub fn token(&self) -> Option<&str> {
        self.0.request.get()?.token.as_deref()
    }

    /// Whether an answer with so many bytes is whole. HTTP/1 sees to that itself; a stream of HTTP/2 that is reset without an
    /// error looks like one that has ended.
    pub fn is_whole(&self, bytes: usize) -> bool {
        self.0.length.get().is_none_or(|length| *length == bytes)
    }

    /// Lets no other request use the connection, which no longer answers.
    pub fn give_up_connection(&self) {
        if let Some(connection) = (self.0.request.get())
            .and_then(|request| request.connection.as_ref())
            .and_then(CaptureSmithyConnection::get)
        {
            connection.poison();
        }
    }
}

/// What the SDK tells of a client's attempts.
#[derive(Debug, Default)]
pub struct Watcher {
    /// What the SDK said that it is, in the client's first request.
    user_agent: OnceLock<[Option<String>; 2]>,
}

#[dyn_dispatch_hint]
impl Intercept for Watcher {
    fn name(&self) -> &'static str {
        "Watcher"
    }

    /// These serve the SDK's retries, which are off, or make the same words again and again: together a fifth of what the SDK
    /// does for a small call.
    fn read_before_execution(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let state = config.interceptor_state();
        let cause = "without retries it says nothing";
        state.store_put(disable_interceptor::<InvocationIdInterceptor>(cause));
        state.store_put(disable_interceptor::<RequestInfoInterceptor>(cause));
        state.store_put(disable_interceptor::<ServiceClockSkewInterceptor>(cause));
        if self.user_agent.get().is_some() {
            state.store_put(disable_interceptor::<UserAgentInterceptor>("it is known"));
            state.store_put(IsKnown);
        }
        Ok(())
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if config.load::<IsKnown>().is_none() {
            return Ok(());
        }
        let headers = context.request_mut().headers_mut();
        for (name, value) in USER_AGENT
            .into_iter()
            .zip(self.user_agent.get().into_iter().flatten())
        {
            if let Some(value) = value {
                headers.try_insert(name, value.clone())?;
            }
        }
        Ok(())
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request().headers();
        // Without an attempt that would know of it, nothing is sent.
        ATTEMPT.try_with(|attempt| {
            let token = headers.get("x-amz-security-token");
            let _ = attempt.0.request.set(Request {
                token: token.map(str::to_owned),
                connection: config.load::<CaptureSmithyConnection>().cloned(),
            });
        })?;
        (self.user_agent)
            .get_or_init(|| USER_AGENT.map(|name| headers.get(name).map(str::to_owned)));
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        // What comes in chunks has its end in them, whatever the header says.
        let length =
            (headers.get("content-length")).filter(|_| headers.get("transfer-encoding").is_none());
        if let Some(length) = length.and_then(|length| length.parse().ok()) {
            ATTEMPT.try_with(|attempt| {
                let _ = attempt.0.length.set(length);
            })?;
        }
        let body = context.response_mut().body_mut();
        let all = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Limited::new(all, MAX_ANSWER));
        Ok(())
    }
}
