//! sled, and what must be done around it: the only file that writes to the store. Durable writes, errors that name the folder.

pub mod lock;
pub mod recorder;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use durhai_world::WorldError;
use parking_lot::Mutex;
use sled::{Db, IVec};

use crate::batch::Batch;
use crate::keys;
use recorder::{Recorder, Recording};

/// How coarse the times of a file system may be.
const TICK: Duration = Duration::from_millis(50);

/// An open store. Everything that sled can fail at goes through here.
pub struct Disk {
    db: Db,
    folder: PathBuf,
    /// sled's log file, through a handle of our own. sled's `flush` hands the data to the disk (`sync_file_range`), which
    /// outlives a killed process but not a power cut: neither the file's size nor the disk's cache is covered.
    file: File,
    /// Batches applied.
    applied: AtomicU64,
    synced: Mutex<Synced>,
    syncs: AtomicU64,
    /// While a copy is made; held from before a batch is applied until it is recorded.
    recorder: Mutex<Option<Recorder>>,
    /// Why nothing can be written any more.
    failed: OnceLock<String>,
    /// What was set aside when it was opened, a sentence each.
    aside: Vec<String>,
    /// Held as long as the store is open; must be dropped last.
    _lock: File,
}

/// What is known to be on the disk.
#[derive(Default)]
struct Synced {
    /// So many batches.
    applied: u64,
    /// The folder in which sled puts large pages as files of their own, as it was changed at this time.
    files: Option<SystemTime>,
}

impl Disk {
    /// Around sled and its log file, in a folder that this process has locked. `aside`: what was set aside, a sentence each.
    pub fn new(db: Db, file: File, lock: File, folder: &Path, aside: Vec<String>) -> Self {
        Disk {
            db,
            folder: folder.to_owned(),
            file,
            applied: AtomicU64::new(0),
            synced: Mutex::default(),
            syncs: AtomicU64::new(0),
            recorder: Mutex::default(),
            failed: OnceLock::new(),
            aside,
            _lock: lock,
        }
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
        &self.folder
    }

    pub fn aside(&self) -> &[String] {
        &self.aside
    }

