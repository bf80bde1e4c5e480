//! The host: what an embedder holds.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use durhai_core::{Event, Failure, RunId, Value, Version};
use durhai_engine::trace::TraceEvent;
use durhai_world::Query;
use tokio::sync::broadcast;

use crate::archive::backup::{self, BackupSummary};
use crate::archive::doctor::{self, Diagnosis};
use crate::archive::import::{self, ImportOptions, Imported};
use crate::builder::HostBuilder;
use crate::error::HostError;
use crate::logs::replay::{self, ReplayOptions, Script};
use crate::messages::hooks;
use crate::observe::metrics::data::Metrics;
use crate::observe::metrics::snapshot;
use crate::observe::{Others, health};
use crate::run::Run;
use crate::runtime::{others, retention, schedules, shutdown, written};
use crate::shared::Shared;
use crate::start::Start;
use crate::steps::call;
use crate::steps::rules::StepRule;
use crate::steps::step::StepInfo;
use crate::store::run_view;
use crate::versions::compat::report::{CompatReport, MigrateReport};
use crate::versions::{history, migrate, reload};
use crate::view::{
    Committed, Health, HookRequest, HostView, Listing, Purge, Purged, ReplayView, Report, RunCount, ScheduleView,
    SourceView, Stats, VersionView, WorkflowView,
};

/// A running host. Cheap to clone; dropping it without [`shutdown`](Host::shutdown) loses nothing, its threads end with
/// the process.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
}

