//! Timers: what a run waits for by itself, in the order of its moments.

use super::Replay;
use super::call::{GroupKey, TaskKey};
use crate::{Body, Millis, Site, StepId};

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    Sleep(TaskKey),
    /// The timeout of a wait for a signal or a hook.
    Mail(TaskKey),
    Suspend,
    /// The timeout of a `with_timeout`.
    Group(GroupKey),
    Retry,
}

impl Replay {
    /// When [`Input::Time`](super::Input::Time) should be delivered.
    pub fn wake_at(&self) -> Option<Millis> {
        let timer = self.timers.keys().next().map(|(at, _)| *at);
        [timer, self.grace_at, self.expires_at].into_iter().flatten().min()
    }

    pub(super) fn start_timer(
        &mut self,
        id: &StepId,
        site: &Site,
        wake_at: Millis,
        timer: Timer,
    ) -> Option<(Millis, u64)> {
        let asked = self.ask(Some(id), Some(site), Body::TimerStarted { wake_at })?;
        let wake_at = match asked.recorded {
            Some(Body::TimerStarted { wake_at }) => wake_at,
            _ => wake_at,
        };
        let wake_at = match timer {
            Timer::Sleep(_) => wake_at,
            _ => self.taken_over.until(asked.seq, asked.at, wake_at),
        };
        let key = (wake_at, asked.seq);
        self.timers.insert(key, (id.clone(), timer));
        Some(key)
    }
}
