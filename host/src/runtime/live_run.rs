//! A run in memory: its execution, its claim, and what of it is not yet committed.

use std::sync::Arc;
use std::time::Duration;

use durhai_core::event::Created;
use durhai_core::replay::{Command, Continue, Input, LogLine, RunStep, StoredOutputs, Turn, Verdict, WaitingFor};
use durhai_core::{Event, EventBody, Millis, RunId, SmallMap, Status, StepId, Value, Version, wire};
use durhai_engine::Execution;
use durhai_world::{Chunk, Claim, Commit, HookChange, Row, WorldError, Write};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;

use crate::logs::session;
use crate::messages::message::{Message, to_parent};
use crate::runtime::command::MoveReply;
use crate::runtime::in_turn::{Facts, is_question, needs_fact};
use crate::runtime::job::{Job, Then, TurnDone};
use crate::runtime::new_run::{self, NewRun};
use crate::runtime::run_shared::RunShared;
use crate::shared::Shared;
use crate::store::streams::{self, encode_line};
use crate::store::{meta, random};

pub(crate) struct LiveRun {
    pub shared: Arc<RunShared>,
    pub exec: Execution,
    pub fence: u64,
    /// As it was committed last, without its note and without the tags that its log has too. See [`LiveRun::whole_row`].
    pub row: Row,
    /// Of the note.
    status_text: Option<String>,
    /// Runs that begin with the commit of this turn.
    pub new_runs: Vec<NewRun>,
    /// What a world that is not local said for the commit of this turn.
    pub facts: Option<Box<Facts>>,
    /// Its inbox is being read, in a world that is not local.
    pub asked: Option<InboxAsked>,
    /// A timer fires when that was read.
    pub fires: bool,
    /// It took its log over from another run, and the world knows nothing yet of what the script did in it.
    fresh: bool,
    /// Index of the message read last. Those that were applied are taken with the next commit.
    pub inbox: u64,
    /// Messages up to here were looked at for one that ends the run at once.
    pub looked_at: u64,
    /// Messages were read for the turn that is not over; those behind them wait in the world.
    pub reading: bool,
    /// There are such messages.
    pub more: bool,
    /// The run is to end at once, with this reason.
    pub terminated: Option<String>,
    /// Lines that steps wrote.
    pub lines: Vec<LogLine>,
    pub heartbeats: SmallMap<StepId, Value>,
    /// How long it has been built from its log, until its script stands where the log ends.
    pub building: Option<Duration>,
    /// The claim counts crashes before it, which the next commit resets.
    suspect: bool,
    /// Where it stands with its worker.
    pub place: Place,
    /// It is to move to another version.
    pub moving: Option<Moving>,
    /// It has moved: the row says so with the next commit, and then the caller that wanted it is told.
    rewrite: bool,
    moved: Option<oneshot::Sender<MoveReply>>,
}

/// Where a live run stands with its worker.
pub(crate) enum Place {
    /// In the worker's queue for a turn.
    Dirty,
    /// In its turn.
    Busy,
    /// Between two turns: all it did is handed to the committer, and nothing is to be done. The number is that of its entry
    /// among the runs that wait and may be evicted, if it has one.
    Idle(Option<u64>),
    /// Its turn is not over, and a part of it is on its way to the disk: the script goes on when that is there.
    Storing,
    /// Its turn is not over, and the world is asked what it cannot end without.
    Asking,
    /// Nothing is given to the script until all that was committed is durable; what came meanwhile.
    Frozen { held: Vec<HeldInput> },
}

/// A reading of an inbox that is under way.
#[derive(Default)]
pub(crate) struct InboxAsked {
    /// A timer is due: it fires when this was read.
    pub fires: bool,
    /// Something came since it began: it is to be read once more.
    pub again: bool,
}

/// An input that waits, and the index of the message it came by.
pub(crate) struct HeldInput {
    pub at: Millis,
    pub input: Input,
    pub message: Option<u64>,
}

/// A move that a caller waits for.
pub(crate) struct Moving {
    pub to: Version,
    pub reply: oneshot::Sender<MoveReply>,
}

/// Where a row notes how much of a turn that is not over is stored.
const STORED: &str = "stored";

/// Entries of `waiting_for` that are kept with the row.
const NOTED: usize = 10;

/// Bytes of a schema that a row tells, at most: rows are read in lists.
const NOTED_SCHEMA: usize = 4096;

