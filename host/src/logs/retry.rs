//! Trying a run again that has failed.
//!
//! A run is tried again by one run at most, whose name follows from its own: the first attempt `order-42` by `order-42@2`, that
//! one by `order-42@3`. So it does not matter who asks how often, on which host, or what a crash cut off: the name is
//! there or it is not. As only what has ended can be tried again, one attempt lives at a time, and no two share the
//! idempotency keys of their steps.

use std::collections::HashMap;
use std::sync::Arc;

use durhai_core::event::{OpenTimes, Origin};
use durhai_core::replay::version_at;
use durhai_core::{Event, EventBody, RunId, StepId};
use durhai_world::{Row, World, WorldError};

use crate::error::{HostError, Unready};
use crate::logs::lineage::retry_name;
use crate::logs::rebase::{before_failure, own_tokens, rename_children};
use crate::logs::replay::Replayer;
use crate::messages::message::Message;
use crate::runtime::claims;
use crate::runtime::new_run::{self, NewRun, StartAt};
use crate::shared::Shared;
use crate::store::streams::UNREAD;

/// How often the run is prepared anew because another caller was faster: with the run itself, or with the token of a hook.
const TRIES: usize = 5;

/// What trying a run again comes to.
enum Next {
    /// It was done before.
    There(RunId),
    /// The run is to be made.
    New(Box<NewRun>),
}

/// A new run that begins with the part of the log before the failure, or the one that was made before.
pub(crate) async fn retry(host: &Arc<Shared>, run: &RunId) -> Result<RunId, HostError> {
    let row = host.store.known(run).await?;
    for tried in 1.. {
        let (shared, row) = (host.clone(), row.clone());
        let prepare = move || prepare(&shared, &row);
        let new_run = match host.tokio.spawn_blocking(prepare).await.map_err(|_| HostError::Closed)?? {
            Next::There(id) => return Ok(id),
            Next::New(new_run) => *new_run,
        };
        let new = new_run.create.row.run.clone();
        match claims::create(host, new_run).await? {
            Ok(()) => {
                tracing::info!(run = %new, "run {new} tries run {run} again");
                return Ok(new);
            }
            // Another caller was faster: look again.
            Err(_) if tried < TRIES => {}
            Err(refused) => return Err(crate::error::refusal(refused)),
        }
    }
    unreachable!("the last try returns")
}

