//! Events: what happened in a run, in order. The log of a run is a list of these and nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Failure, FailureKind, Millis, RunId, StepId, TraceContext, Value, Version};

/// One line of a run's log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Dense, from 1.
    pub seq: u64,
    /// When it happened; never before the event in front of it.
    pub at: Millis,
    /// The durable call it belongs to.
    pub step_id: Option<StepId>,
    /// Where in the script that call stands.
    pub site: Option<Site>,
    pub body: EventBody,
}

/// What happened. Values that a run takes in and hands out are shared: the log and the script hold the same one.
#[derive(Debug, Clone, PartialEq)]
pub enum EventBody {
    RunCreated(Box<Created>),
    /// The script may begin; with `again`, it goes on in another run than the one that began the log.
    RunStarted {
        again: Option<Takeover>,
    },
    /// An attempt begins. `input` is there in the first attempt only.
    StepStarted {
        name: Arc<str>,
        input: Option<Arc<Value>>,
        attempt: u32,
        label: Option<String>,
    },
    /// An attempt failed; the next one begins at `retry_at`.
    StepRetrying {
        attempt: u32,
        error: Failure,
        retry_at: Millis,
    },
    StepCompleted {
        output: Arc<Value>,
    },
    /// The step failed for good, or its call was cancelled.
    StepFailed {
        error: Failure,
    },
    TimerStarted {
        wake_at: Millis,
    },
    TimerFired,
    /// `id` is what the sender gave against double delivery.
    SignalReceived {
        name: Arc<str>,
        payload: Arc<Value>,
        id: Option<String>,
    },
    /// The world has the token for this run.
    HookOpened {
        token: String,
        /// Where a payload can be sent.
        url: String,
        /// What comes for it is kept by its token, for whichever hook of the run has that when it is read. In logs of older
        /// versions it was kept by the call that opened the hook, and was gone when it was closed.
        kept: bool,
    },
    /// Another open hook has the token; `run_id` is whose it is.
    HookConflict {
        token: String,
        run_id: RunId,
    },
    /// `id` is what the sender gave against double delivery. Without a step id it came for a hook that the run has not
    /// opened: it is kept for the next one with that `token`.
    HookReceived {
        payload: Arc<Value>,
        id: Option<String>,
        token: Option<String>,
    },
    HookClosed,
    /// A person is asked; after `wake_at` the script waits no more.
    Suspended {
        payload: Arc<Value>,
        label: Option<String>,
        /// JSON Schema of the data that is wanted; null: anything.
        schema: Value,
        wake_at: Option<Millis>,
    },
    Resumed {
        data: Arc<Value>,
    },
    ChildStarted {
        run_id: RunId,
        /// The workflow.
        name: Arc<str>,
        input: Arc<Value>,
        label: Option<String>,
        /// It goes its own way: no run waits for it.
        detached: bool,
    },
    ChildCompleted {
        output: Arc<Value>,
    },
    /// The child failed, could not be started, or its call was cancelled.
    ChildFailed {
        error: Failure,
    },
    CancelRequested {
        reason: String,
        /// The run's own `timeout` is over: it will have failed, not been cancelled.
        timeout: bool,
    },
    RunMigrated {
        from: Version,
        to: Version,
    },
    RunCompleted {
        output: Arc<Value>,
    },
    RunFailed {
        error: Failure,
    },
    RunCancelled {
        reason: String,
    },
    RunContinued {
        next: RunId,
    },
}

/// All that is decided when a run is created.
#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    pub run: RunId,
    pub workflow: String,
    pub version: Version,
    pub input: Value,
    pub tags: BTreeMap<String, String>,
    /// The run that waits for this one.
    pub parent: Option<Parent>,
    /// How many runs are above it: 0 for one that no run started.
    pub depth: u32,
    /// How long it may take from its start on.
    pub timeout: Option<Millis>,
    /// Among the runs that wait for their workflow's `concurrency`.
    pub priority: i32,
    /// 1, or one more than that of the run whose work is tried again.
    pub attempt: u32,
    /// Its place in a chain of `continue_as_new`; none in a run that continues no other.
    pub chain: Option<Chain>,
    /// What the random numbers are drawn from, where it is not the run's own id: a run that took over the log of
    /// another one draws that one's numbers.
    pub seed: Option<String>,
    /// The run that `run_id()` names and that stands in the idempotency keys of its steps, where it is not this one: a run
    /// that is tried again asks for the same effects.
    pub idempotency_run: Option<RunId>,
    /// The run whose log this one took over, and up to which event.
    pub origin: Option<Origin>,
    /// The span that started it, where one is known: the run belongs to its trace.
    pub traceparent: Option<TraceContext>,
}

