//! What is wrong with the files of a store, seen without opening it.

use std::path::{Path, PathBuf};

use durhai_world::WorldError;

use super::log::{self, Log};
use super::small;
use crate::disk::journal_files;
use crate::disk::lock::lock;

/// What was found in the files of a store that no process has open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Damaged files that are made anew when they are missing; the next one who opens the store sets them aside.
    pub aside: Vec<PathBuf>,
    /// Damage of what cannot be made anew, a sentence each. The store is not opened.
    pub damage: Vec<String>,
}

/// Looks at the files of a store without changing them. One that is not there is sound.
///
/// # Errors
///
/// [`WorldError::Locked`] if a process has it open, [`WorldError::Unavailable`] if it cannot be read.
pub fn examine(folder: &Path) -> Result<Files, WorldError> {
    let inner = folder.join("sled");
    if !inner.join("db").exists() {
        return Ok(Files::default());
    }
    let _lock = lock(folder)?;
    let files = || {
        let mut files = look(&inner, true)?.files;
        let journal = journal_files::files(&folder.join("journal"))?;
        // Which of them sled has is not known without it; each is whole by itself.
        let found = journal_files::read(&journal, None, &mut |_, _| {});
        files.damage.extend(found.damage.into_iter().chain(found.unreadable));
        Ok(files)
    };
    files().map_err(|error| cannot("read", folder, &error))
}

/// What was found, and where segments stand that come after a tear.
pub struct Looked {
    pub files: Files,
    pub behind: Vec<u64>,
}

/// The same for a caller that has the lock. `all`: also what sled reads only when it is wanted, and checks then.
pub fn look(inner: &Path, all: bool) -> std::io::Result<Looked> {
    let aside = small::damaged(inner)?;
    if !inner.join("db").exists() {
        return Ok(Looked { files: Files { aside, damage: Vec::new() }, behind: Vec::new() });
    }
    let stable = small::summed_up(inner)?;
    // What is before that sled reads when it is wanted, and checks it then.
    let from = if all || !aside.is_empty() { 0 } else { stable / log::SEGMENT as u64 * log::SEGMENT as u64 };
    let log = log::check(&inner.join("db"), from, stable_of(inner, stable))?;
    Ok(Looked { files: Files { aside, damage: described(&log) }, behind: log.behind })
}

/// What is known to have been on the disk of the data file in this folder, which sled has summed up so far.
pub fn stable_of(inner: &Path, until: u64) -> log::Stable {
    // One from before there were journals has no folder for them.
    log::Stable { until, journaled: inner.with_file_name("journal").is_dir() }
}

/// Puts aside what is made anew, and says what was done, a sentence each.
pub fn set_aside(files: &[PathBuf]) -> std::io::Result<Vec<String>> {
    small::set_aside(files)
}

/// The damage of a log, a sentence each.
pub fn described(log: &Log) -> Vec<String> {
    let gap = |gap: &log::Gap| match gap.at == gap.end {
        _ if gap.righted => format!(
            "one bit of its data file is wrong between byte {} and byte {}, and its check sum tells which",
            gap.at, gap.end
        ),
        true => format!("its data file has {} bytes, and ended later once: what was there is lost", gap.at),
        false => format!("its data file is damaged from byte {} to byte {}", gap.at, gap.end),
    };
    log.gaps.iter().map(gap).collect()
}

/// A file could not be read or written.
pub fn cannot(what: &str, folder: &Path, error: &std::io::Error) -> WorldError {
    WorldError::Unavailable(format!("cannot {what} the store in {}: {error}", folder.display()))
}
