//! Timers: what a run waits for by itself, in the order of its moments.

use std::collections::BTreeMap;

use super::call::{GroupKey, TaskKey};
use super::cursor::{Cursor, Stop};
use super::waits::TimerKey;
use crate::{EventBody, Millis, Site, StepId};

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    Sleep(TaskKey),
    /// The timeout of a wait for a signal or a payload.
    Message(TaskKey),
    Suspend,
    /// The timeout of a `with_timeout`.
    Group(GroupKey),
    Retry,
}

/// Timers that have not fired, with the call that each belongs to.
#[derive(Default)]
pub(super) struct Timers(BTreeMap<TimerKey, (StepId, Timer)>);

impl Timers {
    /// Asks for a timer of its own event.
    pub fn start(
        &mut self,
        id: &StepId,
        site: &Site,
        wake_at: Millis,
        timer: Timer,
        cursor: &mut Cursor,
    ) -> Result<TimerKey, Stop> {
        let asked = cursor.ask(Some(id), Some(site), EventBody::TimerStarted { wake_at })?;
        let wake_at = match asked.recorded {
            Some(EventBody::TimerStarted { wake_at }) => wake_at,
            _ => wake_at,
        };
        let wake_at = match timer {
            Timer::Sleep(_) => wake_at,
            _ => cursor.taken_over.until(asked.seq, asked.at, wake_at),
        };
        let key = (wake_at, asked.seq);
        self.insert(key, id.clone(), timer);
        Ok(key)
    }

    pub fn insert(&mut self, key: TimerKey, id: StepId, timer: Timer) {
        self.0.insert(key, (id, timer));
    }

    pub fn remove(&mut self, key: TimerKey) {
        self.0.remove(&key);
    }

    /// Takes away the timer of a call, which its `timer_fired` is about. The next attempt of a step is no such one.
    pub fn fire(&mut self, id: &StepId) -> Option<Timer> {
        let found = self.0.iter().find(|(_, (owner, timer))| *timer != Timer::Retry && owner == id);
        let (key, timer) = found.map(|(key, (_, timer))| (*key, *timer))?;
        self.0.remove(&key);
        Some(timer)
    }

    /// When the first one fires.
    pub fn first_at(&self) -> Option<Millis> {
        self.0.first_key_value().map(|((at, _), _)| *at)
    }

    pub fn first(&self) -> Option<(&StepId, Timer)> {
        self.0.first_key_value().map(|(_, (id, timer))| (id, *timer))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
