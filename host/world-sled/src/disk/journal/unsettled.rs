//! Which files of a journal hold what sled has not got, when a store is opened or saved.

use std::io;
use std::path::{Path, PathBuf};

use super::read::{Contents, JournalFile, Part, Place, Take, files, read};

/// Up to where sled has what the journal had, and whether it has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The store: a random number that it got when it was made.
    pub store: u64,
    pub settled: Place,
    /// The file behind it must be there.
    pub open: bool,
}

impl Mark {
    /// Its key in sled.
    pub const KEY: &[u8] = b"!settled";

    /// That of a store that never had a journal.
    pub fn new(store: u64) -> Self {
        Mark { store, settled: Place::default(), open: false }
    }

    pub fn value(self) -> [u8; 25] {
        let mut value = [0; 25];
        value[..8].copy_from_slice(&self.store.to_be_bytes());
        value[8..16].copy_from_slice(&self.settled.number.to_be_bytes());
        value[16..24].copy_from_slice(&self.settled.sequence.to_be_bytes());
        value[24] = u8::from(self.open);
        value
    }

    pub fn of_value(value: &[u8]) -> Option<Self> {
        let (store, rest) = value.split_first_chunk::<8>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (number, sequence) = (u64::from_be_bytes(*number), u64::from_be_bytes(*sequence));
        let open = match rest {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        // So far no store comes; adding to them never overflows then.
        let fits = number < u64::MAX / 2 && sequence < u64::MAX / 2;
        fits.then_some(Mark { store: u64::from_be_bytes(*store), settled: Place { number, sequence }, open })
    }
}

/// What is to be put into sled, and what is not.
#[derive(Debug, Default)]
pub struct Unsettled {
    /// The last record.
    pub last: Option<Place>,
    /// Files with what sled has not got, in order.
    pub files: Vec<Part>,
    /// Files of which sled has all, in order.
    pub free: Vec<PathBuf>,
    /// What is wrong, a sentence each.
    pub damage: Vec<String>,
    /// What could not be read, a sentence each.
    pub unreadable: Vec<String>,
}

/// Reads what the journal in this folder has that sled has not. `mark`: none if it is lost, or may be older than the last one that
/// was written; then all that is there is given.
pub fn unsettled(folder: &Path, mark: Option<Mark>, take: &mut Take<'_>) -> io::Result<Unsettled> {
    let settled = mark.map(|mark| (mark.store, mark.settled));
    let has = |file: &JournalFile| settled.is_some_and(|(_, settled)| file.number <= settled.number);
    let (free, files): (Vec<_>, Vec<_>) = files(folder)?.into_iter().partition(has);
    let mut changes = 0;
    let closed = mark.is_some_and(|mark| !mark.open);
    let Contents { last, files: parts, mut damage, unreadable, .. } = read(&files, settled, &mut |key, value| {
        changes += 1;
        if !closed {
            take(key, value);
        }
    });
    if mark.is_some_and(|mark| mark.open) && last.is_none() {
        damage.push("the file of its journal that was written to last is missing, or has no head".into());
    }
    if closed && changes > 0 {
        damage.push("it was closed, and has a journal: that is of another store, or of another time".into());
    }
    Ok(Unsettled { last, files: parts, free: free.into_iter().map(|file| file.path).collect(), damage, unreadable })
}
