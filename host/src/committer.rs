//! The one thread that writes: it gathers what all workers and callers want written, and writes it with one flush.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use durhai_core::replay::{Command, Emitted, LogLine, version_at};
use durhai_core::{Body, Event, Kind, Millis, RunId, Status, wire};
use durhai_world::{Creation, Refused, Row, WorldError, Write, Written};
use tokio::sync::oneshot;

use crate::inner::{Inner, RunShared};
use crate::migrate::Told;
use crate::runner::{self, Begin};
use crate::telemetry::RunEnded;
use crate::view::Committed;
use crate::worker::Msg;

/// Writes of one batch, at least and at most. A small batch is on the disk while workers prepare the next; a slow disk
/// wants large ones, so that few flushes serve all.
const BATCH: std::ops::RangeInclusive<usize> = 64..=1024;

/// A batch that takes longer may be followed by one of twice its size.
const SLOW: Duration = Duration::from_millis(12);

/// One write and what follows once it is durable.
pub(crate) struct Job {
    pub write: Write,
    pub then: Then,
}

/// A job on its way.
pub(crate) struct Queued {
    job: Job,
    since: Instant,
}

impl Queued {
    pub fn new(job: Job) -> Self {
        Queued { job, since: Instant::now() }
    }
}

pub(crate) enum Then {
    /// A turn: its commands go out now.
    Turn(Box<TurnDone>),
    /// Somebody waits for the answer.
    Reply(oneshot::Sender<Answer>),
    /// A claim was given back.
    Released(Arc<RunShared>),
    /// The run's worker waits until all before this is durable.
    Durable(Arc<RunShared>),
}

pub(crate) type Answer = Result<Result<Written, Refused>, Arc<WorldError>>;

pub(crate) struct TurnDone {
    pub run: Arc<RunShared>,
    pub commands: Vec<Command>,
    /// Runs that were created with it, with their logs.
    pub first_events: Vec<(RunId, Vec<Event>)>,
    /// Kept only if somebody listens.
    pub events: Vec<Event>,
    pub lines: Vec<LogLine>,
    pub emitted: Vec<Emitted>,
    pub status: Status,
    /// The row or the state changed: something can be seen of it, even if nothing else came with it.
    pub shown: bool,
    /// How long the run has taken, if it ends with this.
    pub lasted: Option<Millis>,
    /// Somebody may wait for the end of the run.
    pub rests: bool,
    /// What those are told who observe the ends of runs.
    pub ended: Option<Box<RunEnded>>,
    /// Who wants to know that the run has moved to another version.
    pub moved: Option<oneshot::Sender<Told>>,
    /// The turn is not over: its script waits until this is durable.
    pub part: bool,
}

/// Runs until every sender is gone.
pub(crate) fn run(inner: &Arc<Inner>, jobs: &mpsc::Receiver<Queued>) {
    let mut most = *BATCH.start();
    while let Ok(first) = jobs.recv() {
        let mut writes = Vec::new();
        let mut thens = Vec::new();
        let mut handed = Vec::new();
        for Queued { job, since } in std::iter::once(first).chain(jobs.try_iter().take(most - 1)) {
            if let Write::Commit(commit) = &job.write
                && let Some(chunk) = &commit.events
            {
                inner.counters.event_bytes.fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
                inner.meters.events.add(u64::from(chunk.count));
            }
            let aside = match job.then {
                Then::Reply(_) => Aside::of(&job.write, inner.commits.receiver_count() > 0),
                _ => None,
            };
            writes.push(job.write);
            thens.push((job.then, aside));
            handed.push(since);
        }
        inner.meters.queue.add(-(handed.len() as i64));
        inner.meters.batch.record(handed.len() as u64);
        inner.counters.flushes.fetch_add(1, Ordering::Relaxed);
        inner.counters.writes.fetch_add(writes.len() as u64, Ordering::Relaxed);
        if let Some(error) = inner.failure() {
            fail(thens, &error);
            continue;
        }
        let began = Instant::now();
        let written = inner.world.write(writes);
        let ended = Instant::now();
        most = match ended - began > SLOW {
            true => (most * 2).min(*BATCH.end()),
            false => (most / 2).max(*BATCH.start()),
        };
        match written {
            Ok(results) => {
                inner.meters.flush.time(ended - began);
                handed.into_iter().for_each(|since| inner.meters.commit.time(ended - since));
                let mut attempts = Vec::new();
                for ((then, aside), result) in thens.into_iter().zip(results) {
                    match (&result, aside) {
                        (Ok(_), Some(aside)) => aside.came_about(inner),
                        (Ok(_), None) => {}
                        (Err(_), _) => inner.meters.refused.inc(),
                    }
                    follow(inner, then, result, &mut attempts);
                }
                runner::begin_all(inner, attempts);
            }
            Err(error) => {
                let error = Arc::new(error);
                inner.fail(error.clone());
                fail(thens, &error);
            }
        }
    }
}

