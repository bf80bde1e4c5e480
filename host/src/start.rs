//! A start of a run, described.

use std::fmt;
use std::time::Duration;

use durhai_core::{Millis, TraceContext};
use serde::Serialize;

use crate::error::HostError;
use crate::host::Host;
use crate::run::Run;
use crate::runtime::start::{self, StartRequest};

/// A start being described; see [`Host::run`]. Errors are kept until [`start`](Start::start).
#[must_use = "call .start()"]
pub struct Start {
    host: Host,
    request: StartRequest,
}

impl Start {
    pub(crate) fn new(host: Host, workflow: String) -> Self {
        Start { host, request: StartRequest::new(workflow) }
    }

    /// Makes the start idempotent: if there is a run of this name with the same workflow and input, it is returned as
    /// it is; with another workflow or input the start is refused.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.request.id = Some(id.into());
        self
    }

    /// The constant `input` of the script; null unless given.
    pub fn input<T: Serialize + ?Sized>(mut self, input: &T) -> Self {
        self.request.input = serde_json::to_value(input).map_err(|error| error.to_string());
        self
    }

    /// Something to find it by: at most 32 of them, with a key of at most 64 bytes and a value of at most 256.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.tags.insert(key.into(), value.into());
        self
    }

    /// Begins that much later.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.request.delay = Some(delay);
        self
    }

    /// Begins at this moment (ms since the epoch).
    pub fn at(mut self, at: Millis) -> Self {
        self.request.at = Some(at);
        self
    }

    /// How long the whole run may take from its start on, instead of what its workflow says. Then it is cancelled and
    /// fails with `timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeout = Some(timeout);
        self
    }

    /// Its place among the runs that wait for the workflow's `concurrency`: higher goes first, 0 unless given.
    pub fn priority(mut self, priority: i32) -> Self {
        self.request.priority = priority;
        self
    }

    /// The span that starts it, as W3C writes it: the run is part of its trace. A text that is no `traceparent` of version 00
    /// is ignored, as if there were none; so is one that comes with a start of a run that is there already.
    pub fn traceparent(mut self, text: &str) -> Self {
        self.request.traceparent = TraceContext::parse(text).ok();
        self
    }

    /// Does not run it here: the host that serves the world later does.
    pub fn elsewhere(mut self) -> Self {
        self.request.elsewhere = true;
        self
    }

    /// Creates the run. When this returns it is durable. It runs the text that its file has now: a save that the host has not
    /// noticed yet is looked at first.
    pub async fn start(self) -> Result<Run, HostError> {
        let (id, settled) = start::start(self.host.running()?, self.request).await?;
        Ok(Run::started(&self.host, id, settled))
    }
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Start({:?})", self.request.workflow)
    }
}
