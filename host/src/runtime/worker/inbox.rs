//! How the inbox of a run is read.
//!
//! A local world is asked at once. One that is not is asked by others, one reading of an inbox at a time: what comes while it is under
//! way leads to another one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use durhai_core::replay::Input;
use durhai_core::{Millis, RunId};
use durhai_world::WorldError;

use super::Worker;
use crate::messages::message::Message;
use crate::runtime::asked::{InboxPlace, InboxRead};
use crate::runtime::live_run::{InboxAsked, LiveRun};
use crate::runtime::run_shared::RunShared;
use crate::runtime::{far, take_up_later};
use crate::shared::Shared;

/// The time between two looks at all inboxes.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Worker {
    /// Reads what is new in a run's inbox, as much as its script takes in one turn. `fires`: a timer is due, and fires when that
    /// was read by others; where it is read here, the caller fires it.
    pub(super) fn read_inbox(&mut self, run: &RunId, fires: bool) {
        let Some(live) = self.live_runs.get_mut(run) else { return };
        if !self.host.store.is_local {
            live.fires |= fires;
            match &mut live.asked {
                Some(asked) => asked.again = true,
                None => ask(&self.host, live),
            }
            return;
        }
        let (place, now) = (live.inbox_place(), self.host.store.clock.now());
        match InboxRead::of(&*self.host.store.world, run, place, now) {
            Ok(read) => self.give_messages(run, read),
            Err(error @ WorldError::Unavailable(_)) => take_up_later::read_inbox_later(&self.host, run, &error),
            Err(error) => return self.host.fail(Arc::new(error)),
        }
        self.touch(run.clone());
    }

    /// The inbox was read by others.
    pub(super) fn inbox_was_read(&mut self, run: &Arc<RunShared>, read: Result<InboxRead, WorldError>) {
        let Some(live) = self.live_runs.get_mut(&run.id).filter(|live| Arc::ptr_eq(&live.shared, run)) else { return };
        let Some(asked) = live.asked.take() else { return };
        let at = match read {
            Ok(read) => {
                let at = read.at;
                self.give_messages(&run.id, read);
                at
            }
            Err(error) => {
                live.fires |= asked.fires;
                return match error {
                    error @ WorldError::Unavailable(_) => take_up_later::read_inbox_later(&self.host, &run.id, &error),
                    error => self.host.fail(Arc::new(error)),
                };
            }
        };
        if asked.fires {
            let due = self.live_runs.get(&run.id).and_then(|live| live.exec.replay().wake_at());
            self.fire(&run.id, due.unwrap_or(at), at);
        }
        let Some(live) = self.live_runs.get_mut(&run.id) else { return };
        // What the turn that is over left there; one that is not reads it at its end.
        let rest = !live.reading && std::mem::take(&mut live.more);
        if asked.again || rest {
            ask(&self.host, live);
        }
        self.touch(run.id.clone());
    }

    /// Has the inboxes of all runs looked at now and then, with one question, in a world that is not local: it may not tell of what
    /// other hosts send.
    pub(super) fn look_at_inboxes(&mut self) {
        if self.draining || self.look_at.is_none_or(|at| at > Instant::now()) || self.live_runs.is_empty() {
            return;
        }
        // What is being read is read again if something comes.
        let idle = self.live_runs.values().filter(|live| live.asked.is_none());
        let runs: Vec<_> = idle.map(|live| (live.shared.id.clone(), live.looked_at)).collect();
        self.look_at = None;
        far::look_for_messages(&self.host, self.index, runs);
    }

    /// All inboxes were looked at: these have something.
    pub(super) fn are_unread(&mut self, runs: &[RunId]) {
        self.look_at = Some(Instant::now() + LOOK_AGAIN);
        for run in runs {
            self.read_inbox(run, false);
        }
    }

    /// Gives the script what was found in its inbox; what was due before a message came fires before it.
    pub(super) fn give_messages(&mut self, run: &RunId, read: InboxRead) {
        let Some(live) = self.live_runs.get_mut(run) else { return };
        if let Some(last) = read.given.last() {
            (live.reading, live.inbox) = (true, last.index);
        }
        live.more |= read.more;
        live.looked_at = live.looked_at.max(read.looked_at);
        if let Some(reason) = read.terminated {
            live.terminated.get_or_insert(reason);
        }
        for stored in read.given {
            live.deliver(stored.at, Input::Time);
            let message = Message::decode(&stored.bytes);
            if let Some(Message::Migrate { to }) = &message {
                live.is_to_move(to);
            }
            let input = message.map_or_else(
                || {
                    tracing::warn!(%run, "run {run} has a message of a kind this version does not know; dropped");
                    Input::Time
                },
                Message::into_input,
            );
            live.deliver_message(stored.at, input, stored.index);
        }
    }

    /// A timer that was due at the first moment fires, at the second; what was sent up to that was read. Where there is more of it, the
    /// timer is looked at again once all of it is read.
    pub(super) fn fire(&mut self, run: &RunId, due: Millis, at: Millis) {
        let Some(live) = self.live_runs.get_mut(run) else { return };
        if !live.more {
            self.host.observe.meters.timer_lag.record(self.host.store.clock.now().saturating_sub(due));
            live.deliver(at, Input::Time);
        }
        self.touch(run.clone());
    }
}

/// Has the inbox read by others.
fn ask(host: &Arc<Shared>, live: &mut LiveRun) {
    live.asked = Some(InboxAsked { fires: std::mem::take(&mut live.fires), again: false });
    far::read_inbox(host, &live.shared, live.inbox_place());
}

impl LiveRun {
    fn inbox_place(&self) -> InboxPlace {
        InboxPlace { give: (!self.reading).then_some(self.inbox), looked_at: self.looked_at }
    }
}
