//! Blocks that were read lately.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use sled::IVec;

use super::block::Block;
use super::layout::Head;

/// A block, where it stands, and where the next one does; none if it is the last. The next one may be gone by now: what would be in
/// it is in this one then, which is read anew for it.
#[derive(Clone)]
pub struct Found {
    pub place: IVec,
    pub end: Option<IVec>,
    /// Where it is, if it is in parts.
    pub head: Option<Head>,
    pub block: Arc<Block>,
}

/// What is kept, by place.
pub struct Cache {
    blocks: BTreeMap<IVec, Kept>,
    /// Their places, by the look that met them last.
    looked: BTreeMap<u64, IVec>,
    bytes: usize,
    most: usize,
    /// How often it was looked at.
    looks: u64,
    /// How often a block of sled became another one.
    changes: u64,
}

struct Kept {
    found: Found,
    bytes: usize,
    /// The look that met it last.
    look: u64,
}

impl Cache {
    pub fn new(most: usize) -> Self {
        Cache { blocks: BTreeMap::new(), looked: BTreeMap::new(), bytes: 0, most, looks: 0, changes: 0 }
    }

    /// The block that has the place, which is that of a block or within one.
    pub fn around(&mut self, place: &[u8]) -> Option<Found> {
        let (_, kept) = self.blocks.range::<[u8], _>((Unbounded, Included(place))).next_back()?;
        let within = kept.found.end.as_ref().is_none_or(|end| place < &end[..]);
        let found = within.then(|| kept.found.clone())?;
        self.met(&found.place);
        Some(found)
    }

    /// The block that ends where another one stands.
    pub fn before(&mut self, place: &[u8]) -> Option<Found> {
        let (_, kept) = self.blocks.range::<[u8], _>((Unbounded, Excluded(place))).next_back()?;
        let found = (kept.found.end.as_deref() == Some(place)).then(|| kept.found.clone())?;
        self.met(&found.place);
        Some(found)
    }

    fn met(&mut self, place: &IVec) {
        self.looks += 1;
        if let Some(kept) = self.blocks.get_mut(place) {
            self.looked.remove(&kept.look);
            kept.look = self.looks;
            self.looked.insert(self.looks, place.clone());
        }
    }

    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Keeps what was read when there had been so many changes, unless there were more since.
    pub fn keep(&mut self, found: Found, changes: u64) {
        let bytes = found.block.memory();
        if changes != self.changes || bytes > self.most / 4 {
            return;
        }
        self.forget(&found.place);
        while self.bytes + bytes > self.most
            && let Some(oldest) = self.looked.values().next().cloned()
        {
            self.forget(&oldest);
        }
        self.bytes += bytes;
        self.looks += 1;
        self.looked.insert(self.looks, found.place.clone());
        self.blocks.insert(found.place.clone(), Kept { found, bytes, look: self.looks });
    }

    /// What stands there now is another block, and so may be what follows it.
    pub fn changed(&mut self, place: &IVec) {
        self.changes += 1;
        self.forget(place);
    }

    fn forget(&mut self, place: &IVec) {
        if let Some(kept) = self.blocks.remove(place) {
            self.bytes -= kept.bytes;
            self.looked.remove(&kept.look);
        }
    }
}
