//! The store, opened by this process.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durhai::archive::ImportOptions;
use durhai::check::AssumedFunction;
use durhai::logs::{ReplayOptions, ReplayView};
use durhai::postgres::PgWorld;
use durhai::trace::TraceEvent;
use durhai::versions::Serves;
use durhai::{Host, HostBuilder, RunView, SledWorld, Version, World, WorldError};
use durhai_api::{Feed, Want};
use durhai_steps::StoreDatabase;

use super::patience::Patience;
use super::{Following, Remote, Starting};
use crate::args::Globals;
use crate::exit::Fail;
use crate::hostfile::HostFile;
use crate::note::note;

/// A host that takes up nothing by itself.
pub struct Local {
    pub host: Host,
}

/// A store, or the process that has it.
pub enum Opened {
    Store(Arc<dyn World>),
    Served(Remote),
}

/// Opens the store, which is made if it is not there. Says which process has it, if another one does.
pub async fn open_world(globals: &Globals) -> Result<Arc<dyn World>, Fail> {
    open_world_for(globals, &StoreDatabase::default()).await
}

/// The same, for a host whose steps work in the database of the store, if it is in one.
pub async fn open_world_for(globals: &Globals, steps: &StoreDatabase) -> Result<Arc<dyn World>, Fail> {
    match globals.database() {
        Some(url) => {
            let world = open_database(url)?;
            steps.set(world.clone());
            Ok(world)
        }
        None => Ok(Arc::new(open_sled(&globals.data, &globals.store_path()).await?)),
    }
}

/// The world in a database. An empty one is laid out.
pub fn open_database(url: &str) -> Result<Arc<PgWorld>, Fail> {
    let label = format!("durhai {} on {}, process {}", env!("CARGO_PKG_VERSION"), machine(), std::process::id());
    let options = durhai::postgres::Options { label, ..Default::default() };
    let opened = tokio::task::block_in_place(|| PgWorld::open_with(url, &options));
    Ok(Arc::new(opened?))
}

/// What this machine is called, for those who look at its hosts.
fn machine() -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let named = named.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    named
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "a machine without name".into())
}

/// The same of a store on this machine.
pub async fn open_sled(data: &Path, store: &Path) -> Result<SledWorld, Fail> {
    match open_sled_or_served(data, store).await? {
        Ok(world) => Ok(world),
        Err(_) => Err(explain(data, WorldError::Locked(format!("the store {} is in use", store.display())))),
    }
}

/// Opens the store, which is made if it is not there, unless a host answers that has it: one may be about to begin.
pub async fn open_or_served(globals: &Globals) -> Result<Opened, Fail> {
    open_or_served_for(globals, &StoreDatabase::default()).await
}

/// The same, for a host whose steps work in the database of the store.
pub async fn open_or_served_for(globals: &Globals, steps: &StoreDatabase) -> Result<Opened, Fail> {
    if globals.database().is_some() {
        return Ok(Opened::Store(open_world_for(globals, steps).await?));
    }
    Ok(match open_sled_or_served(&globals.data, &globals.store_path()).await? {
        Ok(world) => Opened::Store(Arc::new(world)),
        Err(remote) => Opened::Served(remote),
    })
}

async fn open_sled_or_served(data: &Path, store: &Path) -> Result<Result<SledWorld, Remote>, Fail> {
    if !data.exists() {
        std::fs::create_dir_all(data)
            .map_err(|error| Fail::unreachable(format!("the folder {} cannot be made: {error}", data.display())))?;
        // Data does not belong into a repository; that it gets there anyway is no reason to fail.
        let _ = std::fs::write(data.join(".gitignore"), "*\n");
    }
    let mut patience = Patience::new(data);
    loop {
        match SledWorld::open(store) {
            Ok(world) => {
                say_what_was_set_aside(&world);
                return Ok(Ok(world));
            }
            Err(error @ WorldError::Locked(_)) => {
                if let Some(file) = HostFile::read(data)
                    && let Some(remote) = Remote::probe(&file).await?
                {
                    return Ok(Err(remote));
                }
                // Other commands have it for a moment, and so has a host that ends.
                if !patience.lasts() {
                    return Err(explain(data, error));
                }
                patience.pause().await;
            }
            Err(error) => return Err(explain(data, error)),
        }
    }
}

/// For commands that keep no log, in which it stands otherwise.
pub fn say_what_was_set_aside(world: &SledWorld) {
    if !tracing::dispatcher::has_been_set() {
        world.set_aside().iter().for_each(note);
    }
}

