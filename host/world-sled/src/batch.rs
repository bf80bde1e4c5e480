//! What is written at once.

use sled::IVec;

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

    pub fn into_changes(self) -> Vec<Change> {
        self.0
    }
}
