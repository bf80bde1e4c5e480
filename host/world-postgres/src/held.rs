//! What the hosts of this process hold, as far as this process knows: with it a plain turn needs to read nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use durhai_core::RunId;
use durhai_world::{Commit, Write};
use parking_lot::Mutex;

use crate::batch::{Counted, Kept};

/// A run that is held.
#[derive(Debug, Clone)]
pub struct Held {
    pub key: i64,
    pub fence: u64,
    /// Whose claim it is.
    pub host: i32,
    pub last_seq: u64,
    pub tries: u32,
    /// How its row is counted.
    pub counted: Counted,
    /// It has a concurrency limit.
    pub limited: bool,
    pub tags: Arc<BTreeMap<String, String>>,
}

#[derive(Default)]
pub struct HeldRuns(Mutex<HashMap<RunId, Held>>, Mutex<HashSet<(RunId, u64)>>);

impl HeldRuns {
    pub fn get(&self, run: &RunId) -> Option<Held> {
        self.0.lock().get(run).cloned()
    }

    /// A commit under a claim could not be stored. What was written behind it counts on it: a turn that only says how far it is in its inbox would
    /// drop the messages that the refused one had recorded.
    pub fn spoil(&self, write: &Write) {
        if let Write::Commit(commit) = write {
            self.1.lock().insert((commit.run.clone(), commit.fence));
        }
    }

    /// Whether a write stands behind one that could not be stored. A commit of nothing but a row counts on nothing: it says what became of the
    /// run, and the claim is as any other from then on.
    pub fn is_behind(&self, write: &Write) -> bool {
        let mut spoiled = self.1.lock();
        match write {
            _ if spoiled.is_empty() => false,
            Write::Commit(commit) if is_row_alone(commit) => {
                spoiled.remove(&(commit.run.clone(), commit.fence));
                false
            }
            Write::Commit(commit) => spoiled.contains(&(commit.run.clone(), commit.fence)),
            Write::Release { run, fence } => spoiled.contains(&(run.clone(), *fence)),
            Write::Create(_) | Write::Send(_) | Write::Delete { .. } => false,
        }
    }

    pub fn insert(&self, run: RunId, held: Held) {
        self.0.lock().insert(run, held);
    }

    /// The log ends there now, and no try counts any more if the turn said so.
    pub fn advance(&self, run: &RunId, fence: u64, last_seq: Option<u64>, progress: bool) {
        if let Some(held) = self.0.lock().get_mut(run).filter(|held| held.fence == fence) {
            held.last_seq = last_seq.unwrap_or(held.last_seq);
            held.tries = if progress { 0 } else { held.tries };
        }
    }

    /// Its row is that now.
    pub fn has_row(&self, run: &RunId, fence: u64, (counted, tags): Kept) {
        if let Some(held) = self.0.lock().get_mut(run).filter(|held| held.fence == fence) {
            held.counted = counted;
            held.tags = tags;
        }
    }

    /// It is held no more under that fence.
    pub fn remove(&self, run: &RunId, fence: u64) {
        let mut held = self.0.lock();
        if held.get(run).is_some_and(|its| its.fence <= fence) {
            held.remove(run);
        }
    }

    pub fn remove_of(&self, host: i32) {
        self.0.lock().retain(|_, held| held.host != host);
    }

    pub fn has(&self, run: &RunId, fence: u64) -> bool {
        self.get(run).is_some_and(|held| held.fence == fence)
    }
}

fn is_row_alone(commit: &Commit) -> bool {
    let Commit { events, row, inbox_taken, append, values, hooks, create, send, forward, leave, meta, .. } = commit;
    row.is_some()
        && events.is_none()
        && inbox_taken.is_none()
        && append.is_empty()
        && values.is_empty()
        && hooks.is_empty()
        && create.is_empty()
        && send.is_empty()
        && forward.is_none()
        && leave.is_none()
        && meta.is_empty()
}
