//! Workflows that start by themselves.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use durhai::view::ScheduleView;
use durhai::{RunView, Value};
use serde_json::json;

use super::actions::Nothing;
use crate::app::{App, Shared};
use crate::extract::{JsonBody, Named};
use crate::problem::{Problem, ProblemKind};

/// Lists the workflows that start by themselves.
#[utoipa::path(
    get,
    path = "/schedules",
    operation_id = "listSchedules",
    tag = "schedules",
    responses(
        (status = 200, description = "All of them.", body = ref("#/components/schemas/ScheduleList")),
    ),
)]
pub(super) async fn list(State(app): State<Shared>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "schedules": app.host.schedules().await? })))
}

/// Pauses a schedule.
#[utoipa::path(
    post,
    path = "/schedules/{name}/pause",
    operation_id = "pauseSchedule",
    tag = "schedules",
    request_body(content = Nothing, content_type = "application/json", description = "Nothing."),
    responses(
        (status = 200, description = "The schedule.", body = ref("#/components/schemas/Schedule")),
    ),
)]
pub(super) async fn pause(
    State(app): State<Shared>,
    Named(name): Named<String>,
    JsonBody(Nothing {}): JsonBody<Nothing>,
) -> Result<Json<ScheduleView>, Problem> {
    app.host.pause_schedule(&name).await?;
    one(&app, &name).await
}

/// Resumes a schedule.
#[utoipa::path(
    post,
    path = "/schedules/{name}/resume",
    operation_id = "resumeSchedule",
    tag = "schedules",
    request_body(content = Nothing, content_type = "application/json", description = "Nothing."),
    responses(
        (status = 200, description = "The schedule.", body = ref("#/components/schemas/Schedule")),
    ),
)]
pub(super) async fn resume(
    State(app): State<Shared>,
    Named(name): Named<String>,
    JsonBody(Nothing {}): JsonBody<Nothing>,
) -> Result<Json<ScheduleView>, Problem> {
    app.host.resume_schedule(&name).await?;
    one(&app, &name).await
}

/// Starts a run of a schedule at once.
#[utoipa::path(
    post,
    path = "/schedules/{name}/trigger",
    operation_id = "triggerSchedule",
    tag = "schedules",
    request_body(content = Nothing, content_type = "application/json", description = "Nothing."),
    responses(
        (status = 201, description = "The run.", body = ref("#/components/schemas/Run")),
        (status = 422, description = "The script is wrong."),
    ),
)]
pub(super) async fn trigger(
    State(app): State<Shared>,
    Named(name): Named<String>,
    JsonBody(Nothing {}): JsonBody<Nothing>,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    let run = app.host.trigger_schedule(&name).await?;
    Ok((StatusCode::CREATED, Json(run.view().await?)))
}

async fn one(app: &App, name: &str) -> Result<Json<ScheduleView>, Problem> {
    let all = app.host.schedules().await?;
    all.into_iter()
        .find(|schedule| schedule.workflow == name)
        .map(Json)
        .ok_or_else(|| Problem::new(ProblemKind::NotFound, format!("the workflow {name:?} has no schedule")))
}
