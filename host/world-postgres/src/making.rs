//! Which way each write of a batch goes.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use durhai_core::RunId;
use durhai_world::{Chunk, Commit, Create, Holder, HookChange, NewMessage, Row, WorldError, Write};
use serde_json::{Map, Value, json};

use crate::batch::{Asked, Batch, Counted, New, Turn};
use crate::held::{Held, HeldRuns};
use crate::names::Names;
use crate::rows::{self, status_column};
use crate::text::{column, escaped};

/// A host that never lives.
const NOBODY: i32 = -1;

impl<'w> Batch<'w> {
    /// `host`: the lane's own, whose runs may have plain turns.
    pub fn of(
        writes: &'w [Write],
        host: Option<i32>,
        held: &HeldRuns,
        names: &Names,
        host_of: &dyn Fn(&Holder) -> Option<i32>,
    ) -> Result<Self, WorldError> {
        let mut making = Making {
            batch: Batch::default(),
            names,
            host,
            host_of,
            touched: HashSet::new(),
            known: HashMap::new(),
            row_of: HashMap::new(),
            creates: false,
            tokens: false,
        };
        for write in writes {
            let asked = match write {
                Write::Commit(commit) => match making.plain(commit, held) {
                    Some(its) => making.append(commit, its)?,
                    None => making.commit(commit)?,
                },
                Write::Create(create) => match making.is_alone(create, held) {
                    true => making.create_at_once(create)?,
                    false => making.create(create)?,
                },
                Write::Send(message) => making.send(message),
                Write::Release { run, fence } => {
                    making.touch(run);
                    let operation = json!({ "op": "release", "id": run.as_str(), "fence": column(*fence) });
                    making.batch.operations.push(operation);
                    Asked::Release { run: run.clone(), fence: *fence }
                }
                Write::Delete { run } => {
                    making.touch(run);
                    making.batch.operations.push(json!({ "op": "delete", "id": run.as_str() }));
                    Asked::Delete
                }
            };
            making.batch.asked.push(asked);
        }
        let mut batch = making.batch;
        batch.names.sort_unstable();
        batch.names.dedup();
        batch.runs.sort_unstable();
        batch.runs.dedup();
        batch.limits.sort_unstable();
        batch.limits.dedup();
        Ok(batch)
    }
}

struct Making<'a, 'w> {
    batch: Batch<'w>,
    names: &'a Names,
    /// The lane's own.
    host: Option<i32>,
    host_of: &'a dyn Fn(&Holder) -> Option<i32>,
    /// Runs of which an operation stands in the batch, or that are new in it.
    touched: HashSet<RunId>,
    /// Runs as the turns of the batch so far leave them.
    known: HashMap<RunId, Held>,
    /// Where the row of a run stands among those that are written at once.
    row_of: HashMap<i64, usize>,
    /// An operation may create a run: those that come later are to have later keys.
    creates: bool,
    /// An operation may open a hook: runs that end later are to free theirs later.
    tokens: bool,
}

