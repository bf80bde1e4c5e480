//! Putting a host together and starting its threads.

use std::sync::{Arc, mpsc};

use durhai_core::replay::Limits;
use durhai_engine::SandboxConfig;
use durhai_world::{Holder, Notice, WorldError};
use tokio_util::sync::CancellationToken;

use crate::archive::import;
use crate::clock::{Clock, SystemClock, WorldClock};
use crate::error::HostError;
use crate::observe::counters::Counters;
use crate::observe::metrics::Meters;
use crate::observe::observer::Observers;
use crate::runtime::command::WorkerCommand;
use crate::runtime::lifecycle::Lifecycle;
use crate::runtime::setup::HostSetup;
use crate::runtime::workers::Workers;
use crate::runtime::{claimer, committer, deadlock, retention, schedules, worker};
use crate::shared::{HostConfig, Observe, Runtime, Shared, Steps};
use crate::steps::registry::Registry;
use crate::steps::rules::Rules;
use crate::store::access::Store;
use crate::store::random;
use crate::store::reach::Reach;
use crate::store::retrying::Retrying;
use crate::versions::catalog::Catalog;
use crate::versions::reload;
use crate::versions::scan::{self, Scanner};
use crate::versions::watcher::{Look, Watcher};

/// Where the threads hear of work.
struct Queues {
    commands: Vec<mpsc::Receiver<WorkerCommand>>,
    looks: mpsc::Receiver<Look>,
}

pub(crate) async fn start(setup: HostSetup) -> Result<Arc<Shared>, HostError> {
    let watch = setup.watch;
    let (host, queues) = build(setup)?;
    // The texts first: runs that are taken up want them. Versions that have to be checked against live runs are when the
    // host is up.
    let first = host.clone();
    let load = move || -> Result<(), WorldError> {
        if first.store.followed.is_some() {
            // What is created from now on has the time of the world.
            claimer::say_alive(&first, first.store.clock.now())?;
        }
        let sandbox = scan::sandbox(&first.config.sandbox);
        import::clean_up(&first)?;
        let (catalog, world, now) = (&first.versions, &*first.store.world, first.store.clock.now());
        let scanner = Scanner { catalog, world, sandbox: &sandbox, now };
        scanner.scan(&mut || Ok(true))?;
        // What another host brought at the same moment.
        scanner.follow()?.candidates.into_iter().for_each(|candidate| catalog.check_later(candidate));
        Ok(())
    };
    host.tokio.spawn_blocking(load).await.map_err(|_| HostError::Closed)??;
    listen(&host);
    start_threads(&host, queues, watch)?;
    Ok(host)
}

