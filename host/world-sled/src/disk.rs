//! The only way to what is stored: reads, durable writes, errors that name the folder.

mod blocks;
mod journal;
pub mod lock;
#[cfg(test)]
mod model;
mod overlay;
pub mod recorder;
mod scan;
mod settle;
mod store;
mod stored;

pub use blocks::block::{Block, Unreadable};
pub use blocks::layout::{BLOCK, Head, IN_BLOCKS, PART};
pub use journal::random;
pub use journal::read as journal_files;
pub use journal::unsettled::{Mark, unsettled};

use std::fs::File;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use durhai_world::WorldError;
use parking_lot::Mutex;
use sled::{Db, IVec};

use crate::batch::Batch;
use crate::{fault, keys};
use journal::Journal;
use overlay::{Entries, Overlay};
use recorder::{Recorder, Recording};
use scan::Scan;
use settle::{Settler, Settling};
use store::{Opened, Store};

/// An open store.
pub struct Disk {
    /// Ends when the store is closed; must be dropped before it.
    settler: Option<Settler>,
    store: Arc<Store>,
    /// What was found of the journal, until it is begun.
    unsettled: Vec<journal_files::Part>,
    /// While a copy is made; held from before a batch is applied until it is recorded.
    recorder: Mutex<Option<Recorder>>,
    /// What was set aside when it was opened, a sentence each.
    aside: Vec<String>,
    /// Held as long as the store is open; must be dropped last.
    _lock: File,
}

/// What an open store is made of.
pub struct Parts {
    pub db: Db,
    /// sled's log file.
    pub file: File,
    /// The folder, which this process has locked.
    pub lock: File,
    pub folder: PathBuf,
    /// What was set aside, a sentence each.
    pub aside: Vec<String>,
    /// Bytes that are written before they go into sled together.
    pub window: usize,
    /// They do so too when nothing was written for so long.
    pub idle: Duration,
    /// Bytes of memory for blocks that were read.
    pub cache: usize,
}

impl Disk {
    /// Around sled and what the journal has that sled has not. As long as the journal is not [begun](Self::begin_journal), what is
    /// written goes into sled.
    pub fn new(parts: Parts) -> Result<Self, WorldError> {
        let Parts { db, file, lock, folder, aside, window, idle, cache } = parts;
        let damaged = |what: &str, more| fault::damaged(&folder, what, more);
        let mark = match fault::read(&db, Mark::KEY, &folder)? {
            Some(value) => {
                Mark::of_value(&value).ok_or_else(|| damaged("its mark of the journal cannot be read", 0))?
            }
            None => Mark::new(0),
        };
        let mut entries = Entries::new();
        let journal = folder.join("journal");
        let take = &mut |key: &[u8], value: Option<&[u8]>| drop(entries.insert(key.into(), value.map(Into::into)));
        let found = unsettled(&journal, Some(mark), take).map_err(|error| error.to_string());
        let found = match found {
            Ok(found) => found.unreadable.first().cloned().map_or(Ok(found), Err),
            failed => failed,
        };
        let found = found.map_err(|error| {
            WorldError::Unavailable(format!("cannot read the journal of the store in {}: {error}", folder.display()))
        })?;
        if let Some(first) = found.damage.first() {
            return Err(damaged(first, found.damage.len() - 1));
        }
        let keep = u64::try_from(window).unwrap_or(u64::MAX).saturating_mul(8).max(1 << 20);
        let journal = Journal::new(journal, mark.store, found.last.unwrap_or(mark.settled), found.free, keep);
        let files = found.files.iter().map(|file| file.path.clone()).collect();
        let settling = Settling::new(mark, found.last, files);
        let overlay = Overlay::new(found.last.map(|_| entries));
        let store = Arc::new(Store::new(Opened { db, file, folder, journal, overlay, settling, window, idle, cache }));
        Ok(Disk { settler: None, store, unsettled: found.files, recorder: Mutex::default(), aside, _lock: lock })
    }

    /// Brings the entries of an older format into the blocks of this one. An empty store has them then. What says so is written
    /// before anything is removed.
    pub fn take_over(&self, format: Batch) -> Result<(), WorldError> {
        self.store.keep_failure(self.store.take_over(format.into_changes()))
    }

    /// Looks for damage of the blocks in which the entries stand.
    pub fn verify_blocks(&self, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
        self.store.verify_blocks(report)
    }

    /// From now on what is written goes into the journal.
    pub fn begin_journal(&mut self) -> Result<(), WorldError> {
        // The one that was found is that of an older format; that of this one has its store.
        let found = fault::read(self.store.db(), Mark::KEY, self.folder())?;
        let Some(mark) = found.and_then(|value| Mark::of_value(&value)) else {
            return Err(self.corrupt("it does not say how much of its journal it has"));
        };
        self.store.begin_journal(mark, &std::mem::take(&mut self.unsettled))?;
        self.settler = Some(Settler::start(&self.store)?);
        Ok(())
    }

    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> Result<bool, WorldError> {
        self.store.is_empty()
    }

