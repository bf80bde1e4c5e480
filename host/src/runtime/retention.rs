//! Runs that have ended do not stay for ever: what a header says with `retain`, what an operator purges, and the texts
//! that nothing refers to any more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use durhai_core::{Millis, RunId, Status, Version};
use durhai_engine::Bundle;
use durhai_world::{Query, Refused, Row, World, WorldError, Write};
use tokio::sync::oneshot;

use crate::error::HostError;
use crate::runtime::away::Away;
use crate::runtime::duties::Assigned;
use crate::runtime::job::Then;
use crate::shared::Shared;
use crate::store::{meta, rows};
use crate::versions::known;
use crate::view::{Purge, Purged};

/// Runs that are removed with one another: they share a flush with the turns of those that live, which wait for them.
const BATCH: usize = 64;

/// Runs that are looked up at a time.
const PAGE: usize = 256;

/// How often the host looks for runs whose time is over, and how long a text must have been of no use.
const LOOK: Duration = Duration::from_secs(60);

const TERMINAL: [Status; 4] = [Status::Completed, Status::Failed, Status::Cancelled, Status::Continued];

/// See [`Host::purge`](crate::Host::purge).
pub(crate) async fn purge(host: &Arc<Shared>, purge: Purge) -> Result<Purged, HostError> {
    let host = host.clone();
    if let Some(status) = purge.status.iter().find(|status| !status.is_terminal()) {
        let text = format!("a run that is {status} has not ended; only those can be purged that are {}", names());
        return Err(HostError::Invalid(text));
    }
    let tokio = host.tokio.clone();
    tokio.spawn_blocking(move || purge_now(&host, purge)).await.map_err(|_| HostError::Closed)?
}

fn names() -> String {
    TERMINAL.map(|status| status.to_string()).join(", ")
}

/// Removes what is over, if that is this host's to do.
fn look(host: &Shared, useless: &mut HashMap<Version, Millis>) -> Result<(), HostError> {
    if host.runtime.retention.ask(&host.store)? == Assigned::No {
        useless.clear();
        return Ok(());
    }
    remove_expired(host)?;
    drop_useless(host, useless)
}

/// Removes what is over, again and again, until the host stops.
pub(crate) fn run(host: &Arc<Shared>) {
    let mut useless = HashMap::new();
    let mut away = Away::new("removing runs that are kept no longer");
    while !host.life.is_stopping() {
        let wait = match look(host, &mut useless) {
            Ok(()) => {
                away.answered();
                LOOK
            }
            Err(HostError::World(error)) if host.is_away(&error) => away.failed(&error),
            Err(HostError::World(error)) => return host.fail(Arc::new(error)),
            Err(_) if host.life.is_stopping() => return,
            Err(error) => {
                tracing::error!("runs that are kept no longer were not removed, which is tried again: {error}");
                LOOK
            }
        };
        host.runtime.purger.wait(wait);
    }
}

/// Removes a run that has ended, with what it started.
pub(crate) async fn delete(host: &Arc<Shared>, run: &RunId) -> Result<(), HostError> {
    let (tokio, host, run) = (host.tokio.clone(), host.clone(), run.clone());
    let delete = move || match host.store.world.row(&run)? {
        None => Err(crate::error::refusal(Refused::Unknown(run))),
        Some(row) if !row.status.is_terminal() => Err(crate::error::refusal(Refused::NotTerminal(run, row.status))),
        Some(row) if unread(&host, &row)? => {
            let text = format!("run {run} has ended, but the run that started it has not taken note yet");
            Err(HostError::Conflict(text))
        }
        Some(row) => remove(&host, vec![row]).map(drop),
    };
    tokio.spawn_blocking(delete).await.map_err(|_| HostError::Closed)?
}

