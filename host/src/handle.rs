//! Runs from outside: starting one, and doing things to one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use durhai_core::event::Created;
use durhai_core::replay::LogLine;
use durhai_core::{Body, Event, Failure, Kind, Millis, RunId, Status, TraceContext, Value};
use durhai_world::{Claim, Refused, Row, World, WorldError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::catalog::{Missing, Serving};
use crate::error::{HostError, RunError};
use crate::host::Host;
use crate::inner::{Inner, Rest};
use crate::letter::Message;
use crate::new_run::{self, StartAt};
use crate::payload;
use crate::slot::LOG_STREAM;
use crate::view::{LogEntry, Outlook, RunView};
use crate::worker::Msg;

/// How long whoever waits for a run goes without looking, at most: its host may be another one.
const LOOK_AGAIN: Duration = Duration::from_secs(4);

/// A start being described; see [`Host::run`]. Errors are kept until [`start`](Start::start).
#[derive(Debug)]
#[must_use = "call .start()"]
pub struct Start {
    pub(crate) host: Host,
    pub(crate) workflow: String,
    pub(crate) id: Option<String>,
    pub(crate) input: Result<Value, String>,
    pub(crate) tags: std::collections::BTreeMap<String, String>,
    pub(crate) at: Option<Millis>,
    pub(crate) delay: Option<Duration>,
    pub(crate) elsewhere: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) priority: i32,
    pub(crate) traceparent: Option<TraceContext>,
}

impl Start {
    /// Makes the start idempotent: if there is a run of this name with the same workflow and input, it is returned as
    /// it is; with another workflow or input the start is refused.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The constant `input` of the script; null unless given.
    pub fn input<T: Serialize + ?Sized>(mut self, input: &T) -> Self {
        self.input = serde_json::to_value(input).map_err(|error| error.to_string());
        self
    }

    /// Something to find it by: at most 32 of them, with a key of at most 64 bytes and a value of at most 256.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Begins that much later.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Begins at this moment (ms since the epoch).
    pub fn at(mut self, at: Millis) -> Self {
        self.at = Some(at);
        self
    }

    /// How long the whole run may take from its start on, instead of what its workflow says. Then it is cancelled and
    /// fails with `timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Its place among the runs that wait for the workflow's `concurrency`: higher goes first, 0 unless given.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// The span that starts it, as W3C writes it: the run is part of its trace. A text that is no `traceparent` of version 00
    /// is ignored, as if there were none; so is one that comes with a start of a run that is there already.
    pub fn traceparent(mut self, text: &str) -> Self {
        self.traceparent = TraceContext::parse(text).ok();
        self
    }

    /// Does not run it here: whoever serves the world later does.
    pub fn elsewhere(mut self) -> Self {
        self.elsewhere = true;
        self
    }

