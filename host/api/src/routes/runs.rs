//! Runs: start, list, show, delete.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use durhai::view::{Listing, Purge, Purged};
use durhai::{Millis, Query, RunId, RunView, Status, Value, Version};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::app::Shared;
use crate::cut::Cut;
use crate::extract::{JsonBody, OfRun, Params, WHOLE};
use crate::idempotency;
use crate::openapi;
use crate::problem::Problem;

/// The body of a start.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Started {
    pub workflow: String,
    #[serde(default)]
    pub input: Value,
    /// Makes the start idempotent; the header `Idempotency-Key` says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_.:/@+=-]+$")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = openapi::tags)]
    pub tags: BTreeMap<String, String>,
    /// Seconds, or text such as `"1h 30m"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = openapi::duration)]
    pub delay: Option<Value>,
    /// Milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9007199254740991u64)]
    pub at: Option<Millis>,
    /// How long the run may take; seconds, or text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = openapi::duration)]
    pub timeout: Option<Value>,
    /// Among the runs that wait for the workflow's `concurrency`: higher goes first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
}

/// The body of a purge: what has ended and fits all that is given.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Purging {
    /// Milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9007199254740991u64)]
    pub ended_before: Option<Millis>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(schema_with = openapi::ended)]
    pub status: Vec<Status>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Has to be said where nothing else is: every run that has ended.
    #[serde(default)]
    pub all: bool,
}

fn is_zero(priority: &i32) -> bool {
    *priority == 0
}

/// Starts a run.
///
/// A start that is repeated under the same id gives the run that is there.
#[utoipa::path(
    post,
    path = "/runs",
    operation_id = "startRun",
    tag = "runs",
    params(
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, description = "Up to 255 bytes, bare or in quotes (`\"…\"`, RFC 8941). Where it can be the id of a run it says the same as `id` in the body; else the id is `key-` and digits made from it, and the run has the tag `idempotency_key`."),
        ("traceparent" = Option<String>, Header, description = "The span that starts it, as W3C writes it; what is none is passed over."),
    ),
    request_body(content = Started, content_type = "application/json", description = "What to start."),
    responses(
        (status = 200, description = "It was there already, started with the same input.", body = ref("#/components/schemas/Run")),
        (status = 201, description = "It was started.", body = ref("#/components/schemas/Run")),
        (status = 404, description = "There is no such workflow."),
        (status = 409, description = "There is another run under this id: the digests of both inputs are said."),
        (status = 422, description = "The script is wrong."),
    ),
)]
pub(super) async fn start(
    State(app): State<Shared>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Started>,
) -> Result<Response, Problem> {
    let (id, key) = one_id(&headers, body.id)?;
    let known = match &id {
        Some(id) => app.host.get(id).await.is_ok(),
        None => false,
    };
    let mut start = app.host.run(body.workflow).input(&body.input).priority(body.priority);
    let mut tags = body.tags;
    // A client that knows the key finds the run by it. It takes no place that the client's own tags need.
    if let (Some(key), true) = (key, tags.len() < durhai::tags::MOST) {
        tags.entry(idempotency::TAG.into()).or_insert(key);
    }
    for (key, value) in tags {
        start = start.tag(key, value);
    }
    if let Some(id) = id {
        start = start.id(id);
    }
    match (body.delay, body.at) {
        (Some(_), Some(_)) => return Err(Problem::invalid("give `delay` or `at`, not both")),
        (Some(delay), None) => start = start.delay(duration("delay", &delay)?),
        (None, Some(at)) => start = start.at(moment("at", at)?),
        (None, None) => {}
    }
    if let Some(timeout) = body.timeout {
        start = start.timeout(duration("timeout", &timeout)?);
    }
    // W3C: of several, or of one that cannot be read, none counts.
    let mut spans = headers.get_all("traceparent").iter();
    if let (Some(span), None) = (spans.next().and_then(|span| span.to_str().ok()), spans.next()) {
        start = start.traceparent(span);
    }
    if app.config.leave_starts {
        start = start.elsewhere();
    }
    let view = start.start().await?.view().await?;
    let status = if known { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(view)).into_response())
}

/// Lists runs, newest first.
#[utoipa::path(
    get,
    path = "/runs",
    operation_id = "listRuns",
    tag = "runs",
    params(
        ("status" = Option<Vec<String>>, Query, style = Form, explode, description = "Any of these."),
        ("workflow" = Option<String>, Query, description = "The name of a workflow."),
        ("version" = Option<String>, Query, pattern = "^[0-9a-fA-F]{64}$", description = "A whole digest."),
        ("parent" = Option<String>, Query, min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_.:/@+=-]+$", description = "Those that this run started."),
        ("tag" = Option<Vec<String>>, Query, style = Form, explode, description = "All of these, each as `key:value`."),
        ("since" = Option<u64>, Query, minimum = 0, maximum = 9007199254740991u64, description = "Created at this moment or later (ms)."),
        ("until" = Option<u64>, Query, minimum = 0, maximum = 9007199254740991u64, description = "Created before this moment (ms)."),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "100 unless given."),
        ("value_bytes" = Option<u64>, Query, minimum = 16, maximum = 1048576, description = "Longer values are replaced by `Cut`."),
    ),
    responses(
        (status = 200, description = "A page of them.", body = ref("#/components/schemas/RunList")),
    ),
)]
pub(super) async fn list(State(app): State<Shared>, mut params: Params) -> Result<Json<Listing>, Problem> {
    let mut query = Query { workflow: params.one("workflow")?, cursor: params.one("cursor")?, ..Query::default() };
    query.status = params.statuses()?;
    for tag in params.all("tag") {
        let (key, value) = tag
            .split_once(':')
            .ok_or_else(|| Problem::invalid(format!("the tag {tag:?} has no value: write it as key:value")))?;
        query.tags.insert(key.into(), value.into());
    }
    if let Some(parent) = params.one("parent")? {
        let error = |error| Problem::invalid(format!("the parameter `parent` is {parent:?}: {error}"));
        query.parent = Some(RunId::new(parent.clone()).map_err(error)?);
    }
    if let Some(version) = params.one("version")? {
        if version.len() != 64 || !version.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let text = format!("the parameter `version` is {version:?}; it must be the 64 hexadecimal digits of one");
            return Err(Problem::invalid(text));
        }
        query.version = Some(Version::from_digest(&version.to_ascii_lowercase()));
    }
    query.since = params.whole("since", 0..=WHOLE)?;
    query.until = params.whole("until", 0..=WHOLE)?;
    query.limit = params.whole("limit", 1..=1000)?.unwrap_or(100) as usize;
    let cut = Cut::read(&mut params)?;
    params.done()?;
    Ok(Json(cut.of(app.host.list(query).await?)))
}