fn follow(inner: &Arc<Inner>, then: Then, result: Result<Written, Refused>, attempts: &mut Vec<Begin>) {
    match then {
        Then::Reply(reply) => drop(reply.send(Ok(result))),
        Then::Released(run) => {
            // It may be parked: whoever waits for it should look, and can deal with it now that nobody holds it. It may
            // be asleep for months: whoever does not wait any more should leave nothing behind.
            inner.waiters.wake(&run.id, &None);
            inner.send(run.worker, Msg::Released { run: run.id.clone() });
        }
        Then::Durable(run) => {
            let msg = match result {
                Ok(_) => Msg::AllDurable { run: run.clone() },
                Err(refused) => Msg::Lost { run: run.clone(), why: refused.to_string() },
            };
            inner.send(run.worker, msg);
        }
        Then::Turn(turn) => match result {
            Ok(written) => durable(inner, *turn, written, attempts),
            Err(refused) => inner.send(turn.run.worker, Msg::Lost { run: turn.run.clone(), why: refused.to_string() }),
        },
    }
}

/// The turn is on disk: now its effects may begin.
fn durable(inner: &Arc<Inner>, turn: TurnDone, written: Written, attempts: &mut Vec<Begin>) {
    measure(inner, &turn);
    if let Written::Committed(creations) = written {
        for (creation, (run, events)) in creations.into_iter().zip(turn.first_events) {
            match creation {
                Creation::Claimed(claim) => {
                    report_created(inner, &events, claim.row.status);
                    inner.adopt(*claim, Some(events));
                }
                Creation::Waits => {
                    report_created(inner, &events, Status::Pending);
                    if matches!(events.first(), Some(Event { body: Body::RunCreated(created), .. }) if created.parent.is_some())
                    {
                        inner.look_for_circle(run.clone());
                    }
                    inner.created_to_wait(run, !inner.is_stopping());
                }
                // It was not there when the turn was made: whoever made it was faster. The parent looks when it is
                // taken up next.
                Creation::Exists => {
                    tracing::error!(%run, "run {run} was to be started by run {}, but exists", turn.run.id)
                }
            }
        }
    }
    for command in turn.commands {
        match command {
            Command::RunStep(step) => attempts.push(Begin::new(inner, &turn.run, step)),
            Command::CancelStep(id) => runner::cancel(&turn.run, &id),
            Command::EndChild { run_id, reason, terminate } => inner.end_successor(run_id, reason, terminate),
            // Done with the commit, or before it.
            Command::OpenHook { .. } | Command::CloseHook { .. } | Command::StartChild(_) | Command::Continue(_) => {}
        }
    }
    if let Some(ended) = &turn.ended {
        inner.observers.run_ended(ended);
    }
    let rest = turn.rests.then(|| turn.events.last().map(|event| &event.body).filter(|body| body.is_terminal()));
    let rest = rest.map(|end| end.cloned().map(Arc::new));
    let news = turn.shown || !turn.events.is_empty() || !turn.lines.is_empty() || !turn.emitted.is_empty();
    if news && inner.commits.receiver_count() > 0 {
        let committed = Committed {
            run: turn.run.id.clone(),
            workflow: turn.run.workflow.clone(),
            version: turn.run.version.lock().expect("not poisoned").clone(),
            events: turn.events,
            lines: turn.lines,
            emitted: turn.emitted,
            status: turn.status,
        };
        let _ = inner.commits.send(committed);
    }
    if turn.part {
        inner.send(turn.run.worker, Msg::Stored { run: turn.run.clone() });
    }
    if let Some(moved) = turn.moved {
        let _ = moved.send(Told::Moved);
    }
    if let Some(rest) = rest {
        inner.waiters.wake(&turn.run.id, &rest);
    }
}

