//! Trying a run again that has failed.
//!
//! A run is tried again by one run at most, whose name follows from its own: the first attempt `order-42` by `order-42@2`, that
//! one by `order-42@3`. So it does not matter who asks how often, on which host, or what a crash cut off: the name is
//! there or it is not. As only what has ended can be tried again, one attempt lives at a time, and no two share the
//! idempotency keys of their steps.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use durhai_core::event::{Created, Origin, Times};
use durhai_core::replay::version_at;
use durhai_core::{Body, Event, Kind, RunId, Status, StepId};
use durhai_world::{Row, World, WorldError};

use crate::access;
use crate::error::{HostError, Unready};
use crate::fork::own_tokens;
use crate::handle::Run;
use crate::inner::Inner;
use crate::letter::Message;
use crate::new_run::{NewRun, StartAt};
use crate::replaying::Again;
use crate::slot::LEFT;

/// How often the run is prepared anew because somebody else was faster: with the run itself, or with the token of a hook.
const TRIES: usize = 5;

/// Names that are tried, one after the other, where runs that have nothing to do with it have them.
const NAMES: u32 = 16;

/// What trying a run again comes to.
enum Next {
    /// It was done before.
    There(RunId),
    /// The run is to be made.
    New(Box<NewRun>),
}

/// A new run that begins with the part of the log before the failure, or the one that was made before.
pub(crate) async fn retry(run: &Run) -> Result<Run, HostError> {
    let inner = run.host.inner()?.clone();
    let row = inner.row(&run.id).await?.ok_or_else(|| run.unknown())?;
    for tried in 1.. {
        let (shared, row) = (inner.clone(), row.clone());
        let prepare = move || prepare(&shared, &row);
        let new_run = match inner.tokio.spawn_blocking(prepare).await.map_err(|_| HostError::Closed)?? {
            Next::There(id) => return Ok(Run::new(&run.host, id)),
            Next::New(new_run) => *new_run,
        };
        let new = new_run.create.row.run.clone();
        match inner.create(new_run).await? {
            Ok(()) => {
                tracing::info!(run = %new, "run {new} tries run {} again", run.id);
                return Ok(Run::new(&run.host, new));
            }
            // Somebody else was faster: look again.
            Err(_) if tried < TRIES => {}
            Err(refused) => return Err(crate::handle::refusal(refused)),
        }
    }
    unreachable!("the last try returns")
}

/// The run that tries this one again, if there is one.
pub(crate) fn retried_as(world: &dyn World, status: Status, created: &Created) -> Result<Option<RunId>, WorldError> {
    if !matches!(status, Status::Failed | Status::Cancelled) {
        return Ok(None);
    }
    Ok(name(world, created)?.filter(|(_, there)| *there).map(|(name, _)| name))
}

/// The run that this one tries again.
pub(crate) fn retry_of(created: &Created) -> Option<&RunId> {
    let origin = created.origin.as_ref().filter(|_| created.attempt > 1 && created.keys_of.is_some())?;
    Some(&origin.run)
}

/// The name of the run that tries this one again, and whether it is there. `None`: others have all those names.
fn name(world: &dyn World, created: &Created) -> Result<Option<(RunId, bool)>, WorldError> {
    let attempt = created.attempt + 1;
    // A run that was tried again before names were made like this has one that says nothing.
    let first = created.keys_of.as_ref().filter(|first| first.retried(created.attempt) == created.run);
    let first = first.unwrap_or(&created.run);
    for number in 0..NAMES {
        let name = if number == 0 { first.retried(attempt) } else { first.retried_aside(attempt, number) };
        match access::first_event(world, &name)? {
            None => return Ok(Some((name, false))),
            Some(found) if retry_of(&found) == Some(&created.run) => return Ok(Some((name, true))),
            Some(_) => {}
        }
    }
    Ok(None)
}

