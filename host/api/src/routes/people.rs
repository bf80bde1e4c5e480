//! People: what a run asks them, and their answers.

use axum::Json;
use durhai::Value;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::actions::{Accepted, accepted};
use crate::extract::{JsonBody, OfRun};
use crate::problem::Problem;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    /// Which question, where there are several: its label, or its step id.
    label: Option<String>,
    #[serde(default)]
    data: Value,
}

/// Lists the questions that a run has put to people, in the order they were asked.
#[utoipa::path(
    get,
    path = "/runs/{id}/suspensions",
    operation_id = "listSuspensions",
    tag = "runs",
    responses(
        (status = 200, description = "Those that are open.", body = ref("#/components/schemas/SuspensionList")),
    ),
)]
pub(super) async fn suspensions(OfRun(run): OfRun) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "suspensions": run.suspensions().await? })))
}

/// Answers a question.
#[utoipa::path(
    post,
    path = "/runs/{id}/resume",
    operation_id = "resumeRun",
    tag = "runs",
    request_body(content = Answer, content_type = "application/json", description = "The answer, which must fit the schema of the question."),
    responses(
        (status = 202, description = "It will be delivered.", body = ref("#/components/schemas/RunRef")),
        (status = 409, description = "Nobody is asked that, or it is not clear which question is meant."),
    ),
)]
pub(super) async fn resume(OfRun(run): OfRun, JsonBody(Answer { label, data }): JsonBody<Answer>) -> Accepted {
    run.resume(label.as_deref(), &data).await?;
    accepted(&run)
}