fn purge_now(host: &Shared, purge: Purge) -> Result<Purged, HostError> {
    let Purge { ended_before, status, workflow } = purge;
    let status = if status.is_empty() { TERMINAL.to_vec() } else { status };
    let mut query = Query { status, workflow, ended_before, limit: PAGE, ..Query::default() };
    let mut purged = Purged::default();
    loop {
        let page = host.store.world.list(&query)?;
        purged.runs += remove(host, page.rows)?;
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    for version in useless(host)? {
        purged.texts += u64::from(drop_text(host, &version)?);
    }
    Ok(purged)
}

fn remove_expired(host: &Shared) -> Result<(), HostError> {
    // Those that must stay for now stand in front of the others at each look.
    let mut passed = HashSet::new();
    loop {
        let most = passed.len() + PAGE;
        let expired = host.store.world.expired(host.store.clock.now(), most)?;
        let full = expired.len() == most;
        let mut rows = Vec::with_capacity(PAGE);
        for run in expired.into_iter().filter(|run| !passed.contains(run)).collect::<Vec<_>>() {
            rows.extend(host.store.world.row(&run)?);
            passed.insert(run);
        }
        remove(host, rows.clone())?;
        for row in rows {
            if host.store.world.row(&row.run)?.is_none() {
                passed.remove(&row.run);
            }
        }
        if !full {
            return Ok(());
        }
    }
}

/// Removes runs that have ended with the runs below them that have ended, and says how many went. Those below go first: what
/// is left when the host dies meanwhile is still found.
fn remove(host: &Shared, roots: Vec<Row>) -> Result<u64, HostError> {
    let mut removed = 0;
    let mut family = Vec::new();
    let mut seen = HashSet::new();
    for root in roots {
        if unread(host, &root)? {
            continue;
        }
        let begin = family.len();
        let mut stack = vec![root];
        while let Some(row) = stack.pop() {
            if !row.status.is_terminal() || !seen.insert(row.run.clone()) {
                continue;
            }
            let mut query = Query { parent: Some(row.run.clone()), limit: PAGE, ..Query::default() };
            loop {
                let page = host.store.world.list(&query)?;
                stack.extend(page.rows);
                match page.next {
                    Some(next) => query.cursor = Some(next),
                    None => break,
                }
            }
            family.push(row);
        }
        family[begin..].reverse();
        if family.len() >= BATCH {
            removed += remove_all(host, &family)?;
            family.clear();
        }
    }
    Ok(removed + remove_all(host, &family)?)
}

/// Whether this run's end may be news for the one that started it: until that has read its messages, it could take a
/// run that is gone for one that it has to start.
fn unread(host: &Shared, row: &Row) -> Result<bool, WorldError> {
    let Some(parent) = &row.parent else { return Ok(false) };
    let lives = host.store.world.row(parent)?.is_some_and(|parent| !parent.status.is_terminal());
    Ok(lives && !host.store.world.inbox(parent, 0, 1)?.is_empty())
}

/// Removes them in this order, some at a time.
fn remove_all(host: &Shared, rows: &[Row]) -> Result<u64, HostError> {
    let mut removed = 0;
    for batch in rows.chunks(BATCH) {
        if host.life.is_stopping() {
            return Err(HostError::Closed);
        }
        let mut replies = Vec::with_capacity(batch.len());
        for row in batch {
            let pointer = last_of_chain(&*host.store.world, row)?;
            let (reply, answer) = oneshot::channel();
            host.store.write(Write::Delete { run: row.run.clone() }, Then::Reply(reply));
            replies.push((row, pointer, answer));
        }
        for (row, pointer, answer) in replies {
            let answer = answer.blocking_recv().map_err(|_| HostError::Closed)?;
            if answer.map_err(|error| HostError::world(&error))?.is_ok() {
                removed += 1;
            }
            // After the run, never before: what finds a run by it must not miss one that is there.
            let forks = meta::forks(&row.run);
            let forks = host.store.world.meta(&forks)?.is_some().then_some(forks);
            for pointer in pointer.into_iter().chain(forks) {
                host.store.world.remove_meta(&pointer)?;
            }
        }
    }
    Ok(removed)
}

/// Texts that no workflow serves or waits to serve here. A world keeps those that a run has.
fn useless(host: &Shared) -> Result<Vec<Version>, HostError> {
    let used = host.versions.used();
    Ok(host.store.world.programs()?.into_iter().filter(|version| !used.contains(version)).collect())
}

/// Drops texts that were of no use at an earlier look, and still are: one that is just being read from its file, or
/// that a start has just been given, serves a moment later.
fn drop_useless(host: &Shared, since: &mut HashMap<Version, Millis>) -> Result<(), HostError> {
    let now = host.store.clock.now();
    let useless = useless(host)?;
    since.retain(|version, _| useless.contains(version));
    for version in useless {
        let first = *since.entry(version.clone()).or_insert(now);
        if now.saturating_sub(first) >= LOOK.as_millis() as u64 && drop_text(host, &version)? {
            since.remove(&version);
        }
    }
    Ok(())
}

/// Whether it is gone. One that another host serves or is about to serve stays.
fn drop_text(host: &Shared, version: &Version) -> Result<bool, WorldError> {
    let world = &*host.store.world;
    let Some(bytes) = world.program(version)? else { return Ok(false) };
    let name = serde_json::from_slice::<Bundle>(&bytes).ok().map(|bundle| bundle.name);
    let is_used = || match &name {
        None => Ok(false),
        Some(name) => Ok::<_, WorldError>(
            known::pointed(world, name)?.as_ref() == Some(version)
                || known::is_wanted(world, host.store.clock.now(), name, version)?,
        ),
    };
    if is_used()? {
        return Ok(false);
    }
    let gone = world.drop_program(version)?;
    if gone && is_used()? {
        // A host said so in between, and may have found the text there still.
        world.put_program(version, &bytes)?;
        return Ok(false);
    }
    if gone {
        host.versions.forget(version);
    }
    Ok(gone)
}

/// Where the world keeps that this run is the last of its chain, if it is.
fn last_of_chain(world: &dyn World, row: &Row) -> Result<Option<String>, WorldError> {
    if row.status == Status::Continued {
        return Ok(None);
    }
    let Some(chain) = rows::first_event(world, &row.run)?.and_then(|created| created.chain) else { return Ok(None) };
    let pointer = meta::last_of_chain(&chain.first);
    let last = world.meta(&pointer)?.is_some_and(|last| last == row.run.as_str().as_bytes());
    Ok(last.then_some(pointer))
}
