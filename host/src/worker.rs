//! A worker: one thread that runs the scripts of its runs.
//!
//! Messages come in, every run they touch gets a *turn* (its tasks go on until all wait), each turn is one commit. A run
//! lives on one worker, so nothing in here is shared but what is said in [`RunShared`].

mod inbox;
mod moving;
mod turns;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use durhai_core::replay::{AttemptError, Input, LogLine};
use durhai_core::{Event, Millis, Replay, RunId, StepId, Value, Version};
use durhai_engine::{Execution, Program, Sandbox, SandboxConfig};
use durhai_world::{Claim, Write};
use tokio::sync::oneshot;

use crate::committer::{Job, Then};
use crate::error::Unready;
use crate::inner::{Inner, RunShared};
use crate::migrate::Told;
use crate::slot::Slot;
use crate::view::Outlook;

/// What a worker is told.
pub(crate) enum Msg {
    /// A run this host has claimed. `history` is its log, where the sender has it at hand.
    Adopt {
        claim: Box<Claim>,
        history: Option<Vec<Event>>,
    },
    Attempt {
        run: RunId,
        step_id: StepId,
        attempt: u32,
        result: Result<Value, AttemptError>,
    },
    /// An attempt ended because it was told to: there is no result.
    AttemptLost {
        run: RunId,
        step_id: StepId,
    },
    /// There is something in the run's inbox.
    Letter(RunId),
    Line {
        run: RunId,
        line: LogLine,
    },
    Heartbeat {
        run: RunId,
        step_id: StepId,
        detail: Value,
    },
    Park {
        run: RunId,
        reason: String,
    },
    /// A commit of the run was refused: somebody else holds it.
    Lost {
        run: Arc<RunShared>,
        why: String,
    },
    /// The claim was given back.
    Released {
        run: RunId,
    },
    /// What do its tasks wait for?
    Describe {
        run: RunId,
        reply: oneshot::Sender<Vec<Value>>,
    },
    /// How far is it, and when does it go on by itself?
    Outlook {
        run: RunId,
        reply: oneshot::Sender<Outlook>,
    },
    /// Let the run go on with that version, if its log fits.
    Migrate {
        run: RunId,
        to: Version,
        reply: oneshot::Sender<Told>,
    },
    /// A part of the run's turn is durable: its script may go on.
    Stored {
        run: Arc<RunShared>,
    },
    /// All that the run has committed until it was frozen is durable.
    AllDurable {
        run: Arc<RunShared>,
    },
    /// The clock jumped, or somebody wants the timers looked at.
    Tick,
    /// Give everything back.
    Drain,
}

/// Compiled programs kept, at most.
const PROGRAMS: usize = 256;

/// Messages taken before the turns they led to are run.
const GATHER: usize = 512;

pub(crate) struct Worker {
    pub inner: Arc<Inner>,
    pub index: usize,
    queued: Arc<AtomicUsize>,
    pub sandbox: Sandbox,
    programs: HashMap<Version, Rc<Program>>,
    pub slots: HashMap<RunId, Slot>,
    /// Claims given back whose release is not yet durable; letters that come meanwhile.
    releasing: HashMap<RunId, bool>,
    /// Claimed runs for which there is no room yet.
    backlog: VecDeque<(Box<Claim>, Option<Vec<Event>>)>,
    /// Runs to be given a turn.
    dirty: VecDeque<RunId>,
    timers: BinaryHeap<Reverse<(Millis, RunId)>>,
    /// Runs in the order they began to wait; an entry counts while the slot still has that number.
    idle: VecDeque<(Millis, u64, RunId)>,
    idle_count: u64,
    draining: bool,
}

