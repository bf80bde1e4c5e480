//! A worker: one thread that runs the scripts of its runs.
//!
//! Messages come in, every run they touch gets a *turn* (its tasks go on until all wait), each turn is one commit. A run
//! lives on one worker, so nothing in here is shared but what is said in [`RunShared`].

mod adoption;
mod eviction;
mod inbox;
mod last_write;
mod switch_version;
mod turns;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use durhai_core::replay::Input;
use durhai_core::{Event, Millis, RunId, Version};
use durhai_engine::{Program, Sandbox};
use durhai_world::Write;
use parking_lot::Mutex;

use self::adoption::Bringing;
use self::eviction::WaitingRuns;
use crate::runtime::command::WorkerCommand;
use crate::runtime::job::Then;
use crate::runtime::lease::OwnClaim;
use crate::runtime::live_run::{LiveRun, Place};
use crate::runtime::run_shared::RunShared;
use crate::shared::Shared;
use crate::view::Outlook;

/// Messages taken before the turns they led to are run.
const GATHER: usize = 512;

pub(crate) struct Worker {
    pub host: Arc<Shared>,
    pub index: usize,
    queued: Arc<AtomicUsize>,
    pub sandbox: Sandbox,
    programs: HashMap<Version, Rc<Program>>,
    /// Boxed, for they come out of the table for each turn, and a table has more room than entries.
    pub live_runs: HashMap<RunId, Box<LiveRun>>,
    /// Claims given back whose release is not yet durable; messages that come meanwhile.
    releasing: HashMap<RunId, bool>,
    /// Claimed runs for which there is no room yet.
    backlog: VecDeque<(Box<OwnClaim>, Option<Vec<Event>>)>,
    /// What of the world that is not local is read for runs that begin.
    bringing: Bringing,
    /// When the inboxes of all runs are looked at next; `None` while they are, and always where the world is local.
    look_at: Option<Instant>,
    /// Runs to be given a turn.
    dirty: VecDeque<RunId>,
    timers: BinaryHeap<Reverse<(Millis, RunId)>>,
    waiting: WaitingRuns,
    draining: bool,
    /// The committer's thread was not told of the last write.
    untold: bool,
}

