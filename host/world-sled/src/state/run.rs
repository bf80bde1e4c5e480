//! One run, as much of it as a write must know.

use std::sync::Arc;

use durhai_core::{Millis, RunId, Status};
use durhai_world::{Admission, Claim, Row, WorldError};

use crate::batch::Batch;
use crate::disk::Disk;
use crate::entries::{admission_of, key_of, row_of, taken, urgent};
use crate::keys;

/// What a write must know of a run, so that a commit reads nothing.
pub struct Run {
    pub key: u64,
    /// 0: no host holds it.
    pub fence: u64,
    /// Known only while it is held.
    pub last_seq: u64,
    pub tries: u32,
    /// The messages that wait are those after `taken` up to `last_message`.
    pub taken: u64,
    pub last_message: u64,
    /// The last urgent one of them; 0: there is none.
    pub urgent: u64,
    pub row: Box<Row>,
    /// The next index of each stream that was written to since the claim.
    pub streams: Vec<(Arc<str>, u64)>,
    /// The tokens of its open hooks. Known only while it is held.
    pub hooks: Vec<Arc<str>>,
    /// The tokens that it reserved.
    pub reserved: Vec<Arc<str>>,
    pub admission: Admission,
}

impl Run {
    pub fn of_id(disk: &Disk, id: &RunId) -> Result<Option<Self>, WorldError> {
        match key_of(disk, id)? {
            Some(key) => Self::of_key(disk, key),
            None => Ok(None),
        }
    }

    pub fn of_key(disk: &Disk, key: u64) -> Result<Option<Self>, WorldError> {
        let Some(row) = row_of(disk, key)? else { return Ok(None) };
        let messages = keys::one(keys::MESSAGE, key);
        let first = disk.prefix(messages).next().transpose()?.and_then(|(key, _)| keys::last_number(&key));
        let (taken, last_message) = match first {
            Some(first) => {
                let last = disk.last(messages)?.and_then(|(key, _)| keys::last_number(&key));
                (first - 1, last.unwrap_or(first))
            }
            None => {
                let taken = taken(disk, key)?;
                (taken, taken)
            }
        };
        let urgent = match first {
            Some(_) => urgent(disk, key)?.unwrap_or(0),
            None => 0,
        };
        let tries = disk.get(keys::one(keys::TRIES, key))?;
        let tries = tries.and_then(|value| Some(u32::from_be_bytes(*value.first_chunk()?))).unwrap_or(0);
        let admission = match row.concurrency {
            Some(_) => admission_of(disk.get(keys::one(keys::ADMISSION, key))?.as_deref()),
            None => Admission::Admitted,
        };
        Ok(Some(Run { tries, taken, last_message, urgent, ..Run::new(key, row, admission) }))
    }

    /// One of which nothing is there but its row.
    pub fn new(key: u64, row: Row, admission: Admission) -> Self {
        Run {
            key,
            fence: 0,
            last_seq: 0,
            tries: 0,
            taken: 0,
            last_message: 0,
            urgent: 0,
            row: Box::new(row),
            streams: Vec::new(),
            hooks: Vec::new(),
            reserved: Vec::new(),
            admission,
        }
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
            _ if self.last_message == self.taken || self.row.status == Status::Parked => self.row.wake_at,
            _ if self.has_begun() => Some(0),
            _ => self.row.wake_at,
        }
    }

    /// A host must deal with it before it begins.
    pub fn is_urgent(&self) -> bool {
        self.urgent > self.taken && self.row.status != Status::Parked
    }

    /// Or would begin with anything that is in its inbox.
    fn has_begun(&self) -> bool {
        self.row.status != Status::Pending || self.row.wake_at.is_none()
    }

    /// Whether its script may go on or begin.
    pub fn is_admitted(&self, now: Millis) -> bool {
        self.admission == Admission::Admitted && (self.has_begun() || self.row.wake_at <= Some(now))
    }

    /// Lists it among the runs that become due.
    pub fn queue(&self, batch: &mut Batch) {
        if let Some(due) = self.due() {
            batch.insert(&keys::two(keys::DUE, due, self.key), &[]);
        }
    }

    /// A host has it from now on, under the next fence.
    pub fn hold(&mut self, id: &RunId, admitted: bool, next_fence: &mut u64, batch: &mut Batch) -> Claim {
        self.fence = *next_fence;
        *next_fence += 1;
        batch.insert(&keys::one(keys::HELD, self.key), &[]);
        let Run { fence, tries, last_seq, .. } = *self;
        Claim { run: id.clone(), fence, tries, row: (*self.row).clone(), last_seq, admitted }
    }
}
