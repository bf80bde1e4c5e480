//! What is kept in memory: the runs that are held, and for the length of one batch those it touches.

use std::collections::HashMap;
use std::sync::Arc;

use durhai_core::{Millis, RunId, Status};
use durhai_world::{Admission, Claim, Row, WorldError};

use crate::batch::Batch;
use crate::concurrency::{Admitted, Semaphore};
use crate::counts::RunCounts;
use crate::disk::Disk;
use crate::keys;
use crate::zones::Zones;

/// All that must not change while a batch is put together.
pub struct State {
    pub runs: HashMap<RunId, Run>,
    /// Limits by key: those under which runs wait, and for the length of one batch those it touches.
    pub semaphores: HashMap<String, Semaphore>,
    pub admitted: Admitted,
    /// Tokens that held runs reserved, each with the run.
    pub reserved: HashMap<Arc<str>, RunId>,
    pub counts: RunCounts,
    pub zones: Zones,
    pub next_key: u64,
    pub next_fence: u64,
}

/// What a write must know of a run, so that a commit reads nothing.
pub struct Run {
    pub key: u64,
    /// 0: nobody holds it.
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
    /// Its part of [`State::reserved`].
    pub reserved: Vec<Arc<str>>,
    pub admission: Admission,
}

impl State {
    /// Reads where the counters stand, and ends the claims of a process that died.
    pub fn recover(disk: &Disk) -> Result<Self, WorldError> {
        let mut next_key = 1;
        // What a deleted run left may be of a later run than the last row.
        for tag in [keys::ROW, keys::GARBAGE] {
            if let Some((key, _)) = disk.prefix([tag]).next_back().transpose()? {
                next_key = next_key.max(keys::first_number(&key).unwrap_or(0) + 1);
            }
        }
        // Fences need not be stored: those of this process are higher than those of all before.
        let next_fence = (disk.count_open()? << 32) + 1;
        loop {
            let mut batch = Batch::default();
            let mut found = 0;
            for entry in disk.prefix([keys::HELD]).take(1000) {
                found += 1;
                let held = entry?.0;
                batch.remove(&held);
                let Some(run) = Run::of_key(disk, keys::last_number(&held).unwrap_or(0))? else { continue };
                batch.insert(&keys::one(keys::TRIES, run.key), &(run.tries + 1).to_be_bytes());
                run.queue(&mut batch);
            }
            if found == 0 {
                break;
            }
            disk.apply(batch)?;
        }
        disk.sync()?;
        // Damaged ones are for `verify` to report; they come from the rows, and a store that opens can be mended.
        let (counts, zones) = match (RunCounts::read(disk)?, Zones::read(disk)?) {
            (Some(counts), Some(zones)) => (counts, zones),
            _ => crate::format::recount(disk)?,
        };
        Ok(State {
            runs: HashMap::new(),
            semaphores: HashMap::new(),
            admitted: Admitted::default(),
            reserved: HashMap::new(),
            counts,
            zones,
            next_key,
            next_fence,
        })
    }

    /// The run, read if it is not at hand. `None`: there is none.
    pub fn run(&mut self, disk: &Disk, id: &RunId) -> Result<Option<&mut Run>, WorldError> {
        if !self.runs.contains_key(id) {
            let Some(run) = Run::of_id(disk, id)? else { return Ok(None) };
            self.runs.insert(id.clone(), run);
        }
        Ok(self.runs.get_mut(id))
    }

    /// Claims a run that nobody holds and that is in `runs`; `None` if it is not.
    pub fn take(
        &mut self,
        disk: &Disk,
        id: &RunId,
        now: Millis,
        batch: &mut Batch,
    ) -> Result<Option<Claim>, WorldError> {
        let Some(run) = self.runs.get_mut(id) else { return Ok(None) };
        if let Some(due) = run.due() {
            batch.remove(&keys::two(keys::DUE, due, run.key));
        }
        run.last_seq = last_seq(disk, run.key)?;
        for entry in disk.prefix(keys::one(keys::OPEN, run.key)) {
            run.hooks.extend(keys::name_of_run(&entry?.0).map(Arc::from));
        }
        let admitted = run.is_admitted(now);
        Ok(Some(run.hold(id, admitted, &mut self.next_fence, batch)))
    }