/// The call that waits for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    pub run: RunId,
    pub step_id: StepId,
}

/// Runs that continue each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The run it began with, whose name the caller knows.
    pub first: RunId,
    /// The run before this one.
    pub previous: RunId,
    /// 2 for the first successor.
    pub number: u64,
    /// Ids of signals that were delivered to runs before this one, the last thousand of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signal_ids: Vec<String>,
    /// The same of payloads for hooks: token and id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub payload_ids: Vec<(String, String)>,
}

/// Where the first events of a run were taken from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    pub run: RunId,
    pub seq: u64,
    /// The file it was imported from, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What becomes of timeouts and deadlines that are open there. None: they count on from when they began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<OpenTimes>,
}

/// What becomes of the times that are open in a log which is taken over, once the run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenTimes {
    /// All of each is left.
    Anew,
    /// What was left at that moment is left.
    StoodAt(Millis),
}

/// That the run which took a log over has begun, and what it means for timeouts and deadlines that were open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// They are counted from here.
    Anew,
    /// So many milliseconds passed that do not count.
    Paused(Millis),
}

impl Created {
    /// One with nothing special about it.
    pub fn new(run: RunId, workflow: impl Into<String>, version: Version, input: Value) -> Self {
        Created {
            run,
            workflow: workflow.into(),
            version,
            input,
            tags: BTreeMap::new(),
            parent: None,
            depth: 0,
            timeout: None,
            priority: 0,
            attempt: 1,
            chain: None,
            seed: None,
            idempotency_run: None,
            origin: None,
            traceparent: None,
        }
    }
}

/// A place in a script: `18:5`, or `lib/money:3:9` in an imported module.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Site {
    /// The module, where it is not the workflow's own file.
    pub file: Option<Arc<str>>,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

impl EventBody {
    /// The name that logs, views and documents use.
    pub fn name(&self) -> &'static str {
        match self {
            EventBody::RunCreated(_) => "run_created",
            EventBody::RunStarted { .. } => "run_started",
            EventBody::StepStarted { .. } => "step_started",
            EventBody::StepRetrying { .. } => "step_retrying",
            EventBody::StepCompleted { .. } => "step_completed",
            EventBody::StepFailed { .. } => "step_failed",
            EventBody::TimerStarted { .. } => "timer_started",
            EventBody::TimerFired => "timer_fired",
            EventBody::SignalReceived { .. } => "signal_received",
            EventBody::HookOpened { .. } => "hook_opened",
            EventBody::HookConflict { .. } => "hook_conflict",
            EventBody::HookReceived { .. } => "hook_received",
            EventBody::HookClosed => "hook_closed",
            EventBody::Suspended { .. } => "suspended",
            EventBody::Resumed { .. } => "resumed",
            EventBody::ChildStarted { .. } => "child_started",
            EventBody::ChildCompleted { .. } => "child_completed",
            EventBody::ChildFailed { .. } => "child_failed",
            EventBody::CancelRequested { .. } => "cancel_requested",
            EventBody::RunMigrated { .. } => "run_migrated",
            EventBody::RunCompleted { .. } => "run_completed",
            EventBody::RunFailed { .. } => "run_failed",
            EventBody::RunCancelled { .. } => "run_cancelled",
            EventBody::RunContinued { .. } => "run_continued",
        }
    }

    /// Nothing may follow it.
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            EventBody::RunCompleted { .. }
                | EventBody::RunFailed { .. }
                | EventBody::RunCancelled { .. }
                | EventBody::RunContinued { .. }
        )
    }

    /// It was asked for by the script, in the order the script ran; every other event is an external input.
    pub fn is_asked(&self) -> bool {
        match self {
            EventBody::StepStarted { attempt, .. } => *attempt == 1,
            // A call that was cancelled with its task: the script's doing, not the step's.
            EventBody::StepFailed { error } | EventBody::ChildFailed { error } => error.kind == FailureKind::Cancelled,
            // Whether a detached run can be started is the host's answer.
            EventBody::ChildStarted { detached, .. } => !detached,
            EventBody::TimerStarted { .. } | EventBody::HookClosed | EventBody::Suspended { .. } => true,
            body => body.is_terminal(),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file}:{}:{}", self.line, self.column),
            None => write!(f, "{}:{}", self.line, self.column),
        }
    }
}

impl Site {
    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, column) = text.rsplit_once(':')?;
        let (file, line) = match rest.rsplit_once(':') {
            Some((file, line)) => (Some(Arc::from(file)), line),
            None => (None, rest),
        };
        Some(Site { file, line: line.parse().ok()?, column: column.parse().ok()? })
    }
}
