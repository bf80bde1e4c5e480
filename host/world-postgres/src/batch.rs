//! A batch of writes as the server takes it, and what it answers.
//!
//! A *plain* turn only appends events to the log of a run that is held: nothing needs to be looked up for it, and all of them
//! are one insert. So are turns that change the row beside that, and so are new runs, each kind at once, as long as no limit,
//! hook or message has to do with them. Everything else is an operation, made by the server in the order of the batch,
//! after all these. What an operation of the batch touches is left to operations from there on, so that the outcome is that of
//! the order in which the writes were handed in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use durhai_core::RunId;
use durhai_world::{Holder, Notice, Refused, Row, Write, Written};
use serde_json::Value;

use crate::bell::Ring;

/// What a batch is for the server.
#[derive(Default)]
pub struct Batch<'w> {
    pub keys: Vec<i64>,
    pub firsts: Vec<i64>,
    pub counts: Vec<i32>,
    pub chunks: Vec<&'w [u8]>,
    pub operations: Vec<Value>,
    /// New runs that are made at once.
    pub creates: Vec<Value>,
    /// Rows that are written at once, and how that changes the counts of runs.
    pub rows: Vec<Value>,
    pub changes: HashMap<Counted, i64>,
    /// What the operations name by number, from 1 on.
    pub blobs: Vec<&'w [u8]>,
    /// Runs and limits that the operations touch: they are locked in order, before anything is done.
    pub runs: Vec<String>,
    pub limits: Vec<String>,
    /// Names of workflows and versions, with the numbers that the operations have for them.
    pub names: Vec<(String, i32)>,
    pub asked: Vec<Asked>,
}

/// What batches came to.
#[derive(Default)]
pub struct Answers {
    /// What became of each write.
    pub written: Vec<Result<Written, Refused>>,
    /// What those of this process may wait for.
    pub notices: Vec<Notice>,
    /// What other hosts have to hear.
    pub rings: Vec<Ring>,
}

/// How a run is counted: its workflow, its version, its status.
pub type Counted = (i32, i32, i16);

/// What is kept in memory of the row of a run that is held.
pub type Kept = (Counted, Arc<BTreeMap<String, String>>);

/// What is needed of a write to make its answer.
#[derive(Debug)]
pub enum Asked {
    Plain {
        run: RunId,
        fence: u64,
        last_seq: u64,
        progress: bool,
    },
    /// A turn that only appends events and changes the row.
    Row(Box<Turn>),
    CreateAtOnce {
        number: usize,
        new: Box<New>,
    },
    /// A plain turn of a host that is dead.
    Refused(RunId),
    Create(Box<New>),
    Commit(Box<Turn>),
    Send(RunId),
    Release {
        run: RunId,
        fence: u64,
    },
    Delete,
}

#[derive(Debug)]
pub struct Turn {
    pub run: RunId,
    pub fence: u64,
    pub last_seq: Option<u64>,
    pub progress: bool,
    pub ends: bool,
    /// The row that it leaves.
    pub row: Option<Kept>,
    pub create: Vec<New>,
}

#[derive(Debug)]
pub struct New {
    pub row: Row,
    pub last_seq: u64,
    pub host: Option<i32>,
    pub counted: Counted,
}

impl Batch<'_> {
    pub fn is_plain(&self) -> bool {
        self.operations.is_empty() && self.creates.is_empty() && self.rows.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.is_plain() && self.keys.is_empty()
    }

    /// The host of the plain turns is dead: they are refused, and the rest can be sent by another lane.
    pub fn without_claims(&mut self) {
        self.keys.clear();
        self.firsts.clear();
        self.counts.clear();
        self.chunks.clear();
        self.rows.clear();
        self.changes.clear();
        for create in &mut self.creates {
            // Another host takes it.
            create["host"] = Value::Null;
        }
        for asked in &mut self.asked {
            match asked {
                Asked::Plain { run, .. } => *asked = Asked::Refused(run.clone()),
                Asked::Row(turn) => *asked = Asked::Refused(turn.run.clone()),
                _ => {}
            }
        }
    }

    /// Names of workflows and versions in writes.
    pub fn names_in(writes: &[Write]) -> impl Iterator<Item = &str> {
        let rows = writes.iter().flat_map(|write| {
            let own = match write {
                Write::Commit(commit) => commit.row.as_ref(),
                _ => None,
            };
            own.into_iter().chain(write.creates().iter().map(|create| &create.row))
        });
        rows.flat_map(|row| [row.workflow.as_str(), row.version.as_str()])
    }

    /// Holders for whom runs are created, and when.
    pub fn holders(writes: &[Write]) -> impl Iterator<Item = (&Holder, u64)> {
        let creates = writes.iter().flat_map(Write::creates);
        creates.filter_map(|create| Some((create.claim.as_ref()?, create.row.created_at)))
    }
}