impl LiveRun {
    pub fn new(shared: Arc<RunShared>, mut exec: Execution, claim: &Claim, log_bytes: u64) -> Self {
        exec.replay_mut().add_log_bytes(log_bytes);
        let fresh = claim.row.status == Status::Pending && exec.replay().created().origin.is_some();
        if fresh {
            exec.replay_mut().set_outputs_unwritten();
        }
        if let Some(stored) = claim.row.note.get(STORED).and_then(|stored| StoredOutputs::deserialize(stored).ok()) {
            exec.replay_mut().set_stored(stored);
        }
        let noted = claim.row.note.get("status_text").and_then(Value::as_str);
        let row = kept(claim.row.clone(), exec.replay().created());
        LiveRun {
            shared,
            exec,
            fence: claim.fence,
            status_text: noted.map(ToOwned::to_owned),
            row,
            new_runs: Vec::new(),
            facts: None,
            asked: None,
            fires: false,
            fresh,
            inbox: 0,
            looked_at: 0,
            reading: false,
            more: false,
            terminated: None,
            lines: Vec::new(),
            heartbeats: SmallMap::default(),
            building: None,
            suspect: claim.tries > 0,
            place: Place::Idle(None),
            moving: None,
            rewrite: false,
            moved: None,
        }
    }

    pub fn is_idle(&self) -> bool {
        matches!(self.place, Place::Idle(_))
    }

    pub fn is_frozen(&self) -> bool {
        matches!(self.place, Place::Frozen { .. })
    }

    pub fn deliver(&mut self, at: Millis, input: Input) {
        match &mut self.place {
            Place::Frozen { held } => held.push(HeldInput { at, input, message: None }),
            _ => self.exec.replay_mut().deliver(at, input),
        }
    }

    /// What the message of this index says.
    pub fn deliver_message(&mut self, at: Millis, input: Input, index: u64) {
        match &mut self.place {
            Place::Frozen { held } => held.push(HeldInput { at, input, message: Some(index) }),
            _ => self.exec.replay_mut().deliver_message(at, input, index),
        }
    }

    /// Another version's execution, which has come to the end of the same log, takes the place of the one there is.
    pub fn go_over(&mut self, mut exec: Execution, log_bytes: u64, to: Version, reply: oneshot::Sender<MoveReply>) {
        let replay = exec.replay_mut();
        replay.share_under_way(self.exec.replay());
        replay.show_state_again();
        replay.add_log_bytes(log_bytes);
        self.exec = exec;
        self.shared.version.lock().clone_from(&to);
        self.row.version = to;
        self.rewrite = true;
        self.moved = Some(reply);
    }

    /// What the turn brought, as one write; `None`: nothing.
    pub fn commit(&mut self, host: &Shared, now: Millis) -> Result<Option<Job>, WorldError> {
        let turn = self.exec.replay_mut().take();
        let row = self.changed_row(now);
        self.write(host, turn, row, now, false)
    }

    /// What a turn brought so far, while its script is not done: it shows more than should wait in memory. The row notes how
    /// much of it is stored, so that after a crash the script shows the rest and nothing twice.
    pub fn commit_part(&mut self, host: &Shared, now: Millis) -> Result<Option<Job>, WorldError> {
        let stored = self.exec.replay().stored();
        let mut turn = self.exec.replay_mut().take();
        // What the script must be told within the turn is looked at when its tasks wait.
        let waits = |command: &Command| is_question(host, command) || (!host.store.is_local && needs_fact(command));
        let (later, out) = std::mem::take(&mut turn.commands).into_iter().partition(waits);
        turn.commands = out;
        self.exec.replay_mut().put_back(later);
        let mut note = json!({ STORED: stored });
        if let Some(text) = &self.status_text {
            note["status_text"] = json!(text);
        }
        let row = Row { wake_at: Some(0), note, ..self.whole_row() };
        self.rewrite = true;
        self.write(host, turn, Some(row), now, true)
    }

    /// While the host stops: a turn is recorded, but its commands go nowhere.
    pub fn commit_draining(&mut self, host: &Shared, now: Millis) -> Result<Option<Job>, WorldError> {
        let mut turn = self.exec.replay_mut().take();
        let mut unanswered = false;
        turn.commands.retain(|command| match command {
            Command::RunStep(RunStep { step_id, once: true, .. }) => {
                self.exec.replay_mut().not_begun(step_id);
                false
            }
            // The host that takes the run up sees to them.
            Command::RunStep(_) => false,
            Command::OpenHook { .. } | Command::StartChild(_) => {
                unanswered = true;
                false
            }
            _ => true,
        });
        turn.events.extend(self.exec.replay_mut().take().events);
        let mut row = self.changed_row(now);
        if unanswered && !self.exec.replay().status().is_terminal() {
            // Nothing in the log says that it asks, so nothing else would make it due.
            row.get_or_insert_with(|| self.whole_row()).wake_at = Some(0);
        }
        self.write(host, turn, row, now, false)
    }

