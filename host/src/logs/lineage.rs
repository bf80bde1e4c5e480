//! Which runs a run became: by going on as a new one, by being tried again, by being forked.

use durhai_core::event::Created;
use durhai_core::{RunId, Status, Value};
use durhai_world::{Row, World, WorldError};

use crate::store::meta;
use crate::store::rows::first_event;

/// Names that are tried, one after the other, where runs that have nothing to do with it have them.
const NAMES: u32 = 16;

/// Forks that a run remembers, at most.
const REMEMBERED: usize = 100;

/// Where a chain of `continue_as_new` stands: the run that `run` became, which is itself in most cases.
pub(crate) fn latest(world: &dyn World, run: &RunId) -> Result<RunId, WorldError> {
    let Some(row) = world.row(run)?.filter(|row| row.status == Status::Continued) else {
        return Ok(run.clone());
    };
    let noted = |key: &str| row.note.get(key).and_then(Value::as_str).and_then(|id| RunId::new(id).ok());
    let pointed = match noted("first") {
        Some(first) => world.meta(&meta::last_of_chain(&first))?,
        None => None,
    };
    let pointed = pointed.and_then(|id| RunId::new(String::from_utf8_lossy(&id)).ok());
    Ok(pointed.or_else(|| noted("next")).unwrap_or_else(|| run.clone()))
}

/// The run that tries this one again, if there is one.
pub(crate) fn tried_again(world: &dyn World, row: &Row) -> Result<Option<RunId>, WorldError> {
    match first_event(world, &row.run)? {
        Some(created) => retried_as(world, row.status, &created),
        None => Ok(None),
    }
}

/// The run that tries this one again, if there is one.
pub(crate) fn retried_as(world: &dyn World, status: Status, created: &Created) -> Result<Option<RunId>, WorldError> {
    if !matches!(status, Status::Failed | Status::Cancelled) {
        return Ok(None);
    }
    Ok(retry_name(world, created)?.filter(|(_, there)| *there).map(|(name, _)| name))
}

/// The run that this one tries again.
pub(crate) fn retry_of(created: &Created) -> Option<&RunId> {
    let origin = created.origin.as_ref().filter(|_| created.attempt > 1 && created.idempotency_run.is_some())?;
    Some(&origin.run)
}

/// The name of the run that tries this one again, and whether it is there. `None`: others have all those names.
pub(crate) fn retry_name(world: &dyn World, created: &Created) -> Result<Option<(RunId, bool)>, WorldError> {
    let attempt = created.attempt + 1;
    // A run that was tried again before names were made like this has one that says nothing.
    let first = created.idempotency_run.as_ref().filter(|first| first.retried(created.attempt) == created.run);
    let first = first.unwrap_or(&created.run);
    for number in 0..NAMES {
        let name = if number == 0 { first.retried(attempt) } else { first.retried_aside(attempt, number) };
        match first_event(world, &name)? {
            None => return Ok(Some((name, false))),
            Some(found) if retry_of(&found) == Some(&created.run) => return Ok(Some((name, true))),
            Some(_) => {}
        }
    }
    Ok(None)
}

/// The runs that took over a part of this one's log, in the order they were made.
pub(crate) fn forks(world: &dyn World, run: &RunId) -> Result<Vec<RunId>, WorldError> {
    let named = meta::runs(world.meta(&meta::forks(run))?.as_deref());
    let mut there = Vec::with_capacity(named.len());
    for fork in named {
        if world.row(&fork)?.is_some() {
            there.push(fork);
        }
    }
    Ok(there)
}

/// Notes a fork that is about to be created.
pub(crate) fn note_fork(world: &dyn World, old: &RunId, new: &RunId) -> Result<(), WorldError> {
    let there = forks(world, old)?;
    meta::change_runs(world, &meta::forks(old), |all| {
        all.retain(|fork| fork != new);
        all.push(new.clone());
        // Names whose run is gone make room first.
        while all.len() > REMEMBERED {
            let gone = all.iter().position(|fork| !there.contains(fork)).unwrap_or(0);
            all.remove(gone);
        }
    })
}
