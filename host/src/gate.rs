//! The gate: before a new version of a workflow serves, the logs of its live runs are replayed against it.
//!
//! Nothing is written and nothing is started by that; logs are read one at a time, on threads of their own, so the runs go
//! on meanwhile. `on_reload` of the new text decides what follows: `pin` serves it and leaves the runs where they are,
//! `upgrade` also moves those that fit, `refuse` lets the old version serve on as long as one does not.

mod report;
mod trial;
mod walk;

use std::sync::Arc;
use std::time::Instant;

use durhai_core::{Millis, RunId, Version};
use durhai_engine::header::OnReload;
use durhai_engine::{Bundle, Header};
use durhai_world::{Query, World, WorldError};

pub(crate) use self::report::Tally;
pub use self::report::{GateReport, GateVerdict, MigrateReport, Migration, Misfit};
pub(crate) use self::trial::{Fit, Trial, fit};
pub(crate) use self::walk::{Aim, walk};
use crate::error::Unready;
use crate::inner::Inner;
use crate::view::Report;

/// A version that compiled and does not serve yet.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub workflow: String,
    /// What serves.
    pub from: Version,
    pub version: Version,
    pub bundle: Arc<Bundle>,
    pub header: Arc<Header>,
    pub description: String,
    /// It serves already: what the gate says is about the runs only.
    pub served: bool,
}

/// A run that a version was refused for.
#[derive(Debug, Clone)]
pub(crate) struct Blocking {
    run: RunId,
    /// The last event of its log, where a longer log may fit.
    stood: Option<u64>,
}

/// Where the world keeps the last report of a workflow.
pub(crate) fn report_key(workflow: &str) -> String {
    format!("gate/{workflow}")
}

/// Where the world keeps that runs are being moved to the version that serves.
fn moving_key(workflow: &str) -> String {
    format!("moving/{workflow}")
}

/// Whether a workflow has live runs.
pub(crate) fn any_live(world: &dyn World, workflow: &str) -> Result<bool, WorldError> {
    Ok(world.run_counts()?.iter().any(|count| count.workflow == workflow && !count.status.is_terminal()))
}

/// Takes a candidate through the gate, and says what happened; `None` if `stopped` said so before it was through.
pub(crate) fn pass(
    inner: &Arc<Inner>,
    candidate: &Candidate,
    stopped: &mut dyn FnMut() -> bool,
) -> Result<Option<Vec<Report>>, WorldError> {
    let Candidate { workflow, from, version, bundle, header, .. } = candidate;
    let began = Instant::now();
    let query = Query { workflow: Some(workflow.clone()), ..Query::default() };
    let Some(tally) = walk(inner, (version, bundle), query, Aim::Look, stopped)? else { return Ok(None) };
    if tally.live > 0 {
        let Tally { compatible, diverging, failing, unreadable, .. } = tally;
        inner.meters.gated(workflow, [compatible, diverging, failing, unreadable, 0], began.elapsed());
    }
    let micros = began.elapsed().as_micros() as u64;
    let world = &*inner.world;
    if tally.live == 0 && candidate.served {
        return Ok(Some(Vec::new()));
    }
    if tally.live == 0 {
        return Ok(Some(vec![inner.catalog.serve(world, candidate)?]));
    }
    let refused = header.on_reload == OnReload::Refuse && tally.misfits() > 0;
    let upgrade = header.on_reload == OnReload::Upgrade;
    let mut report = report(candidate, tally, inner.clock.now(), !refused, micros);
    report.from = Some(from.clone());
    let last = if refused {
        let blocking = blocking(world, &report)?;
        inner.catalog.refuse(candidate, refusal(&report), blocking)
    } else {
        note_upgrade(world, candidate)?;
        let served = match candidate.served {
            true => Report::Loaded { workflow: workflow.clone(), version: version.clone() },
            false => inner.catalog.serve(world, candidate)?,
        };
        if upgrade {
            // Those that came or went on since are looked at as they are now.
            report.moved = move_all(inner, candidate, stopped)?.unwrap_or(0);
        }
        served
    };
    let bytes = serde_json::to_vec(&report).expect("a report is JSON");
    world.put_meta(&report_key(workflow), &bytes)?;
    let gated = Report::Gated(Box::new(report));
    let _ = inner.catalog.reports.send(gated.clone());
    let _ = inner.catalog.reports.send(last.clone());
    Ok(Some(vec![gated, last]))
}