    fn write(
        &mut self,
        host: &Shared,
        mut turn: Turn,
        row: Option<Row>,
        now: Millis,
        part: bool,
    ) -> Result<Option<Job>, WorldError> {
        let mut lines = std::mem::take(&mut self.lines);
        lines.append(&mut turn.lines);
        let silent = turn.events.is_empty() && lines.is_empty() && turn.emitted.is_empty() && turn.state.is_empty();
        let inbox_taken = self.exec.replay_mut().take_applied();
        if silent && row.is_none() && inbox_taken.is_none() && !self.suspect {
            return Ok(None);
        }
        self.suspect = false;
        if let Some(EventBody::RunCompleted { .. }) = turn.events.last().map(|event| &event.body) {
            lines.extend(self.untaken(now));
        }
        let mut commit = Commit::new(self.shared.id.clone(), self.fence);
        commit.progress = true;
        commit.inbox_taken = inbox_taken;
        commit.append = lines.iter().map(encode_line).collect();
        commit.append.extend(turn.emitted.iter().map(streams::encode));
        commit.values.extend(turn.state.iter().map(streams::encode_state));
        let mut first_events = Vec::new();
        for new_run in self.new_runs.drain(..) {
            first_events.push((new_run.create.row.run.clone(), new_run.events));
            commit.create.push(new_run.create);
        }
        if !turn.commands.is_empty() {
            self.carry_out(host, &mut turn, &mut commit, &mut first_events, now)?;
        }
        self.facts = None;
        self.change_hooks(&turn.events, &mut commit, part);
        let shown = row.is_some() || !turn.state.is_empty();
        let lasted = row.as_ref().and_then(|row| Some(row.ended_at?.saturating_sub(row.created_at)));
        if let Some(row) = &row {
            self.row = kept(row.clone(), self.exec.replay().created());
        }
        commit.row = row;
        let status = self.row.status;
        let mut ended = None;
        if let Some(end) = turn.events.last().map(|event| &event.body).filter(|body| body.is_terminal()) {
            commit.send.extend(to_parent(self.exec.replay().created(), end, now));
            commit.leave = is_left(end).then(|| streams::UNREAD.into());
            self.note_end(end, &mut commit, now);
            ended = host
                .observe
                .observers
                .ending(host.steps.mask.as_ref(), self.exec.replay().created(), &self.whole_row(), end)
                .map(Box::new);
        }
        commit.events = self.chunk(&turn.events);
        let done = TurnDone {
            fence: self.fence,
            run: self.shared.clone(),
            commands: turn.commands,
            first_events,
            events: turn.events,
            lines,
            emitted: turn.emitted,
            status,
            shown,
            lasted,
            rests: status.is_terminal(),
            ended,
            moved: self.moved.take(),
            part,
        };
        Ok(Some(Job { write: Write::Commit(Box::new(commit)), then: Then::Turn(Box::new(done)) }))
    }

    /// A line about messages that the run was sent and that its script ended without. What came later still is not known.
    fn untaken(&self, now: Millis) -> Option<LogLine> {
        let (count, more) = (self.exec.replay().waiting_messages(), self.more);
        if count == 0 {
            return None;
        }
        let more = if more { " and more" } else { "" };
        let message = format!("the script has ended without {count}{more} messages that the run was sent before");
        Some(LogLine { at: now, level: "warn".into(), message, fields: Value::Null, step_id: None, attempt: None })
    }

