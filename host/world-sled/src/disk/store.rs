//! sled, and the journal before it: what is written is durable in the journal and readable in memory; sled gets it later.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use durhai_world::WorldError;
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard};
use sled::{Db, IVec};

use super::blocks::cache::Cache;
use super::blocks::layout::{BLOCK, EMPTY, IN_BLOCKS, stands_alone};
use super::journal::read::Part;
use super::journal::unsettled::Mark;
use super::journal::{Journal, make_durable};
use super::overlay::{Entries, Overlay};
use super::settle::Settling;
use crate::batch::Change;
use crate::fault::panic_text;
use crate::sync::sync_folder;

/// How coarse the times of a file system may be.
const TICK: Duration = Duration::from_millis(50);

/// What was written so long ago is on the disk, whoever wrote it: the operating system does it within a minute.
const OLD: Duration = Duration::from_secs(600);

/// With so many windows in memory those who write wait until one of them is in sled.
const MOST_WINDOWS: usize = 4;

/// With so many windows in its file a journal goes on in the next one.
const FILE_WINDOWS: usize = 4;

/// What an open store has on the disk and in memory.
pub struct Store {
    db: Db,
    folder: PathBuf,
    /// sled's log file, through a handle of our own. sled's `flush` hands the data to the disk (`sync_file_range`), which
    /// outlives a killed process but not a power cut: neither the file's size nor the disk's cache is covered.
    file: File,
    blobs: Mutex<Blobs>,
    pub(super) journal: Mutex<Journal>,
    overlay: RwLock<Overlay>,
    blocks: Mutex<Cache>,
    pub(super) settling: Mutex<Settling>,
    pub(super) settled: Condvar,
    /// As long as it is not set, what is written goes into sled at once.
    journaled: AtomicBool,
    /// Bytes in memory that go into sled together.
    window: usize,
    /// They do so too when nothing was written for so long.
    pub(super) idle: Duration,
    /// Batches applied.
    applied: AtomicU64,
    /// So many of them are known to be on the disk. Held by the caller that writes.
    synced: Mutex<u64>,
    syncs: AtomicU64,
    /// Why nothing can be written any more.
    failed: OnceLock<String>,
}

/// The folder in which sled puts large pages as files of their own.
#[derive(Default)]
struct Blobs {
    /// As it was when it was synced last.
    changed: Option<SystemTime>,
    /// All files up to this name are durable.
    newest: Option<i64>,
}

/// The parts of a store that was just opened.
pub struct Opened {
    pub db: Db,
    pub file: File,
    pub folder: PathBuf,
    pub journal: Journal,
    pub overlay: Overlay,
    pub settling: Settling,
    pub window: usize,
    pub idle: Duration,
    /// Bytes of memory for blocks that were read.
    pub cache: usize,
}

impl Store {
    pub fn new(opened: Opened) -> Self {
        let Opened { db, file, folder, journal, overlay, settling, window, idle, cache } = opened;
        Store {
            db,
            folder,
            file,
            blobs: Mutex::default(),
            journal: Mutex::new(journal),
            overlay: RwLock::new(overlay),
            blocks: Mutex::new(Cache::new(cache)),
            settling: Mutex::new(settling),
            settled: Condvar::new(),
            journaled: AtomicBool::new(false),
            window,
            idle,
            applied: AtomicU64::new(0),
            synced: Mutex::default(),
            syncs: AtomicU64::new(0),
            failed: OnceLock::new(),
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn db(&self) -> &Db {
        &self.db
    }

    /// How often the disk was waited for by those who write.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    pub fn overlay(&self) -> RwLockReadGuard<'_, Overlay> {
        self.overlay.read()
    }

    /// The blocks that were read lately. Nothing else is locked while it is held.
    pub(super) fn blocks(&self) -> MutexGuard<'_, Cache> {
        self.blocks.lock()
    }

