//! People: what a run has asked them, and their answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use durhai_core::replay::TakenOver;
use durhai_core::{Event, EventBody, RunId, StepId, Value};
use durhai_engine::schema::{self, Schema};
use durhai_world::{Refused, World, WorldError, Write};
use serde::Serialize;

use crate::error::{HostError, refusal};
use crate::logs::lineage::latest;
use crate::messages::message::Message;
use crate::shared::Shared;
use crate::store::payload;
use crate::view::Suspension;

/// See [`Run::suspensions`](crate::Run::suspensions).
pub(crate) async fn suspensions(host: &Arc<Shared>, run: &RunId) -> Result<Vec<Suspension>, HostError> {
    let id = run.clone();
    host.store.known(run).await?;
    host.store.blocking(move |world| open(world, &latest(world, &id)?)).await
}

/// See [`Run::resume`](crate::Run::resume).
pub(crate) async fn resume<T: Serialize + ?Sized>(
    host: &Arc<Shared>,
    run: &RunId,
    label: Option<&str>,
    data: &T,
) -> Result<(), HostError> {
    let data =
        serde_json::to_value(data).map_err(|error| HostError::Invalid(format!("the data is not JSON: {error}")))?;
    payload::check(&data, host.config.limits.payload, host.config.limits.depth)
        .map_err(|why| HostError::Invalid(format!("the data {why}")))?;
    host.store.known(run).await?;
    let id = run.clone();
    let (asking, open, answered) = host
        .store
        .blocking(move |world| {
            let run = latest(world, &id)?;
            Ok((run.clone(), open(world, &run)?, answered(world, &run)?))
        })
        .await?;
    let asked = pick(&asking.to_string(), &open, &answered, label)?;
    let data = match &asked.schema {
        Value::Null => data,
        schema => Schema::compile(schema)
            .map_err(|error| HostError::Invalid(format!("the schema of the question cannot be used: {error}")))?
            .accept(data)
            .map_err(|problems| {
                HostError::Invalid(format!("the data does not fit the question: {}", schema::list(&problems)))
            })?,
    };
    let message = Message::Resume { step_id: asked.step_id.clone(), run: Some(asking.clone()), data };
    let write = Write::Send(message.to(&asking, host.store.clock.now()));
    match host.store.ask(write).await? {
        Ok(_) => {
            host.observe.meters.resumes.inc();
            Ok(())
        }
        Err(Refused::Unknown(_)) => Err(HostError::no_run(run)),
        Err(refused) => Err(refusal(refused)),
    }
}

/// The open questions, as the log has them.
fn open(world: &dyn World, run: &RunId) -> Result<Vec<Suspension>, WorldError> {
    let (log, _) = crate::logs::read::read(world, run)?;
    Ok(open_in(&log))
}

fn open_in(log: &[Event]) -> Vec<Suspension> {
    let mut open: BTreeMap<u64, Suspension> = BTreeMap::new();
    let mut order: BTreeMap<StepId, u64> = BTreeMap::new();
    let taken_over = TakenOver::of(log);
    for event in log {
        let Some(id) = &event.step_id else {
            // The end of the run, or of its timeout: a cancelled task waits for no answer.
            if event.body.is_terminal() || matches!(event.body, EventBody::CancelRequested { .. }) {
                open.clear();
            }
            continue;
        };
        match &event.body {
            EventBody::Suspended { payload, label, schema, wake_at } => {
                order.insert(id.clone(), event.seq);
                let asked = Suspension {
                    step_id: id.clone(),
                    label: label.clone(),
                    payload: Value::clone(payload),
                    schema: schema.clone(),
                    since: event.at,
                    until: wake_at.map(|wake_at| taken_over.until(event.seq, event.at, wake_at)),
                };
                open.insert(event.seq, asked);
            }
            EventBody::Resumed { .. } | EventBody::TimerFired => {
                order.get(id).map(|seq| open.remove(seq));
            }
            _ => {}
        }
    }
    open.into_values().collect()
}

/// Calls whose answer lies in the run's inbox.
fn answered(world: &dyn World, run: &RunId) -> Result<Vec<StepId>, WorldError> {
    let messages = world.inbox(run, 0, 1_000)?;
    Ok(messages
        .iter()
        .filter_map(|message| match Message::decode(&message.bytes) {
            Some(Message::Resume { step_id, .. }) => Some(step_id),
            _ => None,
        })
        .collect())
}

fn pick<'a>(
    run: &str,
    open: &'a [Suspension],
    answered: &[StepId],
    label: Option<&str>,
) -> Result<&'a Suspension, HostError> {
    let name = |asked: &Suspension| asked.label.clone().unwrap_or_else(|| asked.step_id.to_string());
    let names = || open.iter().map(|asked| format!("{:?}", name(asked))).collect::<Vec<_>>().join(", ");
    let named: Vec<_> = match label {
        None => open.iter().collect(),
        Some(label) => open
            .iter()
            .filter(|asked| asked.label.as_deref() == Some(label) || asked.step_id.as_str() == label)
            .collect(),
    };
    let conflict = |text: String| Err(HostError::Conflict(text));
    let asked = match (named.as_slice(), label) {
        ([one], _) => one,
        ([], _) if open.is_empty() => return conflict(format!("run {run} asks nobody at this moment")),
        ([], _) => {
            return conflict(format!(
                "run {run} asks nothing under the label {:?}; it asks under {}",
                label.unwrap_or_default(),
                names()
            ));
        }
        (_, None) => {
            return conflict(format!(
                "run {run} asks {} questions at once: say by its label which one this answers: {}",
                open.len(),
                names()
            ));
        }
        (several, Some(label)) => {
            let ids: Vec<_> = several.iter().map(|asked| asked.step_id.as_str()).collect();
            return conflict(format!(
                "run {run} asks {} questions under the label {label:?}: give the step id instead: {}",
                several.len(),
                ids.join(", ")
            ));
        }
    };
    if answered.contains(&asked.step_id) {
        return conflict(format!("the question {:?} of run {run} is answered already", name(asked)));
    }
    Ok(asked)
}
