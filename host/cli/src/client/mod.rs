//! One way to the runs: the host that serves the data folder, or the store itself.

mod lines;
mod local;
mod patience;
mod remote;
mod sse;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use durhai::archive::{Diagnosis, ExportOptions, ImportOptions, Imported};
use durhai::check::AssumedFunction;
use durhai::logs::{Fork, ReplayOptions, ReplayView};
use durhai::trace::TraceEvent;
use durhai::versions::{CompatReport, MigrateReport, Migration, SourceView, VersionView};
use durhai::view::{HookRequest, Listing, LogEntry, OutputEntry, Purge, Purged, ScheduleView, StreamView, Suspension};
use durhai::{Event, Query, RunView, SledWorld, Value, WorkflowView, WorldError};
use durhai_api::{Item, Want};

pub use local::{Local, Opened, exported, open_or_served, open_or_served_for, open_sled, open_world, open_world_for};
pub use remote::Remote;

use crate::args::Globals;
use crate::exit::{Exit, Fail};
use crate::hostfile::HostFile;
use patience::Patience;

/// Whom the commands talk to.
pub enum Client {
    /// A host of this process, which runs nothing by itself.
    Local(Local),
    /// The host that serves the data folder.
    Remote(Remote),
}

/// A start that was described on the command line.
#[derive(Debug, Clone, Default)]
pub struct Starting {
    pub workflow: String,
    pub input: Value,
    pub id: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// Milliseconds.
    pub delay: Option<u64>,
    /// Milliseconds.
    pub timeout: Option<u64>,
    pub priority: i32,
    /// Left for the next host; a host that serves begins it whatever this says.
    pub elsewhere: bool,
}

/// A run being followed.
pub enum Following {
    Local(Box<durhai_api::Feed>),
    Remote(Box<remote::Stream>),
}

impl Client {
    /// The host that serves this data folder, if it answers; else its store, which must be there. A host that is about to answer,
    /// or to end, is waited for, and so are other commands that have the store for a moment.
    pub async fn connect(globals: &Globals) -> Result<Client, Fail> {
        Client::connect_with(globals, &[]).await
    }

    /// The same, where scripts may be run again: with functions that a program adds to them. A host that serves has its own.
    pub async fn connect_with(globals: &Globals, functions: &[AssumedFunction]) -> Result<Client, Fail> {
        Client::connect_in(globals, functions, None).await
    }

    /// The same, where texts are wanted that were saved since a host served last: those of a scripts folder.
    pub async fn connect_in(
        globals: &Globals,
        functions: &[AssumedFunction],
        scripts: Option<&Path>,
    ) -> Result<Client, Fail> {
        if let Some(url) = globals.database() {
            return Ok(Client::Local(Local::open(local::open_database(url)?, functions, scripts).await?));
        }
        let (data, store) = (&globals.data, globals.store_path());
        let mut patience = Patience::new(data);
        loop {
            if let Some(remote) = Client::served(globals).await? {
                return Ok(Client::Remote(remote));
            }
            if store.exists() {
                match SledWorld::open(&store) {
                    Ok(world) => {
                        local::say_what_was_set_aside(&world);
                        return Ok(Client::Local(Local::open(Arc::new(world), functions, scripts).await?));
                    }
                    Err(WorldError::Locked(_)) if patience.lasts() => {}
                    Err(error) => return Err(local::explain(data, error)),
                }
            // Its store may be elsewhere.
            } else if !(HostFile::read(data).is_some_and(|file| file.is_alive()) && patience.lasts()) {
                return Err(Fail::unreachable(format!("there is no store at {}", store.display())).hint(
                    "`durhai run` and `durhai serve` make one; --data or DURHAI_DATA names one that is elsewhere.",
                ));
            }
            patience.pause().await;
        }
    }

    /// Where the run is that is named: in this data folder, or in an exported file, for which no store is needed. And its id.
    pub async fn of_run(globals: &Globals, run: &str) -> Result<(Client, String), Fail> {
        Client::of_run_with(globals, run, &[]).await
    }

    /// The same, with functions as for [`connect_with`](Client::connect_with).
    pub async fn of_run_with(
        globals: &Globals,
        run: &str,
        functions: &[AssumedFunction],
    ) -> Result<(Client, String), Fail> {
        match exported(run) {
            Some(file) => {
                let (local, run) = Local::of_file(file, functions).await?;
                Ok((Client::Local(local), run))
            }
            None => Ok((Client::connect_with(globals, functions).await?, run.to_owned())),
        }
    }

    /// The host that serves this data folder, if there is one. A database needs none: every process may look at it and write to it.
    pub async fn served(globals: &Globals) -> Result<Option<Remote>, Fail> {
        if globals.database().is_some() {
            return Ok(None);
        }
        match HostFile::read(&globals.data) {
            Some(file) => Remote::probe(&file).await,
            None => Ok(None),
        }
    }

    /// No host holds the runs: what is written waits until one does.
    pub fn is_local(&self) -> bool {
        matches!(self, Client::Local(_))
    }

