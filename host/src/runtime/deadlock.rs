//! Runs that can never begin, because those that hold the places they wait for wait for them.
//!
//! A run that another one waits for (`run_workflow`) may have to wait to be admitted. If all runs that are admitted under its
//! limit are its own ancestors, or wait in their turn for runs under limits where that is so, none of them ends before it has begun. Such a
//! circle is closed by a run that comes to its limit; so each that another one waits for is looked at when it came and has to wait, and at the start of a host. The one that
//! closes it fails with `limit`, and the run that waits for it is told.

use std::collections::HashMap;
use std::sync::Arc;

use durhai_core::{EventBody, Failure, FailureKind, RunId, Status};
use durhai_world::{Admission, Query, Queue, Row, World, WorldError};

use crate::error::HostError;
use crate::runtime::claims;
use crate::shared::Shared;

/// Places of one limit that are looked at; where there are more, some of them will come free.
const INSIDE: usize = 100;

/// Runs that are looked at in all.
const MOST: usize = 2_000;

const LIVE: [Status; 5] = [Status::Pending, Status::Running, Status::Waiting, Status::Suspended, Status::Parked];

/// What an examination found so far.
struct Look<'a> {
    world: &'a dyn World,
    /// By the key of the limit: whether no run that is admitted can end. One that is still being looked at counts as one where none can.
    stuck: HashMap<String, bool>,
    /// Those where none can, in the order that was found.
    found: Vec<String>,
    /// Key and limit, the run that holds a place, and the run it waits for.
    held: Vec<(String, u32, RunId, RunId)>,
    left: usize,
}

impl Look<'_> {
    /// Whether no run that is admitted ends before another one is let in.
    fn is_stuck(&mut self, queue: &Queue) -> Result<bool, WorldError> {
        if let Some(known) = self.stuck.get(&queue.key) {
            return Ok(*known);
        }
        self.stuck.insert(queue.key.clone(), true);
        let (found, held) = (self.found.len(), self.held.len());
        let mut stuck = queue.admitted > 0 && queue.holders.len() as u64 == queue.admitted;
        for holder in &queue.holders {
            if !stuck {
                break;
            }
            match self.waits_in_vain(holder)? {
                Some(waits) => self.held.push((queue.key.clone(), queue.limit, holder.clone(), waits)),
                None => stuck = false,
            }
        }
        if stuck {
            self.found.push(queue.key.clone());
        } else {
            // What was found on the assumption that it is has to be looked at again.
            for key in self.found.drain(found..) {
                self.stuck.remove(&key);
            }
            self.held.truncate(held);
            self.stuck.insert(queue.key.clone(), false);
        }
        Ok(stuck)
    }

    /// The run below this one that waits where no run that is admitted can end.
    fn waits_in_vain(&mut self, run: &RunId) -> Result<Option<RunId>, WorldError> {
        let query = Query { parent: Some(run.clone()), status: LIVE.to_vec(), limit: INSIDE, ..Query::default() };
        for child in self.world.list(&query)?.rows {
            let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
            self.left = left;
            let waits = waiting(self.world, &child)?;
            let found = match &waits {
                Some(queue) if self.is_stuck(queue)? => Some(child.run.clone()),
                Some(_) => None,
                None => self.waits_in_vain(&child.run)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

fn waiting(world: &dyn World, row: &Row) -> Result<Option<Queue>, WorldError> {
    if row.concurrency.is_none() || row.status != Status::Pending {
        return Ok(None);
    }
    Ok(world.queue(&row.run, INSIDE)?.filter(|queue| queue.admission == Admission::Waiting))
}

/// Whether a run that waits for this one may hold a place somewhere: if none does, this one closes no circle.
fn is_below_a_limit(world: &dyn World, row: &Row) -> Result<bool, WorldError> {
    let mut above = row.parent.clone();
    while let Some(parent) = above.take() {
        let Some(row) = world.row(&parent)? else { return Ok(false) };
        if row.concurrency.is_some() {
            return Ok(true);
        }
        above = row.parent;
    }
    Ok(false)
}

/// Why this run will never begin, if that is so.
fn circle(world: &dyn World, run: &RunId) -> Result<Option<String>, WorldError> {
    let Some(row) = world.row(run)? else { return Ok(None) };
    if !is_below_a_limit(world, &row)? {
        return Ok(None);
    }
    let Some(queue) = waiting(world, &row)? else { return Ok(None) };
    let mut look = Look { world, stuck: HashMap::new(), found: Vec::new(), held: Vec::new(), left: MOST };
    if !look.is_stuck(&queue)? {
        return Ok(None);
    }
    let held = look.held.iter().map(|(key, limit, holder, waits)| {
        format!("a place of {key:?} (limit {limit}) is held by run {holder}, which waits for run {waits}")
    });
    let mut held: Vec<_> = held.collect();
    let more = held.len().saturating_sub(8);
    held.truncate(8);
    if more > 0 {
        held.push(format!("and {more} more"));
    }
    Ok(Some(format!(
        "run {run} can never begin: it waits for a place of {:?} (limit {}), and nobody there leaves before it has ended: {}. Give the \
         workflow a higher `concurrency`, or begin the run with `start_workflow`, which nobody waits for",
        queue.key,
        queue.limit,
        held.join("; ")
    )))
}

/// A run that another one waits for was created and does not begin: ends it if it never will.
pub(crate) fn look_for_circle(host: &Arc<Shared>, run: RunId) {
    let host = host.clone();
    host.tokio.clone().spawn(async move {
        match end_circle(&host, &run).await {
            Ok(()) | Err(HostError::Closed) => {}
            Err(error) => tracing::warn!(%run, "nobody knows whether run {run} can ever begin: {error}"),
        }
    });
}

async fn end_circle(host: &Arc<Shared>, run: &RunId) -> Result<(), HostError> {
    // Of several that close circles at the same moment one may be enough.
    let _one_at_a_time = host.runtime.deadlock_search.lock().await;
    let now = host.store.clock.now();
    let id = run.clone();
    let Some(why) = host.store.blocking(move |world| circle(world, &id)).await? else { return Ok(()) };
    let (id, holder) = (run.clone(), host.store.lease.holder());
    match host.store.blocking(move |world| world.claim_run(&id, &holder, now)).await? {
        None => Ok(()),
        Some(claim) if claim.admitted => claims::release(host, &claim).await,
        Some(claim) => {
            tracing::warn!(%run, "{why}");
            let error = Failure::new(FailureKind::Limit, why);
            claims::end_held(host, &claim, EventBody::RunFailed { error }).await
        }
    }
}

/// Looks at all that wait, when a host comes up: the host that closed a circle may have died before it looked.
pub(crate) fn look_for_circles(host: &Arc<Shared>) -> Result<(), WorldError> {
    let mut query = Query { status: vec![Status::Pending], limit: 1_000, ..Query::default() };
    while !host.life.is_stopping() {
        let page = host.store.world.list(&query)?;
        let of_others = page.rows.into_iter().filter(|row| row.parent.is_some() && row.concurrency.is_some());
        of_others.for_each(|row| look_for_circle(host, row.run));
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    Ok(())
}
