//! A new run that takes over the beginning of another one's log and goes on from there by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use durhai_core::event::{Created, OpenTimes, Origin};
use durhai_core::{Event, EventBody, RunId, StepId, Value, Version};
use durhai_engine::{Bundle, Header};
use durhai_world::{Refused, World, WorldError};
use serde::{Deserialize, Serialize};

use crate::error::HostError;
use crate::logs::rebase::{own_tokens, rename_children, rename_in_input};
use crate::logs::replay::{Replayer, Script};
use crate::logs::{lineage, overrides};
use crate::runtime::claims;
use crate::runtime::new_run::{self, StartAt};
use crate::shared::Shared;
use crate::store::{random, run_view};

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
    hooks: Vec<crate::messages::hooks::Opening>,
}

/// How often a fork is prepared because the token of a hook was taken meanwhile.
const TRIES: usize = 5;

/// See [`Run::fork`](crate::Run::fork).
pub(crate) async fn fork(host: &Arc<Shared>, run: &RunId, fork: Fork) -> Result<RunId, HostError> {
    let row = host.store.known(run).await?;
    let new = match &fork.id {
        Some(id) => RunId::new(id.clone()).map_err(|error| HostError::Invalid(error.to_string()))?,
        None => random::run_id(host.store.clock.now())?,
    };
    for tried in 1.. {
        let (old, id, shared) = (run.clone(), new.clone(), host.clone());
        let (version, fork) = (row.version.clone(), fork.clone());
        let prepare = move || prepare(&shared, &old, version, &id, fork);
        let prepared = host.tokio.spawn_blocking(prepare).await.map_err(|_| HostError::Closed)??;
        let Prepared { events, header, text, hooks } = prepared;
        let seq = events.len() as u64;
        if host.store.row(&new).await?.is_some() {
            return same_fork(host, run, new, seq).await;
        }
        // The new run is named first: a name without a run is passed over, a run without a name would be lost.
        let (old, id) = (run.clone(), new.clone());
        let note = move |world: &dyn World| {
            if let Some((version, bytes)) = &text {
                world.put_program(version, bytes)?;
            }
            lineage::note_fork(world, &old, &id)
        };
        host.store.blocking(note).await?;
        let mut new_run = new_run::new_run(host, events, &header, StartAt { later: None, here: host.config.adopt });
        new_run.create.hooks = hooks;
        match claims::create(host, new_run).await? {
            Ok(()) => {
                tracing::info!(run = %new, "run {new} takes over {seq} events of run {run}");
                return Ok(new);
            }
            // Another run was faster: a token that was made up is made anew.
            Err(Refused::Token { .. }) if tried < TRIES => {}
            Err(Refused::Exists(_)) => return same_fork(host, run, new, seq).await,
            Err(refused) => return Err(crate::error::refusal(refused)),
        }
    }
    unreachable!("the last try returns")
}

/// The name is taken: by this fork, made before, or by another run.
async fn same_fork(host: &Arc<Shared>, run: &RunId, fork: RunId, seq: u64) -> Result<RunId, HostError> {
    let view = run_view::current(host, &fork).await?;
    match view.origin {
        Some(origin) if origin.run == *run && origin.seq == seq && view.retry_of.is_none() => Ok(fork),
        _ => Err(HostError::Conflict(format!("there is a run {fork} already: give the fork another id"))),
    }
}

fn prepare(host: &Shared, old: &RunId, version: Version, new: &RunId, fork: Fork) -> Result<Prepared, HostError> {
    let (log, _) = crate::logs::read::read(&*host.store.world, old)?;
    let mut events = cut(log, &fork).map_err(HostError::Invalid)?;
    overrides::set_results(&mut events, &fork.set)
        .map_err(|why| HostError::Invalid(format!("{why} (only what comes before the fork is taken over)")))?;
    let own = host.versions.bundle(&*host.store.world, &version).map_err(|error| error.into_host(HostError::Script))?;
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
    events.retain(|event| !matches!(event.body, EventBody::RunMigrated { .. }));
    let seq = events.len() as u64;
    for (seq, event) in (1..).zip(&mut events) {
        event.seq = seq;
    }
    rename_children(&mut events, new);
    let mut events = own_tokens(&*host.store.world, events, new, false)?;
    let Some(Event { body: EventBody::RunCreated(created), .. }) = events.first_mut() else {
        return Err(HostError::World(WorldError::Corrupt(format!("the log of run {old} has no beginning"))));
    };
    let origin = Origin { run: old.clone(), seq, file: None, times: Some(OpenTimes::Anew) };
    let known_as = created.idempotency_run.clone().unwrap_or_else(|| old.clone());
    **created = Created {
        seed: Some(created.seed.clone().unwrap_or_else(|| old.to_string())),
        run: new.clone(),
        version,
        origin: Some(origin),
        // Its effects are its own, also those that an attempt of a run that was tried again would share with others.
        idempotency_run: None,
        // No run waits for it, it continues nothing, and it has a trace of its own.
        parent: None,
        chain: None,
        traceparent: None,
        ..(**created).clone()
    };
    let (events, header) = fitting(host, &bundle, &before, events, &known_as, new)?;
    let hooks = crate::messages::hooks::open_in(host, Some(&bundle), &events)?;
    Ok(Prepared { events, header, text, hooks })
}

/// The events, if the text fits them (they were recorded under the version `before`); also if it does with the new run's name in inputs where the old one's was.
fn fitting(
    host: &Shared,
    bundle: &Bundle,
    before: &Version,
    events: Vec<Event>,
    old: &RunId,
    new: &RunId,
) -> Result<(Vec<Event>, std::sync::Arc<Header>), HostError> {
    let mut replayer = Replayer::new(&host.config.sandbox, &host.config.limits, bundle, false)?;
    let mut ran = replayer.run(events.clone(), None)?;
    let mut view = ran.view();
    if view.divergence.is_some() {
        let mut renamed = events.clone();
        renamed.iter_mut().for_each(|event| rename_in_input(event, old, new));
        if replayer.run(renamed.clone(), None)?.view().divergence.is_none() {
            return Ok((renamed, replayer.header()));
        }
    }
    ran.add_lines(&mut view, bundle, &|_, site| host.versions.source_line(Some(&*host.store.world), before, site));
    match view.divergence {
        None => Ok((events, replayer.header())),
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
fn is_result(body: &EventBody) -> bool {
    matches!(
        body,
        EventBody::StepCompleted { .. }
            | EventBody::StepFailed { .. }
            | EventBody::TimerFired
            | EventBody::SignalReceived { .. }
            | EventBody::HookOpened { .. }
            | EventBody::HookConflict { .. }
            | EventBody::HookReceived { .. }
            | EventBody::Resumed { .. }
            | EventBody::ChildStarted { detached: true, .. }
            | EventBody::ChildCompleted { .. }
            | EventBody::ChildFailed { .. }
    )
}
