//! One run of the specification.

use std::collections::BTreeMap;
use std::sync::Arc;

use durhai_core::{Millis, Status};

use crate::{Admission, Chunk, InboxMessage, Row};

pub struct Run {
    /// Its place in the order of creation.
    pub key: u64,
    pub row: Row,
    pub log: Vec<Chunk>,
    pub inbox: Vec<InboxMessage>,
    pub last_message: u64,
    pub streams: BTreeMap<Arc<str>, Vec<Vec<u8>>>,
    pub values: BTreeMap<Arc<str>, Vec<u8>>,
    pub held: Option<Held>,
    pub tries: u32,
    /// The last holder died: the next claim counts as one more try.
    pub died: bool,
    pub admission: Admission,
}

pub struct Held {
    pub by: Arc<str>,
    pub fence: u64,
}

impl Run {
    pub fn new(key: u64, row: Row, events: Chunk) -> Self {
        let admission = if row.concurrency.is_some() { Admission::NotArrived } else { Admission::Admitted };
        let mut run = Run {
            key,
            row: row.clone(),
            log: Vec::new(),
            inbox: Vec::new(),
            last_message: 0,
            streams: BTreeMap::new(),
            values: BTreeMap::new(),
            held: None,
            tries: 0,
            died: false,
            admission,
        };
        run.add(events);
        run.set_row(row);
        run
    }

    pub fn last_seq(&self) -> u64 {
        self.log.last().map_or(0, |chunk| chunk.first + u64::from(chunk.count) - 1)
    }

    /// When it wants to be claimed.
    pub fn due(&self) -> Option<Millis> {
        if self.is_urgent() { Some(0) } else { self.ready_at() }
    }

    /// When it goes on, begins or arrives at its limit.
    pub fn ready_at(&self) -> Option<Millis> {
        match self.admission {
            Admission::Waiting => None,
            // A message cannot help a parked run; an operator must.
            _ if self.inbox.is_empty() || self.row.status == Status::Parked => self.row.wake_at,
            _ if self.has_begun() => Some(0),
            _ => self.row.wake_at,
        }
    }

    /// A host must deal with it before it begins.
    pub fn is_urgent(&self) -> bool {
        self.row.status != Status::Parked && self.inbox.iter().any(|message| message.urgent)
    }

    /// Or would begin with anything that is in its inbox.
    fn has_begun(&self) -> bool {
        self.row.status != Status::Pending || self.row.wake_at.is_none()
    }

    /// Whether its script may go on or begin.
    pub fn is_admitted(&self, now: Millis) -> bool {
        self.admission == Admission::Admitted && (self.has_begun() || self.row.wake_at <= Some(now))
    }

    /// Whether it is alive and counts under this limit.
    pub fn limited_by(&self, key: &str) -> bool {
        !self.row.status.is_terminal() && self.row.concurrency.as_ref().is_some_and(|its| its.key == key)
    }

    pub fn set_row(&mut self, row: Row) {
        self.row = Row { concurrency: self.row.concurrency.take(), run: self.row.run.clone(), ..row };
        if self.row.status.is_terminal() {
            self.row.wake_at = None;
            self.inbox.clear();
            self.held = None;
            self.tries = 0;
        }
    }

    pub fn add(&mut self, chunk: Chunk) {
        if chunk.count > 0 {
            self.log.push(chunk);
        }
    }

    pub fn put(&mut self, message: impl FnOnce(u64) -> InboxMessage) -> u64 {
        self.last_message += 1;
        self.inbox.push(message(self.last_message));
        self.last_message
    }
}
