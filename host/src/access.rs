//! How async callers reach the world and the committer.

use std::sync::Arc;

use durhai_core::event::Created;
use durhai_core::{Body, Event, RunId, Status, Value, wire};
use durhai_world::{Admission, Chunk, Claim, Commit, Queue, Refused, Row, World, WorldError, Write, Written};
use serde_json::json;
use tokio::sync::oneshot;

use crate::committer::{Job, Then};
use crate::error::HostError;
use crate::inner::Inner;
use crate::letter::Message;
use crate::new_run::NewRun;
use crate::slot::STATE;
use crate::view::{PlaceView, RunView};
use crate::worker::Msg;

/// Runs that have a place and are named to one that waits.
const HOLDERS: usize = 20;

impl Inner {
    /// Does something with the world on a thread that may wait.
    pub async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&dyn World) -> Result<T, WorldError> + Send + 'static,
    ) -> Result<T, HostError> {
        let world = self.world.clone();
        match self.tokio.spawn_blocking(move || work(&*world)).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(HostError::Closed),
        }
    }

    /// Has something written, together with what others write, and waits until it is durable.
    pub async fn ask(&self, write: Write) -> Result<Result<Written, Refused>, HostError> {
        let (reply, answer) = oneshot::channel();
        self.write(Job { write, then: Then::Reply(reply) });
        match answer.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(HostError::world(&error)),
            Err(_) => Err(HostError::Closed),
        }
    }

    pub async fn row(self: &Arc<Self>, run: &RunId) -> Result<Option<Row>, HostError> {
        let run = run.clone();
        self.blocking(move |world| world.row(&run)).await
    }

    pub async fn last_event(self: &Arc<Self>, run: &RunId) -> Result<Option<Event>, HostError> {
        let run = run.clone();
        self.blocking(move |world| last_event(world, &run)).await
    }

    /// Creates a run, and runs it here if it is to begin here.
    pub async fn create(self: &Arc<Self>, new_run: NewRun) -> Result<Result<(), Refused>, HostError> {
        let NewRun { create, events } = new_run;
        let run = create.row.run.clone();
        let here = create.claim.is_some();
        match self.ask(Write::Create(Box::new(create))).await? {
            Ok(Written::Created(Some(claim))) => self.adopt(claim, Some(events)),
            Ok(_) => self.created_to_wait(run, here),
            Err(refused) => return Ok(Err(refused)),
        }
        Ok(Ok(()))
    }

    /// Runs what was claimed.
    pub fn adopt(&self, claim: Claim, history: Option<Vec<Event>>) {
        self.send(self.worker_of(&claim.run), Msg::Adopt { claim: Box::new(claim), history });
    }

    /// A run that could not begin at once. A host that takes up nothing but its own must remember it.
    pub fn created_to_wait(&self, run: RunId, here: bool) {
        if here && !self.adopt {
            self.own.lock().expect("not poisoned").insert(run);
        }
        self.adopter.ring();
    }

    /// The claim on a run that nobody holds. One that was parked a moment ago is waited for: it is being given back.
    pub async fn claim_run(self: &Arc<Self>, run: &RunId) -> Result<Claim, HostError> {
        let released = self.waiters.register(run);
        if let Some(claim) = self.try_claim(run).await? {
            return Ok(claim);
        }
        if self.row(run).await?.is_some_and(|row| row.status == Status::Parked) {
            let lease = std::time::Duration::from_millis(self.holder.lease);
            let _ = tokio::time::timeout(lease, released).await;
        }
        let claim = self.try_claim(run).await?;
        claim.ok_or_else(|| HostError::Conflict(format!("run {run} is held by a host at this moment: try again")))
    }

    async fn try_claim(self: &Arc<Self>, run: &RunId) -> Result<Option<Claim>, HostError> {
        let (id, holder, now) = (run.clone(), self.holder.clone(), self.clock.now());
        self.blocking(move |world| world.claim_run(&id, &holder, now)).await
    }

    /// Goes on with a run that nobody holds.
    pub async fn take_up(self: &Arc<Self>, run: &RunId) -> Result<(), HostError> {
        match self.try_claim(run).await? {
            Some(claim) if claim.admitted => self.adopt(claim, None),
            Some(claim) => {
                self.release(&claim).await?;
                self.created_to_wait(run.clone(), true);
            }
            None => {}
        }
        Ok(())
    }

    /// Ends a run that is held, and that no script is asked about, by an event of its own.
    pub async fn end_held(self: &Arc<Self>, claim: &Claim, body: Body) -> Result<(), HostError> {
        let now = self.clock.now();
        let status = match &body {
            Body::RunCancelled { .. } => Status::Cancelled,
            _ => Status::Failed,
        };
        let last = self.last_event(&claim.run).await?;
        let at = last.map_or(now, |event| event.at.max(now));
        let run = claim.run.clone();
        let first = self.blocking(move |world| first_event(world, &run)).await?;
        let mut commit = Commit::new(claim.run.clone(), claim.fence);
        commit.send.extend(first.as_ref().and_then(|created| crate::slot::letter_to_parent(created, &body, now)));
        let row = Row { status, wake_at: None, ended_at: Some(now), note: Value::Null, ..claim.row.clone() };
        let ended = first.and_then(|created| self.observers.ending(self, &created, &row, &body));
        let event = Event { seq: claim.last_seq + 1, at, step_id: None, site: None, body };
        commit.events = Some(Chunk { first: event.seq, count: 1, bytes: wire::encode(&[event]) });
        commit.row = Some(row);
        commit.leave = Some(crate::slot::LEFT.into());
        commit.progress = true;
        self.ask(Write::Commit(Box::new(commit))).await?.map(drop).map_err(crate::handle::refusal)?;
        if let Some(ended) = ended {
            self.observers.run_ended(&ended);
        }
        self.waiters.wake(&claim.run, &None);
        Ok(())
    }

    /// Deals with a run that was claimed for an urgent message before its script may begin: it ends without it.
    pub async fn end_before_it_begins(self: &Arc<Self>, claim: Claim) -> Result<(), HostError> {
        let run = claim.run.clone();
        let end = self.blocking(move |world| first_end(world, &run)).await?;
        match end {
            Some(body) => self.end_held(&claim, body).await,
            // From a newer host, say. Left there it would be claimed for it again and again.
            None => {
                let reason = "an urgent message waits for it that this version of durhai does not know: let a host of the \
                              version that sent it unpark the run, or cancel it";
                tracing::warn!(run = %claim.run, "run {} is parked: {reason}", claim.run);
                let note = json!({ "reason": reason });
                let row = Row { status: Status::Parked, wake_at: None, note, ..claim.row.clone() };
                self.commit_row(&claim, row).await?;
                self.release(&claim).await?;
                self.waiters.wake(&claim.run, &None);
                Ok(())
            }
        }
    }

    /// The same in the background. What the world says about it, it says to whoever writes next, too.
    pub fn end_soon(self: &Arc<Self>, claim: Claim) {
        let inner = self.clone();
        self.tokio.spawn(async move {
            let run = claim.run.clone();
            if let Err(error) = inner.end_before_it_begins(claim).await {
                tracing::warn!(%run, "run {run} was to end before it began: {error}");
            }
        });
    }

    /// A new row outside of any turn.
    pub async fn commit_row(&self, claim: &Claim, row: Row) -> Result<(), HostError> {
        let mut commit = Commit::new(claim.run.clone(), claim.fence);
        commit.row = Some(row);
        commit.progress = true;
        self.ask(Write::Commit(Box::new(commit))).await?.map(drop).map_err(crate::handle::refusal)
    }

    pub async fn release(&self, claim: &Claim) -> Result<(), HostError> {
        let write = Write::Release { run: claim.run.clone(), fence: claim.fence };
        self.ask(write).await?.map(drop).map_err(crate::handle::refusal)
    }

    /// A run's row with what is in the first and the last events of its log.
    pub async fn view(self: &Arc<Self>, run: &RunId) -> Result<Option<RunView>, HostError> {
        let run = run.clone();
        let look = move |world: &dyn World| {
            let Some(row) = world.row(&run)? else { return Ok(None) };
            let forks = crate::fork::forks(world, &run)?;
            let created = first_event(world, &run)?;
            let place = match row.status {
                Status::Pending => world.queue(&run, HOLDERS)?.filter(|queue| queue.admission == Admission::Waiting),
                _ => None,
            };
            let place = place.map(|Queue { key, limit, ahead, waiting, admitted, holders, .. }| PlaceView {
                gate: key,
                limit,
                ahead,
                waiting,
                inside: admitted,
                holders,
            });
            let retried_as = created.map(|created| crate::retry::retried_as(world, row.status, &created));
            let retried_as = retried_as.transpose()?.flatten();
            Ok(Some(RunView { forks, retried_as, place, ..view(world, row)? }))
        };
        self.blocking(look).await
    }
}

