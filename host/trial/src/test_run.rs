//! One test, once: a world of its own, a host that may die, and time that moves when the test says so.

mod observe;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use durhai::check::AssumedFunction;
use durhai::clock::Clock;
use durhai::world::{MemoryWorld, Query, Row, World, decode};
use durhai::{Host, HostBuilder, HostError, Millis, Run, RunId, RunView, StepId, StepRule, StepSource};
use durhai_testkit::{Ending, FaultWorld, Pulse, SimClock, StepDoubles};
use parking_lot::MutexGuard;
use tokio::runtime::Handle;

use self::observe::{Observation, handled};
use crate::disturbance::Disturbance;
use crate::ledger::{Call, Ledger};
use crate::real_steps::{Choice, RealSteps};
use crate::{Extend, Mask, START, waits};

/// What all tests of a folder have in common.
#[derive(Clone)]
pub struct Setting {
    /// The scripts folder.
    pub folder: PathBuf,
    /// Steps that a test may ask for instead of mocks.
    pub steps: Vec<Arc<dyn StepSource>>,
    pub rules: Arc<BTreeMap<String, StepRule>>,
    pub mask: Option<Mask>,
    /// What workflow scripts have beside what they always have.
    pub extend: Vec<Extend>,
    pub functions: Vec<AssumedFunction>,
    pub tokio: Handle,
    pub seed: u64,
}

/// Why a test cannot go on.
#[derive(Debug)]
pub enum Stuck {
    /// The host said no to what the test asked for. The script can catch it.
    Refused(String),
    /// Something that no script gets over.
    Fatal(String),
}

/// One repetition of a test.
pub struct TestRun {
    setting: Setting,
    disturbance: Disturbance,
    /// When, on the machine's clock, the test has taken too long.
    limit: (Instant, Duration),
    world: Arc<MemoryWorld>,
    clock: SimClock,
    pulse: Pulse,
    steps: Arc<RealSteps>,
    connection: Arc<FaultWorld>,
    doubles: Arc<StepDoubles>,
    host: Host,
    /// By run; the order they were created in is in `order`.
    ledgers: BTreeMap<RunId, Ledger>,
    order: Vec<RunId>,
    /// How long the mocks of steps take.
    pub delays: BTreeMap<String, Millis>,
    /// Workflows whose schedules count, and when they are due.
    schedules: BTreeMap<String, Option<Millis>>,
    /// Counted over all hosts.
    messages: u64,
    struck: Option<String>,
    writes: Option<u64>,
    started: usize,
}

/// What happens next.
#[derive(Debug)]
pub enum Next {
    /// An attempt wants to know how it ends.
    Asks(Box<Call>),
    /// Nothing, before that moment (or ever) or until the test does something.
    Rests(Option<Millis>),
}

