//! What is said of a store that is damaged or cannot be read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use durhai_world::WorldError;
use sled::{Db, IVec};

/// An entry of sled, before there is anything around it.
pub fn read(db: &Db, key: &[u8], folder: &Path) -> Result<Option<IVec>, WorldError> {
    let found = catch_unwind(AssertUnwindSafe(|| db.get(key)));
    found
        .unwrap_or_else(|panic| Err(sled::Error::ReportableBug(panic_text(&*panic))))
        .map_err(|error| opening(folder, &error))
}

/// Why sled does not open a store, or does not read it.
pub fn opening(folder: &Path, error: &sled::Error) -> WorldError {
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

/// What a panic said; sled may panic on a damaged file.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("sled panicked").to_owned()
}
