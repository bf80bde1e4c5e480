//! What lists, pages and programs see: plain data, the same JSON everywhere.

use std::collections::BTreeMap;
use std::fmt;

use durhai_core::event::Origin;
use durhai_core::replay::{Divergence, Emitted, LogLine};
use durhai_core::{Event, Failure, Millis, RunId, Status, StepId, Value, Version};
use durhai_engine::trace::Snapshot;
use serde::{Deserialize, Serialize};

use crate::versions::compat::report::CompatReport;

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
    /// What the script set with `set_state`: a map.
    pub state: Value,
    /// What it said with `set_status`.
    pub status_text: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub parent: Option<RunId>,
    pub created_at: Millis,
    pub started_at: Option<Millis>,
    pub ended_at: Option<Millis>,
    /// What its open tasks wait for, one entry each: `{ kind, step_id, name, until, site }`.
    pub waiting_for: Vec<Value>,
    /// The host that holds it, where one run is looked at that has not ended. None while it waits outside of any host's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<HolderView>,
    /// What it waits for before it begins, where one run is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<PlaceView>,
    /// When it begins, if it was to begin later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins_at: Option<Millis>,
    /// Why it is parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The run whose log this one took over, and up to which event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Runs that took over a part of this one's log, where one run is looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forks: Vec<RunId>,
    /// The run that this one tries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<RunId>,
    /// The run that tries this one again, where one run is looked at: asking for it once more gives that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried_as: Option<RunId>,
    /// The number of events in its log.
    #[serde(default)]
    pub events: u64,
    /// 1, or one more than that of the run that was tried again.
    #[serde(default = "one")]
    pub attempt: u32,
    /// Among the runs that wait for their workflow's `concurrency`: higher goes first.
    #[serde(default)]
    pub priority: i32,
    /// How long it may take from its start on, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// The run this one continues, by `continue_as_new`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<RunId>,
    /// The run that continues this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<RunId>,
}

/// The host that holds a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderView {
    /// As in [`HostView`].
    pub id: u64,
    pub label: String,
    /// It is the host that was asked.
    pub here: bool,
}

/// A host of the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostView {
    /// A number that no other host of the world has, now or later.
    pub id: u64,
    /// What it says of itself.
    pub label: String,
    pub since: Millis,
    /// `false`: it ended, or was not heard of for its lease.
    pub alive: bool,
    /// Milliseconds.
    pub lease: Millis,
    /// Runs that it holds: those in its memory.
    pub runs: u64,
    /// It is the host that was asked.
    pub here: bool,
}

/// Where a run waits that has not begun: for one of the places that its workflow's `concurrency` gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceView {
    /// The workflow, or `workflow=key`.
    pub gate: String,
    pub limit: u32,
    /// How many begin before it.
    pub ahead: u64,
    /// How many wait, it among them.
    pub waiting: u64,
    /// How many have a place, asleep or parked as they may be.
    pub inside: u64,
    /// Some of these, the oldest first.
    pub holders: Vec<RunId>,
}

fn one() -> u32 {
    1
}

/// One value that a run emitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputEntry {
    /// Its place in its stream, from 0.
    pub index: u64,
    pub at: Millis,
    pub value: Value,
}

/// One of a run's output streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamView {
    pub name: String,
    /// How many values it holds.
    pub entries: u64,
}

/// A question that a run has put to a person, by `suspend`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suspension {
    pub step_id: StepId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    pub payload: Value,
    /// JSON Schema of the data that is wanted; null: anything.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub schema: Value,
    pub since: Millis,
    /// When the run goes on without an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Millis>,
}

/// What is sent to a hook: the payload its script gets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HookRequest {
    /// `POST`, `GET`, …
    pub method: String,
    /// By lower-case name; repeated ones joined by `, `, which means the same (RFC 9110).
    pub headers: BTreeMap<String, String>,
    pub query: BTreeMap<String, QueryValue>,
    /// What the hook's schema is about; for a request without a body its `query` is.
    pub body: Value,
}

/// What a query says under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum QueryValue {
    /// `?id=1`: a text.
    One(String),
    /// `?id=1&id=2`: all of them in their order, an array of texts.
    Several(Vec<String>),
}

impl QueryValue {
    /// Adds what is said once more under the same name.
    pub fn push(&mut self, value: String) {
        match self {
            QueryValue::One(first) => *self = QueryValue::Several(vec![std::mem::take(first), value]),
            QueryValue::Several(all) => all.push(value),
        }
    }
}

impl<T: Into<String>> From<T> for QueryValue {
    fn from(value: T) -> Self {
        QueryValue::One(value.into())
    }
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
    /// Its `const WORKFLOW`, as it is written; null without one.
    #[serde(default)]
    pub header: Value,
    /// Its live runs by version, that which serves first; only where [`Host::workflow_list`](crate::Host::workflow_list)
    /// made it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub live: Vec<LiveVersion>,
    /// What `check` finds wrong in the text that serves, one text each, with carets. It serves all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The text in the folder of this host does not serve, as one that another host saved later does, in all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<Behind>,
}

