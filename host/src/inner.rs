//! What all threads of a host share.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use durhai_core::replay::Limits;
use durhai_core::{Body, RunId, StepId, TraceContext, Version};
use durhai_engine::SandboxConfig;
use durhai_world::{Holder, World, WorldError};
use tokio::sync::{broadcast, oneshot};
use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::committer::{Job, Queued};
use crate::later::Later;
use crate::mask::Mask;
use crate::metrics::Meters;
use crate::registry::Registry;
use crate::rules::Rules;
use crate::telemetry::Observers;
use crate::view::{Committed, Stats};
use crate::worker::Msg;

pub(crate) struct Inner {
    pub world: Arc<dyn World>,
    pub holder: Holder,
    pub clock: Arc<dyn Clock>,
    pub limits: Limits,
    /// How sandboxes are made.
    pub sandbox: SandboxConfig,
    pub registry: Registry,
    pub catalog: Catalog,
    pub rules: Rules,
    pub mask: Option<Mask>,
    pub observers: Observers,
    pub tokio: tokio::runtime::Handle,
    pub grace: Duration,
    pub drain: Duration,
    pub park_misconfigured: Option<Duration>,
    /// Attempts that wait for an operator.
    pub held: Arc<crate::held::Held>,
    pub evict_after: Duration,
    pub max_live: usize,
    pub adopt: bool,
    /// Runs that this host created and that wait, where it takes up no others.
    pub own: Mutex<HashSet<RunId>>,
    /// In front of the path of a hook.
    pub public_url: String,
    pub workers: Vec<Post>,
    pub jobs: Mutex<Option<mpsc::Sender<Queued>>>,
    pub commits: broadcast::Sender<Committed>,
    pub waiters: Waiters,
    /// Claims on runs that could not be read.
    pub later: Later,
    pub counters: Counters,
    pub meters: Meters,
    /// Cancelled when the host stops: every attempt is told.
    pub stopping: CancellationToken,
    pub failed: OnceLock<Arc<WorldError>>,
    pub failing: CancellationToken,
    pub adopter: Bell,
    /// Wakes whoever starts runs at their times.
    pub scheduler: Bell,
    /// Wakes whoever removes runs whose time is over.
    pub purger: Bell,
    /// Held while a run is looked at that may never begin.
    pub circles: tokio::sync::Mutex<()>,
    /// Held while a run is told that another one takes over its log.
    pub forking: tokio::sync::Mutex<()>,
    pub threads: Mutex<Vec<JoinHandle<()>>>,
    pub committer: Mutex<Option<JoinHandle<()>>>,
    /// Cancelled when the host has stopped: nobody waits for anything any more.
    pub closing: CancellationToken,
}

/// The way to a worker.
pub(crate) struct Post {
    pub tx: Mutex<Option<mpsc::Sender<Msg>>>,
    /// Messages that were sent and not yet looked at: a script that spins makes room for them.
    pub queued: Arc<AtomicUsize>,
}

/// What the worker, the committer and the attempts of one live run share.
pub(crate) struct RunShared {
    pub id: RunId,
    pub workflow: String,
    /// The one it has now.
    pub version: Mutex<Version>,
    /// The span that started it, once its log was read and if there is one.
    pub starter: OnceLock<TraceContext>,
    pub worker: usize,
    /// Attempts that run now, by call.
    pub attempts: Mutex<HashMap<StepId, CancellationToken>>,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub flushes: AtomicU64,
    pub writes: AtomicU64,
    pub event_bytes: AtomicU64,
    pub live: AtomicU64,
    pub evicted: AtomicU64,
    pub rebuilt: AtomicU64,
    pub attempts: AtomicU64,
}

/// People who wait for the end of a run.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<HashMap<RunId, Vec<oneshot::Sender<Rest>>>>);

/// How a run came to rest: its terminal event, if it has one.
pub(crate) type Rest = Option<Arc<Body>>;

/// Wakes a sleeping thread; a ring while nobody sleeps is remembered.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    condition: Condvar,
}

impl Inner {
    /// Sends to a worker. A worker that is gone misses nothing: its runs are in the world.
    pub fn send(&self, worker: usize, msg: Msg) {
        let post = &self.workers[worker];
        post.queued.fetch_add(1, Ordering::Relaxed);
        if let Some(tx) = post.tx.lock().expect("not poisoned").as_ref() {
            let _ = tx.send(msg);
        }
    }

    /// The worker a run lives on: always the same one.
    pub fn worker_of(&self, run: &RunId) -> usize {
        let mut hasher = DefaultHasher::new();
        run.hash(&mut hasher);
        (hasher.finish() % self.workers.len() as u64) as usize
    }

    /// Hands a write to the committer. Dropped if the host has stopped.
    pub fn write(&self, job: Job) {
        if let Some(jobs) = self.jobs.lock().expect("not poisoned").as_ref() {
            self.meters.queue.add(1);
            if jobs.send(Queued::new(job)).is_err() {
                self.meters.queue.add(-1);
            }
        }
    }

    /// The world failed: nothing can be made durable any more, so nothing goes on.
    pub fn fail(&self, error: Arc<WorldError>) {
        if self.failed.set(error).is_ok() {
            tracing::error!("the world failed, the host stops: {}", self.failed.get().expect("just set"));
            self.failing.cancel();
            self.stopping.cancel();
            self.waiters.wake_all();
        }
    }

    pub fn failure(&self) -> Option<Arc<WorldError>> {
        self.failed.get().cloned()
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    pub fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Stats {
            flushes: read(&counters.flushes),
            writes: read(&counters.writes),
            event_bytes: read(&counters.event_bytes),
            live: read(&counters.live),
            evicted: read(&counters.evicted),
            rebuilt: read(&counters.rebuilt),
            attempts: read(&counters.attempts),
        }
    }
}

impl Waiters {
    /// Resolves at the next rest of the run. Register first, then look at the run: so no rest is missed.
    pub fn register(&self, run: &RunId) -> oneshot::Receiver<Rest> {
        let (tx, rx) = oneshot::channel();
        let mut all = self.0.lock().expect("not poisoned");
        let waiting = all.entry(run.clone()).or_default();
        waiting.retain(|tx| !tx.is_closed());
        waiting.push(tx);
        rx
    }

    pub fn wake(&self, run: &RunId, rest: &Rest) {
        let waiting = self.0.lock().expect("not poisoned").remove(run);
        for tx in waiting.into_iter().flatten() {
            let _ = tx.send(rest.clone());
        }
    }

    pub fn wake_all(&self) {
        let all = std::mem::take(&mut *self.0.lock().expect("not poisoned"));
        for tx in all.into_values().flatten() {
            let _ = tx.send(None);
        }
    }
}

impl Bell {
    pub fn ring(&self) {
        *self.rung.lock().expect("not poisoned") = true;
        self.condition.notify_one();
    }

    /// Sleeps until it rings, or that long.
    pub fn wait(&self, patience: Duration) {
        let rung = self.rung.lock().expect("not poisoned");
        let (mut rung, _) = self.condition.wait_timeout_while(rung, patience, |rung| !*rung).expect("not poisoned");
        *rung = false;
    }
}
