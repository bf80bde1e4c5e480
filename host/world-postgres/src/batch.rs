//! A batch of writes as the server takes it, and what it answers.
//!
//! A *plain* turn only appends events to the log of a run that is held: nothing needs to be looked up for it, and all of them
//! are one insert. Everything else is an operation, made by the server in the order of the batch, after the plain turns. A run that
//! an operation of the batch touches has no plain turn behind that.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use durhai_core::{RunId, Status};
use durhai_world::{
    Chunk, Claim, Commit, Create, Creation, Holder, HookChange, NewMessage, Notice, Refused, Row, WorldError, Write,
    Written,
};
use serde_json::{Map, Value, json};

use crate::bell::Ring;
use crate::held::{Held, HeldRuns};
use crate::names::Names;
use crate::rows::{self, status_of, whole};
use crate::text::{column, escaped, unescaped};

/// Bytes of a name, as a column has it: an index of PostgreSQL holds entries of up to 2 704 bytes.
const NAME: usize = 2_000;

/// A host that never lives.
const NOBODY: i32 = -1;

/// What a batch is for the server.
#[derive(Default)]
pub struct Batch {
    pub keys: Vec<i64>,
    pub firsts: Vec<i64>,
    pub counts: Vec<i32>,
    pub chunks: Vec<Vec<u8>>,
    pub operations: Vec<Value>,
    /// What the operations name by number, from 1 on.
    pub blobs: Vec<Vec<u8>>,
    /// Runs and limits that the operations touch: they are locked in order, before anything is done.
    pub runs: Vec<String>,
    pub limits: Vec<String>,
    /// Names of workflows and versions, with the numbers that the operations have for them.
    pub names: Vec<(String, i32)>,
    asked: Vec<Asked>,
}

/// What a batch came to.
pub struct Answers {
    /// What became of each write.
    pub written: Vec<Result<Written, Refused>>,
    /// What those of this process may wait for.
    pub notices: Vec<Notice>,
    /// What other hosts have to hear.
    pub rings: Vec<Ring>,
}

