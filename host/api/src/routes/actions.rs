//! What can be done to a run. Each answers when it is durable.

use axum::Json;
use axum::http::StatusCode;
use durhai::{RunView, Value};
use serde::Deserialize;
use serde_json::json;

use crate::extract::{Body, OfRun};
use crate::problem::Problem;

/// 202 and the id: the run will act on it.
pub(super) type Accepted = Result<(StatusCode, Json<Value>), Problem>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signal {
    name: String,
    #[serde(default)]
    payload: Value,
    /// The same id is delivered once.
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// `POST /runs/{id}/signal`
pub(super) async fn signal(OfRun(run): OfRun, Body(signal): Body<Signal>) -> Accepted {
    match &signal.id {
        Some(id) => run.signal_once(&signal.name, &signal.payload, id).await?,
        None => run.signal(&signal.name, &signal.payload).await?,
    }
    accepted(&run)
}

/// `POST /runs/{id}/cancel`
pub(super) async fn cancel(OfRun(run): OfRun, Body(Reason { reason }): Body<Reason>) -> Accepted {
    run.cancel(&reason).await?;
    accepted(&run)
}

/// `POST /runs/{id}/terminate`
pub(super) async fn terminate(OfRun(run): OfRun, Body(Reason { reason }): Body<Reason>) -> Accepted {
    run.terminate(&reason).await?;
    accepted(&run)
}

/// `POST /runs/{id}/unpark`
pub(super) async fn unpark(OfRun(run): OfRun, Body(Nothing {}): Body<Nothing>) -> Accepted {
    run.unpark().await?;
    accepted(&run)
}

/// `POST /runs/{id}/retry`: 201 with the new run.
pub(super) async fn retry(
    OfRun(run): OfRun,
    Body(Nothing {}): Body<Nothing>,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    Ok((StatusCode::CREATED, Json(run.retry().await?.view().await?)))
}

pub(super) fn accepted(run: &durhai::Run) -> Accepted {
    Ok((StatusCode::ACCEPTED, Json(json!({ "id": run.id() }))))
}
