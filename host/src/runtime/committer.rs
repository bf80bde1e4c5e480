//! The committer: makes what workers and callers want written durable, all that waits with one flush, and does what follows.
//!
//! It has a thread of its own. Where one write is all there is, the worker that wants it does the same on its thread; whose
//! turn it is says [`CommitQueue`](crate::runtime::commit_queue::CommitQueue).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use durhai_core::replay::{Command, version_at};
use durhai_core::{Event, EventBody, FailureKind, Status, wire};
use durhai_world::{Creation, Refused, Row, WorldError, Write, Written};

use crate::error::panic_text;
use crate::messages::ending;
use crate::runtime::command::{MoveReply, WorkerCommand};
use crate::runtime::commit_queue::Batch;
use crate::runtime::job::{Queued, Then, TurnDone};
use crate::runtime::lease::OwnClaim;
use crate::runtime::{claims, deadlock};
use crate::shared::Shared;
use crate::steps::attempt::{self, PendingAttempt};
use crate::view::Committed;

/// The body of the committer's thread: until the host has stopped.
pub(crate) fn run(host: &Arc<Shared>) {
    while let Some(batch) = host.store.queue.next_batch() {
        write(host, batch);
    }
}

/// For a worker that has nothing else to do: makes the write that waits, if nobody else writes, else leaves it to the thread.
pub(crate) fn lead(host: &Arc<Shared>) {
    if let Some(batch) = host.store.queue.lead() {
        write(host, batch);
    }
}

/// Makes the writes of a batch, and does what follows from them.
fn write(host: &Arc<Shared>, mut batch: Batch<'_>) {
    let mut writes = Vec::new();
    let mut thens = Vec::new();
    let mut handed = Vec::new();
    for Queued { job, since } in std::mem::take(&mut batch.jobs) {
        if let Write::Commit(commit) = &job.write
            && let Some(chunk) = &commit.events
        {
            host.observe.counters.event_bytes.fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
            host.observe.meters.events.add(u64::from(chunk.count));
        }
        let aside = match job.then {
            Then::Reply(_) => DetachedWrite::of(&job.write, host.observe.commits.receiver_count() > 0),
            _ => None,
        };
        writes.push(job.write);
        thens.push((job.then, aside));
        handed.push(since);
    }
    host.observe.meters.queue.add(-(handed.len() as i64));
    host.observe.meters.batch.record(handed.len() as u64);
    host.observe.counters.flushes.fetch_add(1, Ordering::Relaxed);
    host.observe.counters.writes.fetch_add(writes.len() as u64, Ordering::Relaxed);
    if let Some(error) = host.life.failure() {
        return fail(thens, &error);
    }
    if host.life.cut_off.load(Ordering::SeqCst) {
        return fail(thens, &cut_off());
    }
    let began = Instant::now();
    let written = guarded("the world", || host.store.world.write(writes)).and_then(|written| written);
    let took = began.elapsed();
    batch.took = Some(took);
    match written {
        Ok(results) => {
            let ended = began + took;
            host.observe.meters.flush.time(took);
            handed.into_iter().for_each(|since| host.observe.meters.commit.time(ended - since));
            if let Err(error) = guarded("what follows from a write", || follow_all(host, thens, results)) {
                host.fail(Arc::new(error));
            }
        }
        // The host has stopped waiting for it, and is over.
        Err(_) if host.life.cut_off.load(Ordering::SeqCst) => fail(thens, &cut_off()),
        Err(error) => {
            let error = Arc::new(error);
            host.fail(error.clone());
            fail(thens, &error);
        }
    }
}

fn cut_off() -> Arc<WorldError> {
    Arc::new(WorldError::Unavailable("the world did not answer when the host stopped".into()))
}

/// A panic, of the world or of an observer, is a failure of the world: nothing is known of the batch any more. It must not
/// end a worker that happens to write, with all runs it has.
fn guarded<T>(what: &str, call: impl FnOnce() -> T) -> Result<T, WorldError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic_text(&*panic).unwrap_or("no message");
        WorldError::Unavailable(format!(
            "{what} panicked: {text}; what was acknowledged is safe: mend it, then start again"
        ))
    })
}

