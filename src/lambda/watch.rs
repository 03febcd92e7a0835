//! What is watched of an attempt while the SDK makes it: whether its request was sent and on which connection, and that its
//! answer is whole and ends some time.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use http_body_util::Limited;
use std::sync::{Arc, OnceLock};

/// Most bytes of an answer that are read, ten times as many as Lambda gives. What has more is no answer of Lambda's, and
/// could take all memory.
const MAX_ANSWER: usize = 64 << 20;

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

impl std::fmt::Debug for Watch {
    // Without the token.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (formatter.debug_tuple("Watch").field(&self.has_sent())).finish()
    }
}

#[dyn_dispatch_hint]
impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "Watch"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let token = context.request().headers().get("x-amz-security-token");
        let _ = self.0.request.set(Request {
            token: token.map(str::to_owned),
            connection: config.load::<CaptureSmithyConnection>().cloned(),
        });
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
            let _ = self.0.length.set(length);
        }
        let body = context.response_mut().body_mut();
        let all = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Limited::new(all, MAX_ANSWER));
        Ok(())
    }
}
