//! `suspend`: a person is asked.

use std::sync::Arc;

use super::call::{Answer, Reply, TaskKey};
use super::tasks::Waits;
use super::{Replay, Timer};
use crate::{Body, Millis, Site, StepId, Value};

pub(super) struct OpenSuspend {
    pub task: TaskKey,
    pub label: Option<String>,
    pub timer: Option<(Millis, u64)>,
}

impl Replay {
    pub(super) fn suspend(
        &mut self,
        task: TaskKey,
        id: StepId,
        site: &Site,
        (payload, schema): (Value, Value),
        label: Option<String>,
        timeout: Option<Millis>,
    ) -> Reply {
        let wake_at = timeout.map(|timeout| self.wall.saturating_add(timeout));
        let body = Body::Suspended { payload: Arc::new(payload), label: label.clone(), schema, wake_at };
        let Some(asked) = self.ask(Some(&id), Some(site), body) else { return Reply::Stop };
        let wake_at = match asked.recorded {
            Some(Body::Suspended { wake_at, .. }) => wake_at,
            _ => wake_at,
        };
        let timer = wake_at.map(|wake_at| (self.taken_over.until(asked.seq, asked.at, wake_at), asked.seq));
        if let Some(timer) = timer {
            self.timers.insert(timer, (id.clone(), Timer::Suspend));
        }
        self.suspends.insert(id.clone(), OpenSuspend { task, label, timer });
        self.wait(task, Waits::Suspend(id))
    }

    /// The person answered, or the time is over (null).
    pub(super) fn resume(&mut self, id: &StepId, at: Millis, data: Arc<Value>) -> Result<(), &'static str> {
        let open = self.close_suspend(id).ok_or("the log has the answer to a question that the script did not ask")?;
        self.wake(open.task, at, Answer::Value(data));
        Ok(())
    }

    pub(super) fn close_suspend(&mut self, id: &StepId) -> Option<OpenSuspend> {
        let open = self.suspends.remove(id)?;
        if let Some(timer) = open.timer {
            self.timers.remove(&timer);
        }
        Some(open)
    }
}
