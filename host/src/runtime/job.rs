//! What the committer is given: a write, and what follows once it is durable.

use std::sync::Arc;
use std::time::Instant;

use durhai_core::replay::{Command, Emitted, LogLine};
use durhai_core::{Event, Millis, RunId, Status};
use durhai_world::{Refused, WorldError, Write, Written};
use tokio::sync::oneshot;

use crate::observe::observer::RunEnded;
use crate::runtime::command::MoveReply;
use crate::runtime::run_shared::RunShared;

/// One write and what follows once it is durable.
pub(crate) struct Job {
    pub write: Write,
    pub then: Then,
}

/// A job on its way.
pub(crate) struct Queued {
    pub job: Job,
    pub since: Instant,
}

impl Queued {
    pub fn new(job: Job) -> Self {
        Queued { job, since: Instant::now() }
    }
}

pub(crate) enum Then {
    /// A turn: its commands go out now.
    Turn(Box<TurnDone>),
    /// A caller waits for the answer.
    Reply(oneshot::Sender<WriteAnswer>),
    /// A claim was given back.
    Released(Arc<RunShared>),
    /// The run's worker waits until all before this is durable.
    Durable(Arc<RunShared>),
}

pub(crate) type WriteAnswer = Result<Result<Written, Refused>, Arc<WorldError>>;

pub(crate) struct TurnDone {
    /// Of the claim it was made under.
    pub fence: u64,
    pub run: Arc<RunShared>,
    pub commands: Vec<Command>,
    /// Runs that were created with it, with their logs.
    pub first_events: Vec<(RunId, Vec<Event>)>,
    /// Kept only if a receiver of commits listens.
    pub events: Vec<Event>,
    pub lines: Vec<LogLine>,
    pub emitted: Vec<Emitted>,
    pub status: Status,
    /// The row or the state changed: something can be seen of it, even if nothing else came with it.
    pub shown: bool,
    /// How long the run has taken, if it ends with this.
    pub lasted: Option<Millis>,
    /// Callers may wait for the end of the run.
    pub rests: bool,
    /// What those are told who observe the ends of runs.
    pub ended: Option<Box<RunEnded>>,
    /// Who wants to know that the run has moved to another version.
    pub moved: Option<oneshot::Sender<MoveReply>>,
    /// The turn is not over: its script waits until this is durable.
    pub part: bool,
}
