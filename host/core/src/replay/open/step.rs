//! `use_step`: steps that were asked for and have no result yet.

use std::sync::Arc;

use crate::event::Created;
use crate::replay::call::TaskKey;
use crate::replay::cursor::{Cursor, Stop};
use crate::replay::timers::{Timer, Timers};
use crate::replay::turn::{AttemptError, Command, RunStep, WaitingFor};
use crate::replay::waits::{Called, Caller, TimerKey, WaitsFor};
use crate::{EventBody, Failure, FailureKind, Millis, SmallMap, StepId, StepOptions, Value, retry, rng};

#[derive(Default)]
pub struct Steps {
    open: SmallMap<StepId, OpenStep>,
}

struct OpenStep {
    name: Arc<str>,
    input: Arc<Value>,
    options: StepOptions,
    task: TaskKey,
    first_started: Millis,
    /// The number of the attempt that was started last.
    attempt: u32,
    /// Attempts that failed; those a crash interrupted do not count.
    failures: u32,
    /// Order of asking, so that several are taken up in a fixed order.
    order: u64,
    /// The timer that the next attempt waits for.
    retry: Option<TimerKey>,
    /// This replay asked the world for the running attempt; otherwise the log only says it was started once.
    issued: bool,
}

/// What becomes of an attempt that was under way when its host died.
pub enum Interrupted {
    /// It is made again.
    Again(StepId),
    /// The step may run once only, so this is its end.
    GivenUp(StepId, Failure),
}

impl Steps {
    pub fn call(
        &mut self,
        caller: Caller,
        (name, input, options): (Arc<str>, Value, StepOptions),
        run: &Created,
        cursor: &mut Cursor,
    ) -> Result<Called, Stop> {
        let input = Arc::new(input);
        let (label, first_input) = (options.label.clone(), Some(input.clone()));
        let body = EventBody::StepStarted { name: name.clone(), input: first_input, attempt: 1, label };
        let asked = cursor.ask(Some(&caller.id), Some(&caller.site), body)?;
        let step = OpenStep {
            name,
            input,
            options,
            task: caller.task,
            first_started: cursor.taken_over.since(asked.seq, asked.at),
            attempt: 1,
            failures: 0,
            order: asked.seq,
            retry: None,
            issued: asked.new,
        };
        if asked.new {
            cursor.commands.push(step.command(&caller.id, cursor.wall(), false, run));
        }
        self.open.insert(caller.id.clone(), step);
        Ok(Called::Wait(WaitsFor::Step(caller.id)))
    }

    // ---- what its events change

    /// An attempt behind the first one begins.
    pub fn attempt_started(&mut self, id: &StepId, attempt: u32, timers: &mut Timers) -> Option<()> {
        let step = self.open.get_mut(id)?;
        step.attempt = attempt;
        step.issued = false;
        if let Some(timer) = step.retry.take() {
            timers.remove(timer);
        }
        Some(())
    }

    /// An attempt failed; the event `timer.1` says when the next one is due.
    pub fn attempt_failed(
        &mut self,
        id: &StepId,
        kind: FailureKind,
        timer: TimerKey,
        timers: &mut Timers,
    ) -> Option<()> {
        let step = self.open.get_mut(id)?;
        // An attempt that never began has not failed.
        step.failures += u32::from(kind != FailureKind::Interrupted);
        step.retry = Some(timer);
        timers.insert(timer, id.clone(), Timer::Retry);
        Some(())
    }

    /// The step has come to its end; the task that waits for it.
    pub fn close(&mut self, id: &StepId, timers: &mut Timers) -> Option<TaskKey> {
        let step = self.open.remove(id)?;
        if let Some(timer) = step.retry {
            timers.remove(timer);
        }
        Some(step.task)
    }

    // ---- attempts

    /// The event by which an attempt ends. None for late ones, of calls that are closed or made again.
    pub fn end_of_attempt(
        &self,
        id: &StepId,
        attempt: u32,
        result: Result<Value, AttemptError>,
        (now, seed): (Millis, &str),
    ) -> Option<EventBody> {
        let step = self.open.get(id).filter(|step| step.attempt == attempt && step.retry.is_none())?;
        Some(match result {
            Ok(output) => EventBody::StepCompleted { output: Arc::new(output) },
            Err(error) => step.failed(id, error, now, seed),
        })
    }

    /// The event by which an attempt ends that the host was asked for and did not begin.
    pub fn not_begun(&self, id: &StepId, now: Millis) -> Option<EventBody> {
        let step = self.open.get(id).filter(|step| step.retry.is_none())?;
        let error = Failure::new(FailureKind::Interrupted, "the host stopped before the attempt began");
        let error = error.of_step(&step.name, id, step.attempt);
        Some(EventBody::StepRetrying { attempt: step.attempt, error, retry_at: now })
    }

    /// The event by which the next attempt begins.
    pub fn next_attempt(&self, id: &StepId) -> Option<EventBody> {
        let step = self.open.get(id)?;
        Some(EventBody::StepStarted { name: step.name.clone(), input: None, attempt: step.attempt + 1, label: None })
    }

