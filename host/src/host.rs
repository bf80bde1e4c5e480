//! The host: what an embedder holds.

use durhai_core::{Failure, Value};
use durhai_world::Query;
use tokio::sync::broadcast;

use crate::builder::HostBuilder;
use crate::error::HostError;
use crate::handle::{Run, Start};
use crate::step::StepInfo;
use crate::view::{Committed, Health, Listing, Report, Stats, WorkflowView};

/// A running host. Cheap to clone; the last [`shutdown`](Host::shutdown) counts, dropping loses nothing.
#[derive(Clone, Debug)]
pub struct Host {}

#[allow(unused_variables)]
impl Host {
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// Describes a start of a workflow.
    pub fn run(&self, workflow: impl Into<String>) -> Start {
        unimplemented!()
    }

    /// A run by its id. [`HostError::NotFound`] if there is none.
    pub async fn get(&self, id: &str) -> Result<Run, HostError> {
        unimplemented!()
    }

    /// Runs, newest first.
    pub async fn list(&self, query: Query) -> Result<Listing, HostError> {
        unimplemented!()
    }

    /// Every workflow, by name.
    pub fn workflows(&self) -> Vec<WorkflowView> {
        unimplemented!()
    }

    /// Every step that can be called.
    pub fn step_list(&self) -> Vec<StepInfo> {
        unimplemented!()
    }

    /// One attempt of a step, outside of any workflow, without a record.
    pub async fn call_step(&self, name: &str, input: Value) -> Result<Value, Failure> {
        unimplemented!()
    }

    /// Everything that becomes durable from now on. A receiver that is too slow misses some (it is told how many).
    pub fn commits(&self) -> broadcast::Receiver<Committed> {
        unimplemented!()
    }

    /// What happens in the scripts folder from now on.
    pub fn reports(&self) -> broadcast::Receiver<Report> {
        unimplemented!()
    }

    /// Looks at the scripts folder now, and says what changed.
    pub async fn reload(&self) -> Result<Vec<Report>, HostError> {
        unimplemented!()
    }

    pub fn health(&self) -> Health {
        unimplemented!()
    }

    pub fn stats(&self) -> Stats {
        unimplemented!()
    }

    /// Checks every log in the world against the table of legal events, and the world itself; one line each finding.
    pub async fn doctor(&self) -> Result<Vec<String>, HostError> {
        unimplemented!()
    }

    /// Stops: takes no new runs, tells running steps, waits for their end up to the grace period, finishes commits.
    /// Every run can be taken up again.
    pub async fn shutdown(&self) {
        unimplemented!()
    }

    /// Resolves when the host has stopped by itself because its world failed.
    pub async fn failed(&self) -> HostError {
        unimplemented!()
    }
}
