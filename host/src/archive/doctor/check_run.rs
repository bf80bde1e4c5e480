//! One run under examination: what its log says, and whether everything else says the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use durhai_core::event::{Created, Takeover};
use durhai_core::legal::LogCheck;
use durhai_core::{Event, EventBody, Millis, RunId, Status, StepId, Version, wire};
use durhai_world::{Record, Row, World, WorldError};
use serde_json::json;

use super::Damage;
use crate::messages::message::Message;
use crate::store::streams::LOG_STREAM;

/// A run, as far as it has been read.
pub struct RunCheck {
    pub number: u64,
    keep: bool,
    row: Option<Box<Row>>,
    /// What is sound, in the order it came.
    out: Vec<Record>,
    aside: Vec<(String, Record)>,
    /// What is wrong, and whether that is mended by leaving something out.
    wrong: Vec<(String, bool)>,
    check: LogCheck,
    last_seq: u64,
    last_at: Millis,
    /// Why the log ends where it does, if that is no end.
    cut: Option<String>,
    told: LogFacts,
    taken: u64,
    messages: Vec<u64>,
    streams: BTreeMap<String, u64>,
}

/// What the log tells.
#[derive(Default)]
struct LogFacts {
    created: Option<Box<Created>>,
    created_at: Millis,
    started_at: Option<Millis>,
    version: Option<Version>,
    end: Option<(EventBody, Millis)>,
    /// Hooks that are open.
    hooks: HashMap<StepId, String>,
    /// Runs that are waited for.
    children: BTreeMap<StepId, RunId>,
    /// A call is open.
    steps: BTreeSet<StepId>,
}

/// What comes of a run.
pub struct Left {
    pub findings: Vec<Damage>,
    pub aside: Vec<(Option<RunId>, String, Record)>,
    pub out: Vec<Record>,
    /// The run, if it has not ended.
    pub live: Option<RunId>,
    /// Of its open hooks.
    pub tokens: Vec<String>,
}

impl RunCheck {
    pub fn new(number: u64, keep: bool) -> Self {
        RunCheck {
            number,
            keep,
            row: None,
            out: Vec::new(),
            aside: Vec::new(),
            wrong: Vec::new(),
            check: LogCheck::default(),
            last_seq: 0,
            last_at: 0,
            cut: None,
            told: LogFacts::default(),
            taken: 0,
            messages: Vec::new(),
            streams: BTreeMap::new(),
        }
    }

