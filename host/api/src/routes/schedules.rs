//! Workflows that start by themselves.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use durhai::{RunView, ScheduleView, Value};
use serde_json::json;

use super::actions::Nothing;
use super::{App, Shared};
use crate::extract::Body;
use crate::problem::{Problem, ProblemKind};

/// `GET /schedules`: `{ schedules }`.
pub(super) async fn list(State(app): State<Shared>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "schedules": app.host.schedules().await? })))
}

/// `POST /schedules/{name}/pause`: 200 with the schedule.
pub(super) async fn pause(
    State(app): State<Shared>,
    Path(name): Path<String>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Json<ScheduleView>, Problem> {
    app.host.pause_schedule(&name).await?;
    one(&app, &name).await
}

/// `POST /schedules/{name}/resume`: 200 with the schedule.
pub(super) async fn resume(
    State(app): State<Shared>,
    Path(name): Path<String>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Json<ScheduleView>, Problem> {
    app.host.resume_schedule(&name).await?;
    one(&app, &name).await
}

/// `POST /schedules/{name}/trigger`: 201 with the run, which begins at once.
pub(super) async fn trigger(
    State(app): State<Shared>,
    Path(name): Path<String>,
    Body(Nothing {}): Body<Nothing>,
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