    /// Asks the world for the attempt that has begun. `again`: a crash interrupted the one before.
    pub fn issue(&mut self, id: &StepId, again: bool, run: &Created, cursor: &mut Cursor) {
        if let Some(step) = self.open.get_mut(id) {
            step.issued = true;
            cursor.commands.push(step.command(id, cursor.wall(), again, run));
        }
    }

    /// Attempts that were under way when the host died: first those that are made again, in the order the script asked.
    pub fn interrupted(&self) -> Vec<Interrupted> {
        let mut lost: Vec<_> = self
            .open
            .iter()
            .filter(|(_, step)| !step.issued && step.retry.is_none())
            .map(|(id, step)| (step.options.once, step.order, id, step))
            .collect();
        lost.sort_unstable_by_key(|(once, order, ..)| (*once, *order));
        let message = "the attempt was interrupted by the end of its host, and the step may run once only";
        let interrupted = |(once, _, id, step): (bool, u64, &StepId, &OpenStep)| match once {
            false => Interrupted::Again(id.clone()),
            true => {
                let error = Failure::new(FailureKind::Interrupted, message).of_step(&step.name, id, step.attempt);
                Interrupted::GivenUp(id.clone(), error)
            }
        };
        lost.into_iter().map(interrupted).collect()
    }

    /// Attempts that the other replay of this run asked the world for are under way for this one too.
    pub fn share_attempts(&mut self, other: &Steps) {
        for (id, step) in self.open.iter_mut() {
            let same = other.open.get(id).filter(|same| same.attempt == step.attempt);
            step.issued |= same.is_some_and(|same| same.issued);
        }
    }

    /// An attempt is under way, so far as this replay knows.
    pub fn has_attempts(&self) -> bool {
        self.open.values().any(|step| step.retry.is_none())
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    // ---- as every open call

    /// Closes a step whose task was cancelled: the log says so, the world is told.
    pub fn abandon(&mut self, id: &StepId, reason: &str, timers: &mut Timers, cursor: &mut Cursor) -> Result<(), Stop> {
        let Some(step) = self.open.get(id) else { return Ok(()) };
        let under_way = step.retry.is_none() && step.issued;
        let error = Failure::cancelled(reason).of_step(&step.name, id, step.attempt);
        self.close(id, timers);
        cursor.ask(Some(id), None, EventBody::StepFailed { error })?;
        if under_way {
            cursor.commands.push(Command::CancelStep(id.clone()));
        }
        Ok(())
    }

    pub fn describe(&self, id: &StepId, site: String) -> Option<WaitingFor> {
        let step = self.open.get(id)?;
        let kind = if step.retry.is_some() { "retry" } else { "step" };
        let until = step.retry.map(|timer| timer.0);
        Some(WaitingFor { name: Some(step.name.clone()), until, ..WaitingFor::new(kind, Some(id.clone()), site) })
    }
}

impl OpenStep {
    fn deadline(&self) -> Option<Millis> {
        self.options.deadline.map(|deadline| self.first_started.saturating_add(deadline))
    }

    /// Whether there is another attempt after this error, and when.
    fn failed(&self, id: &StepId, error: AttemptError, now: Millis, seed: &str) -> EventBody {
        // An attempt that never began has not failed: it is made again, and counts for nothing.
        let begun = error.kind != FailureKind::Interrupted || error.fatal;
        let failures = self.failures + u32::from(begun);
        let policy = match &error.policy {
            Some(policy) if !self.options.asked_retry => policy,
            _ => &self.options.retry,
        };
        let retry_at = now.saturating_add(
            error
                .retry_after
                .unwrap_or_else(|| retry::wait(policy, failures, rng::jitter(seed, id.as_str(), failures))),
        );
        let attempt = self.attempt;
        let given_up = begun && policy.gives_up(error.kind.as_str(), &error.message, &error.data);
        if error.fatal || given_up || begun && failures >= policy.max_attempts {
            EventBody::StepFailed { error: error.into_failure(&self.name, id, attempt) }
        } else if self.deadline().is_some_and(|deadline| retry_at >= deadline) {
            let message = format!("the deadline leaves no time for another attempt; the last said: {}", error.message);
            let late = AttemptError { kind: FailureKind::Timeout, message, ..error };
            EventBody::StepFailed { error: late.into_failure(&self.name, id, attempt) }
        } else {
            EventBody::StepRetrying { attempt, error: error.into_failure(&self.name, id, attempt), retry_at }
        }
    }

    fn command(&self, step_id: &StepId, now: Millis, again: bool, run: &Created) -> Command {
        let left = self.deadline().map(|deadline| deadline.saturating_sub(now).max(1));
        let timeout = match (self.options.timeout, left) {
            (Some(timeout), Some(left)) => Some(timeout.min(left)),
            (timeout, left) => timeout.or(left),
        };
        Command::RunStep(RunStep {
            step_id: step_id.clone(),
            name: self.name.clone(),
            input: self.input.clone(),
            attempt: self.attempt,
            again,
            idempotency_run: run.idempotency_run.clone(),
            once: self.options.once,
            timeout,
            deadline: self.deadline(),
        })
    }
}
