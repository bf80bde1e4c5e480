//! Runs as files: with their history, their exact texts and all they showed. `host/docs/export.md` describes the format.

pub(crate) mod format;
pub(crate) mod lines;
pub(crate) mod masking;
pub(crate) mod read;
mod write;

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::sync::Arc;

use durhai_core::replay::LogLine;
use durhai_core::{Event, RunId, Value, Version};
use durhai_world::Row;
use read::{Item, Reader};
use serde::{Deserialize, Serialize};

use crate::error::HostError;
use crate::logs::replay::Script;
use crate::shared::Shared;
use crate::view::OutputEntry;
pub use format::ExportHeader;
pub(crate) use write::unwritten;

/// What goes into the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExportOptions {
    /// The runs it started too, and those that continue it, and theirs.
    pub children: bool,
    /// Tokens of hooks as they are. Otherwise those that the host made up are replaced, wherever they stand: a reader of the
    /// file cannot speak to the run. A token that a script chose is in its text anyway, and stays.
    pub tokens: bool,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportSummary {
    pub runs: u64,
    pub events: u64,
    pub bytes: u64,
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct ExportError {
    /// From 1.
    pub line: u64,
    pub why: String,
}

impl From<ExportError> for HostError {
    fn from(error: ExportError) -> Self {
        HostError::Invalid(error.to_string())
    }
}

/// See [`Run::export`](crate::Run::export).
pub(crate) async fn export(
    host: &Arc<Shared>,
    run: &RunId,
    options: ExportOptions,
    out: impl Write + Send + 'static,
) -> Result<ExportSummary, HostError> {
    let host = host.clone();
    let id = run.clone();
    let now = host.store.clock.now();
    let tokio = host.tokio.clone();
    let work = move || write::export(&*host.store.world, &id, now, options, out);
    tokio.spawn_blocking(work).await.map_err(|_| HostError::Closed)?
}

/// An exported file, read without a store: to replay it, to look at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    pub header: ExportHeader,
    /// The texts of all versions in it, those of the standard library among the modules.
    pub texts: BTreeMap<Version, Script>,
    /// The one that was asked for first.
    pub runs: Vec<ExportedRun>,
}

/// One run of an exported file.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportedRun {
    pub row: Row,
    pub events: Vec<Event>,
    pub logs: Vec<LogLine>,
    /// By stream.
    pub outputs: BTreeMap<String, Vec<OutputEntry>>,
    pub state: BTreeMap<String, Value>,
}

impl Exported {
    /// Reads a file, all of it into memory, and checks all there is to check: its digest, the digests of the texts, every
    /// log against the table of legal events.
    pub fn read(input: impl BufRead) -> Result<Exported, ExportError> {
        let mut reader = Reader::open(input)?;
        let mut exported = Exported { header: reader.header().clone(), texts: BTreeMap::new(), runs: Vec::new() };
        while let Some(item) = reader.next()? {
            let Some(run) = exported.runs.last_mut() else {
                match item {
                    Item::Text(version, bundle) => exported.add_text(version, bundle),
                    Item::Run { row } => exported.runs.push(ExportedRun::new(row)),
                    _ => {}
                }
                continue;
            };
            match item {
                Item::Text(version, bundle) => exported.add_text(version, bundle),
                Item::Run { row } => exported.runs.push(ExportedRun::new(row)),
                Item::Event(event) => run.events.push(*event),
                Item::Log(line) => run.logs.extend(serde_json::from_value(line)),
                Item::Output { stream, entry } => {
                    let entries = run.outputs.entry(stream).or_default();
                    let at = entry.get("at").and_then(Value::as_u64).unwrap_or(0);
                    let value = entry.get("value").cloned().unwrap_or_default();
                    entries.push(OutputEntry { index: entries.len() as u64, at, value });
                }
                Item::State { key, value } => drop(run.state.insert(key, value)),
                Item::Entry { .. } | Item::Value { .. } | Item::Hook { .. } | Item::Letter { .. } => {}
            }
        }
        Ok(exported)
    }

    fn add_text(&mut self, version: Version, bundle: Option<durhai_engine::Bundle>) {
        let script = bundle.map(|bundle| Script {
            source: bundle.source,
            modules: bundle.modules,
            edition: Some(bundle.edition),
        });
        self.texts.extend(script.map(|script| (version, script)));
    }

    /// The run of that name, or the one that was asked for.
    pub fn run(&self, id: Option<&RunId>) -> Option<&ExportedRun> {
        let id = id.unwrap_or(&self.header.run);
        self.runs.iter().find(|run| run.row.run == *id)
    }
}

impl ExportedRun {
    fn new(row: Box<Row>) -> Self {
        ExportedRun {
            row: *row,
            events: Vec::new(),
            logs: Vec::new(),
            outputs: BTreeMap::new(),
            state: BTreeMap::new(),
        }
    }
}