/// The thread's body.
pub(crate) fn run(inner: Arc<Inner>, index: usize, messages: &mpsc::Receiver<Msg>, config: &SandboxConfig) {
    let queued = inner.workers[index].queued.clone();
    let mut worker = Worker {
        inner,
        index,
        queued,
        sandbox: Sandbox::new(config),
        programs: HashMap::new(),
        slots: HashMap::new(),
        releasing: HashMap::new(),
        backlog: VecDeque::new(),
        dirty: VecDeque::new(),
        timers: BinaryHeap::new(),
        idle: VecDeque::new(),
        idle_count: 0,
        draining: false,
    };
    loop {
        let patience = worker.patience();
        match messages.recv_timeout(patience) {
            Ok(msg) => worker.take(msg),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        for msg in messages.try_iter().take(GATHER) {
            worker.take(msg);
        }
        if worker.inner.failure().is_some() {
            // Nothing can be recorded any more: what goes on in memory has no meaning.
            worker.inner.counters.live.fetch_sub(worker.slots.len() as u64, Ordering::Relaxed);
            worker.slots.clear();
            worker.dirty.clear();
            worker.inner.meters.backlog.add(-(worker.backlog.len() as i64));
            worker.backlog.clear();
        }
        if worker.inner.is_stopping() && !worker.draining {
            // Attempts are told already; what they come to now leads to no other.
            worker.drain();
        }
        worker.fire_timers();
        // Before the turns: a script that spins gives way to those that are in, and nobody else.
        worker.admit();
        worker.turns();
        worker.evict();
        worker.admit();
        if worker.draining && worker.slots.is_empty() {
            break;
        }
    }
    // What was claimed for this worker meanwhile.
    for msg in messages.try_iter() {
        if let Msg::Adopt { claim, .. } = msg {
            worker.give_back_claim(worker.shared(&claim), claim.fence);
        }
    }
}

impl Worker {
    fn patience(&self) -> Duration {
        if !self.dirty.is_empty() {
            return Duration::ZERO;
        }
        let mut patience = Duration::from_secs(3_600);
        if let Some(Reverse((at, _))) = self.timers.peek() {
            patience = patience.min(self.inner.clock.patience(*at));
        }
        if let Some((since, ..)) = self.idle.front() {
            let age = Duration::from_millis(self.inner.clock.now().saturating_sub(*since));
            patience = patience.min(self.inner.evict_after.saturating_sub(age).max(Duration::from_millis(1)));
        }
        patience
    }

    fn take(&mut self, msg: Msg) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
        let now = self.inner.clock.now();
        match msg {
            Msg::Adopt { claim, history } => {
                self.inner.meters.backlog.add(1);
                self.backlog.push_back((claim, history));
            }
            Msg::Attempt { run, step_id, attempt, result } => {
                if let Some(slot) = self.slots.get_mut(&run) {
                    slot.heartbeats.remove(&step_id);
                    slot.attempt_ended(&step_id);
                    slot.deliver(now, Input::Attempt { step_id, attempt, result });
                    self.touch(run);
                }
            }
            Msg::AttemptLost { run, step_id } => {
                if let Some(slot) = self.slots.get(&run) {
                    slot.attempt_ended(&step_id);
                    self.touch(run);
                }
            }
            Msg::Letter(run) => {
                if self.slots.contains_key(&run) {
                    self.read_inbox(&run);
                } else if let Some(again) = self.releasing.get_mut(&run) {
                    *again = true;
                } else {
                    self.inner.adopter.ring();
                }
            }
            Msg::Line { run, line } => {
                if let Some(slot) = self.slots.get_mut(&run) {
                    slot.lines.push(line);
                    self.touch(run);
                }
            }
            Msg::Heartbeat { run, step_id, detail } => {
                if let Some(slot) = self.slots.get_mut(&run) {
                    slot.heartbeats.insert(step_id, detail);
                }
            }
            Msg::Park { run, reason } => {
                if let Some(slot) = self.slots.remove(&run) {
                    self.park(slot, &reason);
                }
            }
            Msg::Lost { run, why } => {
                // Unless it was claimed anew in the meantime.
                if self.slots.get(&run.id).is_some_and(|slot| Arc::ptr_eq(&slot.shared, &run)) {
                    tracing::warn!(run = %run.id, workflow = run.workflow, "run {} is no longer held here: {why}", run.id);
                    self.inner.meters.lost.inc();
                    self.abandon(&run.id);
                }
            }
            Msg::Released { run } => {
                if self.releasing.remove(&run).is_some_and(|again| again) {
                    self.inner.adopter.ring();
                }
            }
            Msg::Describe { run, reply } => {
                if let Some(slot) = self.slots.get_mut(&run) {
                    let _ = reply.send(slot.waiting_for());
                }
            }
            Msg::Outlook { run, reply } => {
                if let Some(slot) = self.slots.get(&run) {
                    let replay = slot.exec.replay();
                    let _ = reply.send(Outlook { events: replay.last_seq(), wake_at: replay.wake_at() });
                }
            }
            Msg::Migrate { run, to, reply } => self.migrate(&run, to, reply),
            Msg::Stored { run } => {
                if let Some(slot) = self.slots.get_mut(&run.id).filter(|slot| Arc::ptr_eq(&slot.shared, &run)) {
                    slot.storing = false;
                    self.touch(run.id.clone());
                }
            }
            Msg::AllDurable { run } => self.all_durable(&run),
            Msg::Tick => {}
            Msg::Drain => self.drain(),
        }
    }

    fn touch(&mut self, run: RunId) {
        if let Some(slot) = self.slots.get_mut(&run)
            && !slot.frozen
            && !slot.storing
            && !std::mem::replace(&mut slot.dirty, true)
        {
            self.dirty.push_back(run);
        }
    }

    fn fire_timers(&mut self) {
        let now = self.inner.clock.now();
        while let Some(Reverse((at, _))) = self.timers.peek() {
            if *at > now {
                break;
            }
            let Some(Reverse((_, run))) = self.timers.pop() else { break };
            let wake_at = |slot: &Slot| slot.exec.replay().wake_at().filter(|at| *at <= now);
            let Some(at) = self.slots.get(&run).and_then(wake_at) else { continue };
            // What was sent before that moment comes before it, also where the news of it is still on its way.
            self.read_inbox(&run);
            let Some(slot) = self.slots.get_mut(&run) else { continue };
            // Once all of it is read the timer is looked at again.
            if !slot.more {
                self.inner.meters.timer_lag.record(now - at);
                slot.deliver(now, Input::Time);
            }
            self.touch(run);
        }
        // Entries of timers that are gone would gather in a run that sets many long ones.
        if self.timers.len() > 1_000 && self.timers.len() > 4 * self.slots.len() {
            self.timers = self
                .slots
                .iter()
                .filter_map(|(run, slot)| Some(Reverse((slot.exec.replay().wake_at()?, run.clone()))))
                .collect();
        }
    }

    /// Takes claimed runs in, as far as there is room.
    fn admit(&mut self) {
        if self.draining {
            for (claim, _) in std::mem::take(&mut self.backlog) {
                self.inner.meters.backlog.add(-1);
                let shared = self.shared(&claim);
                self.give_back_claim(shared, claim.fence);
            }
            return;
        }
        let room = (self.inner.max_live / self.inner.workers.len()).max(1);
        while !self.backlog.is_empty() {
            if self.slots.len() >= room {
                self.evict_oldest();
                if self.slots.len() >= room {
                    break;
                }
            }
            let Some((claim, history)) = self.backlog.pop_front() else { break };
            self.inner.meters.backlog.add(-1);
            self.adopt(*claim, history);
            if self.dirty.len() >= GATHER {
                self.turns();
            }
        }
    }

    fn adopt(&mut self, claim: Claim, history: Option<Vec<Event>>) {
        let run = claim.run.clone();
        if let Some(slot) = self.slots.get(&run) {
            if slot.fence >= claim.fence {
                return;
            }
            // The lease ran out (the process was stopped for long, the clock jumped), and this host claimed the run from
            // itself: what it has in memory can no longer be committed.
            self.abandon(&run);
        }
        self.inner.counters.live.fetch_add(1, Ordering::Relaxed);
        if history.is_none() {
            self.inner.counters.rebuilt.fetch_add(1, Ordering::Relaxed);
        }
        let shared = self.shared(&claim);
        let began = history.is_none().then(Instant::now);
        match self.build(&claim, history) {
            Ok((exec, log_bytes)) => {
                if let Some(starter) = exec.replay().created().traceparent {
                    let _ = shared.starter.set(starter);
                }
                let mut slot = Slot::new(shared, exec, &claim, log_bytes);
                if let Some(began) = began {
                    self.inner.meters.replayed.add(slot.exec.replay().last_seq());
                    slot.building = Some(began.elapsed());
                }
                let now = self.inner.clock.now();
                // One that waited for its turn hears first what came meanwhile: it may be cancelled before it begins.
                let waited = claim.row.started_at.is_none();
                if !waited {
                    slot.deliver(now, Input::Start);
                    if slot.exec.replay().last_seq() > 1 {
                        slot.deliver(now, Input::TakeUp);
                    }
                }
                self.slots.insert(run.clone(), slot);
                self.read_inbox(&run);
                if let Some(slot) = self.slots.get_mut(&run) {
                    if waited {
                        slot.deliver(now, Input::Start);
                        slot.deliver(now, Input::TakeUp);
                    }
                    if !slot.more {
                        slot.deliver(now, Input::Time);
                    }
                }
                self.touch(run);
            }
            Err(Unready::World(error)) => {
                self.inner.counters.live.fetch_sub(1, Ordering::Relaxed);
                self.inner.adopt_later(claim, &error);
            }
            Err(Unready::Wrong(reason)) => {
                let job = Slot::park_unread(&self.inner, shared, &claim, &reason);
                self.inner.write(job.0);
                self.inner.write(job.1);
                self.releasing.insert(run, false);
                self.inner.counters.live.fetch_sub(1, Ordering::Relaxed);
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

    /// Drops a run that somebody else has claimed, and tells its attempts.
    fn abandon(&mut self, run: &RunId) {
        let Some(slot) = self.slots.remove(run) else { return };
        for (_, token) in slot.shared.attempts.lock().expect("not poisoned").drain() {
            token.cancel();
        }
        self.inner.counters.live.fetch_sub(1, Ordering::Relaxed);
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
            None => crate::log::read(&*self.inner.world, &claim.run)?,
        };
        let program = self.program(&claim.row.version)?;
        let mut replay = Replay::new(history, self.inner.limits.clone())
            .map_err(|error| Unready::Wrong(format!("damaged log: {error}")))?;
        replay.begin_again(self.inner.clock.now());
        Ok((Execution::new(program, replay), bytes))
    }

    fn program(&mut self, version: &Version) -> Result<Rc<Program>, Unready> {
        if let Some(program) = self.programs.get(version) {
            return Ok(program.clone());
        }
        let bundle = self.inner.catalog.bundle(&*self.inner.world, version)?;
        let program = self.sandbox.compile(&bundle).map_err(|diagnostics| {
            let all: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
            let all = all.join("\n");
            Unready::Wrong(format!("the script of version {} does not compile here: {all}", version.short()))
        })?;
        if self.programs.len() >= PROGRAMS {
            self.programs.retain(|_, program| Rc::strong_count(program) > 1);
        }
        let program = Rc::new(program);
        self.programs.insert(version.clone(), program.clone());
        Ok(program)
    }

    /// Stops a run until an operator looks at it. Its log stays as it is.
    fn park(&mut self, mut slot: Slot, reason: &str) {
        for job in slot.park(reason) {
            self.inner.write(job);
        }
        self.releasing.insert(slot.shared.id.clone(), false);
        self.inner.counters.live.fetch_sub(1, Ordering::Relaxed);
        let RunShared { id, workflow, .. } = &*slot.shared;
        tracing::warn!(run = %id, workflow, status = "parked", "run {id} is parked: {reason}");
    }

    /// Drops the fibers of runs that have waited long. Their logs bring them back.
    fn evict(&mut self) {
        if !self.inner.adopt {
            // Nobody would take them up again.
            self.idle.clear();
            return;
        }
        let now = self.inner.clock.now();
        let old = self.inner.evict_after.as_millis() as Millis;
        while let Some((since, number, run)) = self.idle.front() {
            let valid = self.slots.get(run).is_some_and(|slot| slot.idle == *number && slot.is_idle());
            if valid && since + old > now {
                break;
            }
            let run = run.clone();
            self.idle.pop_front();
            if valid {
                self.release(&run);
            }
        }
    }

    fn evict_oldest(&mut self) {
        if !self.inner.adopt {
            return;
        }
        while let Some((_, number, run)) = self.idle.pop_front() {
            if self.slots.get(&run).is_some_and(|slot| slot.idle == number && slot.is_idle()) {
                return self.release(&run);
            }
        }
    }

    fn release(&mut self, run: &RunId) {
        if let Some(slot) = self.slots.remove(run) {
            self.inner.counters.evicted.fetch_add(1, Ordering::Relaxed);
            self.give_back(slot);
        }
    }

    fn give_back(&mut self, slot: Slot) {
        self.inner.counters.live.fetch_sub(1, Ordering::Relaxed);
        self.give_back_claim(slot.shared.clone(), slot.fence);
    }

    fn give_back_claim(&mut self, shared: Arc<RunShared>, fence: u64) {
        let run = shared.id.clone();
        let write = Write::Release { run: run.clone(), fence };
        self.inner.write(Job { write, then: Then::Released(shared) });
        self.releasing.insert(run, false);
    }

    /// The host stops: what waits is given back now, the rest when its attempts have ended.
    fn drain(&mut self) {
        self.draining = true;
        self.thaw_all();
        let all: Vec<_> = self.slots.keys().cloned().collect();
        for run in all {
            self.touch(run);
        }
        self.turns();
    }
}
