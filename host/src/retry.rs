//! Trying a run again that has failed.

use std::collections::HashSet;

use durhai_core::event::Origin;
use durhai_core::replay::version_at;
use durhai_core::{Body, Event, Kind, RunId, StepId};
use tokio::sync::oneshot;

use crate::birth::Begin;
use crate::error::HostError;
use crate::fork::own_tokens;
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
    let new = crate::handle::new_id(inner)?;
    let seq = kept.len() as u64;
    let Some(Event { body: Body::RunCreated(created), .. }) = kept.first_mut() else {
        return Err(HostError::Conflict(format!("the log of run {} has no beginning", run.id)));
    };
    created.seed.get_or_insert_with(|| run.id.to_string());
    created.keys_of.get_or_insert_with(|| run.id.clone());
    created.origin = Some(Origin { run: run.id.clone(), seq, file: None });
    created.run = new.clone();
    created.attempt += 1;
    // Nobody waits for it any more, and whoever started the other did not start this one.
    created.parent = None;
    created.traceparent = None;
    rename_children(&mut kept, &new);
    // The failed run has given its tokens back; somebody else may have them now.
    let id = new.clone();
    let mut kept = inner.blocking(move |world| Ok(own_tokens(world, kept, &id, true))).await??;
    let serving = inner.catalog.serving(&row.workflow).ok();
    let header = serving.as_ref().map(|serving| serving.header.clone()).unwrap_or_default();
    // The text that the run had last fits all of its log.
    let mut version = row.version.clone();
    if let Some(serving) = serving.filter(|serving| serving.version != version) {
        let (reply, answer) = oneshot::channel();
        let history = kept.clone();
        inner.send(inner.worker_of(&new), Msg::Probe { version: serving.version.clone(), history, reply });
        if let Ok(Ok(view)) = answer.await
            && view.divergence.is_none()
        {
            version = serving.version;
        }
    }
    let (at, from) = (kept.last().map_or(0, |event| event.at), version_at(&kept, seq).cloned());
    if let Some(from) = from.filter(|from| *from != version) {
        let body = Body::RunMigrated { from, to: version };
        kept.push(Event { seq: seq + 1, at, step_id: None, site: None, body });
    }
    let newborn = inner.newborn(kept, &header, Begin { later: None, here: inner.adopt });
    inner.create(newborn).await?.map_err(crate::handle::refusal)?;
    Ok(Run::new(&run.host, new))
}

/// Children that had not ended belong to the old run; the new one begins its own.
pub(crate) fn rename_children(log: &mut [Event], new: &RunId) {
    let ended: HashSet<_> = log
        .iter()
        .filter(|event| matches!(event.body, Body::ChildCompleted { .. } | Body::ChildFailed { .. }))
        .filter_map(|event| event.step_id.clone())
        .collect();
    for event in log {
        if let (Body::ChildStarted { run_id, detached: false, .. }, Some(id)) = (&mut event.body, &event.step_id)
            && !ended.contains(id)
        {
            *run_id = new.child(id);
        }
    }
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
        let failed = |event: &Event| matches!(event.body, Body::StepFailed { .. } | Body::ChildFailed { .. });
        log.iter().position(|event| failed(event) && event.step_id.as_ref() == Some(id))
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
