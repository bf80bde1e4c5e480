//! An attempt under way whose end observers will be told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use durhai_core::StepId;
use durhai_core::replay::AttemptError;

use crate::observe::observer::{AttemptEnded, AttemptOutcome, ObservedError, Observers};
use crate::runtime::run_shared::RunShared;
use crate::shared::Shared;

/// What observers will be told, as far as it is known.
pub(crate) struct Watched {
    observers: Observers,
    ended: AttemptEnded,
    clock: Instant,
}

impl Watched {
    /// `None` if there is no observer.
    pub fn begin(host: &Shared, run: &RunShared, step_id: &StepId, step: &Arc<str>, attempt: u32) -> Option<Self> {
        if host.observe.observers.is_empty() {
            return None;
        }
        let observers = host.observe.observers.clone();
        let span = observers.span_of(&run.id, run.starter.get());
        let began = host.store.clock.now();
        let ended = AttemptEnded {
            run: run.id.clone(),
            workflow: run.workflow.clone(),
            version: run.version.lock().clone(),
            step_id: step_id.clone(),
            step: step.clone(),
            attempt,
            began,
            ended: began,
            took: Duration::ZERO,
            outcome: AttemptOutcome::Cancelled,
            error: None,
            context: span.of_attempt(&run.id, step_id, attempt),
            parent: span.span,
        };
        Some(Watched { observers, ended, clock: Instant::now() })
    }

    pub fn failed(self, host: &Shared, outcome: AttemptOutcome, error: &AttemptError) {
        let error = Some(ObservedError { kind: error.kind, message: error.message.clone() });
        self.tell(host, outcome, error);
    }

    pub fn ended(self, host: &Shared, outcome: AttemptOutcome) {
        self.tell(host, outcome, None);
    }

    fn tell(mut self, host: &Shared, outcome: AttemptOutcome, error: Option<ObservedError>) {
        self.ended.took = self.clock.elapsed();
        self.ended.ended = host.store.clock.now().max(self.ended.began);
        self.ended.outcome = outcome;
        self.ended.error = error;
        self.observers.attempt_ended(&self.ended);
    }
}
