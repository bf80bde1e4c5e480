//! Hooks from outside: a payload finds its run by the hook's token alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use durhai_core::{Event, EventBody, StepId, Value};
use durhai_engine::Bundle;
use durhai_engine::schema::{self, Schema};
use durhai_world::Write;
use serde::Deserialize;
use serde_json::json;

use crate::error::{HostError, refusal};
use crate::logs::replay::Replayer;
use crate::messages::message::Message;
use crate::shared::Shared;
use crate::store::payload;
use crate::view::HookRequest;

/// What the world keeps of an open hook.
#[derive(Deserialize)]
struct Stored {
    step_id: StepId,
    /// The script named the token.
    #[serde(default)]
    named: bool,
    #[serde(default)]
    info: Info,
}

#[derive(Default, Deserialize)]
struct Info {
    #[serde(default)]
    schema: Value,
}

/// The token of a hook that a run is created with, and what the world keeps of it.
pub(crate) type Opening = (Arc<str>, Vec<u8>);

/// What the world is to keep of a hook that this call opened.
fn stored(step_id: &StepId, named: bool, info: &Value) -> Vec<u8> {
    json!({ "step_id": step_id, "named": named, "info": info }).to_string().into_bytes()
}

/// The hooks that are open at the end of a log, as they are opened with the run that takes it over: so no other run can have their
/// tokens before it begins. What the script said of them is known by running it; without a text that fits nothing is known.
pub(crate) fn open_in(host: &Shared, bundle: Option<&Bundle>, log: &[Event]) -> Result<Vec<Opening>, HostError> {
    let open = open_tokens(log);
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let mut known = HashMap::new();
    if let Some(Ok(mut replayer)) =
        bundle.map(|bundle| Replayer::new(&host.config.sandbox, &host.config.limits, bundle, false))
    {
        let ran = replayer.run(log.to_vec(), None)?;
        known.extend(ran.hooks().map(|(id, named, info)| (id.clone(), stored(id, named, info))));
    }
    let info = |id: &StepId, token: &str| {
        known.get(id).cloned().unwrap_or_else(|| stored(id, !crate::store::random::is_token(token), &json!({})))
    };
    Ok(open.iter().map(|(id, token)| (token.as_str().into(), info(id, token))).collect())
}

/// The tokens of the hooks that are open at the end of a log, by the call that opened them.
pub(crate) fn open_tokens(log: &[Event]) -> BTreeMap<StepId, String> {
    let mut open = BTreeMap::new();
    for event in log {
        match (&event.body, &event.step_id) {
            (EventBody::HookOpened { token, .. }, Some(id)) => drop(open.insert(id.clone(), token.clone())),
            (EventBody::HookClosed, Some(id)) => drop(open.remove(id)),
            _ => {}
        }
    }
    open
}

/// See [`Host::has_hook`](crate::Host::has_hook).
pub(crate) async fn has_hook(host: &Arc<Shared>, token: &str) -> Result<bool, HostError> {
    let token = token.to_owned();
    Ok(host.store.blocking(move |world| world.hook(&token)).await?.is_some())
}

/// See [`Host::deliver_hook`](crate::Host::deliver_hook).
pub(crate) async fn deliver_hook(
    host: &Arc<Shared>,
    token: &str,
    request: HookRequest,
    id: Option<&str>,
) -> Result<(), HostError> {
    let unknown = || HostError::NotFound("there is no open hook with this token".into());
    let named = token.to_owned();
    let hook = host.store.blocking(move |world| world.hook(&named)).await?.ok_or_else(unknown)?;
    let stored: Stored = serde_json::from_slice(&hook.info)
        .map_err(|error| HostError::Invalid(format!("the stored hook cannot be read: {error}")))?;
    let request = checked(request, &stored.info.schema)?;
    let payload = serde_json::to_value(request).expect("a request is JSON");
    payload::check(&payload, host.config.limits.payload, host.config.limits.depth)
        .map_err(|why| HostError::Invalid(format!("the payload {why}")))?;
    let message = Message::Hook {
        step_id: stored.step_id,
        token: Some(token.to_owned()),
        keep: stored.named,
        payload,
        id: id.map(ToOwned::to_owned),
    };
    let write = Write::Send(message.to(&hook.run, host.store.clock.now()));
    match host.store.ask(write).await? {
        Ok(_) => {
            host.observe.meters.hooks.inc();
            Ok(())
        }
        // It ended a moment ago, and its hooks with it.
        Err(durhai_world::Refused::Terminal(..) | durhai_world::Refused::Unknown(_)) => Err(unknown()),
        Err(refused) => Err(refusal(refused)),
    }
}

/// The schema is about the body; where there is none, about the query.
fn checked(mut request: HookRequest, schema: &Value) -> Result<HookRequest, HostError> {
    if schema.is_null() {
        return Ok(request);
    }
    let schema = Schema::compile(schema)
        .map_err(|error| HostError::Invalid(format!("the schema of the hook cannot be used: {error}")))?;
    if request.body.is_null() && !request.query.is_empty() {
        let query = serde_json::to_value(&request.query).expect("texts are JSON");
        schema.check(&query).map_err(|problems| misfit("the query", &problems))?;
    } else {
        request.body =
            schema.accept(std::mem::take(&mut request.body)).map_err(|problems| misfit("the body", &problems))?;
    }
    Ok(request)
}

fn misfit(what: &str, problems: &[schema::Problem]) -> HostError {
    HostError::Invalid(format!("{what} does not fit the hook: {}", schema::list(problems)))
}
