//! Waiting for the end of a run, be it here or in another host.

use std::sync::Arc;

use durhai_core::{RunId, Status};

use crate::error::HostError;
use crate::logs::lineage;
use crate::runtime::elsewhere::{self, LOOK_AGAIN};
use crate::shared::Shared;
use crate::store::run_view;
use crate::view::RunView;

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
    let mut settled = host.runtime.waiters.register(run);
    // Most runs end soon: others have hosts that tell this one nothing.
    let mut following = None;
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
            () = tokio::time::sleep(*LOOK_AGAIN.start()), if following.is_none() => {
                following = Some(elsewhere::follow(host, run));
            }
            () = elsewhere::changed(following.as_mut()) => {}
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
