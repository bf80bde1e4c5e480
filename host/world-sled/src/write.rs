//! The write path: a batch of writes becomes one batch of sled.

use durhai_core::{Millis, RunId};
use durhai_world::{Chunk, Commit, Create, Notice, Refused, Row, WorldError, Write, Written};
use sled::IVec;

use crate::batch::Batch;
use crate::disk::Disk;
use crate::keys;
use crate::state::{Run, State};

/// How many entries of a deleted run go with it at once; the others are swept up later, so that nobody waits for them.
const AT_ONCE: usize = 1000;

type Outcome = Result<Result<Written, Refused>, WorldError>;

/// One batch in the making. The state runs ahead of the disk; if the disk then fails, nothing can be written any more.
pub struct Turn<'a> {
    pub disk: &'a Disk,
    pub state: &'a mut State,
    pub batch: Batch,
    pub notices: Vec<Notice>,
    /// Runs that are in memory only for this batch.
    passing: Vec<RunId>,
    /// A deleted run was too large to go at once.
    pub garbage: bool,
    value: Vec<u8>,
    empty: bool,
}

impl<'a> Turn<'a> {
    pub fn new(disk: &'a Disk, state: &'a mut State) -> Self {
        Turn {
            disk,
            state,
            batch: Batch::default(),
            notices: Vec::new(),
            passing: Vec::new(),
            garbage: false,
            value: Vec::new(),
            empty: true,
        }
    }

    pub fn write(&mut self, write: Write) -> Outcome {
        match write {
            Write::Commit(commit) => self.commit(*commit),
            Write::Create(create) => self.create(*create),
            Write::Send { run, at, bytes } => self.send(run, at, &bytes),
            Write::Release { run, fence } => self.release(run, fence),
            Write::Delete { run } => self.delete(run),
        }
    }

    /// Makes visible what came together so far.
    pub fn apply(&mut self) -> Result<(), WorldError> {
        if !self.empty {
            self.disk.apply(std::mem::take(&mut self.batch))?;
            self.empty = true;
        }
        for run in self.passing.drain(..) {
            self.state.let_go(&run);
        }
        Ok(())
    }

    fn commit(&mut self, commit: Commit) -> Outcome {
        let run = match self.state.runs.get_mut(&commit.run) {
            Some(run) if run.fence == commit.fence && run.fence != 0 => run,
            _ => return self.refuse(commit.run),
        };
        if let Some(Chunk { first, count, bytes }) = &commit.events {
            if *first != run.last_seq + 1 {
                return Ok(Err(Refused::Sequence { run: commit.run, expected: *first, found: run.last_seq }));
            }
            if *count > 0 {
                let value = counted(&mut self.value, *count, bytes);
                self.batch.insert(&keys::two(keys::LOG, run.key, *first), value);
                run.last_seq += u64::from(*count);
                self.empty = false;
            }
        }
        if let Some(taken) = commit.inbox_taken {
            let taken = taken.min(run.last_letter);
            if taken > run.taken {
                for index in run.taken + 1..=taken {
                    self.batch.remove(&keys::two(keys::LETTER, run.key, index));
                }
                run.taken = taken;
                self.batch.insert(&keys::one(keys::TAKEN, run.key), &taken.to_be_bytes());
                self.empty = false;
            }
        }
        for (stream, entry) in commit.append {
            let at = match run.streams.iter().position(|(name, _)| *name == stream) {
                Some(at) => at,
                None => {
                    let last = self.disk.prefix(keys::stream(run.key, &stream)).next_back().transpose()?;
                    let next = last.and_then(|(key, _)| keys::last_number(&key)).map_or(0, |last| last + 1);
                    run.streams.push((stream, next));
                    run.streams.len() - 1
                }
            };
            let (name, next) = &mut run.streams[at];
            self.batch.insert(keys::under(&keys::stream(run.key, name), *next), entry);
            *next += 1;
            self.empty = false;
        }
        if commit.progress && run.tries > 0 {
            run.tries = 0;
            self.batch.remove(&keys::one(keys::TRIES, run.key));
            self.empty = false;
        }
        if let Some(row) = commit.row {
            self.empty = false;
            set_row(run, Row { run: commit.run.clone(), ..row }, &mut self.batch);
            if run.fence == 0 {
                self.passing.push(commit.run);
            }
        }
        Ok(Ok(Written::Committed))
    }

