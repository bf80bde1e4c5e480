//! Claims outside of workers: runs are created, taken up, ended and given back.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use durhai_core::{Event, EventBody, Millis, RunId, Status, Value, wire};
use durhai_world::{Chunk, Claim, Commit, Refused, Row, World, WorldError, Write, Written};
use serde_json::json;
use tokio::sync::oneshot;

use crate::error::{HostError, refusal};
use crate::messages::message::{Message, to_parent};
use crate::runtime::command::WorkerCommand;
use crate::runtime::elsewhere::LOOK_AGAIN;
use crate::runtime::job::Then;
use crate::runtime::lease::OwnClaim;
use crate::runtime::new_run::NewRun;
use crate::shared::Shared;
use crate::store::rows;
use crate::store::streams::UNREAD;

/// Does all of it, also where the caller goes away in the middle (a client that disconnects, say): what was claimed for it by then would
/// stay held by this host, and nobody would go on with it.
pub(crate) async fn to_its_end<T: Send + 'static>(
    host: &Shared,
    work: impl Future<Output = Result<T, HostError>> + Send + 'static,
) -> Result<T, HostError> {
    host.tokio.spawn(work).await.map_err(|_| HostError::Closed)?
}

/// Creates a run, and runs it here if it is to begin here.
pub(crate) async fn create(host: &Arc<Shared>, new_run: NewRun) -> Result<Result<(), Refused>, HostError> {
    let within = host.clone();
    to_its_end(host, async move { create_now(&within, new_run).await }).await
}

async fn create_now(host: &Arc<Shared>, new_run: NewRun) -> Result<Result<(), Refused>, HostError> {
    let NewRun { create, events, epoch } = new_run;
    let run = create.row.run.clone();
    let here = create.claim.is_some();
    match host.store.ask(Write::Create(Box::new(create))).await? {
        Ok(Written::Created(Some(claim))) => adopt(host, OwnClaim { claim, epoch }, Some(events)),
        Ok(_) => created_to_wait(host, run, here),
        Err(refused) => return Ok(Err(refused)),
    }
    Ok(Ok(()))
}

/// Runs what was claimed.
pub(crate) fn adopt(host: &Shared, claim: OwnClaim, history: Option<Vec<Event>>) {
    host.runtime
        .workers
        .send(host.runtime.workers.of(&claim.run), WorkerCommand::Adopt { claim: Box::new(claim), history });
}

/// A run that could not begin at once. A host that takes up nothing but its own must remember it.
pub(crate) fn created_to_wait(host: &Shared, run: RunId, here: bool) {
    if here && !host.config.adopt {
        host.runtime.own.lock().insert(run);
    }
    host.runtime.claimer.wake();
}

/// The claim on a run that no host holds. One that was parked a moment ago is waited for: it is being given back.
pub(crate) async fn claim_run(host: &Arc<Shared>, run: &RunId) -> Result<OwnClaim, HostError> {
    let released = host.runtime.waiters.register(run);
    if let Some(claim) = try_claim(host, run).await? {
        return Ok(claim);
    }
    if host.store.row(run).await?.is_some_and(|row| row.status == Status::Parked) {
        // A host that tells this one nothing may have parked it.
        let _ = tokio::time::timeout(*LOOK_AGAIN.start(), released).await;
        let began = Instant::now();
        while began.elapsed() < host.store.lease.length() {
            // Never given up half-way: a claim that nobody took would stay.
            if let Some(claim) = try_claim(host, run).await? {
                return Ok(claim);
            }
            tokio::time::sleep(*LOOK_AGAIN.start()).await;
        }
    }
    let claim = try_claim(host, run).await?;
    claim.ok_or_else(|| HostError::Conflict(format!("run {run} is held by a host at this moment: try again")))
}

async fn try_claim(host: &Arc<Shared>, run: &RunId) -> Result<Option<OwnClaim>, HostError> {
    let (id, (holder, epoch), now) = (run.clone(), host.store.lease.identity(), host.store.clock.now());
    let claim = host.store.blocking(move |world| world.claim_run(&id, &holder, now)).await?;
    Ok(claim.map(|claim| OwnClaim { claim, epoch }))
}

