//! Turns: each run that something came for goes on until its tasks wait, and what that brought is one commit.
//!
//! A turn can be interrupted. A script that computes gives way to others after a slice of operations ([`Turn::Preempted`]),
//! and nothing is committed. One that shows more than should wait in memory has a part of its turn committed
//! ([`Turn::Full`]) and goes on when that is durable: so a script writes no faster than the disk.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use durhai_engine::Turn;

use super::{Worker, moving};
use crate::slot::Slot;

/// Runs that begin with one commit, and events of a turn that was answered again and again, about.
const NEW_RUNS: usize = 256;
const EVENTS: usize = 1_024;

fn is_much(slot: &Slot) -> bool {
    slot.new_runs.len() >= NEW_RUNS || slot.exec.replay().pending_events() >= EVENTS
}

impl Worker {
    /// Gives each touched run a turn.
    pub(super) fn turns(&mut self) {
        for _ in 0..self.dirty.len() {
            let Some(run) = self.dirty.pop_front() else { break };
            let Some(mut slot) = self.slots.remove(&run) else { continue };
            slot.dirty = false;
            slot.exec.replay_mut().set_wall(self.inner.clock.now());
            if let Some(reason) = slot.terminated.take() {
                slot.exec.terminate(reason);
            }
            let (queued, others) = (&self.queued, !self.dirty.is_empty());
            let (inner, timer) = (&self.inner, self.timers.peek().map(|Reverse((at, _))| *at));
            let preempt = || {
                others
                    || queued.load(Ordering::Relaxed) > 0
                    || timer.is_some_and(|at| at <= inner.clock.now())
                    || inner.is_stopping()
            };
            let began = Instant::now();
            let mut turn = slot.exec.turn(&self.sandbox, &preempt);
            while matches!(turn, Turn::Idle | Turn::Stopped) && !self.draining {
                match slot.answer(&self.inner) {
                    // A script can ask and be answered without end.
                    Ok(true) if turn == Turn::Idle && is_much(&slot) => turn = Turn::Full,
                    Ok(true) if turn == Turn::Idle && preempt() => turn = Turn::Preempted,
                    Ok(true) => turn = slot.exec.turn(&self.sandbox, &preempt),
                    Ok(false) => break,
                    Err(error) => return self.inner.fail(Arc::new(error)),
                }
            }
            let took = began.elapsed();
            self.inner.meters.turn.time(took);
            if let Some(built) = &mut slot.building {
                *built += took;
            }
            if matches!(turn, Turn::Idle | Turn::Stopped)
                && let Some(built) = slot.building.take()
            {
                self.inner.meters.replay.time(built);
            }
            if self.draining {
                self.finish_draining(slot, turn);
                continue;
            }
            if turn == Turn::Preempted {
                slot.dirty = true;
                self.dirty.push_back(run.clone());
                self.slots.insert(run, slot);
                continue;
            }
            if turn == Turn::Full {
                match slot.commit_part(&self.inner, self.inner.clock.now()) {
                    Ok(job) => job.into_iter().for_each(|job| self.inner.write(job)),
                    Err(error) => return self.inner.fail(Arc::new(error)),
                }
                (slot.storing, slot.idle) = (true, 0);
                self.slots.insert(run, slot);
                continue;
            }
            self.settle(slot);
        }
    }

    /// Commits what a turn brought and sees what becomes of the run.
    fn settle(&mut self, mut slot: Slot) {
        let now = self.inner.clock.now();
        if let Some(reason) = slot.divergence(&self.inner) {
            return self.park(slot, &reason);
        }
        match slot.commit(&self.inner, now) {
            Ok(job) => job.into_iter().for_each(|job| self.inner.write(job)),
            Err(error) => return self.inner.fail(Arc::new(error)),
        }
        if slot.exec.replay().is_over() {
            self.inner.counters.live.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        if let Some(at) = slot.exec.replay().wake_at() {
            self.timers.push(Reverse((at, slot.shared.id.clone())));
        }
        if slot.is_quiet() {
            self.idle_count += 1;
            slot.idle = self.idle_count;
            self.idle.push_back((now, slot.idle, slot.shared.id.clone()));
        } else {
            slot.idle = 0;
        }
        if slot.moving.is_some() {
            moving::freeze(&self.inner, &mut slot);
        }
        // What was read of its inbox is dealt with.
        slot.reading = false;
        let (run, more) = (slot.shared.id.clone(), std::mem::take(&mut slot.more));
        self.slots.insert(run.clone(), slot);
        if more {
            self.read_inbox(&run);
        }
    }

    /// Records the results that came; what the script asks for next is left to whoever takes the run up.
    fn finish_draining(&mut self, mut slot: Slot, turn: Turn) {
        if matches!(turn, Turn::Preempted | Turn::Full) || slot.divergence(&self.inner).is_some() {
            return self.give_back(slot);
        }
        match slot.commit_draining(&self.inner, self.inner.clock.now()) {
            Ok(job) => job.into_iter().for_each(|job| self.inner.write(job)),
            Err(error) => return self.inner.fail(Arc::new(error)),
        }
        if slot.exec.replay().is_over() {
            self.inner.counters.live.fetch_sub(1, Ordering::Relaxed);
        } else if slot.has_running_attempts() && self.inner.failure().is_none() {
            self.slots.insert(slot.shared.id.clone(), slot);
        } else {
            self.give_back(slot);
        }
    }
}