impl<'w> Making<'_, 'w> {
    /// The run, if this turn of it appends events and changes its row, and nothing else.
    fn plain(&self, commit: &Commit, held: &HeldRuns) -> Option<Held> {
        let Commit { run, fence, events, row, inbox_taken, progress, .. } = commit;
        let ends = row.as_ref().is_some_and(|row| row.status.is_terminal());
        let alone = is_alone(commit) && (ends || inbox_taken.is_none());
        let chunk = events.as_ref().filter(|chunk| alone && chunk.count > 0 && !self.touched.contains(run))?;
        let its = self.known.get(run).cloned().or_else(|| held.get(run))?;
        let fits = its.fence == *fence
            && Some(its.host) == self.host
            && chunk.first == its.last_seq + 1
            && i32::try_from(chunk.count).is_ok()
            && !(*progress && its.tries > 0);
        let row_fits = |row: &Row| !its.limited && row.tags == *its.tags && !(row.status.is_terminal() && self.tokens);
        (fits && row.as_ref().is_none_or(row_fits)).then_some(its)
    }

    fn append(&mut self, commit: &'w Commit, mut its: Held) -> Result<Asked, WorldError> {
        let Commit { run, events, row, inbox_taken, leave, .. } = commit;
        let (fence, progress) = (commit.fence, commit.progress);
        let chunk = events.as_ref().expect("a plain turn has events");
        let last_seq = chunk.first + u64::from(chunk.count) - 1;
        self.batch.keys.push(its.key);
        self.batch.firsts.push(column(chunk.first));
        self.batch.counts.push(chunk.count as i32);
        self.batch.chunks.push(&chunk.bytes);
        its.last_seq = last_seq;
        let Some(row) = row else {
            self.known.insert(run.clone(), its);
            return Ok(Asked::Plain { run: run.clone(), fence, last_seq, progress });
        };
        let (counted, mut written, ends) = (self.counted(row)?, self.row(row)?, row.status.is_terminal());
        if ends {
            // It goes on nowhere in this batch. Its head is removed, and so locked with the others in their order.
            self.touch(run);
            written["wake_at"] = Value::Null;
            written["leave"] = leave.as_ref().map(|stream| escaped(stream)).into();
            written["taken"] = inbox_taken.map(column).into();
        }
        written["key"] = its.key.into();
        // One row each: of several the last one counts.
        match self.row_of.entry(its.key) {
            Entry::Occupied(earlier) => self.batch.rows[*earlier.get()] = written,
            Entry::Vacant(first) => {
                first.insert(self.batch.rows.len());
                self.batch.rows.push(written);
            }
        }
        *self.batch.changes.entry(its.counted).or_default() -= 1;
        *self.batch.changes.entry(counted).or_default() += 1;
        its.counted = counted;
        self.known.insert(run.clone(), its);
        let row = Some((counted, Arc::new(row.tags.clone())));
        let turn = Turn { run: run.clone(), fence, last_seq: Some(last_seq), progress, ends, row, create: Vec::new() };
        Ok(Asked::Row(Box::new(turn)))
    }

    /// Whether nothing has to do with this new run but itself.
    fn is_alone(&self, create: &Create, held: &HeldRuns) -> bool {
        let Create { row, events, claim, hooks, messages } = create;
        let host = claim.as_ref().map(self.host_of);
        !self.creates
            && row.concurrency.is_none()
            && !row.status.is_terminal()
            && hooks.is_empty()
            && messages.is_empty()
            && events.first == 1
            && i32::try_from(events.count).is_ok()
            && host.is_none_or(|host| host.is_some() && host == self.host)
            && !self.touched.contains(&row.run)
            && held.get(&row.run).is_none()
    }

    fn create_at_once(&mut self, create: &'w Create) -> Result<Asked, WorldError> {
        let Create { row, events, claim, .. } = create;
        self.touched.insert(row.run.clone());
        let number = self.batch.creates.len();
        let host = claim.as_ref().and_then(self.host_of);
        let mut made = self.row(row)?;
        made["number"] = number.into();
        made["host"] = host.into();
        made["count"] = events.count.into();
        made["bytes"] = self.blob(&events.bytes);
        self.batch.creates.push(made);
        let new = New { counted: self.counted(row)?, row: row.clone(), last_seq: u64::from(events.count), host };
        Ok(Asked::CreateAtOnce { number, new: Box::new(new) })
    }

    fn counted(&self, row: &Row) -> Result<Counted, WorldError> {
        let (workflow, version) = (self.names.of(&row.workflow)?, self.names.of(row.version.as_str())?);
        Ok((workflow, version, status_column(row.status)))
    }

    fn touch(&mut self, run: &RunId) {
        if self.touched.insert(run.clone()) {
            self.batch.runs.push(run.as_str().to_owned());
        }
    }

    fn blob(&mut self, bytes: &'w [u8]) -> Value {
        self.batch.blobs.push(bytes);
        self.batch.blobs.len().into()
    }

    fn pair(&mut self, name: &str, bytes: Option<&'w [u8]>) -> Value {
        let bytes = bytes.map_or(Value::Null, |bytes| self.blob(bytes));
        json!([escaped(name), bytes])
    }

    fn row(&mut self, row: &Row) -> Result<Value, WorldError> {
        for name in [&row.workflow, row.version.as_str()] {
            self.batch.names.push((name.to_owned(), self.names.of(name)?));
        }
        rows::to_json(row, self.names)
    }

    fn send(&mut self, message: &'w NewMessage) -> Asked {
        let NewMessage { run, at, urgent, bytes } = message;
        self.touch(run);
        let bytes = self.blob(bytes);
        let id = run.as_str();
        let operation = json!({ "op": "send", "id": id, "at": column(*at), "urgent": urgent, "bytes": bytes });
        self.batch.operations.push(operation);
        Asked::Send(run.clone())
    }

    fn create(&mut self, create: &'w Create) -> Result<Asked, WorldError> {
        let (mut operation, new) = self.new_run(create)?;
        operation.insert("op".into(), "create".into());
        self.batch.operations.push(operation.into());
        Ok(Asked::Create(Box::new(new)))
    }

    fn new_run(&mut self, create: &'w Create) -> Result<(Map<String, Value>, New), WorldError> {
        let Create { row, events, claim, hooks, messages } = create;
        self.touch(&row.run);
        self.creates = true;
        self.tokens |= !hooks.is_empty();
        if let Some(concurrency) = &row.concurrency {
            self.batch.limits.push(escaped(&concurrency.key));
        }
        let host = claim.as_ref().and_then(self.host_of);
        let mut made = Map::new();
        made.insert("row".into(), self.row(row)?);
        made.insert("first".into(), events.first.into());
        made.insert("count".into(), events.count.into());
        made.insert("bytes".into(), self.blob(&events.bytes));
        if claim.is_some() {
            // It arrives at its limit also where its host is dead.
            made.insert("host".into(), host.unwrap_or(NOBODY).into());
        }
        let hooks = hooks.iter().map(|(token, info)| self.pair(token, Some(info))).collect();
        some(&mut made, "hooks", hooks);
        let messages = messages.iter().map(|bytes| self.blob(bytes)).collect();
        some(&mut made, "messages", messages);
        let counted = self.counted(row)?;
        Ok((made, New { row: row.clone(), last_seq: u64::from(events.count), host, counted }))
    }

    // Long because it is a table: a line or two for each part that a commit may have.
    fn commit(&mut self, commit: &'w Commit) -> Result<Asked, WorldError> {
        let Commit {
            run,
            fence,
            events,
            row,
            inbox_taken,
            append,
            values,
            hooks,
            create,
            send,
            forward,
            leave,
            meta,
            progress,
        } = commit;
        let (fence, progress) = (*fence, *progress);
        self.touch(run);
        self.tokens |= !hooks.is_empty();
        let mut made = Map::new();
        made.insert("op".into(), "commit".into());
        made.insert("id".into(), run.as_str().into());
        made.insert("fence".into(), column(fence).into());
        let end = |chunk: &Chunk| chunk.first.saturating_add(u64::from(chunk.count)).saturating_sub(1);
        let last_seq = events.as_ref().map(end);
        if let Some(chunk) = events {
            made.insert("first".into(), chunk.first.into());
            made.insert("count".into(), chunk.count.into());
            made.insert("bytes".into(), self.blob(&chunk.bytes));
        }
        let ends = row.as_ref().is_some_and(|row| row.status.is_terminal());
        if let Some(row) = row {
            made.insert("row".into(), self.row(row)?);
        }
        if let Some(taken) = inbox_taken {
            made.insert("taken".into(), column(*taken).into());
        }
        if progress {
            made.insert("progress".into(), true.into());
        }
        let pairs = append.iter().map(|(stream, bytes)| self.pair(stream, Some(bytes))).collect();
        some(&mut made, "append", pairs);
        let pairs = values.iter().map(|(name, bytes)| self.pair(name, bytes.as_deref())).collect();
        some(&mut made, "values", pairs);
        let pairs = meta.iter().map(|(key, bytes)| self.pair(key, bytes.as_deref())).collect();
        some(&mut made, "meta", pairs);
        let change = |change: &'w HookChange| match change {
            HookChange::Open { token, info } => self.pair(token, Some(info)),
            HookChange::Close { token } => self.pair(token, None),
        };
        let changes = hooks.iter().map(change).collect();
        some(&mut made, "hooks", changes);
        let (mut creates, mut news) = (Vec::new(), Vec::new());
        for create in create {
            let (operation, new) = self.new_run(create)?;
            creates.push(operation.into());
            news.push(new);
        }
        some(&mut made, "create", creates);
        if ends {
            if let Some(heir) = forward {
                self.touch(heir);
                made.insert("forward".into(), heir.as_str().into());
            } else if let Some(stream) = leave {
                made.insert("leave".into(), escaped(stream).into());
            }
        }
        let mut sends = Vec::new();
        for NewMessage { run, at, urgent, bytes } in send {
            self.touch(run);
            sends.push(json!([run.as_str(), column(*at), urgent, self.blob(bytes)]));
        }
        some(&mut made, "send", sends);
        self.batch.operations.push(made.into());
        let row = match row {
            Some(row) => Some((self.counted(row)?, Arc::new(row.tags.clone()))),
            None => None,
        };
        Ok(Asked::Commit(Box::new(Turn { run: run.clone(), fence, last_seq, progress, ends, row, create: news })))
    }
}

fn some(made: &mut Map<String, Value>, name: &str, values: Vec<Value>) {
    if !values.is_empty() {
        made.insert(name.into(), values.into());
    }
}

/// Whether a commit does nothing but append events, change the row, and say what was dealt with.
fn is_alone(commit: &Commit) -> bool {
    let Commit { append, values, hooks, create, send, forward, meta, .. } = commit;
    append.is_empty()
        && values.is_empty()
        && hooks.is_empty()
        && create.is_empty()
        && send.is_empty()
        && meta.is_empty()
        && forward.is_none()
}
