//! The write path: a batch of writes becomes one batch of sled.

use std::collections::HashMap;
use std::sync::Arc;

use durhai_core::RunId;
use durhai_world::{Admission, Claim, Create, NewMessage, Notice, Refused, Row, WorldError, Write, Written};
use sled::IVec;

use crate::batch::Batch;
use crate::disk::Disk;
use crate::keys;
use crate::state::{Run, State};

/// How many entries of a deleted run go with it at once; the others are swept up later, so that nobody waits for them.
const AT_ONCE: usize = 1000;

pub type Outcome<T> = Result<Result<T, Refused>, WorldError>;

/// One batch in the making. The state runs ahead of the disk; if the disk then fails, nothing can be written any more.
pub struct Turn<'a> {
    pub disk: &'a Disk,
    pub state: &'a mut State,
    pub batch: Batch,
    pub notices: Vec<Notice>,
    /// Runs that are in memory only for this batch.
    pub passing: Vec<RunId>,
    /// Keys of the limits that it touched.
    pub semaphores: Vec<String>,
    /// Hooks that it changes, each with the key of the run that has it then.
    pub hooks: HashMap<Arc<str>, Option<u64>>,
    /// A deleted run was too large to go at once.
    pub garbage: bool,
    /// Something of it is visible, and must become durable.
    pub applied: bool,
    pub value: Vec<u8>,
    pub empty: bool,
}

impl<'a> Turn<'a> {
    pub fn new(disk: &'a Disk, state: &'a mut State) -> Self {
        Turn {
            disk,
            state,
            batch: Batch::default(),
            notices: Vec::new(),
            passing: Vec::new(),
            semaphores: Vec::new(),
            hooks: HashMap::new(),
            garbage: false,
            applied: false,
            value: Vec::new(),
            empty: true,
        }
    }

    pub fn write(&mut self, write: Write) -> Outcome<Written> {
        Ok(match write {
            Write::Commit(commit) => self.commit(*commit)?.map(Written::Committed),
            Write::Create(create) => self.create(*create, None)?.map(Written::Created),
            Write::Send(message) => self.send(message)?.map(Written::Sent),
            Write::Release { run, fence } => self.release(run, fence)?.map(|()| Written::Released),
            Write::Delete { run } => self.delete(run)?.map(|()| Written::Deleted),
        })
    }

    /// Makes visible what came together so far.
    pub fn apply(&mut self) -> Result<(), WorldError> {
        if !self.empty {
            self.state.counts.flush(&mut self.batch);
            self.state.zones.flush(&mut self.batch);
            self.disk.apply(std::mem::take(&mut self.batch))?;
            self.empty = true;
            self.applied = true;
        }
        self.forget();
        Ok(())
    }

    /// Leaves in memory only what is held, or costs much to read again.
    pub fn forget(&mut self) {
        for run in self.passing.drain(..) {
            self.state.let_go(&run);
        }
        for key in self.semaphores.drain(..) {
            if self.state.semaphores.get(&key).is_some_and(|semaphore| semaphore.waiting.is_empty()) {
                self.state.semaphores.remove(&key);
            }
        }
        self.hooks.clear();
    }

