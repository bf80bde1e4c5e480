//! Steps: named functions with effects.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use durhai_core::replay::LogLine;
use durhai_core::{Failure, RunId, StepId, TraceContext, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::observe::observer::Observers;

/// What an attempt of a step knows about itself. Cheap to clone.
#[derive(Clone)]
pub struct StepContext(Arc<Made>);

/// What a [`StepContext`] is made of.
pub(crate) struct Made {
    pub run: RunId,
    pub workflow: String,
    pub step: StepId,
    pub name: Arc<str>,
    pub attempt: u32,
    /// The run in its key, where it is not its own.
    pub idempotency_run: Option<RunId>,
    /// The span that started its run.
    pub starter: Option<TraceContext>,
    pub observers: Observers,
    pub cancel: CancellationToken,
    pub sink: Box<dyn Fn(Note) + Send + Sync>,
}

/// What an attempt tells its host while it goes on.
pub(crate) enum Note {
    Heartbeat(Value),
    Log(LogLine),
}

impl StepContext {
    pub(crate) fn new(made: Made) -> Self {
        StepContext(Arc::new(made))
    }

    pub fn run_id(&self) -> &RunId {
        &self.0.run
    }

    pub fn workflow(&self) -> &str {
        &self.0.workflow
    }

    pub fn step_id(&self) -> &StepId {
        &self.0.step
    }

    /// The name it was called by.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// 1 for the first attempt.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// `<run>/<step id>`: the same in every attempt, another one for every other call. Hand it to services that can
    /// tell a repeated request by such a key. A run that is tried again after its failure (`retry`) has the keys of that one:
    /// what was done although its answer got lost is not done twice.
    pub fn idempotency_key(&self) -> String {
        format!("{}/{}", self.0.idempotency_run.as_ref().unwrap_or(&self.0.run), self.0.step)
    }

    /// The span of this attempt, as W3C writes it: what a step sends as `traceparent` to whomever it asks, so that their
    /// spans come under its own. Computed from the names of run, step and attempt, in the trace of the caller that started the run;
    /// flagged as sampled if this host records it, or where it has no [observer](crate::observe::Observer), if its starter does.
    pub fn traceparent(&self) -> String {
        self.trace_context().to_string()
    }

    /// The same in its parts.
    pub fn trace_context(&self) -> TraceContext {
        let Made { run, step, attempt, starter, observers, .. } = &*self.0;
        observers.span_of(run, starter.as_ref()).of_attempt(run, step, *attempt)
    }

    /// Ends when the run does not want the result any more: the run was cancelled, the attempt timed out, the host stops. What
    /// the step returns afterwards is ignored.
    pub async fn cancelled(&self) {
        self.0.cancel.cancelled().await;
    }

    /// The same, to look at between two pieces of work.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancel.is_cancelled()
    }

    /// Says that the step is alive and how far it is. The last detail is shown with the run; a step whose options name
    /// a `timeout` is not given more time by it.
    pub fn heartbeat(&self, detail: impl Serialize) {
        (self.0.sink)(Note::Heartbeat(serde_json::to_value(detail).unwrap_or_default()));
    }

    /// Writes to the run's log, with this step's id. `level`: `debug`, `info`, `warn` or `error`.
    pub fn log(&self, level: &str, message: impl fmt::Display) {
        self.log_with(level, message, Value::Null);
    }

    /// The same, with fields.
    pub fn log_with(&self, level: &str, message: impl fmt::Display, fields: Value) {
        (self.0.sink)(Note::Log(LogLine {
            at: 0,
            level: level.into(),
            message: message.to_string(),
            fields,
            step_id: Some(self.0.step.clone()),
            attempt: Some(self.0.attempt),
        }));
    }
}

impl fmt::Debug for StepContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StepContext({} attempt {} of {})", self.0.name, self.0.attempt, self.idempotency_key())
    }
}

/// Why an attempt failed, and whether another one makes sense.
#[derive(Debug, Clone, PartialEq)]
pub struct StepError {
    pub(crate) message: String,
    pub(crate) fatal: bool,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) data: Value,
    /// Set where the failure has a kind of its own (a step that does not exist, an input it cannot take).
    pub(crate) failure: Option<Box<Failure>>,
    /// Set where nothing is wrong but what an operator has set.
    pub(crate) mended: Option<Mended>,
}

/// Says whether another attempt makes sense by now.
#[derive(Clone)]
pub(crate) struct Mended(Arc<dyn Fn() -> bool + Send + Sync>);