    fn create(&mut self, create: Create) -> Outcome {
        let Create { row, events, claim } = create;
        let id = row.run.clone();
        if let Some(run) = self.state.runs.get(&id) {
            return Ok(Err(Refused::Exists(run.row.clone())));
        }
        if let Some(run) = Run::of_id(self.disk, &id)? {
            return Ok(Err(Refused::Exists(run.row)));
        }
        if events.first != 1 {
            return Ok(Err(Refused::Sequence { run: id, expected: events.first, found: 0 }));
        }
        let terminal = row.status.is_terminal();
        let row = Row { wake_at: row.wake_at.filter(|_| !terminal), ..row };
        let key = self.state.next_key;
        self.state.next_key += 1;
        self.empty = false;
        self.batch.insert(keys::named(keys::ID, id.as_str()), &key.to_be_bytes());
        self.batch.insert(&keys::one(keys::ROW, key), json(&row));
        for index in keys::of_row(&row, key) {
            self.batch.insert(index, &[]);
        }
        if events.count > 0 {
            let value = counted(&mut self.value, events.count, &events.bytes);
            self.batch.insert(&keys::two(keys::LOG, key, 1), value);
        }
        let last_seq = u64::from(events.count);
        let row = Box::new(row);
        let mut run = Run { key, fence: 0, last_seq, tries: 0, taken: 0, last_letter: 0, row, streams: Vec::new() };
        let claim = match claim {
            Some(_) if !terminal => Some(run.hold(&id, &mut self.state.next_fence, &mut self.batch)),
            _ => {
                run.queue(&mut self.batch);
                self.notices.push(Notice::Due);
                self.passing.push(id.clone());
                None
            }
        };
        self.state.runs.insert(id, run);
        Ok(Ok(Written::Created(claim)))
    }

    fn send(&mut self, id: RunId, at: Millis, bytes: &[u8]) -> Outcome {
        let Some(run) = self.state.run(self.disk, &id)? else { return Ok(Err(Refused::Unknown(id))) };
        if run.fence == 0 {
            self.passing.push(id.clone());
        }
        if run.row.status.is_terminal() {
            return Ok(Err(Refused::Terminal(id, run.row.status)));
        }
        let before = run.due();
        run.last_letter += 1;
        self.empty = false;
        self.batch.insert(&keys::two(keys::LETTER, run.key, run.last_letter), keys::dated(at, bytes));
        if run.fence == 0 {
            if before != Some(0) {
                if let Some(before) = before {
                    self.batch.remove(&keys::two(keys::DUE, before, run.key));
                }
                run.queue(&mut self.batch);
            }
            self.notices.push(Notice::Due);
        }
        self.notices.push(Notice::Letter(id));
        Ok(Ok(Written::Sent(run.last_letter)))
    }

    fn release(&mut self, id: RunId, fence: u64) -> Outcome {
        let run = match self.state.runs.get_mut(&id) {
            Some(run) if run.fence == fence && fence != 0 => run,
            _ => return self.refuse(id),
        };
        run.fence = 0;
        self.empty = false;
        self.batch.remove(&keys::one(keys::HELD, run.key));
        run.queue(&mut self.batch);
        self.notices.push(Notice::Due);
        self.passing.push(id);
        Ok(Ok(Written::Released))
    }