    /// How often the store was opened, this time included.
    pub fn count_open(&self) -> Result<u64, WorldError> {
        let key = keys::named(keys::OWN, "opened");
        let opened = self.get(&key)?.and_then(|value| keys::last_number(&value)).unwrap_or(0) + 1;
        let mut batch = Batch::default();
        batch.insert(key, &opened.to_be_bytes());
        self.apply(batch)?;
        Ok(opened)
    }

    pub fn folder(&self) -> &Path {
        self.store.folder()
    }

    pub fn aside(&self) -> &[String] {
        &self.aside
    }

    /// How often those who write waited for the disk.
    pub fn syncs(&self) -> u64 {
        self.store.syncs()
    }

    /// Bytes of memory that what is not in sled yet takes, about.
    pub fn unsettled(&self) -> u64 {
        self.store.overlay().bytes() as u64
    }

    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<IVec>, WorldError> {
        self.store.get(key.as_ref())
    }

    pub fn has(&self, key: impl AsRef<[u8]>) -> Result<bool, WorldError> {
        self.get(key).map(|found| found.is_some())
    }

    /// The entries whose keys are in the range, in order.
    pub fn range(&self, range: impl RangeBounds<Vec<u8>>) -> Scan<'_> {
        Scan::new(&self.store, bounds(&range), false)
    }

    /// The same from the last one on.
    pub fn range_back(&self, range: impl RangeBounds<Vec<u8>>) -> Scan<'_> {
        Scan::new(&self.store, bounds(&range), true)
    }

    /// The entries whose keys begin with this, in order.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Scan<'_> {
        Scan::new(&self.store, within(prefix.as_ref()), false)
    }

    /// The last one whose key begins with this.
    pub fn last(&self, prefix: impl AsRef<[u8]>) -> Result<Option<(IVec, IVec)>, WorldError> {
        Scan::new(&self.store, within(prefix.as_ref()), true).next().transpose()
    }

    /// Fails if the store has failed before.
    pub fn check(&self) -> Result<(), WorldError> {
        self.store.check()
    }

    /// Applies the batch, all of it or nothing; visible at once, durable after [`sync`](Self::sync).
    pub fn apply(&self, batch: Batch) -> Result<(), WorldError> {
        self.check()?;
        let mut recorder = self.recorder.lock();
        let changes = batch.into_changes();
        if let Some(recorder) = &mut *recorder {
            recorder.add(changes.clone());
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.store.apply(changes)
    }

    /// Records from now on what is written, until the value is dropped.
    pub fn record(&self) -> Result<Recording<'_>, WorldError> {
        Recording::begin(&self.recorder)
    }

    /// Makes everything durable that was applied before the call. Callers that come meanwhile share the next one.
    pub fn sync(&self) -> Result<(), WorldError> {
        self.store.sync()
    }

    /// The bytes of all files.
    pub fn size(&self) -> Result<u64, WorldError> {
        fn of(folder: &Path) -> std::io::Result<u64> {
            let mut bytes = 0;
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                // Files are removed while we look.
                bytes += match entry.metadata() {
                    Ok(meta) if meta.is_dir() => of(&entry.path())?,
                    Ok(meta) => meta.len(),
                    Err(_) => 0,
                };
            }
            Ok(bytes)
        }
        of(self.folder())
            .map_err(|error| WorldError::Unavailable(format!("cannot measure {}: {error}", self.folder().display())))
    }

    pub fn corrupt(&self, what: impl std::fmt::Display) -> WorldError {
        self.store.corrupt(what)
    }

    /// After a failed write it is not known what is on the disk and what is not: every later one is refused.
    pub fn keep_failure<T>(&self, done: Result<T, WorldError>) -> Result<T, WorldError> {
        self.store.keep_failure(done)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.settler.is_some() {
            self.store.close();
        }
    }
}

fn bounds(range: &impl RangeBounds<Vec<u8>>) -> overlay::Bounds {
    let own = |bound: Bound<&Vec<u8>>| bound.map(|key| IVec::from(key.as_slice()));
    (own(range.start_bound()), own(range.end_bound()))
}

/// From where to where keys begin with this.
fn within(prefix: &[u8]) -> overlay::Bounds {
    let highest = prefix.iter().rposition(|byte| *byte < u8::MAX);
    let end = highest.map_or(Bound::Unbounded, |at| {
        let mut end = prefix[..=at].to_vec();
        end[at] += 1;
        Bound::Excluded(IVec::from(end))
    });
    (Bound::Included(IVec::from(prefix)), end)
}