/// What is needed of a write to make its answer.
enum Asked {
    Plain {
        run: RunId,
        fence: u64,
        last_seq: u64,
        progress: bool,
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

struct Turn {
    run: RunId,
    fence: u64,
    last_seq: Option<u64>,
    progress: bool,
    ends: bool,
    create: Vec<New>,
    told: Vec<RunId>,
}

struct New {
    row: Row,
    last_seq: u64,
    host: Option<i32>,
}

impl Batch {
    /// `host`: the lane's own, whose runs may have plain turns.
    pub fn of(
        writes: Vec<Write>,
        host: Option<i32>,
        held: &HeldRuns,
        names: &Names,
        host_of: &dyn Fn(&Holder) -> Option<i32>,
    ) -> Result<Self, WorldError> {
        let mut making =
            Making { batch: Batch::default(), names, host_of, touched: HashSet::new(), ends: HashMap::new() };
        for write in writes {
            let asked = match write {
                Write::Commit(commit) => match host.and_then(|host| making.plain(&commit, host, held)) {
                    Some(its) => making.append(*commit, its),
                    None => making.commit(*commit)?,
                },
                Write::Create(create) => making.create(*create)?,
                Write::Send(message) => making.send(message),
                Write::Release { run, fence } => {
                    making.touch(&run);
                    let operation = json!({ "op": "release", "id": run.as_str(), "fence": column(fence) });
                    making.batch.operations.push(operation);
                    Asked::Release { run, fence }
                }
                Write::Delete { run } => {
                    making.touch(&run);
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

    pub fn is_plain(&self) -> bool {
        self.operations.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.operations.is_empty() && self.keys.is_empty()
    }

    /// The host of the plain turns is dead: they are refused, and the rest can be sent by another lane.
    pub fn without_claims(&mut self) {
        self.keys.clear();
        self.firsts.clear();
        self.counts.clear();
        self.chunks.clear();
        for asked in &mut self.asked {
            if let Asked::Plain { run, .. } = asked {
                *asked = Asked::Refused(run.clone());
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

    /// What became of the writes, and what is to be told of it. `answers`: one for each operation.
    pub fn answers(self, answers: &str, held: &HeldRuns) -> Result<Answers, WorldError> {
        let answers: Vec<Value> = serde_json::from_str(answers)
            .map_err(|error| WorldError::Corrupt(format!("the server's answer cannot be read: {error}")))?;
        let mut answers = answers.into_iter();
        let mut outcome = Outcome { held, notices: Vec::new(), rings: Vec::new(), due: false };
        let mut written = Vec::new();
        for asked in self.asked {
            if let Asked::Plain { run, fence, last_seq, progress } = asked {
                held.advance(&run, fence, Some(last_seq), progress);
                written.push(Ok(Written::Committed(Vec::new())));
                continue;
            }
            if let Asked::Refused(run) = asked {
                written.push(Err(Refused::Fenced(run)));
                continue;
            }
            let missing = || WorldError::Corrupt("the server gave fewer answers than it was asked for".into());
            written.push(outcome.of(asked, &answers.next().ok_or_else(missing)?)?);
        }
        let Outcome { mut notices, rings, due, .. } = outcome;
        if due {
            notices.push(Notice::Due);
        }
        Ok(Answers { written, notices, rings })
    }
}

struct Making<'a> {
    batch: Batch,
    names: &'a Names,
    host_of: &'a dyn Fn(&Holder) -> Option<i32>,
    /// Runs of which an operation stands in the batch.
    touched: HashSet<RunId>,
    /// Where the logs end that plain turns of the batch append to.
    ends: HashMap<RunId, u64>,
}

impl Making<'_> {
    /// The run, if this turn of it is plain.
    fn plain(&self, commit: &Commit, host: i32, held: &HeldRuns) -> Option<Held> {
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
        let nothing = row.is_none()
            && inbox_taken.is_none()
            && append.is_empty()
            && values.is_empty()
            && hooks.is_empty()
            && create.is_empty()
            && send.is_empty()
            && forward.is_none()
            && leave.is_none()
            && meta.is_empty();
        let chunk = events.as_ref().filter(|chunk| nothing && chunk.count > 0)?;
        let its = held.get(run).filter(|its| its.fence == *fence && its.host == host)?;
        let end = self.ends.get(run).copied().unwrap_or(its.last_seq);
        let fits = chunk.first == end + 1 && i32::try_from(chunk.count).is_ok();
        (fits && !self.touched.contains(run) && !(*progress && its.tries > 0)).then_some(its)
    }

    fn append(&mut self, commit: Commit, its: Held) -> Asked {
        let chunk = commit.events.expect("a plain turn has events");
        let last_seq = chunk.first + u64::from(chunk.count) - 1;
        self.batch.keys.push(its.key);
        self.batch.firsts.push(column(chunk.first));
        self.batch.counts.push(chunk.count as i32);
        self.batch.chunks.push(chunk.bytes);
        self.ends.insert(commit.run.clone(), last_seq);
        Asked::Plain { run: commit.run, fence: commit.fence, last_seq, progress: commit.progress }
    }

    fn touch(&mut self, run: &RunId) {
        if self.touched.insert(run.clone()) {
            self.batch.runs.push(run.as_str().to_owned());
        }
    }

    fn blob(&mut self, bytes: Vec<u8>) -> Value {
        self.batch.blobs.push(bytes);
        self.batch.blobs.len().into()
    }

    fn pair(&mut self, name: &str, bytes: Option<Vec<u8>>) -> Result<Value, WorldError> {
        let bytes = bytes.map_or(Value::Null, |bytes| self.blob(bytes));
        Ok(json!([named(name)?, bytes]))
    }

    fn row(&mut self, row: &Row) -> Result<Value, WorldError> {
        named(&row.workflow)?;
        for name in [&row.workflow, row.version.as_str()] {
            self.batch.names.push((name.to_owned(), self.names.of(name)?));
        }
        rows::to_json(row, self.names)
    }

    fn send(&mut self, message: NewMessage) -> Asked {
        let NewMessage { run, at, urgent, bytes } = message;
        self.touch(&run);
        let bytes = self.blob(bytes);
        let id = run.as_str();
        let operation = json!({ "op": "send", "id": id, "at": column(at), "urgent": urgent, "bytes": bytes });
        self.batch.operations.push(operation);
        Asked::Send(run)
    }

    fn create(&mut self, create: Create) -> Result<Asked, WorldError> {
        let (mut operation, new) = self.new_run(create)?;
        operation.insert("op".into(), "create".into());
        self.batch.operations.push(operation.into());
        Ok(Asked::Create(Box::new(new)))
    }

    fn new_run(&mut self, create: Create) -> Result<(Map<String, Value>, New), WorldError> {
        let Create { row, events, claim, hooks, messages } = create;
        self.touch(&row.run);
        if let Some(concurrency) = &row.concurrency {
            self.batch.limits.push(named(&concurrency.key)?);
        }
        let host = claim.as_ref().and_then(self.host_of);
        let mut made = Map::new();
        made.insert("row".into(), self.row(&row)?);
        made.insert("first".into(), events.first.into());
        made.insert("count".into(), events.count.into());
        made.insert("bytes".into(), self.blob(events.bytes));
        if claim.is_some() {
            // It arrives at its limit also where its host is dead.
            made.insert("host".into(), host.unwrap_or(NOBODY).into());
        }
        let hooks: Vec<Value> =
            hooks.into_iter().map(|(token, info)| self.pair(&token, Some(info))).collect::<Result<_, _>>()?;
        some(&mut made, "hooks", hooks);
        let messages: Vec<Value> = messages.into_iter().map(|bytes| self.blob(bytes)).collect();
        some(&mut made, "messages", messages);
        Ok((made, New { row, last_seq: u64::from(events.count), host }))
    }

    fn commit(&mut self, commit: Commit) -> Result<Asked, WorldError> {
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
        self.touch(&run);
        let mut made = Map::new();
        made.insert("op".into(), "commit".into());
        made.insert("id".into(), run.as_str().into());
        made.insert("fence".into(), column(fence).into());
        let end = |chunk: &Chunk| chunk.first.saturating_add(u64::from(chunk.count)).saturating_sub(1);
        let last_seq = events.as_ref().map(end);
        if let Some(chunk) = events {
            made.insert("first".into(), chunk.first.into());
            made.insert("count".into(), chunk.count.into());
            made.insert("bytes".into(), self.blob(chunk.bytes));
        }
        let ends = row.as_ref().is_some_and(|row| row.status.is_terminal());
        if let Some(row) = &row {
            made.insert("row".into(), self.row(row)?);
        }
        if let Some(taken) = inbox_taken {
            made.insert("taken".into(), column(taken).into());
        }
        if progress {
            made.insert("progress".into(), true.into());
        }
        let pairs =
            append.into_iter().map(|(stream, bytes)| self.pair(&stream, Some(bytes))).collect::<Result<_, _>>()?;
        some(&mut made, "append", pairs);
        let pairs = values.into_iter().map(|(name, bytes)| self.pair(&name, bytes)).collect::<Result<_, _>>()?;
        some(&mut made, "values", pairs);
        let pairs = meta.into_iter().map(|(key, bytes)| self.pair(&key, bytes)).collect::<Result<_, _>>()?;
        some(&mut made, "meta", pairs);
        let change = |change| match change {
            HookChange::Open { token, info } => self.pair(&token, Some(info)),
            HookChange::Close { token } => self.pair(&token, None),
        };
        let changes = hooks.into_iter().map(change).collect::<Result<_, _>>()?;
        some(&mut made, "hooks", changes);
        let (mut creates, mut news) = (Vec::new(), Vec::new());
        for create in create {
            let (operation, new) = self.new_run(create)?;
            creates.push(operation.into());
            news.push(new);
        }
        some(&mut made, "create", creates);
        let mut told: Vec<RunId> = Vec::new();
        if ends {
            if let Some(heir) = &forward {
                self.touch(heir);
                told.push(heir.clone());
                made.insert("forward".into(), heir.as_str().into());
            } else if let Some(stream) = leave {
                made.insert("leave".into(), named(&stream)?.into());
            }
        }
        let mut sends = Vec::new();
        for NewMessage { run, at, urgent, bytes } in send {
            self.touch(&run);
            sends.push(json!([run.as_str(), column(at), urgent, self.blob(bytes)]));
            told.push(run);
        }
        some(&mut made, "send", sends);
        self.batch.operations.push(made.into());
        Ok(Asked::Commit(Box::new(Turn { run, fence, last_seq, progress, ends, create: news, told })))
    }
}

fn some(made: &mut Map<String, Value>, name: &str, values: Vec<Value>) {
    if !values.is_empty() {
        made.insert(name.into(), values.into());
    }
}

/// A name for a column, unless it is longer than any that a host lets through.
fn named(name: &str) -> Result<String, WorldError> {
    let column = escaped(name);
    if column.len() > NAME {
        let start: String = name.chars().take(40).collect();
        return Err(WorldError::Invalid(format!(
            "the name {start:?}… has {} bytes, expected at most {NAME}",
            name.len()
        )));
    }
    Ok(column)
}

struct Outcome<'a> {
    held: &'a HeldRuns,
    notices: Vec<Notice>,
    rings: Vec<Ring>,
    due: bool,
}

impl Outcome<'_> {
    fn of(&mut self, asked: Asked, answer: &Value) -> Result<Result<Written, Refused>, WorldError> {
        if let Some(refused) = refusal(answer)? {
            if let (Refused::Fenced(run), Asked::Commit(turn)) = (&refused, &asked) {
                self.held.remove(run, turn.fence);
            }
            return Ok(Err(refused));
        }
        Ok(Ok(match asked {
            Asked::Plain { .. } | Asked::Refused(_) => Written::Committed(Vec::new()),
            Asked::Create(new) => match self.created(*new, answer)? {
                Creation::Claimed(claim) => Written::Created(Some(*claim)),
                _ => Written::Created(None),
            },
            Asked::Commit(turn) => {
                let Turn { run, fence, last_seq, progress, ends, create, told } = *turn;
                match ends {
                    true => self.held.remove(&run, fence),
                    false => self.held.advance(&run, fence, last_seq, progress),
                }
                self.due |= ends;
                for run in told {
                    self.notices.push(Notice::Message(run));
                    self.due = true;
                }
                for told in answer["told"].as_array().into_iter().flatten() {
                    self.told(&told[0], &told[1]);
                }
                let answers = answer["committed"].as_array().map(Vec::as_slice).unwrap_or_default();
                let made = create.into_iter().zip(answers).map(|(new, answer)| self.created(new, answer));
                Written::Committed(made.collect::<Result<_, _>>()?)
            }
            Asked::Send(run) => {
                self.told(&run.as_str().into(), &answer["host"]);
                self.due |= answer["host"].is_null();
                self.notices.push(Notice::Message(run));
                Written::Sent(whole(&answer["sent"])?)
            }
            Asked::Release { run, fence } => {
                self.held.remove(&run, fence);
                self.due = true;
                Written::Released
            }
            Asked::Delete => Written::Deleted,
        }))
    }

    /// A run got a message, and that host holds it. Those of this process hear of it anyway.
    fn told(&mut self, run: &Value, host: &Value) {
        let own = |run: &str| RunId::new(run).is_ok_and(|run| self.held.get(&run).is_some());
        if let (Some(run), Some(host)) = (run.as_str(), host.as_i64().and_then(|host| i32::try_from(host).ok()))
            && !own(run)
        {
            self.rings.push(Ring::Message(host, run.to_owned()));
        }
    }

    fn created(&mut self, new: New, answer: &Value) -> Result<Creation, WorldError> {
        if answer.get("exists").is_some() {
            return Ok(Creation::Exists);
        }
        let (Some(host), Some(fence)) = (new.host, answer.get("claimed")) else {
            self.due = true;
            return Ok(Creation::Waits);
        };
        let (fence, last_seq) = (whole(fence)?, new.last_seq);
        let held = Held { key: column(whole(&answer["key"])?), fence, host, last_seq, tries: 0 };
        self.held.insert(new.row.run.clone(), held);
        let run = new.row.run.clone();
        Ok(Creation::Claimed(Box::new(Claim { run, fence, tries: 0, row: new.row, last_seq, admitted: true })))
    }
}

/// Why a write was refused, if it was.
fn refusal(answer: &Value) -> Result<Option<Refused>, WorldError> {
    let run = |name: &str| -> Result<RunId, WorldError> {
        let id = answer[name].as_str().unwrap_or_default();
        RunId::new(id).map_err(|_| WorldError::Corrupt(format!("found {answer}, expected the id of a run")))
    };
    let status = || -> Result<Status, WorldError> { status_of(answer["status"].as_i64().unwrap_or(-1) as i16) };
    let has = |name: &str| answer.get(name).is_some();
    Ok(Some(match () {
        () if has("fenced") => Refused::Fenced(run("fenced")?),
        () if has("terminal") => Refused::Terminal(run("terminal")?, status()?),
        () if has("alive") => Refused::NotTerminal(run("alive")?, status()?),
        () if has("unknown") => Refused::Unknown(run("unknown")?),
        () if has("exists") => Refused::Exists(Box::new(rows::from_json(&answer["exists"])?)),
        () if has("token") => {
            let token: Arc<str> = unescaped(answer["token"].as_str().unwrap_or_default()).into();
            Refused::Token { token, run: run("run")? }
        }
        () if has("sequence") => Refused::Sequence {
            run: run("sequence")?,
            expected: answer["expected"].as_u64().unwrap_or_default(),
            found: whole(&answer["found"])?,
        },
        () => return Ok(None),
    }))
}
