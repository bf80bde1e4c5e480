//! One attempt of a step: found, called, watched, and its result brought back to the run.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use durhai_core::replay::{AttemptError, RunStep};
use durhai_core::{FailureKind, RetryPolicy, StepId, Value};
use tokio_util::sync::CancellationToken;

use crate::error::panic_text;
use crate::observe::metrics::{Outcome, Raised, StepMeters};
use crate::observe::observer::AttemptOutcome;
use crate::runtime::command::WorkerCommand;
use crate::runtime::run_shared::RunShared;
use crate::shared::Shared;
use crate::steps::limiter::{Pass, Place};
use crate::steps::mask;
use crate::steps::misconfigured::{self, Waited};
use crate::steps::notes::AttemptNotes;
use crate::steps::rules::Ruled;
use crate::steps::step::{Attempt, Made, Note, StepContext, StepError, StepHandler};
use crate::steps::watched::Watched;

/// An attempt that may begin: its start is durable. It can be cancelled from now on.
pub(crate) struct PendingAttempt {
    run: Arc<RunShared>,
    step: RunStep,
    token: CancellationToken,
    ruled: Ruled,
}

impl PendingAttempt {
    pub fn new(host: &Shared, run: &Arc<RunShared>, step: RunStep) -> Self {
        let token = host.life.stopping.child_token();
        run.register(&step.step_id, &token);
        let ruled = host.steps.rules.of(&step.name);
        PendingAttempt { run: run.clone(), step, token, ruled }
    }
}

/// Attempts of one batch that end at once are made one after the other in one task, as long as that takes no longer.
const TOGETHER: Duration = Duration::from_micros(500);

