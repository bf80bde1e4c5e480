//! Making the runs of a file.

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::Arc;

use durhai_core::event::{OpenTimes, Origin};
use durhai_core::replay::TakenOver;
use durhai_core::{Event, EventBody, RunId, Status, StepId, Value, Version, wire};
use durhai_engine::Bundle;
use durhai_world::{Chunk, Claim, Commit, Create, HookChange, NewMessage, Refused, Row, WorldError, Write, Written};
use serde_json::json;

use super::{ImportOptions, Plan};
use crate::archive::export::masking::{Tokens, is_made_up, is_masked};
use crate::archive::export::read::{Item, Reader};
use crate::error::HostError;
use crate::logs::rebase::rename_in_input;
use crate::logs::replay::Replayer;
use crate::shared::Shared;
use crate::store::streams::{LOG_STREAM, OUTPUT, STATE};

/// Bytes of one commit, about.
const BYTES: usize = 1 << 20;

/// How the runs of a file came to be, as far as their names depend on it.
#[derive(Debug, Default)]
pub struct Origins {
    /// By the run that was started or that continues: the run that did it, and the call.
    started: HashMap<RunId, (RunId, StepId)>,
    /// By the run that continues: the first of its chain, and its number.
    continued: HashMap<RunId, (RunId, u64)>,
}

/// The new names of runs.
#[derive(Debug)]
pub struct Names {
    new: Option<HashMap<RunId, RunId>>,
}

impl Origins {
    pub fn look(&mut self, run: Option<&RunId>, event: &Event) {
        match (&event.body, run) {
            (EventBody::RunCreated(created), _) => {
                if let Some(chain) = &created.chain {
                    self.continued.insert(created.run.clone(), (chain.first.clone(), chain.number));
                }
            }
            (EventBody::ChildStarted { run_id, .. }, Some(run)) => {
                if let Some(step) = &event.step_id {
                    self.started.insert(run_id.clone(), (run.clone(), step.clone()));
                }
            }
            _ => {}
        }
    }

    /// Every run that the file mentions gets its name from the one that started it, as a host does it. What was started
    /// by a run that is not in the file is not renamed.
    pub fn names(&self, root: &RunId, new: RunId) -> Names {
        let mut names = HashMap::from([(root.clone(), new)]);
        for run in self.started.keys().chain(self.continued.keys()) {
            let mut path = Vec::new();
            let mut at = run.clone();
            while !names.contains_key(&at) {
                let before = match (self.started.get(&at), self.continued.get(&at)) {
                    (_, Some((first, _))) if first != &at => first,
                    (Some((parent, _)), _) => parent,
                    _ => break,
                };
                if path.contains(&at) {
                    break;
                }
                path.push(at.clone());
                at = before.clone();
            }
            if !names.contains_key(&at) {
                continue;
            }
            for run in path.into_iter().rev() {
                let name = match (self.continued.get(&run), self.started.get(&run)) {
                    (Some((first, number)), _) if first != &run => names[first].successor(*number),
                    (_, Some((parent, step))) => names[parent].child(step),
                    _ => continue,
                };
                names.insert(run, name);
            }
        }
        Names { new: Some(names) }
    }
}

impl Names {
    /// Everything is called as it was.
    pub fn same() -> Self {
        Names { new: None }
    }

    pub fn of(&self, run: &RunId) -> RunId {
        self.known(run).unwrap_or_else(|| run.clone())
    }

    fn known(&self, run: &RunId) -> Option<RunId> {
        match &self.new {
            None => Some(run.clone()),
            Some(new) => new.get(run).cloned(),
        }
    }
}

/// One run in the making.
struct Making {
    old: Row,
    claim: Option<Claim>,
    events: Vec<Event>,
    commit: Commit,
    size: usize,
}

/// Makes every run of the file; each is parked, and held by this host, until all are there. On an error what was made is
/// left to be removed, and no host holds it.
pub fn bring_in<R: BufRead>(
    host: &Arc<Shared>,
    reader: Reader<R>,
    plan: &Plan,
    options: &ImportOptions,
) -> Result<Vec<String>, HostError> {
    let bringing = Bringing {
        host,
        plan,
        options,
        tokens: Tokens::default(),
        texts: HashMap::new(),
        notes: Vec::new(),
        made: Vec::new(),
    };
    bringing.all(reader)
}

struct Bringing<'a> {
    host: &'a Arc<Shared>,
    plan: &'a Plan,
    options: &'a ImportOptions,
    /// Of hooks, with what they are here.
    tokens: Tokens,
    texts: HashMap<Version, Bundle>,
    notes: Vec<String>,
    /// Those that are complete, with the row that each has in the end.
    made: Vec<(Claim, Row)>,
}

