//! A walk through the entries that sled has, out of their blocks.

use std::ops::Bound;

use durhai_world::WorldError;
use sled::IVec;

use super::blocks::block::{Block, Walk};
use super::blocks::{BLOCK, place, stands_alone};
use super::overlay::Bounds;
use super::store::Store;

/// The entries between two bounds, from the first or from the last one on.
pub struct Stored {
    /// Blocks, and entries that stand alone.
    iter: sled::Iter,
    back: bool,
    open: Option<Open>,
}

/// A block in the middle of which the walk is.
enum Open {
    Forward(Block, Walk),
    /// What is left of it.
    Back(Vec<(IVec, IVec)>),
}

impl Stored {
    pub fn new(store: &Store, bounds: &Bounds, back: bool) -> Result<Self, WorldError> {
        let own = |key: &IVec| key.is_empty() || stands_alone(key);
        let from = match &bounds.0 {
            Bound::Unbounded => Vec::new(),
            Bound::Included(key) | Bound::Excluded(key) if own(key) => key.to_vec(),
            // What it is in may begin before it.
            Bound::Included(key) | Bound::Excluded(key) => {
                store.block_of(key)?.map_or_else(|| place(key), |(place, _)| place.to_vec())
            }
        };
        let to = match &bounds.1 {
            Bound::Unbounded => Bound::Excluded(vec![BLOCK + 1]),
            Bound::Included(key) if own(key) => Bound::Included(key.to_vec()),
            Bound::Excluded(key) if own(key) => Bound::Excluded(key.to_vec()),
            Bound::Included(key) | Bound::Excluded(key) => Bound::Included(place(key)),
        };
        let iter = store.guard("read", || Ok(store.db().range::<Vec<u8>, _>((Bound::Included(from), to))))?;
        Ok(Stored { iter, back, open: None })
    }

    /// The next entry between the bounds, which may have become narrower.
    pub fn next(&mut self, store: &Store, bounds: &Bounds) -> Result<Option<(IVec, IVec)>, WorldError> {
        loop {
            match &mut self.open {
                Some(Open::Forward(block, walk)) => {
                    let entry = walk.step(block).map_err(|_| store.unreadable(walk.key()))?;
                    match entry {
                        Some(_) if is_below(walk.key(), bounds) => {}
                        Some(_) if is_above(walk.key(), bounds) => return Ok(None),
                        Some(value) => return Ok(Some((walk.key().into(), value.into()))),
                        None => self.open = None,
                    }
                    continue;
                }
                Some(Open::Back(entries)) => {
                    match entries.pop() {
                        Some((key, _)) if is_below(&key, bounds) => return Ok(None),
                        Some((key, _)) if is_above(&key, bounds) => {}
                        Some(entry) => return Ok(Some(entry)),
                        None => self.open = None,
                    }
                    continue;
                }
                None => {}
            }
            let back = self.back;
            let iter = &mut self.iter;
            let next = store.guard("read", || if back { iter.next_back() } else { iter.next() }.transpose())?;
            let Some((key, value)) = next else { return Ok(None) };
            if key.first() == Some(&BLOCK) {
                self.open = Some(Open::new(&value, back).ok_or_else(|| store.unreadable(&key))?);
            } else if !is_below(&key, bounds) && !is_above(&key, bounds) {
                return Ok(Some((key, value)));
            }
        }
    }
}

impl Open {
    fn new(value: &[u8], back: bool) -> Option<Self> {
        let block = Block::read(value).ok()?;
        if !back {
            return Some(Open::Forward(block, Walk::default()));
        }
        let entries = block.entries().ok()?;
        Some(Open::Back(entries.into_iter().map(|(key, value)| (key, value.into())).collect()))
    }
}

fn is_below(key: &[u8], bounds: &Bounds) -> bool {
    match &bounds.0 {
        Bound::Included(from) => key < &from[..],
        Bound::Excluded(from) => key <= &from[..],
        Bound::Unbounded => false,
    }
}

fn is_above(key: &[u8], bounds: &Bounds) -> bool {
    match &bounds.1 {
        Bound::Included(to) => key > &to[..],
        Bound::Excluded(to) => key >= &to[..],
        Bound::Unbounded => false,
    }
}
