//! Blocks that were read lately.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use sled::IVec;

use super::block::Block;
use super::layout::Head;

/// A block, where it stands, and where the next one does; none if it is the last.
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
        Cache { blocks: BTreeMap::new(), bytes: 0, most, looks: 0, changes: 0 }
    }

    /// The block that has the place, which is that of a block or within one.
    pub fn around(&mut self, place: &[u8]) -> Option<Found> {
        self.looks += 1;
        let (_, kept) = self.blocks.range_mut::<[u8], _>((Unbounded, Included(place))).next_back()?;
        let within = kept.found.end.as_ref().is_none_or(|end| place < &end[..]);
        within.then(|| {
            kept.look = self.looks;
            kept.found.clone()
        })
    }

    /// The block that ends where another one stands.
    pub fn before(&mut self, place: &[u8]) -> Option<Found> {
        self.looks += 1;
        let (_, kept) = self.blocks.range_mut::<[u8], _>((Unbounded, Excluded(place))).next_back()?;
        (kept.found.end.as_deref() == Some(place)).then(|| {
            kept.look = self.looks;
            kept.found.clone()
        })
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
        self.forget(&found.place.clone());
        while self.bytes + bytes > self.most
            && let Some(oldest) = self.blocks.iter().min_by_key(|(_, kept)| kept.look).map(|(place, _)| place.clone())
        {
            self.forget(&oldest);
        }
        self.bytes += bytes;
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
        }
    }
}
