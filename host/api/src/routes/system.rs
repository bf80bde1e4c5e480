//! Workflows, steps, and how the host is.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{OriginalUri, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use durhai::archive::Diagnosis;
use durhai::versions::CompatReport;
use durhai::view::{Health, RunCount, Stats};
use durhai::{Millis, Status, Value, WorkflowView};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::app::{Shared, now};
use crate::extract::{JsonBody, Named, Params};
use crate::problem::{Problem, ProblemKind};

#[derive(Deserialize, ToSchema)]
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
    gate: Option<CompatReport>,
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
    runs: Vec<Counted>,
}

/// How many runs of a workflow have a status.
#[derive(Serialize)]
struct Counted {
    workflow: String,
    status: Status,
    runs: u64,
}

/// Lists the workflows, by name.
#[utoipa::path(
    get,
    path = "/workflows",
    operation_id = "listWorkflows",
    tag = "workflows",
    responses(
        (status = 200, description = "All of them.", body = ref("#/components/schemas/WorkflowList")),
    ),
)]
pub(super) async fn workflows(State(app): State<Shared>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "workflows": app.host.workflow_list().await? })))
}

/// Shows a workflow, and the report of the last new version that was checked against live runs.
#[utoipa::path(
    get,
    path = "/workflows/{name}",
    operation_id = "getWorkflow",
    tag = "workflows",
    responses(
        (status = 200, description = "The workflow.", body = ref("#/components/schemas/WorkflowDetail")),
    ),
)]
pub(super) async fn workflow(State(app): State<Shared>, Named(name): Named<String>) -> Result<Json<Detail>, Problem> {
    let mut all = app.host.workflow_list().await?;
    let Some(at) = all.iter().position(|workflow| workflow.name == name) else {
        return Err(Problem::new(ProblemKind::NotFound, format!("there is no workflow {name:?}")));
    };
    let gate = app.host.compat_report(&name).await?;
    Ok(Json(Detail { workflow: all.swap_remove(at), gate }))
}

/// Lists the steps that can be called.
#[utoipa::path(
    get,
    path = "/steps",
    operation_id = "listSteps",
    tag = "steps",
    responses(
        (status = 200, description = "All of them.", body = ref("#/components/schemas/StepList")),
    ),
)]
pub(super) async fn steps(State(app): State<Shared>) -> Json<Value> {
    Json(json!({ "steps": app.host.step_list() }))
}

/// Makes one attempt of a step, outside of any run.
#[utoipa::path(
    post,
    path = "/steps/{name}",
    operation_id = "callStep",
    tag = "steps",
    request_body(content = Call, content_type = "application/json", description = "What the step gets."),
    responses(
        (status = 200, description = "What it gave.", body = ref("#/components/schemas/StepOutput")),
        (status = 422, description = "The step failed; `error` says how."),
    ),
)]
pub(super) async fn call_step(
    State(app): State<Shared>,
    Named(name): Named<String>,
    JsonBody(Call { input }): JsonBody<Call>,
) -> Result<Json<Value>, Problem> {
    let output = app.host.call_step(&name, input).await.map_err(Problem::of_step)?;
    Ok(Json(json!({ "output": output })))
}

/// Holds everything in the store against the logs.
///
/// Without findings all is well.
#[utoipa::path(
    get,
    path = "/doctor",
    operation_id = "examine",
    tag = "host",
    responses(
        (status = 200, description = "What was found.", body = ref("#/components/schemas/Diagnosis")),
    ),
)]
pub(super) async fn doctor(State(app): State<Shared>) -> Result<Json<Diagnosis>, Problem> {
    Ok(Json(app.host.doctor().await?))
}

/// Says how the host is, since when, and what it has done.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "getHealth",
    tag = "host",
    responses(
        (status = 200, description = "Also where it does not do its work: then `ok` is false.", body = ref("#/components/schemas/Health")),
    ),
)]
pub(super) async fn health(State(app): State<Shared>) -> Json<HealthView> {
    let mut counts: BTreeMap<(String, Status), u64> = BTreeMap::new();
    // A host that has failed or stops cannot count; `ok` says so.
    for RunCount { workflow, status, runs, .. } in app.host.run_counts().await.unwrap_or_default() {
        *counts.entry((workflow, status)).or_default() += runs;
    }
    Json(HealthView {
        health: app.host.health(),
        version: env!("CARGO_PKG_VERSION"),
        started_at: app.started_at,
        now: now(),
        stats: app.host.stats(),
        runs: counts.into_iter().map(|((workflow, status), runs)| Counted { workflow, status, runs }).collect(),
    })
}

/// Lists the hosts that share the store, and says which of them answers.
#[utoipa::path(
    get,
    path = "/hosts",
    operation_id = "listHosts",
    tag = "host",
    params(
        ("all" = Option<bool>, Query, description = "Also those that ended within the last day."),
    ),
    responses(
        (status = 200, description = "The oldest first. On a store of one machine there is one.", body = ref("#/components/schemas/HostList")),
    ),
)]
pub(super) async fn hosts(State(app): State<Shared>, mut params: Params) -> Result<Json<Value>, Problem> {
    let all = params.read("all")?.unwrap_or(false);
    params.done()?;
    Ok(Json(json!({ "hosts": app.host.hosts(all).await? })))
}

/// Gives what the host counts and measures, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "getMetrics",
    tag = "host",
    responses((status = 200, description = "Exposition format 0.0.4.", content_type = "text/plain", body = String)),
)]
pub(super) async fn metrics(State(app): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.host.metrics().await.prometheus()).into_response()
}

/// Describes the API: this document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "describe",
    tag = "host",
    responses((status = 200, description = "OpenAPI 3.1.", body = BTreeMap<String, Value>)),
)]
pub(super) async fn openapi(State(app): State<Shared>, OriginalUri(uri): OriginalUri) -> Response {
    // Paths are named from where the API is.
    let document = match uri.path().strip_suffix("/api/v1/openapi.json") {
        None | Some("") => app.document.clone(),
        Some(below) => {
            let text = String::from_utf8_lossy(&app.document);
            text.replacen(&json!({ "url": "/" }).to_string(), &json!({ "url": below }).to_string(), 1).into()
        }
    };
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}

/// Says that the process answers. Needs no token.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "isAlive",
    tag = "host",
    responses(
        (status = 200, description = "It does.", body = ref("#/components/schemas/Alive")),
    ),
)]
pub(super) async fn healthz(State(app): State<Shared>) -> Json<Value> {
    Json(json!({ "ok": true, "instance": app.config.instance }))
}

/// Says whether the host does its work. Needs no token.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "isReady",
    tag = "host",
    responses(
        (status = 200, description = "It does.", body = ref("#/components/schemas/Ready")),
        (status = 503, description = "It does not, for this reason.", content((ref("#/components/schemas/Ready") = "application/json"), (ref("#/components/schemas/Problem") = "application/problem+json"))),
    ),
)]
pub(super) async fn readyz(State(app): State<Shared>) -> Response {
    let health = app.host.health();
    let status = if health.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}