/// Goes on with a run that no host holds.
pub(crate) async fn take_up(host: &Arc<Shared>, run: &RunId) -> Result<(), HostError> {
    let (within, run) = (host.clone(), run.clone());
    let work = async move {
        match try_claim(&within, &run).await? {
            Some(claim) if claim.admitted => adopt(&within, claim, None),
            Some(claim) => {
                release(&within, &claim).await?;
                created_to_wait(&within, run, true);
            }
            None => {}
        }
        Ok(())
    };
    to_its_end(host, work).await
}

/// Ends a run that is held, and that no script is asked about, by an event of its own. Where that fails the claim is given back. Not to
/// be dropped half-way.
pub(crate) async fn end_held(host: &Arc<Shared>, claim: &Claim, body: EventBody) -> Result<(), HostError> {
    try_to_end(host, claim, body).await.inspect_err(|_| give_back(host, claim))
}

async fn try_to_end(host: &Arc<Shared>, claim: &Claim, body: EventBody) -> Result<(), HostError> {
    let now = host.store.clock.now();
    let status = match &body {
        EventBody::RunCancelled { .. } => Status::Cancelled,
        _ => Status::Failed,
    };
    let last = host.store.last_event(&claim.run).await?;
    let at = last.map_or(now, |event| event.at.max(now));
    let run = claim.run.clone();
    let first = host.store.blocking(move |world| rows::first_event(world, &run)).await?;
    let mut commit = Commit::new(claim.run.clone(), claim.fence);
    commit.send.extend(first.as_ref().and_then(|created| to_parent(created, &body, now)));
    let row = Row { status, wake_at: None, ended_at: Some(now), note: Value::Null, ..claim.row.clone() };
    let ended =
        first.and_then(|created| host.observe.observers.ending(host.steps.mask.as_ref(), &created, &row, &body));
    let event = Event { seq: claim.last_seq + 1, at, step_id: None, site: None, body };
    commit.events = Some(Chunk { first: event.seq, count: 1, bytes: wire::encode(&[event]) });
    commit.row = Some(row);
    commit.leave = Some(UNREAD.into());
    commit.progress = true;
    host.store.ask(Write::Commit(Box::new(commit))).await?.map(drop).map_err(refusal)?;
    if let Some(ended) = ended {
        host.observe.observers.run_ended(&ended);
    }
    host.runtime.waiters.wake(&claim.run, &None);
    Ok(())
}

/// Deals with a run that was claimed for an urgent message before its script may begin: it ends without it.
async fn end_before_it_begins(host: &Arc<Shared>, claim: &Claim) -> Result<(), HostError> {
    let run = claim.run.clone();
    let urgent = host.store.blocking(move |world| first_urgent(world, &run)).await?;
    match urgent {
        Urgent::End(body) => try_to_end(host, claim, body).await,
        // Its turn came and went, say, or somebody else has dealt with the message.
        Urgent::None => {
            release(host, claim).await?;
            if !host.config.adopt {
                host.runtime.own.lock().insert(claim.run.clone());
            }
            Ok(())
        }
        // From a newer host, say. Left there it would be claimed for it again and again.
        Urgent::Unknown => {
            let reason = "an urgent message waits for it that this version of durhai does not know: let a host of the \
                          version that sent it unpark the run, or cancel it";
            tracing::warn!(run = %claim.run, "run {} is parked: {reason}", claim.run);
            let note = json!({ "reason": reason });
            let row = Row { status: Status::Parked, wake_at: None, note, ..claim.row.clone() };
            commit_row(host, claim, row).await?;
            release(host, claim).await?;
            host.runtime.waiters.wake(&claim.run, &None);
            Ok(())
        }
    }
}

/// The same in the background. Where it fails the claim is given back after a moment, and the run is claimed anew.
pub(crate) fn end_soon(host: &Arc<Shared>, claim: Claim) {
    let host = host.clone();
    host.tokio.clone().spawn(async move {
        let Err(error) = end_before_it_begins(&host, &claim).await else { return };
        let run = &claim.run;
        tracing::warn!(%run, "run {run} was to end before it began: {error}");
        tokio::select! {
            () = tokio::time::sleep(*LOOK_AGAIN.end()) => {}
            () = host.life.stopping.cancelled() => {}
        }
        give_back(&host, &claim);
    });
}

