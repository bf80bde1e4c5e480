//! What observers are told of: attempts that ended, runs that ended.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use durhai_core::event::Created;
use durhai_core::{EventBody, FailureKind, Millis, RunId, SpanId, Status, StepId, TraceContext, TraceId, Version};
use durhai_world::Row;

use crate::steps::mask::{self, Mask};

/// Told of what has ended, to make traces of it; see [`HostBuilder::observe`](crate::HostBuilder::observe).
///
/// Called on the thread where it happens, among them those that commit and drive runs: an implementation must not block, and
/// hands what takes time to a thread of its own. A panic of it may end the host.
pub trait Observer: Send + Sync + 'static {
    /// Whether spans of this trace are recorded. Asked whenever a context is handed out, so that the flag in it tells
    /// the truth: the answer must depend on nothing but the arguments. `starter` is the span that started the run.
    fn samples(&self, trace: &TraceId, starter: Option<&TraceContext>) -> bool {
        let _ = (trace, starter);
        true
    }

    /// An attempt of a step ended in this process. What it brought may not be durable yet.
    fn attempt_ended(&self, attempt: &AttemptEnded);

    /// A run ended, and that is durable. Told once, by the host that ended it.
    fn run_ended(&self, run: &RunEnded);
}

/// An attempt of a step that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptEnded {
    pub run: RunId,
    pub workflow: String,
    pub version: Version,
    pub step_id: StepId,
    pub step: Arc<str>,
    /// 1 for the first.
    pub attempt: u32,
    /// On the host's clock.
    pub began: Millis,
    pub ended: Millis,
    /// The same time, measured more finely, on the machine's clock.
    pub took: Duration,
    pub outcome: AttemptOutcome,
    /// Where it failed. Secrets are masked.
    pub error: Option<ObservedError>,
    /// Its own span.
    pub context: TraceContext,
    /// The span of its run, which it is under.
    pub parent: SpanId,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    Completed,
    Failed,
    TimedOut,
    /// The run did not want its result any more: the run was cancelled, or the host stops.
    Cancelled,
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEnded {
    pub run: RunId,
    pub workflow: String,
    /// The one it ended with.
    pub version: Version,
    pub created_at: Millis,
    /// None if it never began.
    pub started_at: Option<Millis>,
    pub ended_at: Millis,
    pub status: Status,
    /// Why it failed or was cancelled. Secrets are masked.
    pub error: Option<ObservedError>,
    /// The run that waited for it.
    pub parent: Option<RunId>,
    /// The run whose log it took over: it is a retry or a fork of that one.
    pub origin: Option<RunId>,
    /// Secrets are masked.
    pub tags: BTreeMap<String, String>,
    /// Its own span.
    pub context: TraceContext,
    /// The span it is under, if a caller with a trace started it.
    pub starter: Option<TraceContext>,
}

/// An error, as far as a span tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedError {
    pub kind: FailureKind,
    pub message: String,
}

/// All observers of a host. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Observers(Arc<[Arc<dyn Observer>]>);

impl Observers {
    pub fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Observers(observers.into())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The span of a run. Where there is no observer, it is recorded if its starter says so: by others.
    pub fn span_of(&self, run: &RunId, starter: Option<&TraceContext>) -> TraceContext {
        let context = TraceContext::of_run(run, starter);
        if self.is_empty() {
            return context;
        }
        context.sampled(self.0.iter().any(|observer| observer.samples(&context.trace, starter)))
    }

    pub fn attempt_ended(&self, attempt: &AttemptEnded) {
        self.0.iter().for_each(|observer| observer.attempt_ended(attempt));
    }

    pub fn run_ended(&self, run: &RunEnded) {
        self.0.iter().for_each(|observer| observer.run_ended(run));
    }

    /// What is to be told of a run that ends; `None` if there is no observer, or if it does not end.
    pub fn ending(&self, mask: Option<&Mask>, created: &Created, row: &Row, end: &EventBody) -> Option<RunEnded> {
        if self.is_empty() || !row.status.is_terminal() {
            return None;
        }
        let error = match end {
            EventBody::RunFailed { error } => Some((error.kind, &error.message)),
            EventBody::RunCancelled { reason } => Some((FailureKind::Cancelled, reason)),
            _ => None,
        };
        let hidden = |text: &str| mask::hidden(mask, text);
        Some(RunEnded {
            run: row.run.clone(),
            workflow: row.workflow.clone(),
            version: row.version.clone(),
            created_at: row.created_at,
            started_at: row.started_at,
            ended_at: row.ended_at.unwrap_or(row.created_at),
            status: row.status,
            error: error.map(|(kind, message)| ObservedError { kind, message: hidden(message) }),
            parent: row.parent.clone(),
            origin: created.origin.as_ref().map(|origin| origin.run.clone()),
            tags: row.tags.iter().map(|(key, value)| (hidden(key), hidden(value))).collect(),
            context: self.span_of(&row.run, created.traceparent.as_ref()),
            starter: created.traceparent,
        })
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observers({})", self.0.len())
    }
}