fn prepare(host: &Arc<Shared>, row: &Row) -> Result<Next, HostError> {
    let (world, old) = (&*host.store.world, &row.run);
    let log = crate::logs::read::read(world, old)?.0;
    let Some((mut kept, behind)) = before_failure(log) else {
        let text = format!("run {old} is {}: only a failed or cancelled run can be tried again", row.status);
        return Err(HostError::Conflict(text));
    };
    let seq = kept.len() as u64;
    let Some(Event { body: EventBody::RunCreated(created), .. }) = kept.first_mut() else {
        return Err(HostError::Conflict(format!("the log of run {old} has no beginning")));
    };
    let before = (**created).clone();
    let taken = || HostError::Conflict(format!("runs that have nothing to do with it have the names {old}@…"));
    let new = match retry_name(world, &before)?.ok_or_else(taken)? {
        (there, true) => return Ok(Next::There(there)),
        (new, false) => new,
    };
    created.seed.get_or_insert_with(|| old.to_string());
    created.idempotency_run.get_or_insert_with(|| old.clone());
    created.origin = Some(Origin { run: old.clone(), seq, file: None, times: Some(OpenTimes::Anew) });
    created.run = new.clone();
    created.attempt += 1;
    // No run waits for it any more, and the caller that started the other did not start this one.
    created.parent = None;
    created.traceparent = None;
    rename_children(&mut kept, &new);
    // The failed run has given its tokens back; other runs may have them now.
    let mut kept = match own_tokens(world, kept, &new, true) {
        Ok(kept) => kept,
        // Unless it is the run that another caller has made of it meanwhile.
        Err(error) => {
            return match retry_name(world, &before)? {
                Some((there, true)) => Ok(Next::There(there)),
                _ => Err(error),
            };
        }
    };
    let serving = host.versions.serving(&row.workflow).ok();
    let header = serving.as_ref().map(|serving| serving.header.clone()).unwrap_or_default();
    // The text that the run had last fits all of its log.
    let mut version = row.version.clone();
    if let Some(serving) = serving.filter(|serving| serving.version != version) {
        let bundle = host.versions.bundle(world, &serving.version);
        let bundle = bundle.map_err(|error| error.into_host(HostError::Script))?;
        if let Ok(mut replayer) = Replayer::new(&host.config.sandbox, &host.config.limits, &bundle, false)
            && replayer.run(kept.clone(), None)?.view().divergence.is_none()
        {
            version = serving.version;
        }
    }
    let (at, from) = (kept.last().map_or(0, |event| event.at), version_at(&kept, seq).cloned());
    if let Some(from) = from.filter(|from| *from != version) {
        let body = EventBody::RunMigrated { from, to: version.clone() };
        kept.push(Event { seq: seq + 1, at, step_id: None, site: None, body });
    }
    let bundle = match host.versions.bundle(world, &version) {
        Ok(bundle) => Some(bundle),
        Err(Unready::World(error)) => return Err(error.into()),
        // It is parked for that when it begins.
        Err(Unready::Wrong(_)) => None,
    };
    let hooks = crate::messages::hooks::open_in(host, bundle.as_deref(), &kept)?;
    let mut new_run = new_run::new_run(host, kept, &header, StartAt { later: None, here: host.config.adopt });
    new_run.create.hooks = hooks;
    new_run.create.messages = again(&new_run.events, behind);
    new_run.create.messages.extend(unread(world, old)?);
    Ok(Next::New(Box::new(new_run)))
}

/// The messages that came to the failed run behind what is taken over of its log: while it cleaned up, say. Its sender was
/// told that they count, and the part of the run that took them is not taken over.
fn again(kept: &[Event], behind: Vec<Event>) -> Vec<Vec<u8>> {
    let mut tokens: HashMap<StepId, String> = HashMap::new();
    let mut messages = Vec::new();
    for event in kept.iter().cloned().map(|event| (event, true)).chain(behind.into_iter().map(|event| (event, false))) {
        let (Event { step_id, body, .. }, kept) = event;
        let message = match (body, step_id) {
            (EventBody::HookOpened { token, .. }, Some(id)) => {
                tokens.insert(id, token);
                continue;
            }
            _ if kept => continue,
            (EventBody::SignalReceived { name, payload, id }, _) => {
                Message::Signal { name: name.to_string(), payload: Arc::unwrap_or_clone(payload), id }
            }
            (EventBody::HookReceived { payload, id, token }, opener) => {
                let token = token.or_else(|| tokens.get(opener.as_ref()?).cloned());
                // Its token says which hook it is for.
                let Some(step_id) = opener.or_else(|| StepId::parse("1")) else { continue };
                Message::Hook { step_id, token, keep: true, payload: Arc::unwrap_or_clone(payload), id }
            }
            _ => continue,
        };
        messages.push(message.encode());
    }
    messages
}

/// The messages that the failed run was sent and did not come to: the new one finds them in its inbox. What ends a run, and
/// what children of the old one say, is not for it.
fn unread(world: &dyn World, old: &RunId) -> Result<Vec<Vec<u8>>, WorldError> {
    let left = world.stream(old, UNREAD, 0, usize::MAX)?;
    let mine = |bytes: Vec<u8>| match Message::decode(&bytes)? {
        Message::Signal { .. } | Message::Hook { .. } => Some(bytes),
        // The question is that of the new run now.
        Message::Resume { step_id, data, .. } => Some(Message::Resume { step_id, run: None, data }.encode()),
        Message::Child { .. } | Message::Cancel { .. } | Message::Terminate { .. } | Message::Migrate { .. } => None,
    };
    Ok(left.into_iter().filter_map(mine).collect())
}
