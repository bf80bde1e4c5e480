//! Workflows, steps, and how the host is.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use durhai::{Diagnosis, GateReport, Health, Millis, Stats, Value, WorkflowView};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Shared, now};
use crate::extract::Body;
use crate::problem::{Problem, ProblemKind};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    #[serde(default)]
    input: Value,
}

/// A workflow and its last gate.
#[derive(Serialize)]
pub(super) struct Detail {
    #[serde(flatten)]
    workflow: WorkflowView,
    gate: Option<GateReport>,
}

/// How the host is, for people.
#[derive(Serialize)]
pub(super) struct HealthView {
    #[serde(flatten)]
    health: Health,
    /// Of durhai.
    version: &'static str,
    started_at: Millis,
    now: Millis,
    stats: Stats,
}

/// `GET /workflows`: `{ workflows }`.
pub(super) async fn workflows(State(app): State<Shared>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "workflows": app.host.workflow_list().await? })))
}

/// `GET /workflows/{name}`: the workflow, and as `gate` what came of the last new version that live runs stood before.
pub(super) async fn workflow(State(app): State<Shared>, Path(name): Path<String>) -> Result<Json<Detail>, Problem> {
    let mut all = app.host.workflow_list().await?;
    let Some(at) = all.iter().position(|workflow| workflow.name == name) else {
        return Err(Problem::new(ProblemKind::NotFound, format!("there is no workflow {name:?}")));
    };
    let gate = app.host.gate_report(&name).await?;
    Ok(Json(Detail { workflow: all.swap_remove(at), gate }))
}

/// `GET /steps`: `{ steps }`.
pub(super) async fn steps(State(app): State<Shared>) -> Json<Value> {
    Json(json!({ "steps": app.host.step_list() }))
}

/// `POST /steps/{name}` with `{ input }`: one attempt, outside of any run; `{ output }`.
pub(super) async fn call_step(
    State(app): State<Shared>,
    Path(name): Path<String>,
    Body(Call { input }): Body<Call>,
) -> Result<Json<Value>, Problem> {
    let output = app.host.call_step(&name, input).await.map_err(Problem::of_step)?;
    Ok(Json(json!({ "output": output })))
}

/// `GET /doctor`: `{ runs, events, findings }`, without findings when all is well.
pub(super) async fn doctor(State(app): State<Shared>) -> Result<Json<Diagnosis>, Problem> {
    Ok(Json(app.host.doctor().await?))
}

/// `GET /health`: whether it does its work, since when, and what it has done.
pub(super) async fn health(State(app): State<Shared>) -> Json<HealthView> {
    Json(HealthView {
        health: app.host.health(),
        version: env!("CARGO_PKG_VERSION"),
        started_at: app.started_at,
        now: now(),
        stats: app.host.stats(),
    })
}

/// `GET /healthz`: the process answers. Needs no token.
pub(super) async fn healthz(State(app): State<Shared>) -> Json<Value> {
    Json(json!({ "ok": true, "instance": app.config.instance }))
}

/// `GET /readyz`: 200 when the host does its work, 503 with the reason when it does not. Needs no token.
pub(super) async fn readyz(State(app): State<Shared>) -> Response {
    let health = app.host.health();
    let status = if health.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}
