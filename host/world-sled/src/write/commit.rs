//! A turn of a run: all that one commit changes.

use std::sync::Arc;

use durhai_core::RunId;
use durhai_world::{Chunk, Commit, Create, Creation, InboxMessage, NewMessage, Refused, Row, WorldError};

use super::txn::{ChunkBuffer, Outcome, WriteTxn};
use crate::batch::Batch;
use crate::disk::Disk;
use crate::entries::row_value;
use crate::state::State;
use crate::state::run::Run;
use crate::{keys, read};

impl WriteTxn<'_> {
    /// The runs that it creates, and how that ended.
    pub fn commit(&mut self, commit: Commit) -> Outcome<Vec<Creation>> {
        let Commit { run: id, fence, events, row, inbox_taken, append, values, hooks, create, .. } = commit;
        let ends = row.as_ref().is_some_and(|row| row.status.is_terminal());
        let forward = commit.forward.filter(|_| ends);
        let waits = |run: &Run| run.last_message > run.taken;
        let leave = commit.leave.filter(|_| ends && self.state.runs.get(&id).is_some_and(waits));
        if forward.is_some() || leave.is_some() {
            // The messages must be on the disk to be found.
            self.apply()?;
        }
        let run = match self.state.runs.get_mut(&id) {
            Some(run) if run.fence == fence && fence != 0 => run,
            _ => return self.refuse(id),
        };
        if let Some(refused) = out_of_sequence(&id, run, events.as_ref(), &create) {
            return Ok(Err(refused));
        }
        if let Some(events) = events {
            add_events(run, &events, &mut self.chunks, &mut self.batch);
        }
        if let Some(taken) = inbox_taken {
            take_messages(run, taken, &mut self.batch);
        }
        let left = match leave.filter(|_| forward.is_none()) {
            Some(stream) => {
                let messages = self.messages(&id)?.into_iter();
                messages.map(|message| (stream.clone(), message.bytes)).collect()
            }
            None => Vec::new(),
        };
        let Some(run) = self.state.runs.get_mut(&id) else { return self.refuse(id) };
        append_entries(run, append.into_iter().chain(left), self.disk, &mut self.batch)?;
        for (name, value) in values {
            self.batch.set(keys::of_run(keys::VALUE, run.key, &name), value);
        }
        for (name, value) in commit.meta {
            self.batch.set(keys::named(keys::META, &name), value);
        }
        if commit.progress && run.tries > 0 {
            run.tries = 0;
            self.batch.remove(&keys::one(keys::TRIES, run.key));
        }
        for change in hooks {
            self.change_hook(&id, change)?;
        }
        let mut creations = Vec::new();
        for create in create {
            creations.push(match self.create(create, Some(&id).filter(|_| ends))? {
                Ok(Some(claim)) => Creation::Claimed(Box::new(claim)),
                Ok(None) => Creation::Waits,
                Err(_) => Creation::Exists,
            });
        }
        if let Some(row) = row {
            self.replace_row(id, row, forward)?;
        }
        for message in commit.send {
            let _dropped_if_refused = self.send(message)?;
        }
        Ok(Ok(creations))
    }

    /// Gives a run that is held another row. One that ends with it leaves its place under its concurrency limit, and what
    /// it did not take of its inbox goes to `forward`.
    fn replace_row(&mut self, id: RunId, row: Row, forward: Option<RunId>) -> Result<(), WorldError> {
        let ends = row.status.is_terminal();
        let messages = if forward.is_some() { self.messages(&id)? } else { Vec::new() };
        if ends {
            self.close_all(&id);
        }
        let State { runs, counts, created, .. } = &mut *self.state;
        let Some(run) = runs.get_mut(&id) else { return Ok(()) };
        let row = Row { run: id.clone(), concurrency: run.row.concurrency.clone(), ..row };
        counts.replace(&run.row, &row);
        created.add(run.key, row.created_at);
        set_row(run, row, &mut self.batch);
        if let Some(concurrency) = run.row.concurrency.clone().filter(|_| ends) {
            let (key, admission) = (run.key, run.admission);
            self.leave(&concurrency, key, admission)?;
        }
        if ends {
            self.passing.push(id);
        }
        if let Some(successor) = forward {
            for InboxMessage { at, urgent, bytes, .. } in messages {
                let _dropped_if_refused = self.send(NewMessage { run: successor.clone(), at, urgent, bytes })?;
            }
        }
        Ok(())
    }

    /// The messages that a run has not taken.
    fn messages(&self, id: &RunId) -> Result<Vec<InboxMessage>, WorldError> {
        let Some(run) = self.state.runs.get(id) else { return Ok(Vec::new()) };
        let waiting = (run.last_message - run.taken) as usize;
        read::messages(self.disk, id, run.key, run.taken + 1, waiting)
    }
}

