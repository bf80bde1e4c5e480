//! Errors, by who must act.

use std::any::Any;
use std::fmt;

use durhai_core::{Failure, RunId, Status};
use durhai_world::{Refused, WorldError};

/// Why the host did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The caller asked for something that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// There is no such run, workflow or step.
    #[error("{0}")]
    NotFound(String),
    /// It contradicts what is there: an id that is taken by another start, a run that has ended.
    #[error("{0}")]
    Conflict(String),
    /// A script or its folder is wrong; the text shows where.
    #[error("{0}")]
    Script(String),
    /// The world does not answer or is damaged: an operator must look.
    #[error(transparent)]
    World(WorldError),
    /// The host is stopping or has stopped.
    #[error("the host has been shut down")]
    Closed,
}

impl From<WorldError> for HostError {
    fn from(error: WorldError) -> Self {
        match error {
            WorldError::Invalid(text) => HostError::Invalid(text),
            error => HostError::World(error),
        }
    }
}

/// Why a script cannot be run here at this moment.
#[derive(Debug)]
pub(crate) enum Unready {
    /// The world does not answer: that passes, or the host fails for other reasons.
    World(WorldError),
    /// An operator must mend it first: the sentence says what.
    Wrong(String),
}

impl From<WorldError> for Unready {
    fn from(error: WorldError) -> Self {
        match error {
            WorldError::Unavailable(_) | WorldError::Locked(_) => Unready::World(error),
            WorldError::Corrupt(text) | WorldError::Invalid(text) => Unready::Wrong(text),
        }
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unready::World(error) => error.fmt(f),
            Unready::Wrong(text) => f.write_str(text),
        }
    }
}

impl Unready {
    /// For a caller to whom the sentence is said as `kind` of error.
    pub(crate) fn into_host(self, kind: fn(String) -> HostError) -> HostError {
        match self {
            Unready::World(error) => error.into(),
            Unready::Wrong(text) => kind(text),
        }
    }
}

impl HostError {
    pub(crate) fn no_run(run: &RunId) -> Self {
        HostError::NotFound(format!("there is no run {run}"))
    }

    /// The same failure of the world, told to one more caller.
    pub(crate) fn world(error: &WorldError) -> Self {
        HostError::from(match error {
            WorldError::Locked(text) => WorldError::Locked(text.clone()),
            WorldError::Unavailable(text) => WorldError::Unavailable(text.clone()),
            WorldError::Corrupt(text) => WorldError::Corrupt(text.clone()),
            WorldError::Invalid(text) => WorldError::Invalid(text.clone()),
        })
    }
}

/// A write that the world refused, to the caller that wanted it.
pub(crate) fn refusal(refused: Refused) -> HostError {
    match refused {
        Refused::Unknown(_) => HostError::NotFound(refused.to_string()),
        Refused::Invalid { .. } => HostError::Invalid(refused.to_string()),
        refused => HostError::Conflict(refused.to_string()),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> Option<&str> {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

/// Why a run gave no output.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The script failed.
    #[error("run {0} failed: {1}")]
    Failed(RunId, Box<Failure>),
    #[error("run {0} was cancelled: {1}")]
    Cancelled(RunId, String),
    /// An operator is needed: `durhai show RUN` says why.
    #[error("run {0} is parked: {1}")]
    Parked(RunId, String),
    /// It ended in a status that has no output.
    #[error("run {0} is {1}")]
    NoOutput(RunId, Status),
    /// The output is not of the wanted type.
    #[error("the output of run {0} is something else: {1}")]
    Type(RunId, serde_json::Error),
    #[error(transparent)]
    Host(#[from] HostError),
}
