//! Turns: each run that something came for goes on until its tasks wait, and what that brought is one commit.
//!
//! A turn can be interrupted. A script that computes gives way to others after a slice of operations ([`Yield::Preempted`]),
//! and nothing is committed. One that shows more than should wait in memory has a part of its turn committed
//! ([`Yield::Full`]) and goes on when that is durable: so a script writes no faster than the disk.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use durhai_engine::Yield;
use durhai_world::WorldError;

use super::{Worker, switch_version};
use crate::runtime::asked::{Ask, Seen};
use crate::runtime::in_turn::Answered;
use crate::runtime::live_run::{LiveRun, Place};
use crate::runtime::run_shared::RunShared;
use crate::runtime::{far, take_up_later};

/// Runs that begin with one commit, and events of a turn that was answered again and again, about.
const NEW_RUNS: usize = 256;
const EVENTS: usize = 1_024;

fn is_much(live: &LiveRun) -> bool {
    live.new_runs.len() >= NEW_RUNS || live.exec.replay().pending_events() >= EVENTS
}

impl Worker {
    /// Gives each touched run a turn.
    pub(super) fn turns(&mut self) {
        for _ in 0..self.dirty.len() {
            let Some(run) = self.dirty.pop_front() else { break };
            let Some(mut live) = self.live_runs.remove(&run) else { continue };
            live.place = Place::Busy;
            live.exec.replay_mut().set_wall(self.host.store.clock.now());
            if let Some(reason) = live.terminated.take() {
                live.exec.terminate(reason);
            }
            let (queued, others) = (&self.queued, !self.dirty.is_empty());
            let (host, timer) = (&self.host, self.timers.peek().map(|Reverse((at, _))| *at));
            let preempt = || {
                others
                    || queued.load(Ordering::Relaxed) > 0
                    || timer.is_some_and(|at| at <= host.store.clock.now())
                    || host.life.is_stopping()
            };
            let began = Instant::now();
            let mut yielded = live.exec.turn(&self.sandbox, &preempt);
            let mut asks = Vec::new();
            while matches!(yielded, Yield::Idle | Yield::Stopped) {
                match self.answer(&mut live) {
                    // A script can ask and be answered without end.
                    Ok(Answered::Yes) if yielded == Yield::Idle && is_much(&live) => yielded = Yield::Full,
                    Ok(Answered::Yes) if yielded == Yield::Idle && preempt() => yielded = Yield::Preempted,
                    Ok(Answered::Yes) => yielded = live.exec.turn(&self.sandbox, &preempt),
                    Ok(Answered::No) => break,
                    // The questions stay, and are asked once this part is stored.
                    Ok(Answered::Ask(_)) if yielded == Yield::Idle && is_much(&live) => yielded = Yield::Full,
                    Ok(Answered::Ask(wanted)) => {
                        asks = wanted;
                        break;
                    }
                    Err(error) => return self.host.fail(Arc::new(error)),
                }
            }
            let took = began.elapsed();
            self.host.observe.meters.turn.time(took);
            if let Some(built) = &mut live.building {
                *built += took;
            }
            if !asks.is_empty() {
                far::look(&self.host, &live.shared, live.fence, asks);
                live.place = Place::Asking;
                self.live_runs.insert(run, live);
                continue;
            }
            if matches!(yielded, Yield::Idle | Yield::Stopped)
                && let Some(built) = live.building.take()
            {
                self.host.observe.meters.replay.time(built);
            }
            if self.draining {
                self.finish_draining(live, yielded);
                continue;
            }
            if yielded == Yield::Preempted {
                live.place = Place::Dirty;
                self.dirty.push_back(run.clone());
                self.live_runs.insert(run, live);
                continue;
            }
            if yielded == Yield::Full {
                match live.commit_part(&self.host, self.host.store.clock.now()) {
                    Ok(job) => job.into_iter().for_each(|job| self.hand_over(job)),
                    Err(error) => return self.host.fail(Arc::new(error)),
                }
                live.place = Place::Storing;
                self.live_runs.insert(run, live);
                continue;
            }
            self.settle(live);
        }
    }

