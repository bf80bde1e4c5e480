//! A run that goes on with the log of another one.
//!
//! Its log says so with a further `run_started`, behind the last event that was taken over (and behind a `run_migrated`, where it has
//! another text). What was open there and ends at a time of its own has its time counted anew from that event, or as if none
//! had passed in between: the timeout of the run, those of waits, questions and `with_timeout`, the deadlines of steps, the
//! grace period of clean-ups. A moment that the script waits for is none of these: a `sleep` ends when it was to end, and the next
//! attempt of a step is made when it was to be made.

use crate::event::{OpenTimes, Takeover};
use crate::{Event, EventBody, Millis};

/// Where a log was taken over, in the order it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenOver(Vec<(u64, Millis, Takeover)>);

impl TakenOver {
    /// What this log says of it.
    pub fn of(log: &[Event]) -> Self {
        let mut all = TakenOver::default();
        log.iter().for_each(|event| all.note(event));
        all
    }

    pub(super) fn note(&mut self, event: &Event) {
        if let EventBody::RunStarted { again: Some(again) } = event.body {
            self.add(event.seq, event.at, again);
        }
    }

    pub(super) fn add(&mut self, seq: u64, at: Millis, again: Takeover) {
        self.0.push((seq, at, again));
    }

    /// From when a time is counted that began with event `seq`, at this moment.
    pub fn since(&self, seq: u64, at: Millis) -> Millis {
        self.0.iter().filter(|(taken, ..)| *taken > seq).fold(at, |since, (_, at, again)| match again {
            Takeover::Anew => *at,
            Takeover::Paused(ms) => since.saturating_add(*ms),
        })
    }

    /// When a wait is over that began with event `seq`, at this moment, and was to be over at `until`.
    pub fn until(&self, seq: u64, at: Millis, until: Millis) -> Millis {
        match self.0.last() {
            Some((taken, ..)) if *taken > seq => self.since(seq, at).saturating_add(until.saturating_sub(at)),
            _ => until,
        }
    }

    /// What the run that has this log was to do with the times in it, if it took it over and has not begun since.
    pub fn not_begun(&self, log: &[Event]) -> Option<OpenTimes> {
        let EventBody::RunCreated(created) = &log.first()?.body else { return None };
        let origin = created.origin.as_ref()?;
        origin.times.filter(|_| !self.behind(origin.seq))
    }

    /// When the run that has this log now began by itself; `first` is its first `run_started`.
    pub(super) fn started(&self, first: Millis) -> Millis {
        let anew = self.0.iter().rev().find(|(_, _, again)| *again == Takeover::Anew);
        anew.map_or(first, |(_, at, _)| *at)
    }

    /// How often it was tried again behind event `seq`.
    pub(super) fn tried_behind(&self, seq: u64) -> u32 {
        self.0.iter().filter(|(taken, _, again)| *taken > seq && *again == Takeover::Anew).count() as u32
    }

    /// A run took the log over behind event `seq`.
    pub(super) fn behind(&self, seq: u64) -> bool {
        self.0.last().is_some_and(|(taken, ..)| *taken > seq)
    }
}