    /// How often the file was synced.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<IVec>, WorldError> {
        self.guard("read", || self.db.get(key))
    }

    pub fn has(&self, key: impl AsRef<[u8]>) -> Result<bool, WorldError> {
        self.guard("read", || self.db.contains_key(key))
    }

    /// The entries whose keys are in the range, in order, from either end.
    pub fn range(
        &self,
        range: impl std::ops::RangeBounds<Vec<u8>>,
    ) -> impl DoubleEndedIterator<Item = Result<(IVec, IVec), WorldError>> {
        let mut entries = self.db.range(range);
        Entries {
            next: move |back: bool| {
                self.guard("read", || if back { entries.next_back() } else { entries.next() }.transpose()).transpose()
            },
        }
    }

    /// The entries whose keys begin with this.
    pub fn prefix(
        &self,
        prefix: impl AsRef<[u8]>,
    ) -> impl DoubleEndedIterator<Item = Result<(IVec, IVec), WorldError>> {
        let mut entries = self.db.scan_prefix(prefix);
        Entries {
            next: move |back: bool| {
                self.guard("read", || if back { entries.next_back() } else { entries.next() }.transpose()).transpose()
            },
        }
    }

    /// Fails if the store has failed before.
    pub fn check(&self) -> Result<(), WorldError> {
        self.failed.get().map_or(Ok(()), |text| Err(WorldError::Unavailable(text.clone())))
    }

    /// Applies the batch, all of it or nothing; visible at once, durable after [`sync`](Self::sync).
    pub fn apply(&self, batch: Batch) -> Result<(), WorldError> {
        self.check()?;
        // sled takes one batch at a time anyway.
        let mut recorder = self.recorder.lock();
        let recorded = recorder.as_ref().map(|_| batch.changes().to_vec());
        let done = self.guard("write to", || batch.apply(&self.db));
        self.applied.fetch_add(1, Ordering::AcqRel);
        if let (Some(recorder), Some(changes)) = (&mut *recorder, recorded) {
            recorder.add(changes);
        }
        drop(recorder);
        self.keep_failure(done)
    }

    /// Records from now on what is written, until the value is dropped.
    pub fn record(&self) -> Result<Recording<'_>, WorldError> {
        Recording::begin(&self.recorder)
    }

    /// Makes everything durable that was applied before the call. Callers that come meanwhile share the next one.
    pub fn sync(&self) -> Result<(), WorldError> {
        let wanted = self.applied.load(Ordering::Acquire);
        let mut synced = self.synced.lock();
        self.check()?;
        if synced.applied >= wanted {
            return Ok(());
        }
        let covers = self.applied.load(Ordering::Acquire);
        let done = self.guard("write to", || {
            self.db.flush()?;
            self.file.sync_data()?;
            self.syncs.fetch_add(1, Ordering::Relaxed);
            Ok(self.sync_files(&mut synced.files)?)
        });
        self.keep_failure(done)?;
        synced.applied = covers;
        Ok(())
    }

    /// sled syncs the files that it makes for large pages, but not the folder they are in.
    fn sync_files(&self, known: &mut Option<SystemTime>) -> std::io::Result<()> {
        let files = self.folder.join("sled").join("blobs");
        let changed = std::fs::metadata(&files)?.modified()?;
        if *known == Some(changed) {
            return Ok(());
        }
        sync_folder(&files)?;
        // A time that is too new may come again with the next file.
        *known = changed.elapsed().is_ok_and(|age| age > TICK).then_some(changed);
        Ok(())
    }

    /// The bytes of all files.
    pub fn size(&self) -> Result<u64, WorldError> {
        fn of(folder: &Path) -> std::io::Result<u64> {
            let mut bytes = 0;
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                // sled removes files while we look.
                bytes += match entry.metadata() {
                    Ok(meta) if meta.is_dir() => of(&entry.path())?,
                    Ok(meta) => meta.len(),
                    Err(_) => 0,
                };
            }
            Ok(bytes)
        }
        of(&self.folder)
            .map_err(|error| WorldError::Unavailable(format!("cannot measure {}: {error}", self.folder.display())))
    }

    pub fn corrupt(&self, what: impl std::fmt::Display) -> WorldError {
        WorldError::Corrupt(format!(
            "the store in {} is damaged: {what}; `durhai doctor` lists the damage, --repair saves what can be read",
            self.folder.display()
        ))
    }

    /// After a failed write it is not known what is on the disk and what is not: every later one is refused.
    pub fn keep_failure<T>(&self, done: Result<T, WorldError>) -> Result<T, WorldError> {
        if let Err(error) = &done
            && self.failed.set(error.to_string()).is_ok()
        {
            // sled's last handle flushes when it is dropped, and after a failed write it waits for that for ever.
            std::mem::forget(self.db.clone());
        }
        done
    }

    fn guard<T>(&self, what: &str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, WorldError> {
        let done = catch_unwind(AssertUnwindSafe(call));
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(sled::Error::Io(error))) => Err(WorldError::Unavailable(format!(
                "cannot {what} the store in {}: {error}; what was acknowledged is safe: remove the cause, then start again",
                self.folder.display()
            ))),
            Ok(Err(error)) => Err(self.corrupt(error)),
            Err(panic) => Err(self.corrupt(panic_text(&*panic))),
        }
    }
}

struct Entries<F> {
    next: F,
}

impl<T, F: FnMut(bool) -> Option<T>> Iterator for Entries<F> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        (self.next)(false)
    }
}

impl<T, F: FnMut(bool) -> Option<T>> DoubleEndedIterator for Entries<F> {
    fn next_back(&mut self) -> Option<T> {
        (self.next)(true)
    }
}

#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file, and its entries are durable with the files.
#[cfg(not(unix))]
pub fn sync_folder(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// What a panic said; sled may panic on a damaged file.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("sled panicked").to_owned()
}
