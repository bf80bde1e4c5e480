//! How workers ask a world that is not local: others read for them, and what was found comes as a command.
//!
//! Each read is for one run, and its answer says for which claim of it: what comes for a run that was given back meanwhile, or
//! claimed anew, is for nobody.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use durhai_core::{Event, EventBody, RunId, Version};
use durhai_world::{Claim, World, WorldError};

use crate::error::{Unready, panic_text};
use crate::runtime::asked::{self, Ask, Brought, InboxPlace, InboxRead, versions_in};
use crate::runtime::command::WorkerCommand;
use crate::runtime::lease::OwnClaim;
use crate::runtime::run_shared::RunShared;
use crate::shared::Shared;

/// Reads all that a claimed run is begun with. `history`: its log, where that is at hand.
pub(crate) fn bring(host: &Arc<Shared>, claim: Box<OwnClaim>, history: Option<Vec<Event>>) {
    let rebuilt = history.is_none();
    read(host, move |host, world| {
        let read = brought(host, world, &claim, history);
        let worker = host.runtime.workers.of(&claim.run);
        host.runtime.workers.send(worker, WorkerCommand::Brought { claim, rebuilt, read: read.map(Box::new) });
    });
}

fn brought(host: &Shared, world: &dyn World, claim: &Claim, history: Option<Vec<Event>>) -> Result<Brought, Unready> {
    let (history, log_bytes) = match history {
        Some(history) => (history, 0),
        None => crate::logs::read::read(world, &claim.run)?,
    };
    let bundle = host.versions.bundle(world, &claim.row.version)?;
    know_texts(host, world, &history);
    let inbox = InboxRead::of(world, &claim.run, InboxPlace::BEGIN, host.store.clock.now())?;
    Ok(Brought { history, log_bytes, bundle, inbox })
}

/// Reports that a worker may have to make show lines of these texts. One that cannot be had is left out there.
fn know_texts(host: &Shared, world: &dyn World, log: &[Event]) {
    versions_in(log).for_each(|version| drop(host.versions.bundle(world, version)));
}

/// Reads the inbox of a run in memory.
pub(crate) fn read_inbox(host: &Arc<Shared>, run: &Arc<RunShared>, place: InboxPlace) {
    let run = run.clone();
    read(host, move |host, world| {
        let read = InboxRead::of(world, &run.id, place, host.store.clock.now());
        host.runtime.workers.send(run.worker, WorkerCommand::Inbox { run, read });
    });
}

/// Looks for what the turn of a run cannot end without.
pub(crate) fn look(host: &Arc<Shared>, run: &Arc<RunShared>, fence: u64, asks: Vec<Ask>) {
    let run = run.clone();
    read(host, move |host, world| {
        let look = |ask: Ask| asked::look(world, &run.id, fence, &ask).map(|seen| (ask, seen));
        let seen = asks.into_iter().map(look).collect();
        host.runtime.workers.send(run.worker, WorkerCommand::Seen { run, seen });
    });
}

/// Reads the log of a run that is to move to this version.
pub(crate) fn read_log(host: &Arc<Shared>, run: &Arc<RunShared>, to: Version) {
    let run = run.clone();
    read(host, move |host, world| {
        let log = || -> Result<_, Unready> {
            let (history, bytes) = crate::logs::read::read(world, &run.id)?;
            know_texts(host, world, &history);
            Ok((history, bytes, host.versions.bundle(world, &to)?))
        };
        let read = log();
        host.runtime.workers.send(run.worker, WorkerCommand::LogRead { run, read });
    });
}

/// Looks for messages of runs in memory behind the index that is given with each.
pub(crate) fn look_for_messages(host: &Arc<Shared>, worker: usize, runs: Vec<(RunId, u64)>) {
    read(host, move |host, world| {
        let runs = world.unread(&runs).unwrap_or_else(|error| {
            tracing::debug!("the inboxes of runs cannot be looked at: {error}");
            Vec::new()
        });
        host.runtime.workers.send(worker, WorkerCommand::Unread { runs });
    });
}

/// Has something read for a worker.
fn read(host: &Arc<Shared>, read: impl FnOnce(&Arc<Shared>, &dyn World) + Send + 'static) {
    let host = host.clone();
    host.runtime.readers.clone().ask(&host.tokio.clone(), move || {
        // A worker waits for the answer, so none may be missing: a world that panics has failed.
        let done = catch_unwind(AssertUnwindSafe(|| read(&host, &*host.store.world)));
        if let Err(panic) = done {
            let text = panic_text(&*panic).unwrap_or("no message");
            host.fail(Arc::new(WorldError::Unavailable(format!("the world panicked: {text}"))));
        }
    });
}

/// Whether a run that was just created needs nothing from the world to begin.
pub(crate) fn is_at_hand(host: &Shared, claim: &Claim, history: Option<&[Event]>) -> bool {
    let Some([Event { body: EventBody::RunCreated(created), .. }]) = history else { return false };
    // One that goes on for another has its messages.
    created.chain.is_none()
        && created.origin.is_none()
        && claim.row.started_at.is_some()
        && host.versions.texts.known(&claim.row.version).is_some()
}
