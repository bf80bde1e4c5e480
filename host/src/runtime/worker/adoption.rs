//! How a worker takes claimed runs in.
//!
//! A run begins with its log, the texts of its version, and what waits in its inbox. A local world is asked for these here. One that
//! is not is asked by others: a claim for which there is room is sent there, and comes back with all of it. What came for the run
//! meanwhile is remembered.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use durhai_core::replay::Input;
use durhai_core::{Event, RunId, Version};
use durhai_engine::{Bundle, Execution, Program};
use durhai_world::Claim;

use super::{GATHER, Worker};
use crate::error::Unready;
use crate::logs::session;
use crate::runtime::asked::{Brought, InboxRead};
use crate::runtime::lease::{Lease, OwnClaim};
use crate::runtime::live_run::LiveRun;
use crate::runtime::{far, take_up_later};

/// Compiled programs kept, at most.
const PROGRAMS: usize = 256;

/// Runs that were sent a message before they were here, at most: what is beyond that is found by the next look at inboxes.
const EARLY: usize = 4_096;

/// Why a run is not taken up that its hosts die of.
fn poisoned(claim: &Claim) -> Option<Unready> {
    const POISON: u32 = 5;
    (claim.tries >= POISON).then(|| {
        Unready::Wrong(format!(
            "poisoned: its host died {} times in a row while this run was being taken up, without getting any further",
            claim.tries
        ))
    })
}

/// The runs of a worker that are read by others.
#[derive(Default)]
pub(super) struct Bringing {
    /// By run: the claim, and whether something came since.
    runs: HashMap<RunId, (OwnClaim, bool)>,
    /// Runs that were sent a message, and that are not here.
    early: HashSet<RunId>,
}

impl Bringing {
    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.early.clear();
    }

    pub(super) fn take_all(&mut self) -> Vec<OwnClaim> {
        std::mem::take(&mut self.runs).into_values().map(|(claim, _)| claim).collect()
    }

    pub(super) fn drop_lost(&mut self, lease: &Lease) {
        self.runs.retain(|_, (claim, _)| !lease.is_over(claim.epoch));
    }

    pub(super) fn contains(&self, run: &RunId) -> bool {
        self.runs.contains_key(run)
    }

    /// Something was sent to a run that is not in memory, and may be about to come.
    pub(super) fn note_message(&mut self, run: &RunId) {
        if let Some((_, again)) = self.runs.get_mut(run) {
            *again = true;
            return;
        }
        if self.early.len() >= EARLY {
            self.early.clear();
        }
        self.early.insert(run.clone());
    }
}

impl Worker {
    /// Takes claimed runs in, as far as there is room.
    pub(super) fn admit(&mut self) {
        if self.draining {
            for (claim, _) in std::mem::take(&mut self.backlog) {
                self.host.observe.meters.backlog.add(-1);
                let shared = self.shared(&claim);
                self.give_back_claim(shared, claim.fence);
            }
            return;
        }
        let room = (self.host.config.max_live / self.host.runtime.workers.count()).max(1);
        while !self.backlog.is_empty() {
            if self.live_runs.len() + self.bringing.runs.len() >= room {
                self.evict_oldest();
                if self.live_runs.len() + self.bringing.runs.len() >= room {
                    break;
                }
            }
            let Some((claim, history)) = self.backlog.pop_front() else { break };
            self.host.observe.meters.backlog.add(-1);
            self.adopt(claim, history);
            if self.dirty.len() >= GATHER {
                self.turns();
            }
        }
    }

    fn adopt(&mut self, claim: Box<OwnClaim>, history: Option<Vec<Event>>) {
        // Of a name that the host had before: another host may have the run, or this one.
        if self.host.store.lease.is_over(claim.epoch) || self.has_newer(&claim) {
            return;
        }
        if let Some(why) = poisoned(&claim) {
            // Before its log is read: that may be what its hosts died of.
            return self.begin(*claim, None, Err(why), None);
        }
        if self.host.store.is_local {
            let rebuilt = history.is_none();
            let began = Instant::now();
            let read = match history {
                Some(history) => Ok((history, 0)),
                None => crate::logs::read::read(&*self.host.store.world, &claim.run).map_err(Unready::from),
            };
            let built = read.and_then(|(history, bytes)| Ok((self.build(&claim, history, None)?, bytes)));
            return self.begin(*claim, rebuilt.then_some(began), built, None);
        }
        let early = self.bringing.early.remove(&claim.run);
        match history {
            Some(history) if !early && far::is_at_hand(&self.host, &claim, Some(&history)) => {
                let bundle = self.host.versions.texts.known(&claim.row.version);
                let built = self.build(&claim, history, bundle.as_deref());
                self.begin(*claim, None, built.map(|exec| (exec, 0)), None);
            }
            history => {
                self.bringing.runs.insert(claim.run.clone(), ((*claim).clone(), false));
                far::bring(&self.host, claim, history);
            }
        }
    }

