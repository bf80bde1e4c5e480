//! `start_workflow`: a run that goes its own way. The host says within the turn whether it begins.

use std::sync::Arc;

use super::request::{HostRequest, HostRequests};
use crate::event::Created;
use crate::options::ChildOptions;
use crate::replay::call::{Answer, TaskKey};
use crate::replay::cursor::{Cursor, Stop};
use crate::replay::waits::{Called, Caller};
use crate::{EventBody, RunId, StepId, Value};

pub fn call(
    caller: Caller,
    (workflow, input, options): (Arc<str>, Value, ChildOptions),
    requests: &mut HostRequests,
    run: &Created,
    cursor: &mut Cursor,
) -> Called {
    let request = HostRequest::Start { workflow, input: Arc::new(input), options };
    requests.call(caller, request, run, cursor)
}

/// The event by which the run begins that the script waits for.
pub fn event(id: &StepId, run_id: RunId, requests: &HostRequests) -> Option<EventBody> {
    let Some(HostRequest::Start { workflow, input, options }) = requests.get(id) else { return None };
    let (name, input, label) = (workflow.clone(), input.clone(), options.label.clone());
    Some(EventBody::ChildStarted { run_id, name, input, label, detached: true })
}

/// The run has begun: the task that waits, and what it gets.
pub fn started(
    id: &StepId,
    (run, name, input): (&RunId, &str, &Value),
    requests: &mut HostRequests,
) -> Result<(TaskKey, Answer), Stop> {
    match requests.get(id) {
        Some(HostRequest::Start { workflow, .. }) if **workflow != *name => {
            return Err(Stop::Unasked("another workflow is started"));
        }
        Some(HostRequest::Start { input: asked, .. }) if **asked != *input => {
            return Err(Stop::Unasked("the workflow is started with another input"));
        }
        _ => {}
    }
    let task = requests.answered(id, None)?;
    Ok((task, Answer::Value(Arc::new(Value::from(run.as_str())))))
}