fn prepare(inner: &Arc<Inner>, row: &Row) -> Result<Next, HostError> {
    let (world, old) = (&*inner.world, &row.run);
    let log = crate::log::read(world, old)?.0;
    let Some((mut kept, behind)) = before_failure(log) else {
        let text = format!("run {old} is {}: only a failed or cancelled run can be tried again", row.status);
        return Err(HostError::Conflict(text));
    };
    let seq = kept.len() as u64;
    let Some(Event { body: Body::RunCreated(created), .. }) = kept.first_mut() else {
        return Err(HostError::Conflict(format!("the log of run {old} has no beginning")));
    };
    let before = (**created).clone();
    let taken = || HostError::Conflict(format!("runs that have nothing to do with it have the names {old}@…"));
    let new = match name(world, &before)?.ok_or_else(taken)? {
        (there, true) => return Ok(Next::There(there)),
        (new, false) => new,
    };
    created.seed.get_or_insert_with(|| old.to_string());
    created.keys_of.get_or_insert_with(|| old.clone());
    created.origin = Some(Origin { run: old.clone(), seq, file: None, times: Some(Times::Anew) });
    created.run = new.clone();
    created.attempt += 1;
    // Nobody waits for it any more, and whoever started the other did not start this one.
    created.parent = None;
    created.traceparent = None;
    rename_children(&mut kept, &new);
    // The failed run has given its tokens back; somebody else may have them now.
    let mut kept = match own_tokens(world, kept, &new, true) {
        Ok(kept) => kept,
        // Unless it is the run that somebody else has made of it meanwhile.
        Err(error) => {
            return match name(world, &before)? {
                Some((there, true)) => Ok(Next::There(there)),
                _ => Err(error),
            };
        }
    };
    let serving = inner.catalog.serving(&row.workflow).ok();
    let header = serving.as_ref().map(|serving| serving.header.clone()).unwrap_or_default();
    // The text that the run had last fits all of its log.
    let mut version = row.version.clone();
    if let Some(serving) = serving.filter(|serving| serving.version != version) {
        let bundle = inner.catalog.bundle(world, &serving.version);
        let bundle = bundle.map_err(|error| error.into_host(HostError::Script))?;
        if let Ok(mut again) = Again::new(&inner.sandbox, &inner.limits, &bundle, false)
            && again.run(kept.clone(), None)?.view().divergence.is_none()
        {
            version = serving.version;
        }
    }
    let (at, from) = (kept.last().map_or(0, |event| event.at), version_at(&kept, seq).cloned());
    if let Some(from) = from.filter(|from| *from != version) {
        let body = Body::RunMigrated { from, to: version.clone() };
        kept.push(Event { seq: seq + 1, at, step_id: None, site: None, body });
    }
    let bundle = match inner.catalog.bundle(world, &version) {
        Ok(bundle) => Some(bundle),
        Err(Unready::World(error)) => return Err(error.into()),
        // It is parked for that when it begins.
        Err(Unready::Wrong(_)) => None,
    };
    let hooks = crate::hook::open_in(inner, bundle.as_deref(), &kept)?;
    let mut new_run = inner.new_run(kept, &header, StartAt { later: None, here: inner.adopt });
    new_run.create.hooks = hooks;
    new_run.create.messages = again(&new_run.events, behind);
    new_run.create.messages.extend(unread(world, old)?);
    Ok(Next::New(Box::new(new_run)))
}

/// The messages that came to the failed run behind what is taken over of its log: while it cleaned up, say. Its sender was
/// told that they count, and the part of the run that took them is not taken over.
fn again(kept: &[Event], behind: Vec<Event>) -> Vec<Vec<u8>> {
    let mut tokens: HashMap<StepId, String> = HashMap::new();
    let mut letters = Vec::new();
    for event in kept.iter().cloned().map(|event| (event, true)).chain(behind.into_iter().map(|event| (event, false))) {
        let (Event { step_id, body, .. }, kept) = event;
        let message = match (body, step_id) {
            (Body::HookOpened { token, .. }, Some(id)) => {
                tokens.insert(id, token);
                continue;
            }
            _ if kept => continue,
            (Body::SignalReceived { name, payload, id }, _) => Message::Signal { name: name.to_string(), payload, id },
            (Body::HookReceived { payload, id, token }, opener) => {
                let token = token.or_else(|| tokens.get(opener.as_ref()?).cloned());
                // Its token says which hook it is for.
                let Some(step_id) = opener.or_else(|| StepId::parse("1")) else { continue };
                Message::Hook { step_id, token, keep: true, payload, id }
            }
            _ => continue,
        };
        letters.push(message.encode());
    }
    letters
}

/// The messages that the failed run was sent and did not come to: the new one finds them in its inbox. What ends a run, and
/// what children of the old one say, is not for it.
fn unread(world: &dyn World, old: &RunId) -> Result<Vec<Vec<u8>>, WorldError> {
    let left = world.stream(old, LEFT, 0, usize::MAX)?;
    let mine = |bytes: Vec<u8>| match Message::decode(&bytes)? {
        Message::Signal { .. } | Message::Hook { .. } => Some(bytes),
        // The question is that of the new run now.
        Message::Resume { step_id, data, .. } => Some(Message::Resume { step_id, run: None, data }.encode()),
        Message::Child { .. } | Message::Cancel { .. } | Message::Terminate { .. } => None,
    };
    Ok(left.into_iter().filter_map(mine).collect())
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
/// but loses its attempts; up to the end of the `with_timeout` that failed it; up to the request of a cancellation; else up to the end. And what is behind that. `None`: it did not fail.
fn before_failure(mut log: Vec<Event>) -> Option<(Vec<Event>, Vec<Event>)> {
    let step: Option<StepId> = match &log.last()?.body {
        Body::RunFailed { error } => error.step_id.clone().filter(|_| error.kind != Kind::Terminated),
        Body::RunCancelled { .. } => None,
        _ => return None,
    };
    let failure = step.as_ref().and_then(|id| {
        let failed =
            |event: &Event| matches!(event.body, Body::StepFailed { .. } | Body::ChildFailed { .. } | Body::TimerFired);
        log.iter().position(|event| failed(event) && event.step_id.as_ref() == Some(id))
    });
    let cancel = log.iter().position(|event| matches!(event.body, Body::CancelRequested { .. }));
    let end = log.len() - 1;
    let behind = log.split_off(failure.or(cancel).unwrap_or(end).min(end));
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
    Some((log, behind))
}