    /// Whether the claim is of no use: the run is here already. An older one that is here is dropped.
    fn has_newer(&mut self, claim: &Claim) -> bool {
        if self.bringing.runs.get(&claim.run).is_some_and(|(other, _)| other.fence >= claim.fence) {
            return true;
        }
        match self.live_runs.get(&claim.run) {
            Some(live) if live.fence >= claim.fence => true,
            Some(_) => {
                // The lease ran out (the process was stopped for long, the clock jumped), and this host claimed the run from
                // itself: what it has in memory can no longer be committed.
                self.abandon(&claim.run);
                false
            }
            None => false,
        }
    }

    /// A run was read.
    pub(super) fn brought(&mut self, claim: OwnClaim, rebuilt: bool, read: Result<Box<Brought>, Unready>) {
        let run = claim.run.clone();
        if self.bringing.runs.get(&run).is_none_or(|(asked, _)| asked.fence != claim.fence) {
            // It was given back meanwhile, or claimed anew.
            return;
        }
        let Some((_, again)) = self.bringing.runs.remove(&run) else { return };
        let began = rebuilt.then(Instant::now);
        let (built, inbox) = match read {
            Ok(brought) => {
                let Brought { history, log_bytes, bundle, inbox } = *brought;
                (self.build(&claim, history, Some(&bundle)).map(|exec| (exec, log_bytes)), Some(inbox))
            }
            Err(why) => (Err(why), None),
        };
        self.begin(claim, began, built, inbox);
        if again {
            self.read_inbox(&run, false);
        }
    }

    /// A run begins, or goes on. `began`: since when it is built from its log. `inbox`: what waits for it, where it was read.
    fn begin(
        &mut self,
        claim: OwnClaim,
        began: Option<Instant>,
        built: Result<(Execution, u64), Unready>,
        inbox: Option<InboxRead>,
    ) {
        let run = claim.run.clone();
        if began.is_some() {
            self.host.observe.counters.rebuilt.fetch_add(1, Ordering::Relaxed);
        }
        let shared = self.shared(&claim);
        let (exec, log_bytes) = match built {
            Ok(built) => built,
            Err(Unready::World(error)) => return take_up_later::adopt_later(&self.host, claim, &error),
            Err(Unready::Wrong(reason)) => {
                let job = LiveRun::park_unread(&self.host, shared, &claim, &reason);
                self.host.store.submit(job.0);
                self.host.store.submit(job.1);
                self.releasing.insert(run, false);
                return;
            }
        };
        self.host.observe.counters.live.fetch_add(1, Ordering::Relaxed);
        if let Some(starter) = exec.replay().created().traceparent {
            let _ = shared.starter.set(starter);
        }
        let mut live = Box::new(LiveRun::new(shared, exec, &claim, log_bytes));
        if let Some(began) = began {
            self.host.observe.meters.replayed.add(live.exec.replay().last_seq());
            live.building = Some(began.elapsed());
        }
        let now = self.host.store.clock.now();
        // One that waited for its turn hears first what came meanwhile: it may be cancelled before it begins.
        let waited = claim.row.started_at.is_none();
        if !waited {
            live.deliver(now, Input::Start);
            if live.exec.replay().last_seq() > 1 {
                live.deliver(now, Input::TakeUp);
            }
        }
        self.live_runs.insert(run.clone(), live);
        // What was sent until now was read, or is at once.
        let read_at = inbox.as_ref().map_or(now, |read| read.at.min(now));
        match inbox {
            Some(read) => self.give_messages(&run, read),
            None if self.host.store.is_local => self.read_inbox(&run, false),
            None => {}
        }
        if let Some(live) = self.live_runs.get_mut(&run) {
            if waited {
                live.deliver(now, Input::Start);
                live.deliver(now, Input::TakeUp);
            }
            if !live.more {
                live.deliver(read_at, Input::Time);
            }
        }
        self.touch(run);
    }

    /// The execution of a claimed run from its log. What is wrong is the reason to park it.
    fn build(&mut self, claim: &Claim, history: Vec<Event>, texts: Option<&Bundle>) -> Result<Execution, Unready> {
        let program = self.program(&claim.row.version, texts)?;
        let mut replay = session::open(history, &self.host.config.limits)?;
        replay.begin_again(self.host.store.clock.now());
        Ok(Execution::new(program, replay))
    }

    /// The program of a version; its texts, where they are at hand.
    pub(super) fn program(&mut self, version: &Version, texts: Option<&Bundle>) -> Result<Rc<Program>, Unready> {
        if let Some(program) = self.programs.get(version) {
            return Ok(program.clone());
        }
        let program = match texts {
            Some(bundle) => session::compile(&self.sandbox, version, bundle)?,
            None => {
                let bundle = self.host.versions.bundle(&*self.host.store.world, version)?;
                session::compile(&self.sandbox, version, &bundle)?
            }
        };
        if self.programs.len() >= PROGRAMS {
            self.programs.retain(|_, program| Rc::strong_count(program) > 1);
        }
        let program = Rc::new(program);
        self.programs.insert(version.clone(), program.clone());
        Ok(program)
    }
}
