//! External inputs of a run, and what a turn of it asks of the world.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::call::LogLine;
use super::divergence::Divergence;
use crate::options::{ChildOptions, RetryPolicy};
use crate::{Event, EventBody, Failure, FailureKind, Millis, RunId, StepId, Value};

/// An external input: something that happened, handed to [`Replay::deliver`](super::Replay::deliver).
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The script may begin.
    Start,
    /// The log has been replayed after a crash: attempts that were under way are made again, or given up (`once`).
    TakeUp,
    /// An attempt ended. Late ones, of calls that are closed, are ignored.
    Attempt {
        step_id: StepId,
        attempt: u32,
        result: Result<Value, AttemptError>,
    },
    /// It is later than before: what is due fires, one after the other.
    Time,
    /// A signal with the same id as one before is ignored.
    Signal {
        name: Arc<str>,
        payload: Value,
        id: Option<String>,
    },
    /// The world has the token of a hook for this run.
    HookOpened {
        step_id: StepId,
        token: String,
        url: String,
    },
    /// The token of a hook belongs to that other run.
    HookConflict {
        step_id: StepId,
        token: String,
        run_id: RunId,
    },
    /// A payload with the same id as one before is ignored. It goes to the hook that has the token now. Where none has it,
    /// `keep` says whether the script may open one with that token again, which then gets it; else it is ignored.
    HookPayload {
        /// The call that opened the hook, for messages of older hosts, which do not tell the token.
        step_id: StepId,
        token: Option<Arc<str>>,
        keep: bool,
        payload: Value,
        id: Option<String>,
    },
    /// What a person answered to `suspend`. Ignored where the question is not open any more, and where `run`, which was asked, is
    /// another one of the chain.
    Resume {
        step_id: StepId,
        run: Option<RunId>,
        data: Value,
    },
    /// A detached run will begin with this turn's commit.
    Started {
        step_id: StepId,
        run_id: RunId,
    },
    /// A child came to its end, or could not be started. `run`: which one, where another of the chain may have started one
    /// under the same step id.
    Child {
        step_id: StepId,
        run: Option<RunId>,
        result: Result<Value, Failure>,
    },
    /// The first asks the script; a second one ends the run.
    Cancel {
        reason: String,
    },
    Terminate {
        reason: String,
    },
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptError {
    pub kind: FailureKind,
    pub message: String,
    /// No further attempt.
    pub fatal: bool,
    /// Wait this long instead of what the policy says.
    pub retry_after: Option<Millis>,
    /// What the host says about attempts of this step. Counts if the call did not ask for a policy of its own.
    pub policy: Option<Box<RetryPolicy>>,
    pub data: Value,
}

/// Something the world must do once the events before it are durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    RunStep(RunStep),
    /// The script waits for this call no more.
    CancelStep(StepId),
    /// The script waits to be told, before the turn ends: [`Input::HookOpened`] or [`Input::HookConflict`].
    OpenHook {
        step_id: StepId,
        /// `None`: the host makes one.
        token: Option<String>,
        /// `schema`, `metadata`.
        info: Value,
    },
    CloseHook {
        token: String,
    },
    StartChild(StartChild),
    /// The script waits for this child no more.
    EndChild {
        run_id: RunId,
        reason: String,
        /// Without asking its script.
        terminate: bool,
    },
    Continue(Box<Continue>),
}

/// A run to be created with the commit of this turn.
#[derive(Debug, Clone, PartialEq)]
pub struct StartChild {
    pub step_id: StepId,
    pub run_id: RunId,
    pub workflow: Arc<str>,
    pub input: Arc<Value>,
    pub options: ChildOptions,
    /// The script waits for its start only: [`Input::Started`], or [`Input::Child`] with a failure.
    pub detached: bool,
    /// The log has it as started: make sure that it is there.
    pub again: bool,
}

/// The successor of a run, to be created with the run's last commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Continue {
    pub next: RunId,
    pub chain: crate::event::Chain,
    pub input: Value,
    /// Signals that came and were not taken.
    pub signals: Vec<(Arc<str>, Arc<Value>)>,
    /// Payloads that were not taken, of hooks whose tokens the script named: it may open them again.
    pub payloads: Vec<(Arc<str>, Arc<Value>)>,
}

/// A value for one of the run's output streams.
#[derive(Debug, Clone, PartialEq)]
pub struct Emitted {
    pub stream: Arc<str>,
    pub at: Millis,
    pub value: Value,
}

/// One attempt to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStep {
    pub step_id: StepId,
    pub name: Arc<str>,
    pub input: Arc<Value>,
    pub attempt: u32,
    /// The attempt before this one was interrupted by a crash.
    pub again: bool,
    /// The run in its idempotency key, where it is not the one that makes it.
    pub idempotency_run: Option<RunId>,
    /// It must not be made a second time.
    pub once: bool,
    /// How long this attempt may take.
    pub timeout: Option<Millis>,
    /// When all attempts together must be over.
    pub deadline: Option<Millis>,
}

/// What a turn brought, to be committed together.
#[derive(Debug, Default)]
pub struct Turn {
    pub events: Vec<Event>,
    pub commands: Vec<Command>,
    pub lines: Vec<LogLine>,
    pub emitted: Vec<Emitted>,
    /// What `set_state` changed.
    pub state: BTreeMap<String, Value>,
}

/// How a run came to rest for good, as far as this replay goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// By this terminal event, which is the last of the log.
    Ended(EventBody),
    /// The script does not fit the log; nothing was written.
    Diverged(Box<Divergence>),
}

/// What an open task waits for, as views show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingFor {
    /// `step`, `retry`, `sleep`, `signal`, `hook`, `suspend`, `child`, `tasks` or `task`.
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_id: Option<StepId>,
    /// Of the step, the signal or the child's workflow; the token of a hook; the label of a `suspend`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// The child's run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Millis>,
    /// Where the script waits: `18:5`.
    pub site: String,
    /// JSON Schema of the signal's payload, where the script gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Arc<Value>>,
}

impl WaitingFor {
    /// A wait of this kind, for what was asked for by this call.
    pub(super) fn new(kind: &'static str, step_id: Option<StepId>, site: String) -> Self {
        WaitingFor { kind, step_id, name: None, run_id: None, until: None, site, schema: None }
    }
}

impl AttemptError {
    pub fn new(message: impl Into<String>) -> Self {
        AttemptError {
            kind: FailureKind::StepFailed,
            message: message.into(),
            fatal: false,
            retry_after: None,
            policy: None,
            data: Value::Null,
        }
    }

    pub(super) fn into_failure(self, name: &str, id: &StepId, attempts: u32) -> Failure {
        Failure::new(self.kind, self.message).with_data(self.data).of_step(name, id, attempts)
    }
}
