//! One attempt of a step: found, called, watched, and its result brought back to the run.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use durhai_core::replay::{AttemptError, RunStep};
use durhai_core::{Failure, Kind, StepId, Value};
use tokio_util::sync::CancellationToken;

use crate::held::{self, Waited};
use crate::inner::{Inner, RunShared};
use crate::limiter::{Pass, Place};
use crate::mask;
use crate::metrics::{Outcome, Raised, StepMeters};
use crate::rules::Ruled;
use crate::step::{Attempt, Made, Note, StepContext, StepError, StepHandler};
use crate::telemetry::{AttemptOutcome, Watched};
use crate::told::Told;
use crate::worker::Msg;

/// An attempt that may begin: its start is durable. It can be cancelled from now on.
pub(crate) struct Begin {
    run: Arc<RunShared>,
    step: RunStep,
    token: CancellationToken,
    ruled: Ruled,
}

impl Begin {
    pub fn new(inner: &Inner, run: &Arc<RunShared>, step: RunStep) -> Self {
        let token = inner.stopping.child_token();
        run.attempts.lock().expect("not poisoned").insert(step.step_id.clone(), token.clone());
        let ruled = inner.rules.of(&step.name);
        Begin { run: run.clone(), step, token, ruled }
    }
}

/// Attempts of one batch that end at once are made one after the other in one task, as long as that takes no longer.
const TOGETHER: Duration = Duration::from_micros(500);

/// Begins attempts. From a thread outside of the runtime each spawn would go through its one shared queue and wake
/// somebody, so one task goes in for all. It gives each attempt a first chance to end, which most short ones take; those
/// that wait, and all that come after a slow one, become tasks of their own.
pub(crate) fn begin_all(inner: &Arc<Inner>, mut attempts: Vec<Begin>) {
    let within = inner.clone();
    match attempts.len() {
        0 => {}
        1 => {
            if let Some(work) = begin(inner, attempts.remove(0)) {
                inner.tokio.spawn(work);
            }
        }
        _ => drop(inner.tokio.spawn(async move {
            let began = Instant::now();
            for attempt in attempts {
                let Some(work) = begin(&within, attempt) else { continue };
                let mut work = Box::pin(work);
                let quick = began.elapsed() < TOGETHER;
                if !quick || work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                    // The runtime polls it again, and so gives it a waker that works.
                    tokio::spawn(work);
                }
            }
        })),
    }
}

