//! The host: what an embedder holds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use durhai_core::{Failure, Kind, RunId, StepId, Value};
use durhai_world::{Query, Write};
use tokio::sync::{broadcast, oneshot};
use tokio_util::sync::CancellationToken;

use crate::access;
use crate::builder::HostBuilder;
use crate::committer::{Job, Then};
use crate::doctor::Diagnosis;
use crate::error::HostError;
use crate::handle::{Run, Start};
use crate::inner::Inner;
use crate::rules::{Ruled, StepRule};
use crate::runner;
use crate::step::{Made, Note, StepContext, StepInfo};
use crate::telemetry::Observers;
use crate::told::Told;
use crate::view::{Committed, Health, Listing, Report, Stats, WorkflowView};
use crate::watch::Look;
use crate::worker::Msg;

/// A running host. Cheap to clone; dropping it without [`shutdown`](Host::shutdown) loses nothing, its threads end with
/// the process.
#[derive(Clone)]
pub struct Host {
    pub(crate) inner: Arc<Inner>,
    pub(crate) looks: mpsc::Sender<Look>,
}

impl Host {
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// Describes a start of a workflow.
    pub fn run(&self, workflow: impl Into<String>) -> Start {
        Start {
            host: self.clone(),
            workflow: workflow.into(),
            id: None,
            input: Ok(Value::Null),
            tags: Default::default(),
            at: None,
            delay: None,
            elsewhere: false,
            timeout: None,
            priority: 0,
            traceparent: None,
        }
    }

    /// A run by its id. [`HostError::NotFound`] if there is none.
    pub async fn get(&self, id: &str) -> Result<Run, HostError> {
        let not_found = || HostError::NotFound(format!("there is no run {id}"));
        let run = Run::new(self, RunId::new(id).map_err(|_| not_found())?);
        self.inner()?.row(&run.id).await?.ok_or_else(not_found)?;
        Ok(run)
    }

    /// Runs, newest first.
    pub async fn list(&self, query: Query) -> Result<Listing, HostError> {
        self.inner()?
            .blocking(move |world| {
                let page = world.list(&query)?;
                let runs = page.rows.into_iter().map(|row| access::view(world, row)).collect::<Result<_, _>>()?;
                Ok(Listing { runs, next: page.next })
            })
            .await
    }

    /// Every workflow, by name.
    pub fn workflows(&self) -> Vec<WorkflowView> {
        self.inner.catalog.list()
    }

    /// Every step that can be called.
    pub fn step_list(&self) -> Vec<StepInfo> {
        self.inner.registry.list()
    }

    /// One attempt of a step, outside of any workflow, without a record.
    pub async fn call_step(&self, name: &str, input: Value) -> Result<Value, Failure> {
        let inner = &self.inner;
        let Some(handler) = inner.registry.find(name) else {
            return Err(Failure::new(Kind::UnknownStep, inner.registry.unknown(name)));
        };
        let token: CancellationToken = inner.stopping.child_token();
        let Ruled { place, timeout, .. } = inner.rules.of(name);
        let _pass = match place {
            None => None,
            Some(place) => match runner::turn(place, &token).await {
                Some(pass) => Some(pass),
                None => return Err(Failure::new(Kind::Interrupted, "the host stops")),
            },
        };
        let mut entropy = [0; 10];
        let _ = getrandom::fill(&mut entropy);
        let run = RunId::generate(inner.clock.now(), entropy);
        let step = StepId::parse("1").expect("1 is a step id");
        let mask = inner.mask.clone();
        let told = Told::default();
        let sink = Box::new(move |note: Note| {
            if let Some(Note::Log(line)) = told.take(mask.as_ref(), note) {
                tracing::info!("{}: {}", line.level, line.message);
            }
        });
        let context = StepContext::new(Made {
            run,
            workflow: String::new(),
            step,
            name: name.into(),
            attempt: 1,
            keys_of: None,
            starter: None,
            // It is no part of a run, and nobody is told of it.
            observers: Observers::default(),
            cancel: token.clone(),
            sink,
        });
        let mut work = Box::pin(runner::call_once(inner, handler, context, input));
        let Some(timeout) = timeout else { return work.await };
        match tokio::time::timeout(timeout, &mut work).await {
            Ok(result) => result,
            Err(_) => {
                token.cancel();
                let _ = tokio::time::timeout(inner.grace, work).await;
                let shown = durhai_core::duration::show(timeout.as_millis() as u64);
                Err(Failure::new(Kind::Timeout, format!("the attempt took longer than {shown}")))
            }
        }
    }

    /// Replaces every rule of [`HostBuilder::step_rule`](crate::HostBuilder::step_rule), from the next attempt on. What runs
    /// and waits under a name that stays counts on. On an error, which names the rule that makes no sense, nothing changes.
    pub fn set_step_rules(&self, rules: BTreeMap<String, StepRule>) -> Result<(), HostError> {
        self.inner.rules.replace(rules).map_err(HostError::Invalid)
    }

    /// Everything that becomes durable from now on. A receiver that is too slow misses some (it is told how many).
    pub fn commits(&self) -> broadcast::Receiver<Committed> {
        self.inner.commits.subscribe()
    }

