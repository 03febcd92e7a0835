//! A probe of one attempt while the SDK makes it: whether the request was sent, and bounds on its answer.
//!
//! A client has one interceptor for all its attempts. The interceptor runs inside the attempt's future, and finds the probe in a task-local
//! variable. It also turns off what the SDK need not do for each attempt.

use super::body::{Bounded, Keeps, Kept};
use super::budget::Room;
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
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use http::{HeaderMap, Uri};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;

/// Most bytes of an answer beyond the largest response, and most bytes of an error. Without a bound an answer could take all memory.
const BEYOND_RESPONSE: usize = 1 << 20;

/// Most informational heads (1xx) before the answer's own, and most bytes of their headers. HTTP has no bound.
pub const MOST_HEADS: usize = 1000;
const MOST_OF_HEADS: usize = 1 << 20;

/// Headers in which the SDK says what it is.
const USER_AGENT: [&str; 2] = ["user-agent", "x-amz-user-agent"];

/// In a request's configuration: the user agent is known.
#[derive(Debug)]
struct IsKnown;

impl Storable for IsKnown {
    type Storer = StoreReplace<IsKnown>;
}

tokio::task_local! {
    static ATTEMPT: AttemptProbe;
}

/// The probe of one attempt.
#[derive(Clone)]
pub struct AttemptProbe(Arc<Seen>);

#[cfg(test)]
impl Default for AttemptProbe {
    fn default() -> AttemptProbe {
        AttemptProbe::new(0, Room::endless())
    }
}

struct Seen {
    request: OnceLock<Request>,
    /// Most bytes of a response.
    max_response: usize,
    /// The response.
    kept: Kept,
    /// Informational heads so far, and bytes of their headers.
    heads: AtomicUsize,
    of_heads: AtomicUsize,
    flooded: Notify,
}

impl Seen {
    /// Counts an informational head. More of them may come until the attempt is ended.
    fn head(&self, headers: &HeaderMap) {
        let bytes: usize = (headers.iter())
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if self.heads.fetch_add(1, Ordering::Relaxed) >= MOST_HEADS
            || self.of_heads.fetch_add(bytes, Ordering::Relaxed) + bytes > MOST_OF_HEADS
        {
            self.flooded.notify_one();
        }
    }
}

/// How far the request of an attempt got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// It was not built, or not signed.
    Nothing,
    /// It reached the HTTP client, which made no connection for it.
    Client,
    /// It has had a connection, so it may have been sent.
    Connection,
}

impl Keeps for AttemptProbe {
    fn kept(&self) -> &Kept {
        &self.0.kept
    }
}

struct Request {
    url: String,
    token: Option<String>,
    signed_at: Option<String>,
    connection: Option<CaptureSmithyConnection>,
}

impl AttemptProbe {
    /// A probe of an attempt whose response has at most `max_response` bytes, and is counted in `room`.
    pub fn new(max_response: usize, room: Room) -> AttemptProbe {
        AttemptProbe(Arc::new(Seen {
            request: OnceLock::new(),
            max_response,
            kept: Kept::new(room),
            heads: AtomicUsize::new(0),
            of_heads: AtomicUsize::new(0),
            flooded: Notify::new(),
        }))
    }

    /// Runs the attempt with this probe.
    pub async fn over<T>(&self, attempt: impl Future<Output = T>) -> T {
        ATTEMPT.scope(self.clone(), attempt).await
    }

    /// How far the request got.
    pub fn reached(&self) -> Reached {
        match self.0.request.get() {
            None => Reached::Nothing,
            // Without a captured connection it is not known whether there was one.
            Some(Request {
                connection: Some(connection),
                ..
            }) if connection.get().is_none() => Reached::Client,
            Some(_) => Reached::Connection,
        }
    }

    /// Returns when there are too many informational heads.
    pub async fn flooded(&self) {
        self.0.flooded.notified().await;
    }

    /// Whether the attempt has a connection.
    pub fn has_connection(&self) -> bool {
        (self.0.request.get())
            .and_then(|request| request.connection.as_ref())
            .is_some_and(|connection| connection.get().is_some())
    }

    /// The URL, once the request is built.
    pub fn url(&self) -> Option<Uri> {
        self.0.request.get()?.url.parse().ok()
    }