/// Begins an attempt: the future that makes it. Its result, unless nobody waits for it any more, reaches the run's
/// worker as [`Msg::Attempt`].
fn begin(inner: &Arc<Inner>, attempt: Begin) -> Option<impl Future<Output = ()> + Send + 'static> {
    let Begin { run, step, token, ruled: Ruled { place, retry, timeout: longest } } = attempt;
    if token.is_cancelled() && inner.is_stopping() && step.once {
        // Recorded as started, and it must be known that it never was: whoever takes the run up makes it.
        let message = "the host stopped before the attempt began";
        let (kind, retry_after) = (Kind::Interrupted, Some(0));
        let error = AttemptError { kind, retry_after, ..AttemptError::new(message) };
        done(inner, &run, step.step_id, step.attempt, Err(error));
        return None;
    }
    if token.is_cancelled() {
        // Recorded as started; taken up as interrupted, if anybody still wants it.
        lost(inner, &run, &step.step_id);
        return None;
    }
    let Some(handler) = inner.registry.find(&step.name) else {
        if step.attempt > 1 {
            // It was there when the call was made: an operator forgot something, the script did nothing wrong.
            let reason = format!("step {} is under way, but {}", step.step_id, inner.registry.unknown(&step.name));
            park(inner, &run, &step.step_id, reason);
        } else {
            let error = AttemptError {
                kind: Kind::UnknownStep,
                fatal: true,
                ..AttemptError::new(inner.registry.unknown(&step.name))
            };
            Metered::begin(inner, &step.name).ended(inner, Outcome::Failed);
            if let Some(watched) = Watched::begin(inner, &run, &step.step_id, &step.name, step.attempt) {
                watched.failed(inner, AttemptOutcome::Failed, &error);
            }
            done(inner, &run, step.step_id, step.attempt, Err(error));
        }
        return None;
    };
    let context = context(inner, &run, &step, token.clone());
    let inner = inner.clone();
    Some(async move {
        let RunStep { step_id, name, attempt, input, timeout, deadline, once, .. } = step;
        let policed = |error: AttemptError| AttemptError { policy: retry.clone().map(Box::new), ..error };
        let mut timeout = timeout.or(longest.map(|longest| longest.as_millis() as u64));
        let (mut handler, mut place) = (handler, place);
        let mut counted = false;
        loop {
            // Held to the end, which for an attempt that took too long comes after its result.
            let pass = match place.take() {
                None => None,
                Some(place) => {
                    let waits = inner.meters.waiting_for_limit.raise();
                    let pass = turn(place, &token).await;
                    drop(waits);
                    match pass {
                        Some(pass) => Some(pass),
                        None => return lost(&inner, &run, &step_id),
                    }
                }
            };
            if !std::mem::replace(&mut counted, true) {
                inner.counters.attempts.fetch_add(1, Ordering::Relaxed);
            }
            let metered = Metered::begin(&inner, &name);
            let watched = Watched::begin(&inner, &run, &step_id, &name, attempt);
            let mut work = guarded(&handler, context.clone(), Value::clone(&input));
            let result = match timeout {
                None => watch(&mut work, &token, &inner).await,
                Some(ms) => {
                    // Kept until the attempt is over: a clock that is told when to go on sees that somebody still reacts.
                    let mut nap = inner.clock.sleep(Duration::from_millis(ms));
                    let ended = tokio::select! {
                        biased;
                        result = watch(&mut work, &token, &inner) => Some(result),
                        () = &mut nap => None,
                    };
                    if let Some(result) = ended {
                        result
                    } else {
                        token.cancel();
                        let message = format!("the attempt took longer than {}", durhai_core::duration::show(ms));
                        let error = AttemptError { kind: Kind::Timeout, ..AttemptError::new(message) };
                        let _running = metered.ended(&inner, Outcome::Timeout);
                        if let Some(watched) = watched {
                            watched.failed(&inner, AttemptOutcome::TimedOut, &error);
                        }
                        done(&inner, &run, step_id, attempt, Err(policed(error)));
                        // It was told; it may still put its things in order.
                        let _ = tokio::time::timeout(inner.grace, work).await;
                        return;
                    }
                }
            };
            if let Some(Err(error)) = &result
                && error.is_misconfigured()
            {
                // What it waits for takes nobody's place.
                drop((metered, pass));
                if let Some(watched) = watched {
                    watched.failed(&inner, AttemptOutcome::Failed, &attempt_error(error.clone()));
                }
                let again = held::wait(&inner, &token, &context, error, (deadline, once)).await;
                match (again, inner.registry.find(&name)) {
                    (Waited::Mended, Some(found)) => {
                        handler = found;
                        place = inner.rules.of(&name).place;
                        let left = deadline.map(|deadline| deadline.saturating_sub(inner.clock.now()).max(1));
                        timeout = match (timeout, left) {
                            (Some(timeout), Some(left)) => Some(timeout.min(left)),
                            (timeout, left) => timeout.or(left),
                        };
                        continue;
                    }
                    (Waited::Mended, None) => {
                        let why = inner.registry.unknown(&name);
                        park(&inner, &run, &step_id, format!("step {step_id} is under way, but {why}"));
                    }
                    (Waited::TooLong, _) => {
                        let why = inner.mask.as_ref().and_then(|mask| mask(error.message()));
                        let why = why.unwrap_or_else(|| error.message().to_owned());
                        park(&inner, &run, &step_id, format!("step {step_id} waits for an operator: {why}"));
                    }
                    (Waited::Late, _) => {
                        let message = format!("the deadline was over while the attempt waited: {}", error.message());
                        let late = StepError { mended: None, ..error.clone() };
                        let late = AttemptError { kind: Kind::Timeout, fatal: true, message, ..attempt_error(late) };
                        done(&inner, &run, step_id, attempt, Err(late));
                    }
                    // Whoever takes the run up makes it, also where it may be made once only.
                    (Waited::Unwanted, _) if inner.is_stopping() => {
                        let message = format!("the host stopped while the attempt waited: {}", error.message());
                        let kind = Kind::Interrupted;
                        let error = AttemptError { kind, retry_after: Some(0), ..AttemptError::new(message) };
                        done(&inner, &run, step_id, attempt, Err(error));
                    }
                    (Waited::Unwanted, _) => lost(&inner, &run, &step_id),
                }
                return;
            }
            if let Some(result) = result {
                let result = mask::result(inner.mask.as_ref(), result).map_err(attempt_error);
                let result = result.and_then(|output| within_limit(&inner, output));
                metered.ended(&inner, Outcome::of(&result));
                match (watched, &result) {
                    (None, _) => {}
                    (Some(watched), Ok(_)) => watched.ended(&inner, AttemptOutcome::Completed),
                    (Some(watched), Err(error)) => watched.failed(&inner, AttemptOutcome::Failed, error),
                }
                done(&inner, &run, step_id, attempt, result.map_err(policed));
            } else {
                metered.ended(&inner, if inner.is_stopping() { Outcome::Lost } else { Outcome::Cancelled });
                if let Some(watched) = watched {
                    watched.ended(&inner, AttemptOutcome::Cancelled);
                }
                lost(&inner, &run, &step_id);
            }
            return;
        }
    })
}

