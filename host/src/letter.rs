//! What can be put into a run's inbox.

use durhai_core::Value;
use durhai_core::replay::Input;
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
    Cancel {
        reason: String,
    },
    Terminate {
        reason: String,
    },
}

impl Message {
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
            Message::Cancel { reason } => Input::Cancel { reason },
            Message::Terminate { reason } => Input::Terminate { reason },
        }
    }
}
