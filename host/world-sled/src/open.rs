//! Opening a store: its folder is locked, its files are looked at, sled opens them, and an older format is brought up to date.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use durhai_world::WorldError;
use sled::Db;

use crate::disk::lock::lock;
use crate::disk::{Disk, Parts};
use crate::fault::{damaged, opening, panic_text};
use crate::salvage::end_at_tear;
use crate::salvage::files::{self, Looked};
use crate::sync::sync_folder;
use crate::{Options, format};

pub fn open(folder: &Path, options: &Options) -> Result<Disk, WorldError> {
    let io = |what: &str, error: std::io::Error| {
        WorldError::Unavailable(format!("cannot {what} the store in {}: {error}", folder.display()))
    };
    let (inner, journal) = (folder.join("sled"), folder.join("journal"));
    let create = |folder| std::fs::create_dir_all(folder).map_err(|error| io("create", error));
    create(&inner)?;
    let lock = lock(folder)?;
    remove_unfinished(&inner).map_err(|error| io("clean up", error))?;
    let Looked { files: found, behind } = files::look(&inner, false).map_err(|error| io("read", error))?;
    if let Some(first) = found.damage.first() {
        return Err(damaged(folder, first, found.damage.len() - 1));
    }
    // From now on it has one, as who looks at its files can see.
    create(&journal)?;
    sync_folder(folder).map_err(|error| io("sync", error))?;
    end_at_tear(&inner.join("db"), &behind).map_err(|error| io("clean up", error))?;
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
    let cache = usize::try_from(options.cache_bytes / 4).unwrap_or(usize::MAX);
    let mut disk = Disk::new(Parts { db, file, lock, folder: folder.to_owned(), aside, window, idle, cache })?;
    format::check(&disk)?;
    // What the journal stands upon must be there when it is. sled does not wait for this file.
    File::open(inner.join("conf")).and_then(|conf| conf.sync_data()).map_err(|error| io("sync", error))?;
    for folder in [&*inner, &*journal, folder] {
        sync_folder(folder).map_err(|error| io("sync", error))?;
    }
    disk.begin_journal()?;
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