impl TestRun {
    pub fn new(setting: Setting, disturbance: Disturbance, limit: Duration) -> Result<TestRun, Stuck> {
        let (world, pulse) = (Arc::new(MemoryWorld::new()), Pulse::default());
        let clock = SimClock::with_naps(START, pulse.clone());
        let steps = Arc::new(RealSteps::new(setting.steps.clone()));
        let parts = (&world, &clock, &pulse, &steps);
        let (connection, doubles, host) = open(&setting, disturbance, disturbance, parts)?;
        let mut test_run = TestRun {
            setting,
            disturbance,
            limit: (Instant::now() + limit, limit),
            world,
            clock,
            pulse,
            steps,
            connection,
            doubles,
            host,
            ledgers: BTreeMap::new(),
            order: Vec::new(),
            delays: BTreeMap::new(),
            schedules: BTreeMap::new(),
            messages: 0,
            struck: None,
            writes: None,
            started: 0,
        };
        test_run.keep_schedules()?;
        Ok(test_run)
    }

    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    pub fn steps(&self) -> MutexGuard<'_, Choice> {
        self.steps.choice()
    }

    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    /// When the test has taken too long.
    pub fn limit(&self) -> Instant {
        self.limit.0
    }

    /// The write that the crash hit, if it has come to it.
    pub fn struck(&self) -> Option<String> {
        self.struck.clone().or_else(|| self.connection.struck_write())
    }

    /// Writes of the first host at which a crash makes a difference.
    pub fn writes(&self) -> u64 {
        self.writes.unwrap_or_else(|| self.connection.writes())
    }

    /// A name for the next run.
    pub fn next_id(&mut self) -> String {
        self.started += 1;
        format!("run-{}", self.started)
    }

    /// Runs in the order they were created.
    pub fn runs(&mut self) -> Result<Vec<Row>, Stuck> {
        let rows = self.rows()?;
        self.read(&rows)?;
        Ok(rows)
    }

    pub fn ledger(&self, run: &RunId) -> Option<&Ledger> {
        self.ledgers.get(run)
    }

    /// Attempts of all runs, in the order they began.
    pub fn calls(&mut self) -> Result<Vec<Call>, Stuck> {
        self.runs()?;
        let place = |run: &RunId| self.order.iter().position(|known| known == run);
        let mut calls: Vec<_> = self.ledgers.values().flat_map(|ledger| ledger.calls.iter().cloned()).collect();
        calls.sort_by_key(|call| (call.at, place(&call.run), step_key(&call.step_id), call.attempt));
        Ok(calls)
    }

    /// Asks the host for something that changes nothing.
    pub fn ask<T, F: Future<Output = Result<T, HostError>>>(&mut self, ask: impl Fn(Host) -> F) -> Result<T, Stuck> {
        loop {
            match self.setting.tokio.block_on(ask(self.host.clone())) {
                Err(_) if self.connection.is_down() => self.restart()?,
                Err(error) => return Err(Stuck::Refused(error.to_string())),
                Ok(answer) => return Ok(answer),
            }
        }
    }

    /// Has the host do something that may be done twice.
    pub fn start<F: Future<Output = Result<Run, HostError>>>(
        &mut self,
        ask: impl Fn(Host) -> F,
    ) -> Result<RunId, Stuck> {
        self.ask(ask).map(|run| run.id().clone())
    }

    /// Has the host do something that comes to one message. If it dies meanwhile it is asked again, unless the message was
    /// stored.
    pub fn tell<F: Future<Output = Result<(), HostError>>>(&mut self, ask: impl Fn(Host) -> F) -> Result<(), Stuck> {
        loop {
            let before = self.messages + self.connection.messages();
            match self.setting.tokio.block_on(ask(self.host.clone())) {
                Ok(()) => return Ok(()),
                Err(_) if self.connection.is_down() => {
                    self.restart()?;
                    if self.messages > before {
                        return Ok(());
                    }
                }
                Err(error) => return Err(Stuck::Refused(error.to_string())),
            }
        }
    }

    /// A run, and the last of those that continue it.
    pub fn view(&mut self, run: &RunId) -> Result<RunView, Stuck> {
        let mut id = run.clone();
        loop {
            let view = self.ask(|host| {
                let id = id.clone();
                async move { host.get(id.as_str()).await?.view().await }
            })?;
            match view.next {
                Some(next) => id = next,
                None => return Ok(view),
            }
        }
    }

    /// From now on the workflow starts by itself when it is due.
    pub fn schedule(&mut self, workflow: &str) -> Result<(), Stuck> {
        self.ask(|host| async move { host.resume_schedule(workflow).await })?;
        self.schedules.insert(workflow.into(), None);
        // It counts from the first time that its host has looked at it.
        while handled(&*self.world, workflow)?.is_none() {
            let seen = self.pulse.count();
            if !self.pulse.wait(seen, self.limit.0) {
                return Err(self.hangs());
            }
        }
        Ok(())
    }

    /// Moves time on to that moment.
    pub fn set_time(&mut self, now: Millis) {
        self.clock.set(now.max(self.clock.now()));
    }

    /// Waits until nothing goes on any more, or an attempt wants to know how it ends.
    pub fn next(&mut self) -> Result<Next, Stuck> {
        loop {
            let seen = self.pulse.count();
            match self.observe()? {
                Observation::Next(next) => return Ok(next),
                Observation::Down => self.restart()?,
                Observation::Busy if self.pulse.wait(seen, self.limit.0) => {}
                Observation::Busy => return Err(self.hangs()),
            }
            if Instant::now() > self.limit.0 {
                return Err(self.hangs());
            }
        }
    }

    /// Tells the attempt that asked.
    pub fn answer(&mut self, call: &Call, ending: Ending) {
        self.doubles.end_attempt(&call.run, &call.step_id, ending);
    }

    /// The test has taken too long: what each run waits for.
    pub fn hangs(&mut self) -> Stuck {
        let mut text = format!("the test does not come to an end: stopped after {} s", self.limit.1.as_secs());
        for row in self.rows().unwrap_or_default().iter().filter(|row| !row.status.is_terminal()) {
            let waits = self.setting.tokio.block_on(async {
                let look = async { self.host.get(row.run.as_str()).await?.view().await };
                tokio::time::timeout(Duration::from_secs(1), look).await
            });
            text.push_str(&match waits {
                Ok(Ok(view)) => format!("\n  {}", waits::describe(&view, self.clock.now())),
                _ => format!("\n  run {} ({}) is {} and does not answer", row.run, row.workflow, row.status),
            });
        }
        Stuck::Fatal(text)
    }

    /// Ends it. The write that the crash hit is known afterwards.
    pub fn close(&mut self) {
        self.connection.crash();
        self.setting.tokio.block_on(self.host.shutdown());
    }

    fn rows(&self) -> Result<Vec<Row>, Stuck> {
        let mut query = Query { limit: 1_000, ..Query::default() };
        let mut rows = Vec::new();
        loop {
            let page = self.world.list(&query).map_err(broken)?;
            rows.extend(page.rows);
            match page.next {
                Some(cursor) => query.cursor = Some(cursor),
                None => break,
            }
        }
        rows.reverse();
        Ok(rows)
    }

    /// Reads what is new in the logs.
    fn read(&mut self, rows: &[Row]) -> Result<(), Stuck> {
        for row in rows {
            if !self.ledgers.contains_key(&row.run) {
                self.order.push(row.run.clone());
            }
            let ledger = self.ledgers.entry(row.run.clone()).or_default();
            let tail = self.world.log_tail(&row.run).map_err(broken)?;
            if tail.is_none_or(|tail| tail.first + u64::from(tail.count) - 1 == ledger.last()) {
                continue;
            }
            let from = ledger.last() + 1;
            let mut events = Vec::new();
            for chunk in self.world.log(&row.run, from, usize::MAX).map_err(broken)? {
                decode(&chunk.bytes, &mut events).map_err(|error| Stuck::Fatal(error.to_string()))?;
            }
            for event in events.into_iter().filter(|event| event.seq >= from) {
                ledger.read(&row.run, event);
            }
        }
        Ok(())
    }

    /// The host is dead: another one takes over, and that one lives.
    fn restart(&mut self) -> Result<(), Stuck> {
        self.setting.tokio.block_on(self.host.shutdown());
        self.messages += self.connection.messages();
        self.writes.get_or_insert(self.connection.writes());
        self.struck = self.struck.take().or_else(|| self.connection.struck_write());
        self.world.crash();
        let parts = (&self.world, &self.clock, &self.pulse, &self.steps);
        (self.connection, self.doubles, self.host) = open(&self.setting, Disturbance::None, self.disturbance, parts)?;
        self.keep_schedules()
    }

    /// Workflows start by themselves only where the test wants it.
    fn keep_schedules(&mut self) -> Result<(), Stuck> {
        for schedule in self.ask(|host| async move { host.schedules().await })? {
            let wanted = self.schedules.contains_key(&schedule.workflow);
            if !wanted && !schedule.paused {
                let name = &schedule.workflow;
                self.ask(|host| async move { host.pause_schedule(name).await })?;
            }
        }
        Ok(())
    }
}

