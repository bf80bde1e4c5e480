//! `suspend`: a person is asked.

use std::sync::Arc;

use crate::replay::call::TaskKey;
use crate::replay::cursor::{Cursor, Stop};
use crate::replay::timers::{Timer, Timers};
use crate::replay::turn::WaitingFor;
use crate::replay::waits::{Called, Caller, TimerKey, WaitsFor};
use crate::{EventBody, Millis, SmallMap, StepId, Value};

/// Questions that no person has answered.
#[derive(Default)]
pub struct Suspends {
    open: SmallMap<StepId, OpenSuspend>,
}

struct OpenSuspend {
    task: TaskKey,
    label: Option<String>,
    timer: Option<TimerKey>,
}

/// What a person is asked.
pub struct Question {
    pub payload: Value,
    pub label: Option<String>,
    pub schema: Value,
    pub timeout: Option<Millis>,
}

impl Suspends {
    pub fn call(
        &mut self,
        caller: Caller,
        question: Question,
        timers: &mut Timers,
        cursor: &mut Cursor,
    ) -> Result<Called, Stop> {
        let Question { payload, label, schema, timeout } = question;
        let wake_at = timeout.map(|timeout| cursor.wall().saturating_add(timeout));
        let body = EventBody::Suspended { payload: Arc::new(payload), label: label.clone(), schema, wake_at };
        let asked = cursor.ask(Some(&caller.id), Some(&caller.site), body)?;
        let wake_at = match asked.recorded {
            Some(EventBody::Suspended { wake_at, .. }) => wake_at,
            _ => wake_at,
        };
        let timer = wake_at.map(|wake_at| (cursor.taken_over.until(asked.seq, asked.at, wake_at), asked.seq));
        if let Some(timer) = timer {
            timers.insert(timer, caller.id.clone(), Timer::Suspend);
        }
        self.open.insert(caller.id.clone(), OpenSuspend { task: caller.task, label, timer });
        Ok(Called::Wait(WaitsFor::Suspend(caller.id)))
    }

    /// The person answered, or the time is over: the task that waits.
    pub fn answered(&mut self, id: &StepId, timers: &mut Timers) -> Result<TaskKey, Stop> {
        let unknown = Stop::Unasked("the log has the answer to a question that the script did not ask");
        self.close(id, timers).ok_or(unknown)
    }

    pub fn is_open(&self, id: &StepId) -> bool {
        self.open.contains_key(id)
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn close(&mut self, id: &StepId, timers: &mut Timers) -> Option<TaskKey> {
        let open = self.open.remove(id)?;
        if let Some(timer) = open.timer {
            timers.remove(timer);
        }
        Some(open.task)
    }

    // ---- as every open call

    pub fn abandon(&mut self, id: &StepId, timers: &mut Timers) {
        self.close(id, timers);
    }

    pub fn describe(&self, id: &StepId, site: String) -> Option<WaitingFor> {
        let open = self.open.get(id)?;
        let (name, until) = (open.label.as_deref().map(Into::into), open.timer.map(|timer| timer.0));
        Some(WaitingFor { name, until, ..WaitingFor::new("suspend", Some(id.clone()), site) })
    }
}
