//! Which of the runs that wait give their memory back.
//!
//! A run that waits keeps its fiber for a while, so that it goes on at once when what it waits for comes soon. One that waits
//! for long is dropped from memory, and its log brings it back. Where many wait, those that are back unnoticed go early: what
//! they take is some twenty KB each, and what they cost to bring back is a claim and the replay of a short log.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use durhai_core::{Millis, RunId};

use super::Worker;
use crate::runtime::live_run::{LiveRun, Place};

/// A run that waits as long as this may go early: one that is answered quickly, by a step's result or the next message of a
/// conversation, never does.
const SETTLED: Millis = 1_000;

/// Events of a log that is replayed in less than a millisecond.
const SHORT_LOG: u64 = 500;

/// A timer that fires sooner than this keeps its run in memory: it would be claimed again at once.
const SOON: Millis = 10_000;

/// Runs given back before the worker looks after the others again.
const AT_ONCE: usize = 256;

/// The runs of a worker that wait, in the order they began to. An entry counts while its run still has that number.
#[derive(Default)]
pub(super) struct WaitingRuns {
    last: u64,
    /// Those that are back unnoticed.
    light: BTreeMap<u64, (Millis, RunId)>,
    heavy: BTreeMap<u64, (Millis, RunId)>,
}

impl WaitingRuns {
    /// The number of a run's entry.
    pub(super) fn insert(&mut self, live: &LiveRun, now: Millis) -> u64 {
        let replay = live.exec.replay();
        let light = replay.last_seq() <= SHORT_LOG && replay.wake_at().is_none_or(|at| at > now.saturating_add(SOON));
        self.last += 1;
        let entries = if light { &mut self.light } else { &mut self.heavy };
        entries.insert(self.last, (now, live.shared.id.clone()));
        self.last
    }

    pub(super) fn remove(&mut self, number: u64) {
        if self.light.remove(&number).is_none() {
            self.heavy.remove(&number);
        }
    }

    fn len(&self) -> usize {
        self.light.len() + self.heavy.len()
    }

    fn clear(&mut self) {
        self.light.clear();
        self.heavy.clear();
    }

    /// Since when the run waits that waits longest, and the number of its entry.
    fn oldest(&self) -> Option<(Millis, u64)> {
        let first = |entries: &BTreeMap<u64, (Millis, RunId)>| {
            Some((*entries.first_key_value()?.0, entries.first_key_value()?.1.0))
        };
        let (number, since) = [first(&self.light), first(&self.heavy)].into_iter().flatten().min()?;
        Some((since, number))
    }

    /// The same of those that may go early, where more than `room` wait.
    fn oldest_light(&self, room: usize) -> Option<(Millis, u64)> {
        let (number, (since, _)) = self.light.first_key_value()?;
        (self.len() > room).then_some((*since, *number))
    }

    /// The run that goes next. Times as they are set: `(of all, of those that may go early)`.
    fn next(&self, now: Millis, evict_after: Millis, room: usize) -> Option<u64> {
        let due = |(since, number): (Millis, u64), wait: Millis| (since.saturating_add(wait) <= now).then_some(number);
        let late = self.oldest().and_then(|oldest| due(oldest, evict_after));
        late.or_else(|| self.oldest_light(room).and_then(|oldest| due(oldest, SETTLED.min(evict_after))))
    }

    fn take(&mut self, number: u64) -> Option<RunId> {
        self.light.remove(&number).or_else(|| self.heavy.remove(&number)).map(|(_, run)| run)
    }
}

impl Worker {
    /// When the next run may have to go.
    pub(super) fn next_eviction(&self) -> Option<Duration> {
        let now = self.host.store.clock.now();
        let left = |(since, _): (Millis, u64), wait: Millis| since.saturating_add(wait).saturating_sub(now);
        let evict_after = self.evict_after();
        let late = left(self.waiting.oldest()?, evict_after);
        let early = self.waiting.oldest_light(self.room_to_wait()).map(|oldest| left(oldest, SETTLED.min(evict_after)));
        Some(Duration::from_millis(early.unwrap_or(Millis::MAX).min(late).max(1)))
    }

    /// Drops the fibers of runs that have waited long, and of some that have not where many wait.
    pub(super) fn evict(&mut self) {
        if !self.host.config.adopt {
            // No host would take them up again.
            return self.waiting.clear();
        }
        let (now, evict_after, room) = (self.host.store.clock.now(), self.evict_after(), self.room_to_wait());
        for _ in 0..AT_ONCE {
            let Some(number) = self.waiting.next(now, evict_after, room) else { return };
            self.release_waiting(number);
        }
    }

    /// Makes room for another run.
    pub(super) fn evict_oldest(&mut self) {
        if !self.host.config.adopt {
            return;
        }
        while let Some((_, number)) = self.waiting.oldest() {
            if self.release_waiting(number) {
                return;
            }
        }
    }

    /// Whether the entry counted.
    fn release_waiting(&mut self, number: u64) -> bool {
        let Some(run) = self.waiting.take(number) else { return false };
        // One whose inbox is being read goes on when that is done, and has another entry then.
        let waits =
            |live: &LiveRun| matches!(live.place, Place::Idle(Some(its)) if its == number) && live.asked.is_none();
        if !self.live_runs.get(&run).is_some_and(|live| waits(live)) {
            return false;
        }
        if let Some(live) = self.live_runs.remove(&run) {
            self.host.observe.counters.evicted.fetch_add(1, Ordering::Relaxed);
            self.give_back(live);
        }
        true
    }

    fn evict_after(&self) -> Millis {
        self.host.config.evict_after.as_millis().try_into().unwrap_or(Millis::MAX)
    }

    /// How many runs of this worker may wait in memory before the first go early.
    fn room_to_wait(&self) -> usize {
        self.host.config.max_waiting / self.host.runtime.workers.count()
    }
}
