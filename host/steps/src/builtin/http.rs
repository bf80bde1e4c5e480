//! `http.request`, `http.get` and the like.

use std::sync::Arc;

use durhai::{StepContext, Value};
use reqwest::Method;

use crate::Attempt;
use crate::http::{self, Request};
use crate::step_env::StepEnv;

/// Sends what the input asks for. A method that the step has must not be in the input.
pub fn send(step_env: Arc<StepEnv>, context: StepContext, method: Option<Method>, input: Value) -> Attempt {
    Box::pin(async move {
        let mut request = Request::read(&step_env, method, input)?;
        request.traced(&context.traceparent())?;
        http::send(&step_env, request, &context.idempotency_key()).await.map(http::Response::into_value)
    })
}