/// An operator has to do something about the run.
fn park(inner: &Inner, run: &RunShared, step_id: &StepId, reason: String) {
    run.attempts.lock().expect("not poisoned").remove(step_id);
    inner.send(run.worker, Msg::Park { run: run.id.clone(), reason });
}

/// An attempt that is measured.
struct Metered {
    step: Arc<StepMeters>,
    began: Instant,
    running: Raised,
}

impl Metered {
    fn begin(inner: &Inner, step: &str) -> Self {
        let running = inner.meters.attempts_running.raise();
        Metered { step: inner.step_meters(step), began: Instant::now(), running }
    }

    /// It still counts as running while what comes back is kept.
    fn ended(self, inner: &Inner, outcome: Outcome) -> Raised {
        inner.meters.attempt(&self.step, outcome, self.began.elapsed());
        self.running
    }
}

impl Inner {
    /// A name that no step has may be anything.
    pub fn step_meters(&self, step: &str) -> Arc<StepMeters> {
        self.meters.steps.of(step, || self.registry.knows(step))
    }
}

/// Waits for its turn; `None` if nobody wants the attempt any more.
pub(crate) async fn turn(place: Place, token: &CancellationToken) -> Option<Pass> {
    tokio::select! {
        biased;
        () = token.cancelled() => None,
        pass = place.turn() => Some(pass),
    }
}

/// One attempt without a run: `Host::call_step`.
pub(crate) async fn call_once(
    inner: &Inner,
    handler: Arc<dyn StepHandler>,
    context: StepContext,
    input: Value,
) -> Result<Value, Failure> {
    let result = guarded(&handler, context, input).await;
    mask::result(inner.mask.as_ref(), result).map_err(|error| {
        let error = attempt_error(error);
        Failure::new(error.kind, error.message).with_data(error.data)
    })
}

/// Tells the running attempt of a call that nobody waits for it any more.
pub(crate) fn cancel(run: &RunShared, step_id: &StepId) {
    if let Some(token) = run.attempts.lock().expect("not poisoned").remove(step_id) {
        token.cancel();
    }
}