/// Begins attempts. From a thread outside of the runtime each spawn would go through its one shared queue and wake
/// a thread, so one task goes in for all. It gives each attempt a first chance to end, which most short ones take; those
/// that wait, and all that come after a slow one, become tasks of their own.
pub(crate) fn begin_all(host: &Arc<Shared>, mut attempts: Vec<PendingAttempt>) {
    let within = host.clone();
    match attempts.len() {
        0 => {}
        1 => {
            if let Some(work) = begin(host, attempts.remove(0)) {
                host.tokio.spawn(work);
            }
        }
        _ => drop(host.tokio.spawn(async move {
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

/// Begins an attempt: the future that makes it. Its result, unless the run does not wait for it any more, reaches the run's
/// worker as [`WorkerCommand::Attempt`].
fn begin(host: &Arc<Shared>, attempt: PendingAttempt) -> Option<impl Future<Output = ()> + Send + 'static> {
    let PendingAttempt { run, step, token, ruled: Ruled { place, retry, timeout: longest } } = attempt;
    if token.is_cancelled() && host.life.is_stopping() && step.once {
        // Recorded as started, and it must be known that it never was: the host that takes the run up makes it.
        done(host, &run, step.step_id, step.attempt, Err(not_begun()));
        return None;
    }
    if token.is_cancelled() {
        // Recorded as started; taken up as interrupted, if the run still waits for it.
        lost(host, &run, &step.step_id);
        return None;
    }
    let Some(handler) = host.steps.registry.find(&step.name) else {
        missing(host, &run, step);
        return None;
    };
    let context = context(host, &run, &step, token.clone());
    let timeout = step.timeout.or(longest.map(|longest| longest.as_millis() as u64));
    let host = host.clone();
    Some(Making { host, run, step, token, retry, context, handler, place, timeout }.make())
}

/// The host has no such step.
fn missing(host: &Arc<Shared>, run: &Arc<RunShared>, step: RunStep) {
    let why = host.steps.registry.unknown(&step.name);
    if step.attempt > 1 {
        // It was there when the call was made: an operator forgot something, the script did nothing wrong.
        return park(host, run, &step.step_id, format!("step {} is under way, but {why}", step.step_id));
    }
    let error = AttemptError { kind: FailureKind::UnknownStep, fatal: true, ..AttemptError::new(why) };
    Metered::begin(host, &step.name).ended(host, Outcome::Failed);
    if let Some(watched) = Watched::begin(host, run, &step.step_id, &step.name, step.attempt) {
        watched.failed(host, AttemptOutcome::Failed, &error);
    }
    done(host, run, step.step_id, step.attempt, Err(error));
}

/// An attempt that is being made.
struct Making {
    host: Arc<Shared>,
    run: Arc<RunShared>,
    step: RunStep,
    token: CancellationToken,
    /// What the operator's rules say of its retries.
    retry: Option<RetryPolicy>,
    context: StepContext,
    handler: Arc<dyn StepHandler>,
    /// Its place among the attempts of a step whose number is limited.
    place: Option<Place>,
    /// Milliseconds it may take.
    timeout: Option<u64>,
}

impl Making {
    /// Until it has a result, or is not wanted any more. What only an operator can mend is waited for, and tried again.
    async fn make(mut self) {
        let mut counted = false;
        loop {
            let pass = match self.place.take() {
                None => None,
                Some(place) => {
                    let waits = self.host.observe.meters.waiting_for_limit.raise();
                    let pass = turn(place, &self.token).await;
                    drop(waits);
                    match pass {
                        Some(pass) => Some(pass),
                        None => return self.not_called(),
                    }
                }
            };
            if !trusted(&self.host, &self.run, &self.token).await {
                return self.not_called();
            }
            if !std::mem::replace(&mut counted, true) {
                self.host.observe.counters.attempts.fetch_add(1, Ordering::Relaxed);
            }
            let Some(error) = self.call(pass).await else { return };
            if !self.is_mended(error).await {
                return;
            }
        }
    }

    /// Calls the step, and sends its result. The error, if that is for an operator to mend: then there is no result yet.
    /// The pass is held to the end, which for an attempt that took too long comes after its result.
    async fn call(&mut self, pass: Option<Pass>) -> Option<StepError> {
        let host = &self.host;
        let metered = Metered::begin(host, &self.step.name);
        let watched = Watched::begin(host, &self.run, &self.step.step_id, &self.step.name, self.step.attempt);
        let mut work = guarded(&self.handler, self.context.clone(), Value::clone(&self.step.input));
        let result = match self.timeout {
            None => watch(&mut work, &self.token, host).await,
            Some(ms) => {
                // Kept until the attempt is over: a clock that is told when to go on sees that it still reacts.
                let mut nap = host.store.clock.sleep(Duration::from_millis(ms));
                let ended = tokio::select! {
                    biased;
                    result = watch(&mut work, &self.token, host) => Some(result),
                    () = &mut nap => None,
                };
                let Some(result) = ended else {
                    self.too_long(ms, metered, watched, work).await;
                    return None;
                };
                result
            }
        };
        match result {
            Some(Err(error)) if error.is_misconfigured() => {
                // What it waits for takes no other attempt's place.
                drop((metered, pass));
                if let Some(watched) = watched {
                    watched.failed(host, AttemptOutcome::Failed, &attempt_error(error.clone()));
                }
                return Some(error);
            }
            Some(result) => {
                let result = mask::result(host.steps.mask.as_ref(), result).map_err(attempt_error);
                let result = result.and_then(|output| within_limit(host, output));
                metered.ended(host, Outcome::of(&result));
                match (watched, &result) {
                    (None, _) => {}
                    (Some(watched), Ok(_)) => watched.ended(host, AttemptOutcome::Completed),
                    (Some(watched), Err(error)) => watched.failed(host, AttemptOutcome::Failed, error),
                }
                self.done(result.map_err(|error| self.policed(error)));
            }
            None => {
                metered.ended(host, if host.life.is_stopping() { Outcome::Lost } else { Outcome::Cancelled });
                if let Some(watched) = watched {
                    watched.ended(host, AttemptOutcome::Cancelled);
                }
                self.lost();
            }
        }
        None
    }

    /// The attempt is told to stop, and its timeout is the result.
    async fn too_long(&self, ms: u64, metered: Metered, watched: Option<Watched>, work: Attempt) {
        let host = &self.host;
        self.token.cancel();
        let message = format!("the attempt took longer than {}", durhai_core::duration::show(ms));
        let error = AttemptError { kind: FailureKind::Timeout, ..AttemptError::new(message) };
        let _running = metered.ended(host, Outcome::Timeout);
        if let Some(watched) = watched {
            watched.failed(host, AttemptOutcome::TimedOut, &error);
        }
        self.done(Err(self.policed(error)));
        // It was told; it may still put its things in order.
        let _ = tokio::time::timeout(host.config.grace, work).await;
    }

    /// Waits until an operator has mended what the error complains about; `true`: the step is to be called again.
    async fn is_mended(&mut self, error: StepError) -> bool {
        let (host, step) = (&self.host, &self.step);
        let bounds = (step.deadline, step.once);
        let waited = misconfigured::wait(host, &self.token, &self.context, &error, bounds).await;
        let id = &step.step_id;
        match (waited, host.steps.registry.find(&step.name)) {
            (Waited::Mended, Some(found)) => {
                let left = step.deadline.map(|deadline| deadline.saturating_sub(host.store.clock.now()).max(1));
                self.timeout = match (self.timeout, left) {
                    (Some(timeout), Some(left)) => Some(timeout.min(left)),
                    (timeout, left) => timeout.or(left),
                };
                self.place = host.steps.rules.of(&step.name).place;
                self.handler = found;
                return true;
            }
            (Waited::Mended, None) => {
                let why = host.steps.registry.unknown(&step.name);
                park(host, &self.run, id, format!("step {id} is under way, but {why}"));
            }
            (Waited::TooLong, _) => {
                let why = host.steps.mask.as_ref().and_then(|mask| mask(error.message()));
                let why = why.unwrap_or_else(|| error.message().to_owned());
                park(host, &self.run, id, format!("step {id} waits for an operator: {why}"));
            }
            (Waited::Late, _) => {
                let message = format!("the deadline was over while the attempt waited: {}", error.message());
                let late = StepError { mended: None, ..error };
                self.done(Err(AttemptError {
                    kind: FailureKind::Timeout,
                    fatal: true,
                    message,
                    ..attempt_error(late)
                }));
            }
            // The host that takes the run up makes it, also where it may be made once only.
            (Waited::Unwanted, _) if host.life.is_stopping() => {
                let message = format!("the host stopped while the attempt waited: {}", error.message());
                self.done(Err(interrupted(message)));
            }
            (Waited::Unwanted, _) => self.lost(),
        }
        false
    }

    fn policed(&self, error: AttemptError) -> AttemptError {
        AttemptError { policy: self.retry.clone().map(Box::new), ..error }
    }

    fn done(&self, result: Result<Value, AttemptError>) {
        done(&self.host, &self.run, self.step.step_id.clone(), self.step.attempt, result);
    }

    /// The attempt is not wanted any more, and its step was not called, or only complained about what an operator had to mend.
    fn not_called(&self) {
        if self.host.life.is_stopping() && self.step.once {
            return self.done(Err(not_begun()));
        }
        self.lost();
    }

    fn lost(&self) {
        lost(&self.host, &self.run, &self.step.step_id);
    }
}

/// A step that may run once only was recorded as started, and it must be known that it never was.
fn not_begun() -> AttemptError {
    interrupted("the host stopped before the attempt began".into())
}

/// The host stops: the attempt is made by the host that takes the run up, and counts as none.
fn interrupted(message: String) -> AttemptError {
    AttemptError { kind: FailureKind::Interrupted, retry_after: Some(0), ..AttemptError::new(message) }
}

/// An operator has to do something about the run.
fn park(host: &Shared, run: &Arc<RunShared>, step_id: &StepId, reason: String) {
    run.attempts.lock().remove(step_id);
    host.runtime.workers.send(run.worker, WorkerCommand::Park { run: run.clone(), reason });
}

/// An attempt that is measured.
struct Metered {
    step: Arc<StepMeters>,
    began: Instant,
    running: Raised,
}

impl Metered {
    fn begin(host: &Shared, step: &str) -> Self {
        let running = host.observe.meters.attempts_running.raise();
        Metered { step: step_meters(host, step), began: Instant::now(), running }
    }

    /// It still counts as running while what comes back is kept.
    fn ended(self, host: &Shared, outcome: Outcome) -> Raised {
        host.observe.meters.attempt(&self.step, outcome, self.began.elapsed());
        self.running
    }
}

/// A name that no step has may be anything.
pub(crate) fn step_meters(host: &Shared, step: &str) -> Arc<StepMeters> {
    host.observe.meters.steps.of(step, || host.steps.registry.knows(step))
}

/// Waits until the host is sure that it holds its runs, as it is unless it was stopped for long or cut off from the world;
/// `false` if the attempt is not wanted any more.
async fn trusted(host: &Shared, run: &RunShared, token: &CancellationToken) -> bool {
    if let Some(trusted) = host.store.lease.trusts(run.epoch) {
        return trusted;
    }
    tokio::select! {
        biased;
        () = token.cancelled() => false,
        trusted = host.store.lease.trusted(run.epoch) => trusted,
    }
}

/// Waits for its turn; `None` if the run does not want the attempt any more.
pub(crate) async fn turn(place: Place, token: &CancellationToken) -> Option<Pass> {
    tokio::select! {
        biased;
        () = token.cancelled() => None,
        pass = place.turn() => Some(pass),
    }
}

/// Tells the running attempt of a call that the run does not wait for it any more.
pub(crate) fn cancel(run: &RunShared, step_id: &StepId) {
    if let Some(token) = run.attempts.lock().remove(step_id) {
        token.cancel();
    }
}

/// A panic of the step is a failed attempt.
pub(crate) fn guarded(handler: &Arc<dyn StepHandler>, context: StepContext, input: Value) -> Attempt {
    let panicked = |panic: Box<dyn std::any::Any + Send>| {
        StepError::retry(format!("the step panicked: {}", panic_text(&*panic).unwrap_or("no message")))
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
async fn watch(work: &mut Attempt, token: &CancellationToken, host: &Shared) -> Option<Result<Value, StepError>> {
    tokio::select! {
        biased;
        // Woken by the telling, the attempt may be the first to be looked at.
        result = &mut *work => return Some(result).filter(|result| result.is_ok() || !token.is_cancelled()),
        () = token.cancelled() => {}
    }
    match tokio::time::timeout(host.config.grace.min(host.config.drain), work).await {
        Ok(Ok(output)) => Some(Ok(output)),
        _ => None,
    }
}

fn context(host: &Arc<Shared>, run: &Arc<RunShared>, step: &RunStep, token: CancellationToken) -> StepContext {
    let notes = AttemptNotes::default();
    let (sink_host, sink_run, step_id) = (host.clone(), run.clone(), step.step_id.clone());
    StepContext::new(Made {
        run: run.id.clone(),
        workflow: run.workflow.clone(),
        step: step.step_id.clone(),
        name: step.name.clone(),
        attempt: step.attempt,
        idempotency_run: step.idempotency_run.clone(),
        starter: run.starter.get().copied(),
        observers: host.observe.observers.clone(),
        cancel: token,
        sink: Box::new(move |note| {
            let run = sink_run.clone();
            let Some(note) = notes.take(sink_host.steps.mask.as_ref(), note) else { return };
            let msg = match note {
                Note::Heartbeat(detail) => WorkerCommand::Heartbeat { run, step_id: step_id.clone(), detail },
                Note::Log(mut line) => {
                    line.at = sink_host.store.clock.now();
                    WorkerCommand::Line { run, line }
                }
            };
            sink_host.runtime.workers.send(sink_run.worker, msg);
        }),
    })
}

fn lost(host: &Shared, run: &Arc<RunShared>, step_id: &StepId) {
    host.runtime.workers.send(run.worker, WorkerCommand::AttemptLost { run: run.clone(), step_id: step_id.clone() });
}

fn done(host: &Arc<Shared>, run: &Arc<RunShared>, step_id: StepId, attempt: u32, result: Result<Value, AttemptError>) {
    host.runtime.workers.send(run.worker, WorkerCommand::Attempt { run: run.clone(), step_id, attempt, result });
}

pub(crate) fn attempt_error(error: StepError) -> AttemptError {
    let (kind, fatal) = match &error.failure {
        Some(failure) => (failure.kind, true),
        None => (FailureKind::StepFailed, error.fatal),
    };
    let retry_after = error.retry_after.map(|wait| wait.as_millis() as u64);
    let mut data = error.data;
    // An error cannot be refused; its numbers stay exact all the same.
    durhai_core::json::as_text(&mut data);
    AttemptError { kind, message: error.message, fatal, retry_after, policy: None, data }
}

/// An output that is too large or too deep would make the log unreadable for its own limits.
fn within_limit(host: &Shared, output: Value) -> Result<Value, AttemptError> {
    let most = host.config.limits.payload;
    match crate::store::payload::check(&output, most, host.config.limits.depth) {
        Ok(()) => Ok(output),
        Err(message) => Err(AttemptError {
            kind: FailureKind::Limit,
            fatal: true,
            ..AttemptError::new(format!("the output of the step {message}"))
        }),
    }
}
