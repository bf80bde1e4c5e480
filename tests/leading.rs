//! Writes that workers make themselves, because nobody else writes: who makes them, and what is when they fail, when they panic,
//! when the host stops meanwhile, and when others come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use durhai::metrics::MetricValue;
use durhai::observe::{AttemptEnded, Observer, RunEnded};
use durhai::{Event, EventBody, Host, HostError, MemoryWorld, RunError, StepContext, StepError, World};
use durhai_testkit::{PATIENCE, Pulse, TestHost, events};
use durhai_world::{Forward, Refused, Watcher, WorldError, Write, Written};
use parking_lot::{Condvar, Mutex};
use tokio::task::JoinSet;

const STEPS: &str = r#"let x = 0; for i in 0..input { x = use_step("add", x); } x"#;

/// What befalls a write that a worker makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fails,
    /// It is stored, and the host does not learn of it.
    FailsStored,
    Panics,
    /// It takes until the test lets it go on.
    Waits,
}

/// A world that knows on which threads it is written to.
struct Watched {
    world: Arc<MemoryWorld>,
    local: bool,
    /// Of one of the writes of workers, counted from 1.
    fate: Option<(u64, Fate)>,
    /// Every write waits for the test.
    all_wait: bool,
    /// Writes that workers made, and those of other threads.
    workers: AtomicU64,
    others: AtomicU64,
    /// What watchers were told by a worker in its write.
    told: Arc<AtomicU64>,
    gate: Mutex<Gate>,
    changed: Condvar,
    pulse: Pulse,
}

#[derive(Default)]
struct Gate {
    /// The batch that waits has so many writes.
    waiting: Option<usize>,
    /// Writes under way.
    writing: u64,
    /// Runs that have ended.
    ended: usize,
}

impl Watched {
    fn new(world: &Arc<MemoryWorld>) -> Self {
        Watched {
            world: world.clone(),
            local: true,
            fate: None,
            all_wait: false,
            workers: AtomicU64::new(0),
            others: AtomicU64::new(0),
            told: Arc::default(),
            gate: Mutex::default(),
            changed: Condvar::new(),
            pulse: Pulse::default(),
        }
    }

    fn by_workers(&self) -> u64 {
        self.workers.load(Ordering::SeqCst)
    }

    fn by_others(&self) -> u64 {
        self.others.load(Ordering::SeqCst)
    }

    /// Until a write waits for the test.
    async fn waits(&self) -> usize {
        self.pulse.until(|| self.gate.lock().waiting, || "a write that waits").await
    }

    /// Lets it go on.
    fn open(&self) {
        self.gate.lock().waiting = None;
        self.changed.notify_all();
    }

    fn befalls(&self, fate: Fate, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError> {
        let failed = || WorldError::Unavailable("the disk is gone (a test made it)".into());
        match fate {
            Fate::Fails => Err(failed()),
            Fate::FailsStored => self.world.write(batch).and_then(|_| Err(failed())),
            Fate::Panics => panic!("a test made it"),
            Fate::Waits => {
                let ends = batch.iter().filter(|write| ends_a_run(write)).count();
                let mut gate = self.gate.lock();
                gate.waiting = Some(batch.len());
                self.pulse.beat();
                self.changed.wait_while(&mut gate, |gate| gate.waiting.is_some());
                gate.ended += ends;
                drop(gate);
                self.world.write(batch)
            }
        }
    }
}

fn ends_a_run(write: &Write) -> bool {
    matches!(write, Write::Commit(commit) if commit.row.as_ref().is_some_and(|row| row.status.is_terminal()))
}

fn on_worker() -> bool {
    std::thread::current().name().is_some_and(|name| name.starts_with("durhai-work-"))
}

impl Forward for Watched {
    fn inner(&self) -> Result<&dyn World, WorldError> {
        Ok(&*self.world)
    }

    fn is_local(&self) -> bool {
        self.local
    }

