//! A walk through the entries that sled has, out of their blocks.

use std::ops::{Bound, Range};
use std::sync::Arc;

use durhai_world::WorldError;
use sled::IVec;

use super::blocks::block::Block;
use super::blocks::cache::Found;
use super::blocks::layout::stands_alone;
use super::overlay::Bounds;
use super::store::Store;

/// The entries between two bounds, from the first or from the last one on. The bounds are both of entries that stand in blocks, or
/// both of such that stand alone.
pub struct Stored {
    back: bool,
    walk: Walk,
}

enum Walk {
    Alone(Box<sled::Iter>),
    Blocks {
        /// The block in which the walk is, and what is left of it.
        open: Option<(Arc<Block>, Range<usize>)>,
        next: Next,
    },
}

/// Where a walk goes on behind a block.
enum Next {
    /// In the one that has this key.
    At(IVec),
    /// In the one before that which stands there, or in the last.
    Before(Option<IVec>),
    Nowhere,
}

impl Stored {
    pub fn new(store: &Store, bounds: &Bounds, back: bool) -> Result<Self, WorldError> {
        let key = |bound: &Bound<IVec>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => Some(key.clone()),
            Bound::Unbounded => None,
        };
        let (from, to) = (key(&bounds.0), key(&bounds.1));
        let walk = match (from, to) {
            (Some(from), _) if stands_alone(&from) => {
                Walk::Alone(Box::new(store.guard("read", || Ok(store.db().range::<IVec, _>(bounds.clone())))?))
            }
            (from, _) if !back => Walk::Blocks { open: None, next: Next::At(from.unwrap_or_default()) },
            (_, Some(to)) => Walk::Blocks { open: None, next: Next::At(to) },
            (_, None) => Walk::Blocks { open: None, next: Next::Before(None) },
        };
        Ok(Stored { back, walk })
    }

    /// The next entry between the bounds, which may have become narrower.
    pub fn next(&mut self, store: &Store, bounds: &Bounds) -> Result<Option<(IVec, IVec)>, WorldError> {
        let back = self.back;
        let (open, next) = match &mut self.walk {
            Walk::Alone(iter) => {
                return store.guard("read", || if back { iter.next_back() } else { iter.next() }.transpose());
            }
            Walk::Blocks { open, next } => (open, next),
        };
        loop {
            if let Some((block, left)) = open {
                if let Some(at) = if back { left.next_back() } else { left.next() } {
                    let (key, value) = block.at(at);
                    return Ok(Some((key.clone(), value.into())));
                }
                *open = None;
            }
            let found = match std::mem::replace(next, Next::Nowhere) {
                Next::At(key) => Some(store.block_of(&key)?),
                Next::Before(place) => store.block_before(place.as_ref())?,
                Next::Nowhere => None,
            };
            let Some(Found { place, end, block, .. }) = found else { return Ok(None) };
            let left = block.between(|key| is_below(key, bounds), |key| is_above(key, bounds));
            // There may be blocks that begin beyond the bounds.
            let beyond = |key: &[u8]| if back { is_below(key, bounds) } else { is_above(key, bounds) };
            *next = match end {
                _ if back && (place.len() == 1 || beyond(&place[1..])) => Next::Nowhere,
                _ if back => Next::Before(Some(place)),
                Some(end) if !beyond(&end[1..]) => Next::At(end[1..].into()),
                _ => Next::Nowhere,
            };
            *open = Some((block, left));
        }
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
