//! Opening a store: its folder is locked, its files are looked at, sled opens them, and an older format is brought up to date.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use durhai_world::WorldError;
use sled::{Db, IVec};

use crate::disk::lock::lock;
use crate::disk::{Disk, Parts, panic_text, sync_folder};
use crate::salvage::files;
use crate::{Options, format};

pub fn open(folder: &Path, options: &Options) -> Result<Disk, WorldError> {
    let io = |what: &str, error: std::io::Error| {
        WorldError::Unavailable(format!("cannot {what} the store in {}: {error}", folder.display()))
    };
    let inner = folder.join("sled");
    std::fs::create_dir_all(&inner).map_err(|error| io("create", error))?;
    let lock = lock(folder)?;
    remove_unfinished(&inner).map_err(|error| io("clean up", error))?;
    let found = files::look(&inner, false).map_err(|error| io("read", error))?;
    if let Some(first) = found.damage.first() {
        return Err(damaged(folder, first, found.damage.len() - 1));
    }
    let aside = files::set_aside(&found.aside).map_err(|error| io("clean up", error))?;
    let config = sled::Config::new()
        .path(&inner)
        .cache_capacity(options.cache_bytes)
        .flush_every_ms(None)
        .mode(sled::Mode::HighThroughput);
    let db = open_sled(&config).map_err(|error| opening(folder, &error))?;
    let file = File::open(inner.join("db")).map_err(|error| io("open", error))?;
    format::refuse_newer(&db, folder)?;
    let (window, idle) = (options.window_bytes.max(1), options.idle);
    let mut disk = Disk::new(Parts { db, file, lock, folder: folder.to_owned(), aside, window, idle })?;
    format::check(&disk)?;
    disk.begin_journal()?;
    for folder in [folder, &inner] {
        sync_folder(folder).map_err(|error| io("sync", error))?;
    }
    Ok(disk)
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

/// An entry of sled, before there is anything around it.
pub fn read(db: &Db, key: &[u8], folder: &Path) -> Result<Option<IVec>, WorldError> {
    let found = catch_unwind(AssertUnwindSafe(|| db.get(key)));
    found
        .unwrap_or_else(|panic| Err(sled::Error::ReportableBug(panic_text(&*panic))))
        .map_err(|error| opening(folder, &error))
}

fn opening(folder: &Path, error: &sled::Error) -> WorldError {
    match error {
        sled::Error::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => {
            WorldError::Unavailable(format!("cannot open the store in {}: {error}", folder.display()))
        }
        _ => damaged(folder, error, 0),
    }
}

pub fn damaged(folder: &Path, what: impl std::fmt::Display, more: usize) -> WorldError {
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
