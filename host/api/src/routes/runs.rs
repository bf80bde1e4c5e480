//! Runs: start, list, show, delete.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use durhai::{Listing, Millis, Query, RunView, Value};
use serde::{Deserialize, Serialize};

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
    let mut start = app.host.run(body.workflow).input(&body.input);
    for (key, value) in body.tags {
        start = start.tag(key, value);
    }
    if let Some(id) = id {
        start = start.id(id);
    }
    match (body.delay, body.at) {
        (Some(_), Some(_)) => return Err(Problem::invalid("give `delay` or `at`, not both")),
        (Some(delay), None) => start = start.delay(duration(&delay)?),
        (None, Some(at)) => start = start.at(at),
        (None, None) => {}
    }
    if app.config.leave_starts {
        start = start.elsewhere();
    }
    let view = start.start().await?.view().await?;
    let status = if known { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(view)).into_response())
}

/// `GET /runs?status=…&workflow=…&tag=k:v&since=…&until=…&cursor=…&limit=…`, newest first. `status` and `tag` may be
/// repeated: any of the statuses, all of the tags.
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

fn duration(value: &Value) -> Result<Duration, Problem> {
    let ms = match value {
        Value::String(text) => durhai::duration::parse(text),
        Value::Number(number) => durhai::duration::from_seconds(number.as_f64().unwrap_or(f64::NAN)),
        other => Err(format!("{other} is no duration: give seconds or text such as \"1h 30m\"")),
    };
    ms.map(Duration::from_millis).map_err(|error| Problem::invalid(format!("`delay`: {error}")))
}