    /// What commands change in the world goes with the commit.
    fn carry_out(
        &mut self,
        host: &Shared,
        turn: &mut Turn,
        commit: &mut Commit,
        first_events: &mut Vec<(RunId, Vec<Event>)>,
        now: Millis,
    ) -> Result<(), WorldError> {
        for command in &mut turn.commands {
            match command {
                Command::CloseHook { token } => {
                    commit.hooks.push(HookChange::Close { token: token.as_str().into() });
                }
                Command::EndChild { run_id, reason, terminate } => {
                    *run_id = self.latest(host, run_id)?;
                    let message = Message::end(reason.clone(), *terminate);
                    commit.send.push(message.to(run_id, now));
                }
                Command::Continue(next) => {
                    self.make_way(host, next, &mut turn.events)?;
                    commit.forward = Some(next.next.clone());
                    let pointer = meta::last_of_chain(&next.chain.first);
                    commit.meta.push((pointer, Some(next.next.as_str().as_bytes().to_vec())));
                    let header = self.exec.program().header().clone();
                    let created = Created { version: self.row.version.clone(), ..self.exec.replay().created().clone() };
                    let new_run = new_run::successor(host, &created, &header, (**next).clone());
                    first_events.push((next.next.clone(), new_run.events));
                    commit.create.push(new_run.create);
                }
                Command::RunStep(_) | Command::CancelStep(_) | Command::OpenHook { .. } | Command::StartChild(_) => {}
            }
        }
        Ok(())
    }

    /// A caller may have given the name of the successor to another run: then it gets one made of chance.
    fn make_way(&self, host: &Shared, next: &mut Continue, events: &mut [Event]) -> Result<(), WorldError> {
        if !self.exists(host, &next.next)? {
            return Ok(());
        }
        next.next = random::run_id(host.store.clock.now())?;
        if let Some(Event { body: EventBody::RunContinued { next: named }, .. }) = events.last_mut() {
            named.clone_from(&next.next);
        }
        Ok(())
    }

    /// Hooks that were opened in this turn and still are. What was closed comes first: a token may be closed and opened
    /// again in one turn.
    fn change_hooks(&mut self, events: &[Event], commit: &mut Commit, part: bool) {
        // Where a log was taken over, those in it are opened when its script has come to its end.
        let fresh = !part && std::mem::take(&mut self.fresh);
        let opened = |id: &StepId| {
            events
                .iter()
                .any(|event| matches!(event.body, EventBody::HookOpened { .. }) && event.step_id.as_ref() == Some(id))
        };
        if !fresh && !events.iter().any(|event| matches!(event.body, EventBody::HookOpened { .. })) {
            return;
        }
        for (id, token, named, info) in self.exec.replay().open_hooks() {
            if fresh || opened(id) {
                let info = json!({ "step_id": id, "named": named, "info": info });
                commit.hooks.push(HookChange::Open { token: token.clone(), info: info.to_string().into_bytes() });
            }
        }
    }

    fn note_end(&self, end: &EventBody, commit: &mut Commit, now: Millis) {
        let Some(row) = &mut commit.row else { return };
        row.purge_at = self.exec.program().header().retain.map(|retain| now.saturating_add(retain));
        if let EventBody::RunContinued { next } = end {
            let created = self.exec.replay().created();
            let first = created.chain.as_ref().map_or(&created.run, |chain| &chain.first);
            row.note["next"] = json!(next);
            row.note["first"] = json!(first);
        }
    }

    /// Two writes: the row says parked, the claim is given back. What the turn brought is dropped, the log stays.
    pub fn park(&mut self, reason: &str) -> [Job; 2] {
        self.exec.replay_mut().take();
        park(&self.shared, self.fence, &self.whole_row(), self.status_text.as_deref(), reason)
    }

    /// The same for a run that could not even be read.
    pub fn park_unread(host: &Shared, shared: Arc<RunShared>, claim: &Claim, reason: &str) -> (Job, Job) {
        if host.life.is_stopping() {
            tracing::debug!("run {} is parked while the host stops", claim.run);
        }
        let status_text = claim.row.note.get("status_text").and_then(Value::as_str);
        let [row, release] = park(&shared, claim.fence, &claim.row, status_text, reason);
        (row, release)
    }

    /// Nothing of it runs here, so its fibers can go.
    pub fn is_quiet(&self) -> bool {
        !self.exec.replay().has_attempts()
    }

    /// Its result is here. Not before: while the host stops, a run is given back once no attempt is under way.
    pub fn attempt_ended(&self, id: &StepId) {
        self.shared.attempts.lock().remove(id);
    }

    pub fn has_running_attempts(&self) -> bool {
        !self.shared.attempts.lock().is_empty()
    }

    /// The report, if the script does not fit its log, with the lines of the script filled in.
    pub fn divergence(&self, host: &Shared) -> Option<String> {
        let Some(Verdict::Diverged(divergence)) = self.exec.replay().verdict() else { return None };
        let mut divergence = divergence.clone();
        let line = |version: &Version, site: &str| host.versions.source_line(host.store.local(), version, site);
        session::add_lines(&mut divergence, self.exec.replay(), &|site| line(&self.row.version, site), &line);
        Some(format!("diverged: {divergence}"))
    }