    /// The events that are sound.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub fn take(&mut self, record: Record) {
        match record {
            Record::Run { value, .. } => self.row = value,
            Record::Taken { value, .. } => {
                self.taken = value;
                self.out.push(record);
            }
            Record::Log { first, count, value, .. } => self.chunk(first, count, value.unwrap_or_default()),
            Record::Message { index, ref value, .. } => {
                if value.as_deref().is_some_and(|bytes| Message::decode(bytes).is_none()) {
                    let what = format!("the message {index} that waits for it is of no kind that this version knows");
                    self.put_aside(what, record);
                    return;
                }
                self.messages.push(index);
                self.push(record);
            }
            Record::Entry { .. } => self.entry(record),
            Record::Unreadable { ref what, .. } => {
                let what = format!("{what} cannot be read");
                if what.contains("log") {
                    self.cut.get_or_insert_with(|| what.clone());
                }
                self.put_aside(what, record);
            }
            record => self.push(record),
        }
    }

    fn push(&mut self, record: Record) {
        if self.keep {
            self.out.push(record);
        }
    }

    fn put_aside(&mut self, why: String, record: Record) {
        self.wrong.push((why.clone(), true));
        if self.keep {
            self.aside.push((why, record));
        }
    }

    /// Events up to the first that cannot be there are kept; those behind it are put aside.
    fn chunk(&mut self, first: u64, count: u32, bytes: Vec<u8>) {
        let number = self.number;
        let whole = |bytes| Record::Log { number, first, count, value: Some(bytes) };
        if self.cut.is_some() {
            if self.keep {
                let why = format!("the events from {first} on come after damage");
                self.aside.push((why, whole(bytes)));
            }
            return;
        }
        let mut events = Vec::new();
        // What can be read is read, up to the line that cannot.
        let mut why =
            wire::decode(&bytes, &mut events).err().map(|error| format!("the events from {first} on: {error}"));
        let read = events.len() as u32;
        if why.is_none() && read != count {
            why = Some(format!("the events from {first} on should be {count}, and are {read}"));
        }
        let mut sound = 0;
        for event in &events {
            if let Err(bad) = self.check.next(event) {
                why = Some(bad.to_string());
                break;
            }
            sound += 1;
            self.told.take(event);
            self.last_seq = event.seq;
            self.last_at = event.at;
        }
        let Some(why) = why else {
            self.push(whole(bytes));
            return;
        };
        events.truncate(sound);
        if sound > 0 {
            let part = wire::encode(&events);
            self.push(Record::Log { number, first, count: sound as u32, value: Some(part) });
        }
        let what = format!("its log is damaged: {why}; the first {} events are sound", self.last_seq);
        self.cut = Some(why);
        self.put_aside(what, whole(bytes));
    }

    fn entry(&mut self, record: Record) {
        let Record::Entry { number, stream, index, value } = record else { return };
        let next = self.streams.entry(stream.clone()).or_insert(0);
        let place = *next;
        let readable = value.as_deref().is_none_or(|bytes| {
            !(stream == LOG_STREAM || stream.starts_with(crate::store::streams::OUTPUT))
                || serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
        });
        if !readable {
            let what = format!("entry {index} of its stream {stream:?} cannot be read");
            self.put_aside(what, Record::Entry { number, stream, index, value });
            return;
        }
        *next += 1;
        if index != place && self.wrong.last().is_none_or(|(what, _)| !what.contains(&stream)) {
            let what = format!(
                "entry {place} of its stream {stream:?} is missing, the next one there is {index}; a repair moves those behind up"
            );
            self.wrong.push((what, true));
        }
        self.push(Record::Entry { number, stream, index: place, value });
    }

    /// All of the run is there.
    // Long because it is a list: one check after the other, each with its sentence.
    pub fn leave(mut self, world: &dyn World, has_text: &dyn Fn(&Version) -> bool) -> Result<Left, WorldError> {
        let number = self.number;
        let by_log = self.row_by_log();
        let row = self.row.take();
        let id = row.as_ref().map(|row| row.run.clone()).or_else(|| by_log.as_ref().map(|row| row.run.clone()));
        let mut findings: Vec<_> = self
            .wrong
            .iter()
            .map(|(what, mended)| match mended {
                true => Damage::mended(id.as_ref(), what.clone()),
                false => Damage::told(id.as_ref(), what.clone(), "restore a backup"),
            })
            .collect();
        let mut aside: Vec<_> = self.aside.drain(..).map(|(why, record)| (id.clone(), why, record)).collect();
        let changed = |row: Row, why: &str, aside: &mut Vec<_>| {
            aside.push((id.clone(), why.to_owned(), Record::Run { number, value: Some(Box::new(row)) }));
        };
        let row = match (row, by_log) {
            (None, None) => {
                // What it was is not known.
                let what = format!(
                    "there is something of a run (number {number}), but neither a row nor the beginning of its log"
                );
                findings.push(Damage::mended(None, what.clone()));
                aside.extend(self.out.drain(..).map(|record| (None, what.clone(), record)));
                return Ok(Left { findings, aside, out: Vec::new(), live: None, tokens: Vec::new() });
            }
            (None, Some(by_log)) => {
                findings.push(Damage::mended(
                    id.as_ref(),
                    "its row is missing or cannot be read; its log tells what it was",
                ));
                by_log
            }
            (Some(row), None) => {
                let what = "its log has no beginning that can be read: nothing tells how it came to be";
                let todo = "restore a backup, or terminate and delete it";
                findings.push(Damage::told(id.as_ref(), what, todo));
                if row.status.is_terminal() || row.status == Status::Parked {
                    *row
                } else {
                    let parked = parked(&row, &format!("{what}: {todo}"));
                    changed(*row, what, &mut aside);
                    parked
                }
            }
            (Some(row), Some(by_log)) => {
                let wrong = self.differences(&row, &by_log);
                if wrong.is_empty() {
                    *row
                } else {
                    let mended = self.mended(&row, by_log);
                    changed(*row, &wrong.join("; "), &mut aside);
                    findings.extend(wrong.into_iter().map(|what| Damage::mended(id.as_ref(), what)));
                    mended
                }
            }
        };
        let row = self.around(row, world, has_text, &mut findings, &mut aside)?;
        let mut out = std::mem::take(&mut self.out);
        if row.status.is_terminal() {
            // Nothing waits for what has ended.
            let (messages, rest): (Vec<_>, Vec<_>) =
                out.into_iter().partition(|record| matches!(record, Record::Message { .. }));
            out = rest;
            if !self.messages.is_empty() {
                let what = "it has ended, and messages wait for it";
                findings.push(Damage::mended(id.as_ref(), what));
                aside.extend(messages.into_iter().map(|record| (id.clone(), what.to_owned(), record)));
            }
        } else {
            self.count_letters(&id, &mut out, &mut findings);
        }
        let live = (!row.status.is_terminal()).then(|| row.run.clone());
        // A run that has not begun yet opens what it took over when it does.
        let tokens = match row.status {
            Status::Pending => Vec::new(),
            _ => self.told.hooks.into_values().collect(),
        };
        out.insert(0, Record::Run { number, value: Some(Box::new(row)) });
        Ok(Left { findings, aside, out, live, tokens })
    }

    /// Messages are numbered without gaps behind those that were dealt with.
    fn count_letters(&self, id: &Option<RunId>, out: &mut [Record], findings: &mut Vec<Damage>) {
        let gap = (self.taken + 1..).zip(&self.messages).find(|(wanted, found)| wanted != *found);
        let Some((missing, found)) = gap else { return };
        let what = format!("the message {missing} that was sent to it is lost, the next one there is {found}");
        findings.push(Damage::mended(id.as_ref(), what));
        let mut next = self.taken;
        for record in out {
            if let Record::Message { index, .. } = record {
                next += 1;
                *index = next;
            }
        }
    }

    /// What the row says otherwise than the log.
    fn differences(&self, row: &Row, by_log: &Row) -> Vec<String> {
        let mut wrong = Vec::new();
        if row.run != by_log.run {
            wrong.push(format!("its log is that of run {}", by_log.run));
        }
        if row.workflow != by_log.workflow {
            wrong.push(format!("its row says workflow {:?}, its log {:?}", row.workflow, by_log.workflow));
        }
        if row.version != by_log.version && self.cut.is_none() {
            let (row, log) = (row.version.short(), by_log.version.short());
            wrong.push(format!("its row says version {row}, its log {log}"));
        }
        if row.parent != by_log.parent {
            let name = |run: &Option<RunId>| run.as_ref().map_or("none".into(), ToString::to_string);
            wrong.push(format!(
                "its row says that its parent is {}, its log {}",
                name(&row.parent),
                name(&by_log.parent)
            ));
        }
        if row.tags != by_log.tags {
            wrong.push("its row has other tags than its log".into());
        }
        let ended = by_log.status.is_terminal();
        if ended && row.status != by_log.status {
            wrong.push(format!("its row says {}, its log {}", row.status, by_log.status));
        } else if !ended && row.status.is_terminal() {
            wrong.push(format!("its row says {}, but its log has no end", row.status));
        }
        if !ended && matches!(row.status, Status::Running | Status::Pending) && row.wake_at.is_none() {
            wrong.push(format!("it is {}, and would never be taken up again", row.status));
        }
        if !ended && self.cut.is_some() && row.status != Status::Parked {
            wrong.push("it would go on although its log is damaged".into());
        }
        wrong
    }

    /// The row that fits the log.
    fn mended(&self, row: &Row, by_log: Row) -> Row {
        let version = if self.cut.is_some() { row.version.clone() } else { by_log.version.clone() };
        let mended = Row {
            version,
            note: row.note.clone(),
            concurrency: row.concurrency.clone(),
            purge_at: row.purge_at,
            ..by_log
        };
        if let Some(why) = &self.cut {
            let reason = format!(
                "its log was damaged ({why}); what could be read was kept: `durhai replay` shows how far that goes, `durhai \
                 fork --after` goes on from there, `durhai unpark` makes again what is missing"
            );
            return parked(&mended, &reason);
        }
        if mended.status.is_terminal() {
            return mended;
        }
        if row.status.is_terminal() {
            return parked(&mended, "its row said that it had ended, its log did not: `durhai unpark` lets it go on");
        }
        Row { status: row.status, wake_at: row.wake_at.or(Some(0)), ..mended }
    }

    /// What has to do with other things than the run itself.
    fn around(
        &self,
        row: Row,
        world: &dyn World,
        has_text: &dyn Fn(&Version) -> bool,
        findings: &mut Vec<Damage>,
        aside: &mut Vec<(Option<RunId>, String, Record)>,
    ) -> Result<Row, WorldError> {
        let id = row.run.clone();
        let number = self.number;
        if let (Status::Continued, Some((EventBody::RunContinued { next }, _))) = (row.status, &self.told.end)
            && matches!(world.row(next), Ok(None))
            && matches!(crate::logs::lineage::latest(world, &id), Ok(latest) if latest == *next || latest == id)
        {
            let what = format!("it goes on as run {next}, which is not there");
            findings.push(Damage::told(Some(&id), what, "it was removed, or is lost: restore a backup"));
        }
        if row.status.is_terminal() {
            return Ok(row);
        }
        if !has_text(&row.version) {
            let what = format!("the text of its version {} is missing", row.version.short());
            let todo = "import an export of a run that has this version, or migrate the run to another one";
            findings.push(Damage::told(Some(&id), what, todo));
        }
        if row.status == Status::Parked || !self.messages.is_empty() || row.wake_at == Some(0) {
            return Ok(row);
        }
        for (step, child) in &self.told.children {
            let last = crate::logs::lineage::latest(world, child).unwrap_or_else(|_| child.clone());
            let what = match world.row(&last) {
                Ok(None) => format!("step {step} waits for run {child}, which is not there"),
                Ok(Some(row)) if row.status.is_terminal() => {
                    format!(
                        "step {step} waits for run {child}, which has ended ({}), and no message says so",
                        row.status
                    )
                }
                _ => continue,
            };
            findings.push(Damage::mended(Some(&id), format!("{what}; a repair has the run look for it")));
            let why = "it is to be taken up at once".to_owned();
            aside.push((Some(id), why, Record::Run { number, value: Some(Box::new(row.clone())) }));
            return Ok(Row { wake_at: Some(0), ..row });
        }
        Ok(row)
    }

    /// What the log alone says; none if it has no beginning.
    fn row_by_log(&self) -> Option<Row> {
        let created = self.told.created.as_deref()?;
        let end = self.told.end.as_ref();
        let status = match end.map(|(body, _)| body) {
            Some(EventBody::RunCompleted { .. }) => Status::Completed,
            Some(EventBody::RunFailed { .. }) => Status::Failed,
            Some(EventBody::RunCancelled { .. }) => Status::Cancelled,
            Some(EventBody::RunContinued { .. }) => Status::Continued,
            _ if self.told.started_at.is_some() => Status::Running,
            _ => Status::Pending,
        };
        let note = match end {
            Some((EventBody::RunContinued { next }, _)) => {
                let first = created.chain.as_ref().map_or(&created.run, |chain| &chain.first);
                json!({ "next": next, "first": first })
            }
            _ => serde_json::Value::Null,
        };
        let row = Row {
            run: created.run.clone(),
            workflow: created.workflow.clone(),
            version: self.told.version.clone().unwrap_or_else(|| created.version.clone()),
            status,
            tags: created.tags.clone(),
            parent: created.parent.as_ref().map(|parent| parent.run.clone()),
            created_at: self.told.created_at,
            started_at: self.told.started_at,
            ended_at: end.map(|(_, at)| *at),
            wake_at: (!status.is_terminal()).then_some(0),
            note,
            purge_at: None,
            concurrency: None,
        };
        Some(match (&self.cut, status.is_terminal()) {
            (Some(why), false) => parked(&row, &format!("its log was damaged: {why}; what could be read was kept")),
            _ => row,
        })
    }
}