/// Shows a run.
#[utoipa::path(
    get,
    path = "/runs/{id}",
    operation_id = "getRun",
    tag = "runs",
    params(
        ("value_bytes" = Option<u64>, Query, minimum = 16, maximum = 1048576, description = "Longer values are replaced by `Cut`."),
    ),
    responses(
        (status = 200, description = "How it stands.", body = ref("#/components/schemas/Run")),
    ),
)]
pub(super) async fn show(OfRun(run): OfRun, mut params: Params) -> Result<Json<RunView>, Problem> {
    let cut = Cut::read(&mut params)?;
    params.done()?;
    Ok(Json(cut.of(run.view().await?)))
}

/// Removes a run that has ended, with all it left and the runs it started that have ended too.
#[utoipa::path(
    delete,
    path = "/runs/{id}",
    operation_id = "deleteRun",
    tag = "runs",
    responses(
        (status = 204, description = "It is gone."),
        (status = 409, description = "It has not ended."),
    ),
)]
pub(super) async fn delete(OfRun(run): OfRun) -> Result<StatusCode, Problem> {
    run.delete().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows what the script set with `set_state`.
#[utoipa::path(
    get,
    path = "/runs/{id}/state",
    operation_id = "getState",
    tag = "runs",
    responses(
        (status = 200, description = "A map.", body = BTreeMap<String, Value>),
    ),
)]
pub(super) async fn state(OfRun(run): OfRun) -> Result<Json<Value>, Problem> {
    Ok(Json(run.view().await?.state))
}

/// Lists the output streams of a run.
#[utoipa::path(
    get,
    path = "/runs/{id}/streams",
    operation_id = "listStreams",
    tag = "runs",
    responses(
        (status = 200, description = "Their names and lengths.", body = ref("#/components/schemas/StreamList")),
    ),
)]
pub(super) async fn streams(OfRun(run): OfRun) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "streams": run.streams().await? })))
}

/// Removes runs that have ended.
///
/// Refused without any filter, unless `all` is true.
#[utoipa::path(
    post,
    path = "/purge",
    operation_id = "purge",
    tag = "host",
    request_body(content = Purging, content_type = "application/json", description = "Which ones."),
    responses(
        (status = 200, description = "What was removed.", body = ref("#/components/schemas/Purged")),
    ),
)]
pub(super) async fn purge(
    State(app): State<Shared>,
    JsonBody(body): JsonBody<Purging>,
) -> Result<Json<Purged>, Problem> {
    let Purging { ended_before, status, workflow, all } = body;
    let filtered = ended_before.is_some() || !status.is_empty() || workflow.is_some();
    match (filtered, all) {
        (true, true) => return Err(Problem::invalid("give a filter or `all`, not both")),
        (false, false) => {
            return Err(Problem::invalid(
                "this would remove every run that has ended: give `ended_before`, `status` or `workflow`, or say \
                 \"all\": true",
            ));
        }
        _ => {}
    }
    let ended_before = ended_before.map(|before| moment("ended_before", before)).transpose()?;
    Ok(Json(app.host.purge(Purge { ended_before, status, workflow }).await?))
}

fn moment(field: &str, at: Millis) -> Result<Millis, Problem> {
    match at {
        0..=WHOLE => Ok(at),
        _ => Err(Problem::invalid(format!("`{field}` is {at}; it must be from 0 to {WHOLE}"))),
    }
}

/// The id of the run, and the key that it was made from where that could not be one itself.
fn one_id(headers: &HeaderMap, body: Option<String>) -> Result<(Option<String>, Option<String>), Problem> {
    let Some(key) = idempotency::of_start(headers)? else { return Ok((body, None)) };
    let id = idempotency::run_id(&key);
    match body {
        Some(body) if body != id => Err(Problem::invalid(format!(
            "the header Idempotency-Key stands for the run {id:?} and `id` says {body:?}: give one of them"
        ))),
        _ => Ok((Some(id.clone()), (id != key).then_some(key))),
    }
}

fn duration(field: &str, value: &Value) -> Result<Duration, Problem> {
    let ms = durhai::duration::from_json(value);
    ms.map(Duration::from_millis).map_err(|error| Problem::invalid(format!("`{field}`: {error}")))
}
