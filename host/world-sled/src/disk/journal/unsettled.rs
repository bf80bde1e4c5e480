//! Which files of a journal hold what sled has not got, when a store is opened or saved.

use std::io;
use std::path::{Path, PathBuf};

use super::read::{Contents, JournalFile, Place, files, read};

/// Up to where sled has what the journal had, and whether it has to be there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    pub settled: Place,
    /// The file behind it must be there.
    pub open: bool,
}

impl Mark {
    /// Its key in sled.
    pub const KEY: &[u8] = b"!settled";

    pub fn value(self) -> [u8; 17] {
        let mut value = [0; 17];
        value[..8].copy_from_slice(&self.settled.number.to_be_bytes());
        value[8..16].copy_from_slice(&self.settled.sequence.to_be_bytes());
        value[16] = u8::from(self.open);
        value
    }

    pub fn of_value(value: &[u8]) -> Option<Self> {
        let (number, rest) = value.split_first_chunk::<8>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let settled = Place { number: u64::from_be_bytes(*number), sequence: u64::from_be_bytes(*sequence) };
        match rest {
            [0] => Some(Mark { settled, open: false }),
            [1] => Some(Mark { settled, open: true }),
            _ => None,
        }
    }
}

/// What is to be put into sled, and what is not.
#[derive(Debug, Default)]
pub struct Unsettled {
    /// The last record.
    pub last: Option<Place>,
    /// Files with what sled has not got.
    pub files: Vec<PathBuf>,
    /// Files of which sled has all.
    pub free: Vec<PathBuf>,
    /// What is wrong, a sentence each.
    pub damage: Vec<String>,
}

/// Reads what the journal in this folder has that sled has not. `mark`: none if it is lost; then all of it is given.
pub fn unsettled(
    folder: &Path,
    mark: Option<Mark>,
    take: &mut dyn FnMut(&[u8], Option<&[u8]>),
) -> io::Result<Unsettled> {
    let settled = mark.map(|mark| mark.settled);
    let has = |file: &JournalFile| settled.is_some_and(|settled| file.number <= settled.number);
    let (free, files): (Vec<_>, Vec<_>) = files(folder)?.into_iter().partition(has);
    let mut changes = 0;
    let closed = mark.is_some_and(|mark| !mark.open);
    let Contents { last, blank, mut damage } = read(&files, settled, &mut |key, value| {
        changes += 1;
        if !closed {
            take(key, value);
        }
    })?;
    if mark.is_some_and(|mark| mark.open) && files.is_empty() {
        damage.push("the file of its journal is missing that was written to last".into());
    }
    if closed && changes > 0 {
        damage.push("it was closed, and has a journal: that is of another store, or of another time".into());
    }
    let files = files.into_iter().map(|file| file.path).filter(|path| !blank.contains(path)).collect();
    Ok(Unsettled { last, files, free: free.into_iter().map(|file| file.path).collect(), damage })
}
