//! The embedded world of durhai, on [sled](https://docs.rs/sled/0.34): one folder, one process.
//!
//! What is written together is one record of a journal and one wait for the disk, shared by all who write meanwhile; it goes
//! into sled later, many writes at once.
//! Claims last as long as the process; leases are not needed and ignored. After a crash the runs that were held can be
//! claimed again as their rows' `wake_at` says, with one more try.
//!
//! The layout of the folder: `lock` (the owner's process id), `sled/` (sled's files), `journal/` (what sled has not got yet; its
//! format is in `disk/journal/record.rs`); that of the keys is in `keys.rs`.

mod batch;
mod copy;
mod cursor;
mod disk;
mod entries;
mod fault;
mod format;
mod keys;
mod open;
mod read;
mod restore;
mod salvage;
mod state;
mod sweep;
mod sync;
mod verify;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durhai_core::{Millis, RunId, Version};
use durhai_world::{
    Admission, Chunk, Claim, Count, Holder, Hook, InboxMessage, Notice, Page, Query, Queue, Record, Refused, Renewed,
    Row, Snapshot, Standing, Watcher, World, WorldError, WorldSize, Write, Written,
};
use parking_lot::{Mutex, MutexGuard};

use batch::Batch;
use disk::Disk;
pub use salvage::Salvaged;
pub use salvage::files::Files;
use state::State;
use sweep::Sweeper;
use write::WriteTxn;

/// A world in a folder of this machine.
///
/// Everything that a call which writes returns `Ok` for is on the disk; a [`reserve`](World::reserve) writes nothing, and
/// ends with the process. Readers may see what is not there yet, for the length of one sync.
/// After a write that the disk refused, every later write fails with the same message; what was acknowledged is safe.
pub struct SledWorld {
    disk: Arc<Disk>,
    state: Mutex<State>,
    watchers: Mutex<Vec<Watcher>>,
    sweeper: Sweeper,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Memory for what was read and written lately, in bytes; the default is 4 MiB. sled takes about twice as much, and a quarter
    /// of it beside that is for what was read out of sled's entries.
    pub cache_bytes: u64,
    /// What is written is in memory, and on the disk in a journal, until it is so many bytes; then it goes into the tree together,
    /// in the background. The default is 4 MiB. While the disk is slower than those who write it can be four times as much.
    pub window_bytes: usize,
    /// When nothing was written for so long it goes into the tree too, however little it is. The default is 2 seconds.
    pub idle: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { cache_bytes: 4 << 20, window_bytes: 4 << 20, idle: Duration::from_secs(2) }
    }
}

