//! A run in memory that moves to another version.
//!
//! It is frozen: what comes for it is kept, not given to its script. When all it has committed is durable its log is read
//! and replayed under the new text; if that fits, the new execution takes the place of the old one with all that is under
//! way, and `run_migrated` is in its next commit. Then it is given what came meanwhile. If it does not fit, the old
//! execution goes on.

use std::sync::Arc;

use durhai_core::replay::Input;
use durhai_core::{Event, RunId, Version};
use durhai_engine::Bundle;
use durhai_world::{Commit, Write};
use tokio::sync::oneshot;

use super::Worker;
use crate::error::Unready;
use crate::runtime::command::MoveReply;
use crate::runtime::far;
use crate::runtime::job::Then;
use crate::runtime::live_run::{HeldInput, LiveRun, Moving, Place};
use crate::runtime::run_shared::RunShared;
use crate::shared::Shared;
use crate::versions::compat::fit::{Fit, fit};
use crate::versions::compat::report::CompatVerdict;

impl Worker {
    pub(super) fn migrate(&mut self, run: &RunId, to: Version, reply: oneshot::Sender<MoveReply>) {
        let waits = || self.backlog.iter().any(|(claim, _)| claim.run == *run);
        let Some(live) = self.live_runs.get_mut(run) else {
            let soon = self.releasing.contains_key(run) || self.bringing.contains(run) || waits();
            let _ = reply.send(if soon { MoveReply::Soon } else { MoveReply::Elsewhere });
            return;
        };
        if self.draining || live.moving.is_some() {
            let _ = reply.send(MoveReply::Soon);
            return;
        }
        if live.row.version == to {
            let _ = reply.send(MoveReply::Already);
            return;
        }
        live.moving = Some(Moving { to, reply });
        if live.is_idle() {
            freeze(&self.host, live);
        }
    }

    /// All that the run has committed is durable.
    pub(super) fn all_durable(&mut self, run: &Arc<RunShared>) {
        let frozen = |live: &LiveRun| Arc::ptr_eq(&live.shared, run) && live.is_frozen();
        let Some(live) = self.live_runs.get(&run.id).filter(|live| frozen(live)) else { return };
        match &live.moving {
            Some(moving) if !self.host.store.is_local => far::read_log(&self.host, run, moving.to.clone()),
            Some(moving) => {
                let world = &*self.host.store.world;
                let read = || -> Result<_, Unready> {
                    let (history, bytes) = crate::logs::read::read(world, &run.id)?;
                    Ok((history, bytes, self.host.versions.bundle(world, &moving.to)?))
                };
                let read = read();
                self.log_was_read(run, read);
            }
            None => self.log_was_read(run, Err(Unready::Wrong(String::new()))),
        }
    }

    /// The log of a run that is to move was read: it moves, if it fits, and goes on.
    pub(super) fn log_was_read(&mut self, run: &Arc<RunShared>, read: Result<(Vec<Event>, u64, Arc<Bundle>), Unready>) {
        let Some(mut live) = self.live_runs.remove(&run.id) else { return };
        if !Arc::ptr_eq(&live.shared, run) || !live.is_frozen() {
            self.live_runs.insert(run.id.clone(), live);
            return;
        }
        if let Some(moving) = live.moving.take() {
            self.try_to_move(&mut live, moving, read);
        }
        let now = self.host.store.clock.now();
        live.thaw(now);
        self.live_runs.insert(run.id.clone(), live);
        self.touch(run.id.clone());
    }

    fn try_to_move(
        &mut self,
        live: &mut LiveRun,
        Moving { to, reply }: Moving,
        read: Result<(Vec<Event>, u64, Arc<Bundle>), Unready>,
    ) {
        let fits = read.and_then(|(history, bytes, bundle)| Ok((self.fit(live, &to, &bundle, history)?, bytes)));
        match fits {
            Ok((Fit::Fits(exec), bytes)) => live.go_over(*exec, bytes, to, reply),
            Ok((Fit::Not(verdict), _)) => {
                if reply.is_closed() {
                    let (run, to) = (&live.shared.id, to.short());
                    tracing::warn!(%run, "run {run} stays on its version: another host wants it on {to}, which it does not fit");
                }
                let _ = reply.send(MoveReply::Not(verdict));
            }
            // It is about to be dropped.
            Ok((Fit::Ended | Fit::Stopped, _)) => drop(reply.send(MoveReply::Soon)),
            Err(Unready::Wrong(reason)) => drop(reply.send(MoveReply::Not(CompatVerdict::Unreadable { reason }))),
            Err(Unready::World(_)) => drop(reply.send(MoveReply::Soon)),
        }
    }

    fn fit(&mut self, live: &LiveRun, to: &Version, bundle: &Bundle, history: Vec<Event>) -> Result<Fit, Unready> {
        let program = self.program(to, Some(bundle))?;
        let stop = || self.host.life.is_stopping();
        let texts = self.host.store.local();
        Ok(fit(&self.host, &self.sandbox, (to, program), &live.row, history, texts, &stop))
    }

    /// Whatever was to move stays what it is.
    pub(super) fn thaw_all(&mut self) {
        let now = self.host.store.clock.now();
        for live in self.live_runs.values_mut() {
            live.moving = None;
            if live.is_frozen() {
                live.thaw(now);
            }
        }
    }
}

/// From now on nothing is given to the script, until all it has committed is durable.
pub(super) fn freeze(host: &Shared, live: &mut LiveRun) {
    live.place = Place::Frozen { held: Vec::new() };
    let write = Write::Commit(Box::new(Commit::new(live.shared.id.clone(), live.fence)));
    host.store.write(write, Then::Durable(live.shared.clone()));
}

impl LiveRun {
    /// Another host wants it to move: it does after its turn. That host sees what came of it in the world.
    pub(super) fn is_to_move(&mut self, to: &Version) {
        if self.moving.is_none() && self.row.version != *to {
            self.moving = Some(Moving { to: to.clone(), reply: oneshot::channel().0 });
        }
    }

    /// What comes is given to the script again, first of all what came meanwhile.
    fn thaw(&mut self, now: u64) {
        let Place::Frozen { held } = std::mem::replace(&mut self.place, Place::Idle(None)) else { return };
        // Nothing, unless the new script asks for something that the host answers.
        self.deliver(now, Input::TakeUp);
        for HeldInput { at, input, message } in held {
            match message {
                Some(index) => self.deliver_message(at, input, index),
                None => self.deliver(at, input),
            }
        }
    }
}
