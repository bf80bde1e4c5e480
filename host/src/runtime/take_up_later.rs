//! Runs that could not be read at this moment are tried again.

use std::sync::Arc;
use std::time::Duration;

use durhai_core::RunId;
use durhai_world::WorldError;

use crate::runtime::claims;
use crate::runtime::command::WorkerCommand;
use crate::runtime::delayed_claims::WAITS;
use crate::runtime::lease::OwnClaim;
use crate::runtime::run_shared::RunShared;
use crate::shared::Shared;

/// Takes the run up again after a while. It is not parked: nothing is known to be wrong with it.
pub(crate) fn adopt_later(host: &Arc<Shared>, claim: OwnClaim, error: &WorldError) {
    let run = claim.run.clone();
    let wait = host.runtime.delayed.keep(claim);
    tracing::warn!(%run, "run {run} cannot be read at this moment and is tried again in {wait:?}: {error}");
    after(host, wait, move |host| {
        if let Some(claim) = host.runtime.delayed.take(&run) {
            claims::adopt(host, *claim, None);
        }
    });
}

/// Has the messages of a run that is in memory read after a while.
pub(crate) fn read_inbox_later(host: &Arc<Shared>, run: &RunId, error: &WorldError) {
    tracing::warn!(%run, "the messages for run {run} cannot be read at this moment: {error}");
    let run = run.clone();
    after(host, *WAITS.start(), move |host| {
        host.runtime.workers.send(host.runtime.workers.of(&run), WorkerCommand::Message(run))
    });
}

/// Has the script of a run go on after a while, whose turn the world could not be asked about. Also where the host stops: the run is
/// given back then.
pub(crate) fn ask_later(host: &Arc<Shared>, run: &Arc<RunShared>, error: &WorldError) {
    tracing::warn!(run = %run.id, "run {} waits for the world, which does not answer at this moment: {error}", run.id);
    let (host, run) = (host.clone(), run.clone());
    host.tokio.clone().spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(*WAITS.start()) => {}
            () = host.life.stopping.cancelled() => {}
        }
        host.runtime.workers.send(run.worker, WorkerCommand::Stored { run });
    });
}

/// Unless the host stops before.
fn after(host: &Arc<Shared>, wait: Duration, act: impl FnOnce(&Arc<Shared>) + Send + 'static) {
    let host = host.clone();
    host.tokio.clone().spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(wait) => act(&host),
            () = host.life.stopping.cancelled() => {}
        }
    });
}