fn follow_all(host: &Arc<Shared>, thens: Vec<(Then, Option<DetachedWrite>)>, results: Vec<Result<Written, Refused>>) {
    let mut attempts = Vec::new();
    for ((then, aside), result) in thens.into_iter().zip(results) {
        match (&result, aside) {
            (Ok(_), Some(aside)) => aside.report(host),
            (Ok(_), None) => {}
            (Err(_), _) => host.observe.meters.refused.inc(),
        }
        follow(host, then, result, &mut attempts);
    }
    attempt::begin_all(host, attempts);
}

fn follow(host: &Arc<Shared>, then: Then, result: Result<Written, Refused>, attempts: &mut Vec<PendingAttempt>) {
    match then {
        Then::Reply(reply) => drop(reply.send(Ok(result))),
        Then::Released(run) => {
            // It may be parked: a caller that waits for it should look, and can deal with it now that no host holds it. It may
            // be asleep for months: callers that do not wait any more should leave nothing behind.
            host.runtime.waiters.wake(&run.id, &None);
            host.runtime.workers.send(run.worker, WorkerCommand::Released { run: run.id.clone() });
        }
        Then::Durable(run) => {
            let msg = match result {
                Ok(_) => WorkerCommand::AllDurable { run: run.clone() },
                Err(refused) => WorkerCommand::Lost { run: run.clone(), why: refused.to_string() },
            };
            host.runtime.workers.send(run.worker, msg);
        }
        Then::Turn(turn) => match result {
            Ok(written) => durable(host, *turn, written, attempts),
            Err(refused) => {
                let why = refused.to_string();
                // Another attempt would be refused, too.
                if matches!(refused, Refused::Invalid { .. }) && turn.status != Status::Parked {
                    claims::park_soon(host, turn.run.id.clone(), turn.fence, why.clone());
                }
                host.runtime.workers.send(turn.run.worker, WorkerCommand::Lost { run: turn.run.clone(), why });
            }
        },
    }
}

/// The turn is on disk: now its effects may begin.
fn durable(host: &Arc<Shared>, turn: TurnDone, written: Written, attempts: &mut Vec<PendingAttempt>) {
    measure(host, &turn);
    if let Written::Committed(creations) = written {
        for (creation, (run, events)) in creations.into_iter().zip(turn.first_events) {
            match creation {
                Creation::Claimed(claim) => {
                    report_created(host, &events, claim.row.status);
                    // Where this host has another name by now, the commit was under the one before, as the claim is.
                    let claim = OwnClaim { claim: *claim, epoch: turn.run.epoch };
                    claims::adopt(host, claim, Some(events));
                }
                Creation::Waits => {
                    report_created(host, &events, Status::Pending);
                    if matches!(events.first(), Some(Event { body: EventBody::RunCreated(created), .. }) if created.parent.is_some())
                    {
                        deadlock::look_for_circle(host, run.clone());
                    }
                    claims::created_to_wait(host, run, !host.life.is_stopping());
                }
                // It was not there when the turn was made: another creator was faster. A parent that waits for it looks again.
                Creation::Exists => {
                    tracing::warn!(%run, "run {run} was to be started by run {}, but exists", turn.run.id);
                    let told = WorkerCommand::ChildExists { run: turn.run.clone(), child: run };
                    host.runtime.workers.send(turn.run.worker, told);
                }
            }
        }
    }
    for command in turn.commands {
        match command {
            Command::RunStep(step) => attempts.push(PendingAttempt::new(host, &turn.run, step)),
            Command::CancelStep(id) => attempt::cancel(&turn.run, &id),
            Command::EndChild { run_id, reason, terminate } => ending::end_successor(host, run_id, reason, terminate),
            // Done with the commit, or before it.
            Command::OpenHook { .. } | Command::CloseHook { .. } | Command::StartChild(_) | Command::Continue(_) => {}
        }
    }
    if let Some(ended) = &turn.ended {
        host.observe.observers.run_ended(ended);
    }
    let rest = turn.rests.then(|| turn.events.last().map(|event| &event.body).filter(|body| body.is_terminal()));
    let rest = rest.map(|end| end.cloned().map(Arc::new));
    let news = turn.shown || !turn.events.is_empty() || !turn.lines.is_empty() || !turn.emitted.is_empty();
    if news && host.observe.commits.receiver_count() > 0 {
        let committed = Committed {
            run: turn.run.id.clone(),
            workflow: turn.run.workflow.clone(),
            version: turn.run.version.lock().clone(),
            events: turn.events,
            lines: turn.lines,
            emitted: turn.emitted,
            status: turn.status,
        };
        let _ = host.observe.commits.send(committed);
    }
    if turn.part {
        host.runtime.workers.send(turn.run.worker, WorkerCommand::Stored { run: turn.run.clone() });
    }
    if let Some(moved) = turn.moved {
        let _ = moved.send(MoveReply::Moved);
    }
    if let Some(rest) = rest {
        host.runtime.waiters.wake(&turn.run.id, &rest);
    }
}

