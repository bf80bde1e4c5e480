//! Logs with other results than those that were recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use durhai_core::{Event, EventBody, FailureKind, StepId, Value, json};

/// Replaces what calls came to: the outputs of steps and children, the data of questions, the payloads of signals. A failure
/// becomes a success. The error is a sentence; then nothing was changed that counts.
pub(crate) fn set_results(log: &mut [Event], set: &BTreeMap<StepId, Value>) -> Result<(), String> {
    for (id, value) in set {
        json::check(value, "").map_err(|number| format!("the result of step {id} cannot be set: {number}"))?;
        let value = Arc::new(value.clone());
        let of_call = |event: &&mut Event| event.step_id.as_ref() == Some(id);
        let result = log.iter_mut().rev().filter(of_call).find_map(|event| result_of(&mut event.body, &value));
        if result.is_none() {
            return Err(no_result(log, id));
        }
    }
    Ok(())
}

/// Puts the value in the place of a result; `None`: it is none.
fn result_of(body: &mut EventBody, value: &Arc<Value>) -> Option<()> {
    match body {
        EventBody::StepCompleted { output } | EventBody::ChildCompleted { output } => *output = value.clone(),
        EventBody::Resumed { data } => *data = value.clone(),
        EventBody::SignalReceived { payload, .. } | EventBody::HookReceived { payload, .. } => *payload = value.clone(),
        EventBody::StepFailed { error } if error.kind != FailureKind::Cancelled => {
            *body = EventBody::StepCompleted { output: value.clone() };
        }
        EventBody::ChildFailed { error } if error.kind != FailureKind::Cancelled => {
            *body = EventBody::ChildCompleted { output: value.clone() };
        }
        _ => return None,
    }
    Some(())
}

fn no_result(log: &[Event], id: &StepId) -> String {
    let mut of_call = log.iter().filter(|event| event.step_id.as_ref() == Some(id)).peekable();
    if of_call.peek().is_none() {
        let known: Vec<_> =
            log.iter().filter(|event| has_result(&event.body)).filter_map(|e| e.step_id.as_ref()).collect();
        let shown: Vec<_> = known.iter().take(20).map(|id| id.as_str()).collect();
        let more = if known.len() > shown.len() { ", …" } else { "" };
        return match shown.is_empty() {
            true => format!("step {id} has no result to be set: no step in the log has one"),
            false => format!("step {id} has no result to be set; those that have are {}{more}", shown.join(", ")),
        };
    }
    match of_call.any(|event| matches!(event.body, EventBody::TimerStarted { .. })) {
        true => format!("step {id} is a timer: it has no result that could be another one"),
        false => format!("step {id} has no result yet, so there is none to be set"),
    }
}

fn has_result(body: &EventBody) -> bool {
    matches!(
        body,
        EventBody::StepCompleted { .. }
            | EventBody::ChildCompleted { .. }
            | EventBody::Resumed { .. }
            | EventBody::SignalReceived { .. }
            | EventBody::HookReceived { .. }
            | EventBody::StepFailed { .. }
            | EventBody::ChildFailed { .. }
    )
}
