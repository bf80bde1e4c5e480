//! What lists, pages and programs see: plain data, the same JSON everywhere.

use std::collections::BTreeMap;

use durhai_core::event::Origin;
use durhai_core::replay::{Divergence, LogLine};
use durhai_core::{Event, Failure, Millis, RunId, Status, Value, Version};
use serde::{Deserialize, Serialize};

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    pub id: RunId,
    pub workflow: String,
    pub version: Version,
    pub status: Status,
    pub input: Value,
    pub output: Value,
    pub error: Option<Failure>,
    pub state: Value,
    pub status_text: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub parent: Option<RunId>,
    pub created_at: Millis,
    pub started_at: Option<Millis>,
    pub ended_at: Option<Millis>,
    /// What its open tasks wait for, one entry each: `{ kind, step_id, name, until, site }`.
    pub waiting_for: Vec<Value>,
    /// Why it is parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The run whose log this one took over, and up to which event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The number of events in its log.
    #[serde(default)]
    pub events: u64,
}

/// Some runs, newest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Listing {
    pub runs: Vec<RunView>,
    /// Pass it as the cursor of the next query.
    pub next: Option<String>,
}

/// A workflow that can be started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkflowView {
    pub name: String,
    /// The version that new starts get; none while no text of it ever compiled.
    pub version: Option<Version>,
    pub description: String,
    /// Why the text in the folder does not serve, where it does not.
    pub error: Option<String>,
}

/// A line of a run's log, with its place in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// From 0.
    pub index: u64,
    #[serde(flatten)]
    pub line: LogLine,
}

/// What became durable in one commit of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    pub run: RunId,
    pub events: Vec<Event>,
    pub lines: Vec<LogLine>,
    /// The status after it.
    pub status: Status,
}

/// What happened to a file of the scripts folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Report {
    /// A new version serves.
    Loaded { workflow: String, version: Version },
    /// The text is wrong; the last good version, if there was one, still serves.
    Broken { workflow: String, error: String },
    /// The file is gone; live runs go on.
    Removed { workflow: String },
}

/// Whether the host can do its work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub ok: bool,
    pub error: Option<String>,
}

/// What came of running a log again. Nothing was written and no step was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplayView {
    pub status: Status,
    pub output: Value,
    pub error: Option<Failure>,
    /// How many events the log has.
    pub events: u64,
    /// Where the script does not fit the log.
    pub divergence: Option<Divergence>,
    /// How long it took, the reading of the log not counted.
    pub micros: u64,
}

/// Counters since the host started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Batches written to the world, each with one flush.
    pub flushes: u64,
    /// Turns and other writes in them.
    pub writes: u64,
    /// Bytes of events written.
    pub event_bytes: u64,
    /// Runs in memory now.
    pub live: u64,
    /// Runs whose fibers were dropped while they waited.
    pub evicted: u64,
    /// Runs rebuilt from their log.
    pub rebuilt: u64,
    /// Attempts of steps begun.
    pub attempts: u64,
}
