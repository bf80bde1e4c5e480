//! What one of the hosts of a world does for all of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use durhai_world::WorldError;
use parking_lot::Mutex;

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

/// Several of a kind, one for each of what only the hosts that have it can do.
pub(crate) struct Duties {
    prefix: &'static str,
    /// Those that this host asked for last, and whether another one had them.
    refused: Mutex<HashMap<String, bool>>,
}

impl Duties {
    /// Their names begin with this.
    pub fn new(prefix: &'static str) -> Self {
        Duties { prefix, refused: Mutex::default() }
    }

    /// Gives up those that are not asked for any more.
    pub fn ask(&self, names: &[String], store: &Store) -> Result<Vec<Assigned>, WorldError> {
        if names.is_empty() && self.refused.lock().is_empty() {
            return Ok(Vec::new());
        }
        let full: Vec<_> = names.iter().map(|name| format!("{}{name}", self.prefix)).collect();
        let ours = store.world.duties(self.prefix, &full, &store.lease.holder())?;
        let mut refused = self.refused.lock();
        let before = std::mem::take(&mut *refused);
        *refused = names.iter().cloned().zip(ours.iter().map(|ours| !ours)).collect();
        let assigned = |(name, ours): (&String, bool)| match (ours, before.get(name)) {
            (false, _) => Assigned::No,
            (true, Some(true)) => Assigned::TakenOver,
            (true, _) => Assigned::Yes,
        };
        Ok(names.iter().zip(ours).map(assigned).collect())
    }

    /// One of them may be free by now.
    pub fn is_refused(&self) -> bool {
        self.refused.lock().values().any(|refused| *refused)
    }
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
