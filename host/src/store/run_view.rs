//! A run as it is shown: its row with what is in the first and the last events of its log.

use std::sync::Arc;

use durhai_core::{EventBody, RunId, Status, Value};
use durhai_world::{Admission, Query, Queue, Row, World, WorldError};
use tokio::sync::oneshot;

use crate::error::HostError;
use crate::logs::lineage;
use crate::runtime::command::WorkerCommand;
use crate::runtime::others;
use crate::shared::Shared;
use crate::store::rows::{decode, first_event};
use crate::store::streams::STATE;
use crate::view::{Listing, Outlook, PlaceView, RunView};

/// Runs that have a place and are named to one that waits.
const HOLDERS: usize = 20;

/// A run as it stands now: what its tasks wait for says its worker, if it is in memory.
pub(crate) async fn current(host: &Arc<Shared>, run: &RunId) -> Result<RunView, HostError> {
    let mut view = stored(host, run).await?.ok_or_else(|| HostError::no_run(run))?;
    if !view.status.is_terminal() && view.status != Status::Parked {
        let (reply, answer) = oneshot::channel();
        let workers = &host.runtime.workers;
        workers.send(workers.of(run), WorkerCommand::Describe { run: run.clone(), reply });
        // A run that is not in memory leaves the question unanswered; its row knows what it waits for.
        if let Ok(waiting_for) = answer.await {
            view.waiting_for = waiting_for;
            if host.store.is_local && view.holder.is_none() {
                view.holder = Some(others::alone());
            }
        }
    }
    Ok(view)
}

/// How far it is in this host's memory; none if it is not there.
pub(crate) async fn outlook(host: &Arc<Shared>, run: &RunId) -> Option<Outlook> {
    let (reply, answer) = oneshot::channel();
    let workers = &host.runtime.workers;
    workers.send(workers.of(run), WorkerCommand::Outlook { run: run.clone(), reply });
    answer.await.ok()
}

async fn stored(host: &Arc<Shared>, run: &RunId) -> Result<Option<RunView>, HostError> {
    let (run, own) = (run.clone(), host.store.lease.holder().name);
    let look = move |world: &dyn World| {
        let Some(row) = world.row(&run)? else { return Ok(None) };
        let forks = lineage::forks(world, &run)?;
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
        let holder = if row.status.is_terminal() { None } else { others::holder(world, &own, &run)? };
        let retried_as = created.map(|created| lineage::retried_as(world, row.status, &created));
        let retried_as = retried_as.transpose()?.flatten();
        Ok(Some(RunView { forks, retried_as, place, holder, ..view(world, row)? }))
    };
    host.store.blocking(look).await
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
        holder: None,
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
        view.retry_of = lineage::retry_of(&created).cloned();
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
                Some(EventBody::RunCompleted { output }) => view.output = Arc::unwrap_or_clone(output),
                Some(EventBody::RunFailed { error }) => view.error = Some(error),
                Some(EventBody::RunCancelled { reason }) => {
                    view.reason = Some(reason).filter(|reason| !reason.is_empty())
                }
                Some(EventBody::RunContinued { next }) => view.next = Some(next),
                _ => {}
            }
        }
    }
    Ok(view)
}

/// See [`Host::list`](crate::Host::list).
pub(crate) async fn list(host: &Arc<Shared>, query: Query) -> Result<Listing, HostError> {
    host.store
        .blocking(move |world| {
            let page = world.list(&query)?;
            let runs = page.rows.into_iter().map(|row| view(world, row)).collect::<Result<_, _>>()?;
            Ok(Listing { runs, next: page.next })
        })
        .await
}
