//! What is in the journal and not in sled yet: what was written since the files were settled last, in memory.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use sled::IVec;

use crate::batch::Change;

/// Entries by key; none where one is removed.
pub type Entries = BTreeMap<IVec, Option<IVec>>;

/// From where to where.
pub type Bounds = (Bound<IVec>, Bound<IVec>);

/// What an entry takes in memory beside its bytes, about.
const ENTRY: usize = 120;

/// The entries that are newer than those of sled.
#[derive(Default)]
pub struct Overlay {
    /// What is written goes here.
    active: Entries,
    active_bytes: usize,
    /// What is on its way into sled, older than `active`.
    frozen: Option<Arc<Entries>>,
    frozen_bytes: usize,
    /// Changes when entries are in sled that were here: who reads both must begin again then.
    generation: u64,
}

impl Overlay {
    /// With entries that are on their way into sled already. There may be none of them and yet a file that they would be in: as
    /// long as the settler has that, nothing else is frozen.
    pub fn new(frozen: Option<Entries>) -> Self {
        let entries = frozen.iter().flatten();
        let frozen_bytes = entries.map(|(key, value)| size(key, value.as_ref())).sum();
        Overlay { frozen: frozen.map(Arc::new), frozen_bytes, ..Overlay::default() }
    }

    /// Whether it was empty before. `only_here`: whether sled has nothing under a key, so that its removal need not be kept.
    pub fn add(&mut self, changes: Vec<Change>, only_here: impl Fn(&IVec) -> bool) -> bool {
        let first = self.active.is_empty();
        for (key, value) in changes {
            let key_bytes = key.len();
            let frozen = || self.frozen.as_ref().is_some_and(|frozen| frozen.contains_key(&key));
            let old = if value.is_none() && only_here(&key) && !frozen() {
                self.active.remove(&key)
            } else {
                self.active_bytes += size(&key, value.as_ref());
                self.active.insert(key, value)
            };
            if let Some(old) = old {
                self.active_bytes -= ENTRY + key_bytes + old.map_or(0, |old| old.len());
            }
        }
        first
    }

    /// Whether the last change of a key was written since the last time that all was frozen.
    pub fn is_new(&self, key: &[u8]) -> bool {
        self.active.contains_key(key)
    }

    /// `Some(None)`: the entry is removed.
    pub fn get(&self, key: &[u8]) -> Option<Option<IVec>> {
        self.active.get(key).or_else(|| self.frozen.as_ref()?.get(key)).cloned()
    }

    /// The first entries between the bounds, removals included, at most so many; with `back` the last ones, from the end.
    pub fn read(&self, bounds: &Bounds, back: bool, most: usize, into: &mut VecDeque<(IVec, Option<IVec>)>) {
        if is_empty(bounds) {
            return;
        }
        let range = |entries: &'_ Entries| -> Vec<(IVec, Option<IVec>)> {
            let found = entries.range::<IVec, _>((bounds.0.as_ref(), bounds.1.as_ref()));
            let own = |(key, value): (&IVec, &Option<IVec>)| (key.clone(), value.clone());
            match back {
                true => found.rev().take(most).map(own).collect(),
                false => found.take(most).map(own).collect(),
            }
        };
        let mut new = range(&self.active).into_iter().peekable();
        let mut old = self.frozen.as_deref().map(range).unwrap_or_default().into_iter().peekable();
        while into.len() < most {
            let order = match (new.peek(), old.peek()) {
                (Some((new, _)), Some((old, _))) if back => old.cmp(new),
                (Some((new, _)), Some((old, _))) => new.cmp(old),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => return,
            };
            if order.is_eq() {
                old.next();
            }
            into.extend(if order.is_gt() { old.next() } else { new.next() });
        }
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Bytes of what was written since the last time that it was frozen.
    pub fn active_bytes(&self) -> usize {
        self.active_bytes
    }

    /// Bytes of memory that all of it takes, about.
    pub fn bytes(&self) -> usize {
        self.active_bytes + self.frozen_bytes
    }

    pub fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// What is on its way into sled.
    pub fn frozen(&self) -> Option<Arc<Entries>> {
        self.frozen.clone()
    }

    /// What was written goes its way into sled now. Nothing may be on it.
    pub fn freeze(&mut self) {
        debug_assert!(self.frozen.is_none(), "what is frozen would be lost");
        self.frozen = Some(Arc::new(std::mem::take(&mut self.active)));
        self.frozen_bytes = std::mem::take(&mut self.active_bytes);
    }

    /// What was frozen is in sled. It is returned for the caller to drop where nobody waits.
    pub fn settled(&mut self) -> Option<Arc<Entries>> {
        self.generation += 1;
        self.frozen_bytes = 0;
        self.frozen.take()
    }
}

/// Whether nothing can be between these bounds.
pub fn is_empty(bounds: &Bounds) -> bool {
    match (&bounds.0, &bounds.1) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
        _ => false,
    }
}

fn size(key: &IVec, value: Option<&IVec>) -> usize {
    ENTRY + key.len() + value.map_or(0, |value| value.len())
}