/// Why the commit does not fit the log of its run, or one that it creates does not begin its log.
fn out_of_sequence(id: &RunId, run: &Run, events: Option<&Chunk>, create: &[Create]) -> Option<Refused> {
    if let Some(Chunk { first, .. }) = events.filter(|chunk| chunk.first != run.last_seq + 1) {
        return Some(Refused::Sequence { run: id.clone(), expected: *first, found: run.last_seq });
    }
    let bad = create.iter().find(|create| create.events.first != 1)?;
    Some(Refused::Sequence { run: bad.row.run.clone(), expected: bad.events.first, found: 0 })
}

fn add_events(run: &mut Run, events: &Chunk, chunks: &mut ChunkBuffer, batch: &mut Batch) {
    if events.count > 0 {
        batch.insert(&keys::two(keys::LOG, run.key, events.first), chunks.value(events.count, &events.bytes));
        run.last_seq += u64::from(events.count);
    }
}

/// Removes the messages up to and including this index.
fn take_messages(run: &mut Run, taken: u64, batch: &mut Batch) {
    let taken = taken.min(run.last_message);
    if taken <= run.taken {
        return;
    }
    for index in run.taken + 1..=taken {
        batch.remove(&keys::two(keys::MESSAGE, run.key, index));
    }
    run.taken = taken;
    batch.insert(&keys::one(keys::TAKEN, run.key), &taken.to_be_bytes());
    if (1..=taken).contains(&run.urgent) {
        run.urgent = 0;
        batch.remove(&keys::one(keys::URGENT, run.key));
    }
}

/// Puts entries behind those that the run's streams have.
fn append_entries(
    run: &mut Run,
    entries: impl Iterator<Item = (Arc<str>, Vec<u8>)>,
    disk: &Disk,
    batch: &mut Batch,
) -> Result<(), WorldError> {
    for (stream, entry) in entries {
        let at = match run.streams.iter().position(|(name, _)| *name == stream) {
            Some(at) => at,
            None => {
                let last = disk.last(keys::stream(run.key, &stream))?;
                let next = last.and_then(|(key, _)| keys::last_number(&key)).map_or(0, |last| last + 1);
                run.streams.push((stream, next));
                run.streams.len() - 1
            }
        };
        let (name, next) = &mut run.streams[at];
        batch.insert(keys::under(&keys::stream(run.key, name), *next), entry);
        *next += 1;
    }
    Ok(())
}

/// Replaces the row and what is found by it. A terminal one ends the claim.
fn set_row(run: &mut Run, mut row: Row, batch: &mut Batch) {
    let key = run.key;
    let old = &run.row;
    if (&old.workflow, &old.tags, &old.parent, &old.version) != (&row.workflow, &row.tags, &row.parent, &row.version) {
        for index in keys::of_row(old, key) {
            batch.remove(index);
        }
        for index in keys::of_row(&row, key) {
            batch.insert(index, &[]);
        }
    } else if old.status != row.status {
        batch.remove(keys::under(&keys::by_status(old.status, &old.workflow), key));
        batch.insert(keys::under(&keys::by_status(row.status, &row.workflow), key), &[]);
        if let Some(expiry) = keys::expiry(&row, key) {
            batch.insert(expiry, &[]);
        }
    }
    if row.status.is_terminal() {
        row.wake_at = None;
        batch.remove(&keys::one(keys::HELD, key));
        for index in run.taken + 1..=run.last_message {
            batch.remove(&keys::two(keys::MESSAGE, key, index));
        }
        run.taken = run.last_message;
        if run.urgent > 0 {
            batch.remove(&keys::one(keys::URGENT, key));
        }
        run.urgent = 0;
        if run.last_message > 0 {
            batch.remove(&keys::one(keys::TAKEN, key));
        }
        if run.tries > 0 {
            batch.remove(&keys::one(keys::TRIES, key));
        }
        run.tries = 0;
        run.fence = 0;
    }
    batch.insert(&keys::one(keys::ROW, key), row_value(&row));
    *run.row = row;
}
