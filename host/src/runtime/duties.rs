//! What one of the hosts of a world does for all of them.

use std::sync::atomic::{AtomicBool, Ordering};

use durhai_world::WorldError;

use crate::store::access::Store;

/// A duty, as this host has it or not. It is asked for at every look, as it ends with this host's death in the eyes of the others.
pub(crate) struct Duty {
    name: &'static str,
    /// Another host had it when this one asked last.
    refused: AtomicBool,
}

/// What this host is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assigned {
    /// Another host does it.
    No,
    Yes,
    /// From now on. The host that did it has died or left, and nobody did it for a while.
    TakenOver,
}

impl Duty {
    pub fn new(name: &'static str) -> Self {
        Duty { name, refused: AtomicBool::new(false) }
    }

    pub fn ask(&self, store: &Store) -> Result<Assigned, WorldError> {
        let ours = store.world.duty(self.name, &store.lease.holder())?;
        let refused = self.refused.swap(!ours, Ordering::SeqCst);
        Ok(match (ours, refused) {
            (false, _) => Assigned::No,
            (true, false) => Assigned::Yes,
            (true, true) => Assigned::TakenOver,
        })
    }

    /// It may be free by now: the world has just looked which hosts live.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::SeqCst)
    }
}