fn build(setup: HostSetup) -> Result<(Arc<Shared>, Queues), HostError> {
    let sandbox =
        SandboxConfig { limits: setup.scripts, extend: setup.extend, memory: setup.memory, ..SandboxConfig::default() };
    let holder = Holder { name: random::host_name()?.into(), lease: setup.lease.as_millis() as u64 };
    let tokio = tokio::runtime::Handle::current();
    let rules = Rules::new(setup.step_rules, &tokio).map_err(HostError::Invalid)?;
    let (workers, commands) = Workers::new(setup.workers);
    let (watcher, looks) = Watcher::new();
    let followed = Arc::new(WorldClock::default());
    let (clock, followed): (Arc<dyn Clock>, _) = match setup.clock {
        Some(clock) => (clock, None),
        None if setup.world.is_local() => (Arc::new(SystemClock), None),
        None => (followed.clone(), Some(followed)),
    };
    let is_local = setup.world.is_local();
    let meters = Meters::new(clock.now());
    let stopping = CancellationToken::new();
    // Several hosts of this process may have been given the same world, and one of them may stop while the others go on.
    let world = setup.world.for_host().unwrap_or(setup.world);
    let reach = Arc::new(Reach::default());
    let world = Arc::new(Retrying::new(world, stopping.clone(), reach.clone()));
    let store = Store::new((world, reach), holder, (clock, followed), tokio.clone(), meters.queue.clone());
    let host = Shared {
        config: HostConfig {
            limits: Arc::new(Limits { grace: setup.grace.as_millis() as u64, ..setup.limits }),
            sandbox,
            grace: setup.grace,
            drain: setup.drain,
            park_misconfigured: setup.park_misconfigured,
            evict_after: setup.evict_after,
            max_live: setup.max_live,
            max_waiting: setup.max_waiting,
            adopt: setup.adopt,
            public_url: setup.public_url,
        },
        store,
        versions: Catalog::new(setup.folder, setup.watch, setup.texts, (!is_local).then_some(setup.serves)),
        steps: Steps {
            registry: Registry { own: setup.steps, sources: setup.sources },
            rules,
            mask: setup.mask,
            misconfigured: Arc::default(),
        },
        observe: Observe {
            meters,
            counters: Counters::default(),
            observers: Observers::new(setup.observers),
            commits: setup.commits,
        },
        runtime: Runtime::new(workers, watcher),
        life: Lifecycle::new(stopping),
        tokio,
    };
    let host = Arc::new(host);
    let asking = Arc::downgrade(&host);
    host.steps.rules.shares_by(Box::new(move |limit, most, wanted| {
        let host = asking.upgrade()?;
        Some(host.store.world.places(limit, &host.store.lease.holder(), most, wanted))
    }));
    Ok((host, Queues { commands, looks }))
}

/// The world tells of messages and of runs that are due, the clock of its jumps.
fn listen(host: &Arc<Shared>) {
    let listener = Arc::downgrade(host);
    host.store.world.watch(Arc::new(move |notice| {
        let Some(host) = listener.upgrade() else { return };
        match notice {
            Notice::Message(run) => {
                host.runtime.workers.send(host.runtime.workers.of(&run), WorkerCommand::Message(run));
            }
            Notice::Due => host.runtime.claimer.wake(),
        }
    }));
    let jumped = Arc::downgrade(host);
    host.store.clock.on_jump(Box::new(move || {
        let Some(host) = jumped.upgrade() else { return };
        host.runtime.wake_sleepers();
        for worker in 0..host.runtime.workers.count() {
            host.runtime.workers.send(worker, WorkerCommand::Tick);
        }
    }));
}

/// What a thread does.
type ThreadBody = Box<dyn FnOnce(&Arc<Shared>) + Send>;

fn start_threads(host: &Arc<Shared>, queues: Queues, watch: bool) -> Result<(), HostError> {
    let thread = |name: &str, body: ThreadBody| {
        let shared = host.clone();
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || body(&shared))
            .map_err(|error| WorldError::Unavailable(format!("cannot start the thread {name}: {error}")))
    };
    let Queues { commands, looks } = queues;
    *host.life.committer.lock() = Some(thread("durhai-commit", Box::new(committer::run))?);
    let mut threads = Vec::new();
    for (index, commands) in commands.into_iter().enumerate() {
        let body = move |host: &Arc<Shared>| worker::run(host.clone(), index, &commands);
        threads.push(thread(&format!("durhai-work-{index}"), Box::new(body))?);
    }
    *host.life.claimer.lock() = Some(thread("durhai-claim", Box::new(claimer::run))?);
    if host.config.adopt {
        threads.push(thread("durhai-purge", Box::new(retention::run))?);
        threads.push(thread("durhai-schedule", Box::new(schedules::run))?);
        let shared = host.clone();
        host.tokio.spawn_blocking(move || {
            if let Err(error) = deadlock::look_for_circles(&shared) {
                tracing::warn!("it is not known whether all runs that wait can ever begin: {error}");
            }
        });
    }
    threads.push(thread("durhai-folder", Box::new(move |host| reload::run(host, &looks, watch)))?);
    *host.life.threads.lock() = threads;
    Ok(())
}
