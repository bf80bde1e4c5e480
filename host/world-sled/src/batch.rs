//! What is written at once.

use sled::{Db, IVec};

/// An entry that is set, or removed where there is no value.
pub type Change = (IVec, Option<IVec>);

/// Entries to be written together.
#[derive(Default)]
pub struct Batch(Vec<Change>);

impl Batch {
    pub fn insert(&mut self, key: impl Into<IVec>, value: impl Into<IVec>) {
        self.0.push((key.into(), Some(value.into())));
    }

    pub fn remove(&mut self, key: impl Into<IVec>) {
        self.0.push((key.into(), None));
    }

    /// Inserts, or removes where there is no value.
    pub fn set(&mut self, key: impl Into<IVec>, value: Option<impl Into<IVec>>) {
        self.0.push((key.into(), value.map(Into::into)));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn changes(&self) -> &[Change] {
        &self.0
    }

    /// One entry is atomic by itself: sled's batch would add a record of its own, with one more write and wait for the
    /// disk, and one entry is what a sequential step comes to.
    pub fn apply(mut self, db: &Db) -> sled::Result<()> {
        if self.0.len() == 1
            && let Some((key, value)) = self.0.pop()
        {
            return match value {
                Some(value) => db.insert(key, value).map(drop),
                None => db.remove(key).map(drop),
            };
        }
        let mut batch = sled::Batch::default();
        for (key, value) in self.0 {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        db.apply_batch(batch)
    }
}