fn measure(inner: &Inner, turn: &TurnDone) {
    let (meters, workflow) = (&inner.meters, &turn.run.workflow);
    if !turn.lines.is_empty() {
        meters.lines.add(turn.lines.len() as u64);
    }
    if let Some(lasted) = turn.lasted {
        meters.run_ended(workflow, turn.status, lasted);
    }
    if turn.status == Status::Parked {
        meters.workflow(workflow).parked.inc();
    }
    for event in &turn.events {
        if let Body::StepFailed { error } = &event.body
            && error.kind != Kind::Cancelled
            && let Some(step) = &error.step
        {
            inner.step_meters(step).failed.inc();
        }
    }
}

/// A run was created with a turn of another one.
fn report_created(inner: &Inner, events: &[Event], status: Status) {
    let Some(Event { body: Body::RunCreated(created), .. }) = events.first() else { return };
    inner.meters.workflow(&created.workflow).created.inc();
    if inner.commits.receiver_count() > 0 {
        let _ = inner.commits.send(Committed {
            run: created.run.clone(),
            workflow: created.workflow.clone(),
            version: version_at(events, u64::MAX).unwrap_or(&created.version).clone(),
            events: events.to_vec(),
            lines: Vec::new(),
            emitted: Vec::new(),
            status,
        });
    }
}

/// What is to be said of a write that is no turn of a run in memory, once it is durable.
enum Aside {
    Row { row: Box<Row>, created: bool, events: Vec<Event>, told: bool },
    Gone,
}

impl Aside {
    /// `told`: somebody listens.
    fn of(write: &Write, told: bool) -> Option<Aside> {
        let (row, chunk, created) = match write {
            Write::Create(create) => (&create.row, Some(&create.events), true),
            Write::Commit(commit) => (commit.row.as_ref()?, commit.events.as_ref(), false),
            Write::Delete { .. } => return Some(Aside::Gone),
            Write::Send(_) | Write::Release { .. } => return None,
        };
        let mut events = Vec::new();
        if let Some(chunk) = chunk.filter(|_| told) {
            // Written here a moment ago.
            let _ = wire::decode(&chunk.bytes, &mut events);
        }
        Some(Aside::Row { row: Box::new(row.clone()), created, events, told })
    }

    fn came_about(self, inner: &Inner) {
        let (row, created, events, told) = match self {
            Aside::Gone => return inner.meters.purged.inc(),
            Aside::Row { row, created, events, told } => (row, created, events, told),
        };
        if created {
            inner.meters.workflow(&row.workflow).created.inc();
        } else if let Some(ended_at) = row.ended_at {
            inner.meters.run_ended(&row.workflow, row.status, ended_at.saturating_sub(row.created_at));
        }
        if told {
            let Row { run, workflow, version, status, .. } = *row;
            let (lines, emitted) = (Vec::new(), Vec::new());
            let _ = inner.commits.send(Committed { run, workflow, version, events, lines, emitted, status });
        }
    }
}

fn fail(thens: Vec<(Then, Option<Aside>)>, error: &Arc<WorldError>) {
    for (then, _) in thens {
        if let Then::Reply(reply) = then {
            let _ = reply.send(Err(error.clone()));
        }
    }
}