/// A text that does not serve, and the one that does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// What this host has.
    pub version: Version,
    /// What serves in all hosts that share the world.
    pub serving: Version,
    /// When that was saved, or brought back.
    pub saved_at: Millis,
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this host has version {}, and version {} serves in all hosts, as another one saved it later. Bring the text here up to date; or \
             save what is to serve while a host runs, or start one that has it with --take-over (Serves::TakeOver)",
            self.version.short(),
            self.serving.short()
        )
    }
}

/// Live runs that have one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveVersion {
    pub version: Version,
    pub runs: u64,
    pub serving: bool,
}

/// How many runs are alike in this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCount {
    pub workflow: String,
    pub version: Version,
    pub status: Status,
    /// At least 1.
    pub runs: u64,
}

/// A version of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView {
    pub version: Version,
    /// When a host saw it first; none for one that only a run knows.
    pub first_seen: Option<Millis>,
    /// New starts get it.
    pub serving: bool,
    /// Runs that have it and have not ended.
    pub live: u64,
    /// All runs that have it.
    pub runs: u64,
    /// Of its texts as they are stored; 0: they are not.
    pub bytes: u64,
}

/// The texts of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceView {
    pub version: Version,
    pub workflow: String,
    /// By file: `order.rhai`, `lib/money.rhai`, and `std/saga` for what is of the standard library.
    pub files: BTreeMap<String, String>,
}

/// A workflow that starts by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleView {
    pub workflow: String,
    pub cron: String,
    /// IANA name.
    pub timezone: String,
    /// `skip`, `allow` or `queue`: what happens when the run before has not ended.
    pub overlap: String,
    /// `once` or `skip`: what happens to times that passed while no host was there.
    pub missed: String,
    pub paused: bool,
    /// When it is due next; none while it is paused, or never again.
    pub next: Option<Millis>,
    /// The next five times, that one first; none while it is paused.
    #[serde(default)]
    pub upcoming: Vec<Millis>,
    /// The time it was started for last.
    pub last: Option<Millis>,
    /// The run of that time.
    pub last_run: Option<RunId>,
    /// Times that wait for the end of the run before (`overlap: "queue"`).
    pub queued: u64,
}

/// Which finished runs to remove.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Purge {
    /// Those that ended before this moment.
    pub ended_before: Option<Millis>,
    /// Terminal statuses; empty: all of them.
    pub status: Vec<Status>,
    pub workflow: Option<String>,
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Purged {
    pub runs: u64,
    /// Versions of workflows that nothing referred to any more.
    pub texts: u64,
}

/// How far a run is that is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// In its log, those counted that are not durable yet.
    pub events: u64,
    /// When it goes on by itself at the latest, whatever its steps do.
    pub wake_at: Option<Millis>,
}

/// A line of a run's log, with its place in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// From 0.
    pub index: u64,
    #[serde(flatten)]
    pub line: LogLine,
}

/// What became durable in one commit of one run: of its creation, a turn of it, or what was done to it from outside. Without
/// events, lines and values it says that the status, the status text or the state changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    pub run: RunId,
    pub workflow: String,
    /// After it.
    pub version: Version,
    pub events: Vec<Event>,
    pub lines: Vec<LogLine>,
    /// What it emitted, in order. The place of each in its stream is not known here: read the stream.
    pub emitted: Vec<Emitted>,
    /// The status after it.
    pub status: Status,
}

/// What happened to a file of the scripts folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Report {
    /// A new version serves.
    Loaded { workflow: String, version: Version },
    /// A new version was held against the live runs of its workflow. What follows says whether it serves.
    Gated(Box<CompatReport>),
    /// The text is wrong or cannot be read; the last good version, if there was one, still serves.
    Broken { workflow: String, error: String },
    /// The file is gone; live runs go on.
    Removed { workflow: String },
    /// This version serves, and `check` finds these errors in it, one text each.
    Doubtful { workflow: String, version: Version, findings: Vec<String> },
    /// The scripts folder cannot be looked at (any more); what served before still does.
    FolderGone { folder: String, error: String },
    /// It can again.
    FolderBack { folder: String },
}

/// Whether the host can do its work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub ok: bool,
    pub error: Option<String>,
    /// What an operator should look at although the host does its work: the scripts folder is gone, attempts wait for a secret that
    /// is not set or a step file that does not compile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The result of running a log again. Nothing was written and no step was started.
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
    /// How many of the events were used: fewer than there are where a result was replaced and the rest does not fit any
    /// more, or where another text need not fail as the run did.
    #[serde(default)]
    pub used: u64,
    /// What the open tasks wait for at the end of the log, as in [`RunView::waiting_for`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<Value>,
    /// What the script asks for beyond the log: what it would do next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<NextCall>,
    /// What there is to see where it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Snapshot>,
    /// How many statements were run, where they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statements: Option<u64>,
}

/// A durable call that a log does not have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NextCall {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_id: Option<StepId>,
    /// `use_step("charge")`, `a timer`, …
    pub what: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub input: Value,
    /// `18:5`, or `lib/money:3:9`.
    pub site: String,
    /// The line of the script there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

impl ReplayView {
    /// A log of so many events that came to this status, and nothing else known of it.
    pub(crate) fn new(status: Status, events: u64, micros: u64) -> Self {
        ReplayView {
            status,
            output: Value::Null,
            error: None,
            events,
            divergence: None,
            micros,
            used: events,
            waiting_for: Vec::new(),
            next: Vec::new(),
            stopped: None,
            statements: None,
        }
    }
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
