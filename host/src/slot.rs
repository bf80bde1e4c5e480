//! A run in memory: its execution, its claim, and what of it is not yet committed.

use std::collections::HashMap;
use std::sync::Arc;

use durhai_core::replay::{AttemptError, Command, Input, LogLine, RunStep, Turn, Verdict};
use durhai_core::{Event, Kind, Millis, Status, StepId, Value, wire};
use durhai_engine::Execution;
use durhai_world::{Chunk, Claim, Commit, Row, Write};
use serde_json::json;

use crate::committer::{Job, Then, TurnDone};
use crate::inner::{Inner, RunShared};

pub(crate) struct Slot {
    pub shared: Arc<RunShared>,
    pub exec: Execution,
    pub fence: u64,
    /// As it was committed last.
    row: Row,
    /// Index of the letter read last.
    pub inbox: u64,
    /// Letters up to here are in the replay, but not yet committed as taken.
    pub inbox_taken: Option<u64>,
    /// Lines that steps wrote.
    pub lines: Vec<LogLine>,
    pub heartbeats: HashMap<StepId, Value>,
    pub dirty: bool,
    /// Its number in the worker's list of waiting runs; 0: it is in none.
    pub idle: u64,
    /// The claim counts crashes before it, which the next commit resets.
    suspect: bool,
}

/// Entries of `waiting_for` that are kept with the row.
const NOTED: usize = 10;

impl Slot {
    pub fn new(shared: Arc<RunShared>, mut exec: Execution, claim: &Claim, log_bytes: u64) -> Self {
        exec.replay_mut().add_log_bytes(log_bytes);
        Slot {
            shared,
            exec,
            fence: claim.fence,
            row: claim.row.clone(),
            inbox: 0,
            inbox_taken: None,
            lines: Vec::new(),
            heartbeats: HashMap::new(),
            dirty: false,
            idle: 0,
            suspect: claim.tries > 0,
        }
    }

    pub fn deliver(&mut self, at: Millis, input: Input) {
        self.exec.replay_mut().deliver(at, input);
    }

    /// Fails the calls of this turn whose steps do not exist; `true`: there were some, the script can go on. Start and
    /// failure are so written together. If a crash could come between them, the next host would find a step under way
    /// that it does not have, and could not tell a wrong name from a step that was forgotten when it was set up.
    pub fn refuse_unknown(&mut self, inner: &Inner) -> bool {
        let mut unknown = Vec::new();
        self.exec.replay_mut().retain_commands(|command| match command {
            Command::RunStep(step) if step.attempt == 1 && !inner.registry.knows(&step.name) => {
                unknown.push((step.step_id.clone(), step.name.clone()));
                false
            }
            _ => true,
        });
        let now = inner.clock.now();
        for (step_id, name) in &unknown {
            let message = inner.registry.unknown(name);
            let error = AttemptError { kind: Kind::UnknownStep, fatal: true, ..AttemptError::new(message) };
            self.deliver(now, Input::Attempt { step_id: step_id.clone(), attempt: 1, result: Err(error) });
        }
        !unknown.is_empty()
    }

    /// What the turn brought, as one write; `None`: nothing.
    pub fn commit(&mut self, now: Millis) -> Option<Job> {
        let turn = self.exec.replay_mut().take();
        let row = self.changed_row(now);
        self.write(turn, row)
    }

    fn write(&mut self, turn: Turn, row: Option<Row>) -> Option<Job> {
        let mut lines = std::mem::take(&mut self.lines);
        lines.extend(turn.lines);
        let nothing = turn.events.is_empty() && lines.is_empty() && row.is_none() && self.inbox_taken.is_none();
        if nothing && !self.suspect {
            return None;
        }
        self.suspect = false;
        let events = self.chunk(&turn.events);
        if let Some(row) = &row {
            // The note is written anew with each row; a waiting run need not carry it.
            self.row = Row { note: Value::Null, ..row.clone() };
        }
        let status = self.row.status;
        let commit = Commit {
            run: self.shared.id.clone(),
            fence: self.fence,
            events,
            row,
            inbox_taken: self.inbox_taken.take(),
            append: lines.iter().map(encode_line).collect(),
            progress: true,
        };
        let done = TurnDone {
            run: self.shared.clone(),
            commands: turn.commands,
            events: turn.events,
            lines,
            status,
            rests: status.is_terminal(),
        };
        Some(Job { write: Write::Commit(Box::new(commit)), then: Then::Turn(Box::new(done)) })
    }