    fn write(&self, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError> {
        let writer = if on_worker() { &self.workers } else { &self.others };
        let number = writer.fetch_add(1, Ordering::SeqCst) + 1;
        self.gate.lock().writing += 1;
        let written = match self.fate {
            Some((at, fate)) if on_worker() && number == at => self.befalls(fate, batch),
            _ if self.all_wait => self.befalls(Fate::Waits, batch),
            _ => self.world.write(batch),
        };
        self.gate.lock().writing -= 1;
        written
    }

    fn watch(&self, watcher: Watcher) {
        let told = self.told.clone();
        self.world.watch(Arc::new(move |notice| {
            told.fetch_add(u64::from(on_worker()), Ordering::SeqCst);
            watcher(notice);
        }));
    }
}

/// One worker, so that it has all runs, and a step that must not be made before its start is written.
fn test_host(wrong: &Arc<Mutex<Vec<String>>>) -> TestHost {
    let test = TestHost::new().workers(1).workflow("steps", STEPS);
    let (world, wrong) = (test.world.clone(), wrong.clone());
    test.step("add", move |context: StepContext, x: i64| {
        let (run, step) = (context.run_id(), context.step_id());
        let is_start =
            |event: &Event| matches!(event.body, EventBody::StepStarted { .. }) && event.step_id.as_ref() == Some(step);
        if !events(&*world, run).iter().any(is_start) {
            wrong.lock().push(format!("step {step} of run {run} is not recorded"));
        }
        async move { Ok::<_, StepError>(x + 1) }
    })
}

async fn host_on(test: &TestHost, world: Watched) -> (Arc<Watched>, Host) {
    let world = Arc::new(world);
    (world.clone(), test.builder_on(world).start().await.expect("a host starts"))
}

async fn steps(host: &Host, id: &str, count: i64) -> Result<i64, RunError> {
    host.run("steps").id(id).input(&count).start().await?.output().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_run_needs_no_other_thread() {
    let test = test_host(&Arc::default());
    let (world, host) = host_on(&test, Watched::new(&test.world)).await;
    let alone = async {
        // The creation, which a caller asked for, is written by another thread: the first turn may come before that is done with it.
        for number in 0.. {
            let before = (world.by_workers(), world.by_others());
            assert_eq!(steps(&host, &format!("r{number}"), 20).await.unwrap(), 20);
            if (world.by_workers() - before.0, world.by_others() - before.1) == (21, 1) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, alone).await.expect("a run with all its turns written by its worker");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_never_write_to_a_world_that_is_far_away() {
    let test = test_host(&Arc::default());
    let (world, host) = host_on(&test, Watched { local: false, ..Watched::new(&test.world) }).await;
    for number in 0..5 {
        assert_eq!(steps(&host, &format!("r{number}"), 20).await.unwrap(), 20);
    }
    assert_eq!((world.by_workers(), world.by_others()), (0, 5 * 22));
    host.shutdown().await;
}

/// Writes that wait for the committer.
async fn queued(host: &Host) -> usize {
    match host.metrics().await.family("durhai_committer_queue").expect("it is there").series[0].value {
        MetricValue::Number(number) => number as usize,
        _ => panic!("it is a number"),
    }
}

async fn until_queued(host: &Host, count: usize) {
    let work = async {
        while queued(host).await != count {
            tokio::task::yield_now().await;
        }
    };
    let Err(_) = tokio::time::timeout(PATIENCE, work).await else { return };
    panic!("{} writes are queued, and not {count}", queued(host).await);
}

/// A write is under way for as long as it takes until every other run has handed in its next: so all workers go on meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_runs_are_written_together() {
    const RUNS: usize = 1_000;
    let test = test_host(&Arc::default()).workers(2);
    let (world, host) = host_on(&test, Watched { all_wait: true, ..Watched::new(&test.world) }).await;
    let mut runs = JoinSet::new();
    for number in 0..RUNS {
        let host = host.clone();
        runs.spawn(async move { steps(&host, &format!("r{number}"), 5).await });
    }
    let (mut flushes, mut writes) = (0, 0);
    while writes < RUNS * 7 {
        let batch = world.waits().await;
        let live = RUNS - world.gate.lock().ended;
        until_queued(&host, live - batch).await;
        (flushes, writes) = (flushes + 1, writes + batch);
        world.open();
    }
    while let Some(output) = runs.join_next().await {
        assert_eq!(output.unwrap().unwrap(), 5);
    }
    let stats = host.stats();
    assert_eq!((stats.writes, stats.flushes), (writes as u64, flushes));
    // Not each batch is as large as it may be: the first one, and those that end the last runs.
    assert!(flushes <= RUNS as u64 * 7 / 64 + 10, "{writes} writes in {flushes} flushes");
    // One that is alone at the end is written by its worker.
    assert!(world.by_workers() <= 7, "{} flushes were made by workers", world.by_workers());
    host.shutdown().await;
}

/// A world that fails, or panics, at each write that a worker makes: that host ends, and the next one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_in_a_workers_write_ends_the_host_and_loses_nothing() {
    for fate in [Fate::Fails, Fate::FailsStored, Fate::Panics] {
        for at in 1..=8 {
            let case = format!("{fate:?} {at}");
            let wrong = Arc::default();
            let test = test_host(&wrong);
            let (world, host) = host_on(&test, Watched { fate: Some((at, fate)), ..Watched::new(&test.world) }).await;
            let mut begun = Vec::new();
            let died = async {
                loop {
                    let id = format!("r{}", begun.len());
                    begun.push(id.clone());
                    if let Err(error) = steps(&host, &id, 6).await {
                        return error;
                    }
                }
            };
            let error = tokio::time::timeout(PATIENCE, died).await.expect("a worker writes so often");
            let text = match fate {
                Fate::Panics => "the world panicked: a test made it",
                _ => "the disk is gone",
            };
            for error in [error.to_string(), host.failed().await.to_string(), host.health().error.unwrap()] {
                assert!(error.contains(text), "{case}: {error}");
            }
            assert!(world.by_workers() >= at, "{case}");
            assert!(matches!(steps(&host, "late", 1).await, Err(RunError::Host(HostError::World(_)))), "{case}");
            test.bury(&host).await;
            assert_eq!(world.gate.lock().writing, u64::from(fate == Fate::Panics), "{case}");
            let next = test.start().await;
            for id in begun {
                assert_eq!(next.get(&id).await.unwrap().output::<i64>().await.unwrap(), 6, "{case}: run {id}");
            }
            assert_eq!(next.doctor().await.unwrap().findings, [], "{case}");
            next.shutdown().await;
            assert_eq!(*wrong.lock(), Vec::<String>::new(), "{case}");
        }
    }
}

/// A panic of what observes ends the host as well, with a reason, and no thread of it is stuck.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_behind_a_write_ends_the_host() {
    struct Panics;
    impl Observer for Panics {
        fn attempt_ended(&self, _: &AttemptEnded) {}
        fn run_ended(&self, _: &RunEnded) {
            panic!("a test observes");
        }
    }
    let test = test_host(&Arc::default());
    let host = test.builder().observe(Arc::new(Panics)).start().await.unwrap();
    let run = host.run("steps").id("r").input(&20).start().await.unwrap();
    let failed = tokio::time::timeout(PATIENCE, host.failed()).await.expect("it fails").to_string();
    assert!(failed.contains("what follows from a write panicked: a test observes"), "{failed}");
    assert!(matches!(run.output::<i64>().await, Err(RunError::Host(HostError::World(_)))));
    test.bury(&host).await;
    // Its end was durable before it was told.
    let next = test.start().await;
    assert_eq!(next.get("r").await.unwrap().output::<i64>().await.unwrap(), 20);
    next.shutdown().await;
}

/// While a worker writes, messages come for its other runs, and the host is told to stop: all of it happens when the write is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_a_worker_writes_waits_for_one_write() {
    for stops in [false, true] {
        let wrong = Arc::default();
        let test = test_host(&wrong).workflow("hears", r#"wait_for("go") + use_step("add", 1)"#);
        let fate = Some((5, Fate::Waits));
        let (world, host) = host_on(&test, Watched { fate, ..Watched::new(&test.world) }).await;
        let hears = host.run("hears").id("h").start().await.unwrap();
        test.rests().await;
        let mut runs = JoinSet::new();
        runs.spawn({
            let host = host.clone();
            async move {
                for number in 0.. {
                    steps(&host, &format!("r{number}"), 10).await?;
                }
                Ok::<_, RunError>(())
            }
        });
        world.waits().await;
        // The worker is in its write. The signal waits behind it.
        let signal = tokio::spawn({
            let hears = hears.clone();
            async move { hears.signal("go", &40).await }
        });
        until_queued(&host, 1).await;
        if stops {
            let stopping = tokio::spawn({
                let host = host.clone();
                async move { host.shutdown().await }
            });
            let told = async {
                while host.health().ok {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, told).await.expect("it stops");
            assert!(!stopping.is_finished());
            world.open();
            stopping.await.unwrap();
            assert_eq!(world.gate.lock().writing, 0, "nothing is written once the host has stopped");
            // Every claim was given back.
            let next = test.start().await;
            signal.await.unwrap().unwrap();
            assert_eq!(next.get("h").await.unwrap().output::<i64>().await.unwrap(), 42);
            assert_eq!(next.get("r0").await.unwrap().output::<i64>().await.unwrap(), 10);
            assert_eq!(next.doctor().await.unwrap().findings, []);
            next.shutdown().await;
        } else {
            world.open();
            signal.await.unwrap().unwrap();
            assert_eq!(hears.output::<i64>().await.unwrap(), 42);
            host.shutdown().await;
        }
        assert_eq!(*wrong.lock(), Vec::<String>::new());
    }
}

/// A worker that has other runs to drive does not wait for a write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_has_more_to_do_leaves_writes_to_the_thread() {
    let hears = "for i in 0..256 { wait_for(`go`); } set_status(`all`); wait_for(`go`); loop { }";
    let test = test_host(&Arc::default()).workflow("spins", "loop { }").workflow("hears", hears);
    let (world, host) = host_on(&test, Watched::new(&test.world)).await;
    let spins = host.run("spins").id("s").start().await.unwrap();
    assert_eq!(steps(&host, "r", 20).await.unwrap(), 20);
    assert_eq!(world.by_workers(), 0);
    spins.terminate("the test is over").await.unwrap();
    let ended = spins.output::<()>().await;
    assert!(matches!(ended, Err(RunError::Failed(..))), "{ended:?}");
    // What a turn brought is written although the worker goes on with the run: it read as many messages as it takes at a time.
    let hears = host.run("hears").id("h").delay(Duration::from_secs(1)).start().await.unwrap();
    for number in 0..300 {
        hears.signal("go", &number).await.unwrap();
    }
    test.clock.advance(1_000);
    let written = async {
        while test.world.row(hears.id()).unwrap().unwrap().note["status_text"] != "all" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.expect("the first turn is written while the next one goes on");
    hears.terminate("the test is over").await.unwrap();
    let ended = hears.output::<()>().await;
    assert!(matches!(ended, Err(RunError::Failed(..))), "{ended:?}");
    host.shutdown().await;
}

/// A worker that writes is told of what it wrote, by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_hears_of_its_own_writes() {
    let test = test_host(&Arc::default())
        .workflow("parent", r#"let x = 0; for i in 0..input { x += run_workflow("steps", 2); } x"#);
    let (world, host) = host_on(&test, Watched::new(&test.world)).await;
    let heard = async {
        for number in 0.. {
            let parent = host.run("parent").id(format!("p{number}")).input(&5).start().await.unwrap();
            assert_eq!(parent.output::<i64>().await.unwrap(), 10);
            if world.told.load(Ordering::SeqCst) > 0 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("a parent is told by its own worker");
    host.shutdown().await;
}
