//! Moving live runs to another version.
//!
//! A run moves by one commit: the event `run_migrated` and the row with the new version, under its claim, after its whole
//! log was replayed against the new text. A run that no host holds is claimed for that, and given back. One that is in
//! memory here moves on its worker (`runtime/worker/switch_version.rs`), where nothing of what it has under way is lost. One that
//! another host holds is sent a message, on which that host does the same.

use std::sync::Arc;
use std::time::Instant;

use durhai_core::{RunId, Status, Version};
use durhai_engine::Bundle;
use durhai_world::{Query, WorldError};

use crate::error::HostError;
use crate::shared::Shared;
use crate::versions::compat::fit::{CompatCheck, Fit};
use crate::versions::compat::report::{CompatVerdict, MigrateReport, Migration};
use crate::versions::compat::sweep::walk;
use crate::versions::known;
use crate::versions::moves::{Aim, Elsewhere, MoveOutcome};
use crate::versions::reload;

/// See [`Run::migrate`](crate::Run::migrate).
pub(crate) async fn migrate(
    host: &Arc<Shared>,
    run: &RunId,
    to: Option<Version>,
    dry_run: bool,
) -> Result<Migration, HostError> {
    let row = host.store.known(run).await?;
    let ended = |status: Status| {
        HostError::Conflict(format!("run {run} is {status}: only a run that has not ended can be moved"))
    };
    if row.status.is_terminal() {
        return Err(ended(row.status));
    }
    if to.is_none() {
        reload::look_first(host, &row.workflow).await?;
    }
    let (to, bundle) = target(host, &row.workflow, to).await?;
    let (from, version, shared) = (row.version.clone(), to.clone(), host.clone());
    let work = move || -> Result<MoveOutcome, WorldError> {
        let stop = || shared.life.is_stopping();
        let check = CompatCheck::new(&shared, version, &bundle);
        if dry_run {
            return Ok(match check.run(&row, &stop)? {
                Fit::Fits(_) => MoveOutcome::Already,
                Fit::Not(verdict) => MoveOutcome::Not(verdict),
                Fit::Ended => MoveOutcome::Ended,
                Fit::Stopped => MoveOutcome::Stopped,
            });
        }
        let begun = check.begin_move(&row, true, &stop)?;
        check.finish_move(&row, begun, (true, Elsewhere::Await), &stop)
    };
    let outcome = host.tokio.spawn_blocking(work).await.map_err(|_| HostError::Closed)??;
    let workflow = host.store.row(run).await?.map(|row| row.workflow).unwrap_or_default();
    let done = |moved, verdict: CompatVerdict| Migration {
        run: run.clone(),
        from,
        to,
        dry_run,
        moved,
        place: verdict.place(&workflow),
        verdict,
    };
    match outcome {
        MoveOutcome::Moved => Ok(done(true, CompatVerdict::Compatible)),
        MoveOutcome::Already => Ok(done(false, CompatVerdict::Compatible)),
        MoveOutcome::Not(verdict) => Ok(done(false, verdict)),
        MoveOutcome::Elsewhere => Err(HostError::Conflict(format!(
            "run {run} is held by another host, which was asked to move it and has not yet: look at its version in a moment; if it \
             stays, ask that host itself"
        ))),
        MoveOutcome::Ended => Err(ended(host.store.known(run).await?.status)),
        MoveOutcome::Stopped => match host.life.failure() {
            Some(error) => Err(HostError::world(&error)),
            None => Err(HostError::Closed),
        },
    }
}

/// See [`Host::migrate`](crate::Host::migrate).
pub(crate) async fn migrate_all(
    host: &Arc<Shared>,
    query: Query,
    to: Option<Version>,
    dry_run: bool,
) -> Result<MigrateReport, HostError> {
    let Some(workflow) = query.workflow.clone() else {
        return Err(HostError::Invalid("say which workflow's runs are to be moved".into()));
    };
    if let Some(status) = query.status.iter().find(|status| status.is_terminal()) {
        return Err(HostError::Conflict(format!("runs that are {status} cannot be moved: they have ended")));
    }
    if to.is_none() {
        reload::look_first(host, &workflow).await?;
    }
    let (to, bundle) = target(host, &workflow, to).await?;
    let (version, shared) = (to.clone(), host.clone());
    let began = Instant::now();
    let aim = if dry_run { Aim::Look } else { Aim::Move { unpark: true, elsewhere: Elsewhere::Ask } };
    let work = move || walk(&shared, (&version, &bundle), query, aim, &mut || false);
    let tally = host.tokio.spawn_blocking(work).await.map_err(|_| HostError::Closed)??;
    let tally = tally.ok_or(HostError::Closed)?;
    Ok(MigrateReport {
        workflow,
        to,
        dry_run,
        live: tally.live,
        compatible: tally.compatible,
        moved: tally.moved,
        already: tally.already,
        diverging: tally.diverging,
        failing: tally.failing,
        unreadable: tally.unreadable,
        elsewhere: tally.elsewhere,
        first: tally.first,
        runs: tally.runs,
        micros: began.elapsed().as_micros() as u64,
    })
}

/// The version to move to, with its texts.
async fn target(host: &Arc<Shared>, workflow: &str, to: Option<Version>) -> Result<(Version, Arc<Bundle>), HostError> {
    let to = match to {
        Some(to) => to,
        None => match host.versions.serving(workflow) {
            Ok(serving) => serving.version,
            Err(_) => {
                // It does not serve here: what served last.
                let name = workflow.to_owned();
                let pointed = host.store.blocking(move |world| known::pointed(world, &name)).await?;
                pointed.ok_or_else(|| {
                    HostError::NotFound(format!("no version of the workflow {workflow:?} has served in this store"))
                })?
            }
        },
    };
    let (version, within) = (to.clone(), host.clone());
    let bundle = host.store.blocking(move |world| Ok(within.versions.bundle(world, &version))).await?;
    bundle.map(|bundle| (to, bundle)).map_err(|error| error.into_host(HostError::NotFound))
}
