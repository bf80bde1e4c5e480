//! Before a new version of a workflow serves, the logs of its live runs are replayed against it.
//!
//! Nothing is written and nothing is started by that; logs are read one at a time, on threads of their own, so the runs go
//! on meanwhile. `on_reload` of the new text decides what follows: `pin` serves it and leaves the runs where they are,
//! `upgrade` also moves those that fit, `refuse` lets the old version serve on as long as one does not.

pub(crate) mod fit;
pub(crate) mod report;
pub(crate) mod sweep;

use std::sync::Arc;
use std::time::Instant;

use durhai_core::Millis;
use durhai_engine::header::OnReload;
use durhai_world::{World, WorldError};

use self::report::{CompatReport, Misfit, Tally};
use self::sweep::walk;
use crate::error::Unready;
use crate::shared::Shared;
use crate::store::meta;
use crate::versions::candidate::{Blocking, Candidate, last_event, note_upgrade};
use crate::versions::compat::report::CompatVerdict;
use crate::versions::known;
use crate::versions::lifecycle::Change;
use crate::versions::moves::{Aim, Elsewhere};
use crate::view::Report;

/// Checks the live runs of a candidate and does what its header says of the answer; says what happened. `None` if `stopped`
/// said so before it was over.
pub(crate) fn decide(
    host: &Arc<Shared>,
    candidate: &Candidate,
    stopped: &mut dyn FnMut() -> bool,
) -> Result<Option<Vec<Report>>, WorldError> {
    let Candidate { workflow, from, version, bundle, header, served, followed, .. } = candidate;
    let world = &*host.store.world;
    if !served {
        // The text may have gone, or be another one, since it was found.
        if !host.versions.workflow(workflow).is_some_and(|known| known.awaits_check_of(version)) {
            return Ok(Some(Vec::new()));
        }
        host.versions.apply(workflow, Change::CheckBegins);
    }
    let began = Instant::now();
    let Some(tally) = walk(host, (version, bundle), candidate.query(), Aim::Look, stopped)? else { return Ok(None) };
    if tally.live == 0 {
        if *served && !followed {
            return Ok(Some(Vec::new()));
        }
        if !served && host.versions.serve(world, candidate, true)?.is_none() {
            return Ok(Some(Vec::new()));
        }
        return Ok(Some(host.versions.apply(workflow, Change::Checked { version: version.clone(), report: None })));
    }
    let Tally { compatible, diverging, failing, unreadable, .. } = tally;
    host.observe.meters.gated(workflow, [compatible, diverging, failing, unreadable, 0], began.elapsed());
    let micros = began.elapsed().as_micros() as u64;
    let refused = header.on_reload == OnReload::Refuse && tally.misfits() > 0 && !served;
    let mut report = report(candidate, tally, host.store.clock.now(), !refused, micros);
    report.from = Some(from.clone());
    let key = meta::compat_report(workflow);
    let stored = |report: &CompatReport| serde_json::to_vec(report).expect("a report is JSON");
    let change = if refused {
        let blocking = blocking(world, &report)?;
        world.put_meta(&key, &stored(&report))?;
        Change::Refused { version: version.clone(), error: refusal(&report), blocking, report: Box::new(report) }
    } else {
        if !followed {
            note_upgrade(world, candidate)?;
        }
        if !served && host.versions.serve(world, candidate, true)?.is_none() {
            return Ok(Some(Vec::new()));
        }
        if header.on_reload == OnReload::Upgrade {
            // Those that came or went on since are looked at as they are now.
            report.moved = move_all(host, candidate, stopped)?.unwrap_or(0);
        }
        // That of the host which brought the version is kept.
        if !followed {
            world.put_meta(&key, &stored(&report))?;
        }
        Change::Checked { version: version.clone(), report: Some(Box::new(report)) }
    };
    Ok(Some(host.versions.apply(workflow, change)))
}

/// Goes on with what a host could not finish: runs that are to move to the version that serves. A move that is over leaves no version in
/// the mark.
pub(crate) fn resume(
    host: &Arc<Shared>,
    workflow: &str,
    stopped: &mut dyn FnMut() -> bool,
) -> Result<Option<u64>, WorldError> {
    let world = &*host.store.world;
    let Some(bytes) = world.meta(&meta::upgrade(workflow))? else { return Ok(Some(0)) };
    let Ok(serving) = host.versions.serving(workflow) else { return Ok(Some(0)) };
    if host.versions.is_apart() || known::pointed(world, workflow)?.is_some_and(|pointed| pointed != serving.version) {
        // Another host has brought a version that is to be followed here, and moves those that it can.
        return Ok(Some(0));
    }
    if bytes != serving.version.as_str().as_bytes() {
        // It may be of a host that is about to serve it; of one that died before it did it says nothing.
        return Ok(Some(0));
    }
    let bundle = match host.versions.bundle(world, &serving.version) {
        Ok(bundle) => bundle,
        Err(Unready::World(error)) => return Err(error),
        Err(Unready::Wrong(_)) => return Ok(Some(0)),
    };
    let candidate = Candidate {
        workflow: workflow.into(),
        from: serving.version.clone(),
        version: serving.version,
        saved: 0,
        bundle,
        header: serving.header,
        description: String::new(),
        served: true,
        followed: false,
    };
    move_all(host, &candidate, stopped)
}

/// How many moved; `None` if it was stopped.
fn move_all(
    host: &Arc<Shared>,
    candidate: &Candidate,
    stopped: &mut dyn FnMut() -> bool,
) -> Result<Option<u64>, WorldError> {
    let Candidate { workflow, version, bundle, .. } = candidate;
    // A host that dies before it has moved its runs leaves them to others, which find in their inboxes what is to become of them.
    let elsewhere = if candidate.followed { Elsewhere::Leave } else { Elsewhere::Ask };
    let aim = Aim::Move { unpark: false, elsewhere };
    let Some(tally) = walk(host, (version, bundle), candidate.query(), aim, stopped)? else { return Ok(None) };
    if !candidate.followed {
        // That of another version stays: a host is about to serve that.
        host.store.world.swap_meta(&meta::upgrade(workflow), Some(version.as_str().as_bytes()), b"")?;
    }
    host.observe.meters.moved(workflow, tally.moved);
    Ok(Some(tally.moved))
}

fn report(candidate: &Candidate, tally: Tally, at: Millis, served: bool, micros: u64) -> CompatReport {
    let policy = match candidate.header.on_reload {
        OnReload::Pin => "pin",
        OnReload::Upgrade => "upgrade",
        OnReload::Refuse => "refuse",
    };
    CompatReport {
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
fn refusal(report: &CompatReport) -> String {
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

fn blocking(world: &dyn World, report: &CompatReport) -> Result<Vec<Blocking>, WorldError> {
    let stands = |misfit: &Misfit| {
        // What diverges will not fit later.
        let stood = match misfit.verdict {
            CompatVerdict::Diverges { .. } => None,
            _ => last_event(world, &misfit.run)?,
        };
        Ok(Blocking { run: misfit.run.clone(), stood })
    };
    report.runs.iter().map(stands).collect()
}
