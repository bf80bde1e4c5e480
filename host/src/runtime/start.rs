//! Starting a run that a caller asked for: checked, created under its id, or found under it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use durhai_core::event::Created;
use durhai_core::{Millis, RunId, Status, TraceContext, Value, tags};
use durhai_world::Refused;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::error::{HostError, refusal};
use crate::runtime::claims;
use crate::runtime::new_run::{self, StartAt};
use crate::runtime::waiters::Settled;
use crate::shared::Shared;
use crate::store::{payload, random, run_view};
use crate::versions::reload;
use crate::versions::serving::{Missing, Serving};

/// What a caller said of the run.
pub(crate) struct StartRequest {
    pub workflow: String,
    pub id: Option<String>,
    pub input: Result<Value, String>,
    pub tags: BTreeMap<String, String>,
    pub at: Option<Millis>,
    pub delay: Option<Duration>,
    /// Another host runs it.
    pub elsewhere: bool,
    pub timeout: Option<Duration>,
    pub priority: i32,
    pub traceparent: Option<TraceContext>,
}

impl StartRequest {
    pub fn new(workflow: String) -> Self {
        StartRequest {
            workflow,
            id: None,
            input: Ok(Value::Null),
            tags: BTreeMap::new(),
            at: None,
            delay: None,
            elsewhere: false,
            timeout: None,
            priority: 0,
            traceparent: None,
        }
    }
}

/// The run, and where its end will be told if this host created it and runs it.
pub(crate) type Started = (RunId, Option<oneshot::Receiver<Settled>>);

/// Creates the run and returns when it is durable; see [`Start::start`](crate::Start::start).
pub(crate) async fn start(host: &Arc<Shared>, request: StartRequest) -> Result<Started, HostError> {
    let StartRequest { workflow, id, input, tags, at, delay, elsewhere, timeout, priority, traceparent } = request;
    let now = host.store.clock.now();
    let input = input.map_err(|error| HostError::Invalid(format!("the input is not JSON: {error}")))?;
    payload::check(&input, host.config.limits.payload, host.config.limits.depth)
        .map_err(|why| HostError::Invalid(format!("the input {why}")))?;
    let id = match id {
        Some(id) => RunId::new(id).map_err(|error| HostError::Invalid(error.to_string()))?,
        None => random::run_id(now)?,
    };
    tags::check(&tags).map_err(HostError::Invalid)?;
    if timeout == Some(Duration::ZERO) {
        return Err(HostError::Invalid("the timeout of a run must be longer than nothing".into()));
    }
    reload::look_first(host, &workflow).await?;
    let same = async |input: &Value| same_start(host, &id, &workflow, input, elsewhere).await;
    let Serving { version, header } = match host.versions.serving(&workflow) {
        Ok(serving) => serving,
        Err(missing) => {
            // The run may be there already: then its own text counts.
            if is_there(host, &id, &workflow).await? {
                same(&input).await?;
                return Ok((id, None));
            }
            return Err(match missing {
                Missing::Unknown(text) => HostError::NotFound(text),
                Missing::Broken(text) => HostError::Script(text),
            });
        }
    };
    let input = match new_run::check_input(&header, &workflow, input.clone()) {
        Ok(input) => input,
        Err(error) => {
            // A run that is there already was started when its workflow took this.
            if is_there(host, &id, &workflow).await? {
                same(&input).await?;
                return Ok((id, None));
            }
            return Err(HostError::Invalid(error));
        }
    };
    let begin = at.or_else(|| delay.map(|delay| now.saturating_add(delay.as_millis() as Millis)));
    let begin = StartAt { later: begin.filter(|at| *at > now), here: !elsewhere };
    let created = Created {
        tags,
        timeout: timeout.map(|timeout| timeout.as_millis() as Millis).or(header.timeout),
        priority,
        traceparent,
        ..Created::new(id.clone(), workflow.clone(), version, input.clone())
    };
    let new_run = new_run::new_run(host, vec![new_run::first_event(host, created)], &header, begin);
    // The caller that starts a run and waits for it is told of its end without looking.
    let settled = new_run.create.claim.is_some().then(|| host.runtime.waiters.register(&id));
    match claims::create(host, new_run).await? {
        Ok(()) => Ok((id, settled)),
        Err(Refused::Exists(_)) => {
            same(&input).await?;
            Ok((id, None))
        }
        Err(refused) => Err(refusal(refused)),
    }
}

async fn is_there(host: &Arc<Shared>, id: &RunId, workflow: &str) -> Result<bool, HostError> {
    Ok(host.store.row(id).await?.is_some_and(|row| row.workflow == workflow))
}

/// A start under an id that is taken: fine if it is the same start, and then the run goes on here if no host has it.
async fn same_start(
    host: &Arc<Shared>,
    id: &RunId,
    workflow: &str,
    input: &Value,
    elsewhere: bool,
) -> Result<(), HostError> {
    // The look at the files may have taken as long as the host lived.
    let host = host.running()?;
    let view = run_view::current(host, id).await?;
    if view.workflow != workflow {
        let text = format!("there is a run {id} already, of the workflow {:?}", view.workflow);
        return Err(HostError::Conflict(text));
    }
    if view.input != *input {
        let (its, this) = (digest(&view.input), digest(input));
        return Err(HostError::Conflict(format!(
            "there is a run {id} already, with another input: the digest of its input is {its}, that of this one {this}"
        )));
    }
    let at_rest = view.status.is_terminal() || view.status == Status::Parked;
    if !at_rest && !elsewhere {
        claims::take_up(host, id).await?;
    }
    Ok(())
}

/// Tells two inputs apart without showing them: the first digits of the SHA-256 of its JSON.
fn digest(input: &Value) -> String {
    let digest = Sha256::digest(input.to_string().as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
