//! Which text of a workflow serves in hosts that share a world: the one that was saved last, in whatever folder.
//!
//! The world keeps what serves, with the moment when that text was saved: a host saw it first, or saw it come back. A host that has another
//! text compares. The later moment counts, and of two texts of one moment the larger version, so that hosts which decide at the same time
//! come to the same. A save is later than what served when it was seen, whatever the clocks say.

use durhai_core::{Millis, Version};
use durhai_world::{World, WorldError};

use crate::store::meta;
use crate::versions::known;

/// Which text of a workflow serves where hosts that share a world have different ones. In a world that is not shared the host's own does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Serves {
    /// The one that was saved last, in whatever folder. A host that starts with a text which the world saw earlier than the one that
    /// serves leaves that where it is, and serves it too. A save while a host runs is new by that act, also where it brings an older
    /// text back.
    #[default]
    Newest,
    /// What this host has when it starts serves in all hosts, as if it had just been saved; then as [`Newest`](Serves::Newest).
    TakeOver,
    /// What this host has serves here only: the other hosts hear nothing of it, and it hears nothing of theirs.
    HereOnly,
}

/// A text, and when it was saved. The larger one serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Saved {
    pub at: Millis,
    pub version: Version,
}

/// What serves in all hosts.
pub(crate) fn pointed(world: &dyn World, workflow: &str) -> Result<Option<Saved>, WorldError> {
    let bytes = world.meta(&meta::serving(workflow))?;
    bytes.map(|bytes| saved(world, workflow, &bytes)).transpose()
}

/// The same of many workflows, in their order.
pub(crate) fn all_pointed(world: &dyn World, workflows: &[String]) -> Result<Vec<Option<Saved>>, WorldError> {
    let keys: Vec<_> = workflows.iter().map(|workflow| meta::serving(workflow)).collect();
    let values = world.metas(&keys)?;
    let found = workflows.iter().zip(values);
    found.map(|(workflow, bytes)| bytes.map(|bytes| saved(world, workflow, &bytes)).transpose()).collect()
}

/// Makes a text serve in all hosts, unless a newer one does: that is given back. One that serves and is saved again is as new as that.
pub(crate) fn point(world: &dyn World, workflow: &str, text: &Saved) -> Result<Option<Saved>, WorldError> {
    let key = meta::serving(workflow);
    loop {
        let before = world.meta(&key)?;
        if let Some(bytes) = &before {
            let serves = saved(world, workflow, bytes)?;
            if serves.version == text.version && serves.at >= text.at {
                return Ok(None);
            }
            if serves > *text {
                return Ok(Some(serves));
            }
        }
        let after = format!("{} {}", text.version.as_str(), text.at);
        if world.swap_meta(&key, before.as_deref(), after.as_bytes())? {
            return Ok(None);
        }
    }
}

/// The version in a stored pointer.
pub(crate) fn version_of(bytes: &[u8]) -> Version {
    let text = String::from_utf8_lossy(bytes);
    Version::from_digest(text.split_once(' ').map_or(&*text, |(version, _)| version))
}

/// One that a world of one host left says no moment: then it was saved when it was first seen.
fn saved(world: &dyn World, workflow: &str, bytes: &[u8]) -> Result<Saved, WorldError> {
    let version = version_of(bytes);
    let text = String::from_utf8_lossy(bytes);
    let at = match text.split_once(' ').and_then(|(_, at)| at.parse().ok()) {
        Some(at) => at,
        None => known::first_seen(world, workflow, &version)?.unwrap_or(0),
    };
    Ok(Saved { at, version })
}

#[cfg(test)]
mod tests {
    use durhai_world::MemoryWorld;

    use super::*;

    fn text(version: &str, at: Millis) -> Saved {
        Saved { at, version: Version::from_digest(version) }
    }

    /// Each line: what is to serve, whether it does then, and what serves.
    #[test]
    fn the_text_that_was_saved_last_serves() {
        let world = MemoryWorld::new();
        for (number, (version, at, taken, serves)) in [
            ("b", 5, true, "b"),
            ("a", 4, false, "b"),
            ("b", 3, true, "b"),
            ("a", 6, true, "a"),
            // What serves and is saved again is as new as that.
            ("a", 9, true, "a"),
            ("c", 8, false, "a"),
            ("a", 7, true, "a"),
            ("c", 8, false, "a"),
            ("a", 9, true, "a"),
            // Of one moment: whoever comes first.
            ("c", 9, true, "c"),
            ("b", 9, false, "c"),
            ("a", 10, true, "a"),
        ]
        .into_iter()
        .enumerate()
        {
            let newer = point(&world, "w", &text(version, at)).expect("a world in memory");
            assert_eq!(newer.is_none(), taken, "line {number}");
            let now = pointed(&world, "w").expect("a world in memory").expect("one serves");
            assert_eq!(now.version.as_str(), serves, "line {number}");
            assert!(newer.is_none_or(|newer| newer == now), "line {number}");
        }
    }

    #[test]
    fn a_pointer_of_a_world_of_one_host_is_as_old_as_its_text() {
        let world = MemoryWorld::new();
        world.put_meta(&meta::serving("w"), b"abc").expect("written");
        assert_eq!(pointed(&world, "w").expect("read"), Some(text("abc", 0)));
        known::note(&world, (7, None), "w", &Version::from_digest("abc")).expect("noted");
        let names = ["none", "w"].map(str::to_owned);
        assert_eq!(all_pointed(&world, &names).expect("read"), [None, Some(text("abc", 7))]);
        assert_eq!(point(&world, "w", &text("ab", 8)).expect("written"), None);
        assert_eq!(pointed(&world, "w").expect("read"), Some(text("ab", 8)));
    }
}
