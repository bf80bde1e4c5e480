//! Versions of workflows: their texts, what the gate said, and moving runs.

use axum::Json;
use axum::extract::{Path, State};
use durhai::{GateReport, Host, MigrateReport, Migration, Query, SourceView, Value, Version};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Shared;
use crate::extract::{Body, OfRun};
use crate::problem::{Problem, ProblemKind};

/// The body of both `migrate` routes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Migrating {
    /// A version: `serving`, or the first digits of a digest. Without it, the one that serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only say what would come of it.
    pub dry_run: bool,
}

/// `GET /workflows/{name}/versions`: `{ versions }`.
pub(super) async fn list(State(app): State<Shared>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "versions": app.host.versions(&name).await? })))
}

/// `GET /workflows/{name}/versions/{version}`: its texts. `serving` and the first digits of a digest will do.
pub(super) async fn source(
    State(app): State<Shared>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<SourceView>, Problem> {
    let version = app.host.version(&name, &version).await?;
    Ok(Json(app.host.source(&version).await?))
}

/// `GET /workflows/{name}/gate`: what came of the last new version that live runs stood before.
pub(super) async fn gate(State(app): State<Shared>, Path(name): Path<String>) -> Result<Json<GateReport>, Problem> {
    let report = app.host.gate_report(&name).await?;
    report.map(Json).ok_or_else(|| {
        Problem::new(ProblemKind::NotFound, format!("no live run of {name:?} has stood before a new version yet"))
    })
}

/// `POST /workflows/{name}/migrate`: all live runs of it.
pub(super) async fn migrate_all(
    State(app): State<Shared>,
    Path(name): Path<String>,
    Body(Migrating { to, dry_run }): Body<Migrating>,
) -> Result<Json<MigrateReport>, Problem> {
    let to = target(&app.host, &name, to).await?;
    let query = Query { workflow: Some(name), ..Query::default() };
    Ok(Json(app.host.migrate(query, to, dry_run).await?))
}

/// `POST /runs/{id}/migrate`: 200 with what came of it, moved or not.
pub(super) async fn migrate(
    State(app): State<Shared>,
    OfRun(run): OfRun,
    Body(Migrating { to, dry_run }): Body<Migrating>,
) -> Result<Json<Migration>, Problem> {
    let workflow = run.view().await?.workflow;
    let to = target(&app.host, &workflow, to).await?;
    Ok(Json(run.migrate(to, dry_run).await?))
}

async fn target(host: &Host, workflow: &str, to: Option<String>) -> Result<Option<Version>, Problem> {
    match to {
        Some(to) => Ok(Some(host.version(workflow, &to).await?)),
        None => Ok(None),
    }
}
