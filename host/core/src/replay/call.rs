//! What a script asks and what it is told: the words between an engine and [`Replay`](super::Replay).

use std::sync::Arc;

use crate::options::ChildOptions;
use crate::{Failure, Millis, StepId, StepOptions, Value};

/// A task of a run: 0 is the body, others are numbered as they start. Not stable between replays of different logs; the
/// task's path is.
pub type TaskKey = u32;

/// Tasks that were opened by one call. Numbered as they are opened.
pub type GroupKey = u32;

/// The body of the workflow.
pub const BODY: TaskKey = 0;

/// A durable call.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    Step {
        name: Arc<str>,
        input: Value,
        options: StepOptions,
    },
    Sleep(Wake),
    /// The next signal of that name; null after the timeout.
    WaitFor {
        signal: Arc<str>,
        timeout: Option<Millis>,
        /// Of the payload that is wanted: only shown, the script checks it.
        schema: Option<Arc<Value>>,
    },
    /// The next signal of that name that is already there, or null.
    PollSignal {
        signal: Arc<str>,
    },
    /// Opens a hook; answered by [`Answer::Hook`]. Without a token the host makes one that cannot be guessed. `info` goes
    /// to the host with it: what it needs to know of the hook (`schema`, `metadata`).
    Hook {
        token: Option<String>,
        info: Value,
    },
    /// The next payload of a hook; null after the timeout, or when the hook is closed and nothing is left.
    WaitHook {
        hook: StepId,
        timeout: Option<Millis>,
    },
    /// Closes a hook. Goes through in a cancelled task too.
    CloseHook {
        hook: StepId,
    },
    /// Waits for a person; the data of the answer, or null after the timeout.
    Suspend {
        payload: Value,
        label: Option<String>,
        /// JSON Schema of the data; null: anything goes.
        schema: Value,
        timeout: Option<Millis>,
    },
    /// Runs another workflow and waits for its output.
    Child {
        workflow: Arc<str>,
        input: Value,
        options: ChildOptions,
    },
    /// Starts another workflow that goes its own way; its id.
    Start {
        workflow: Arc<str>,
        input: Value,
        options: ChildOptions,
    },
    /// Ends the run and begins its successor. Only the body may; answered by [`Reply::Stop`], or a failure.
    Continue {
        input: Value,
    },
    /// Opens tasks; see [`GroupKind`].
    Open {
        kind: GroupKind,
        /// How many branches there are.
        size: usize,
        /// How many of them run at a time, at most.
        concurrency: usize,
    },
    /// Waits for the one task of a [`GroupKind::Spawn`] group.
    Join(GroupKey),
}

/// When a timer fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    After(Millis),
    At(Millis),
}

/// How the branches of a group belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKind {
    /// All must succeed; the first failure decides and cancels the others. `parallel`, `foreach`.
    All,
    /// All are waited for, whatever they come to. `#{ settle: true }`.
    Settle,
    /// The first that ends, either way, decides and cancels the others. `race`.
    Race,
    /// One branch against a timer. `with_timeout`.
    Timeout(Millis),
    /// One branch that no task waits for yet. `task`.
    Spawn,
}

/// What a call comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Value(Arc<Value>),
    /// To be thrown as a map.
    Failure(Box<Failure>),
    /// A hook is open.
    Hook(Box<HookRef>),
    /// A `task` was opened; the script goes on at once.
    Opened(GroupKey),
    /// The branches of the group came to this; their values are with the engine.
    Decided(GroupKey, Outcome),
}

impl Answer {
    /// What a call comes to that has nothing to say.
    pub fn null() -> Self {
        Answer::Value(Arc::default())
    }

    pub(super) fn failure(failure: Failure) -> Self {
        Answer::Failure(Box::new(failure))
    }
}

/// A hook that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRef {
    /// The call that opened it.
    pub id: StepId,
    pub token: String,
    /// Where a payload can be sent.
    pub url: String,
}

/// How a group was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every branch ended: with a value (`All`, `Timeout`, `Spawn`), either way (`Settle`).
    All,
    /// This branch failed: throw its error.
    Failed(usize),
    /// This branch of a race was first. It may have failed: then throw its error.
    Won(usize),
}

/// The immediate reaction to a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Go on with this.
    Now(Answer),
    /// The task waits: suspend its fiber. [`Next::Resume`] brings the answer. If the call was `Open`, the group key is
    /// given so that the engine can keep its closures under it.
    Wait(Option<GroupKey>),
    /// The run is over or diverged: suspend the fiber for good, it will be dropped. Script code must not go on.
    Stop,
}

/// What the engine has to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Make the fiber of the body and run it until it waits.
    Begin,
    /// Make a fiber for branch `index` (from 0) of a group and run it until it waits.
    Branch { task: TaskKey, group: GroupKey, index: usize },
    /// Hand the answer to a waiting fiber and run it until it waits.
    Resume { task: TaskKey, answer: Answer },
    /// Every task waits for an external input, and the log has nothing more to say.
    Idle,
    /// The run ended, diverged, or was stopped: drop every fiber. See [`Replay::verdict`](super::Replay::verdict).
    Stop,
}

/// A line for the run's log.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LogLine {
    pub at: Millis,
    /// `debug`, `info`, `warn` or `error`; `print` writes `info`.
    pub level: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub fields: Value,
    /// The durable call that came last in the task that wrote it, or the step that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_id: Option<crate::StepId>,
    /// Which attempt of the step wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}