    /// The session token of the request.
    pub fn token(&self) -> Option<&str> {
        self.0.request.get()?.token.as_deref()
    }

    /// The time of the signature.
    pub fn signed_at(&self) -> Option<&str> {
        self.0.request.get()?.signed_at.as_deref()
    }

    /// Takes the response's bytes.
    pub fn payload(&self) -> Vec<u8> {
        self.0.kept.take()
    }

    /// How long the answer has waited for memory.
    pub fn waited(&self) -> Duration {
        self.0.kept.waited()
    }
}

/// The interceptor of a client.
#[derive(Debug, Default)]
pub struct AttemptInterceptor {
    /// The user agent that the SDK sent in the client's first request.
    user_agent: OnceLock<[Option<String>; 2]>,
    /// The SDK's correction of the machine's clock. The SDK would measure each answer. Here answers are measured from the first one on that may
    /// be a refusal for the time.
    clock: ServiceClockSkewInterceptor,
    corrects_clock: AtomicBool,
}

#[dyn_dispatch_hint]
impl Intercept for AttemptInterceptor {
    fn name(&self) -> &'static str {
        "AttemptInterceptor"
    }

    /// Disables interceptors that serve the SDK's retries, which are off, or that build the same user agent each time: together a fifth of the
    /// SDK's work for a small call.
    fn read_before_execution(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let state = config.interceptor_state();
        let cause = "without retries it says nothing";
        state.store_put(disable_interceptor::<InvocationIdInterceptor>(cause));
        state.store_put(disable_interceptor::<RequestInfoInterceptor>(cause));
        state.store_put(disable_interceptor::<ServiceClockSkewInterceptor>(
            "the attempt interceptor has one",
        ));
        if self.user_agent.get().is_some() {
            state.store_put(disable_interceptor::<UserAgentInterceptor>("it is known"));
            state.store_put(IsKnown);
        }
        Ok(())
    }

    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        match self.corrects_clock.load(Ordering::Relaxed) {
            true => (self.clock).modify_before_retry_loop(context, components, config),
            false => Ok(()),
        }
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        count_heads(context.request_mut())?;
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
        components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        (self.clock).read_before_transmit(context, components, config)?;
        let headers = context.request().headers();
        // Without a probe nothing is sent.
        ATTEMPT.try_with(|attempt| {
            let token = headers.get("x-amz-security-token");
            let _ = attempt.0.request.set(Request {
                url: context.request().uri().to_owned(),
                token: token.map(str::to_owned),
                signed_at: headers.get("x-amz-date").map(str::to_owned),
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
        components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if matches!(context.response().status().as_u16(), 400 | 401 | 403) {
            self.corrects_clock.store(true, Ordering::Relaxed);
        }
        if self.corrects_clock.load(Ordering::Relaxed) {
            (self.clock).modify_before_deserialization(context, components, config)?;
        }
        let headers = context.response().headers();
        // In a chunked body the chunks have the length, whatever the header says.
        let length =
            (headers.get("content-length")).filter(|_| headers.get("transfer-encoding").is_none());
        let length = length.and_then(|length| length.parse().ok());
        let attempt = ATTEMPT.try_with(AttemptProbe::clone)?;
        let is_response = context.response().status().is_success();
        let body = context.response_mut().body_mut();
        let all = std::mem::replace(body, SdkBody::taken());
        let most = match is_response {
            true => attempt.0.max_response + BEYOND_RESPONSE,
            false => BEYOND_RESPONSE,
        };
        let bounded = Bounded::new(all, most, length, is_response, attempt);
        *body = SdkBody::from_body_1_x(bounded);
        Ok(())
    }
}

/// Has hyper count the informational heads. The SDK's request has no way to say so, so it is converted to the `http` crate's and back.
fn count_heads(request: &mut HttpRequest) -> Result<(), BoxError> {
    let attempt = ATTEMPT.try_with(AttemptProbe::clone)?;
    let taken = std::mem::replace(request, HttpRequest::new(SdkBody::taken()));
    let mut taken = taken.try_into_http1x()?;
    hyper::ext::on_informational(&mut taken, move |head| attempt.0.head(head.headers()));
    *request = taken.try_into()?;
    Ok(())
}
