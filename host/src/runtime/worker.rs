//! A worker: one thread that runs the scripts of its runs.
//!
//! Messages come in, every run they touch gets a *turn* (its tasks go on until all wait), each turn is one commit. A run
//! lives on one worker, so nothing in here is shared but what is said in [`RunShared`].

mod eviction;
mod inbox;
mod last_write;
mod switch_version;
mod turns;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use durhai_core::replay::Input;
use durhai_core::{Event, Millis, RunId, Version};
use durhai_engine::{Execution, Program, Sandbox};
use durhai_world::{Claim, Write};
use parking_lot::Mutex;

use self::eviction::WaitingRuns;
use crate::error::Unready;
use crate::logs::session;
use crate::runtime::command::WorkerCommand;
use crate::runtime::job::Then;
use crate::runtime::live_run::{LiveRun, Place};
use crate::runtime::run_shared::RunShared;
use crate::runtime::take_up_later;
use crate::shared::Shared;
use crate::view::Outlook;

/// Compiled programs kept, at most.
const PROGRAMS: usize = 256;

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
    backlog: VecDeque<(Box<Claim>, Option<Vec<Event>>)>,
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
    let mut worker = Worker {
        host,
        index,
        queued,
        sandbox,
        programs: HashMap::new(),
        live_runs: HashMap::new(),
        releasing: HashMap::new(),
        backlog: VecDeque::new(),
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
        }
        if worker.host.life.is_stopping() && !worker.draining {
            // Attempts are told already; what they come to now leads to no other.
            worker.drain();
        }
        worker.fire_timers();
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
                if let Some(live) = self.live_runs.get_mut(&run) {
                    live.heartbeats.remove(&step_id);
                    live.attempt_ended(&step_id);
                    live.deliver(now, Input::Attempt { step_id, attempt, result });
                    self.touch(run);
                }
            }
            WorkerCommand::AttemptLost { run, step_id } => {
                if let Some(live) = self.live_runs.get(&run) {
                    live.attempt_ended(&step_id);
                    self.touch(run);
                }
            }
            WorkerCommand::Message(run) => {
                if self.live_runs.contains_key(&run) {
                    self.read_inbox(&run);
                } else if let Some(again) = self.releasing.get_mut(&run) {
                    *again = true;
                } else {
                    self.host.runtime.claimer.wake();
                }
            }
            WorkerCommand::Line { run, line } => {
                if let Some(live) = self.live_runs.get_mut(&run) {
                    live.lines.push(line);
                    self.touch(run);
                }
            }
            WorkerCommand::Heartbeat { run, step_id, detail } => {
                if let Some(live) = self.live_runs.get_mut(&run) {
                    live.heartbeats.insert(step_id, detail);
                }
            }
            WorkerCommand::Park { run, reason } => {
                if let Some(live) = self.live_runs.remove(&run) {
                    self.park(live, &reason);
                }
            }
            WorkerCommand::Lost { run, why } => {
                // Unless it was claimed anew in the meantime.
                if self.live_runs.get(&run.id).is_some_and(|live| Arc::ptr_eq(&live.shared, &run)) {
                    tracing::warn!(run = %run.id, workflow = run.workflow, "run {} is no longer held here: {why}", run.id);
                    self.host.observe.meters.lost.inc();
                    self.abandon(&run.id);
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
                if let Some(live) = self.live_runs.get_mut(&run.id).filter(|live| Arc::ptr_eq(&live.shared, &run)) {
                    live.place = Place::Idle(None);
                    self.touch(run.id.clone());
                }
            }
            WorkerCommand::AllDurable { run } => self.all_durable(&run),
            WorkerCommand::Tick => {}
            WorkerCommand::Drain => self.drain(),
        }
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
            self.read_inbox(&run);
            let Some(live) = self.live_runs.get_mut(&run) else { continue };
            // Once all of it is read the timer is looked at again.
            if !live.more {
                self.host.observe.meters.timer_lag.record(now - at);
                live.deliver(now, Input::Time);
            }
            self.touch(run);
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

    /// Takes claimed runs in, as far as there is room.
    fn admit(&mut self) {
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
            if self.live_runs.len() >= room {
                self.evict_oldest();
                if self.live_runs.len() >= room {
                    break;
                }
            }
            let Some((claim, history)) = self.backlog.pop_front() else { break };
            self.host.observe.meters.backlog.add(-1);
            self.adopt(*claim, history);
            if self.dirty.len() >= GATHER {
                self.turns();
            }
        }
    }

    fn adopt(&mut self, claim: Claim, history: Option<Vec<Event>>) {
        let run = claim.run.clone();
        if let Some(live) = self.live_runs.get(&run) {
            if live.fence >= claim.fence {
                return;
            }
            // The lease ran out (the process was stopped for long, the clock jumped), and this host claimed the run from
            // itself: what it has in memory can no longer be committed.
            self.abandon(&run);
        }
        self.host.observe.counters.live.fetch_add(1, Ordering::Relaxed);
        if history.is_none() {
            self.host.observe.counters.rebuilt.fetch_add(1, Ordering::Relaxed);
        }
        let shared = self.shared(&claim);
        let began = history.is_none().then(Instant::now);
        match self.build(&claim, history) {
            Ok((exec, log_bytes)) => {
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
                self.read_inbox(&run);
                if let Some(live) = self.live_runs.get_mut(&run) {
                    if waited {
                        live.deliver(now, Input::Start);
                        live.deliver(now, Input::TakeUp);
                    }
                    if !live.more {
                        live.deliver(now, Input::Time);
                    }
                }
                self.touch(run);
            }
            Err(Unready::World(error)) => {
                self.host.observe.counters.live.fetch_sub(1, Ordering::Relaxed);
                take_up_later::adopt_later(&self.host, claim, &error);
            }
            Err(Unready::Wrong(reason)) => {
                let job = LiveRun::park_unread(&self.host, shared, &claim, &reason);
                self.host.store.submit(job.0);
                self.host.store.submit(job.1);
                self.releasing.insert(run, false);
                self.host.observe.counters.live.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn shared(&self, claim: &Claim) -> Arc<RunShared> {
        Arc::new(RunShared {
            id: claim.run.clone(),
            workflow: claim.row.workflow.clone(),
            version: Mutex::new(claim.row.version.clone()),
            starter: OnceLock::new(),
            worker: self.index,
            attempts: Default::default(),
        })
    }

    /// Drops all runs. Others have them, or this host under its next name.
    fn reset(&mut self) {
        self.host.observe.meters.backlog.add(-(self.backlog.len() as i64));
        self.backlog.clear();
        let all: Vec<_> = self.live_runs.keys().cloned().collect();
        self.host.observe.meters.lost.add(all.len() as u64);
        for run in all {
            self.abandon(&run);
        }
    }

    /// Drops a run that another host has claimed, and tells its attempts.
    fn abandon(&mut self, run: &RunId) {
        let Some(live) = self.live_runs.remove(run) else { return };
        for (_, token) in std::mem::take(&mut *live.shared.attempts.lock()) {
            token.cancel();
        }
        self.host.observe.counters.live.fetch_sub(1, Ordering::Relaxed);
    }

    /// The execution of a claimed run from its log. What is wrong is the reason to park it.
    fn build(&mut self, claim: &Claim, history: Option<Vec<Event>>) -> Result<(Execution, u64), Unready> {
        const POISON: u32 = 5;
        if claim.tries >= POISON {
            return Err(Unready::Wrong(format!(
                "poisoned: its host died {} times in a row while this run was being taken up, without getting any further",
                claim.tries
            )));
        }
        let (history, bytes) = match history {
            Some(history) => (history, 0),
            None => crate::logs::read::read(&*self.host.store.world, &claim.run)?,
        };
        let program = self.program(&claim.row.version)?;
        let mut replay = session::open(history, &self.host.config.limits)?;
        replay.begin_again(self.host.store.clock.now());
        Ok((Execution::new(program, replay), bytes))
    }

    fn program(&mut self, version: &Version) -> Result<Rc<Program>, Unready> {
        if let Some(program) = self.programs.get(version) {
            return Ok(program.clone());
        }
        let bundle = self.host.versions.bundle(&*self.host.store.world, version)?;
        let program = session::compile(&self.sandbox, version, &bundle)?;
        if self.programs.len() >= PROGRAMS {
            self.programs.retain(|_, program| Rc::strong_count(program) > 1);
        }
        let program = Rc::new(program);
        self.programs.insert(version.clone(), program.clone());
        Ok(program)
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
        let all: Vec<_> = self.live_runs.keys().cloned().collect();
        for run in all {
            self.touch(run);
        }
        self.turns();
    }
}