/// A run as it is shown.
pub(crate) fn view(world: &dyn World, row: Row) -> Result<RunView, WorldError> {
    let noted = |key: &str| row.note.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    let state = world.values(&row.run)?.into_iter().filter_map(|(name, bytes)| {
        let key = name.strip_prefix(STATE)?.to_owned();
        Some((key, serde_json::from_slice(&bytes).ok()?))
    });
    let state: serde_json::Map<_, _> = state.collect();
    let mut view = RunView {
        status: row.status,
        input: Value::Null,
        output: Value::Null,
        error: None,
        state: Value::Object(state),
        status_text: noted("status_text"),
        waiting_for: row.note.get("waiting_for").and_then(Value::as_array).cloned().unwrap_or_default(),
        place: None,
        begins_at: row.wake_at.filter(|at| *at > 0 && row.status == Status::Pending),
        reason: noted("reason"),
        next: noted("next").and_then(|id| RunId::new(id).ok()),
        previous: None,
        origin: None,
        forks: Vec::new(),
        retry_of: None,
        retried_as: None,
        events: 0,
        attempt: 1,
        priority: row.concurrency.as_ref().map_or(0, |of| of.priority),
        timeout: None,
        id: row.run,
        workflow: row.workflow,
        version: row.version,
        tags: row.tags,
        parent: row.parent,
        created_at: row.created_at,
        started_at: row.started_at,
        ended_at: row.ended_at,
    };
    if let Some(created) = first_event(world, &view.id)? {
        view.retry_of = crate::retry::retry_of(&created).cloned();
        view.input = created.input;
        view.origin = created.origin;
        view.attempt = created.attempt;
        view.priority = created.priority;
        view.timeout = created.timeout;
        view.previous = created.chain.map(|chain| chain.previous);
    }
    if let Some(tail) = world.log_tail(&view.id)? {
        view.events = tail.first + u64::from(tail.count) - 1;
        if view.status.is_terminal() {
            match decode(&tail)?.pop().map(|event| event.body) {
                Some(Body::RunCompleted { output }) => view.output = output,
                Some(Body::RunFailed { error }) => view.error = Some(error),
                Some(Body::RunCancelled { reason }) => view.reason = Some(reason).filter(|reason| !reason.is_empty()),
                Some(Body::RunContinued { next }) => view.next = Some(next),
                _ => {}
            }
        }
    }
    Ok(view)
}

