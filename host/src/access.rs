//! How async callers reach the world and the committer.

use std::sync::Arc;

use durhai_core::{Body, Event, Millis, RunId, Status, Value, wire};
use durhai_world::{Chunk, Claim, Commit, Create, Refused, Row, World, WorldError, Write, Written};
use tokio::sync::oneshot;

use crate::committer::{Job, Then};
use crate::error::HostError;
use crate::inner::Inner;
use crate::view::RunView;
use crate::worker::Msg;

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
        self.blocking(move |world| {
            let tail = world.log_tail(&run)?;
            Ok(tail.and_then(|chunk| decode(&chunk).ok()?.pop()))
        })
        .await
    }

    /// Creates a run from the first events of its log, and runs it here if `here`.
    pub async fn create(
        self: &Arc<Self>,
        events: Vec<Event>,
        later: Option<Millis>,
        here: bool,
    ) -> Result<Result<(), Refused>, HostError> {
        let Some(Event { at, body: Body::RunCreated(created), .. }) = events.first() else {
            return Err(HostError::Invalid("a log begins with run_created".into()));
        };
        let run = created.run.clone();
        let row = Row {
            run: run.clone(),
            workflow: created.workflow.clone(),
            version: created.version.clone(),
            // What is claimed begins at once; saying so here saves the rewriting of the row a moment later.
            status: if here && events.len() == 1 { Status::Running } else { Status::Pending },
            tags: created.tags.clone(),
            parent: created.parent.clone(),
            created_at: (*at).max(if events.len() > 1 { self.clock.now() } else { 0 }),
            started_at: (here && events.len() == 1).then_some(*at),
            ended_at: None,
            wake_at: Some(later.unwrap_or(0)),
            note: Value::Null,
        };
        let chunk = Chunk { first: 1, count: events.len() as u32, bytes: wire::encode(&events) };
        let claim = here.then(|| self.holder.clone());
        let create = Create { row, events: chunk, claim };
        match self.ask(Write::Create(Box::new(create))).await? {
            Ok(Written::Created(Some(claim))) => {
                let msg = Msg::Adopt { claim: Box::new(claim), history: Some(events) };
                self.send(self.worker_of(&run), msg);
                Ok(Ok(()))
            }
            Ok(_) => {
                self.adopter.ring();
                Ok(Ok(()))
            }
            Err(refused) => Ok(Err(refused)),
        }
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
        if let Some(claim) = self.try_claim(run).await? {
            self.send(self.worker_of(run), Msg::Adopt { claim: Box::new(claim), history: None });
        }
        Ok(())
    }

    /// A commit outside of any turn.
    pub async fn commit_alone(&self, claim: &Claim, event: Option<Event>, row: Row) -> Result<(), HostError> {
        let events = event.map(|event| Chunk { first: event.seq, count: 1, bytes: wire::encode(&[event]) });
        let commit = Commit {
            run: claim.run.clone(),
            fence: claim.fence,
            events,
            row: Some(row),
            inbox_taken: None,
            append: Vec::new(),
            progress: true,
        };
        self.ask(Write::Commit(Box::new(commit))).await?.map(drop).map_err(crate::handle::refusal)
    }

    pub async fn release(&self, claim: &Claim) -> Result<(), HostError> {
        let write = Write::Release { run: claim.run.clone(), fence: claim.fence };
        self.ask(write).await?.map(drop).map_err(crate::handle::refusal)
    }

    /// A run's row with what is in the first and the last events of its log.
    pub async fn view(self: &Arc<Self>, run: &RunId) -> Result<Option<RunView>, HostError> {
        let run = run.clone();
        self.blocking(move |world| world.row(&run)?.map(|row| view(world, row)).transpose()).await
    }
}

/// A run as it is shown.
pub(crate) fn view(world: &dyn World, row: Row) -> Result<RunView, WorldError> {
    let mut view = RunView {
        id: row.run,
        workflow: row.workflow,
        version: row.version,
        status: row.status,
        input: Value::Null,
        output: Value::Null,
        error: None,
        state: Value::Null,
        status_text: None,
        tags: row.tags,
        parent: row.parent,
        created_at: row.created_at,
        started_at: row.started_at,
        ended_at: row.ended_at,
        waiting_for: row.note.get("waiting_for").and_then(Value::as_array).cloned().unwrap_or_default(),
        reason: row.note.get("reason").and_then(Value::as_str).map(ToOwned::to_owned),
        origin: None,
        events: 0,
    };
    if let Some(first) = world.log(&view.id, 1, 1)?.first()
        && let Some(Event { body: Body::RunCreated(created), .. }) = decode(first)?.into_iter().next()
    {
        view.input = created.input;
        view.origin = created.origin;
    }
    if let Some(tail) = world.log_tail(&view.id)? {
        view.events = tail.first + u64::from(tail.count) - 1;
        if view.status.is_terminal() {
            match decode(&tail)?.pop().map(|event| event.body) {
                Some(Body::RunCompleted { output }) => view.output = output,
                Some(Body::RunFailed { error }) => view.error = Some(error),
                Some(Body::RunCancelled { reason }) => view.reason = Some(reason).filter(|reason| !reason.is_empty()),
                _ => {}
            }
        }
    }
    Ok(view)
}

fn decode(chunk: &Chunk) -> Result<Vec<Event>, WorldError> {
    let mut events = Vec::new();
    wire::decode(&chunk.bytes, &mut events).map_err(|error| WorldError::Corrupt(error.to_string()))?;
    Ok(events)
}
