//! Runs from outside: starting one, and doing things to one.

use std::time::Duration;

use durhai_core::{Event, Millis, RunId, Status, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{HostError, RunError};
use crate::host::Host;
use crate::view::{LogEntry, RunView};

/// A start being described; see [`Host::run`]. Errors are kept until [`start`](Start::start).
#[derive(Debug)]
#[must_use = "call .start()"]
pub struct Start {
    pub(crate) host: Host,
    pub(crate) workflow: String,
    pub(crate) id: Option<String>,
    pub(crate) input: Result<Value, String>,
    pub(crate) tags: std::collections::BTreeMap<String, String>,
    pub(crate) at: Option<Millis>,
    pub(crate) delay: Option<Duration>,
}

impl Start {
    /// Makes the start idempotent: if there is a run of this name with the same workflow and input, it is returned as
    /// it is; with another workflow or input the start is refused.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The constant `input` of the script; null unless given.
    pub fn input<T: Serialize + ?Sized>(mut self, input: &T) -> Self {
        self.input = serde_json::to_value(input).map_err(|error| error.to_string());
        self
    }

    /// Something to find it by.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Begins that much later.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Begins at this moment (ms since the epoch).
    pub fn at(mut self, at: Millis) -> Self {
        self.at = Some(at);
        self
    }

    /// Creates the run. When this returns it is durable.
    pub async fn start(self) -> Result<Run, HostError> {
        unimplemented!()
    }
}

/// A run, by name. Dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct Run {
    pub(crate) host: Host,
    pub(crate) id: RunId,
}

#[allow(unused_variables)]
impl Run {
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// How it stands now.
    pub async fn view(&self) -> Result<RunView, HostError> {
        unimplemented!()
    }

    pub async fn status(&self) -> Result<Status, HostError> {
        unimplemented!()
    }

    /// Waits until the run has ended, or is parked, and shows it.
    pub async fn wait(&self) -> Result<RunView, HostError> {
        unimplemented!()
    }

    /// Waits for the end and gives the output.
    pub async fn output<T: DeserializeOwned>(&self) -> Result<T, RunError> {
        unimplemented!()
    }

    /// Sends a signal. When this returns it is durable and will be delivered.
    pub async fn signal<T: Serialize + ?Sized>(&self, name: &str, payload: &T) -> Result<(), HostError> {
        unimplemented!()
    }

    /// The same, delivered once however often it is sent with this `id`.
    pub async fn signal_once<T: Serialize + ?Sized>(&self, name: &str, payload: &T, id: &str) -> Result<(), HostError> {
        unimplemented!()
    }

    /// Asks the script to stop: its open calls throw `cancelled`.
    pub async fn cancel(&self, reason: &str) -> Result<(), HostError> {
        unimplemented!()
    }

    /// Ends the run without asking the script.
    pub async fn terminate(&self, reason: &str) -> Result<(), HostError> {
        unimplemented!()
    }

    /// Starts a failed or cancelled run anew: a run of its own that takes over what was done before the failure.
    pub async fn retry(&self) -> Result<Run, HostError> {
        unimplemented!()
    }

    /// Lets a parked run try again.
    pub async fn unpark(&self) -> Result<(), HostError> {
        unimplemented!()
    }

    /// Events from sequence number `from` (the first is 1), at most `limit`.
    pub async fn events(&self, from: u64, limit: usize) -> Result<Vec<Event>, HostError> {
        unimplemented!()
    }

    /// Lines of its log from index `from` (the first is 0), at most `limit`.
    pub async fn logs(&self, from: u64, limit: usize) -> Result<Vec<LogEntry>, HostError> {
        unimplemented!()
    }

    /// Removes a run that has ended, with all it left.
    pub async fn delete(&self) -> Result<(), HostError> {
        unimplemented!()
    }
}
