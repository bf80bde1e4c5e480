//! Which versions of a workflow this world has seen, and which served last.

use durhai_core::{Millis, Version};
use durhai_world::{World, WorldError};
use serde::{Deserialize, Serialize};

use crate::store::meta;
use crate::versions::newest;

/// Versions that are remembered although their texts are gone, at most: a host may come back with one of them, and it is not new.
const REMEMBERED: usize = 500;

/// A version in the list that is kept for its workflow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Known {
    pub version: Version,
    pub first_seen: Millis,
}

/// What served last, in whatever host.
pub(crate) fn pointed(world: &dyn World, workflow: &str) -> Result<Option<Version>, WorldError> {
    Ok(world.meta(&meta::serving(workflow))?.map(|bytes| newest::version_of(&bytes)))
}

pub(crate) fn known(world: &dyn World, workflow: &str) -> Result<Vec<Known>, WorldError> {
    Ok(read(world.meta(&meta::versions(workflow))?.as_deref()))
}

/// When a version was seen first, if it was.
pub(crate) fn first_seen(world: &dyn World, workflow: &str, version: &Version) -> Result<Option<Millis>, WorldError> {
    let all = known(world, workflow)?;
    Ok(all.into_iter().find(|known| known.version == *version).map(|known| known.first_seen))
}

/// Remembers when a version was seen first, which is now unless it was seen before. Gives that moment.
pub(crate) fn note(world: &dyn World, now: Millis, workflow: &str, version: &Version) -> Result<Millis, WorldError> {
    let key = meta::versions(workflow);
    loop {
        let before = world.meta(&key)?;
        let all = read(before.as_deref());
        if let Some(known) = all.iter().find(|known| known.version == *version) {
            return Ok(known.first_seen);
        }
        let mut kept = remembered(world, all)?;
        kept.push(Known { version: version.clone(), first_seen: now });
        let after = serde_json::to_vec(&kept).expect("a list is JSON");
        // Another host may note one of its own at this moment.
        if world.swap_meta(&key, before.as_deref(), &after)? {
            return Ok(now);
        }
    }
}

fn read(bytes: Option<&[u8]>) -> Vec<Known> {
    bytes.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default()
}

/// Without those whose texts are gone: all of them where no other host can come back with one, else the oldest.
fn remembered(world: &dyn World, all: Vec<Known>) -> Result<Vec<Known>, WorldError> {
    let mut excess = if world.is_local() { usize::MAX } else { (all.len() + 1).saturating_sub(REMEMBERED) };
    let mut kept = Vec::with_capacity(all.len() + 1);
    for known in all {
        if excess == 0 || world.program(&known.version)?.is_some() {
            kept.push(known);
        } else {
            excess -= 1;
        }
    }
    Ok(kept)
}
