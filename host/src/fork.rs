//! A new run that takes over the beginning of another one's log and goes on from there by itself.

use std::collections::BTreeMap;

use durhai_core::event::{Created, Origin, Times};
use durhai_core::{Body, Event, RunId, StepId, Value, Version, wire};
use durhai_engine::{Bundle, Header};
use durhai_world::{Refused, World, WorldError};
use serde::{Deserialize, Serialize};

use crate::altered;
use crate::error::HostError;
use crate::handle::Run;
use crate::inner::Inner;
use crate::new_run::StartAt;
use crate::replaying::{Again, Script};
use crate::retry::rename_children;

/// What a fork is to be; see [`Run::fork`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// Before the call of this step: it is the first thing the new run does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<StepId>,
    /// After the result of this step, which is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<StepId>,
    /// Another text than the run's own; it must fit what is taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
    /// Results to be taken over changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<StepId, Value>,
    /// The name of the new run; made up unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Fork {
    /// One that makes the call of this step anew, and all behind it.
    pub fn at(step: StepId) -> Self {
        Fork { at: Some(step), ..Fork::default() }
    }

    /// One that keeps the result of this step, and makes anew what is behind it.
    pub fn after(step: StepId) -> Self {
        Fork { after: Some(step), ..Fork::default() }
    }

    /// Under another text.
    #[must_use]
    pub fn script(mut self, script: Script) -> Self {
        self.script = Some(script);
        self
    }

    /// With another result of this step.
    #[must_use]
    pub fn set(mut self, step: StepId, result: Value) -> Self {
        self.set.insert(step, result);
        self
    }

    /// Under this name. Forking the same run at the same event under the same name gives the run that is there.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }
}

/// The first events of a run that is to be, and the text that runs it.
struct Prepared {
    events: Vec<Event>,
    header: std::sync::Arc<Header>,
    /// A text that the world may not have yet.
    text: Option<(Version, Vec<u8>)>,
    /// Those that are open in what is taken over.
    hooks: Vec<crate::hook::Opening>,
}

/// How often a fork is prepared because the token of a hook was taken meanwhile.
const TRIES: usize = 5;

impl Run {
    /// A run of its own that takes over this one's log up to a step: results are not made again, signals that came before
    /// are there, timers keep their moments, random numbers stay. Children that had not ended are started anew, and a hook
    /// that is open gets a token of its own, unless the script named it. Attempts that were under way at that point are made
    /// again. This run, which may be live or over, is left as it is; both show where the other is.
    ///
    /// [`HostError::Invalid`] if the log does not have the step, [`HostError::Conflict`] with both sides of the first
    /// difference if the text does not fit what would be taken over, or if a token or the name is taken. Nothing is
    /// created then.
    pub async fn fork(&self, fork: Fork) -> Result<Run, HostError> {
        let inner = self.host.inner()?.clone();
        let row = inner.row(&self.id).await?.ok_or_else(|| self.unknown())?;
        let new = match &fork.id {
            Some(id) => RunId::new(id.clone()).map_err(|error| HostError::Invalid(error.to_string()))?,
            None => crate::handle::new_id(&inner)?,
        };
        for tried in 1.. {
            let (old, id, shared) = (self.id.clone(), new.clone(), inner.clone());
            let (version, fork) = (row.version.clone(), fork.clone());
            let prepare = move || prepare(&shared, &old, version, &id, fork);
            let prepared = inner.tokio.spawn_blocking(prepare).await.map_err(|_| HostError::Closed)??;
            let Prepared { events, header, text, hooks } = prepared;
            let run = Run::new(&self.host, new.clone());
            let seq = events.len() as u64;
            if inner.row(&new).await?.is_some() {
                return self.same_fork(run, seq).await;
            }
            // The new run is named first: a name without a run is passed over, a run that nobody names would be lost.
            let (old, id) = (self.id.clone(), new.clone());
            let note = move |world: &dyn World| {
                if let Some((version, bytes)) = &text {
                    world.put_program(version, bytes)?;
                }
                note_fork(world, &old, &id)
            };
            {
                let _one_at_a_time = inner.forking.lock().await;
                inner.blocking(note).await?;
            }
            let mut new_run = inner.new_run(events, &header, StartAt { later: None, here: inner.adopt });
            new_run.create.hooks = hooks;
            match inner.create(new_run).await? {
                Ok(()) => {
                    tracing::info!(run = %new, "run {new} takes over {seq} events of run {}", self.id);
                    return Ok(run);
                }
                // Somebody else was faster: one that was made up is made anew.
                Err(Refused::Token { .. }) if tried < TRIES => {}
                Err(refused @ Refused::Token { .. }) => return Err(crate::handle::refusal(refused)),
                Err(_) => return self.same_fork(run, seq).await,
            }
        }
        unreachable!("the last try returns")
    }

