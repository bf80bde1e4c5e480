//! Waiting for the end of a run, be it here or in another host.

use std::sync::Arc;
use std::time::Duration;

use durhai_core::{RunId, Status};

use crate::error::HostError;
use crate::logs::lineage;
use crate::shared::Shared;
use crate::store::run_view;
use crate::view::RunView;

/// How long a caller that waits goes without looking, at most: the run's host may be another one.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(4);

/// Until the run has ended or is parked; of a chain the last run counts.
pub(crate) async fn wait(host: &Arc<Shared>, run: &RunId) -> Result<RunView, HostError> {
    let mut run = run.clone();
    loop {
        let view = wait_for_one(host, &run).await?;
        if view.status != Status::Continued {
            return Ok(view);
        }
        let id = run.clone();
        let latest = host.store.blocking(move |world| lineage::latest(world, &id)).await?;
        match view.next {
            _ if latest != run => run = latest,
            Some(next) => run = next,
            None => return Ok(view),
        }
    }
}

async fn wait_for_one(host: &Arc<Shared>, run: &RunId) -> Result<RunView, HostError> {
    let at_rest = |status: Status| status.is_terminal() || status == Status::Parked;
    let mut timeout = LOOK_AGAIN / 16;
    let mut settled = host.runtime.waiters.register(run);
    let mut status = host.store.known(run).await?.status;
    loop {
        if at_rest(status) {
            return run_view::current(host.running()?, run).await;
        }
        if let Some(error) = host.life.failure() {
            return Err(HostError::world(&error));
        }
        tokio::select! {
            _ = &mut settled => {}
            // Another host may have the run, which tells this one nothing.
            () = tokio::time::sleep(timeout) => timeout = (timeout * 2).min(LOOK_AGAIN),
            () = host.life.closing.cancelled() => return Err(HostError::Closed),
        }
        settled = host.runtime.waiters.register(run);
        let view = run_view::current(host.running()?, run).await?;
        if at_rest(view.status) {
            return Ok(view);
        }
        status = view.status;
    }
}