    pub fn waiting_for(&mut self) -> Vec<Value> {
        let waits = self.exec.replay().waiting_for();
        let view = |wait: WaitingFor| {
            let heartbeat = wait.step_id.as_ref().and_then(|id| self.heartbeats.get(id));
            let mut view = json!(wait);
            if let (Some(detail), Some(fields)) = (heartbeat, view.as_object_mut()) {
                fields.insert("heartbeat".into(), detail.clone());
            }
            view
        };
        waits.into_iter().map(view).collect()
    }

    /// The row as it was committed last, without its note.
    fn whole_row(&self) -> Row {
        let mut row = self.row.clone();
        if row.tags.is_empty() {
            row.tags.clone_from(&self.exec.replay().created().tags);
        }
        row
    }

    /// The row, if it says something else than the one that was committed last.
    fn changed_row(&mut self, now: Millis) -> Option<Row> {
        let replay = self.exec.replay();
        let status = replay.status();
        let wake_at = match status {
            status if status.is_terminal() => None,
            // If this host dies, the next one must look at once.
            _ if replay.has_attempts() => Some(0),
            _ => replay.wake_at(),
        };
        let rewrite = std::mem::take(&mut self.rewrite);
        let said = self.exec.replay().status_text() != self.status_text.as_deref();
        if status == self.row.status && wake_at == self.row.wake_at && !said && !rewrite {
            return None;
        }
        let replay = self.exec.replay();
        let mut row = self.whole_row();
        row.status = status;
        row.wake_at = wake_at;
        // A run that took a log over was not there when that log began.
        row.started_at = row.started_at.or(replay.started_at().map(|at| at.max(row.created_at)));
        row.ended_at = status.is_terminal().then_some(now.max(row.created_at));
        row.note = Value::Null;
        // It cannot be asked while it is not in memory, which it stays in while attempts are under way.
        if !status.is_terminal() && status != Status::Pending && !replay.has_attempts() {
            let short = |schema: &Arc<Value>| schema.to_string().len() <= NOTED_SCHEMA;
            let noted = |wait: WaitingFor| WaitingFor { schema: wait.schema.filter(short), ..wait };
            let waits: Vec<_> = replay.waiting_for().into_iter().take(NOTED).map(noted).collect();
            row.note = json!({ "waiting_for": waits });
        }
        if let Some(text) = replay.status_text() {
            row.note["status_text"] = json!(text);
        }
        if said {
            self.status_text = self.exec.replay().status_text().map(ToOwned::to_owned);
        }
        Some(row)
    }

    fn chunk(&mut self, events: &[Event]) -> Option<Chunk> {
        let first = events.first()?.seq;
        let bytes = wire::encode(events);
        self.exec.replay_mut().add_log_bytes(bytes.len() as u64);
        Some(Chunk { first, count: events.len() as u32, bytes })
    }
}

/// What a waiting run carries of its row: not the note, which is written anew with each row, nor what its log says.
fn kept(mut row: Row, created: &Created) -> Row {
    row.note = Value::Null;
    if row.tags == created.tags {
        row.tags.clear();
    }
    row
}

fn park(shared: &Arc<RunShared>, fence: u64, row: &Row, status_text: Option<&str>, reason: &str) -> [Job; 2] {
    let mut note = json!({ "reason": reason });
    if let Some(text) = status_text {
        note["status_text"] = json!(text);
    }
    let mut commit = Commit::new(shared.id.clone(), fence);
    commit.row = Some(Row { status: Status::Parked, wake_at: None, note, ..row.clone() });
    let done = TurnDone {
        fence,
        run: shared.clone(),
        commands: Vec::new(),
        first_events: Vec::new(),
        events: Vec::new(),
        lines: Vec::new(),
        emitted: Vec::new(),
        status: Status::Parked,
        shown: true,
        lasted: None,
        rests: false,
        ended: None,
        moved: None,
        part: false,
    };
    let release = Write::Release { run: shared.id.clone(), fence };
    [
        Job { write: Write::Commit(Box::new(commit)), then: Then::Turn(Box::new(done)) },
        Job { write: release, then: Then::Released(shared.clone()) },
    ]
}

/// No run goes on with this one, so what it did not come to stays with it: for the run that tries it again, or to be looked at.
fn is_left(end: &EventBody) -> bool {
    !matches!(end, EventBody::RunContinued { .. })
}
