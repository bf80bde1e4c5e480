//! Ending a run from outside: its script is asked to stop, or not asked at all.

use std::sync::Arc;

use durhai_core::{EventBody, Failure, FailureKind, RunId, Status};
use durhai_world::Claim;

use crate::error::HostError;
use crate::messages::message::Message;
use crate::messages::post::post;
use crate::runtime::claims;
use crate::shared::Shared;

/// See [`Run::cancel`](crate::Run::cancel).
pub(crate) async fn cancel(host: &Arc<Shared>, run: &RunId, reason: &str) -> Result<(), HostError> {
    if end_idle(host, run, EventBody::RunCancelled { reason: reason.into() }).await? {
        return Ok(());
    }
    post(host, run, &Message::Cancel { reason: reason.into() }).await
}

/// See [`Run::terminate`](crate::Run::terminate).
pub(crate) async fn terminate(host: &Arc<Shared>, run: &RunId, reason: &str) -> Result<(), HostError> {
    let error = Failure::new(FailureKind::Terminated, reason);
    if end_idle(host, run, EventBody::RunFailed { error }).await? {
        return Ok(());
    }
    post(host, run, &Message::Terminate { reason: reason.into() }).await
}

/// Tells the successor of a run, if it has one by now, what the run was told when it may have ended already.
pub(crate) fn end_successor(host: &Arc<Shared>, run: RunId, reason: String, terminate: bool) {
    let host = host.clone();
    host.tokio.clone().spawn(async move {
        let row = host.store.row(&run).await;
        if row.is_ok_and(|row| row.is_some_and(|row| row.status == Status::Continued)) {
            // It has ended, or the world has failed: then nothing is left to be told.
            let _ = post(&host, &run, &Message::end(reason, terminate)).await;
        }
    });
}

/// Ends a run whose script cannot be asked, if it is one.
async fn end_idle(host: &Arc<Shared>, run: &RunId, body: EventBody) -> Result<bool, HostError> {
    let (within, run) = (host.clone(), run.clone());
    let work = async move {
        match claim_idle(&within, &run).await? {
            Some(claim) => claims::end_held(&within, &claim, body).await.map(|()| true),
            None => Ok(false),
        }
    };
    claims::to_its_end(host, work).await
}

/// The claim on a run whose script cannot be asked: it is parked, or it has not begun, because it waits to be admitted or
/// its time has not come.
async fn claim_idle(host: &Arc<Shared>, run: &RunId) -> Result<Option<Claim>, HostError> {
    let row = host.store.known(run).await?;
    if row.status == Status::Parked {
        return claims::claim_run(host, run).await.map(|own| Some(own.claim));
    }
    let (id, holder, now) = (run.clone(), host.store.lease.holder(), host.store.clock.now());
    let later = row.status == Status::Pending && row.wake_at.is_some_and(|at| at > now);
    let claim = host.store.blocking(move |world| {
        if later || (row.concurrency.is_some() && world.waits(&id)?) {
            world.claim_run(&id, &holder, now)
        } else {
            Ok(None)
        }
    });
    match claim.await? {
        Some(claim) if claim.admitted => {
            // Its turn has just come.
            claims::release(host, &claim).await?;
            Ok(None)
        }
        claim => Ok(claim),
    }
}