/// A file with an exported run, if one is named and no run: it begins as `durhai export` begins it, or is called like one.
pub fn exported(run: &str) -> Option<&Path> {
    const BEGINS: &[u8] = b"{\"durhai_export\":";
    let path = Path::new(run);
    if !path.is_file() {
        return None;
    }
    let mut first = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(64).read_to_end(&mut first));
    let first = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&first);
    let called = run.ends_with(".ndjson") || run.contains(['/', std::path::MAIN_SEPARATOR]);
    (called || read.is_ok() && first.starts_with(BEGINS)).then_some(path)
}

/// Why a store did not open, and what can be done.
pub fn explain(data: &Path, error: WorldError) -> Fail {
    match (error, HostFile::read(data)) {
        (WorldError::Locked(message), Some(file)) => Fail::unreachable(message).hint(format!(
            "{} (process {}, http://{}) has it. {}; --data names another folder.",
            if file.passing { "A `durhai run`" } else { "A durhai host" },
            file.pid,
            file.address,
            match (file.passing, file.stopping) {
                (true, _) => "Wait for its end",
                (_, true) => "It is about to end: wait for that",
                _ => "`durhai start NAME --wait` runs a workflow there",
            },
        )),
        (error, _) => error.into(),
    }
}

impl Local {
    /// A host that has nothing but what is in an exported file; and the run that the file is about.
    pub async fn of_file(path: &Path, functions: &[AssumedFunction]) -> Result<(Local, String), Fail> {
        let named = |error: &dyn std::fmt::Display| Fail::usage(format!("{}: {error}", path.display()));
        let file = std::fs::File::open(path).map_err(|error| named(&error))?;
        let builder = Host::builder().adopt(false).watch(false).workers(1);
        let host = functions.iter().cloned().fold(builder, HostBuilder::assume_function).start().await?;
        let options = ImportOptions { as_is: true, file: path.display().to_string(), ..ImportOptions::default() };
        let imported = host.import(file, options).await.map_err(|error| named(&error))?;
        Ok((Local { host }, imported.run.to_string()))
    }

    /// A host on a store, to look at it and to write to inboxes; with the texts of a scripts folder, where they are wanted.
    pub async fn open(
        world: Arc<dyn World>,
        functions: &[AssumedFunction],
        scripts: Option<&Path>,
    ) -> Result<Local, Fail> {
        let builder = Host::builder().shared_world(world).adopt(false).workers(1);
        let builder = match scripts {
            // To look at texts is not to serve them to other hosts.
            Some(folder) => builder.workflows(folder).watch(false).serves(Serves::HereOnly),
            None => builder,
        };
        Ok(Local { host: functions.iter().cloned().fold(builder, HostBuilder::assume_function).start().await? })
    }

    pub async fn start(&self, starting: Starting) -> Result<RunView, Fail> {
        let mut start = self.host.run(starting.workflow).input(&starting.input);
        for (key, value) in starting.tags {
            start = start.tag(key, value);
        }
        if let Some(id) = starting.id {
            start = start.id(id);
        }
        if let Some(delay) = starting.delay {
            start = start.delay(Duration::from_millis(delay));
        }
        if let Some(timeout) = starting.timeout {
            start = start.timeout(Duration::from_millis(timeout));
        }
        start = start.priority(starting.priority);
        if starting.elsewhere {
            start = start.elsewhere();
        }
        Ok(start.start().await?.view().await?)
    }

    /// `watch` gets what is seen on this thread, so it need not be sent to another one.
    pub async fn trace(
        &self,
        id: &str,
        options: &ReplayOptions,
        watch: &mut dyn FnMut(TraceEvent) -> bool,
    ) -> Result<ReplayView, Fail> {
        const AHEAD: usize = 1024;
        let run = self.host.get(id).await?;
        let (tx, mut rx) = tokio::sync::mpsc::channel(AHEAD);
        let options = options.clone();
        let work = tokio::spawn(async move { run.trace(options, move |event| tx.blocking_send(event).is_ok()).await });
        while let Some(event) = rx.recv().await {
            if !watch(event) {
                // The watcher is gone: the next event ends it.
                rx.close();
            }
        }
        Ok(work.await.map_err(Fail::unreachable)??)
    }

    /// What is meant by `serving`, or by the first digits of a digest.
    pub async fn version(&self, workflow: &str, text: Option<&str>) -> Result<Option<Version>, Fail> {
        match text {
            Some(text) => Ok(Some(self.host.version(workflow, text).await?)),
            None => Ok(None),
        }
    }

    pub async fn follow(&self, id: &str, want: Want) -> Result<Following, Fail> {
        Ok(Following::Local(Box::new(Feed::open(&self.host, id, want).await?)))
    }
}