    pub async fn workflows(&self) -> Result<Vec<WorkflowView>, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.workflow_list().await?),
            Client::Remote(remote) => remote.workflows().await,
        }
    }

    pub async fn start(&self, starting: Starting) -> Result<RunView, Fail> {
        match self {
            Client::Local(local) => local.start(starting).await,
            Client::Remote(remote) => remote.start(starting).await,
        }
    }

    pub async fn list(&self, query: Query) -> Result<Listing, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.list(query).await?),
            Client::Remote(remote) => remote.list(query).await,
        }
    }

    pub async fn get(&self, id: &str) -> Result<RunView, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.view().await?),
            Client::Remote(remote) => remote.get(id).await,
        }
    }

    pub async fn events(&self, id: &str, from: u64, limit: usize) -> Result<Vec<Event>, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.events(from, limit).await?),
            Client::Remote(remote) => remote.events(id, from, limit).await,
        }
    }

    pub async fn logs(&self, id: &str, from: u64, limit: usize) -> Result<Vec<LogEntry>, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.logs(from, limit).await?),
            Client::Remote(remote) => remote.logs(id, from, limit).await,
        }
    }

    /// Values of an output stream, from an index on.
    pub async fn emitted(&self, id: &str, stream: &str, from: u64, limit: usize) -> Result<Vec<OutputEntry>, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.emitted(stream, from, limit).await?),
            Client::Remote(remote) => remote.emitted(id, stream, from, limit).await,
        }
    }

    pub async fn streams(&self, id: &str) -> Result<Vec<StreamView>, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.streams().await?),
            Client::Remote(remote) => remote.streams(id).await,
        }
    }

    /// What the run asks people now.
    pub async fn suspensions(&self, id: &str) -> Result<Vec<Suspension>, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.suspensions().await?),
            Client::Remote(remote) => remote.suspensions(id).await,
        }
    }

    /// Answers a question. Durable when it returns; so are the next ones.
    pub async fn resume(&self, id: &str, label: Option<&str>, data: &Value) -> Result<(), Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.resume(label, data).await?),
            Client::Remote(remote) => remote.resume(id, label, data).await,
        }
    }

    /// Delivers a POST request with this body to an open hook.
    pub async fn deliver(&self, token: &str, body: &Value, once: Option<&str>) -> Result<(), Fail> {
        match self {
            Client::Local(local) => {
                let headers = [("content-type".to_string(), "application/json".to_string())].into();
                let request =
                    HookRequest { method: "POST".into(), headers, body: body.clone(), ..HookRequest::default() };
                Ok(local.host.deliver_hook(token, request, once).await?)
            }
            Client::Remote(remote) => remote.deliver(token, body, once).await,
        }
    }

    pub async fn signal(&self, id: &str, name: &str, payload: &Value, once: Option<&str>) -> Result<(), Fail> {
        match self {
            Client::Local(local) => {
                let run = local.host.get(id).await?;
                match once {
                    Some(once) => Ok(run.signal_once(name, payload, once).await?),
                    None => Ok(run.signal(name, payload).await?),
                }
            }
            Client::Remote(remote) => remote.signal(id, name, payload, once).await,
        }
    }

    pub async fn cancel(&self, id: &str, reason: &str) -> Result<(), Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.cancel(reason).await?),
            Client::Remote(remote) => remote.end(id, "cancel", reason).await,
        }
    }

    pub async fn terminate(&self, id: &str, reason: &str) -> Result<(), Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.terminate(reason).await?),
            Client::Remote(remote) => remote.end(id, "terminate", reason).await,
        }
    }

    /// The new run.
    pub async fn retry(&self, id: &str) -> Result<RunView, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.retry().await?.view().await?),
            Client::Remote(remote) => remote.retry(id).await,
        }
    }

    /// Runs the log again; nothing is written.
    pub async fn replay(&self, id: &str, options: &ReplayOptions) -> Result<ReplayView, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.replay(options.clone()).await?),
            Client::Remote(remote) => remote.replay(id, options).await,
        }
    }

    /// The same, and `watch` gets what is seen, until it gives `false`: then there may be no result.
    pub async fn trace(
        &self,
        id: &str,
        options: &ReplayOptions,
        watch: &mut dyn FnMut(TraceEvent) -> bool,
    ) -> Result<Option<ReplayView>, Fail> {
        match self {
            Client::Local(local) => local.trace(id, options, watch).await.map(Some),
            Client::Remote(remote) => remote.trace(id, options, watch).await,
        }
    }

    /// The new run.
    pub async fn fork(&self, id: &str, fork: &Fork) -> Result<RunView, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.fork(fork.clone()).await?.view().await?),
            Client::Remote(remote) => remote.fork(id, fork).await,
        }
    }

    pub async fn unpark(&self, id: &str) -> Result<(), Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.unpark().await?),
            Client::Remote(remote) => remote.unpark(id).await,
        }
    }

    pub async fn versions(&self, workflow: &str) -> Result<Vec<VersionView>, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.versions(workflow).await?),
            Client::Remote(remote) => remote.versions(workflow).await,
        }
    }

    /// `version`: `serving`, or the first digits of a digest.
    pub async fn source(&self, workflow: &str, version: &str) -> Result<SourceView, Fail> {
        match self {
            Client::Local(local) => {
                let version = local.host.version(workflow, version).await?;
                Ok(local.host.source(&version).await?)
            }
            Client::Remote(remote) => remote.source(workflow, version).await,
        }
    }

    /// The report of the last new version that was checked against live runs.
    pub async fn compat_report(&self, workflow: &str) -> Result<Option<CompatReport>, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.compat_report(workflow).await?),
            Client::Remote(remote) => match remote.compat_report(workflow).await {
                Err(fail) if fail.exit == Exit::NotFound => Ok(None),
                report => report.map(Some),
            },
        }
    }

    pub async fn migrate_run(&self, id: &str, to: Option<&str>, dry_run: bool) -> Result<Migration, Fail> {
        match self {
            Client::Local(local) => {
                let run = local.host.get(id).await?;
                let to = local.version(&run.view().await?.workflow, to).await?;
                Ok(run.migrate(to, dry_run).await?)
            }
            Client::Remote(remote) => remote.migrate_run(id, to, dry_run).await,
        }
    }

    pub async fn migrate_all(&self, workflow: &str, to: Option<&str>, dry_run: bool) -> Result<MigrateReport, Fail> {
        match self {
            Client::Local(local) => {
                let to = local.version(workflow, to).await?;
                let query = Query { workflow: Some(workflow.into()), ..Query::default() };
                Ok(local.host.migrate(query, to, dry_run).await?)
            }
            Client::Remote(remote) => remote.migrate_all(workflow, to, dry_run).await,
        }
    }

    pub async fn delete(&self, id: &str) -> Result<(), Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.delete().await?),
            Client::Remote(remote) => remote.delete(id).await,
        }
    }

    pub async fn purge(&self, purge: Purge) -> Result<Purged, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.purge(purge).await?),
            Client::Remote(remote) => remote.purge(purge).await,
        }
    }

    pub async fn schedules(&self) -> Result<Vec<ScheduleView>, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.schedules().await?),
            Client::Remote(remote) => remote.schedules().await,
        }
    }

    pub async fn pause_schedule(&self, name: &str) -> Result<(), Fail> {
        match self {
            Client::Local(local) => Ok(local.host.pause_schedule(name).await?),
            Client::Remote(remote) => remote.set_schedule(name, "pause").await,
        }
    }

    pub async fn resume_schedule(&self, name: &str) -> Result<(), Fail> {
        match self {
            Client::Local(local) => Ok(local.host.resume_schedule(name).await?),
            Client::Remote(remote) => remote.set_schedule(name, "resume").await,
        }
    }

    /// The run that was started.
    pub async fn trigger_schedule(&self, name: &str) -> Result<RunView, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.trigger_schedule(name).await?.view().await?),
            Client::Remote(remote) => remote.trigger_schedule(name).await,
        }
    }

    /// Writes a run into `out`.
    pub async fn export(&self, id: &str, options: ExportOptions, out: Box<dyn Write + Send>) -> Result<(), Fail> {
        match self {
            Client::Local(local) => Ok(local.host.get(id).await?.export(options, out).await.map(drop)?),
            Client::Remote(remote) => remote.export(id, options, out).await,
        }
    }

    pub async fn import(&self, input: Box<dyn Read + Send>, options: ImportOptions) -> Result<Imported, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.import(input, options).await?),
            Client::Remote(remote) => remote.import(input, options).await,
        }
    }

    /// Writes the whole store into `out`.
    pub async fn backup(&self, out: Box<dyn Write + Send>) -> Result<(), Fail> {
        match self {
            Client::Local(local) => Ok(local.host.backup(out).await.map(drop)?),
            Client::Remote(remote) => remote.backup(out).await,
        }
    }

    pub async fn doctor(&self) -> Result<Diagnosis, Fail> {
        match self {
            Client::Local(local) => Ok(local.host.doctor().await?),
            Client::Remote(remote) => remote.doctor().await,
        }
    }

    /// What the run did and does from there on.
    pub async fn follow(&self, id: &str, want: Want) -> Result<Following, Fail> {
        match self {
            Client::Local(local) => local.follow(id, want).await,
            Client::Remote(remote) => Ok(Following::Remote(Box::new(remote.follow(id, want).await?))),
        }
    }

    /// Resolves when a host of this process has stopped by itself.
    pub async fn failed(&self) -> Fail {
        match self {
            Client::Local(local) => local.host.failed().await.into(),
            Client::Remote(_) => std::future::pending().await,
        }
    }

    /// Gives the store back.
    pub async fn close(self) {
        if let Client::Local(local) = self {
            local.host.shutdown().await;
        }
    }
}

impl Following {
    /// The next thing; `None` after the end. Nothing is lost if the future is dropped before it is ready.
    pub async fn next(&mut self) -> Result<Option<Item>, Fail> {
        match self {
            Following::Local(feed) => Ok(feed.next().await?),
            Following::Remote(stream) => stream.next().await,
        }
    }
}
