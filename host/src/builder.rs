//! Putting a host together.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use durhai_core::replay::Limits;
use durhai_world::{MemoryWorld, World};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::{Clock, SystemClock};
use crate::error::HostError;
use crate::host::Host;
use crate::step::{StepContext, StepError, StepHandler, StepInfo, StepSource, Typed};

/// Describes a host; see [`Host::builder`].
#[must_use = "call .start()"]
pub struct HostBuilder {
    pub(crate) world: Arc<dyn World>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) watch: bool,
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) steps: BTreeMap<String, (Arc<dyn StepHandler>, StepInfo)>,
    pub(crate) sources: Vec<Arc<dyn StepSource>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) workers: usize,
    pub(crate) max_live: usize,
    pub(crate) evict_after: Duration,
    pub(crate) grace: Duration,
    pub(crate) lease: Duration,
    pub(crate) adopt: bool,
    #[allow(clippy::type_complexity)]
    pub(crate) extend: Vec<Arc<dyn Fn(&mut rhai::Engine) + Send + Sync>>,
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
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
            workers: std::thread::available_parallelism().map_or(1, |n| n.get()),
            max_live: 10_000,
            evict_after: Duration::from_secs(60),
            grace: Duration::from_secs(30),
            lease: Duration::from_secs(10),
            adopt: true,
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

    /// A folder of scripts: each `.rhai` file in it is a workflow, saves are picked up.
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

    /// How long clean-ups may go on after the body of a script has ended, and running steps after they were told to
    /// stop. Default: 30 seconds.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Whether the host takes up unfinished runs that it finds in the world. Default: yes. A host that does not still
    /// runs what is started through it.
    pub fn adopt(mut self, adopt: bool) -> Self {
        self.adopt = adopt;
        self
    }

    /// Adds pure functions to the engine of workflow scripts. They must not look at the clock, files or chance.
    pub fn extend_scripts(
        mut self,
        extend: impl Fn(&mut rhai::Engine) + Send + Sync + 'static,
    ) -> Self {
        self.extend.push(Arc::new(extend));
        self
    }

    /// Starts it. Scripts that do not compile do not stop it: they are reported, see [`Host::workflows`].
    pub async fn start(self) -> Result<Host, HostError> {
        unimplemented!()
    }
}
