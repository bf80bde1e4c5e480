//! The table of what may follow what in a log.
//!
//! | event | may come |
//! |---|---|
//! | `run_created` | first, once |
//! | `run_started` | once, before the first event of a call; with `anew` or `paused` any time after that |
//! | `step_started` attempt 1, `timer_started`, `hook_opened`, `hook_conflict`, `suspended`, `child_started` | under a step id that was not used before |
//! | `step_started` attempt n+1 | while the step is open, after its attempt n |
//! | `step_retrying` attempt n | while attempt n is the one that was started last, once |
//! | `step_completed`, `step_failed` | once, while the step is open; `step_completed` not between `step_retrying` and the next attempt |
//! | `timer_fired` | once, after its `timer_started`, or after a `suspended` that ends by itself |
//! | `hook_received`, `hook_closed`; `resumed`; `child_completed`, `child_failed` | after what opened them, until it is closed; `child_failed` also instead of a detached `child_started` |
//! | `signal_received`, `cancel_requested`, `run_migrated` | any time |
//! | `hook_received` without a step id, with a token | any time: it is kept for a hook to come |
//! | `run_completed`, `run_failed`, `run_cancelled`, `run_continued` | once, last |
//!
//! Sequence numbers are dense from 1; time never goes back.

use std::collections::HashMap;

use crate::{Event, EventBody, Millis, StepId};

/// An event that cannot be where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {seq} ({event}) is not legal: {why}")]
pub struct BadLog {
    pub seq: u64,
    pub event: &'static str,
    pub why: String,
}

impl BadLog {
    pub(crate) fn empty() -> Self {
        BadLog { seq: 1, event: "nothing", why: "a log begins with run_created, this one is empty".into() }
    }
}

/// Walks along a log.
#[derive(Debug, Default)]
pub struct LogCheck {
    last: u64,
    at: Millis,
    started: bool,
    ended: Option<&'static str>,
    calls: HashMap<StepId, CallState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallState {
    /// The attempt that was started last, and whether it is known to have failed.
    Step {
        attempt: u32,
        failed: bool,
    },
    Timer,
    Hook,
    /// Whether it ends by itself.
    Suspended {
        ends: bool,
    },
    Child,
    Closed,
}

impl LogCheck {
    /// Takes the next event, or says why it cannot be the next.
    pub fn next(&mut self, event: &Event) -> Result<(), BadLog> {
        let bad = |why: String| BadLog { seq: event.seq, event: event.body.name(), why };
        if event.seq != self.last + 1 {
            return Err(bad(match event.seq {
                seq if seq <= self.last => format!("event {} comes twice or out of order", seq),
                _ => format!("event {} is missing", self.last + 1),
            }));
        }
        if event.at < self.at {
            return Err(bad(format!("its time {} is before that of the event in front of it, {}", event.at, self.at)));
        }
        if let Some(end) = self.ended {
            return Err(bad(format!("the run has ended by {end}")));
        }
        self.follow(event).map_err(bad)?;
        self.last = event.seq;
        self.at = event.at;
        Ok(())
    }

    /// The run has a terminal event.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    fn follow(&mut self, event: &Event) -> Result<(), String> {
        let first = self.last == 0;
        match &event.body {
            EventBody::RunCreated(_) if first => return Ok(()),
            EventBody::RunCreated(_) => return Err("a run is created once".into()),
            _ if first => return Err("a log begins with run_created".into()),
            EventBody::RunStarted { again: Some(_) } if self.started => return Ok(()),
            EventBody::RunStarted { again: Some(_) } => return Err("it goes on and has not started".into()),
            EventBody::RunStarted { again: None } if self.started => return Err("a run starts once".into()),
            EventBody::RunStarted { again: None } => {
                self.started = true;
                return Ok(());
            }
            EventBody::SignalReceived { .. } | EventBody::CancelRequested { .. } | EventBody::RunMigrated { .. } => {
                return Ok(());
            }
            EventBody::HookReceived { token: Some(_), .. } if event.step_id.is_none() => return Ok(()),
            body if body.is_terminal() => {
                self.ended = Some(body.name());
                return Ok(());
            }
            _ => {}
        }
        if !self.started {
            return Err("it comes before run_started".into());
        }
        let Some(id) = &event.step_id else { return Err("it has no step id".into()) };
        let mut call = self.calls.get_mut(id);
        let now = call.as_deref().copied();
        let then = match (&event.body, now) {
            (EventBody::StepStarted { attempt: 1, .. }, None) => CallState::Step { attempt: 1, failed: false },
            (EventBody::StepStarted { attempt, .. }, Some(CallState::Step { attempt: last, .. }))
                if *attempt == last + 1 =>
            {
                CallState::Step { attempt: *attempt, failed: false }
            }
            (EventBody::StepStarted { attempt, .. }, Some(CallState::Step { attempt: last, .. })) => {
                return Err(format!("attempt {attempt} of step {id} follows attempt {last}"));
            }
            (EventBody::StepRetrying { attempt, .. }, Some(CallState::Step { attempt: last, failed: false }))
                if *attempt == last =>
            {
                CallState::Step { attempt: last, failed: true }
            }
            (EventBody::StepRetrying { attempt, .. }, Some(CallState::Step { attempt: last, .. })) => {
                return Err(format!("attempt {attempt} of step {id} failed, but attempt {last} was the last"));
            }
            (EventBody::StepCompleted { .. }, Some(CallState::Step { attempt, failed: true })) => {
                return Err(format!("attempt {attempt} of step {id} failed before, and no other was started"));
            }
            (EventBody::StepCompleted { .. } | EventBody::StepFailed { .. }, Some(CallState::Step { .. })) => {
                CallState::Closed
            }
            (EventBody::TimerStarted { .. }, None) => CallState::Timer,
            (EventBody::TimerFired, Some(CallState::Timer)) => CallState::Closed,
            (EventBody::HookOpened { .. }, None) => CallState::Hook,
            (EventBody::HookConflict { .. }, None) => CallState::Closed,
            (EventBody::HookReceived { .. }, Some(CallState::Hook)) => CallState::Hook,
            (EventBody::HookClosed, Some(CallState::Hook)) => CallState::Closed,
            (EventBody::Suspended { wake_at, .. }, None) => CallState::Suspended { ends: wake_at.is_some() },
            (EventBody::Resumed { .. }, Some(CallState::Suspended { .. })) => CallState::Closed,
            (EventBody::TimerFired, Some(CallState::Suspended { ends: true })) => CallState::Closed,
            (EventBody::ChildStarted { detached: true, .. } | EventBody::ChildFailed { .. }, None) => CallState::Closed,
            (EventBody::ChildStarted { .. }, None) => CallState::Child,
            (EventBody::ChildCompleted { .. } | EventBody::ChildFailed { .. }, Some(CallState::Child)) => {
                CallState::Closed
            }
            (_, Some(CallState::Closed)) => return Err(format!("the call {id} is closed already")),
            (_, Some(_)) => return Err(format!("the call {id} was opened as something else, or is open already")),
            (_, None) => return Err(format!("the call {id} was not opened")),
        };
        match &mut call {
            Some(call) => **call = then,
            None => drop(self.calls.insert(id.clone(), then)),
        }
        Ok(())
    }
}
