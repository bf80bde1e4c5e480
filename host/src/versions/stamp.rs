//! Whether a file is still the one that was read, without reading it again.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The clock of a file system goes in steps. A file that was changed so shortly before it was looked at may change again
/// without another time.
const STEP: Duration = Duration::from_millis(50);

/// A file as it was at a look.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    path: PathBuf,
    /// None: it was not there.
    found: Option<Found>,
    /// Another text would have another stamp.
    sure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    identity: Identity,
    length: u64,
    modified: Option<SystemTime>,
    /// When anything about it changed: also under a time of modification that a program has set.
    changed: i128,
}

/// Which file or folder it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

impl Stamp {
    /// Take it before the text is read: a save in between is then seen as one.
    pub fn of(path: PathBuf) -> Self {
        let found = std::fs::metadata(&path).ok().map(|metadata| Found::of(&metadata));
        let rests = |found: &Found| {
            let last = found.modified.into_iter().chain(changed_at(found.changed)).max();
            last.is_none_or(|last| SystemTime::now().duration_since(last).is_ok_and(|age| age > STEP))
        };
        let sure = found.as_ref().is_none_or(rests);
        Stamp { path, found, sure }
    }

    /// The file is the one that was looked at.
    pub fn is_current(&self) -> bool {
        self.sure && std::fs::metadata(&self.path).ok().map(|metadata| Found::of(&metadata)) == self.found
    }

    /// Both are of the same file, which was not changed in between as far as one can tell.
    pub fn looks_like(&self, other: &Stamp) -> bool {
        self.path == other.path && self.found == other.found
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_some_and(|found| found.length == 0)
    }
}

impl Found {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let changed = {
            use std::os::unix::fs::MetadataExt;
            i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec())
        };
        #[cfg(not(unix))]
        let changed = 0;
        let (length, modified) = (metadata.len(), metadata.modified().ok());
        Found { identity: Identity::of(metadata), length, modified, changed }
    }
}

impl Identity {
    /// The folder (or file) that a path leads to now.
    pub fn at(path: &Path) -> std::io::Result<Identity> {
        Ok(Identity::of(&std::fs::metadata(path)?))
    }

    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Identity(metadata.dev(), metadata.ino())
    }

    /// Where there are no numbers of files, the time of their creation stands for them.
    #[cfg(not(unix))]
    fn of(metadata: &Metadata) -> Self {
        let created = metadata.created().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        Identity(0, created.map_or(0, |since| since.as_nanos() as u64))
    }
}

fn changed_at(nanos: i128) -> Option<SystemTime> {
    let nanos = u64::try_from(nanos).ok().filter(|nanos| *nanos > 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_just_written_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        assert!(Stamp::of(path.clone()).is_current(), "it is not there, and still is not");
        std::fs::write(&path, "1").expect("written");
        let fresh = Stamp::of(path.clone());
        // The same length within the same tick of the clock.
        assert!(!fresh.is_current());
        let sure = loop {
            let stamp = Stamp::of(path.clone());
            if stamp.sure {
                break stamp;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(sure.is_current() && sure.looks_like(&fresh));
        // Another file of the same length and time.
        let other = folder.path().join("b");
        std::fs::write(&other, "2").expect("written");
        let file = std::fs::File::options().write(true).open(&other).expect("a file");
        file.set_modified(std::fs::metadata(&path).expect("it is there").modified().expect("a time")).expect("set");
        std::fs::rename(&other, &path).expect("renamed");
        assert!(!sure.is_current());
        std::fs::remove_file(&path).expect("removed");
        assert!(!sure.is_current());
    }
}