    /// Whether nothing was ever written: a new store may have been cut off before it said its format.
    pub fn is_empty(&self) -> Result<bool, WorldError> {
        let begun = |entry: &sled::Result<(IVec, IVec)>| {
            entry.as_ref().is_ok_and(|(key, value)| **key == *IN_BLOCKS || (**key == [BLOCK] && **value == *EMPTY))
        };
        let other = self.guard("read", || self.db.iter().find(|entry| !begun(entry)).transpose())?;
        Ok(other.is_none() && self.overlay().bytes() == 0)
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<IVec>, WorldError> {
        if let Some(found) = self.overlay().get(key) {
            return Ok(found);
        }
        self.stored(key)
    }

    /// Applies a batch, all of it or nothing; visible at once, durable after [`sync`](Self::sync). One at a time.
    pub fn apply(&self, changes: Vec<Change>) -> Result<(), WorldError> {
        if !self.journaled.load(Ordering::Acquire) {
            let done = self.apply_to_sled(changes);
            self.applied.fetch_add(1, Ordering::AcqRel);
            return self.keep_failure(done);
        }
        if self.overlay().bytes() > self.windows(MOST_WINDOWS)
            || self.journal.lock().pending() > self.windows(MOST_WINDOWS)
        {
            self.sync()?;
        }
        let (generation, fresh) = {
            let overlay = self.overlay();
            let removed = changes.iter().filter(|(key, value)| value.is_none() && overlay.is_new(key));
            (overlay.generation(), removed.map(|(key, _)| key.clone()).collect::<Vec<_>>())
        };
        // Most of what is removed was written a moment before. Where sled cannot say, the removal is kept.
        let gone: HashSet<IVec> = fresh.into_iter().filter(|key| matches!(self.is_stored(key), Ok(false))).collect();
        let mut journal = self.journal.lock();
        journal.add(&changes);
        // Before the next batch comes into the journal.
        let mut overlay = self.overlay.write();
        let same = overlay.generation() == generation;
        let first = overlay.add(changes, |key| same && gone.contains(key));
        drop(overlay);
        self.applied.fetch_add(1, Ordering::AcqRel);
        drop(journal);
        if first {
            // The settler sleeps while there is nothing. It has either not looked yet, or waits.
            let _held = self.settling.lock();
            self.settled.notify_all();
        }
        Ok(())
    }

    /// Makes everything durable that was applied before the call. Callers that come meanwhile share the next one.
    pub fn sync(&self) -> Result<(), WorldError> {
        let wanted = self.applied.load(Ordering::Acquire);
        let mut synced = self.synced.lock();
        self.check()?;
        if *synced < wanted {
            *synced = self.write_out()?;
        }
        let fill = self.fill();
        if fill < self.window {
            return Ok(());
        }
        if self.overlay().bytes().max(fill) > self.windows(MOST_WINDOWS) {
            self.wait_until_settled()?;
        }
        if !self.overlay().is_frozen() {
            *synced = self.freeze(false)?;
        }
        Ok(())
    }

    /// What is in memory goes its way into sled, if nothing else is on it. Does nothing while another caller writes: the settler,
    /// for which that one may wait, must not wait for it. `last`: nothing is written any more.
    pub(super) fn try_freeze(&self, last: bool) -> Result<(), WorldError> {
        let Some(mut synced) = self.synced.try_lock() else { return Ok(()) };
        self.check()?;
        if !self.overlay().is_frozen() && self.fill() > 0 {
            *synced = self.freeze(last)?;
        }
        Ok(())
    }

    /// How full the window is: by what is in memory, or by what the file has, in which an entry stands as often as it was written.
    pub(super) fn fill(&self) -> usize {
        let written = usize::try_from(self.journal.lock().written()).unwrap_or(usize::MAX);
        self.overlay().active_bytes().max(written / FILE_WINDOWS)
    }

    fn windows(&self, count: usize) -> usize {
        self.window.saturating_mul(count)
    }

    /// Writes what was applied, and how many batches that were. For the holder of `synced`.
    fn write_out(&self) -> Result<u64, WorldError> {
        let covers = self.applied.load(Ordering::Acquire);
        let done = match self.journaled.load(Ordering::Acquire) {
            false => self.flush_sled(),
            true => self.io("write to", || {
                let piece = self.journal.lock().next_piece()?;
                piece.map_or(Ok(()), |piece| piece.write())
            }),
        };
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.keep_failure(done).map(|()| covers)
    }

    /// Lets what is in memory go its way into sled; nothing may be on it. Nothing is applied meanwhile. For the holder of
    /// `synced`.
    fn freeze(&self, last: bool) -> Result<u64, WorldError> {
        let mut journal = self.journal.lock();
        // All of it must be durable: of a batch of which sled has a part, the other part must be there after a crash.
        let ended = self.io("write to", || {
            journal.next_piece()?.map_or(Ok(()), |piece| piece.write())?;
            journal.rotate(last)
        });
        let covers = self.applied.load(Ordering::Acquire);
        if let Some(ended) = self.keep_failure(ended)? {
            self.overlay.write().freeze();
            self.settling.lock().begin(ended);
            self.settled.notify_all();
        }
        Ok(covers)
    }

    /// From now on what is written goes into the journal, whose first file is there before sled says so. `mark`: as it is in sled;
    /// `unsettled`: files that were found behind it.
    pub fn begin_journal(&self, mark: Mark, unsettled: &[Part]) -> Result<(), WorldError> {
        // A process that was killed may have written the mark, and what it covers, without having waited for the disk.
        self.keep_failure(self.flush_sled())?;
        let begun = self.io("write to", || {
            make_durable(unsettled)?;
            let mut journal = self.journal.lock();
            journal.of_store(mark.store);
            journal.give_back(Vec::new())?;
            journal.begin()
        });
        self.keep_failure(begun)?;
        let mark = Mark { open: true, ..mark };
        self.settling.lock().mark = mark;
        self.put_into_sled(Mark::KEY, &mark.value())?;
        self.journaled.store(true, Ordering::Release);
        Ok(())
    }

    /// What was frozen is in sled. It is returned for the caller to drop where no other waits.
    pub(super) fn thaw(&self) -> Option<Arc<Entries>> {
        self.overlay.write().settled()
    }

    /// What is said of the store itself comes last, and together.
    fn apply_to_sled(&self, changes: Vec<Change>) -> Result<(), WorldError> {
        let (own, entries): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(key, _)| stands_alone(key));
        let entries: Entries = entries.into_iter().collect();
        self.put(entries.iter().map(|(key, value)| (key, value.as_ref())), &mut |_| Ok(()))?;
        if own.is_empty() { Ok(()) } else { self.apply_alone(own) }
    }