    /// With the run that ends with the same commit, if one does.
    pub fn create(&mut self, create: Create, ending: Option<&RunId>) -> Outcome<Option<Claim>> {
        let Create { row, events, claim, hooks, messages } = create;
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
        for (token, _) in &hooks {
            if let Some(run) = self.whose(token)? {
                return Ok(Err(Refused::Token { token: token.clone(), run }));
            }
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
        self.state.counts.add(&row);
        self.state.zones.add(key, row.created_at);
        if events.count > 0 {
            let value = counted(&mut self.value, events.count, &events.bytes);
            self.batch.insert(&keys::two(keys::LOG, key, 1), value);
        }
        let limited = row.concurrency.is_some();
        let arrives = claim.is_some() || row.wake_at.is_some_and(|wake_at| wake_at <= row.created_at);
        let created_at = row.created_at;
        let mut run = Run::new(key, row, if limited { Admission::NotArrived } else { Admission::Admitted });
        run.last_seq = u64::from(events.count);
        for (token, info) in hooks.into_iter().filter(|_| !terminal) {
            self.open(&mut run, token, &info);
        }
        for bytes in messages.into_iter().filter(|_| !terminal) {
            run.last_message += 1;
            self.batch
                .insert(&keys::two(keys::MESSAGE, key, run.last_message), keys::message(created_at, false, &bytes));
        }
        self.state.runs.insert(id.clone(), run);
        if limited && !terminal {
            // Its queue must find it if it has to wait, and it is not on the disk yet.
            self.passing.push(id.clone());
            self.join(&id, arrives, ending)?;
        }
        let Some(run) = self.state.runs.get_mut(&id) else { return Ok(Ok(None)) };
        if claim.is_some() && !terminal && run.admission == Admission::Admitted {
            if limited && let Some(due) = run.due() {
                self.batch.remove(&keys::two(keys::DUE, due, key));
            }
            return Ok(Ok(Some(run.hold(&id, true, &mut self.state.next_fence, &mut self.batch))));
        }
        run.queue(&mut self.batch);
        self.notices.push(Notice::Due);
        self.passing.push(id);
        Ok(Ok(None))
    }

    pub fn send(&mut self, message: NewMessage) -> Outcome<u64> {
        let NewMessage { run: id, at, urgent, bytes } = message;
        let Some(run) = self.state.run(self.disk, &id)? else { return Ok(Err(Refused::Unknown(id))) };
        if run.fence == 0 {
            self.passing.push(id.clone());
        }
        if run.row.status.is_terminal() {
            return Ok(Err(Refused::Terminal(id, run.row.status)));
        }
        let before = run.due();
        run.last_message += 1;
        self.empty = false;
        self.batch.insert(&keys::two(keys::MESSAGE, run.key, run.last_message), keys::message(at, urgent, &bytes));
        if urgent {
            run.urgent = run.last_message;
            self.batch.insert(&keys::one(keys::URGENT, run.key), &run.urgent.to_be_bytes());
        }
        if run.fence == 0 {
            if before != run.due() {
                if let Some(before) = before {
                    self.batch.remove(&keys::two(keys::DUE, before, run.key));
                }
                run.queue(&mut self.batch);
            }
            self.notices.push(Notice::Due);
        }
        self.notices.push(Notice::Message(id));
        Ok(Ok(run.last_message))
    }

    fn release(&mut self, id: RunId, fence: u64) -> Outcome<()> {
        let run = match self.state.runs.get_mut(&id) {
            Some(run) if run.fence == fence && fence != 0 => run,
            _ => return self.refuse(id),
        };
        run.fence = 0;
        self.empty = false;
        self.batch.remove(&keys::one(keys::HELD, run.key));
        run.queue(&mut self.batch);
        self.state.unreserve(&id);
        self.notices.push(Notice::Due);
        self.passing.push(id);
        Ok(Ok(()))
    }

    fn delete(&mut self, id: RunId) -> Outcome<()> {
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
        let row = run.row.clone();
        self.state.counts.remove(&row);
        self.state.zones.remove(self.disk, key)?;
        self.state.let_go(&id);
        self.empty = false;
        if !sweep(self.disk, key, AT_ONCE, &mut self.batch)? {
            self.batch.insert(&keys::one(keys::GARBAGE, key), &[]);
            self.garbage = true;
        }
        self.apply()?;
        Ok(Ok(()))
    }

    /// Why this run takes no write under that fence.
    pub fn refuse<T>(&mut self, id: RunId) -> Outcome<T> {
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
    for tag in [keys::LOG, keys::STREAM, keys::MESSAGE, keys::VALUE] {
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

pub fn json(row: &Row) -> Vec<u8> {
    serde_json::to_vec(row).expect("the keys of a row's maps are texts")
}

/// The value of a chunk, put together in a buffer that is used again.
pub fn counted(buffer: &mut Vec<u8>, count: u32, bytes: &[u8]) -> IVec {
    buffer.clear();
    buffer.extend_from_slice(&count.to_be_bytes());
    buffer.extend_from_slice(bytes);
    let value = IVec::from(buffer.as_slice());
    if buffer.capacity() > 1 << 20 {
        *buffer = Vec::new();
    }
    value
}
