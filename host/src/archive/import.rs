//! Runs from files: brought in as a whole or not at all, and parked unless they are to go on at once.
//!
//! The file is read twice: first all of it is checked, nothing is written meanwhile. Then its runs are made, under a note in
//! the world that says which they are. What is under that note is removed again: after an error at once, after a crash by
//! the next host. The note goes when all runs are what they will be.

mod runs;

use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use durhai_core::{EventBody, RunId, Status, tags};
use durhai_world::{Commit, Row, World, WorldError, Write as Writing};
use runs::{Names, Origins};
use serde::{Deserialize, Serialize};

use crate::archive::export::ExportHeader;
use crate::archive::export::read::{Item, Reader};
use crate::error::HostError;
use crate::runtime::claims;
use crate::shared::Shared;
use crate::store::meta;

/// How a file is imported.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImportOptions {
    /// The name of the run; made up unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Under the names they had, with nothing in their logs that tells of it.
    pub as_is: bool,
    /// What has not ended goes on at once. Attempts that were under way are made again, with the keys of the new runs.
    pub go: bool,
    /// What the file is called, for those who look at the runs later.
    pub file: String,
}

/// What was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The run that the file is about.
    pub run: RunId,
    /// All of them, that one first.
    pub runs: Vec<RunId>,
    /// Those that are parked: [`Run::unpark`] lets one go on.
    pub parked: Vec<RunId>,
    pub events: u64,
    /// What a reader should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// See [`Host::import`](crate::Host::import).
pub(crate) async fn import(
    host: &Arc<Shared>,
    input: impl Read + Send + 'static,
    options: ImportOptions,
) -> Result<Imported, HostError> {
    let host = host.clone();
    let go = options.go;
    let (work, tokio) = (host.clone(), host.tokio.clone());
    let import = move || import_now(&work, input, &options);
    let (imported, mut awake) = tokio.spawn_blocking(import).await.map_err(|_| HostError::Closed)??;
    let mut imported = Imported { parked: awake.iter().map(|row| row.run.clone()).collect(), ..imported };
    if go {
        // Those that were parked where they came from stay so.
        awake.retain(|row| row.status != Status::Parked);
        for row in &awake {
            let_go(&host, &row.run, row).await?;
        }
        imported.parked.retain(|run| !awake.iter().any(|row| row.run == *run));
    }
    Ok(imported)
}

/// Goes on as the row says that it was.
async fn let_go(host: &Arc<Shared>, run: &RunId, was: &Row) -> Result<(), HostError> {
    // The import may have taken long.
    let host = host.running()?;
    let wake_at = match was.status {
        Status::Pending => was.wake_at.or(Some(0)),
        _ => Some(0),
    };
    let (within, run) = (host.clone(), run.clone());
    claims::to_its_end(host, async move { claims::go_on(&within, &run, wake_at).await }).await
}

/// What is found out about a file before anything is written.
struct Plan {
    header: ExportHeader,
    names: Names,
    /// In the order of the file.
    rows: Vec<Row>,
    events: u64,
}

fn import_now(
    host: &Arc<Shared>,
    input: impl Read,
    options: &ImportOptions,
) -> Result<(Imported, Vec<Row>), HostError> {
    let cannot =
        |error: std::io::Error| HostError::Invalid(format!("the file cannot be kept while it is imported: {error}"));
    let mut spool = tempfile::tempfile().map_err(cannot)?;
    let plan = plan(host, Spooled { input, spool: &mut spool }, options)?;
    spool.seek(SeekFrom::Start(0)).map_err(cannot)?;
    let runs: Vec<RunId> = plan.rows.iter().map(|row| plan.names.of(&row.run)).collect();
    free(host, &runs)?;
    let begins =
        |all: &mut Vec<RunId>| all.extend(runs.iter().filter(|run| !all.contains(run)).cloned().collect::<Vec<_>>());
    meta::change_runs(&*host.store.world, meta::IMPORTS, begins)?;
    let done = runs::bring_in(host, Reader::open(BufReader::new(spool))?, &plan, options);
    match done {
        Ok(notes) => {
            meta::change_runs(&*host.store.world, meta::IMPORTS, |all| all.retain(|run| !runs.contains(run)))?;
            let live = plan.rows.iter().filter(|row| !row.status.is_terminal());
            let awake = live.map(|row| Row { run: plan.names.of(&row.run), ..row.clone() }).collect();
            let run = plan.names.of(&plan.header.run);
            tracing::info!("run {run} was imported: {} runs, {} events", runs.len(), plan.events);
            Ok((Imported { run, runs, parked: Vec::new(), events: plan.events, notes }, awake))
        }
        Err(error) => {
            // Should that fail too, the next host does it.
            if let Err(left) = undo(host, &runs) {
                tracing::warn!("what was imported of {runs:?} could not be removed again yet: {left}");
            }
            Err(error)
        }
    }
}