    fn delete(&mut self, id: RunId) -> Outcome {
        // What is about to go must be on the disk to be found.
        self.apply()?;
        let Some(run) = self.state.run(self.disk, &id)? else { return Ok(Err(Refused::Unknown(id))) };
        if !run.row.status.is_terminal() {
            let status = run.row.status;
            self.state.let_go(&id);
            return Ok(Err(Refused::NotTerminal(id, status)));
        }
        let key = run.key;
        self.batch.remove(keys::named(keys::ID, id.as_str()));
        self.batch.remove(&keys::one(keys::ROW, key));
        for index in keys::of_row(&run.row, key) {
            self.batch.remove(index);
        }
        self.state.let_go(&id);
        self.empty = false;
        if !sweep(self.disk, key, AT_ONCE, &mut self.batch)? {
            self.batch.insert(&keys::one(keys::GARBAGE, key), &[]);
            self.garbage = true;
        }
        self.apply()?;
        Ok(Ok(Written::Deleted))
    }

    /// Why this run takes no write under that fence.
    fn refuse(&mut self, id: RunId) -> Outcome {
        let Some(run) = self.state.run(self.disk, &id)? else { return Ok(Err(Refused::Unknown(id))) };
        if run.fence == 0 {
            self.passing.push(id.clone());
        }
        Ok(Err(match run.row.status {
            status if status.is_terminal() => Refused::Terminal(id, status),
            _ => Refused::Fenced(id),
        }))
    }
}

/// Puts the removal of what is left of a deleted run into the batch, at most so many entries. Whether that was all.
pub fn sweep(disk: &Disk, key: u64, limit: usize, batch: &mut Batch) -> Result<bool, WorldError> {
    batch.remove(&keys::one(keys::TAKEN, key));
    batch.remove(&keys::one(keys::TRIES, key));
    let mut left = limit;
    for tag in [keys::LOG, keys::STREAM, keys::LETTER] {
        for entry in disk.prefix(keys::one(tag, key)) {
            if left == 0 {
                return Ok(false);
            }
            batch.remove(entry?.0);
            left -= 1;
        }
    }
    Ok(true)
}

/// Replaces the row and what is found by it. A terminal one ends the claim.
fn set_row(run: &mut Run, mut row: Row, batch: &mut Batch) {
    let key = run.key;
    let old = &run.row;
    if (&old.workflow, &old.tags, &old.parent) != (&row.workflow, &row.tags, &row.parent) {
        for index in keys::of_row(old, key) {
            batch.remove(index);
        }
        for index in keys::of_row(&row, key) {
            batch.insert(index, &[]);
        }
    } else if old.status != row.status {
        batch.remove(keys::under(&keys::by_status(old.status), key));
        batch.insert(keys::under(&keys::by_status(row.status), key), &[]);
    }
    if row.status.is_terminal() {
        row.wake_at = None;
        batch.remove(&keys::one(keys::HELD, key));
        for index in run.taken + 1..=run.last_letter {
            batch.remove(&keys::two(keys::LETTER, key, index));
        }
        run.taken = run.last_letter;
        if run.last_letter > 0 {
            batch.remove(&keys::one(keys::TAKEN, key));
        }
        if run.tries > 0 {
            batch.remove(&keys::one(keys::TRIES, key));
        }
        run.tries = 0;
        run.fence = 0;
    }
    batch.insert(&keys::one(keys::ROW, key), json(&row));
    *run.row = row;
}

fn json(row: &Row) -> Vec<u8> {
    serde_json::to_vec(row).expect("the keys of a row's maps are texts")
}

/// The value of a chunk, put together in a buffer that is used again.
fn counted(buffer: &mut Vec<u8>, count: u32, bytes: &[u8]) -> IVec {
    buffer.clear();
    buffer.extend_from_slice(&count.to_be_bytes());
    buffer.extend_from_slice(bytes);
    let value = IVec::from(buffer.as_slice());
    if buffer.capacity() > 1 << 20 {
        *buffer = Vec::new();
    }
    value
}
