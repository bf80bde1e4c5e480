//! Putting a host together.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use durhai_core::replay::Limits;
use durhai_engine::{Extension, SandboxConfig, ScriptLimits, ScriptMemory};
use durhai_world::{Holder, MemoryWorld, Notice, World, WorldError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::clock::{Clock, SystemClock};
use crate::error::HostError;
use crate::host::Host;
use crate::inner::{Inner, Post};
use crate::metrics::Meters;
use crate::patience::Patient;
use crate::registry::Registry;
use crate::rules::{Rules, StepRule};
use crate::step::{StepContext, StepError, StepHandler, StepInfo, StepSource, Typed};
use crate::telemetry::{Observer, Observers};
use crate::view::Committed;
use crate::worker::Msg;
use crate::{adopter, committer, retention, schedules, watch, worker};

/// Describes a host; see [`Host::builder`].
#[must_use = "call .start()"]
pub struct HostBuilder {
    pub(crate) world: Arc<dyn World>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) watch: bool,
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) steps: BTreeMap<String, (Arc<dyn StepHandler>, StepInfo)>,
    pub(crate) sources: Vec<Arc<dyn StepSource>>,
    pub(crate) step_rules: BTreeMap<String, StepRule>,
    pub(crate) mask: Option<crate::mask::Mask>,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) scripts: ScriptLimits,
    pub(crate) memory: ScriptMemory,
    pub(crate) memory_was_set: bool,
    pub(crate) workers: usize,
    pub(crate) max_live: usize,
    pub(crate) evict_after: Duration,
    pub(crate) grace: Duration,
    pub(crate) drain: Duration,
    pub(crate) park_misconfigured: Option<Duration>,
    pub(crate) lease: Duration,
    pub(crate) adopt: bool,
    pub(crate) public_url: String,
    pub(crate) commits: broadcast::Sender<Committed>,
    pub(crate) extend: Vec<Extension>,
}

impl Default for HostBuilder {
    fn default() -> Self {
        HostBuilder {
            world: Arc::new(MemoryWorld::new()),
            folder: None,
            watch: true,
            texts: BTreeMap::new(),
            steps: BTreeMap::new(),
            sources: Vec::new(),
            step_rules: BTreeMap::new(),
            mask: None,
            observers: Vec::new(),
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
            scripts: ScriptLimits::default(),
            memory: ScriptMemory::default(),
            memory_was_set: false,
            workers: std::thread::available_parallelism().map_or(1, |n| n.get()),
            max_live: 10_000,
            evict_after: Duration::from_secs(60),
            grace: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            park_misconfigured: None,
            lease: Duration::from_secs(10),
            adopt: true,
            public_url: String::new(),
            commits: broadcast::channel(16_384).0,
            extend: Vec::new(),
        }
    }
}

impl HostBuilder {
    /// Where runs live. Default: in memory, for tests.
    pub fn world(mut self, world: impl World) -> Self {
        self.world = Arc::new(world);
        self
    }

    /// The same, for a world that is shared with somebody.
    pub fn shared_world(mut self, world: Arc<dyn World>) -> Self {
        self.world = world;
        self
    }