/// The thread's body.
pub(crate) fn run(host: Arc<Shared>, index: usize, messages: &mpsc::Receiver<WorkerCommand>) {
    let queued = host.runtime.workers.queued(index);
    let sandbox = Sandbox::new(&host.config.sandbox);
    let look_at = (!host.store.is_local).then(Instant::now);
    let mut worker = Worker {
        host,
        index,
        queued,
        sandbox,
        programs: HashMap::new(),
        live_runs: HashMap::new(),
        releasing: HashMap::new(),
        backlog: VecDeque::new(),
        bringing: Bringing::default(),
        look_at,
        dirty: VecDeque::new(),
        timers: BinaryHeap::new(),
        waiting: WaitingRuns::default(),
        draining: false,
        untold: false,
    };
    loop {
        let timeout = worker.timeout();
        match messages.recv_timeout(timeout) {
            Ok(msg) => worker.take(msg),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        for msg in messages.try_iter().take(GATHER) {
            worker.take(msg);
        }
        if worker.host.life.failure().is_some() {
            // Nothing can be recorded any more: what goes on in memory has no meaning.
            worker.host.observe.counters.live.fetch_sub(worker.live_runs.len() as u64, Ordering::Relaxed);
            worker.live_runs.clear();
            worker.dirty.clear();
            worker.host.observe.meters.backlog.add(-(worker.backlog.len() as i64));
            worker.backlog.clear();
            worker.bringing.clear();
        }
        if worker.host.life.is_stopping() && !worker.draining {
            // Attempts are told already; what they come to now leads to no other.
            worker.drain();
        }
        worker.fire_timers();
        worker.look_at_inboxes();
        // Before the turns: a script that spins gives way to those that are in, and to no others.
        worker.admit();
        worker.turns();
        worker.evict();
        worker.admit();
        worker.see_to_last_write();
        if worker.draining && worker.live_runs.is_empty() {
            break;
        }
    }
    // What was claimed for this worker meanwhile.
    for msg in messages.try_iter() {
        if let WorkerCommand::Adopt { claim, .. } = msg {
            worker.give_back_claim(worker.shared(&claim), claim.fence);
        }
    }
}

impl Worker {
    fn timeout(&self) -> Duration {
        if !self.dirty.is_empty() {
            return Duration::ZERO;
        }
        let mut timeout = Duration::from_secs(3_600);
        if let Some(Reverse((at, _))) = self.timers.peek() {
            timeout = timeout.min(self.host.store.clock.time_until(*at));
        }
        if let Some(look_at) = self.look_at.filter(|_| !self.draining && !self.live_runs.is_empty()) {
            timeout = timeout.min(look_at.saturating_duration_since(Instant::now()));
        }
        timeout.min(self.next_eviction().unwrap_or(timeout))
    }

    // Long because it is a table: an arm for each command.
    fn take(&mut self, msg: WorkerCommand) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
        let now = self.host.store.clock.now();
        match msg {
            WorkerCommand::Adopt { claim, history } => {
                self.host.observe.meters.backlog.add(1);
                self.backlog.push_back((claim, history));
            }
            WorkerCommand::Attempt { run, step_id, attempt, result } => {
                if let Some(live) = self.live(&run) {
                    live.heartbeats.remove(&step_id);
                    live.attempt_ended(&step_id);
                    live.deliver(now, Input::Attempt { step_id, attempt, result });
                    self.touch(run.id.clone());
                }
            }
            WorkerCommand::AttemptLost { run, step_id } => {
                if let Some(live) = self.live(&run) {
                    live.attempt_ended(&step_id);
                    self.touch(run.id.clone());
                }
            }
            WorkerCommand::Message(run) => {
                if self.live_runs.contains_key(&run) {
                    self.read_inbox(&run, false);
                } else if let Some(again) = self.releasing.get_mut(&run) {
                    *again = true;
                } else {
                    if !self.host.store.is_local {
                        self.bringing.note_message(&run);
                    }
                    self.host.runtime.claimer.wake();
                }
            }
            WorkerCommand::WhoIsHere { mut runs, reply } => {
                runs.retain(|run| self.live_runs.contains_key(run) || self.bringing.contains(run));
                let _ = reply.send(runs);
            }
            WorkerCommand::Unread { runs } => self.are_unread(&runs),
            WorkerCommand::Brought { claim, rebuilt, read } => self.brought(*claim, rebuilt, read),
            WorkerCommand::Inbox { run, read } => self.inbox_was_read(&run, read),
            WorkerCommand::Seen { run, seen } => self.seen(&run, seen),
            WorkerCommand::LogRead { run, read } => self.log_was_read(&run, read),
            WorkerCommand::Line { run, line } => {
                if let Some(live) = self.live(&run) {
                    live.lines.push(line);
                    self.touch(run.id.clone());
                }
            }
            WorkerCommand::Heartbeat { run, step_id, detail } => {
                if let Some(live) = self.live(&run) {
                    live.heartbeats.insert(step_id, detail);
                }
            }
            WorkerCommand::Park { run, reason } => {
                if self.live(&run).is_some()
                    && let Some(live) = self.live_runs.remove(&run.id)
                {
                    self.park(live, &reason);
                }
            }
            WorkerCommand::Lost { run, why } => {
                // Unless it was claimed anew in the meantime.
                if self.live(&run).is_some() {
                    tracing::warn!(run = %run.id, workflow = run.workflow, "run {} is no longer held here: {why}", run.id);
                    self.host.observe.meters.lost.inc();
                    self.abandon(&run.id);
                }
            }
            WorkerCommand::ChildExists { run, child } => {
                if let Some(live) = self.live(&run)
                    && live.exec.replay_mut().look_after_again(&child)
                {
                    live.deliver(now, Input::TakeUp);
                    self.touch(run.id.clone());
                }
            }
            WorkerCommand::Reset => self.reset(),
            WorkerCommand::Released { run } => {
                if self.releasing.remove(&run).is_some_and(|again| again) {
                    self.host.runtime.claimer.wake();
                }
            }
            WorkerCommand::Describe { run, reply } => {
                if let Some(live) = self.live_runs.get_mut(&run) {
                    let _ = reply.send(live.waiting_for());
                }
            }
            WorkerCommand::Outlook { run, reply } => {
                if let Some(live) = self.live_runs.get(&run) {
                    let replay = live.exec.replay();
                    let _ = reply.send(Outlook { events: replay.last_seq(), wake_at: replay.wake_at() });
                }
            }
            WorkerCommand::Migrate { run, to, reply } => self.migrate(&run, to, reply),
            WorkerCommand::Stored { run } => {
                if let Some(live) = self.live(&run) {
                    live.place = Place::Idle(None);
                    self.touch(run.id.clone());
                }
            }
            WorkerCommand::AllDurable { run } => self.all_durable(&run),
            WorkerCommand::Tick => {}
            WorkerCommand::Drain => self.drain(),
        }
    }

    /// The run in memory, if it is this claim of it: what came of an earlier one is for nobody.
    fn live(&mut self, run: &Arc<RunShared>) -> Option<&mut LiveRun> {
        let live = self.live_runs.get_mut(&run.id)?;
        Arc::ptr_eq(&live.shared, run).then_some(live)
    }

    fn touch(&mut self, run: RunId) {
        if let Some(live) = self.live_runs.get_mut(&run)
            && let Place::Idle(entry) = live.place
        {
            entry.into_iter().for_each(|number| self.waiting.remove(number));
            live.place = Place::Dirty;
            self.dirty.push_back(run);
        }
    }

    fn fire_timers(&mut self) {
        let now = self.host.store.clock.now();
        while let Some(Reverse((at, _))) = self.timers.peek() {
            if *at > now {
                break;
            }
            let Some(Reverse((_, run))) = self.timers.pop() else { break };
            let wake_at = |live: &LiveRun| live.exec.replay().wake_at().filter(|at| *at <= now);
            let Some(at) = self.live_runs.get(&run).and_then(|live| wake_at(live)) else { continue };
            // What was sent before that moment comes before it, also where the news of it is still on its way.
            self.read_inbox(&run, true);
            if self.host.store.is_local {
                self.fire(&run, at, now);
            }
        }
        // Entries of timers that are gone would gather in a run that sets many long ones.
        if self.timers.len() > 1_000 && self.timers.len() > 4 * self.live_runs.len() {
            self.timers = self
                .live_runs
                .iter()
                .filter_map(|(run, live)| Some(Reverse((live.exec.replay().wake_at()?, run.clone()))))
                .collect();
        }
    }

    fn shared(&self, claim: &OwnClaim) -> Arc<RunShared> {
        Arc::new(RunShared {
            id: claim.run.clone(),
            workflow: claim.row.workflow.clone(),
            version: Mutex::new(claim.row.version.clone()),
            starter: OnceLock::new(),
            worker: self.index,
            epoch: claim.epoch,
            dropped: AtomicBool::new(false),
            attempts: Default::default(),
        })
    }

    /// Drops all runs that were claimed under a name before the one the host has. Others have them, or this host under that name.
    fn reset(&mut self) {
        let lease = &self.host.store.lease;
        let before = self.backlog.len();
        self.backlog.retain(|(claim, _)| !lease.is_over(claim.epoch));
        self.host.observe.meters.backlog.add(self.backlog.len() as i64 - before as i64);
        self.bringing.drop_lost(lease);
        let lost = self.live_runs.values().filter(|live| lease.is_over(live.shared.epoch));
        let lost: Vec<_> = lost.map(|live| live.shared.id.clone()).collect();
        self.host.observe.meters.lost.add(lost.len() as u64);
        for run in lost {
            self.abandon(&run);
        }
    }

    /// Drops a run that another host has claimed, and tells its attempts.
    fn abandon(&mut self, run: &RunId) {
        let Some(live) = self.live_runs.remove(run) else { return };
        live.shared.drop_attempts();
        self.host.observe.counters.live.fetch_sub(1, Ordering::Relaxed);
    }

    /// Stops a run until an operator looks at it. Its log stays as it is.
    fn park(&mut self, mut live: Box<LiveRun>, reason: &str) {
        for job in live.park(reason) {
            self.host.store.submit(job);
        }
        self.releasing.insert(live.shared.id.clone(), false);
        self.host.observe.counters.live.fetch_sub(1, Ordering::Relaxed);
        let RunShared { id, workflow, .. } = &*live.shared;
        tracing::warn!(run = %id, workflow, status = "parked", "run {id} is parked: {reason}");
    }

    fn give_back(&mut self, live: Box<LiveRun>) {
        self.host.observe.counters.live.fetch_sub(1, Ordering::Relaxed);
        self.give_back_claim(live.shared.clone(), live.fence);
    }

    fn give_back_claim(&mut self, shared: Arc<RunShared>, fence: u64) {
        let run = shared.id.clone();
        let write = Write::Release { run: run.clone(), fence };
        self.host.store.write(write, Then::Released(shared));
        self.releasing.insert(run, false);
    }

    /// The host stops: what waits is given back now, the rest when its attempts have ended.
    fn drain(&mut self) {
        self.draining = true;
        self.thaw_all();
        for claim in self.bringing.take_all() {
            self.give_back_claim(self.shared(&claim), claim.fence);
        }
        let all: Vec<_> = self.live_runs.keys().cloned().collect();
        for run in all {
            self.touch(run);
        }
        self.turns();
    }
}