impl LogFacts {
    fn take(&mut self, event: &Event) {
        let id = event.step_id.clone();
        match (&event.body, id) {
            (EventBody::RunCreated(created), _) => {
                self.version = Some(created.version.clone());
                self.created = Some(created.clone());
                self.created_at = event.at;
            }
            (EventBody::RunStarted { again: None | Some(Takeover::Anew) }, _) => self.started_at = Some(event.at),
            (EventBody::RunMigrated { to, .. }, _) => self.version = Some(to.clone()),
            (EventBody::HookOpened { token, .. }, Some(id)) => drop(self.hooks.insert(id, token.clone())),
            (EventBody::HookClosed, Some(id)) => drop(self.hooks.remove(&id)),
            (EventBody::ChildStarted { run_id, detached: false, .. }, Some(id)) => {
                self.children.insert(id, run_id.clone());
            }
            (EventBody::ChildCompleted { .. } | EventBody::ChildFailed { .. }, Some(id)) => {
                drop(self.children.remove(&id))
            }
            (EventBody::StepStarted { .. }, Some(id)) => drop(self.steps.insert(id)),
            (EventBody::StepCompleted { .. } | EventBody::StepFailed { .. }, Some(id)) => drop(self.steps.remove(&id)),
            (body, _) if body.is_terminal() => {
                self.hooks.clear();
                self.end = Some((body.clone(), event.at));
            }
            _ => {}
        }
    }
}

fn parked(row: &Row, reason: &str) -> Row {
    Row {
        status: Status::Parked,
        wake_at: None,
        ended_at: None,
        purge_at: None,
        note: json!({ "reason": reason }),
        ..row.clone()
    }
}
