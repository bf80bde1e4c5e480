//! Trying a run again that has failed.

use durhai_core::event::Origin;
use durhai_core::{Body, Event, Kind, RunId, StepId};
use tokio::sync::oneshot;

use crate::error::HostError;
use crate::handle::Run;
use crate::worker::Msg;

/// A new run that begins with the part of the log before the failure.
pub(crate) async fn retry(run: &Run) -> Result<Run, HostError> {
    let inner = run.host.inner()?;
    let row = inner.row(&run.id).await?.ok_or_else(|| run.unknown())?;
    let id = run.id.clone();
    let log =
        inner.blocking(move |world| crate::log::read(world, &id).map_err(durhai_world::WorldError::Corrupt)).await?.0;
    let Some(mut kept) = before_failure(log) else {
        let text = format!("run {} is {}: only a failed or cancelled run can be tried again", run.id, row.status);
        return Err(HostError::Conflict(text));
    };
    let now = inner.clock.now();
    let mut entropy = [0; 10];
    getrandom::fill(&mut entropy).map_err(|error| HostError::Invalid(format!("no randomness: {error}")))?;
    let new = RunId::generate(now, entropy);
    let seq = kept.len() as u64;
    let Some(Event { body: Body::RunCreated(created), .. }) = kept.first_mut() else {
        return Err(HostError::Conflict(format!("the log of run {} has no beginning", run.id)));
    };
    created.seed.get_or_insert_with(|| run.id.to_string());
    created.origin = Some(Origin { run: run.id.clone(), seq });
    created.run = new.clone();
    let own = created.version.clone();
    if let Ok(serving) = inner.catalog.serving(&row.workflow)
        && serving != own
    {
        let mut candidate = kept.clone();
        if let Body::RunCreated(created) = &mut candidate[0].body {
            created.version = serving.clone();
        }
        let (reply, answer) = oneshot::channel();
        inner.send(inner.worker_of(&new), Msg::Probe { version: serving, history: candidate.clone(), reply });
        if let Ok(Ok(view)) = answer.await
            && view.divergence.is_none()
        {
            kept = candidate;
        }
    }
    inner.create(kept, None, inner.adopt).await?.map_err(crate::handle::refusal)?;
    Ok(Run::new(&run.host, new))
}

/// The part of a failed run's log that may be kept: up to the failure of the step that failed it, which keeps its start
/// but loses its attempts; up to the request of a cancellation; else up to the end. `None`: it did not fail.
fn before_failure(mut log: Vec<Event>) -> Option<Vec<Event>> {
    let step: Option<StepId> = match &log.last()?.body {
        Body::RunFailed { error } => error.step_id.clone().filter(|_| error.kind != Kind::Terminated),
        Body::RunCancelled { .. } => None,
        _ => return None,
    };
    let failure = step.as_ref().and_then(|id| {
        log.iter().position(|event| matches!(event.body, Body::StepFailed { .. }) && event.step_id.as_ref() == Some(id))
    });
    let cancel = log.iter().position(|event| matches!(event.body, Body::CancelRequested { .. }));
    let end = log.len() - 1;
    log.truncate(failure.or(cancel).unwrap_or(end).min(end));
    if let Some(id) = step.filter(|_| failure.is_some()) {
        log.retain(|event| {
            let again = match &event.body {
                Body::StepRetrying { .. } => true,
                Body::StepStarted { attempt, .. } => *attempt > 1,
                _ => false,
            };
            !(again && event.step_id.as_ref() == Some(&id))
        });
    }
    for (seq, event) in (1..).zip(&mut log) {
        event.seq = seq;
    }
    Some(log)
}
