//! HTTP services as steps: the input goes out as JSON, the answer is the output.

use std::time::Duration;

use durhai::{StepContext, StepError, Value};
use reqwest::Method;

use super::ServiceStep;
use crate::http::{self, Form, MAX_SIZE, Request};
use crate::step_env::StepEnv;

const USUAL_TIMEOUT: Duration = Duration::from_secs(300);

impl ServiceStep {
    /// One attempt. Needs no permission; goes only where the URL says, redirects to another origin are refused. An
    /// empty answer is null, one that is not JSON is fatal. The service is told who asks: `Idempotency-Key`,
    /// `Durhai-Run`, `Durhai-Step`, `Durhai-Attempt` and `traceparent`.
    pub(crate) async fn call(
        &self,
        step_env: &StepEnv,
        context: &StepContext,
        input: &Value,
    ) -> Result<Value, StepError> {
        let request = self.request(step_env, context, input)?;
        Ok(http::send(step_env, request, &context.idempotency_key()).await?.body)
    }

    fn request(&self, step_env: &StepEnv, context: &StepContext, input: &Value) -> Result<Request, StepError> {
        let mut request = Request::to(Method::POST, &self.url)?;
        request.trusted = true;
        request.timeout = self.timeout.unwrap_or(USUAL_TIMEOUT);
        request.max_size = MAX_SIZE;
        request.form = Form::Json;
        for (name, value) in &self.headers {
            request.header(name, value, false)?;
        }
        if !request.headers.contains_key("accept") {
            request.header("accept", "application/json", false)?;
        }
        for (name, value) in [
            ("durhai-run", context.run_id().to_string()),
            ("durhai-step", context.step_id().to_string()),
            ("durhai-attempt", context.attempt().to_string()),
        ] {
            request.header(name, &value, false)?;
        }
        for (header, secret) in &self.secrets {
            request.secret(step_env, header, secret)?;
        }
        if let Some(secret) = &self.bearer {
            request.bearer(step_env, secret)?;
        }
        request.traced(&context.traceparent())?;
        request.carry(input.to_string().into_bytes(), "application/json")?;
        Ok(request)
    }
}
