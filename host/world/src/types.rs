//! What goes into a world and what comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use durhai_core::{Millis, RunId, Status, Version};
use serde::{Deserialize, Serialize};

/// A host, as the worlds know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Unique among the hosts of one world, and new at every start of a host.
    pub name: Arc<str>,
    /// How long a claim holds after the last [`renew`](crate::World::renew). A world that only one process can open may
    /// ignore it: there, the end of the process ends the claims.
    pub lease: Millis,
}

/// The right to write to a run, until somebody claims it with a higher fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub run: RunId,
    /// Grows with every claim of this run; a commit under an older fence is refused.
    pub fence: u64,
    /// How many claims in a row ended with the holder's death, this one's predecessors, without a commit that
    /// said `progress`.
    pub tries: u32,
    /// The row as it was when claimed.
    pub row: Row,
    /// The sequence number of the last event in the log.
    pub last_seq: u64,
}

/// What a world indexes about a run. Input, output and error are in the log, not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub run: RunId,
    pub workflow: String,
    pub version: Version,
    pub status: Status,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<RunId>,
    pub created_at: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Millis>,
    /// When the run wants to be claimed if nobody holds it: 0 at once, `None` only for a letter in its inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake_at: Option<Millis>,
    /// What the host wants to find again without reading the log (why the run is parked, what it waits for). At most a
    /// few hundred bytes; JSON, so that people can read it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub note: serde_json::Value,
}

/// Consecutive events of one run, encoded; what one commit brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The sequence number of the first event in it.
    pub first: u64,
    /// How many events it holds; at least 1 (a chunk of none is not stored).
    pub count: u32,
    pub bytes: Vec<u8>,
}

/// A message that waits for its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Grows by one with each letter of a run, from 1.
    pub index: u64,
    /// When it was sent, on the sender's clock.
    pub at: Millis,
    pub bytes: Vec<u8>,
}

/// One thing to be written.
#[derive(Debug, Clone)]
pub enum Write {
    /// A new run with the first events of its log (from sequence 1).
    Create(Box<Create>),
    /// A turn of a run that is held.
    Commit(Box<Commit>),
    /// A message into a run's inbox. Refused for a terminal or unknown run.
    Send { run: RunId, at: Millis, bytes: Vec<u8> },
    /// Gives a claim back: the run can be claimed again once it is due. The row keeps the `wake_at` of the last commit.
    Release { run: RunId, fence: u64 },
    /// Removes a terminal run: row, log, streams, inbox. Refused while it is not terminal.
    Delete { run: RunId },
}

/// A run to be created.
#[derive(Debug, Clone)]
pub struct Create {
    pub row: Row,
    pub events: Chunk,
    /// Claimed at once for this host, or left for whoever claims it when due.
    pub claim: Option<Holder>,
}

/// All that one turn changes, together or not at all.
#[derive(Debug, Clone)]
pub struct Commit {
    pub run: RunId,
    /// From the claim.
    pub fence: u64,
    /// New events; `first` must be one more than the last sequence number in the log. `None`: the log stays as it is.
    pub events: Option<Chunk>,
    /// The row, where it changed. A terminal status ends the claim, clears the inbox and `wake_at`.
    pub row: Option<Row>,
    /// Letters up to and including this index are dealt with.
    pub inbox_taken: Option<u64>,
    /// Entries for the run's streams, appended in order.
    pub append: Vec<(Arc<str>, Vec<u8>)>,
    /// The run got further than before: its `tries` start again at 0.
    pub progress: bool,
}

/// What an accepted write came to.
#[expect(clippy::large_enum_variant, reason = "one for each write, and soon taken apart")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// The claim of a created run, where one was asked for.
    Created(Option<Claim>),
    Committed,
    /// The index of the letter.
    Sent(u64),
    Released,
    Deleted,
}

/// Why one write was refused. Nothing of it was stored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// There is a run of that name. Its row, for the caller to compare.
    #[error("there is a run {} already", .0.run)]
    Exists(Box<Row>),
    /// Another host claimed the run since, or the claim was given back.
    #[error("the claim on run {0} is no longer held")]
    Fenced(RunId),
    /// The log does not end where the commit begins.
    #[error("the log of run {run} ends at event {found}, the commit begins at {expected}")]
    Sequence { run: RunId, expected: u64, found: u64 },
    #[error("run {0} has ended ({1})")]
    Terminal(RunId, Status),
    #[error("run {0} has not ended ({1})")]
    NotTerminal(RunId, Status),
    #[error("there is no run {0}")]
    Unknown(RunId),
}

/// The world itself failed.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// Somebody else has it open.
    #[error("{0}")]
    Locked(String),
    /// It cannot be read or written: a full disk, a lost connection. What was durable stays so.
    #[error("{0}")]
    Unavailable(String),
    /// What is stored cannot be what was written.
    #[error("{0}")]
    Corrupt(String),
    /// The caller asked for what cannot be: a cursor this world never gave out.
    #[error("{0}")]
    Invalid(String),
}

/// What to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Any of these; empty: all.
    pub status: Vec<Status>,
    pub workflow: Option<String>,
    /// All of these.
    pub tags: BTreeMap<String, String>,
    pub parent: Option<RunId>,
    /// Created at or after.
    pub since: Option<Millis>,
    /// Created before.
    pub until: Option<Millis>,
    /// Where the page before this one ended.
    pub cursor: Option<String>,
    /// At most so many rows; 0 means 100.
    pub limit: usize,
}

impl Query {
    /// Whether a row is among what is asked for, wherever the page begins and ends.
    pub fn matches(&self, row: &Row) -> bool {
        (self.status.is_empty() || self.status.contains(&row.status))
            && self.workflow.as_ref().is_none_or(|workflow| *workflow == row.workflow)
            && self.tags.iter().all(|(key, value)| row.tags.get(key) == Some(value))
            && self.parent.as_ref().is_none_or(|parent| row.parent.as_ref() == Some(parent))
            && self.since.is_none_or(|since| row.created_at >= since)
            && self.until.is_none_or(|until| row.created_at < until)
    }

    /// How many rows a page holds at most.
    pub fn page_size(&self) -> usize {
        if self.limit == 0 { 100 } else { self.limit }
    }
}

/// Some rows, newest first, and where to go on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    pub rows: Vec<Row>,
    /// There may be more: pass it as [`Query::cursor`].
    pub next: Option<String>,
}

/// Something others may wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A letter was put into the inbox of this run.
    Letter(RunId),
    /// A run that nobody holds may be due: it was created, released or written to.
    Due,
}

/// Who wants to hear of it. Must return quickly.
pub type Watcher = Arc<dyn Fn(Notice) + Send + Sync>;