/// Before a version serves whose runs are to move: if the host dies before they have, the next one moves them.
pub(crate) fn note_upgrade(world: &dyn World, candidate: &Candidate) -> Result<(), WorldError> {
    match candidate.header.on_reload {
        OnReload::Upgrade => world.put_meta(&moving_key(&candidate.workflow), candidate.version.as_str().as_bytes()),
        OnReload::Pin | OnReload::Refuse => Ok(()),
    }
}

/// Goes on with what a host could not finish: runs that are to move to the version that serves.
pub(crate) fn resume(
    inner: &Arc<Inner>,
    workflow: &str,
    stopped: &mut dyn FnMut() -> bool,
) -> Result<Option<u64>, WorldError> {
    let world = &*inner.world;
    let Some(bytes) = world.meta(&moving_key(workflow))? else { return Ok(Some(0)) };
    let Ok(serving) = inner.catalog.serving(workflow) else { return Ok(Some(0)) };
    if bytes != serving.version.as_str().as_bytes() || serving.header.on_reload != OnReload::Upgrade {
        world.remove_meta(&moving_key(workflow))?;
        return Ok(Some(0));
    }
    let bundle = match inner.catalog.bundle(world, &serving.version) {
        Ok(bundle) => bundle,
        Err(Unready::World(error)) => return Err(error),
        Err(Unready::Wrong(_)) => return Ok(Some(0)),
    };
    let candidate = Candidate {
        workflow: workflow.into(),
        from: serving.version.clone(),
        version: serving.version,
        bundle,
        header: serving.header,
        description: String::new(),
        served: true,
    };
    move_all(inner, &candidate, stopped)
}

/// How many moved; `None` if it was stopped.
fn move_all(
    inner: &Arc<Inner>,
    candidate: &Candidate,
    stopped: &mut dyn FnMut() -> bool,
) -> Result<Option<u64>, WorldError> {
    let Candidate { workflow, version, bundle, .. } = candidate;
    let query = Query { workflow: Some(workflow.clone()), ..Query::default() };
    let Some(tally) = walk(inner, (version, bundle), query, Aim::Move { unpark: false }, stopped)? else {
        return Ok(None);
    };
    inner.world.remove_meta(&moving_key(workflow))?;
    inner.meters.moved(workflow, tally.moved);
    Ok(Some(tally.moved))
}

fn report(candidate: &Candidate, tally: Tally, at: Millis, served: bool, micros: u64) -> GateReport {
    let policy = match candidate.header.on_reload {
        OnReload::Pin => "pin",
        OnReload::Upgrade => "upgrade",
        OnReload::Refuse => "refuse",
    };
    GateReport {
        workflow: candidate.workflow.clone(),
        from: None,
        to: candidate.version.clone(),
        policy: policy.into(),
        at,
        live: tally.live,
        compatible: tally.compatible,
        diverging: tally.diverging,
        failing: tally.failing,
        unreadable: tally.unreadable,
        first: tally.first,
        runs: tally.runs,
        moved: 0,
        served,
        micros,
    }
}

/// What a workflow shows as its error while it is refused.
fn refusal(report: &GateReport) -> String {
    let named: Vec<_> = report.runs.iter().take(5).map(|misfit| misfit.run.to_string()).collect();
    let all = report.live - report.compatible;
    let more = if all > named.len() as u64 { format!(" and {} more", all - named.len() as u64) } else { String::new() };
    format!(
        "on_reload is \"refuse\", and live runs do not fit version {}: {}{more}\n{report}\nIt serves as soon as those have \
         ended; `durhai migrate {} --to {} --dry-run` shows how they stand.",
        report.to.short(),
        named.join(", "),
        report.workflow,
        report.to.short(),
    )
}

fn blocking(world: &dyn World, report: &GateReport) -> Result<Vec<Blocking>, WorldError> {
    let stands = |misfit: &Misfit| {
        // What diverges will not fit later.
        let stood = match misfit.verdict {
            GateVerdict::Diverges { .. } => None,
            _ => last_event(world, &misfit.run)?,
        };
        Ok(Blocking { run: misfit.run.clone(), stood })
    };
    report.runs.iter().map(stands).collect()
}

/// Whether none of these runs stands in the way any more.
pub(crate) fn out_of_the_way(world: &dyn World, blocking: &[Blocking]) -> Result<bool, WorldError> {
    for Blocking { run, stood } in blocking {
        let lives = world.row(run)?.is_some_and(|row| !row.status.is_terminal());
        if lives && (stood.is_none() || *stood == last_event(world, run)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn last_event(world: &dyn World, run: &RunId) -> Result<Option<u64>, WorldError> {
    Ok(world.log_tail(run)?.map(|tail| tail.first + u64::from(tail.count) - 1))
}