impl Mended {
    pub fn look(&self) -> bool {
        (self.0)()
    }
}

impl PartialEq for Mended {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Mended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mended")
    }
}

impl StepError {
    /// Another attempt may succeed: the step's retry policy decides.
    pub fn retry(message: impl fmt::Display) -> Self {
        StepError {
            message: message.to_string(),
            fatal: false,
            retry_after: None,
            data: Value::Null,
            failure: None,
            mended: None,
        }
    }

    /// No attempt will succeed.
    pub fn fatal(message: impl fmt::Display) -> Self {
        StepError { fatal: true, ..StepError::retry(message) }
    }

    /// What the step needs is not there, and the run can do nothing about it: a secret that is not set, a text that does not
    /// compile. The attempt does not count. It waits, with the message in the run's log, until `mended` gives `true`, and is
    /// made again; see [`HostBuilder::park_misconfigured_after`](crate::HostBuilder::park_misconfigured_after). `mended` is
    /// asked every half second as long as the run waits: it should cost no more than a look at a file.
    pub fn misconfigured(message: impl fmt::Display, mended: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        StepError { mended: Some(Mended(Arc::new(mended))), ..StepError::retry(message) }
    }

    /// Not before so long; replaces the wait of the retry policy.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// What the script finds under `data` in the error it catches.
    #[must_use]
    pub fn data(mut self, data: Value) -> Self {
        self.data = data;
        self
    }

    /// A failure with a kind of its own. Fatal.
    pub(crate) fn kind(failure: Failure) -> Self {
        StepError { failure: Some(Box::new(failure.clone())), ..StepError::fatal(failure.message) }
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn is_fatal(&self) -> bool {
        self.fatal
    }

    /// It is a fault of what an operator has set, see [`misconfigured`](Self::misconfigured).
    pub fn is_misconfigured(&self) -> bool {
        self.mended.is_some()
    }

    /// What [`data`](Self::data) added; null where nothing was.
    pub fn details(&self) -> &Value {
        &self.data
    }

    /// The wait that was asked for.
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Any error can be retried, so `?` works in steps.
impl<E: std::error::Error> From<E> for StepError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        StepError::retry(message)
    }
}

/// The future of one attempt.
pub type Attempt = Pin<Box<dyn Future<Output = Result<Value, StepError>> + Send>>;

/// A step: takes JSON, gives JSON. Called on the host's async threads: work that blocks belongs on threads of its own.
pub trait StepHandler: Send + Sync + 'static {
    fn call(&self, context: StepContext, input: Value) -> Attempt;
}

/// A place where steps come from, asked by name at the beginning of each attempt.
pub trait StepSource: Send + Sync + 'static {
    fn find(&self, name: &str) -> Option<Arc<dyn StepHandler>>;

    /// Whether there is such a step. Asked on a script thread for every new call, before it is recorded: answer from
    /// memory where the step was found before, even if it may have gone since.
    fn knows(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Every step it has, for lists and for the names suggested when one is not found.
    fn list(&self) -> Vec<StepInfo>;
}

/// A step as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepInfo {
    pub name: String,
    /// Where it comes from: `rust`, `rhai`, …
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// An async function as a step.
pub(crate) struct Typed<F, I>(F, PhantomData<fn(I)>);

impl<F, I> Typed<F, I> {
    pub(crate) fn new(function: F) -> Self {
        Typed(function, PhantomData)
    }
}

impl<F, Fut, I, O, E> StepHandler for Typed<F, I>
where
    F: Fn(StepContext, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, E>> + Send + 'static,
    I: DeserializeOwned + 'static,
    O: Serialize,
    E: Into<StepError>,
{
    fn call(&self, context: StepContext, input: Value) -> Attempt {
        use durhai_core::FailureKind;
        match serde_json::from_value::<I>(input) {
            Ok(input) => {
                let work = (self.0)(context, input);
                Box::pin(async move {
                    let output = work.await.map_err(Into::into)?;
                    serde_json::to_value(output).map_err(|error| {
                        StepError::kind(Failure::new(
                            FailureKind::NotStorable,
                            format!("the output is not JSON: {error}"),
                        ))
                    })
                })
            }
            Err(error) => {
                let wanted = std::any::type_name::<I>();
                let message = format!("the step {} takes {wanted}: {error}", context.name());
                Box::pin(async move { Err(StepError::kind(Failure::new(FailureKind::InvalidInput, message))) })
            }
        }
    }
}