    /// Answers what a turn asks. While the host stops no question is, and only what the commit needs is asked for.
    fn answer(&self, live: &mut LiveRun) -> Result<Answered, WorldError> {
        if !self.draining {
            return live.answer(&self.host);
        }
        if self.host.store.is_local {
            return Ok(Answered::No);
        }
        let asks = live.asks(false)?;
        Ok(if asks.is_empty() { Answered::No } else { Answered::Ask(asks) })
    }

    /// What a turn asked for was seen by others: it goes on.
    pub(super) fn seen(&mut self, run: &Arc<RunShared>, seen: Result<Vec<(Ask, Seen)>, WorldError>) {
        let asks = |live: &LiveRun| matches!(live.place, Place::Asking) && Arc::ptr_eq(&live.shared, run);
        let Some(live) = self.live_runs.get_mut(&run.id).filter(|live| asks(live)) else { return };
        match seen {
            Ok(seen) if self.draining => live.note_facts(seen),
            Ok(seen) => {
                if let Err(error) = live.answer_with(&self.host, seen) {
                    return self.host.fail(Arc::new(error));
                }
            }
            Err(WorldError::Unavailable(_)) if self.draining => {
                if let Some(live) = self.live_runs.remove(&run.id) {
                    self.give_back(live);
                }
                return;
            }
            Err(error @ WorldError::Unavailable(_)) => return take_up_later::ask_later(&self.host, run, &error),
            Err(error) => return self.host.fail(Arc::new(error)),
        }
        live.place = Place::Idle(None);
        self.touch(run.id.clone());
    }

    /// Commits what a turn brought and sees what becomes of the run.
    fn settle(&mut self, mut live: Box<LiveRun>) {
        let now = self.host.store.clock.now();
        if let Some(reason) = live.divergence(&self.host) {
            return self.park(live, &reason);
        }
        match live.commit(&self.host, now) {
            Ok(job) => job.into_iter().for_each(|job| self.hand_over(job)),
            Err(error) => return self.host.fail(Arc::new(error)),
        }
        if live.exec.replay().is_over() {
            self.host.observe.counters.live.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        if let Some(at) = live.exec.replay().wake_at() {
            self.timers.push(Reverse((at, live.shared.id.clone())));
        }
        if live.is_quiet() {
            live.place = Place::Idle(Some(self.waiting.insert(&live, now)));
        } else {
            live.place = Place::Idle(None);
        }
        if live.moving.is_some() {
            switch_version::freeze(&self.host, &mut live);
        }
        // What was read of its inbox is dealt with.
        live.reading = false;
        let (run, more) = (live.shared.id.clone(), std::mem::take(&mut live.more));
        self.live_runs.insert(run.clone(), live);
        if more {
            self.read_inbox(&run, false);
        }
    }

    /// Records the results that came; what the script asks for next is left to the host that takes the run up.
    fn finish_draining(&mut self, mut live: Box<LiveRun>, yielded: Yield) {
        if matches!(yielded, Yield::Preempted | Yield::Full) || live.divergence(&self.host).is_some() {
            return self.give_back(live);
        }
        match live.commit_draining(&self.host, self.host.store.clock.now()) {
            Ok(job) => job.into_iter().for_each(|job| self.host.store.submit(job)),
            Err(error) => return self.host.fail(Arc::new(error)),
        }
        if live.exec.replay().is_over() {
            self.host.observe.counters.live.fetch_sub(1, Ordering::Relaxed);
        } else if live.has_running_attempts() && self.host.life.failure().is_none() {
            live.place = Place::Idle(None);
            self.live_runs.insert(live.shared.id.clone(), live);
        } else {
            self.give_back(live);
        }
    }
}