    /// A folder of scripts: each `.rhai` file in it is a workflow, saves are picked up. It need not be there yet, and may be
    /// replaced: what its path leads to counts. While it leads nowhere, what served before still does; [`Host::health`] says so.
    pub fn workflows(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Whether saves in the folder are picked up while the host runs. Default: yes.
    pub fn watch(mut self, watch: bool) -> Self {
        self.watch = watch;
        self
    }

    /// One workflow by its text.
    pub fn workflow(mut self, name: impl Into<String>, source: impl Into<String>) -> Self {
        self.texts.insert(name.into(), source.into());
        self
    }

    /// A step in Rust: an async function from anything serde can read to anything serde can write.
    pub fn step<F, Fut, I, O, E>(mut self, name: impl Into<String>, function: F) -> Self
    where
        F: Fn(StepContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        E: Into<StepError> + 'static,
    {
        let name = name.into();
        let info = StepInfo { name: name.clone(), kind: "rust".into(), description: String::new() };
        self.steps.insert(name, (Arc::new(Typed::new(function)), info));
        self
    }

    /// Steps from elsewhere, asked after those in Rust, in the order they were added.
    pub fn steps(mut self, source: Arc<dyn StepSource>) -> Self {
        self.sources.push(source);
        self
    }

    /// What holds for the attempts of a step, or of all steps whose name begins with what stands before a `*` (`http.*`), all
    /// of them together. Of several rules for a step the narrowest counts alone: its own name, else the longest beginning.
    /// Default: no rules. See [`Host::set_step_rules`].
    pub fn step_rule(mut self, name: impl Into<String>, rule: StepRule) -> Self {
        self.step_rules.insert(name.into(), rule);
        self
    }

    /// Hides secrets in what steps hand over: each text in an output, an error, a heartbeat or a log line of a step goes
    /// through `mask` before anything is kept or shown, names of fields too. It gives the text to take instead, or `None` where
    /// there is nothing to hide. Called on async threads, often.
    pub fn mask(mut self, mask: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.mask = Some(Arc::new(mask));
        self
    }

    /// Somebody who is told of each attempt and each run that ends; may be called several times.
    pub fn observe(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Where the time comes from. Default: the machine's clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Limits of a run.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Operations a script may spend between two durable calls; one that spends more fails. Default: 200 million.
    pub fn script_operations(mut self, operations: u64) -> Self {
        self.scripts.operations = operations.max(1);
        self
    }

    /// Memory that the scripts of runs may hold, in bytes: `run` of them one run, `all` of them all runs of this host. A run
    /// over its budget fails with kind `limit`; when all are over theirs, whoever asks for more and holds more than its
    /// share of it does. Default: 256 MiB and 1 GiB. What they hold is counted where the program's allocator is a
    /// [`CountingAllocator`](crate::CountingAllocator); where it is not, [`start`](HostBuilder::start) refuses a budget that was set, and without
    /// this call only the limits of single values hold.
    pub fn script_memory(mut self, run: u64, all: u64) -> Self {
        self.memory = ScriptMemory { run, all };
        self.memory_was_set = true;
        self
    }

    /// Threads that run scripts. Default: one a core.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Runs that may wait in memory at a time; more are evicted, those that waited longest first. Default: 10 000.
    /// Each takes about 13 KB and two memory maps, of which Linux gives a process 65 530.
    pub fn max_live_runs(mut self, runs: usize) -> Self {
        self.max_live = runs.max(1);
        self
    }

    /// A run that waited so long in memory is evicted. Default: one minute.
    pub fn evict_after(mut self, wait: Duration) -> Self {
        self.evict_after = wait;
        self
    }

    /// How long clean-ups may go on after the body of a script has ended. Default: 30 seconds.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long running steps may go on after they were told to stop, before they are dropped. Default: 10 seconds.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// How long an attempt waits for what only an operator can mend ([`StepError::misconfigured`]) before its run is parked, with
    /// the reason; [`Run::unpark`](crate::Run::unpark) lets it try again. An attempt that may be made once only waits on. Default:
    /// for ever, so that whatever is mended lets every run go on by itself.
    pub fn park_misconfigured_after(mut self, wait: Duration) -> Self {
        self.park_misconfigured = Some(wait);
        self
    }

    /// How long this host's claims hold if it dies, in a world that several hosts share. Default: 10 seconds.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Whether the host takes up unfinished runs that it finds in the world. Default: yes. A host that does not still
    /// runs what is started through it.
    pub fn adopt(mut self, adopt: bool) -> Self {
        self.adopt = adopt;
        self
    }

    /// Where the outside reaches this host's hooks, like `https://flows.example.org`: it stands in front of `/hooks/TOKEN` in
    /// the `url` of each. Default: nothing, so that a hook's `url` is a path.
    pub fn public_url(mut self, url: impl Into<String>) -> Self {
        self.public_url = url.into().trim_end_matches('/').to_owned();
        self
    }

    /// What [`Host::commits`] gives, from the very beginning: a host takes up runs while it starts.
    pub fn commits(&self) -> broadcast::Receiver<Committed> {
        self.commits.subscribe()
    }

    /// Adds pure functions to the engine of workflow scripts. They must not look at the clock, files or chance.
    pub fn extend_scripts(mut self, extend: impl Fn(&mut rhai::Engine) + Send + Sync + 'static) -> Self {
        self.extend.push(Arc::new(extend));
        self
    }

    /// Starts it. Scripts that do not compile do not stop it: they are reported, see [`Host::workflows`].
    pub async fn start(self) -> Result<Host, HostError> {
        if self.memory_was_set && !durhai_engine::memory_is_counted() {
            let message = "script_memory: nothing counts what scripts hold in this program; put `#[global_allocator] static \
                           ALLOCATOR: durhai::CountingAllocator = durhai::CountingAllocator::system();` into it, or leave \
                           the budget out";
            return Err(HostError::Invalid(message.into()));
        }
        if !durhai_engine::memory_is_counted() {
            tracing::info!(
                "nothing counts what scripts hold in memory: single values are limited, their sum is not; with \
                 durhai::CountingAllocator as the global allocator it is"
            );
        }
        let config = SandboxConfig {
            limits: self.scripts,
            extend: self.extend,
            memory: self.memory,
            ..SandboxConfig::default()
        };
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| WorldError::Unavailable(format!("no randomness: {error}")))?;
        let name = format!("{}-{:016x}", std::process::id(), u64::from_be_bytes(name));
        let holder = Holder { name: name.into(), lease: self.lease.as_millis() as u64 };
        let (jobs, job_queue) = mpsc::channel();
        let (mut posts, mut queues) = (Vec::new(), Vec::new());
        for _ in 0..self.workers {
            let (tx, rx) = mpsc::channel();
            posts.push(Post { tx: Mutex::new(Some(tx)), queued: Arc::default() });
            queues.push(rx);
        }
        let tokio = tokio::runtime::Handle::current();
        let rules = Rules::new(self.step_rules, &tokio).map_err(HostError::Invalid)?;
        let limits = Limits { grace: self.grace.as_millis() as u64, ..self.limits };
        let meters = Meters::new(self.clock.now());
        let stopping = CancellationToken::new();
        let inner = Arc::new(Inner {
            world: Arc::new(Patient::new(self.world, stopping.clone())),
            holder,
            clock: self.clock,
            limits,
            sandbox: config.clone(),
            registry: Registry { own: self.steps, sources: self.sources },
            catalog: Catalog::new(self.folder, self.watch, self.texts),
            rules,
            mask: self.mask,
            observers: Observers::new(self.observers),
            tokio,
            grace: self.grace,
            drain: self.drain,
            park_misconfigured: self.park_misconfigured,
            held: Default::default(),
            evict_after: self.evict_after,
            max_live: self.max_live,
            adopt: self.adopt,
            own: Mutex::default(),
            public_url: self.public_url,
            workers: posts,
            jobs: Mutex::new(Some(jobs)),
            commits: self.commits,
            waiters: Default::default(),
            later: Default::default(),
            counters: Default::default(),
            meters,
            stopping,
            failed: OnceLock::new(),
            failing: CancellationToken::new(),
            adopter: Default::default(),
            scheduler: Default::default(),
            purger: Default::default(),
            circles: Default::default(),
            forking: Default::default(),
            threads: Mutex::default(),
            committer: Mutex::default(),
            closing: CancellationToken::new(),
        });

        // The texts first: runs that are taken up want them. Versions that have to go through the gate come to it when the
        // host is up.
        let first = inner.clone();
        let load = move || -> Result<(), WorldError> {
            let sandbox = crate::catalog::sandbox(&first.sandbox);
            crate::import::clean_up(&first)?;
            first.catalog.scan(&*first.world, &sandbox, first.clock.now(), &mut || Ok(true)).map(drop)
        };
        inner.tokio.spawn_blocking(load).await.map_err(|_| HostError::Closed)??;

        let watched = Arc::downgrade(&inner);
        inner.world.watch(Arc::new(move |notice| {
            let Some(inner) = watched.upgrade() else { return };
            match notice {
                Notice::Message(run) => inner.send(inner.worker_of(&run), Msg::Letter(run)),
                Notice::Due => inner.adopter.ring(),
            }
        }));
        let jumped = Arc::downgrade(&inner);
        inner.clock.on_jump(Box::new(move || {
            let Some(inner) = jumped.upgrade() else { return };
            inner.adopter.ring();
            inner.scheduler.ring();
            inner.purger.ring();
            for worker in 0..inner.workers.len() {
                inner.send(worker, Msg::Tick);
            }
        }));

        let thread = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.into())
                .spawn(body)
                .map_err(|error| WorldError::Unavailable(format!("cannot start the thread {name}: {error}")))
        };
        let shared = inner.clone();
        let committer = thread("durhai-commit", Box::new(move || committer::run(&shared, &job_queue)))?;
        *inner.committer.lock().expect("not poisoned") = Some(committer);
        let mut threads = Vec::new();
        for (index, queue) in queues.into_iter().enumerate() {
            let (shared, config) = (inner.clone(), config.clone());
            let body = move || worker::run(shared, index, &queue, &config);
            threads.push(thread(&format!("durhai-work-{index}"), Box::new(body))?);
        }
        let shared = inner.clone();
        threads.push(thread("durhai-adopt", Box::new(move || adopter::run(&shared)))?);
        if inner.adopt {
            let shared = inner.clone();
            threads.push(thread("durhai-purge", Box::new(move || retention::run(&shared)))?);
        }
        if inner.adopt {
            let shared = inner.clone();
            threads.push(thread("durhai-schedule", Box::new(move || schedules::run(&shared)))?);
        }
        if inner.adopt {
            let shared = inner.clone();
            inner.tokio.spawn_blocking(move || {
                if let Err(error) = shared.look_for_circles() {
                    tracing::warn!("nobody knows whether all runs that wait can ever begin: {error}");
                }
            });
        }
        let (looks, look_queue) = mpsc::channel();
        let (shared, tell, live) = (inner.clone(), looks.clone(), self.watch);
        let body = move || watch::run(&shared, &look_queue, tell, &config, live);
        threads.push(thread("durhai-folder", Box::new(body))?);
        *inner.threads.lock().expect("not poisoned") = threads;
        Ok(Host { inner, looks })
    }
}