    /// The name is taken: by this fork, made before, or by another run.
    async fn same_fork(&self, run: Run, seq: u64) -> Result<Run, HostError> {
        let view = run.view().await?;
        match view.origin {
            Some(origin) if origin.run == self.id && origin.seq == seq && view.retry_of.is_none() => Ok(run),
            _ => Err(HostError::Conflict(format!("there is a run {} already: give the fork another id", run.id))),
        }
    }
}

fn prepare(inner: &Inner, old: &RunId, version: Version, new: &RunId, fork: Fork) -> Result<Prepared, HostError> {
    let (log, _) = crate::log::read(&*inner.world, old)?;
    let mut events = cut(log, &fork).map_err(HostError::Invalid)?;
    altered::set_results(&mut events, &fork.set)
        .map_err(|why| HostError::Invalid(format!("{why} (only what comes before the fork is taken over)")))?;
    let own = inner.catalog.bundle(&*inner.world, &version).map_err(|error| error.into_host(HostError::Script))?;
    let before = version.clone();
    let (bundle, version, text) = match fork.script {
        None => ((*own).clone(), version, None),
        Some(script) => {
            let bundle = script.bundle(&own.name)?;
            let version = bundle.version();
            let bytes = serde_json::to_vec(&bundle).expect("texts are JSON");
            (bundle, version.clone(), Some((version, bytes)))
        }
    };
    events.retain(|event| !matches!(event.body, Body::RunMigrated { .. }));
    let seq = events.len() as u64;
    for (seq, event) in (1..).zip(&mut events) {
        event.seq = seq;
    }
    rename_children(&mut events, new);
    let mut events = own_tokens(&*inner.world, events, new, false)?;
    let Some(Event { body: Body::RunCreated(created), .. }) = events.first_mut() else {
        return Err(HostError::World(WorldError::Corrupt(format!("the log of run {old} has no beginning"))));
    };
    let origin = Origin { run: old.clone(), seq, file: None, times: Some(Times::Anew) };
    let known_as = created.keys_of.clone().unwrap_or_else(|| old.clone());
    **created = Created {
        seed: Some(created.seed.clone().unwrap_or_else(|| old.to_string())),
        run: new.clone(),
        version,
        origin: Some(origin),
        // Its effects are its own, also those that an attempt of a run that was tried again would share with others.
        keys_of: None,
        // Nobody waits for it, it continues nothing, and it has a trace of its own.
        parent: None,
        chain: None,
        traceparent: None,
        ..(**created).clone()
    };
    let (events, header) = fitting(inner, &bundle, &before, events, &known_as, new)?;
    let hooks = crate::hook::open_in(inner, Some(&bundle), &events)?;
    Ok(Prepared { events, header, text, hooks })
}

/// The events, if the text fits them (they were recorded under the version `before`); also if it does with the new run's name in inputs where the old one's was.
fn fitting(
    inner: &Inner,
    bundle: &Bundle,
    before: &Version,
    events: Vec<Event>,
    old: &RunId,
    new: &RunId,
) -> Result<(Vec<Event>, std::sync::Arc<Header>), HostError> {
    let mut again = Again::new(&inner.sandbox, &inner.limits, bundle, false)?;
    let mut ran = again.run(events.clone(), None)?;
    let mut view = ran.view();
    if view.divergence.is_some() {
        let mut renamed = events.clone();
        renamed.iter_mut().for_each(|event| rename_in_input(event, old, new));
        if again.run(renamed.clone(), None)?.view().divergence.is_none() {
            return Ok((renamed, again.header()));
        }
    }
    ran.add_lines(&mut view, bundle, &|_, site| inner.catalog.source_line(&*inner.world, before, site));
    match view.divergence {
        None => Ok((events, again.header())),
        Some(divergence) => {
            let text = format!("{divergence}\nNothing was created: the text must fit what is taken over.");
            Err(HostError::Conflict(text))
        }
    }
}

/// The part of a log that is taken over.
fn cut(mut log: Vec<Event>, fork: &Fork) -> Result<Vec<Event>, String> {
    let last = log.iter().rev().find_map(|event| event.step_id.clone());
    let unknown = |id: &StepId| match &last {
        Some(last) => format!("the log has no step {id}; the last in it is {last}"),
        None => format!("the log has no step {id}, nor any other: start a new run instead"),
    };
    let keep = match (&fork.at, &fork.after) {
        (Some(id), None) => {
            let below = format!("{id}.");
            let belongs = |event: &Event| {
                event.step_id.as_ref().is_some_and(|of| of == id || of.as_str().starts_with(below.as_str()))
            };
            log.iter().position(belongs).ok_or_else(|| unknown(id))?
        }
        (None, Some(id)) => {
            let of_call = |event: &&Event| event.step_id.as_ref() == Some(id);
            log.iter().find(of_call).ok_or_else(|| unknown(id))?;
            let ends = |event: &Event| event.step_id.as_ref() == Some(id) && is_result(&event.body);
            let end = log.iter().rposition(ends);
            end.ok_or_else(|| format!("step {id} has no result yet that could be kept: fork --at it"))? + 1
        }
        _ => return Err("a fork begins at a step or after one: give one of `at` and `after`".into()),
    };
    log.truncate(keep);
    Ok(log)
}