impl Bringing<'_> {
    fn all<R: BufRead>(mut self, reader: Reader<R>) -> Result<Vec<String>, HostError> {
        let mut now = None;
        let done = self.read(reader, &mut now).and_then(|()| self.settle());
        if done.is_err() {
            let claims =
                self.made.iter().map(|(claim, _)| claim).chain(now.iter().filter_map(|now| now.claim.as_ref()));
            let release = |claim: &Claim| Write::Release { run: claim.run.clone(), fence: claim.fence };
            // Who cannot give them back loses them with this process.
            let _ = self.host.store.world.write(claims.map(release).collect());
        }
        done.map(|()| self.notes)
    }

    fn read<R: BufRead>(&mut self, mut reader: Reader<R>, now: &mut Option<Making>) -> Result<(), HostError> {
        while let Some(item) = reader.next()? {
            let known = matches!(item, Item::Text(..) | Item::Run { .. } | Item::Event(_));
            if let Some(run) = now.as_mut().filter(|run| !known && run.claim.is_none()) {
                self.create(run)?;
            }
            match item {
                Item::Text(version, bundle) => self.text(version, bundle)?,
                Item::Run { row } => {
                    if let Some(mut before) = now.take() {
                        self.finish(&mut before).inspect_err(|_| *now = Some(before))?;
                    }
                    *now = Some(Making::new(*row));
                }
                item => {
                    let Some(run) = now.as_mut() else { continue };
                    self.take(run, item)?;
                    if run.size >= BYTES {
                        self.flush(run)?;
                    }
                }
            }
        }
        match now.as_mut() {
            Some(run) => {
                self.finish(run)?;
                *now = None;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Texts stay whatever becomes of the import: those that nothing needs are collected.
    fn text(&mut self, version: Version, bundle: Option<Bundle>) -> Result<(), HostError> {
        let Some(bundle) = bundle else { return Ok(()) };
        let bytes = serde_json::to_vec(&bundle).expect("texts are JSON");
        self.host.store.world.put_program(&version, &bytes)?;
        self.texts.insert(version, bundle);
        Ok(())
    }

    fn take(&mut self, run: &mut Making, item: Item) -> Result<(), HostError> {
        match item {
            Item::Event(event) => run.events.push(*event),
            Item::Log(line) => self.append(run, LOG_STREAM.into(), json_bytes(&line)),
            Item::Output { stream, entry } => self.append(run, format!("{OUTPUT}{stream}"), json_bytes(&entry)),
            Item::Entry { stream, text } => self.append(run, stream, text.into_bytes()),
            Item::State { key, value } => self.value(run, format!("{STATE}{key}"), json_bytes(&value)),
            Item::Value { name, text } => self.value(run, name, text.into_bytes()),
            Item::Hook { token, info } => {
                let token = self.own(token.into_bytes());
                let token = String::from_utf8(token).expect("one text was replaced by another");
                let Some(claim) = &run.claim else { return Ok(()) };
                if let Some(other) = self.host.store.world.reserve(&token, &claim.run, claim.fence)? {
                    let text = format!(
                        "the token {token:?} belongs to a hook of run {other}, and one run at a time can have it"
                    );
                    return Err(HostError::Conflict(text));
                }
                let info = self.own(info.into_bytes());
                run.size += info.len();
                run.commit.hooks.push(HookChange::Open { token: token.into(), info });
            }
            Item::Letter { at, message } => {
                let message = message.to(&run.commit.run, at);
                let bytes = self.own(message.bytes);
                run.size += bytes.len();
                run.commit.send.push(NewMessage { bytes, ..message });
            }
            Item::Text(..) | Item::Run { .. } => {}
        }
        Ok(())
    }

    fn append(&self, run: &mut Making, stream: String, bytes: Vec<u8>) {
        let bytes = self.own(bytes);
        run.size += bytes.len() + 64;
        run.commit.append.push((stream.into(), bytes));
    }

    fn value(&self, run: &mut Making, name: String, bytes: Vec<u8>) {
        let bytes = self.own(bytes);
        run.size += bytes.len() + 64;
        run.commit.values.push((name.into(), Some(bytes)));
    }

    /// With tokens as they are here.
    fn own(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        self.tokens.apply(&mut bytes);
        bytes
    }

    /// The log is complete: the run is made with it.
    fn create(&mut self, run: &mut Making) -> Result<(), HostError> {
        let events = self.own_events(run)?;
        let Some(Event { body: EventBody::RunCreated(created), .. }) = events.first() else { return Ok(()) };
        let ended = run.old.status.is_terminal();
        let row = Row {
            run: created.run.clone(),
            status: Status::Parked,
            parent: created.parent.as_ref().map(|parent| parent.run.clone()),
            wake_at: None,
            ended_at: None,
            purge_at: None,
            note: json!({ "reason": "its import is under way, or was cut off: it is removed at the next start of a host" }),
            concurrency: run.old.concurrency.clone().filter(|_| !ended),
            ..run.old.clone()
        };
        let mut chunks = chunks(&events).into_iter();
        let first = chunks.next().unwrap_or(Chunk { first: 1, count: 0, bytes: Vec::new() });
        let id = row.run.clone();
        let create = Create { row, events: first, claim: None, hooks: Vec::new(), messages: Vec::new() };
        self.write(Write::Create(Box::new(create)))?;
        // The claimer passes over it: it is parked.
        let claim =
            self.host.store.world.claim_run(&id, &self.host.store.lease.holder(), self.host.store.clock.now())?;
        let claim = claim.ok_or_else(|| HostError::Conflict(format!("run {id} was taken while it was imported")))?;
        run.commit = Commit::new(id, claim.fence);
        run.claim = Some(claim);
        for chunk in chunks {
            run.commit.events = Some(chunk);
            self.flush(run)?;
        }
        Ok(())
    }

    /// The log as the new run's own.
    fn own_events(&mut self, run: &mut Making) -> Result<Vec<Event>, HostError> {
        let mut events = std::mem::take(&mut run.events);
        for event in &events {
            let EventBody::HookOpened { token, .. } = &event.body else { continue };
            let taken = || -> Result<bool, WorldError> {
                Ok(!self.options.as_is && is_made_up(token) && self.host.store.world.hook(token)?.is_some())
            };
            if is_masked(token) || taken()? {
                let new = crate::store::random::token()?;
                self.tokens.replace(token, || new);
            }
        }
        if !self.tokens.is_empty() {
            let mut bytes = wire::encode(&events);
            self.tokens.apply(&mut bytes);
            events.clear();
            wire::decode(&bytes, &mut events).map_err(|error| HostError::Invalid(error.to_string()))?;
        }
        if self.options.as_is {
            return Ok(events);
        }
        let old = run.old.run.clone();
        let mut known_as = old.clone();
        let last = events.len() as u64;
        let ended = run.old.status.is_terminal();
        let unbegun = TakenOver::of(&events).not_begun(&events);
        for event in &mut events {
            self.rename(event);
            if let EventBody::RunCreated(created) = &mut event.body {
                created.seed.get_or_insert_with(|| old.to_string());
                // Its effects are its own: the run that it was tried again for, or it itself, may live where it came from.
                known_as = created.idempotency_run.take().unwrap_or(known_as);
                let file = Some(self.options.file.clone()).filter(|file| !file.is_empty());
                // Its time stood still while it was a file, or for longer, if it took a log over and has not begun since.
                let stood = unbegun.unwrap_or(OpenTimes::StoodAt(self.plan.header.at));
                let times = Some(stood).filter(|_| !ended);
                created.origin = Some(Origin { run: old.clone(), seq: last, file, times });
                // What it does from now on is no part of a trace elsewhere.
                created.traceparent = None;
            }
        }
        Ok(self.fitting(events, &run.old, &known_as))
    }

    fn rename(&self, event: &mut Event) {
        let names = &self.plan.names;
        match &mut event.body {
            EventBody::RunCreated(created) => {
                created.run = names.of(&created.run);
                created.parent = created.parent.take().and_then(|mut parent| {
                    parent.run = names.known(&parent.run)?;
                    Some(parent)
                });
                if let Some(chain) = &mut created.chain {
                    chain.first = names.of(&chain.first);
                    chain.previous = names.of(&chain.previous);
                }
            }
            EventBody::ChildStarted { run_id, .. } | EventBody::HookConflict { run_id, .. } => {
                *run_id = names.of(run_id)
            }
            EventBody::RunContinued { next } => *next = names.of(next),
            _ => {}
        }
    }

    /// A script may have put its run's name into what it asked for. If the log fits only with the new name there, it gets it.
    fn fitting(&mut self, events: Vec<Event>, old: &Row, known_as: &RunId) -> Vec<Event> {
        let Some(bundle) = self.texts.get(&old.version) else { return events };
        let new = self.plan.names.of(&old.run);
        let replayer = Replayer::new(&self.host.config.sandbox, &self.host.config.limits, bundle, false);
        let fits = |replayer: &mut Replayer, events: &[Event]| {
            replayer.run(events.to_vec(), None).is_ok_and(|mut ran| ran.view().divergence.is_none())
        };
        let mut replayer = match replayer {
            Ok(replayer) => replayer,
            Err(error) => {
                self.notes.push(format!("the script of run {new} does not compile here: {error}"));
                return events;
            }
        };
        if fits(&mut replayer, &events) {
            return events;
        }
        let mut renamed = events.clone();
        renamed.iter_mut().for_each(|event| rename_in_input(event, known_as, &new));
        if fits(&mut replayer, &renamed) {
            return renamed;
        }
        self.notes.push(format!("run {new} does not fit its script here: `durhai replay {new}` shows where"));
        events
    }

    fn flush(&mut self, run: &mut Making) -> Result<(), HostError> {
        let next = Commit::new(run.commit.run.clone(), run.commit.fence);
        let commit = std::mem::replace(&mut run.commit, next);
        run.size = 0;
        self.write(Write::Commit(Box::new(commit))).map(drop)
    }

    /// All of the run has been read.
    fn finish(&mut self, run: &mut Making) -> Result<(), HostError> {
        if run.claim.is_none() {
            self.create(run)?;
        }
        self.flush(run)?;
        let Some(claim) = run.claim.take() else { return Ok(()) };
        let row = self.row(&run.old, &claim.row);
        self.made.push((claim, row));
        Ok(())
    }

    /// What the run is in the end.
    fn row(&self, old: &Row, parked: &Row) -> Row {
        let now = self.host.store.clock.now();
        if old.status.is_terminal() {
            let mut note = old.note.clone();
            for key in ["next", "first"] {
                if let Some(id) = note.get(key).and_then(Value::as_str).and_then(|id| RunId::new(id).ok()) {
                    note[key] = json!(self.plan.names.of(&id));
                }
            }
            // It stays as long as it would have, counted from now.
            let purge_at = old.purge_at.map(|at| now.saturating_add(at.saturating_sub(old.ended_at.unwrap_or(at))));
            return Row { status: old.status, ended_at: old.ended_at, purge_at, note, ..parked.clone() };
        }
        let id = &parked.run;
        let file = match self.options.file.as_str() {
            "" => "a file".to_owned(),
            file => file.to_owned(),
        };
        let reason = match old.note.get("reason").and_then(Value::as_str).filter(|_| old.status == Status::Parked) {
            Some(why) => format!("imported from {file}, where it was parked: {why}"),
            None => format!(
                "imported from {file} as run {}, which was {}: `durhai unpark {id}` lets it go on; attempts that were under way \
                 are made again",
                old.run, old.status
            ),
        };
        let mut note = json!({ "reason": reason });
        if let Some(text) = old.note.get("status_text") {
            note["status_text"] = text.clone();
        }
        Row { status: Status::Parked, note, ..parked.clone() }
    }

    /// Everything is there: each run becomes what it is.
    fn settle(&mut self) -> Result<(), HostError> {
        for (claim, row) in std::mem::take(&mut self.made) {
            let mut commit = Commit::new(claim.run.clone(), claim.fence);
            let ended = row.status.is_terminal();
            commit.row = Some(row.clone());
            commit.progress = true;
            let last = Write::Commit(Box::new(commit));
            let release = Write::Release { run: claim.run.clone(), fence: claim.fence };
            let written = self.write(last).and_then(|_| if ended { Ok(None) } else { self.write(release).map(Some) });
            if let Err(error) = written {
                self.made.push((claim, row));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Durable when it returns.
    fn write(&self, write: Write) -> Result<Written, HostError> {
        if self.host.life.is_stopping() {
            return Err(HostError::Closed);
        }
        let answer = self.host.store.world.write(vec![write])?.pop();
        match answer {
            Some(Ok(written)) => Ok(written),
            Some(Err(Refused::Exists(row))) => Err(HostError::Conflict(format!(
                "there is a run {} already: import the file under another id",
                row.run
            ))),
            Some(Err(refused)) => Err(crate::error::refusal(refused)),
            None => Err(WorldError::Corrupt("the world does not answer a write".into()).into()),
        }
    }
}

impl Making {
    fn new(old: Row) -> Self {
        let commit = Commit::new(old.run.clone(), 0);
        Making { old, claim: None, events: Vec::new(), commit, size: 0 }
    }
}

fn json_bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a value is JSON")
}

/// Events as they are stored, in pieces.
fn chunks(events: &[Event]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut from = 0;
    let mut size = 0;
    for (at, event) in events.iter().enumerate() {
        let mut bytes = Vec::new();
        wire::write(event, &mut bytes);
        size += bytes.len();
        if size >= BYTES || at + 1 == events.len() {
            let part = &events[from..=at];
            chunks.push(Chunk { first: part[0].seq, count: part.len() as u32, bytes: wire::encode(part) });
            (from, size) = (at + 1, 0);
        }
    }
    chunks
}
