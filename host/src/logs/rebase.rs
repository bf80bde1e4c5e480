//! What changes in a log when another run takes it over: names of children, tokens, and where it ends.

use std::collections::HashSet;

use durhai_core::{Event, EventBody, FailureKind, RunId, StepId, Value, wire};
use durhai_world::{World, WorldError};

use crate::error::HostError;
use crate::messages::hooks;
use crate::store::random;

/// Children that had not ended belong to the old run; the new one begins its own.
pub(crate) fn rename_children(log: &mut [Event], new: &RunId) {
    let ended: HashSet<_> = log
        .iter()
        .filter(|event| matches!(event.body, EventBody::ChildCompleted { .. } | EventBody::ChildFailed { .. }))
        .filter_map(|event| event.step_id.clone())
        .collect();
    for event in log {
        if let (EventBody::ChildStarted { run_id, detached: false, .. }, Some(id)) = (&mut event.body, &event.step_id)
            && !ended.contains(id)
        {
            *run_id = new.child(id);
        }
    }
}

/// The part of a failed run's log that may be kept: up to the failure of the step that failed it, which keeps its start
/// but loses its attempts; up to the end of the `with_timeout` that failed it; up to the request of a cancellation; else up to the end. And what is behind that. `None`: it did not fail.
pub(crate) fn before_failure(mut log: Vec<Event>) -> Option<(Vec<Event>, Vec<Event>)> {
    let step: Option<StepId> = match &log.last()?.body {
        EventBody::RunFailed { error } => error.step_id.clone().filter(|_| error.kind != FailureKind::Terminated),
        EventBody::RunCancelled { .. } => None,
        _ => return None,
    };
    let failure = step.as_ref().and_then(|id| {
        let failed = |event: &Event| {
            matches!(event.body, EventBody::StepFailed { .. } | EventBody::ChildFailed { .. } | EventBody::TimerFired)
        };
        log.iter().position(|event| failed(event) && event.step_id.as_ref() == Some(id))
    });
    let cancel = log.iter().position(|event| matches!(event.body, EventBody::CancelRequested { .. }));
    let end = log.len() - 1;
    let behind = log.split_off(failure.or(cancel).unwrap_or(end).min(end));
    if let Some(id) = step.filter(|_| failure.is_some()) {
        log.retain(|event| {
            let again = match &event.body {
                EventBody::StepRetrying { .. } => true,
                EventBody::StepStarted { attempt, .. } => *attempt > 1,
                _ => false,
            };
            !(again && event.step_id.as_ref() == Some(&id))
        });
    }
    for (seq, event) in (1..).zip(&mut log) {
        event.seq = seq;
    }
    Some((log, behind))
}

/// Gives hooks that are open tokens of their own, wherever the log mentions the old ones. `keep`: only those whose tokens another
/// run has, so that an address goes on working.
pub(crate) fn own_tokens(
    world: &dyn World,
    events: Vec<Event>,
    new: &RunId,
    keep: bool,
) -> Result<Vec<Event>, HostError> {
    let open = hooks::open_tokens(&events);
    if open.is_empty() {
        return Ok(events);
    }
    let mut text = String::from_utf8(wire::encode(&events)).expect("events are JSON");
    for token in open.into_values() {
        let holder = world.hook(&token)?.map(|hook| hook.run).filter(|holder| holder != new);
        if random::is_token(&token) {
            if holder.is_some() || !keep {
                text = text.replace(&token, &random::token()?);
            }
        } else if let Some(holder) = holder {
            return Err(HostError::Conflict(format!(
                "the hook with the token {token:?} is open for run {holder}, and one run at a time can have it: fork before the \
                 script opens it, or wait until that run has closed it"
            )));
        }
    }
    let mut own = Vec::with_capacity(events.len());
    wire::decode(text.as_bytes(), &mut own)
        .map_err(|error| HostError::World(WorldError::Corrupt(error.to_string())))?;
    Ok(own)
}

/// Puts the new run's name where a script has written its own into what it asked for.
pub(crate) fn rename_in_input(event: &mut Event, old: &RunId, new: &RunId) {
    let renamed = |value: &mut Value| rename(value, old.as_str(), new.as_str());
    match &mut event.body {
        EventBody::StepStarted { input: Some(input), .. } => renamed(std::sync::Arc::make_mut(input)),
        EventBody::ChildStarted { input, .. } => renamed(std::sync::Arc::make_mut(input)),
        EventBody::Suspended { payload, .. } => renamed(std::sync::Arc::make_mut(payload)),
        _ => {}
    }
}

fn rename(value: &mut Value, old: &str, new: &str) {
    match value {
        Value::String(text) if text.contains(old) => *text = text.replace(old, new),
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, old, new)),
        Value::Object(fields) => fields.values_mut().for_each(|field| rename(field, old, new)),
        _ => {}
    }
}
