//! What the files of a journal hold when a store is opened, or looked at.

use std::io;
use std::path::{Path, PathBuf};

use super::record;

/// A file of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalFile {
    pub number: u64,
    pub path: PathBuf,
}

/// What counts of some files.
#[derive(Debug, Default)]
pub struct Contents {
    /// The last of them that has a record.
    pub last: Option<Place>,
    /// Those behind it, which were begun and never written to.
    pub blank: Vec<PathBuf>,
    /// Where they are damaged, a sentence each. What is acknowledged was there.
    pub damage: Vec<String>,
}

/// A record, and the file it is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    pub number: u64,
    pub sequence: u64,
}

/// The files of a journal in a folder, which need not be there, in order.
pub fn files(folder: &Path) -> io::Result<Vec<JournalFile>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(number) = name.to_str().and_then(number_of) {
            found.push(JournalFile { number, path: entry.path() });
        }
    }
    found.sort_by_key(|file| file.number);
    Ok(found)
}

/// The name of a file.
pub fn name(number: u64) -> String {
    format!("{number:016x}")
}

fn number_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name, 16).ok().filter(|number| self::name(*number) == name)
}

/// Reads the changes of these files, in order. `settled`: the last record before them, if it is known which they follow.
///
/// The last record may be torn: nobody was told of it. Anything else that does not fit is damage, and what follows it is given
/// all the same, for a caller who saves what can be read.
pub fn read(
    files: &[JournalFile],
    settled: Option<Place>,
    take: &mut dyn FnMut(&[u8], Option<&[u8]>),
) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let mut before = settled;
    for JournalFile { number, path } in files {
        let bytes = std::fs::read(path)?;
        let at = match record::first_of(&bytes, *number) {
            Some(first) => {
                let fits = match before {
                    // A file that waits to be used again may stand before one that does not follow it.
                    Some(before) if settled.is_none() && before.number + 1 < *number => true,
                    Some(before) => (before.number + 1, before.sequence + 1) == (*number, first),
                    None => true,
                };
                if !fits {
                    let lost = "what was written before it is lost";
                    contents.damage.push(format!("{} does not follow the file before: {lost}", path.display()));
                }
                before = Some(Place { number: *number, sequence: first - 1 });
                record::HEAD
            }
            None if behind(&bytes, 0, *number, 0).is_none() => {
                contents.blank.push(path.clone());
                continue;
            }
            None => 0,
        };
        let heads = contents.blank.drain(..).map(|path| format!("the head of {} is damaged", path.display()));
        contents.damage.extend(heads);
        let mut sequence = before.map_or(0, |before| before.sequence);
        records(&bytes, at, *number, &mut sequence, take, |from, to| {
            contents.damage.push(format!("{} is damaged from byte {from} to byte {to}", path.display()));
        });
        before = Some(Place { number: *number, sequence });
        contents.last = before;
    }
    Ok(contents)
}

/// Gives the changes of one file from this byte on. `sequence` is that of the record before, and then that of the last one.
fn records(
    bytes: &[u8],
    mut at: usize,
    number: u64,
    sequence: &mut u64,
    take: &mut dyn FnMut(&[u8], Option<&[u8]>),
    mut damaged: impl FnMut(usize, usize),
) {
    loop {
        let found = bytes.get(at..).and_then(|rest| record::read(rest, number));
        match found.filter(|(found, _)| *found == *sequence + 1) {
            Some((found, changes)) => {
                record::changes(changes).for_each(|(key, value)| take(key, value));
                at += record::FRONT + changes.len();
                *sequence = found;
            }
            None => {
                let Some((later, found)) = behind(bytes, at, number, *sequence + 1) else { return };
                damaged(at, later);
                (at, *sequence) = (later, found - 1);
            }
        }
    }
}

/// The next whole record behind what is none, and its sequence. It was written when all before it was durable.
fn behind(bytes: &[u8], from: usize, number: u64, expected: u64) -> Option<(usize, u64)> {
    (from..bytes.len().saturating_sub(record::FRONT)).find_map(|at| {
        let rest = &bytes[at..];
        // Nearly every place is ruled out by this, before anything is summed up.
        let sequence = record::sequence_at(rest).filter(|found| *found >= expected && *found - expected < 1 << 32)?;
        record::read(rest, number).map(|_| (at, sequence))
    })
}
