//! Entries in order: those of sled, with what is newer in memory.

use std::collections::VecDeque;
use std::ops::Bound;

use durhai_world::WorldError;
use sled::IVec;

use super::overlay::{self, Bounds};
use super::store::Store;
use super::stored::Stored;

/// Entries that are read from memory at a time.
const AT_ONCE: usize = 32;

/// A walk through the entries between two bounds, from the first or from the last one on.
///
/// As one of sled it is no snapshot: what is written meanwhile may be seen or not. What was there before and is not changed is
/// always seen, also when it goes from memory into sled meanwhile.
pub struct Scan<'a> {
    store: &'a Store,
    /// What is left.
    bounds: Bounds,
    back: bool,
    /// Of the entries in memory, when those here were read.
    generation: u64,
    sled: Option<Stored>,
    sled_ends: bool,
    /// The next one of sled.
    stored: Option<(IVec, IVec)>,
    /// The next ones in memory.
    newer: VecDeque<(IVec, Option<IVec>)>,
    /// There are no more than these.
    newer_ends: bool,
    /// Entries of sled that were given since memory was looked at.
    given: usize,
}

impl<'a> Scan<'a> {
    pub fn new(store: &'a Store, bounds: Bounds, back: bool) -> Self {
        let generation = store.overlay().generation();
        let newer = VecDeque::new();
        Scan {
            store,
            bounds,
            back,
            generation,
            sled: None,
            sled_ends: false,
            stored: None,
            newer,
            newer_ends: false,
            given: 0,
        }
    }

    /// Makes sure that the next one of each side is known, if there is one.
    fn look(&mut self) -> Result<(), WorldError> {
        loop {
            if self.stored.is_none() && !self.sled_ends {
                self.stored = self.next_of_sled()?;
                self.sled_ends = self.stored.is_none();
            }
            let overlay = self.store.overlay();
            if overlay.generation() == self.generation {
                if self.newer.is_empty() && (!self.newer_ends || self.given >= AT_ONCE) {
                    self.given = 0;
                    overlay.read(&self.bounds, self.back, AT_ONCE, &mut self.newer);
                    self.newer_ends = self.newer.len() < AT_ONCE;
                }
                return Ok(());
            }
            // What was in memory is in sled now, which may have been read before.
            self.generation = overlay.generation();
            drop(overlay);
            (self.sled, self.sled_ends, self.stored) = (None, false, None);
            self.newer.clear();
            self.newer_ends = false;
        }
    }

    fn next_of_sled(&mut self) -> Result<Option<(IVec, IVec)>, WorldError> {
        let entries = match &mut self.sled {
            Some(entries) => entries,
            none => none.insert(Stored::new(self.store, &self.bounds, self.back)?),
        };
        entries.next(self.store, &self.bounds)
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<(IVec, IVec), WorldError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if overlay::is_empty(&self.bounds) {
                return None;
            }
            if let Err(error) = self.look() {
                return Some(Err(error));
            }
            let order = match (self.newer.front(), &self.stored) {
                (Some((newer, _)), Some((stored, _))) if self.back => stored.cmp(newer),
                (Some((newer, _)), Some((stored, _))) => newer.cmp(stored),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => return None,
            };
            self.given += 1;
            let older = if order.is_ge() { self.stored.take() } else { None };
            let (key, value) = match order.is_le() {
                true => self.newer.pop_front()?,
                false => older.map(|(key, value)| (key, Some(value)))?,
            };
            match self.back {
                true => self.bounds.1 = Bound::Excluded(key.clone()),
                false => self.bounds.0 = Bound::Excluded(key.clone()),
            }
            if let Some(value) = value {
                return Some(Ok((key, value)));
            }
        }
    }
}
