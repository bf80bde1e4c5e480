//! Which versions of a workflow this world has seen, and which served last.

use durhai_core::{Millis, Version};
use durhai_world::{World, WorldError};
use serde::{Deserialize, Serialize};

use crate::store::meta;

/// A version in the list that is kept for its workflow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Known {
    pub version: Version,
    pub first_seen: Millis,
}

/// What served last, in whatever host.
pub(crate) fn pointed(world: &dyn World, workflow: &str) -> Result<Option<Version>, WorldError> {
    let bytes = world.meta(&meta::serving(workflow))?;
    Ok(bytes.map(|bytes| Version::from_digest(&String::from_utf8_lossy(&bytes))))
}

pub(crate) fn known(world: &dyn World, workflow: &str) -> Result<Vec<Known>, WorldError> {
    let bytes = world.meta(&meta::versions(workflow))?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

/// Remembers when a version was seen first; forgets those whose texts are gone.
pub(crate) fn note(world: &dyn World, now: Millis, workflow: &str, version: &Version) -> Result<(), WorldError> {
    let all = known(world, workflow)?;
    if all.iter().any(|known| known.version == *version) {
        return Ok(());
    }
    let mut kept = Vec::with_capacity(all.len() + 1);
    for known in all {
        if world.program(&known.version)?.is_some() {
            kept.push(known);
        }
    }
    kept.push(Known { version: version.clone(), first_seen: now });
    world.put_meta(&meta::versions(workflow), &serde_json::to_vec(&kept).expect("a list is JSON"))
}