impl SledWorld {
    /// Opens the store in this folder, or makes one there. One of an older format is brought up to date first, after which
    /// the older version refuses it. Its files are looked at before: damaged ones that can be made anew are renamed, everything
    /// is [verified](World::verify) then, and a warning says so.
    ///
    /// # Errors
    ///
    /// [`WorldError::Locked`] if another process (or this one) has it open, [`WorldError::Corrupt`] if it is damaged,
    /// [`WorldError::Unavailable`] if it cannot be read or is of a newer format.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, WorldError> {
        Self::open_with(folder, &Options::default())
    }

    /// Opens with other options.
    pub fn open_with(folder: impl AsRef<Path>, options: &Options) -> Result<Self, WorldError> {
        let disk = Arc::new(open::open(folder.as_ref(), options)?);
        let state = Mutex::new(State::recover(&disk)?);
        let world = SledWorld { disk, state, watchers: Mutex::default(), sweeper: Sweeper::default() };
        world.say_what_was_set_aside()?;
        if world.disk.prefix([keys::GARBAGE]).next().is_some() {
            world.sweeper.wake(&world.disk);
        }
        Ok(world)
    }

    /// Looks at the files of a store without changing them, and without opening it.
    ///
    /// # Errors
    ///
    /// [`WorldError::Locked`] if a process has it open, [`WorldError::Unavailable`] if it cannot be read.
    pub fn examine(folder: impl AsRef<Path>) -> Result<Files, WorldError> {
        salvage::files::examine(folder.as_ref())
    }

    /// Puts everything that can be read in the files of a damaged store into a new one in another folder, which is made. The
    /// damaged one is not changed. All of it is in memory meanwhile. Indexes and counters are as they were found: what is [copied](World::copy) from the new
    /// store and restored has them right.
    ///
    /// # Errors
    ///
    /// [`WorldError::Locked`] if a process has it open, [`WorldError::Unavailable`] if one of them cannot be read or written.
    pub fn salvage(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Salvaged, WorldError> {
        salvage::salvage(from.as_ref(), to.as_ref())
    }

    /// What was damaged and set aside when it was opened, a sentence each: files that are made anew when they are missing.
    pub fn set_aside(&self) -> &[String] {
        self.disk.aside()
    }

    /// The folder it is in.
    pub fn folder(&self) -> &Path {
        self.disk.folder()
    }

    /// How often the disk was synced since the store was opened: to measure how well writes are grouped.
    pub fn syncs(&self) -> u64 {
        self.disk.syncs()
    }

    /// Bytes of memory that take what is in the journal only, about.
    pub fn unsettled(&self) -> u64 {
        self.disk.unsettled()
    }

    /// Waits until all of the deleted runs is gone from the disk.
    pub fn finish_deletes(&self) {
        self.sweeper.finish(false);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What the data file has is looked at as a whole, as nothing else vouches for it then.
    fn say_what_was_set_aside(&self) -> Result<(), WorldError> {
        if self.set_aside().is_empty() {
            return Ok(());
        }
        let mut found = 0;
        self.verify(&mut |_| found += 1)?;
        for aside in self.set_aside() {
            match found {
                0 => tracing::warn!("{aside}; every entry was looked at, and none is missing"),
                _ => tracing::warn!(
                    "{aside}; every entry was looked at: `durhai doctor` lists what is wrong with {found}"
                ),
            }
        }
        Ok(())
    }

    /// Sets one entry, or removes it.
    fn set(&self, key: Vec<u8>, value: Option<&[u8]>) -> Result<(), WorldError> {
        let mut batch = Batch::default();
        batch.set(key, value);
        // What is compared and written in one step is not changed in between.
        let state = self.state();
        self.disk.apply(batch)?;
        drop(state);
        self.disk.sync()
    }

    /// Does what may change several things, makes it durable and notifies the watchers.
    fn transact<T>(&self, change: impl FnOnce(&mut WriteTxn<'_>) -> Result<T, WorldError>) -> Result<T, WorldError> {
        self.disk.check()?;
        let mut state = self.state();
        let mut txn = WriteTxn::new(&self.disk, &mut state);
        let done = change(&mut txn).inspect_err(|_| txn.abandon())?;
        self.disk.keep_failure(txn.apply())?;
        let (notices, applied) = (std::mem::take(&mut txn.notices), txn.applied);
        drop(txn);
        drop(state);
        if applied {
            self.disk.sync()?;
        }
        self.notify(notices);
        Ok(done)
    }

    fn notify(&self, mut notices: Vec<Notice>) {
        let watchers = self.watchers.lock().clone();
        if watchers.is_empty() {
            return;
        }
        let mut due = false;
        notices.retain(|notice| *notice != Notice::Due || !std::mem::replace(&mut due, true));
        for notice in notices {
            watchers.iter().for_each(|watcher| watcher(notice.clone()));
        }
    }
}

impl Drop for SledWorld {
    fn drop(&mut self) {
        self.sweeper.finish(true);
    }
}

impl World for SledWorld {
    fn write(&self, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError> {
        self.disk.check()?;
        let mut state = self.state();
        let mut txn = WriteTxn::new(&self.disk, &mut state);
        let mut written = Vec::with_capacity(batch.len());
        let done = batch.into_iter().try_for_each(|write| txn.write(write).map(|one| written.push(one)));
        // What is in memory may be ahead of the disk now.
        self.disk.keep_failure(done.and_then(|()| txn.apply()))?;
        let (notices, garbage) = (std::mem::take(&mut txn.notices), txn.garbage);
        drop(txn);
        drop(state);
        // Also where everything was refused: the run that stands in the way may be of a write that is not durable yet.
        self.disk.sync()?;
        if garbage {
            self.sweeper.wake(&self.disk);
        }
        self.notify(notices);
        Ok(written)
    }

    fn is_local(&self) -> bool {
        true
    }

    fn claim(&self, _holder: &Holder, now: Millis, limit: usize) -> Result<Vec<Claim>, WorldError> {
        self.transact(|txn| txn.claim(now, limit))
    }

    fn claim_run(&self, run: &RunId, _holder: &Holder, now: Millis) -> Result<Option<Claim>, WorldError> {
        self.transact(|txn| txn.claim_run(run, now))
    }

    /// Does nothing: the end of the process ends its claims.
    fn renew(&self, _holder: &Holder, _now: Millis) -> Result<Renewed, WorldError> {
        Ok(Renewed { alive: true, now: None })
    }

    /// The one process that has it open does everything.
    fn duty(&self, _name: &str, _holder: &Holder) -> Result<bool, WorldError> {
        Ok(true)
    }

    fn duties(&self, _prefix: &str, names: &[String], _holder: &Holder) -> Result<Vec<bool>, WorldError> {
        Ok(vec![true; names.len()])
    }

    fn next_wake(&self) -> Result<Option<Millis>, WorldError> {
        let first = self.disk.prefix([keys::DUE]).next().transpose()?;
        Ok(first.and_then(|(key, _)| keys::first_number(&key)))
    }

    fn log(&self, run: &RunId, from: u64, limit_bytes: usize) -> Result<Vec<Chunk>, WorldError> {
        read::log(&self.disk, run, from, limit_bytes)
    }

    fn log_tail(&self, run: &RunId) -> Result<Option<Chunk>, WorldError> {
        read::log_tail(&self.disk, run)
    }

    fn inbox(&self, run: &RunId, after: u64, limit: usize) -> Result<Vec<InboxMessage>, WorldError> {
        read::inbox(&self.disk, run, after, limit)
    }

    fn stream(&self, run: &RunId, stream: &str, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, WorldError> {
        read::stream(&self.disk, run, stream, from, limit)
    }

    fn streams(&self, run: &RunId) -> Result<Vec<(String, u64)>, WorldError> {
        read::streams(&self.disk, run)
    }

    fn values(&self, run: &RunId) -> Result<Vec<(String, Vec<u8>)>, WorldError> {
        read::values(&self.disk, run)
    }

    fn reserve(&self, token: &str, run: &RunId, fence: u64) -> Result<Option<RunId>, WorldError> {
        self.disk.check()?;
        self.state().reserve(&self.disk, token, run, fence)
    }

    fn hook(&self, token: &str) -> Result<Option<Hook>, WorldError> {
        read::hook(&self.disk, token)
    }

    fn snapshot(&self, runs: &[RunId]) -> Result<Vec<Option<Snapshot>>, WorldError> {
        // While this is held no batch is applied.
        let _quiet = self.state();
        runs.iter().map(|run| read::snapshot(&self.disk, run)).collect()
    }

    /// Without the lock of [`snapshot`](World::snapshot): those who follow many runs must not hold up the commits. The status is read
    /// last, so that nothing of a run that has ended is missing.
    fn standings(&self, runs: &[RunId]) -> Result<Vec<Option<Standing>>, WorldError> {
        runs.iter().map(|run| read::standing(&self.disk, run)).collect()
    }

    fn copy(&self, take: &mut dyn FnMut(Record) -> Result<(), WorldError>) -> Result<(), WorldError> {
        copy::copy(&self.disk, take)
    }

    fn restore(&self, next: &mut dyn FnMut() -> Result<Option<Record>, WorldError>) -> Result<(), WorldError> {
        self.disk.check()?;
        let mut state = self.state();
        restore::restore(&self.disk, next)?;
        *state = State::recover(&self.disk)?;
        drop(state);
        self.notify(vec![Notice::Due]);
        Ok(())
    }

    fn set_limit(&self, key: &str, limit: u32) -> Result<(), WorldError> {
        self.transact(|txn| txn.set_limit(key, limit))
    }

    fn waits(&self, run: &RunId) -> Result<bool, WorldError> {
        let mut state = self.state();
        let waits = state.run(&self.disk, run)?.is_some_and(|found| found.admission == Admission::Waiting);
        state.let_go(run);
        Ok(waits)
    }

    fn queue(&self, run: &RunId, most: usize) -> Result<Option<Queue>, WorldError> {
        read::queue::queue(&mut self.state(), &self.disk, run, most)
    }

    fn row(&self, run: &RunId) -> Result<Option<Row>, WorldError> {
        match entries::key_of(&self.disk, run)? {
            Some(key) => entries::row_of(&self.disk, key),
            None => Ok(None),
        }
    }

    fn list(&self, query: &Query) -> Result<Page, WorldError> {
        let plan = read::list::Plan::new(&self.state(), query);
        read::list::list(&self.disk, query, &plan)
    }

    fn run_counts(&self) -> Result<Vec<Count>, WorldError> {
        Ok(self.state().counts.list())
    }

    fn put_program(&self, version: &Version, bytes: &[u8]) -> Result<(), WorldError> {
        let key = keys::named(keys::PROGRAM, version.as_str());
        self.transact(|txn| {
            if !txn.disk.has(&key)? {
                txn.batch.insert(key, bytes);
            }
            Ok(())
        })?;
        // Also where it was there: another may be about to make it durable.
        self.disk.sync()
    }

    fn program(&self, version: &Version) -> Result<Option<Vec<u8>>, WorldError> {
        Ok(self.disk.get(keys::named(keys::PROGRAM, version.as_str()))?.map(|value| value.to_vec()))
    }

    fn programs(&self) -> Result<Vec<Version>, WorldError> {
        read::programs(&self.disk)
    }

    fn drop_program(&self, version: &Version) -> Result<bool, WorldError> {
        // No run is created meanwhile.
        self.transact(|txn| {
            if read::has_version(txn.disk, version)? {
                return Ok(false);
            }
            txn.batch.remove(keys::named(keys::PROGRAM, version.as_str()));
            Ok(true)
        })
    }

    fn expired(&self, now: Millis, limit: usize) -> Result<Vec<RunId>, WorldError> {
        read::expired(&self.disk, now, limit)
    }

    fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), WorldError> {
        self.set(keys::named(keys::META, key), Some(value))
    }

    fn remove_meta(&self, key: &str) -> Result<(), WorldError> {
        self.set(keys::named(keys::META, key), None)
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, WorldError> {
        Ok(self.disk.get(keys::named(keys::META, key))?.map(|value| value.to_vec()))
    }

    fn swap_meta(&self, key: &str, before: Option<&[u8]>, after: &[u8]) -> Result<bool, WorldError> {
        let key = keys::named(keys::META, key);
        self.transact(|txn| {
            if txn.disk.get(key.clone())?.as_deref() != before {
                return Ok(false);
            }
            txn.batch.set(key, Some(after));
            Ok(true)
        })
    }

    fn watch(&self, watcher: Watcher) {
        self.watchers.lock().push(watcher);
    }

    fn size(&self) -> Result<WorldSize, WorldError> {
        Ok(WorldSize { stored: Some(self.disk.size()?), unsettled: Some(self.disk.unsettled()) })
    }

    fn verify(&self, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
        let mut found = 0;
        verify::verify(&self.disk, &mut |_| found += 1)?;
        if found > 0 {
            // A write may have come in between: only what is there while no batch is applied is damage.
            let _quiet = self.state();
            self.sweeper.finish(false);
            verify::verify(&self.disk, report)?;
        }
        Ok(())
    }
}
