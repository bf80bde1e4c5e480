//! What can be put into a run's inbox.

use durhai_core::replay::Input;
use durhai_core::{Failure, StepId, Value};
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
    /// For the hook that this call opened.
    Hook {
        step_id: StepId,
        payload: Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    Resume {
        step_id: StepId,
        data: Value,
    },
    /// The child that this call waits for has ended.
    Child {
        step_id: StepId,
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
}

impl Message {
    /// What ends a run from outside.
    pub fn end(reason: String, terminate: bool) -> Self {
        if terminate { Message::Terminate { reason } } else { Message::Cancel { reason } }
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
            Message::Hook { step_id, payload, id } => Input::HookPayload { step_id, payload, id },
            Message::Resume { step_id, data } => Input::Resume { step_id, data },
            Message::Child { step_id, output, error } => {
                let result = error.map_or(Ok(output), |error| Err(*error));
                Input::Child { step_id, result }
            }
            Message::Cancel { reason } => Input::Cancel { reason },
            Message::Terminate { reason } => Input::Terminate { reason },
        }
    }
}