/// A panic of the step is a failed attempt.
fn guarded(handler: &Arc<dyn StepHandler>, context: StepContext, input: Value) -> Attempt {
    let panicked = |panic: Box<dyn std::any::Any + Send>| {
        let text =
            panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
        StepError::retry(format!("the step panicked: {}", text.as_deref().unwrap_or("no message")))
    };
    let handler = handler.clone();
    let mut work: Option<Attempt> = None;
    let mut begin = Some((context, input));
    Box::pin(poll_fn(move |cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let work = work.get_or_insert_with(|| {
                let (context, input) = begin.take().expect("an attempt begins once");
                handler.call(context, input)
            });
            Pin::new(work).as_mut().poll(cx)
        }));
        match polled {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(Err(panicked(panic))),
        }
    }))
}

/// Waits for the attempt. Once it is told to stop it has the grace period; an error it then ends with is the telling's
/// doing and no result (`None`).
async fn watch(work: &mut Attempt, token: &CancellationToken, inner: &Inner) -> Option<Result<Value, StepError>> {
    tokio::select! {
        biased;
        // Woken by the telling, the attempt may be the first to be looked at.
        result = &mut *work => return Some(result).filter(|result| result.is_ok() || !token.is_cancelled()),
        () = token.cancelled() => {}
    }
    match tokio::time::timeout(inner.grace.min(inner.drain), work).await {
        Ok(Ok(output)) => Some(Ok(output)),
        _ => None,
    }
}

fn context(inner: &Arc<Inner>, run: &Arc<RunShared>, step: &RunStep, token: CancellationToken) -> StepContext {
    let told = Told::default();
    let (sink_inner, sink_run, step_id) = (inner.clone(), run.clone(), step.step_id.clone());
    StepContext::new(Made {
        run: run.id.clone(),
        workflow: run.workflow.clone(),
        step: step.step_id.clone(),
        name: step.name.clone(),
        attempt: step.attempt,
        keys_of: step.keys_of.clone(),
        starter: run.starter.get().copied(),
        observers: inner.observers.clone(),
        cancel: token,
        sink: Box::new(move |note| {
            let run = sink_run.id.clone();
            let Some(note) = told.take(sink_inner.mask.as_ref(), note) else { return };
            let msg = match note {
                Note::Heartbeat(detail) => Msg::Heartbeat { run, step_id: step_id.clone(), detail },
                Note::Log(mut line) => {
                    line.at = sink_inner.clock.now();
                    Msg::Line { run, line }
                }
            };
            sink_inner.send(sink_run.worker, msg);
        }),
    })
}

fn lost(inner: &Inner, run: &RunShared, step_id: &StepId) {
    inner.send(run.worker, Msg::AttemptLost { run: run.id.clone(), step_id: step_id.clone() });
}

fn done(inner: &Arc<Inner>, run: &Arc<RunShared>, step_id: StepId, attempt: u32, result: Result<Value, AttemptError>) {
    inner.send(run.worker, Msg::Attempt { run: run.id.clone(), step_id, attempt, result });
}

fn attempt_error(error: StepError) -> AttemptError {
    let (kind, fatal) = match &error.failure {
        Some(failure) => (failure.kind, true),
        None => (Kind::StepFailed, error.fatal),
    };
    let retry_after = error.retry_after.map(|wait| wait.as_millis() as u64);
    let mut data = error.data;
    // An error cannot be refused; its numbers stay exact all the same.
    durhai_core::json::as_text(&mut data);
    AttemptError { kind, message: error.message, fatal, retry_after, policy: None, data }
}

/// An output that is too large or too deep would make the log unreadable for its own limits.
fn within_limit(inner: &Inner, output: Value) -> Result<Value, AttemptError> {
    let most = inner.limits.payload;
    match crate::payload::check(&output, most, inner.limits.depth) {
        Ok(()) => Ok(output),
        Err(message) => Err(AttemptError {
            kind: Kind::Limit,
            fatal: true,
            ..AttemptError::new(format!("the output of the step {message}"))
        }),
    }
}
