//! Versions of workflows: their texts, what the gate said, and moving runs.

use axum::Json;
use axum::extract::State;
use durhai::versions::{CompatReport, MigrateReport, Migration, SourceView};
use durhai::{Host, Query, Value, Version};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::app::Shared;
use crate::extract::{JsonBody, Named, OfRun};
use crate::problem::{Problem, ProblemKind};

/// The body of both `migrate` routes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({ "dry_run": true }))]
pub struct Migrating {
    /// A version: `serving`, or the first digits of a digest, four at least. Without it, the one that serves.
    #[schema(pattern = "^(serving|[0-9a-f]{4,64})$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only say what would come of it.
    pub dry_run: bool,
}

/// Lists the versions of a workflow.
#[utoipa::path(
    get,
    path = "/workflows/{name}/versions",
    operation_id = "listVersions",
    tag = "workflows",
    responses(
        (status = 200, description = "That which serves first, then the newest.", body = ref("#/components/schemas/VersionList")),
    ),
)]
pub(super) async fn list(State(app): State<Shared>, Named(name): Named<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "versions": app.host.versions(&name).await? })))
}

/// Shows the texts of a version.
#[utoipa::path(
    get,
    path = "/workflows/{name}/versions/{version}",
    operation_id = "getSource",
    tag = "workflows",
    responses(
        (status = 200, description = "Its texts.", body = ref("#/components/schemas/Source")),
    ),
)]
pub(super) async fn source(
    State(app): State<Shared>,
    Named((name, version)): Named<(String, String)>,
) -> Result<Json<SourceView>, Problem> {
    let version = app.host.version(&name, &version).await?;
    Ok(Json(app.host.source(&version).await?))
}

/// Shows the report of the last new version that was checked against live runs.
#[utoipa::path(
    get,
    path = "/workflows/{name}/gate",
    operation_id = "getGate",
    tag = "workflows",
    responses(
        (status = 200, description = "The report.", body = ref("#/components/schemas/CompatReport")),
    ),
)]
pub(super) async fn gate(State(app): State<Shared>, Named(name): Named<String>) -> Result<Json<CompatReport>, Problem> {
    let report = app.host.compat_report(&name).await?;
    report.map(Json).ok_or_else(|| {
        Problem::new(ProblemKind::NotFound, format!("no live run of {name:?} has stood before a new version yet"))
    })
}

/// Moves all live runs of a workflow to a version, where their logs fit it.
#[utoipa::path(
    post,
    path = "/workflows/{name}/migrate",
    operation_id = "migrateWorkflow",
    tag = "workflows",
    request_body(content = Migrating, content_type = "application/json", description = "Where to."),
    responses(
        (status = 200, description = "The report.", body = ref("#/components/schemas/MigrateReport")),
        (status = 422, description = "The text of the version does not compile here."),
    ),
)]
pub(super) async fn migrate_all(
    State(app): State<Shared>,
    Named(name): Named<String>,
    JsonBody(Migrating { to, dry_run }): JsonBody<Migrating>,
) -> Result<Json<MigrateReport>, Problem> {
    let to = target(&app.host, &name, to).await?;
    let query = Query { workflow: Some(name), ..Query::default() };
    Ok(Json(app.host.migrate(query, to, dry_run).await?))
}

/// Moves a run to a version, where its log fits it.
#[utoipa::path(
    post,
    path = "/runs/{id}/migrate",
    operation_id = "migrateRun",
    tag = "runs",
    request_body(content = Migrating, content_type = "application/json", description = "Where to."),
    responses(
        (status = 200, description = "The result, moved or not.", body = ref("#/components/schemas/Migration")),
        (status = 409, description = "It has ended, or another host holds it."),
        (status = 422, description = "The text of the version does not compile here."),
    ),
)]
pub(super) async fn migrate(
    State(app): State<Shared>,
    OfRun(run): OfRun,
    JsonBody(Migrating { to, dry_run }): JsonBody<Migrating>,
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
