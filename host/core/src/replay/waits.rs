//! Who makes a durable call, what it comes to at once, and what a task waits for otherwise.

use std::sync::Arc;

use super::call::{Answer, GroupKey, TaskKey};
use crate::{Millis, Site, StepId, Value};

/// When a timer fires, and the event that started it.
pub(super) type TimerKey = (Millis, u64);

/// A task at one of its durable calls.
pub(super) struct Caller {
    pub task: TaskKey,
    /// The call.
    pub id: StepId,
    pub site: Site,
}

/// What a call comes to before anything else happens.
pub(super) enum Called {
    Now(Answer),
    Wait(WaitsFor),
}

/// What a task waits for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WaitsFor {
    Step(StepId),
    Sleep(TimerKey, StepId),
    Message(MessageWait),
    Suspend(StepId),
    Child(StepId),
    /// For the host's answer, within the turn.
    Request(StepId),
    Group(GroupKey),
    Join(GroupKey),
}

/// A wait for a signal, or for a payload of a hook.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MessageWait {
    pub id: StepId,
    pub key: InboxKey,
    /// It ends then without one.
    pub timer: Option<TimerKey>,
    /// Of the payload that is wanted.
    pub schema: Option<Arc<Value>>,
}

/// Where the inbox keeps messages of one kind until a task receives them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum InboxKey {
    Signal(Arc<str>),
    /// For a token, whichever hook has it.
    Token(Arc<str>),
    /// By the call that opened the hook, in logs of older versions.
    Hook(StepId),
}

impl Called {
    pub fn null() -> Self {
        Called::Now(Answer::null())
    }
}
