//! A turn of a run: all that one commit changes.

use durhai_core::RunId;
use durhai_world::{Chunk, Commit, Creation, InboxMessage, NewMessage, Refused, Row, WorldError};

use crate::batch::Batch;
use crate::keys;
use crate::read;
use crate::state::{Run, State};
use crate::write::{Outcome, Turn, counted, json};

impl Turn<'_> {
    pub fn commit(&mut self, commit: Commit) -> Outcome<Vec<Creation>> {
        let ends = commit.row.as_ref().is_some_and(|row| row.status.is_terminal());
        let forward = commit.forward.filter(|_| ends);
        let waits = |run: &Run| run.last_message > run.taken;
        let leave = commit.leave.filter(|_| ends && self.state.runs.get(&commit.run).is_some_and(waits));
        if forward.is_some() || leave.is_some() {
            // The messages must be on the disk to be found.
            self.apply()?;
        }
        let run = match self.state.runs.get_mut(&commit.run) {
            Some(run) if run.fence == commit.fence && run.fence != 0 => run,
            _ => return self.refuse(commit.run),
        };
        if let Some(Chunk { first, .. }) = commit.events.as_ref().filter(|chunk| chunk.first != run.last_seq + 1) {
            return Ok(Err(Refused::Sequence { run: commit.run, expected: *first, found: run.last_seq }));
        }
        if let Some(bad) = commit.create.iter().find(|create| create.events.first != 1) {
            return Ok(Err(Refused::Sequence { run: bad.row.run.clone(), expected: bad.events.first, found: 0 }));
        }
        if let Some(Chunk { first, count: count @ 1.., bytes }) = &commit.events {
            let value = counted(&mut self.value, *count, bytes);
            self.batch.insert(&keys::two(keys::LOG, run.key, *first), value);
            run.last_seq += u64::from(*count);
            self.empty = false;
        }
        if let Some(taken) = commit.inbox_taken {
            let taken = taken.min(run.last_message);
            if taken > run.taken {
                for index in run.taken + 1..=taken {
                    self.batch.remove(&keys::two(keys::MESSAGE, run.key, index));
                }
                run.taken = taken;
                self.batch.insert(&keys::one(keys::TAKEN, run.key), &taken.to_be_bytes());
                if (1..=taken).contains(&run.urgent) {
                    run.urgent = 0;
                    self.batch.remove(&keys::one(keys::URGENT, run.key));
                }
                self.empty = false;
            }
        }
        let left = match leave.filter(|_| forward.is_none()) {
            Some(stream) => {
                let messages = self.messages(&commit.run)?.into_iter();
                messages.map(|message| (stream.clone(), message.bytes)).collect()
            }
            None => Vec::new(),
        };
        let Some(run) = self.state.runs.get_mut(&commit.run) else { return self.refuse(commit.run) };
        for (stream, entry) in commit.append.into_iter().chain(left) {
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
        for (name, value) in commit.values {
            self.batch.set(keys::of_run(keys::VALUE, run.key, &name), value);
            self.empty = false;
        }
        for (name, value) in commit.meta {
            self.batch.set(keys::named(keys::META, &name), value);
            self.empty = false;
        }
        if commit.progress && run.tries > 0 {
            run.tries = 0;
            self.batch.remove(&keys::one(keys::TRIES, run.key));
            self.empty = false;
        }
        let concurrency = run.row.concurrency.clone().filter(|_| ends);
        for change in commit.hooks {
            self.change_hook(&commit.run, change)?;
        }
        let mut creations = Vec::new();
        for create in commit.create {
            creations.push(match self.create(create, Some(&commit.run).filter(|_| ends))? {
                Ok(Some(claim)) => Creation::Claimed(Box::new(claim)),
                Ok(None) => Creation::Waits,
                Err(_) => Creation::Exists,
            });
        }
        if let Some(row) = commit.row {
            let messages = if forward.is_some() { self.messages(&commit.run)? } else { Vec::new() };
            if ends {
                self.close_all(&commit.run);
            }
            self.empty = false;
            let State { runs, counts, zones, .. } = &mut *self.state;
            let Some(run) = runs.get_mut(&commit.run) else { return self.refuse(commit.run) };
            let row = Row { run: commit.run.clone(), concurrency: run.row.concurrency.clone(), ..row };
            counts.replace(&run.row, &row);
            zones.add(run.key, row.created_at);
            set_row(run, row, &mut self.batch);
            if let Some(concurrency) = concurrency {
                let (key, admission) = (run.key, run.admission);
                self.leave(&concurrency, key, admission)?;
            }
            if ends {
                self.passing.push(commit.run);
            }
            if let Some(heir) = forward {
                for InboxMessage { at, urgent, bytes, .. } in messages {
                    let _dropped_if_refused = self.send(NewMessage { run: heir.clone(), at, urgent, bytes })?;
                }
            }
        }
        for message in commit.send {
            let _dropped_if_refused = self.send(message)?;
        }
        Ok(Ok(creations))
    }

    /// The messages that a run has not taken.
    fn messages(&self, id: &RunId) -> Result<Vec<InboxMessage>, WorldError> {
        let Some(run) = self.state.runs.get(id) else { return Ok(Vec::new()) };
        let waiting = (run.last_message - run.taken) as usize;
        read::messages(self.disk, id, run.key, run.taken + 1, waiting)
    }
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
    batch.insert(&keys::one(keys::ROW, key), json(&row));
    *run.row = row;
}
