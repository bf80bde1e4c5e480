//! sled, and what must be done around it: one owner, durable writes, errors that name the folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::batch::{Batch, Change};
use crate::copy::Recorder;
use durhai_world::WorldError;
use sled::{Db, IVec};

use crate::{Options, format, keys, salvage};

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
    pub fn open(folder: &Path, options: &Options) -> Result<Self, WorldError> {
        let io = |what: &str, error: std::io::Error| {
            WorldError::Unavailable(format!("cannot {what} the store in {}: {error}", folder.display()))
        };
        let inner = folder.join("sled");
        std::fs::create_dir_all(&inner).map_err(|error| io("create", error))?;
        let lock = lock(folder)?;
        remove_unfinished(&inner).map_err(|error| io("clean up", error))?;
        let files = salvage::look(&inner, false).map_err(|error| io("read", error))?;
        if let Some(first) = files.damage.first() {
            return Err(damaged(folder, first, files.damage.len() - 1));
        }
        let aside = salvage::set_aside(&files.aside).map_err(|error| io("clean up", error))?;
        let config = sled::Config::new()
            .path(&inner)
            .cache_capacity(options.cache_bytes)
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput);
        let db = open_sled(&config).map_err(|error| opening(folder, &error))?;
        let file = File::open(inner.join("db")).map_err(|error| io("open", error))?;
        let disk = Disk {
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
        };
        format::check(&disk)?;
        for folder in [folder, &inner] {
            sync_folder(folder).map_err(|error| io("sync", error))?;
        }
        Ok(disk)
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
        let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        if recorder.is_some() {
            return Err(WorldError::Unavailable(
                "a copy of this store is being made already, and one at a time can be: try again later".into(),
            ));
        }
        *recorder = Some(Recorder::default());
        Ok(Recording { disk: self })
    }

    /// Makes everything durable that was applied before the call. Callers that come meanwhile share the next one.
    pub fn sync(&self) -> Result<(), WorldError> {
        let wanted = self.applied.load(Ordering::Acquire);
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// After a failed write nobody knows what is on the disk and what is not: every later one is refused.
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

/// What is written while a copy is made.
pub struct Recording<'a> {
    disk: &'a Disk,
}

impl Recording<'_> {
    /// How many bytes wait to be taken.
    pub fn waiting(&self) -> usize {
        self.disk.recorder.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, Recorder::bytes)
    }

    /// Takes what was written since the last time.
    pub fn take(&self) -> Result<Vec<Change>, WorldError> {
        let mut recorder = self.disk.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        recorder.as_mut().map_or(Ok(Vec::new()), Recorder::take)
    }

    /// The same, and nothing is recorded any more.
    pub fn end(self) -> Result<Vec<Change>, WorldError> {
        let recorder = self.disk.recorder.lock().unwrap_or_else(PoisonError::into_inner).take();
        recorder.map_or(Ok(Vec::new()), |mut recorder| recorder.take())
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.disk.recorder.lock().unwrap_or_else(PoisonError::into_inner).take();
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

/// Makes this process the owner of the folder. The operating system ends it with the process.
pub fn lock(folder: &Path) -> Result<File, WorldError> {
    let path = folder.join("lock");
    let unavailable =
        |error: std::io::Error| WorldError::Unavailable(format!("cannot lock {}: {error}", path.display()));
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => {
            let write = |file: &mut File| {
                file.set_len(0)?;
                file.rewind()?;
                writeln!(file, "{}", std::process::id())
            };
            write(&mut file).map_err(unavailable)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let who = match pid.trim() {
                "" => "another process".to_owned(),
                pid if *pid == std::process::id().to_string() => format!("this process ({pid}) itself"),
                pid => format!("process {pid}"),
            };
            Err(WorldError::Locked(format!(
                "the store in {} is open in {who}, and one at a time can have it: talk to that host, end it first, \
                 or use another folder",
                folder.display()
            )))
        }
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

/// Opens sled. Its threads may keep the file of a store that was just closed for a moment: ours is the lock that counts.
fn open_sled(config: &sled::Config) -> sled::Result<Db> {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        // sled may panic on a damaged file; that is its verdict, not the end of the host.
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()))
            .unwrap_or_else(|panic| Err(sled::Error::ReportableBug(panic_text(&*panic))));
        match opened {
            Err(sled::Error::Io(error))
                if error.to_string().contains("could not acquire lock") && Instant::now() < patience =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

fn opening(folder: &Path, error: &sled::Error) -> WorldError {
    match error {
        sled::Error::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => {
            WorldError::Unavailable(format!("cannot open the store in {}: {error}", folder.display()))
        }
        _ => damaged(folder, error, 0),
    }
}

fn damaged(folder: &Path, what: impl std::fmt::Display, more: usize) -> WorldError {
    let more = if more > 0 { format!(", and in {more} more places") } else { String::new() };
    WorldError::Corrupt(format!(
        "the store in {} is damaged and is not opened: {what}{more}. `durhai doctor --repair` saves every \
         run that still reads into a new store and names the others; a backup brings back all it has",
        folder.display()
    ))
}

/// sled sums up its log in a file that it writes beside the others and then renames. If it dies in between, it takes the
/// half-made file for one of them at the next start, and finds it damaged. The log has all that was in it.
fn remove_unfinished(inner: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(inner)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "generating") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file, and its entries are durable with the files.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("sled panicked").to_owned()
}
