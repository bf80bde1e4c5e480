//! Putting a host together.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use durhai_core::replay::Limits;
use durhai_engine::ScriptMemory;
use durhai_world::World;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;

use crate::check::assumed::AssumedFunction;
use crate::check::{self, CheckOptions, Finding, Graph};
use crate::clock::Clock;
use crate::error::HostError;
use crate::host::Host;
use crate::observe::observer::Observer;
use crate::runtime::setup::HostSetup;
use crate::runtime::startup;
use crate::steps::rules::StepRule;
use crate::steps::step::{StepContext, StepError, StepInfo, StepSource, Typed};
use crate::versions::newest::Serves;
use crate::view::Committed;

/// Describes a host; see [`Host::builder`].
#[must_use = "call .start()"]
#[derive(Default)]
pub struct HostBuilder {
    pub(crate) setup: HostSetup,
}

impl HostBuilder {
    /// Where runs live. Default: in memory, for tests.
    pub fn world(mut self, world: impl World) -> Self {
        self.setup.world = Arc::new(world);
        self
    }

    /// The same, for a world that is shared with others.
    pub fn shared_world(mut self, world: Arc<dyn World>) -> Self {
        self.setup.world = world;
        self
    }

    /// A folder of scripts: each `.rhai` file in it is a workflow, saves are picked up. It need not be there yet, and may be
    /// replaced: what its path leads to counts. While it leads nowhere, what served before still does; [`Host::health`] says so.
    pub fn workflows(mut self, folder: impl Into<PathBuf>) -> Self {
        self.setup.folder = Some(folder.into());
        self
    }

    /// Whether saves in the folder are picked up while the host runs. Default: yes.
    pub fn watch(mut self, watch: bool) -> Self {
        self.setup.watch = watch;
        self
    }

    /// Which text of a workflow serves where hosts that share a world have different ones. Default: the one that was saved last, in
    /// whatever folder.
    pub fn serves(mut self, serves: Serves) -> Self {
        self.setup.serves = serves;
        self
    }

    /// One workflow by its text.
    pub fn workflow(mut self, name: impl Into<String>, source: impl Into<String>) -> Self {
        self.setup.texts.insert(name.into(), source.into());
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
        self.setup.steps.insert(name, (Arc::new(Typed::new(function)), info));
        self
    }

    /// A step that works within a transaction of the database that the runs are in: what it writes through `tx` and the record of its
    /// result commit together. So it happens exactly once, whatever crashes and whichever host makes it, without idempotency keys.
    /// An error of the step takes back what it wrote. The transaction is at the isolation level read committed, and is committed here.
    ///
    /// ```no_run
    /// # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use durhai::postgres::{PgWorld, Transaction};
    /// use durhai::{Host, StepError};
    ///
    /// let world = Arc::new(PgWorld::open("postgres://durhai@localhost/app")?);
    /// let charge = |tx: Transaction, cents: i64| async move {
    ///     tx.execute("update account set cents = cents - $1", &[&cents]).await?;
    ///     Ok::<_, StepError>(cents)
    /// };
    /// let host = Host::builder().shared_world(world.clone()).transaction_step("charge", &world, charge).start().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "postgres")]
    pub fn transaction_step<F, Fut, I, O, E>(
        self,
        name: impl Into<String>,
        world: &Arc<durhai_world_postgres::PgWorld>,
        function: F,
    ) -> Self
    where
        F: Fn(durhai_world_postgres::Transaction, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        E: Into<StepError> + Send + 'static,
    {
        let (world, function) = (world.clone(), Arc::new(function));
        self.step(name, move |context, input: I| {
            crate::steps::transaction::attempt(world.clone(), function.clone(), context, input)
        })
    }

    /// Steps from elsewhere, asked after those in Rust, in the order they were added.
    pub fn steps(mut self, source: Arc<dyn StepSource>) -> Self {
        self.setup.sources.push(source);
        self
    }

    /// What holds for the attempts of a step, or of all steps whose name begins with what stands before a `*` (`http.*`), all
    /// of them together. Of several rules for a step the narrowest counts alone: its own name, else the longest beginning.
    /// Default: no rules. See [`Host::set_step_rules`].
    pub fn step_rule(mut self, name: impl Into<String>, rule: StepRule) -> Self {
        self.setup.step_rules.insert(name.into(), rule);
        self
    }

    /// Hides secrets in what steps hand over: each text in an output, an error, a heartbeat or a log line of a step goes
    /// through `mask` before anything is kept or shown, names of fields too. It gives the text to take instead, or `None` where
    /// there is nothing to hide. Called on async threads, often.
    pub fn mask(mut self, mask: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.setup.mask = Some(Arc::new(mask));
        self
    }

    /// An observer that is told of each attempt and each run that ends; may be called several times.
    pub fn observe(mut self, observer: Arc<dyn Observer>) -> Self {
        self.setup.observers.push(observer);
        self
    }

    /// Where the time comes from. Default: the machine's clock; where the world is behind a network, set by what time it is there, so
    /// that all its hosts mean the same by a moment.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.setup.clock = Some(clock);
        self
    }