fn measure(host: &Shared, turn: &TurnDone) {
    let (meters, workflow) = (&host.observe.meters, &turn.run.workflow);
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
        if let EventBody::StepFailed { error } = &event.body
            && error.kind != FailureKind::Cancelled
            && let Some(step) = &error.step
        {
            attempt::step_meters(host, step).failed.inc();
        }
    }
}

/// A run was created with a turn of another one.
fn report_created(host: &Shared, events: &[Event], status: Status) {
    let Some(Event { body: EventBody::RunCreated(created), .. }) = events.first() else { return };
    host.observe.meters.workflow(&created.workflow).created.inc();
    if host.observe.commits.receiver_count() > 0 {
        let _ = host.observe.commits.send(Committed {
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
enum DetachedWrite {
    Row { row: Box<Row>, created: bool, events: Vec<Event>, told: bool },
    Gone,
}

impl DetachedWrite {
    /// `told`: a receiver of commits listens.
    fn of(write: &Write, told: bool) -> Option<DetachedWrite> {
        let (row, chunk, created) = match write {
            Write::Create(create) => (&create.row, Some(&create.events), true),
            Write::Commit(commit) => (commit.row.as_ref()?, commit.events.as_ref(), false),
            Write::Delete { .. } => return Some(DetachedWrite::Gone),
            Write::Send(_) | Write::Release { .. } => return None,
        };
        let mut events = Vec::new();
        if let Some(chunk) = chunk.filter(|_| told) {
            // Written here a moment ago.
            let _ = wire::decode(&chunk.bytes, &mut events);
        }
        Some(DetachedWrite::Row { row: Box::new(row.clone()), created, events, told })
    }

    fn report(self, host: &Shared) {
        let (row, created, events, told) = match self {
            DetachedWrite::Gone => return host.observe.meters.purged.inc(),
            DetachedWrite::Row { row, created, events, told } => (row, created, events, told),
        };
        if created {
            host.observe.meters.workflow(&row.workflow).created.inc();
        } else if let Some(ended_at) = row.ended_at {
            host.observe.meters.run_ended(&row.workflow, row.status, ended_at.saturating_sub(row.created_at));
        }
        if told {
            let Row { run, workflow, version, status, .. } = *row;
            let (lines, emitted) = (Vec::new(), Vec::new());
            let _ = host.observe.commits.send(Committed { run, workflow, version, events, lines, emitted, status });
        }
    }
}

fn fail(thens: Vec<(Then, Option<DetachedWrite>)>, error: &Arc<WorldError>) {
    for (then, _) in thens {
        if let Then::Reply(reply) = then {
            let _ = reply.send(Err(error.clone()));
        }
    }
}