    /// While the host stops: a turn is recorded, but its commands go nowhere.
    pub fn commit_draining(&mut self, now: Millis) -> Option<Job> {
        let mut turn = self.exec.replay_mut().take();
        for command in std::mem::take(&mut turn.commands) {
            if let Command::RunStep(RunStep { step_id, once: true, .. }) = command {
                self.exec.replay_mut().not_begun(&step_id);
            }
        }
        turn.events.extend(self.exec.replay_mut().take().events);
        let row = self.changed_row(now);
        self.write(turn, row)
    }

    /// Two writes: the row says parked, the claim is given back. What the turn brought is dropped, the log stays.
    pub fn park(&mut self, reason: &str) -> [Job; 2] {
        self.exec.replay_mut().take();
        park(&self.shared, self.fence, &self.row, reason)
    }

    /// The same for a run that could not even be read.
    pub fn park_unread(inner: &Inner, shared: Arc<RunShared>, claim: &Claim, reason: &str) -> (Job, Job) {
        if inner.is_stopping() {
            tracing::debug!("run {} is parked while the host stops", claim.run);
        }
        let [row, release] = park(&shared, claim.fence, &claim.row, reason);
        (row, release)
    }

    /// Nothing of it runs here, so its fibers can go.
    pub fn is_quiet(&self) -> bool {
        !self.exec.replay().has_attempts()
    }

    /// Its result is here. Not before: while the host stops, a run is given back once no attempt is under way.
    pub fn attempt_ended(&self, id: &StepId) {
        self.shared.attempts.lock().expect("not poisoned").remove(id);
    }

    pub fn has_running_attempts(&self) -> bool {
        !self.shared.attempts.lock().expect("not poisoned").is_empty()
    }

    /// The report, if the script does not fit its log, with the lines of the script filled in.
    pub fn divergence(&self, inner: &Inner) -> Option<String> {
        let Some(Verdict::Diverged(divergence)) = self.exec.replay().verdict() else { return None };
        let mut divergence = divergence.clone();
        let recorded_text = &self.exec.replay().created().version;
        for (side, version) in [(&mut divergence.asked, &self.row.version), (&mut divergence.recorded, recorded_text)] {
            if let Some(side) = side {
                side.source = inner.catalog.source_line(&*inner.world, version, &side.site);
            }
        }
        Some(format!("diverged: {divergence}"))
    }

    pub fn waiting_for(&mut self) -> Vec<Value> {
        let waits = self.exec.replay().waiting_for();
        let view = |wait: durhai_core::replay::WaitingFor| {
            let heartbeat = wait.step_id.as_ref().and_then(|id| self.heartbeats.get(id));
            let mut view = json!(wait);
            if let (Some(detail), Some(fields)) = (heartbeat, view.as_object_mut()) {
                fields.insert("heartbeat".into(), detail.clone());
            }
            view
        };
        waits.into_iter().map(view).collect()
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
        if status == self.row.status && wake_at == self.row.wake_at {
            return None;
        }
        let mut row = self.row.clone();
        row.status = status;
        row.wake_at = wake_at;
        row.started_at = row.started_at.or(replay.started_at());
        row.ended_at = status.is_terminal().then_some(now.max(row.created_at));
        row.note = Value::Null;
        if status == Status::Waiting {
            let waits: Vec<_> = replay.waiting_for().into_iter().take(NOTED).collect();
            row.note = json!({ "waiting_for": waits });
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

fn park(shared: &Arc<RunShared>, fence: u64, row: &Row, reason: &str) -> [Job; 2] {
    let row = Row { status: Status::Parked, wake_at: None, note: json!({ "reason": reason }), ..row.clone() };
    let commit = Commit {
        run: shared.id.clone(),
        fence,
        events: None,
        row: Some(row),
        inbox_taken: None,
        append: Vec::new(),
        progress: false,
    };
    let done = TurnDone {
        run: shared.clone(),
        commands: Vec::new(),
        events: Vec::new(),
        lines: Vec::new(),
        status: Status::Parked,
        rests: false,
    };
    let release = Write::Release { run: shared.id.clone(), fence };
    [
        Job { write: Write::Commit(Box::new(commit)), then: Then::Turn(Box::new(done)) },
        Job { write: release, then: Then::Released(shared.clone()) },
    ]
}

/// The stream of a run that holds its log lines.
pub(crate) const LOG_STREAM: &str = "log";

fn encode_line(line: &LogLine) -> (Arc<str>, Vec<u8>) {
    (LOG_STREAM.into(), serde_json::to_vec(line).expect("a line is JSON"))
}
