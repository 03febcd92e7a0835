//! What is watched of an attempt while the SDK makes it: whether its request was sent, and that its answer ends some time.

use aws_smithy_runtime_api::box_error::BoxError;
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
pub struct Watch(Arc<OnceLock<Option<String>>>);

impl Watch {
    /// Whether the request was handed to the HTTP client.
    pub fn has_sent(&self) -> bool {
        self.0.get().is_some()
    }

    /// The session token that it was sent with.
    pub fn token(&self) -> Option<&str> {
        self.0.get()?.as_deref()
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
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let token = context.request().headers().get("x-amz-security-token");
        let _ = self.0.set(token.map(str::to_owned));
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response_mut().body_mut();
        let all = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Limited::new(all, MAX_ANSWER));
        Ok(())
    }
}
