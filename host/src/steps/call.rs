//! One attempt of a step outside of any run, without a record: `Host::call_step`.

use std::sync::Arc;

use durhai_core::{Failure, FailureKind, StepId, Value};
use tokio_util::sync::CancellationToken;

use crate::observe::observer::Observers;
use crate::shared::Shared;
use crate::steps::attempt::{attempt_error, guarded, turn};
use crate::steps::mask;
use crate::steps::notes::AttemptNotes;
use crate::steps::rules::Ruled;
use crate::steps::step::{Made, Note, StepContext};
use crate::store::random;

pub(crate) async fn call(host: &Arc<Shared>, name: &str, input: Value) -> Result<Value, Failure> {
    let Some(handler) = host.steps.registry.find(name) else {
        return Err(Failure::new(FailureKind::UnknownStep, host.steps.registry.unknown(name)));
    };
    let token: CancellationToken = host.life.stopping.child_token();
    let Ruled { place, timeout, .. } = host.steps.rules.of(name);
    let _pass = match place {
        None => None,
        Some(place) => match turn(place, &token).await {
            Some(pass) => Some(pass),
            None => return Err(Failure::new(FailureKind::Interrupted, "the host stops")),
        },
    };
    let run = random::run_id(host.store.clock.now())
        .map_err(|error| Failure::new(FailureKind::Interrupted, error.to_string()))?;
    let mask = host.steps.mask.clone();
    let notes = AttemptNotes::default();
    let sink = Box::new(move |note: Note| {
        if let Some(Note::Log(line)) = notes.take(mask.as_ref(), note) {
            tracing::info!("{}: {}", line.level, line.message);
        }
    });
    let context = StepContext::new(Made {
        run,
        workflow: String::new(),
        step: StepId::parse("1").expect("1 is a step id"),
        name: name.into(),
        attempt: 1,
        idempotency_run: None,
        starter: None,
        // It is no part of a run, and no observer is told of it.
        observers: Observers::default(),
        cancel: token.clone(),
        sink,
    });
    let mut work = Box::pin(async {
        let result = guarded(&handler, context, input).await;
        mask::result(host.steps.mask.as_ref(), result).map_err(|error| {
            let error = attempt_error(error);
            Failure::new(error.kind, error.message).with_data(error.data)
        })
    });
    let Some(timeout) = timeout else { return work.await };
    match tokio::time::timeout(timeout, &mut work).await {
        Ok(result) => result,
        Err(_) => {
            token.cancel();
            let _ = tokio::time::timeout(host.config.grace, work).await;
            let shown = durhai_core::duration::show(timeout.as_millis() as u64);
            Err(Failure::new(FailureKind::Timeout, format!("the attempt took longer than {shown}")))
        }
    }
}