    /// Changes entries that stand alone, all together.
    pub(super) fn apply_alone(&self, changes: Vec<Change>) -> Result<(), WorldError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.guard("write to", || self.db.apply_batch(batch))
    }

    /// Makes durable what sled has.
    pub(super) fn flush_sled(&self) -> Result<(), WorldError> {
        self.guard("write to", || {
            // What leads to them may be on the disk as soon as it is written.
            self.sync_blobs()?;
            self.db.flush()?;
            Ok(self.file.sync_data()?)
        })
    }

    /// sled puts large pages into files of their own and makes neither them nor their names durable. There are some only while a store of
    /// an older format is taken over. They are named after their place
    /// in the log, so newer ones have higher names.
    fn sync_blobs(&self) -> io::Result<()> {
        let files = self.folder.join("sled").join("blobs");
        let changed = std::fs::metadata(&files)?.modified()?;
        let mut known = self.blobs.lock();
        if known.changed == Some(changed) {
            return Ok(());
        }
        let mut newest = known.newest;
        for entry in std::fs::read_dir(&files)? {
            let entry = entry?;
            let Some(place) = entry.file_name().to_str().and_then(|name| name.parse::<i64>().ok()) else { continue };
            if known.newest.is_some_and(|newest| place <= newest) || (known.newest.is_none() && is_old(&entry)) {
                continue;
            }
            match File::open(entry.path()) {
                Ok(file) => file.sync_data()?,
                // It is gone with its page.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            newest = newest.max(Some(place));
        }
        sync_folder(&files)?;
        known.newest = newest;
        // A time that is too new may come again with the next file.
        known.changed = changed.elapsed().is_ok_and(|age| age > TICK).then_some(changed);
        Ok(())
    }

    /// Fails if the store has failed before.
    pub fn check(&self) -> Result<(), WorldError> {
        self.failed.get().map_or(Ok(()), |text| Err(WorldError::Unavailable(text.clone())))
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
            // A caller that waits for the settler must not, and is either about to look or waits already.
            let _held = self.settling.lock();
            self.settled.notify_all();
        }
        done
    }

    pub fn guard<T>(&self, what: &str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, WorldError> {
        let done = catch_unwind(AssertUnwindSafe(call));
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(sled::Error::Io(error))) => Err(self.unavailable(what, &error)),
            Ok(Err(error)) => Err(self.corrupt(error)),
            Err(panic) => Err(self.corrupt(panic_text(&*panic))),
        }
    }

    pub fn io<T>(&self, what: &str, call: impl FnOnce() -> io::Result<T>) -> Result<T, WorldError> {
        call().map_err(|error| self.unavailable(what, &error))
    }

    fn unavailable(&self, what: &str, error: &io::Error) -> WorldError {
        WorldError::Unavailable(format!(
            "cannot {what} the store in {}: {error}; what was acknowledged is safe: remove the cause, then start again",
            self.folder.display()
        ))
    }

    /// Sets or replaces entries of sled itself, durable when it returns. For what must be true of it before the journal begins or
    /// when it ends.
    pub(super) fn put_into_sled(&self, key: &[u8], value: &[u8]) -> Result<(), WorldError> {
        let done = self.guard("write to", || self.db.insert(key, value).map(drop)).and_then(|()| self.flush_sled());
        self.keep_failure(done)
    }
}

/// One that a process wrote long before this one began. A time that cannot be told is none.
fn is_old(entry: &std::fs::DirEntry) -> bool {
    let modified = entry.metadata().and_then(|meta| meta.modified());
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > OLD))
}