    /// Forgets a run that was only looked at.
    pub fn let_go(&mut self, id: &RunId) {
        if self.runs.get(id).is_some_and(|run| run.fence == 0) {
            self.runs.remove(id);
        }
    }
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
        let mut messages = disk.prefix(keys::one(keys::MESSAGE, key));
        let first = messages.next().transpose()?.and_then(|(key, _)| keys::last_number(&key));
        let (taken, last_message) = match first {
            Some(first) => {
                let last = messages.next_back().transpose()?.and_then(|(key, _)| keys::last_number(&key));
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

    /// Somebody must deal with it before it begins.
    pub fn is_urgent(&self) -> bool {
        self.urgent > self.taken && self.row.status != Status::Parked
    }

    /// Or would begin with anything that is in its inbox.
    fn has_begun(&self) -> bool {
        self.row.status != Status::Pending || self.row.wake_at.is_none()
    }

    /// Whether its script may go on or begin.
    fn is_admitted(&self, now: Millis) -> bool {
        self.admission == Admission::Admitted && (self.has_begun() || self.row.wake_at <= Some(now))
    }

    /// Lists it among the runs that become due.
    pub fn queue(&self, batch: &mut Batch) {
        if let Some(due) = self.due() {
            batch.insert(&keys::two(keys::DUE, due, self.key), &[]);
        }
    }

    pub fn hold(&mut self, id: &RunId, admitted: bool, next_fence: &mut u64, batch: &mut Batch) -> Claim {
        self.fence = *next_fence;
        *next_fence += 1;
        batch.insert(&keys::one(keys::HELD, self.key), &[]);
        let Run { fence, tries, last_seq, .. } = *self;
        Claim { run: id.clone(), fence, tries, row: (*self.row).clone(), last_seq, admitted }
    }
}

/// How an admission is stored: `None` where nothing is.
pub fn value_of(admission: Admission) -> Option<&'static [u8]> {
    match admission {
        Admission::NotArrived => None,
        Admission::Waiting => Some(b"w"),
        Admission::Admitted => Some(b"i"),
    }
}

/// Undoes [`value_of`].
pub fn admission_of(value: Option<&[u8]>) -> Admission {
    match value {
        Some(b"i") => Admission::Admitted,
        Some(b"w") => Admission::Waiting,
        _ => Admission::NotArrived,
    }
}

/// The key of a run.
pub fn key_of(disk: &Disk, id: &RunId) -> Result<Option<u64>, WorldError> {
    let Some(value) = disk.get(keys::named(keys::ID, id.as_str()))? else { return Ok(None) };
    let key = keys::last_number(&value).ok_or_else(|| disk.corrupt(format!("run {id} has no key")))?;
    Ok(Some(key))
}

/// The row of the run with this key.
pub fn row_of(disk: &Disk, key: u64) -> Result<Option<Row>, WorldError> {
    let Some(value) = disk.get(keys::one(keys::ROW, key))? else { return Ok(None) };
    match serde_json::from_slice(&value) {
        Ok(row) => Ok(Some(row)),
        Err(error) => Err(disk.corrupt(format!("the row of run number {key} cannot be read: {error}"))),
    }
}

/// The index of the last message that a run took.
pub fn taken(disk: &Disk, key: u64) -> Result<u64, WorldError> {
    let taken = disk.get(keys::one(keys::TAKEN, key))?;
    Ok(taken.and_then(|value| keys::last_number(&value)).unwrap_or(0))
}

/// The index of the last urgent message that waits for a run.
pub fn urgent(disk: &Disk, key: u64) -> Result<Option<u64>, WorldError> {
    Ok(disk.get(keys::one(keys::URGENT, key))?.and_then(|value| keys::last_number(&value)))
}

/// The sequence number of the last event in a log.
pub fn last_seq(disk: &Disk, key: u64) -> Result<u64, WorldError> {
    let Some((name, value)) = disk.prefix(keys::one(keys::LOG, key)).next_back().transpose()? else { return Ok(0) };
    match (keys::last_number(&name), keys::split_counted(&value)) {
        (Some(first), Some((count, _))) => Ok(first + u64::from(count) - 1),
        _ => Err(disk.corrupt(format!("the last chunk of run number {key} cannot be read"))),
    }
}