    /// Limits of a run.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.setup.limits = limits;
        self
    }

    /// Operations a script may spend between two durable calls; one that spends more fails. Default: 200 million.
    pub fn script_operations(mut self, operations: u64) -> Self {
        self.setup.scripts.operations = operations.max(1);
        self
    }

    /// Memory that the scripts of runs may hold, in bytes: `run` of them one run, `all` of them all runs of this host. A run
    /// over its budget fails with kind `limit`; when all are over theirs, the run that asks for more and holds more than its
    /// share of it does. Default: 256 MiB and 1 GiB. What they hold is counted where the program's allocator is a
    /// [`CountingAllocator`](crate::CountingAllocator); where it is not, [`start`](HostBuilder::start) refuses a budget that was set, and without
    /// this call only the limits of single values hold.
    pub fn script_memory(mut self, run: u64, all: u64) -> Self {
        self.setup.memory = ScriptMemory { run, all };
        self.setup.memory_was_set = true;
        self
    }

    /// Threads that run scripts. Default: one a core.
    pub fn workers(mut self, workers: usize) -> Self {
        self.setup.workers = workers.max(1);
        self
    }

    /// Runs that may wait in memory at a time; more are evicted, those that waited longest first. Default: 10 000.
    /// Each takes about 24 KB and two memory maps, of which Linux gives a process 65 530.
    pub fn max_live_runs(mut self, runs: usize) -> Self {
        self.setup.max_live = runs.max(1);
        self
    }

    /// Runs that may wait in memory, with nothing of theirs under way, for longer than a second. Of more, those that waited
    /// longest are evicted early where that goes unnoticed: their log has at most 500 events, and no timer of theirs fires within
    /// ten seconds. What wakes one again takes a claim and a replay longer, a fraction of a millisecond. Default: 1 000.
    pub fn max_waiting_runs(mut self, runs: usize) -> Self {
        self.setup.max_waiting = runs;
        self
    }

    /// A run that waited so long in memory is evicted. Default: one minute.
    pub fn evict_after(mut self, wait: Duration) -> Self {
        self.setup.evict_after = wait;
        self
    }

    /// How long clean-ups may go on after the body of a script has ended. Default: 30 seconds.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.setup.grace = grace;
        self
    }

    /// How long running steps may go on after they were told to stop, before they are dropped. Default: 10 seconds.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.setup.drain = drain;
        self
    }

    /// How long an attempt waits for what only an operator can mend ([`StepError::misconfigured`]) before its run is parked, with
    /// the reason; [`Run::unpark`](crate::Run::unpark) lets it try again. An attempt that may be made once only waits on. Default:
    /// for ever, so that whatever is mended lets every run go on by itself.
    pub fn park_misconfigured_after(mut self, wait: Duration) -> Self {
        self.setup.park_misconfigured = Some(wait);
        self
    }

    /// How long this host's claims hold if it dies, in a world that several hosts share. Default: 10 seconds.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.setup.lease = lease;
        self
    }

    /// Whether the host takes up unfinished runs that it finds in the world. Default: yes. A host that does not still
    /// runs what is started through it.
    pub fn adopt(mut self, adopt: bool) -> Self {
        self.setup.adopt = adopt;
        self
    }

    /// Where the outside reaches this host's hooks, like `https://flows.example.org`: it stands in front of `/hooks/TOKEN` in
    /// the `url` of each. Default: nothing, so that a hook's `url` is a path.
    pub fn public_url(mut self, url: impl Into<String>) -> Self {
        self.setup.public_url = url.into().trim_end_matches('/').to_owned();
        self
    }

    /// What [`Host::commits`] gives, from the very beginning: a host takes up runs while it starts.
    pub fn commits(&self) -> broadcast::Receiver<Committed> {
        self.setup.commits.subscribe()
    }

    /// Adds pure functions to the engine of workflow scripts. They must not look at the clock, files or chance.
    pub fn extend_scripts(mut self, extend: impl Fn(&mut rhai::Engine) + Send + Sync + 'static) -> Self {
        self.setup.extend.push(Arc::new(extend));
        self
    }

    /// Starts it. Scripts that do not compile do not stop it: they are reported, see [`Host::workflows`].
    pub async fn start(self) -> Result<Host, HostError> {
        if self.setup.memory_was_set && !durhai_engine::memory_is_counted() {
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
        startup::start(self.setup).await.map(Host::new)
    }

    /// Makes a function known to workflow scripts that another program adds to its own with
    /// [`extend_scripts`](Self::extend_scripts): so that they can be checked, replayed and tested without it.
    pub fn assume_function(mut self, function: AssumedFunction) -> Self {
        self.setup.extend.push(function.extension());
        self
    }

    /// Looks at every script of the folder (workflows, modules, steps, tests) and at those given by text, and says what is
    /// wrong: by file, then by place. Nothing is run, and nothing written. Steps and extensions are those that this
    /// host would have. It takes about a second for a thousand files, so do not call it on an async thread.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn check(&self, options: &CheckOptions) -> Result<Vec<Finding>, HostError> {
        check::check_of(&self.setup, options)
    }

    /// The graph of a workflow of the folder, or of one given by text, see [`graph`](crate::check::graph).
    ///
    /// # Errors
    /// There is no such workflow, or a text does not parse.
    pub fn graph(&self, name: &str) -> Result<Graph, HostError> {
        check::graph_of(&self.setup, name)
    }
}
