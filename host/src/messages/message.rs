//! What can be put into a run's inbox.

use durhai_core::event::Created;
use durhai_core::replay::Input;
use durhai_core::{EventBody, Failure, FailureKind, Millis, RunId, StepId, Value, Version};
use durhai_world::NewMessage;
use serde::{Deserialize, Serialize};

/// A message to a run, as it is stored. Written by any host, read by the one that holds the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Message {
    Signal {
        name: String,
        payload: Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// For the hook that has the token, which this call had opened when the payload came. `keep`: the script named the
    /// token, so another hook may have it, also one that is opened later, also in the successor of the run.
    Hook {
        step_id: StepId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keep: bool,
        payload: Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// `run` asked the question: its successor may ask another one under the same step id.
    Resume {
        step_id: StepId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunId>,
        data: Value,
    },
    /// The child that this call waits for has ended; `run` is its name, that of the first where it is a chain.
    Child {
        step_id: StepId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunId>,
        #[serde(default, skip_serializing_if = "Value::is_null")]
        output: Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Box<Failure>>,
    },
    Cancel {
        reason: String,
    },
    Terminate {
        reason: String,
    },
    /// The run is to go on with that version, if its log fits. From a host that does not hold it.
    Migrate {
        to: Version,
    },
}

impl Message {
    /// What ends a run from outside.
    pub fn end(reason: String, terminate: bool) -> Self {
        if terminate { Message::Terminate { reason } } else { Message::Cancel { reason } }
    }

    /// On its way to a run. Only what ends a run is for one that has not begun, too: everything else waits until it does.
    pub fn to(&self, run: &RunId, at: Millis) -> NewMessage {
        let urgent = matches!(self, Message::Cancel { .. } | Message::Terminate { .. });
        NewMessage { run: run.clone(), at, urgent, bytes: self.encode() }
    }

    /// What becomes of a run that has not begun, if this ends it.
    pub fn into_end(self) -> Option<EventBody> {
        match self {
            Message::Cancel { reason } => Some(EventBody::RunCancelled { reason }),
            Message::Terminate { reason } => {
                Some(EventBody::RunFailed { error: Failure::new(FailureKind::Terminated, reason) })
            }
            _ => None,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a message is JSON")
    }

    /// `None` for a kind that a newer host wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub fn into_input(self) -> Input {
        match self {
            Message::Signal { name, payload, id } => Input::Signal { name: name.into(), payload, id },
            Message::Hook { step_id, token, keep, payload, id } => {
                Input::HookPayload { step_id, token: token.map(Into::into), keep, payload, id }
            }
            Message::Resume { step_id, run, data } => Input::Resume { step_id, run, data },
            Message::Child { step_id, run, output, error } => {
                let result = error.map_or(Ok(output), |error| Err(*error));
                Input::Child { step_id, run, result }
            }
            Message::Cancel { reason } => Input::Cancel { reason },
            Message::Terminate { reason } => Input::Terminate { reason },
            // For its worker, which has seen to it. The script hears nothing.
            Message::Migrate { .. } => Input::Time,
        }
    }
}

/// What the run that waits for this one is told of its end. A successor tells it instead, if there is one.
pub(crate) fn to_parent(created: &Created, end: &EventBody, now: Millis) -> Option<NewMessage> {
    let parent = created.parent.as_ref()?;
    let (output, cause) = match end {
        EventBody::RunCompleted { output } => (Value::clone(output), None),
        EventBody::RunFailed { error } => (Value::Null, Some(error.clone())),
        EventBody::RunCancelled { reason } => (Value::Null, Some(Failure::cancelled(reason))),
        _ => return None,
    };
    let error = cause.map(|cause| {
        let what = if cause.kind == FailureKind::Cancelled { "was cancelled" } else { "failed" };
        // What all generations between would say is in the causes.
        let mut root = &cause;
        while let (FailureKind::ChildFailed, Some(deeper)) = (root.kind, &root.cause) {
            root = deeper;
        }
        let message = format!("run {} of workflow {:?} {what}: {}", created.run, created.workflow, root.message);
        let failure = Failure::new(FailureKind::ChildFailed, message).with_data(cause.data.clone());
        let failure = failure.of_step(&created.workflow, &parent.step_id, 0);
        Box::new(Failure { cause: Some(Box::new(cause)), ..failure })
    });
    let run = created.chain.as_ref().map_or(&created.run, |chain| &chain.first).clone();
    let message = Message::Child { step_id: parent.step_id.clone(), run: Some(run), output, error };
    Some(message.to(&parent.run, now))
}