    /// What happens in the scripts folder from now on.
    pub fn reports(&self) -> broadcast::Receiver<Report> {
        self.inner.catalog.reports.subscribe()
    }

    /// Looks at the scripts folder now, and says what changed.
    pub async fn reload(&self) -> Result<Vec<Report>, HostError> {
        let (reply, answer) = oneshot::channel();
        self.looks.send(Look::Now(reply)).map_err(|_| HostError::Closed)?;
        answer.await.map_err(|_| HostError::Closed)
    }

    /// Looks at the text of one workflow if it is another one than when it was looked at last: a start after a save runs what
    /// was saved. Costs a look at the stamps of its files where nothing changed.
    pub(crate) async fn look_first(&self, workflow: &str) -> Result<(), HostError> {
        /// A new version may have to go through the gate first; until it is through, the one that serves does.
        const PATIENCE: Duration = Duration::from_secs(2);
        let inner = self.inner()?.clone();
        if !inner.catalog.watched {
            return Ok(());
        }
        let name = workflow.to_owned();
        let asked = inner.tokio.clone().spawn_blocking(move || inner.catalog.is_current(&name));
        if asked.await.map_err(|_| HostError::Closed)? {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        self.looks.send(Look::At(workflow.to_owned(), reply)).map_err(|_| HostError::Closed)?;
        let _ = tokio::time::timeout(PATIENCE, answer).await;
        Ok(())
    }

    pub fn health(&self) -> Health {
        let error = self.inner.failure().map(|error| error.to_string());
        let warnings = self.inner.catalog.gone().into_iter().chain(self.inner.held.list()).collect();
        Health { ok: error.is_none() && !self.inner.is_stopping(), error, warnings }
    }

    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }

    /// Checks every log in the world against the table of legal events, what else is known of each run against its log, and
    /// the world itself. [`repair`](crate::repair) mends.
    pub async fn doctor(&self) -> Result<Diagnosis, HostError> {
        self.inner()?.blocking(crate::doctor::examine).await
    }

    /// Stops: takes no new runs, tells running steps, waits for their end for a while, finishes commits. Every run can
    /// be taken up again.
    ///
    /// A thread that does not come back, because a function of [`extend_scripts`](crate::HostBuilder::extend_scripts) computes or
    /// blocks, is left behind once the [grace period](crate::HostBuilder::grace) is over. What it does then is written nowhere;
    /// its runs can be taken up by another process, in a world that hosts share when their lease is over.
    pub async fn shutdown(&self) {
        let inner = self.inner.clone();
        inner.stopping.cancel();
        inner.adopter.ring();
        inner.scheduler.ring();
        inner.purger.ring();
        let _ = self.looks.send(Look::Stop);
        for worker in 0..inner.workers.len() {
            inner.send(worker, Msg::Drain);
        }
        let stop = move || {
            let threads = std::mem::take(&mut *inner.threads.lock().expect("not poisoned"));
            join(threads, inner.drain + inner.grace);
            for claim in inner.later.take_all() {
                let write = Write::Release { run: claim.run, fence: claim.fence };
                inner.write(Job { write, then: Then::Reply(oneshot::channel().0) });
            }
            // The committer ends when nobody can send to it any more.
            inner.jobs.lock().expect("not poisoned").take();
            if let Some(committer) = inner.committer.lock().expect("not poisoned").take() {
                let _ = committer.join();
            }
            inner.closing.cancel();
        };
        let _ = self.inner.tokio.spawn_blocking(stop).await;
    }

    /// Resolves when the host has stopped by itself because its world failed.
    pub async fn failed(&self) -> HostError {
        self.inner.failing.cancelled().await;
        self.inner.failure().map_or(HostError::Closed, |error| HostError::world(&error))
    }

    /// Resolves when nothing happens here any more: the host was shut down, or its world failed. For whoever waits for
    /// what the host would tell, such as a stream to a client.
    pub async fn closed(&self) {
        tokio::select! {
            () = self.inner.closing.cancelled() => {}
            () = self.inner.failing.cancelled() => {}
        }
    }

    /// What is inside, as long as it runs.
    pub(crate) fn inner(&self) -> Result<&Arc<Inner>, HostError> {
        match self.inner.failure() {
            Some(error) => Err(HostError::world(&error)),
            None if self.inner.closing.is_cancelled() => Err(HostError::Closed),
            None => Ok(&self.inner),
        }
    }
}

/// How often threads are looked at that should have ended.
const LOOK: Duration = Duration::from_millis(5);

/// Waits for the ends of threads, at most so long; the rest are left behind.
fn join(threads: Vec<JoinHandle<()>>, patience: Duration) {
    let began = Instant::now();
    for thread in threads {
        while !thread.is_finished() && began.elapsed() < patience {
            std::thread::sleep(LOOK);
        }
        if thread.is_finished() {
            let _ = thread.join();
        } else {
            let name = thread.thread().name().unwrap_or("durhai").to_owned();
            tracing::error!(
                "the thread {name} does not come back: a native function takes longer than {} s. It is left behind; what it \
                 holds can be taken up again",
                patience.as_secs()
            );
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.inner.holder.name)
    }
}
