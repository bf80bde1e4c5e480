//! What a host is made of, as its embedder described it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use durhai_core::replay::Limits;
use durhai_engine::{Extension, ScriptLimits, ScriptMemory};
use durhai_world::{MemoryWorld, World};
use tokio::sync::broadcast;

use crate::clock::Clock;
use crate::observe::observer::Observer;
use crate::steps::mask::Mask;
use crate::steps::rules::StepRule;
use crate::steps::step::{StepHandler, StepInfo, StepSource};
use crate::versions::newest::Serves;
use crate::view::Committed;

pub(crate) struct HostSetup {
    pub world: Arc<dyn World>,
    pub folder: Option<PathBuf>,
    pub watch: bool,
    pub serves: Serves,
    pub texts: BTreeMap<String, String>,
    pub steps: BTreeMap<String, (Arc<dyn StepHandler>, StepInfo)>,
    pub sources: Vec<Arc<dyn StepSource>>,
    pub step_rules: BTreeMap<String, StepRule>,
    pub mask: Option<Mask>,
    pub observers: Vec<Arc<dyn Observer>>,
    /// The embedder's, if there is one.
    pub clock: Option<Arc<dyn Clock>>,
    pub limits: Limits,
    pub scripts: ScriptLimits,
    pub memory: ScriptMemory,
    pub memory_was_set: bool,
    pub workers: usize,
    pub max_live: usize,
    pub max_waiting: usize,
    pub evict_after: Duration,
    pub grace: Duration,
    pub drain: Duration,
    pub park_misconfigured: Option<Duration>,
    pub lease: Duration,
    pub adopt: bool,
    pub public_url: String,
    pub commits: broadcast::Sender<Committed>,
    pub extend: Vec<Extension>,
}

impl Default for HostSetup {
    fn default() -> Self {
        HostSetup {
            world: Arc::new(MemoryWorld::new()),
            folder: None,
            watch: true,
            serves: Serves::default(),
            texts: BTreeMap::new(),
            steps: BTreeMap::new(),
            sources: Vec::new(),
            step_rules: BTreeMap::new(),
            mask: None,
            observers: Vec::new(),
            clock: None,
            limits: Limits::default(),
            scripts: ScriptLimits::default(),
            memory: ScriptMemory::default(),
            memory_was_set: false,
            workers: std::thread::available_parallelism().map_or(1, |n| n.get()),
            max_live: 10_000,
            max_waiting: 1_000,
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
