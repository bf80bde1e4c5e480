//! `http.request`, `http.get` and the like.

use std::sync::Arc;

use durhai::{StepContext, Value};
use reqwest::Method;

use crate::Attempt;
use crate::http::{self, Request};
use crate::outside::Kit;

/// Sends what the input asks for. A method that the step has must not be in the input.
pub fn send(kit: Arc<Kit>, context: StepContext, method: Option<Method>, input: Value) -> Attempt {
    Box::pin(async move {
        let mut request = Request::read(&kit, method, input)?;
        request.traced(&context.traceparent())?;
        http::send(&kit, request, &context.idempotency_key()).await.map(http::Response::into_value)
    })
}
