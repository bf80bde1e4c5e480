//! People: what a run asks them, and their answers.

use axum::Json;
use durhai::Value;
use serde::Deserialize;
use serde_json::json;

use super::actions::{Accepted, accepted};
use crate::extract::{Body, OfRun};
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    /// Which question, where there are several: its label, or its step id.
    label: Option<String>,
    #[serde(default)]
    data: Value,
}

/// `GET /runs/{id}/suspensions`: `{ suspensions }`, the open questions in the order they were asked.
pub(super) async fn suspensions(OfRun(run): OfRun) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "suspensions": run.suspensions().await? })))
}

/// `POST /runs/{id}/resume` with `{ label, data }`: 202. 409 where nobody is asked, 400 where the data does not fit.
pub(super) async fn resume(OfRun(run): OfRun, Body(Answer { label, data }): Body<Answer>) -> Accepted {
    run.resume(label.as_deref(), &data).await?;
    accepted(&run)
}