impl Host {
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Host { shared }
    }

    /// What the wings work with, as long as the host runs.
    pub(crate) fn running(&self) -> Result<&Arc<Shared>, HostError> {
        self.shared.running()
    }

    /// Describes a start of a workflow.
    pub fn run(&self, workflow: impl Into<String>) -> Start {
        Start::new(self.clone(), workflow.into())
    }

    /// A run by its id. [`HostError::NotFound`] if there is none.
    pub async fn get(&self, id: &str) -> Result<Run, HostError> {
        let id = RunId::new(id).map_err(|_| HostError::NotFound(format!("there is no run {id}")))?;
        self.running()?.store.known(&id).await?;
        Ok(Run::new(self, id))
    }

    /// Runs, newest first.
    pub async fn list(&self, query: Query) -> Result<Listing, HostError> {
        run_view::list(self.running()?, query).await
    }

    /// How many runs there are, by workflow, version and status. It takes no longer where there are many.
    pub async fn run_counts(&self) -> Result<Vec<RunCount>, HostError> {
        history::run_counts(self.running()?).await
    }

    /// Every workflow, by name.
    pub fn workflows(&self) -> Vec<WorkflowView> {
        self.shared.versions.list()
    }

    /// [`workflows`](Host::workflows) with the live runs of each version.
    pub async fn workflow_list(&self) -> Result<Vec<WorkflowView>, HostError> {
        history::workflow_list(self.running()?).await
    }

    /// Every version of a workflow whose text is in the store or that a run has; the one seen last comes first.
    ///
    /// [`HostError::NotFound`] if there is none.
    pub async fn versions(&self, workflow: &str) -> Result<Vec<VersionView>, HostError> {
        history::versions(self.running()?, workflow).await
    }

    /// The version of a workflow that people mean by `serving`, or by the first digits of its digest (at least four).
    ///
    /// [`HostError::NotFound`] with what there is; [`HostError::Invalid`] if several begin like that.
    pub async fn version(&self, workflow: &str, text: &str) -> Result<Version, HostError> {
        history::version(self.running()?, workflow, text).await
    }

    /// The texts of a version, by file: the workflow's own, and all it imports.
    ///
    /// [`HostError::NotFound`] if they are not in the store.
    pub async fn source(&self, version: &Version) -> Result<SourceView, HostError> {
        history::source(self.running()?, version).await
    }

    /// How the live runs of a workflow fitted its newest version, as checked last by any host on this world.
    pub async fn compat_report(&self, workflow: &str) -> Result<Option<CompatReport>, HostError> {
        history::compat_report(self.running()?, workflow).await
    }

    /// The same as [`Run::migrate`] for all live runs that the query gives; it must name a workflow.
    pub async fn migrate(&self, query: Query, to: Option<Version>, dry_run: bool) -> Result<MigrateReport, HostError> {
        migrate::migrate_all(self.running()?, query, to, dry_run).await
    }

    /// Looks at the scripts folder now, and says what changed. Where saves are not picked up
    /// ([`watch(false)`](crate::HostBuilder::watch)), that is all since the host started or was asked last.
    pub async fn reload(&self) -> Result<Vec<Report>, HostError> {
        reload::reload(&self.shared).await
    }

    /// What happens in the scripts folder from now on.
    pub fn reports(&self) -> broadcast::Receiver<Report> {
        self.shared.versions.reports.subscribe()
    }

    /// Every step that can be called.
    pub fn step_list(&self) -> Vec<StepInfo> {
        self.shared.steps.registry.list()
    }

    /// One attempt of a step, outside of any workflow, without a record.
    pub async fn call_step(&self, name: &str, input: Value) -> Result<Value, Failure> {
        call::call(&self.shared, name, input).await
    }

    /// Replaces every rule of [`HostBuilder::step_rule`](crate::HostBuilder::step_rule), from the next attempt on. What runs
    /// and waits under a name that stays counts on. On an error, which names the rule that makes no sense, nothing changes.
    pub fn set_step_rules(&self, rules: BTreeMap<String, StepRule>) -> Result<(), HostError> {
        self.shared.steps.rules.replace(rules).map_err(HostError::Invalid)
    }

    /// Whether an open hook has this token: for a server that reads a request only if a run waits for it.
    ///
    /// The store looks the token up, which takes a time that depends on where the token's place among the others is. That
    /// tells nothing about 128 random bits: a sender that is a few bits nearer to one has no more to go by than before.
    pub async fn has_hook(&self, token: &str) -> Result<bool, HostError> {
        hooks::has_hook(self.running()?, token).await
    }

    /// Delivers a request to the open hook of this token. When this returns the payload is durable: its script gets it,
    /// unless it closes the hook before. A token that the script named goes on: what the script did not take before the hook was closed,
    /// or before the run went on as a new one, is for the next hook with that token. The same `id` is delivered once to the hooks of this token in one run, however
    /// often it is sent.
    ///
    /// # Errors
    ///
    /// [`HostError::NotFound`], always with the same words, for a token that no open hook has;
    /// [`HostError::Invalid`] where the hook's schema does not take the body.
    pub async fn deliver_hook(&self, token: &str, request: HookRequest, id: Option<&str>) -> Result<(), HostError> {
        hooks::deliver_hook(self.running()?, token, request, id).await
    }

    /// Every workflow that starts by itself, by name.
    pub async fn schedules(&self) -> Result<Vec<ScheduleView>, HostError> {
        schedules::schedules(self.running()?).await
    }

    /// Starts no more runs of this schedule until it is resumed, in any host. What is paused already stays so.
    pub async fn pause_schedule(&self, workflow: &str) -> Result<(), HostError> {
        schedules::pause_schedule(self.running()?, workflow).await
    }

    /// Goes on with a schedule that was paused. The times in between are left out.
    pub async fn resume_schedule(&self, workflow: &str) -> Result<(), HostError> {
        schedules::resume_schedule(self.running()?, workflow).await
    }

    /// Starts a run as the schedule would, now: beside the one before, and also while it is paused.
    pub async fn trigger_schedule(&self, workflow: &str) -> Result<Run, HostError> {
        let id = schedules::trigger(self.running()?, workflow).await?;
        Ok(Run::new(self, id))
    }

    /// Removes runs that have ended, with all they left and with the runs they started and that have ended too, and then
    /// the texts of workflows that no run and no workflow refers to any more. Runs that go on meanwhile are not in its
    /// way.
    ///
    /// [`HostError::Invalid`] if a status is asked for in which runs have not ended.
    pub async fn purge(&self, purge: Purge) -> Result<Purged, HostError> {
        retention::purge(self.running()?, purge).await
    }

    /// Runs a log again that need not be in the world, under `own`, the text it was made with; see [`Run::trace`].
    pub async fn replay_log(
        &self,
        log: Vec<Event>,
        own: Script,
        options: ReplayOptions,
        watch: Option<Box<dyn FnMut(TraceEvent) -> bool + Send>>,
    ) -> Result<ReplayView, HostError> {
        replay::replay_log(self.running()?, log, own, options, watch).await
    }

    /// Brings in the runs of an exported file: what had ended has ended, what had not is parked, unless
    /// [`go`](ImportOptions::go) says otherwise. Texts, log lines, streams, state and messages come along.
    ///
    /// [`HostError::Invalid`] with the line of the file for everything that is wrong with it, [`HostError::Conflict`] if a name
    /// or a token is taken. Nothing is imported then.
    pub async fn import(
        &self,
        input: impl Read + Send + 'static,
        options: ImportOptions,
    ) -> Result<Imported, HostError> {
        import::import(self.running()?, input, options).await
    }

    /// Writes all that the world has into a file, as it is at one moment near the end, while runs go on. No run waits for it.
    ///
    /// [`HostError::Invalid`] if `out` cannot be written to, [`WorldError::Unavailable`] if it is too slow for what is written
    /// meanwhile.
    pub async fn backup(&self, out: impl Write + Send + 'static) -> Result<BackupSummary, HostError> {
        backup::backup(self.running()?, out).await
    }

    /// Checks every log in the world against the table of legal events, what else is known of each run against its log, and
    /// the world itself. [`repair`](crate::archive::repair) mends.
    pub async fn doctor(&self) -> Result<Diagnosis, HostError> {
        self.running()?.store.blocking(doctor::examine).await
    }

    /// The hosts that share the world, the oldest first: those that live, and with `all` those that ended within the last day. One of a
    /// world that is not shared is alone.
    pub async fn hosts(&self, all: bool) -> Result<Vec<HostView>, HostError> {
        others::hosts(self.running()?, all).await
    }

    /// Everything the host counts and measures, and how many runs its world has. What only the world can tell is left
    /// out if the world has failed, which `durhai_host_failed` says.
    pub async fn metrics(&self) -> Metrics {
        snapshot::metrics(&self.shared).await
    }

    /// Everything that becomes durable from now on. A receiver that is too slow misses some (it is told how many).
    pub fn commits(&self) -> broadcast::Receiver<Committed> {
        self.shared.observe.commits.subscribe()
    }

    /// Hears of it when other hosts that share the world write something, within half a second: what changes in them is not among
    /// [`commits`](Host::commits). The world is asked for it while somebody follows.
    pub fn follow_others(&self) -> Others {
        written::follow(&self.shared)
    }

    /// Whether the host does its work at this moment. In a world that is shared it does not, and says so, while that does not answer,
    /// while its lease is not sure, and while it begins anew after the others declared it dead; it goes on by itself.
    pub fn health(&self) -> Health {
        health::health(&self.shared)
    }

    pub fn stats(&self) -> Stats {
        self.shared.observe.counters.stats()
    }

    /// Stops: takes no new runs, tells running steps, waits for their end for a while, finishes commits. Every run can
    /// be taken up again.
    ///
    /// A thread that does not come back, because a function of [`extend_scripts`](crate::HostBuilder::extend_scripts) computes or
    /// blocks, is left behind once the [grace period](crate::HostBuilder::grace) is over. What it does then is written nowhere;
    /// its runs can be taken up by another process, in a world that hosts share when their lease is over.
    pub async fn shutdown(&self) {
        shutdown::shutdown(&self.shared).await;
    }

    /// Resolves when the host has stopped by itself because its world failed.
    pub async fn failed(&self) -> HostError {
        self.shared.life.failing.cancelled().await;
        self.shared.life.failure().map_or(HostError::Closed, |error| HostError::world(&error))
    }

    /// Resolves when nothing happens here any more: the host was shut down, or its world failed. For callers that wait for
    /// what the host would tell, such as a stream to a client.
    pub async fn closed(&self) {
        tokio::select! {
            () = self.shared.life.closing.cancelled() => {}
            () = self.shared.life.failing.cancelled() => {}
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.shared.store.lease.holder().name)
    }
}
