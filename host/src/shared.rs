//! What all threads of a host share, in parts. A function takes the part it needs, or all of it where it needs several.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use durhai_core::RunId;
use durhai_core::replay::Limits;
use durhai_engine::SandboxConfig;
use durhai_world::WorldError;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::error::HostError;
use crate::observe::counters::Counters;
use crate::observe::metrics::Meters;
use crate::observe::observer::Observers;
use crate::runtime::delayed_claims::DelayedClaims;
use crate::runtime::duties::{Duties, Duty};
use crate::runtime::elsewhere::Elsewhere;
use crate::runtime::lifecycle::Lifecycle;
use crate::runtime::readers::Readers;
use crate::runtime::thread_wakeup::Wakeup;
use crate::runtime::waiters::Waiters;
use crate::runtime::workers::Workers;
use crate::runtime::written::Written;
use crate::steps::mask::Mask;
use crate::steps::misconfigured::Misconfigured;
use crate::steps::registry::Registry;
use crate::steps::rules::Rules;
use crate::store::access::Store;
use crate::versions::catalog::Catalog;
use crate::versions::watcher::Watcher;
use crate::view::Committed;

pub(crate) struct Shared {
    pub config: HostConfig,
    /// The world, and the way of writes to it.
    pub store: Store,
    /// Workflows by name, and their texts.
    pub versions: Catalog,
    pub steps: Steps,
    pub observe: Observe,
    /// The ways to the host's threads.
    pub runtime: Runtime,
    pub life: Lifecycle,
    /// The embedder's runtime: attempts and callers are on it.
    pub tokio: tokio::runtime::Handle,
}

pub(crate) struct Steps {
    pub registry: Registry,
    pub rules: Rules,
    /// Hides secrets.
    pub mask: Option<Mask>,
    /// Attempts that wait for an operator.
    pub misconfigured: Arc<Misconfigured>,
}

/// What the host tells of itself.
pub(crate) struct Observe {
    pub meters: Meters,
    pub counters: Counters,
    pub observers: Observers,
    pub commits: broadcast::Sender<Committed>,
}

/// The ways to the host's threads, and what they keep for each other.
pub(crate) struct Runtime {
    pub workers: Workers,
    pub waiters: Waiters,
    /// Runs of other hosts that callers follow.
    pub elsewhere: Elsewhere,
    /// Those who look on at what other hosts write.
    pub written: Written,
    pub watcher: Watcher,
    pub claimer: Wakeup,
    pub scheduler: Wakeup,
    pub purger: Wakeup,
    /// What one of the hosts does for all: to start what is due by itself, and to remove what is over.
    pub schedules: Duties,
    pub retention: Duty,
    /// Reads that workers wait for, of a world that is not local.
    pub readers: Readers,
    /// Claims on runs that could not be read.
    pub delayed: DelayedClaims,
    /// Runs that this host created and that wait, where it takes up no others.
    pub own: Mutex<HashSet<RunId>>,
    /// Held while a run is looked at that may never begin.
    pub deadlock_search: tokio::sync::Mutex<()>,
}

impl Runtime {
    pub fn new(workers: Workers, watcher: Watcher) -> Self {
        Runtime {
            workers,
            watcher,
            waiters: Waiters::default(),
            elsewhere: Elsewhere::default(),
            written: Written::default(),
            claimer: Wakeup::default(),
            scheduler: Wakeup::default(),
            purger: Wakeup::default(),
            schedules: Duties::new("schedule/"),
            retention: Duty::new("retention"),
            readers: Readers::default(),
            delayed: DelayedClaims::default(),
            own: Mutex::default(),
            deadlock_search: tokio::sync::Mutex::default(),
        }
    }

    /// The threads ask again whose duties other hosts had.
    pub fn wake_refused(&self) {
        if self.schedules.is_refused() {
            self.scheduler.wake();
        }
        if self.retention.is_refused() {
            self.purger.wake();
        }
    }

    /// Threads that sleep until something is due look again.
    pub fn wake_sleepers(&self) {
        self.claimer.wake();
        self.scheduler.wake();
        self.purger.wake();
    }
}

/// What the embedder decided.
pub(crate) struct HostConfig {
    pub limits: Arc<Limits>,
    /// How sandboxes are made.
    pub sandbox: SandboxConfig,
    pub grace: Duration,
    pub drain: Duration,
    pub park_misconfigured: Option<Duration>,
    pub evict_after: Duration,
    pub max_live: usize,
    /// More of those that wait are evicted early, where that goes unnoticed.
    pub max_waiting: usize,
    /// Whether the host takes up runs that it finds.
    pub adopt: bool,
    /// In front of the path of a hook.
    pub public_url: String,
}

impl Shared {
    /// As long as the host runs; afterwards why it does not.
    pub fn running(self: &Arc<Self>) -> Result<&Arc<Self>, HostError> {
        match self.life.failure() {
            Some(error) => Err(HostError::world(&error)),
            None if self.life.closing.is_cancelled() => Err(HostError::Closed),
            None => Ok(self),
        }
    }

    /// Whether the world only does not answer at this moment, as one behind a network may do for long: it is asked again later.
    pub fn is_away(&self, error: &WorldError) -> bool {
        !self.store.is_local && matches!(error, WorldError::Unavailable(_))
    }

    /// The world failed: nothing can be made durable any more, so nothing goes on.
    pub fn fail(&self, error: Arc<WorldError>) {
        if self.life.fail(error) {
            self.runtime.waiters.wake_all();
        }
    }
}
