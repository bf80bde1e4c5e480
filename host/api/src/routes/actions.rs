//! What can be done to a run. Each answers when it is durable.

use axum::Json;
use axum::http::StatusCode;
use durhai::{RunView, Value};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{JsonBody, OfRun};
use crate::problem::Problem;

/// 202 and the id: the run will act on it.
pub(super) type Accepted = Result<(StatusCode, Json<Value>), Problem>;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Signal {
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    #[serde(default)]
    payload: Value,
    /// The same id is delivered once.
    id: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    #[serde(default)]
    reason: String,
}

/// No body will do too.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Sends a signal. It is durable when this answers.
#[utoipa::path(
    post,
    path = "/runs/{id}/signal",
    operation_id = "signalRun",
    tag = "runs",
    request_body(content = Signal, content_type = "application/json", description = "Its name and payload."),
    responses(
        (status = 202, description = "The run will act on it.", body = ref("#/components/schemas/RunRef")),
        (status = 409, description = "The run has ended."),
    ),
)]
pub(super) async fn signal(OfRun(run): OfRun, JsonBody(signal): JsonBody<Signal>) -> Accepted {
    match &signal.id {
        Some(id) => run.signal_once(&signal.name, &signal.payload, id).await?,
        None => run.signal(&signal.name, &signal.payload).await?,
    }
    accepted(&run)
}

/// Asks a script to stop: its open calls throw `cancelled`. Asked twice, the run ends at once.
#[utoipa::path(
    post,
    path = "/runs/{id}/cancel",
    operation_id = "cancelRun",
    tag = "runs",
    request_body(content = Reason, content_type = "application/json", description = "Why."),
    responses(
        (status = 202, description = "The run will act on it.", body = ref("#/components/schemas/RunRef")),
        (status = 409, description = "The run has ended."),
    ),
)]
pub(super) async fn cancel(OfRun(run): OfRun, JsonBody(Reason { reason }): JsonBody<Reason>) -> Accepted {
    run.cancel(&reason).await?;
    accepted(&run)
}

/// Ends a run without asking its script.
#[utoipa::path(
    post,
    path = "/runs/{id}/terminate",
    operation_id = "terminateRun",
    tag = "runs",
    request_body(content = Reason, content_type = "application/json", description = "Why."),
    responses(
        (status = 202, description = "The run will act on it.", body = ref("#/components/schemas/RunRef")),
        (status = 409, description = "The run has ended."),
    ),
)]
pub(super) async fn terminate(OfRun(run): OfRun, JsonBody(Reason { reason }): JsonBody<Reason>) -> Accepted {
    run.terminate(&reason).await?;
    accepted(&run)
}

/// Lets a parked run try again.
#[utoipa::path(
    post,
    path = "/runs/{id}/unpark",
    operation_id = "unparkRun",
    tag = "runs",
    request_body(content = Nothing, content_type = "application/json", description = "Nothing."),
    responses(
        (status = 202, description = "The run will act on it.", body = ref("#/components/schemas/RunRef")),
        (status = 409, description = "The run is not parked."),
    ),
)]
pub(super) async fn unpark(OfRun(run): OfRun, JsonBody(Nothing {}): JsonBody<Nothing>) -> Accepted {
    run.unpark().await?;
    accepted(&run)
}

/// Starts a failed or cancelled run anew.
///
/// The new run takes over what was done before the failure, and makes the step that failed again. A run is tried again once:
/// asked again, the answer is the run that is there, as it stands now.
#[utoipa::path(
    post,
    path = "/runs/{id}/retry",
    operation_id = "retryRun",
    tag = "runs",
    request_body(content = Nothing, content_type = "application/json", description = "Nothing."),
    responses(
        (status = 200, description = "The run that tries it again already.", body = ref("#/components/schemas/Run")),
        (status = 201, description = "The new run.", body = ref("#/components/schemas/Run")),
        (status = 409, description = "The run has neither failed nor been cancelled, or another one has the token of its hook."),
        (status = 422, description = "The script is wrong."),
    ),
)]
pub(super) async fn retry(
    OfRun(run): OfRun,
    JsonBody(Nothing {}): JsonBody<Nothing>,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    let (status, next) = match run.retried().await? {
        Some(next) => (StatusCode::OK, next),
        None => (StatusCode::CREATED, run.retry().await?),
    };
    Ok((status, Json(next.view().await?)))
}

pub(super) fn accepted(run: &durhai::Run) -> Accepted {
    Ok((StatusCode::ACCEPTED, Json(json!({ "id": run.id() }))))
}
