//! One owner of a store's folder at a time, by a lock on a file in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write as _};
use std::path::Path;

use durhai_world::WorldError;

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