/// Reads all of the file.
fn plan(host: &Arc<Shared>, input: Spooled<'_, impl Read>, options: &ImportOptions) -> Result<Plan, HostError> {
    let mut reader = Reader::open(BufReader::new(input))?;
    let header = reader.header().clone();
    let root = match (&options.id, options.as_is) {
        (Some(_), true) => {
            return Err(HostError::Invalid("a run that is imported as it is keeps its name: give no other".into()));
        }
        (None, true) => header.run.clone(),
        (Some(id), false) => RunId::new(id).map_err(|error| HostError::Invalid(error.to_string()))?,
        (None, false) => crate::store::random::run_id(host.store.clock.now())?,
    };
    let mut origins = Origins::default();
    let mut rows: Vec<Row> = Vec::new();
    let mut missing = Vec::new();
    let mut events = 0;
    while let Some(item) = reader.next()? {
        let line = reader.line();
        let wrong = |why: String| HostError::Invalid(format!("line {line}: {why}"));
        match item {
            Item::Run { row } => {
                tags::check(&row.tags).map_err(wrong)?;
                rows.push(*row);
            }
            Item::Event(event) => {
                if let EventBody::RunCreated(created) = &event.body {
                    tags::check(&created.tags).map_err(wrong)?;
                }
                events += 1;
                origins.look(rows.last().map(|row| &row.run), &event);
            }
            Item::Text(version, None) => missing.push((line, version)),
            Item::Hook { token, .. } if !options.as_is => {
                let taken =
                    host.store.world.hook(&token)?.filter(|_| !crate::archive::export::masking::is_made_up(&token));
                if let Some(hook) = taken {
                    return Err(HostError::Conflict(format!(
                        "line {line}: the hook with the token {token:?} is open for run {}, and one run at a time can have it",
                        hook.run
                    )));
                }
            }
            Item::Letter { .. } if rows.last().is_some_and(|row| row.status.is_terminal()) => {
                return Err(wrong("a message waits for a run that has ended".into()));
            }
            _ => {}
        }
    }
    let needed =
        missing.iter().find(|(_, version)| rows.iter().any(|row| !row.status.is_terminal() && row.version == *version));
    if let Some((line, version)) = needed
        && host.store.world.program(version)?.is_none()
    {
        let short = version.short();
        let why = format!("the text of version {short} was missing where this run came from, and is not here either");
        return Err(HostError::Invalid(format!("line {line}: {why}: the run could not go on")));
    }
    let names = if options.as_is { Names::same() } else { origins.names(&header.run, root) };
    Ok(Plan { header, names, rows, events })
}

/// No run has these names.
fn free(host: &Shared, runs: &[RunId]) -> Result<(), HostError> {
    for run in runs {
        if host.store.world.row(run)?.is_some() {
            let text = format!("there is a run {run} already: import the file under another id");
            return Err(HostError::Conflict(text));
        }
    }
    Ok(())
}

/// Input that is kept as it is read.
struct Spooled<'a, R> {
    input: R,
    spool: &'a mut std::fs::File,
}

impl<R: Read> Read for Spooled<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.spool.write_all(&buffer[..read])?;
        Ok(read)
    }
}

fn under_way(world: &dyn World) -> Result<Vec<RunId>, WorldError> {
    Ok(meta::runs(world.meta(meta::IMPORTS)?.as_deref()))
}

/// Removes what an import left that did not come to its end: its host died. What another host is importing at this moment is
/// held by that host, and stays.
pub(crate) fn clean_up(host: &Arc<Shared>) -> Result<(), WorldError> {
    let left = under_way(&*host.store.world)?;
    if left.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        "an import of {} runs was cut off: what there is of it is removed; import the file again",
        left.len()
    );
    undo(host, &left)
}

/// Without the committer: this is also for a host that is only starting.
fn undo(host: &Arc<Shared>, runs: &[RunId]) -> Result<(), WorldError> {
    let mut gone = Vec::new();
    for run in runs.iter().rev() {
        let world = &*host.store.world;
        match world.row(run)? {
            None => {}
            Some(row) if row.status.is_terminal() => drop(world.write(vec![Writing::Delete { run: run.clone() }])?),
            Some(_) => {
                // Held by this host, if it is importing; else by none, or by one that does.
                let Some(claim) = world.claim_run(run, &host.store.lease.holder(), host.store.clock.now())? else {
                    continue;
                };
                let mut end = Commit::new(run.clone(), claim.fence);
                end.row = Some(Row { status: Status::Cancelled, wake_at: None, ..claim.row });
                world.write(vec![Writing::Commit(Box::new(end)), Writing::Delete { run: run.clone() }])?;
            }
        }
        gone.push(run.clone());
    }
    meta::change_runs(&*host.store.world, meta::IMPORTS, |all| all.retain(|run| !gone.contains(run)))
}