    /// Creates the run. When this returns it is durable. It runs the text that its file has now: a save that the host has not
    /// noticed yet is looked at first.
    pub async fn start(self) -> Result<Run, HostError> {
        let Start { host, workflow, id, input, tags, at, delay, elsewhere, timeout, priority, traceparent } = self;
        let inner = host.inner()?;
        let now = inner.clock.now();
        let input = input.map_err(|error| HostError::Invalid(format!("the input is not JSON: {error}")))?;
        payload::check(&input, inner.limits.payload, inner.limits.depth)
            .map_err(|why| HostError::Invalid(format!("the input {why}")))?;
        let id = match id {
            Some(id) => RunId::new(id).map_err(|error| HostError::Invalid(error.to_string()))?,
            None => new_id(inner)?,
        };
        durhai_core::tags::check(&tags).map_err(HostError::Invalid)?;
        if timeout == Some(Duration::ZERO) {
            return Err(HostError::Invalid("the timeout of a run must be longer than nothing".into()));
        }
        let run = Run::new(&host, id.clone());
        host.look_first(&workflow).await?;
        let Serving { version, header } = match inner.catalog.serving(&workflow) {
            Ok(serving) => serving,
            Err(missing) => {
                // The run may be there already: then its own text counts.
                if inner.row(&id).await?.is_some_and(|row| row.workflow == workflow) {
                    run.same_start(&workflow, &input, elsewhere).await?;
                    return Ok(run);
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
                if inner.row(&id).await?.is_some_and(|row| row.workflow == workflow) {
                    run.same_start(&workflow, &input, elsewhere).await?;
                    return Ok(run);
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
        let new_run = inner.new_run(vec![inner.first_event(created)], &header, begin);
        // Whoever waits for a run that he started himself learns of its end without looking.
        let rest = new_run.create.claim.is_some().then(|| inner.waiters.register(&id));
        match inner.create(new_run).await? {
            Ok(()) => *run.rest.lock().expect("not poisoned") = rest,
            Err(_) => run.same_start(&workflow, &input, elsewhere).await?,
        }
        Ok(run)
    }
}

/// A name nobody has.
pub(crate) fn new_id(inner: &Inner) -> Result<RunId, HostError> {
    let mut entropy = [0; 10];
    getrandom::fill(&mut entropy).map_err(|error| WorldError::Unavailable(format!("no randomness: {error}")))?;
    Ok(RunId::generate(inner.clock.now(), entropy))
}

/// A run, by name. Dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct Run {
    pub(crate) host: Host,
    pub(crate) id: RunId,
    /// The end of a run that was started through this handle; taken by the first who waits for it.
    pub(crate) rest: Arc<Mutex<Option<oneshot::Receiver<Rest>>>>,
}

impl Run {
    pub(crate) fn new(host: &Host, id: RunId) -> Self {
        Run { host: host.clone(), id, rest: Arc::default() }
    }

    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// How it stands now.
    pub async fn view(&self) -> Result<RunView, HostError> {
        let inner = self.host.inner()?;
        let mut view = inner.view(&self.id).await?.ok_or_else(|| self.unknown())?;
        if !view.status.is_terminal() && view.status != Status::Parked {
            let (reply, answer) = oneshot::channel();
            inner.send(inner.worker_of(&self.id), Msg::Describe { run: self.id.clone(), reply });
            // A run that is not in memory leaves the question unanswered; its row knows what it waits for.
            if let Ok(waiting_for) = answer.await {
                view.waiting_for = waiting_for;
            }
        }
        Ok(view)
    }

    /// How far it is in this host's memory; none if it is not there.
    pub async fn outlook(&self) -> Result<Option<Outlook>, HostError> {
        let inner = self.host.inner()?;
        let (reply, answer) = oneshot::channel();
        inner.send(inner.worker_of(&self.id), Msg::Outlook { run: self.id.clone(), reply });
        Ok(answer.await.ok())
    }

    pub async fn status(&self) -> Result<Status, HostError> {
        Ok(self.host.inner()?.row(&self.id).await?.ok_or_else(|| self.unknown())?.status)
    }

    /// Waits until the run has ended, or is parked, and shows it. A run that continued as a new one has ended when the
    /// last of the chain has: that is the one shown.
    pub async fn wait(&self) -> Result<RunView, HostError> {
        let inner = self.host.inner()?;
        let mut run = self.clone();
        loop {
            let view = run.wait_for_one().await?;
            if view.status != Status::Continued {
                return Ok(view);
            }
            let id = run.id.clone();
            let latest = inner.blocking(move |world| new_run::latest(world, &id)).await?;
            match view.next {
                _ if latest != run.id => run = Run::new(&self.host, latest),
                Some(next) => run = Run::new(&self.host, next),
                None => return Ok(view),
            }
        }
    }

    async fn wait_for_one(&self) -> Result<RunView, HostError> {
        let inner = self.host.inner()?;
        let at_rest = |status: Status| status.is_terminal() || status == Status::Parked;
        let mut patience = LOOK_AGAIN / 16;
        let mut rest = inner.waiters.register(&self.id);
        let mut status = self.status().await?;
        loop {
            if at_rest(status) {
                return self.view().await;
            }
            if let Some(error) = inner.failure() {
                return Err(HostError::world(&error));
            }
            tokio::select! {
                _ = &mut rest => {}
                // Another host may have it, which tells nobody here.
                () = tokio::time::sleep(patience) => patience = (patience * 2).min(LOOK_AGAIN),
                () = inner.closing.cancelled() => return Err(HostError::Closed),
            }
            rest = inner.waiters.register(&self.id);
            let view = self.view().await?;
            if at_rest(view.status) {
                return Ok(view);
            }
            status = view.status;
        }
    }

    /// Waits for the end and gives the output.
    pub async fn output<T: DeserializeOwned>(&self) -> Result<T, RunError> {
        let fresh = self.rest.lock().expect("not poisoned").take();
        if let Some(rest) = fresh {
            let inner = self.host.inner()?;
            let rest = tokio::select! {
                rest = rest => rest.ok().flatten(),
                () = tokio::time::sleep(LOOK_AGAIN) => None,
                () = inner.closing.cancelled() => return Err(HostError::Closed.into()),
            };
            if let Some(Body::RunCompleted { output }) = rest.as_deref() {
                return T::deserialize(output).map_err(|error| RunError::Type(self.id.clone(), error));
            }
        }
        let view = self.wait().await?;
        let id = view.id.clone();
        match view.status {
            Status::Completed => serde_json::from_value(view.output).map_err(|error| RunError::Type(id, error)),
            Status::Parked => Err(RunError::Parked(id, view.reason.unwrap_or_default())),
            Status::Cancelled => Err(RunError::Cancelled(id, view.reason.unwrap_or_default())),
            status => Err(match view.error {
                Some(error) => RunError::Failed(id, Box::new(error)),
                None => RunError::NoOutput(id, status),
            }),
        }
    }

    /// Sends a signal. When this returns it is durable and will be delivered.
    pub async fn signal<T: Serialize + ?Sized>(&self, name: &str, payload: &T) -> Result<(), HostError> {
        self.send_signal(name, payload, None).await
    }

    /// The same, delivered once however often it is sent with this `id`.
    pub async fn signal_once<T: Serialize + ?Sized>(&self, name: &str, payload: &T, id: &str) -> Result<(), HostError> {
        self.send_signal(name, payload, Some(id.to_owned())).await
    }

    async fn send_signal<T: Serialize + ?Sized>(
        &self,
        name: &str,
        payload: &T,
        id: Option<String>,
    ) -> Result<(), HostError> {
        let payload = serde_json::to_value(payload)
            .map_err(|error| HostError::Invalid(format!("the payload is not JSON: {error}")))?;
        let limits = &self.host.inner()?.limits;
        payload::check(&payload, limits.payload, limits.depth)
            .map_err(|why| HostError::Invalid(format!("the payload {why}")))?;
        if name.is_empty() || name.len() > 256 {
            return Err(HostError::Invalid("the name of a signal has 1 to 256 bytes".into()));
        }
        self.post(&Message::Signal { name: name.into(), payload, id }).await
    }

    /// Asks the script to stop: its open calls throw `cancelled`. Asked twice, the run ends at once; it also does when its
    /// clean-ups take longer than the grace period. One that has not begun, because its time or its turn has not come, ends
    /// at once without its script.
    pub async fn cancel(&self, reason: &str) -> Result<(), HostError> {
        if let Some(claim) = self.claim_idle().await? {
            return self.host.inner()?.end_held(&claim, Body::RunCancelled { reason: reason.into() }).await;
        }
        self.post(&Message::Cancel { reason: reason.into() }).await
    }

    /// Ends the run without asking the script.
    pub async fn terminate(&self, reason: &str) -> Result<(), HostError> {
        if let Some(claim) = self.claim_idle().await? {
            let error = Failure::new(Kind::Terminated, reason);
            return self.host.inner()?.end_held(&claim, Body::RunFailed { error }).await;
        }
        self.post(&Message::Terminate { reason: reason.into() }).await
    }

    /// The claim on a run whose script cannot be asked: it is parked, or it has not begun, because it waits to be admitted or
    /// its time has not come.
    async fn claim_idle(&self) -> Result<Option<Claim>, HostError> {
        let inner = self.host.inner()?;
        let row = inner.row(&self.id).await?.ok_or_else(|| self.unknown())?;
        if row.status == Status::Parked {
            return inner.claim_run(&self.id).await.map(Some);
        }
        let (id, holder, now) = (self.id.clone(), inner.holder.clone(), inner.clock.now());
        let later = row.status == Status::Pending && row.wake_at.is_some_and(|at| at > now);
        let claim = inner.blocking(move |world| {
            if later || (row.concurrency.is_some() && world.waits(&id)?) {
                world.claim_run(&id, &holder, now)
            } else {
                Ok(None)
            }
        });
        match claim.await? {
            Some(claim) if claim.admitted => {
                // Its turn has just come.
                inner.release(&claim).await?;
                Ok(None)
            }
            claim => Ok(claim),
        }
    }

    /// Starts a failed or cancelled run anew: a run of its own that takes over what was done before the failure, and
    /// makes the step that failed again, with the same idempotency keys. It runs the version that serves now, if that fits
    /// what was done; else its own. A run is tried again once: whoever asks again, and however many do at the same moment,
    /// gets the run that is there, whatever its state. If that has failed too, it is that one which can be tried again.
    ///
    /// [`HostError::Conflict`] if the run has neither failed nor been cancelled, or if another run has the token of a hook
    /// that the script named.
    pub async fn retry(&self) -> Result<Run, HostError> {
        crate::retry::retry(self).await
    }

    /// The run that tries this one again, if there is one.
    pub async fn retried(&self) -> Result<Option<Run>, HostError> {
        let inner = self.host.inner()?;
        let row = inner.row(&self.id).await?.ok_or_else(|| self.unknown())?;
        let look = move |world: &dyn World| match crate::access::first_event(world, &row.run)? {
            Some(created) => crate::retry::retried_as(world, row.status, &created),
            None => Ok(None),
        };
        Ok(inner.blocking(look).await?.map(|id| Run::new(&self.host, id)))
    }

    /// Lets a parked run try again.
    pub async fn unpark(&self) -> Result<(), HostError> {
        let inner = self.host.inner()?;
        let status = self.status().await?;
        if status != Status::Parked {
            return Err(HostError::Conflict(format!("run {} is {status}, not parked", self.id)));
        }
        let claim = inner.claim_run(&self.id).await?;
        let status = if claim.row.started_at.is_some() { Status::Running } else { Status::Pending };
        let row = Row { status, wake_at: Some(0), note: Value::Null, ..claim.row.clone() };
        inner.commit_row(&claim, row).await?;
        inner.release(&claim).await?;
        inner.adopter.ring();
        Ok(())
    }

    /// Events from sequence number `from` (the first is 1), at most `limit`.
    pub async fn events(&self, from: u64, limit: usize) -> Result<Vec<Event>, HostError> {
        let inner = self.host.inner()?;
        inner.row(&self.id).await?.ok_or_else(|| self.unknown())?;
        let id = self.id.clone();
        inner.blocking(move |world| crate::log::page(world, &id, from, limit)).await
    }

    /// Lines of its log from index `from` (the first is 0), at most `limit`.
    pub async fn logs(&self, from: u64, limit: usize) -> Result<Vec<LogEntry>, HostError> {
        let inner = self.host.inner()?;
        inner.row(&self.id).await?.ok_or_else(|| self.unknown())?;
        let id = self.id.clone();
        let lines = inner.blocking(move |world| world.stream(&id, LOG_STREAM, from, limit)).await?;
        let read = |(i, bytes): (usize, Vec<u8>)| {
            let line: LogLine = serde_json::from_slice(&bytes).ok()?;
            Some(LogEntry { index: from + i as u64, line })
        };
        Ok(lines.into_iter().enumerate().filter_map(read).collect())
    }

    /// Removes a run that has ended, with all it left and with the runs it started that have ended too.
    pub async fn delete(&self) -> Result<(), HostError> {
        self.host.inner()?.delete(&self.id).await
    }

    async fn post(&self, message: &Message) -> Result<(), HostError> {
        self.host.inner()?.post(&self.id, message).await
    }

    /// A start under an id that is taken: fine if it is the same start, and then the run goes on here if nobody has it.
    async fn same_start(&self, workflow: &str, input: &Value, elsewhere: bool) -> Result<(), HostError> {
        let inner = self.host.inner()?;
        let view = self.view().await?;
        if view.workflow != workflow {
            let text = format!("there is a run {} already, of the workflow {:?}", self.id, view.workflow);
            return Err(HostError::Conflict(text));
        }
        if view.input != *input {
            let (its, this) = (digest(&view.input), digest(input));
            return Err(HostError::Conflict(format!(
                "there is a run {} already, with another input: the digest of its input is {its}, that of this one {this}",
                self.id
            )));
        }
        let at_rest = view.status.is_terminal() || view.status == Status::Parked;
        if !at_rest && !elsewhere {
            inner.take_up(&self.id).await?;
        }
        Ok(())
    }

    pub(crate) fn unknown(&self) -> HostError {
        HostError::NotFound(format!("there is no run {}", self.id))
    }
}

/// Tells two inputs apart without showing them: the first digits of the SHA-256 of its JSON.
fn digest(input: &Value) -> String {
    let digest = Sha256::digest(input.to_string().as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn refusal(refused: Refused) -> HostError {
    match refused {
        Refused::Unknown(_) => HostError::NotFound(refused.to_string()),
        refused => HostError::Conflict(refused.to_string()),
    }
}