type Parts<'a> = (&'a Arc<MemoryWorld>, &'a SimClock, &'a Pulse, &'a Arc<RealSteps>);

fn open(
    setting: &Setting,
    disturbance: Disturbance,
    always: Disturbance,
    (world, clock, pulse, steps): Parts<'_>,
) -> Result<(Arc<FaultWorld>, Arc<StepDoubles>, Host), Stuck> {
    let shared: Arc<dyn World> = world.clone();
    // A test looks at runs long after they have ended, so none is purged.
    let connection = FaultWorld::new(shared, disturbance.fault(), pulse.clone()).singly().keeps_runs();
    let connection = Arc::new(connection);
    let doubles = StepDoubles::named(steps.clone(), pulse.clone());
    let mut builder = Host::builder()
        .shared_world(connection.clone())
        .clock(Arc::new(clock.clone()))
        .workflows(&setting.folder)
        .watch(false)
        .workers(1)
        // One host at a time, and the clock jumps.
        .lease(Duration::from_secs(1 << 40))
        // No operator mends anything while a test runs.
        .park_misconfigured_after(Duration::ZERO)
        .steps(doubles.source());
    for (name, StepRule { retry, timeout, .. }) in &*setting.rules {
        let rule = StepRule { retry: retry.clone(), timeout: *timeout, ..StepRule::default() };
        builder = builder.step_rule(name, rule);
    }
    if let Some(Mask(mask)) = setting.mask.clone() {
        builder = builder.mask(move |text| mask(text));
    }
    for extend in setting.extend.clone() {
        builder = builder.extend_scripts(move |engine| extend.apply(engine));
    }
    builder = setting.functions.iter().cloned().fold(builder, HostBuilder::assume_function);
    if always == Disturbance::Evicted {
        builder = builder.evict_after(Duration::ZERO);
    }
    let host = setting.tokio.block_on(builder.start()).map_err(|error| Stuck::Fatal(error.to_string()))?;
    Ok((connection, doubles, host))
}

fn broken(error: durhai::WorldError) -> Stuck {
    Stuck::Fatal(format!("the world of the test is broken: {error}"))
}

/// In the order of the script, not of the text: 2 before 10.
fn step_key(id: &StepId) -> Vec<u32> {
    id.as_str().split('.').filter_map(|part| part.parse().ok()).collect()
}
