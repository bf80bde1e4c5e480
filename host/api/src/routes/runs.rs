//! Runs: start, list, show, delete.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use durhai::{Listing, Millis, Purge, Purged, Query, RunId, RunView, Status, Value, Version};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Shared;
use crate::extract::{Body, OfRun, Params};
use crate::problem::Problem;

/// The body of a start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Started {
    pub workflow: String,
    #[serde(default)]
    pub input: Value,
    /// Makes the start idempotent; the header `Idempotency-Key` says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Seconds, or text such as `"1h 30m"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Value>,
    /// Milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Millis>,
    /// How long the run may take; seconds, or text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Value>,
    /// Among the runs that wait for the workflow's `concurrency`: higher goes first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
}

/// The body of a purge: what has ended and fits all that is given.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purging {
    /// Milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_before: Option<Millis>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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

/// `POST /runs`: 201 with the run, or 200 with the run that had this id already.
pub(super) async fn start(
    State(app): State<Shared>,
    headers: HeaderMap,
    Body(body): Body<Started>,
) -> Result<Response, Problem> {
    let id = one_id(&headers, body.id)?;
    let known = match &id {
        Some(id) => app.host.get(id).await.is_ok(),
        None => false,
    };
    let mut start = app.host.run(body.workflow).input(&body.input).priority(body.priority);
    for (key, value) in body.tags {
        start = start.tag(key, value);
    }
    if let Some(id) = id {
        start = start.id(id);
    }
    match (body.delay, body.at) {
        (Some(_), Some(_)) => return Err(Problem::invalid("give `delay` or `at`, not both")),
        (Some(delay), None) => start = start.delay(duration("delay", &delay)?),
        (None, Some(at)) => start = start.at(at),
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

/// `GET /runs?status=…&workflow=…&version=…&parent=…&tag=k:v&since=…&until=…&cursor=…&limit=…`, newest first. `status` and
/// `tag` may be repeated: any of the statuses, all of the tags.
pub(super) async fn list(State(app): State<Shared>, mut params: Params) -> Result<Json<Listing>, Problem> {
    let mut query = Query { workflow: params.one("workflow")?, cursor: params.one("cursor")?, ..Query::default() };
    for status in params.all("status") {
        query.status.push(status.parse().map_err(|error: String| Problem::invalid(error))?);
    }
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
    query.since = params.read("since")?;
    query.until = params.read("until")?;
    query.limit = params.read::<usize>("limit")?.unwrap_or(100);
    if !(1..=1000).contains(&query.limit) {
        return Err(Problem::invalid(format!("the limit is {}; it must be from 1 to 1000", query.limit)));
    }
    params.done()?;
    Ok(Json(app.host.list(query).await?))
}

/// `GET /runs/{id}`
pub(super) async fn show(OfRun(run): OfRun) -> Result<Json<RunView>, Problem> {
    Ok(Json(run.view().await?))
}

/// `DELETE /runs/{id}`: 204.
pub(super) async fn delete(OfRun(run): OfRun) -> Result<StatusCode, Problem> {
    run.delete().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /runs/{id}/state`: what the script set, as a map.
pub(super) async fn state(OfRun(run): OfRun) -> Result<Json<Value>, Problem> {
    Ok(Json(run.view().await?.state))
}

/// `GET /runs/{id}/streams`: `{ streams }`, each `{ name, entries }`.
pub(super) async fn streams(OfRun(run): OfRun) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "streams": run.streams().await? })))
}

/// `POST /purge`: 200 with what was removed. Refused without any filter, unless `all` is true.
pub(super) async fn purge(State(app): State<Shared>, Body(body): Body<Purging>) -> Result<Json<Purged>, Problem> {
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
    Ok(Json(app.host.purge(Purge { ended_before, status, workflow }).await?))
}

fn one_id(headers: &HeaderMap, body: Option<String>) -> Result<Option<String>, Problem> {
    let header = match headers.get("idempotency-key") {
        None => return Ok(body),
        Some(value) => {
            value.to_str().map_err(|_| Problem::invalid("the header Idempotency-Key is no plain text"))?.trim()
        }
    };
    match body {
        Some(id) if id != header => Err(Problem::invalid(format!(
            "the header Idempotency-Key says {header:?} and `id` says {id:?}: give one of them"
        ))),
        _ => Ok(Some(header.into())),
    }
}

fn duration(field: &str, value: &Value) -> Result<Duration, Problem> {
    let ms = match value {
        Value::String(text) => durhai::duration::parse(text),
        Value::Number(number) => durhai::duration::from_seconds(number.as_f64().unwrap_or(f64::NAN)),
        other => Err(format!("{other} is no duration: give seconds or text such as \"1h 30m\"")),
    };
    ms.map(Duration::from_millis).map_err(|error| Problem::invalid(format!("`{field}`: {error}")))
}
