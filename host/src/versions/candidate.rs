//! A version that compiled and does not serve yet, and the runs in its way.

use std::sync::Arc;

use durhai_core::{Millis, RunId, Version};
use durhai_engine::header::OnReload;
use durhai_engine::{Bundle, Header};
use durhai_world::{Query, World, WorldError};

use crate::store::meta;

/// A version that compiled and does not serve yet.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub workflow: String,
    /// What serves.
    pub from: Version,
    pub version: Version,
    /// When, as hosts that share a world compare texts.
    pub saved: Millis,
    pub bundle: Arc<Bundle>,
    pub header: Arc<Header>,
    pub description: String,
    /// It serves already: the check of live runs is about the runs only.
    pub served: bool,
    /// Another host brought it, and checked it before it served: only runs that were begun since are looked at.
    pub followed: bool,
}

/// By how much the clocks of two hosts may differ.
const SKEW: Millis = 60_000;

impl Candidate {
    /// The runs that are looked at.
    pub fn query(&self) -> Query {
        let since = self.followed.then(|| self.saved.saturating_sub(SKEW));
        Query { workflow: Some(self.workflow.clone()), since, ..Query::default() }
    }
}

/// A run that a version was refused for.
#[derive(Debug, Clone)]
pub(crate) struct Blocking {
    pub run: RunId,
    /// The last event of its log, where a longer log may fit.
    pub stood: Option<u64>,
}

/// Whether a workflow has live runs.
pub(crate) fn any_live(world: &dyn World, workflow: &str) -> Result<bool, WorldError> {
    Ok(world.run_counts()?.iter().any(|count| count.workflow == workflow && !count.status.is_terminal()))
}

/// Before a version serves whose runs are to move: if the host dies before they have, the next one moves them.
pub(crate) fn note_upgrade(world: &dyn World, candidate: &Candidate) -> Result<(), WorldError> {
    match candidate.header.on_reload {
        OnReload::Upgrade => world.put_meta(&meta::upgrade(&candidate.workflow), candidate.version.as_str().as_bytes()),
        OnReload::Pin | OnReload::Refuse => Ok(()),
    }
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

pub(crate) fn last_event(world: &dyn World, run: &RunId) -> Result<Option<u64>, WorldError> {
    Ok(world.log_tail(run)?.map(|tail| tail.first + u64::from(tail.count) - 1))
}