/// A call is answered by it.
fn is_result(body: &Body) -> bool {
    matches!(
        body,
        Body::StepCompleted { .. }
            | Body::StepFailed { .. }
            | Body::TimerFired
            | Body::SignalReceived { .. }
            | Body::HookOpened { .. }
            | Body::HookConflict { .. }
            | Body::HookReceived { .. }
            | Body::Resumed { .. }
            | Body::ChildStarted { detached: true, .. }
            | Body::ChildCompleted { .. }
            | Body::ChildFailed { .. }
    )
}

/// Gives hooks that are open tokens of their own, wherever the log mentions the old ones. `keep`: only those whose tokens another
/// run has, so that an address goes on working.
pub(crate) fn own_tokens(
    world: &dyn World,
    events: Vec<Event>,
    new: &RunId,
    keep: bool,
) -> Result<Vec<Event>, HostError> {
    let open = crate::hook::open_tokens(&events);
    if open.is_empty() {
        return Ok(events);
    }
    let mut text = String::from_utf8(wire::encode(&events)).expect("events are JSON");
    for token in open.into_values() {
        let holder = world.hook(&token)?.map(|hook| hook.run).filter(|holder| holder != new);
        if is_made_up(&token) {
            if holder.is_some() || !keep {
                text = text.replace(&token, &crate::answers::new_token()?);
            }
        } else if let Some(holder) = holder {
            return Err(HostError::Conflict(format!(
                "the hook with the token {token:?} is open for run {holder}, and one run at a time can have it: fork before the \
                 script opens it, or wait until that run has closed it"
            )));
        }
    }
    let mut own = Vec::with_capacity(events.len());
    wire::decode(text.as_bytes(), &mut own)
        .map_err(|error| HostError::World(WorldError::Corrupt(error.to_string())))?;
    Ok(own)
}

/// A token that the host made: 128 bits. If a script named one like that itself, the log does not fit any more, and that is
/// found before anything is created.
pub(crate) fn is_made_up(token: &str) -> bool {
    token.len() == 32 && token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Puts the new run's name where a script has written its own into what it asked for.
pub(crate) fn rename_in_input(event: &mut Event, old: &RunId, new: &RunId) {
    let renamed = |value: &mut Value| rename(value, old.as_str(), new.as_str());
    match &mut event.body {
        Body::StepStarted { input: Some(input), .. } => renamed(std::sync::Arc::make_mut(input)),
        Body::ChildStarted { input, .. } => renamed(std::sync::Arc::make_mut(input)),
        Body::Suspended { payload, .. } => renamed(payload),
        _ => {}
    }
}

fn rename(value: &mut Value, old: &str, new: &str) {
    match value {
        Value::String(text) if text.contains(old) => *text = text.replace(old, new),
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, old, new)),
        Value::Object(fields) => fields.values_mut().for_each(|field| rename(field, old, new)),
        _ => {}
    }
}

/// Where the world keeps which runs took over a part of a run's log.
pub(crate) fn forks_of(run: &RunId) -> String {
    format!("forks/{run}")
}

/// The runs that took over a part of this one's log, in the order they were made.
pub(crate) fn forks(world: &dyn World, run: &RunId) -> Result<Vec<RunId>, WorldError> {
    let Some(bytes) = world.meta(&forks_of(run))? else { return Ok(Vec::new()) };
    let named: Vec<RunId> = serde_json::from_slice(&bytes).unwrap_or_default();
    let mut there = Vec::with_capacity(named.len());
    for fork in named {
        if world.row(&fork)?.is_some() {
            there.push(fork);
        }
    }
    Ok(there)
}

/// Forks of one run that are remembered; older ones still name their origin.
const REMEMBERED: usize = 100;

fn note_fork(world: &dyn World, old: &RunId, new: &RunId) -> Result<(), WorldError> {
    let mut all = forks(world, old)?;
    all.retain(|fork| fork != new);
    all.push(new.clone());
    let from = all.len().saturating_sub(REMEMBERED);
    world.put_meta(&forks_of(old), &serde_json::to_vec(&all[from..]).expect("ids are JSON"))
}
