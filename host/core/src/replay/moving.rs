//! A run that goes on with another version.
//!
//! The log says so with `run_migrated`. It stands behind what the version before it asked for and before what the new one
//! asks for beyond that, so that the log up to any event fits the version that served there. The whole log up to the move
//! fits the new version: whoever moves a run replays it first.

use super::Replay;
use crate::{Body, Event, Failure, Millis, Value, Version};

/// The version that served a run when event `seq` came; `None` for a log without its beginning.
pub fn version_at(log: &[Event], seq: u64) -> Option<&Version> {
    let mut version = None;
    for event in log.iter().take_while(|event| event.seq <= seq) {
        match &event.body {
            Body::RunCreated(created) => version = Some(&created.version),
            Body::RunMigrated { to, .. } => version = Some(to),
            _ => {}
        }
    }
    version
}

impl Replay {
    /// The version that served when event `seq` came.
    pub fn version_at(&self, seq: u64) -> &Version {
        let moved = self.moves.iter().rev().find(|(at, _)| *at <= seq);
        moved.map_or(&self.created.version, |(_, to)| to)
    }

    /// The script is that of another version than the log's last: appends `run_migrated`, and has the state that the
    /// script sets shown anew. To be called before the first [`next`](Replay::next); whether the log fits that script is
    /// known when `next` says `Idle` or `Stop`, and nothing may be committed if it does not.
    pub fn migrate(&mut self, now: Millis, from: Version, to: Version) {
        self.set_wall(now);
        let body = Body::RunMigrated { from, to: to.clone() };
        let (_, seq) = self.push(None, None, body);
        self.moves.push((seq, to));
    }

    /// What the other replay of this run has under way is under way for this one too: attempts, by step id and number, and
    /// children. Both have come to the end of the same log.
    pub fn take_over(&mut self, other: &Replay) {
        for (id, step) in &mut self.steps {
            let same = other.steps.get(id).filter(|same| same.attempt == step.attempt);
            step.issued |= same.is_some_and(|same| same.issued);
        }
        for (id, child) in &mut self.children {
            let same = other.children.get(id).filter(|same| same.run_id == child.run_id);
            child.issued |= same.is_some_and(|same| same.issued);
        }
    }

    /// The error that the script ends with beyond its log, if that is what it does.
    pub fn new_failure(&self) -> Option<&Failure> {
        match self.turn.events.last().map(|event| &event.body) {
            Some(Body::RunFailed { error }) => Some(error),
            _ => None,
        }
    }

    /// Has all that `set_state` set so far written once more.
    pub fn show_state_again(&mut self) {
        let state: Vec<(String, Value)> = self.shown_state().collect();
        for (key, value) in state {
            self.turn.state.entry(key).or_insert(value);
        }
    }
}