/// What the first message that ends a run makes of it.
fn first_end(world: &dyn World, run: &RunId) -> Result<Option<Body>, WorldError> {
    const PAGE: usize = 256;
    let mut after = 0;
    loop {
        let letters = world.inbox(run, after, PAGE)?;
        let Some(last) = letters.last() else { return Ok(None) };
        after = last.index;
        let urgent = letters.into_iter().filter(|letter| letter.urgent);
        if let Some(end) = urgent.filter_map(|letter| Message::decode(&letter.bytes)?.into_end()).next() {
            return Ok(Some(end));
        }
    }
}

/// Whether a message for the run cannot wait until it begins.
pub(crate) fn is_urgent(world: &dyn World, run: &RunId) -> Result<bool, WorldError> {
    const PAGE: usize = 256;
    let mut after = 0;
    loop {
        let letters = world.inbox(run, after, PAGE)?;
        if letters.iter().any(|letter| letter.urgent) {
            return Ok(true);
        }
        let Some(last) = letters.last() else { return Ok(false) };
        after = last.index;
    }
}

pub(crate) fn last_event(world: &dyn World, run: &RunId) -> Result<Option<Event>, WorldError> {
    match world.log_tail(run)? {
        Some(tail) => Ok(decode(&tail)?.pop()),
        None => Ok(None),
    }
}

/// What was decided when a run was created.
pub(crate) fn first_event(world: &dyn World, run: &RunId) -> Result<Option<Created>, WorldError> {
    let Some(first) = world.log(run, 1, 1)?.into_iter().next() else { return Ok(None) };
    match decode(&first)?.into_iter().next() {
        Some(Event { body: Body::RunCreated(created), .. }) => Ok(Some(*created)),
        _ => Ok(None),
    }
}

fn decode(chunk: &Chunk) -> Result<Vec<Event>, WorldError> {
    let mut events = Vec::new();
    wire::decode(&chunk.bytes, &mut events).map_err(|error| WorldError::Corrupt(error.to_string()))?;
    Ok(events)
}
