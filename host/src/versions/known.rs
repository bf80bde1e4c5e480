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
    /// When a host that shares the world last said that it is about to serve it, or waits for runs that are in its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted_at: Option<Millis>,
}

/// A host says it anew when it was said so long ago, and what nobody said for so long nobody wants any more.
const SAID: Millis = 3_600_000;
const WANTED: Millis = 24 * SAID;

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

/// Whether a host is about to serve this version, or waits for runs that are in its way.
pub(crate) fn is_wanted(world: &dyn World, now: Millis, workflow: &str, version: &Version) -> Result<bool, WorldError> {
    let mut all = known(world, workflow)?.into_iter();
    let said = all.find(|known| known.version == *version).and_then(|known| known.wanted_at);
    Ok(said.is_some_and(|said| now.saturating_sub(said) < WANTED))
}

/// Remembers when a version was seen first, which is now unless it was seen before. Gives that moment. `wanted`: where hosts share the
/// world, the moment at which its text must stay there although no run has it yet.
pub(crate) fn note(
    world: &dyn World,
    (now, wanted): (Millis, Option<Millis>),
    workflow: &str,
    version: &Version,
) -> Result<Millis, WorldError> {
    let key = meta::versions(workflow);
    loop {
        let before = world.meta(&key)?;
        let mut all = read(before.as_deref());
        let (kept, seen) = match all.iter_mut().find(|known| known.version == *version) {
            Some(known) => {
                let said = known.wanted_at.unwrap_or(0);
                if wanted.is_none_or(|wanted| wanted < said.saturating_add(SAID)) {
                    return Ok(known.first_seen);
                }
                known.wanted_at = wanted;
                let seen = known.first_seen;
                (all, seen)
            }
            None => {
                let mut kept = remembered(world, all)?;
                kept.push(Known { version: version.clone(), first_seen: now, wanted_at: wanted });
                (kept, now)
            }
        };
        let after = serde_json::to_vec(&kept).expect("a list is JSON");
        // Another host may note one of its own at this moment.
        if world.swap_meta(&key, before.as_deref(), &after)? {
            return Ok(seen);
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
