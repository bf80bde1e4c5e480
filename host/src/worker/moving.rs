//! A run in memory that moves to another version.
//!
//! It is frozen: what comes for it is kept, not given to its script. When all it has committed is durable its log is read
//! and replayed under the new text; if that fits, the new execution takes the place of the old one with all that is under
//! way, and `run_migrated` is in its next commit. Then it is given what came meanwhile. If it does not fit, the old
//! execution goes on.

use std::sync::Arc;

use durhai_core::replay::Input;
use durhai_core::{Event, RunId, Version};
use durhai_world::{Commit, Write};
use tokio::sync::oneshot;

use super::Worker;
use crate::committer::{Job, Then};
use crate::error::Unready;
use crate::gate::{Fit, GateVerdict, fit};
use crate::inner::RunShared;
use crate::migrate::Told;
use crate::slot::{Moving, Slot};

impl Worker {
    pub(super) fn migrate(&mut self, run: &RunId, to: Version, reply: oneshot::Sender<Told>) {
        let waits = || self.backlog.iter().any(|(claim, _)| claim.run == *run);
        let Some(slot) = self.slots.get_mut(run) else {
            let soon = self.releasing.contains_key(run) || waits();
            let _ = reply.send(if soon { Told::Soon } else { Told::Elsewhere });
            return;
        };
        if self.draining || slot.moving.is_some() {
            let _ = reply.send(Told::Soon);
            return;
        }
        if slot.row.version == to {
            let _ = reply.send(Told::Already);
            return;
        }
        slot.moving = Some(Moving { to, reply });
        if slot.is_idle() {
            freeze(&self.inner, slot);
        }
    }

    /// All that the run has committed is durable.
    pub(super) fn all_durable(&mut self, run: &Arc<RunShared>) {
        let Some(mut slot) = self.slots.remove(&run.id) else { return };
        if !Arc::ptr_eq(&slot.shared, run) || !slot.frozen {
            self.slots.insert(run.id.clone(), slot);
            return;
        }
        if let Some(moving) = slot.moving.take() {
            self.try_to_move(&mut slot, moving);
        }
        let now = self.inner.clock.now();
        slot.thaw(now);
        self.slots.insert(run.id.clone(), slot);
        self.touch(run.id.clone());
    }

    fn try_to_move(&mut self, slot: &mut Slot, Moving { to, reply }: Moving) {
        let read = crate::log::read(&*self.inner.world, &slot.shared.id).map_err(Unready::from);
        let fits = read.and_then(|(history, bytes)| Ok((self.fit(slot, &to, history)?, bytes)));
        match fits {
            Ok((Fit::Fits(exec), bytes)) => slot.go_over(*exec, bytes, to, reply),
            Ok((Fit::Not(verdict), _)) => drop(reply.send(Told::Not(verdict))),
            // It is about to be dropped.
            Ok((Fit::Ended | Fit::Stopped, _)) => drop(reply.send(Told::Soon)),
            Err(Unready::Wrong(reason)) => drop(reply.send(Told::Not(GateVerdict::Unreadable { reason }))),
            Err(Unready::World(_)) => drop(reply.send(Told::Soon)),
        }
    }

    fn fit(&mut self, slot: &Slot, to: &Version, history: Vec<Event>) -> Result<Fit, Unready> {
        let program = self.program(to)?;
        let stop = || self.inner.is_stopping();
        Ok(fit(&self.inner, &self.sandbox, program, to, &slot.row, history, &stop))
    }

    /// Whatever was to move stays what it is.
    pub(super) fn thaw_all(&mut self) {
        let now = self.inner.clock.now();
        for slot in self.slots.values_mut() {
            slot.moving = None;
            if slot.frozen {
                slot.thaw(now);
            }
        }
    }
}

/// From now on nothing is given to the script, until all it has committed is durable.
pub(super) fn freeze(inner: &crate::inner::Inner, slot: &mut Slot) {
    slot.frozen = true;
    slot.idle = 0;
    let write = Write::Commit(Box::new(Commit::new(slot.shared.id.clone(), slot.fence)));
    inner.write(Job { write, then: Then::Durable(slot.shared.clone()) });
}

impl Slot {
    /// What comes is given to the script again, first of all what came meanwhile.
    fn thaw(&mut self, now: u64) {
        self.frozen = false;
        // Nothing, unless the new script asks for something that the host answers.
        self.deliver(now, Input::TakeUp);
        for (at, input, letter) in std::mem::take(&mut self.held) {
            match letter {
                Some(index) => self.deliver_letter(at, input, index),
                None => self.deliver(at, input),
            }
        }
    }
}