/// Parks a run that is held under that fence, in the background: what it was to have written cannot be stored, and an operator must
/// look. Where that fails the claim is given back all the same.
pub(crate) fn park_soon(host: &Arc<Shared>, run: RunId, fence: u64, reason: String) {
    let host = host.clone();
    host.tokio.clone().spawn(async move {
        let parked = async {
            let mut commit = Commit::new(run.clone(), fence);
            let row = host.store.known(&run).await?;
            commit.row = Some(Row { status: Status::Parked, wake_at: None, note: json!({ "reason": reason }), ..row });
            host.store.ask(Write::Commit(Box::new(commit))).await?.map_err(refusal)
        };
        match parked.await {
            Ok(_) => tracing::warn!(%run, status = "parked", "run {run} is parked: {reason}"),
            Err(error) => tracing::error!(%run, "run {run} could not be parked: {error}"),
        }
        host.store.write(Write::Release { run: run.clone(), fence }, Then::Reply(oneshot::channel().0));
        host.runtime.waiters.wake(&run, &None);
    });
}

/// A new row outside of any turn.
pub(crate) async fn commit_row(host: &Shared, claim: &Claim, row: Row) -> Result<(), HostError> {
    let mut commit = Commit::new(claim.run.clone(), claim.fence);
    commit.row = Some(row);
    commit.progress = true;
    host.store.ask(Write::Commit(Box::new(commit))).await?.map(drop).map_err(refusal)
}

pub(crate) async fn release(host: &Shared, claim: &Claim) -> Result<(), HostError> {
    let write = Write::Release { run: claim.run.clone(), fence: claim.fence };
    host.store.ask(write).await?.map(drop).map_err(refusal)
}

/// The same where nobody waits for it: something else failed, for which the run was claimed.
pub(crate) fn give_back(host: &Shared, claim: &Claim) {
    let write = Write::Release { run: claim.run.clone(), fence: claim.fence };
    host.store.write(write, Then::Reply(oneshot::channel().0));
}

/// What urgent messages say of a run that has not begun.
enum Urgent {
    /// There is none.
    None,
    /// What the first one that ends the run makes of it.
    End(EventBody),
    /// There are only such as this version does not know.
    Unknown,
}

fn first_urgent(world: &dyn World, run: &RunId) -> Result<Urgent, WorldError> {
    const PAGE: usize = 256;
    let (mut after, mut found) = (0, Urgent::None);
    loop {
        let messages = world.inbox(run, after, PAGE)?;
        let Some(last) = messages.last() else { return Ok(found) };
        after = last.index;
        for message in messages.into_iter().filter(|message| message.urgent) {
            match Message::decode(&message.bytes).and_then(Message::into_end) {
                Some(end) => return Ok(Urgent::End(end)),
                None => found = Urgent::Unknown,
            }
        }
    }
}

/// Lets a parked run try again; see [`Run::unpark`](crate::Run::unpark).
pub(crate) async fn unpark(host: &Arc<Shared>, run: &RunId) -> Result<(), HostError> {
    let status = host.store.known(run).await?.status;
    if status != Status::Parked {
        return Err(HostError::Conflict(format!("run {run} is {status}, not parked")));
    }
    let (within, run) = (host.clone(), run.clone());
    to_its_end(host, async move { go_on(&within, &run, Some(0)).await }).await
}

/// Gives a parked run back as one that goes on, and is due then. Not to be dropped half-way.
pub(crate) async fn go_on(host: &Arc<Shared>, run: &RunId, wake_at: Option<Millis>) -> Result<(), HostError> {
    let claim = claim_run(host, run).await?;
    let status = if claim.row.started_at.is_some() { Status::Running } else { Status::Pending };
    let row = Row { status, wake_at, note: Value::Null, ..claim.row.clone() };
    commit_row(host, &claim, row).await.inspect_err(|_| give_back(host, &claim))?;
    release(host, &claim).await?;
    host.runtime.claimer.wake();
    Ok(())
}
