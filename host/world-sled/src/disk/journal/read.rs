//! What the files of a journal hold when a store is opened, or looked at.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::record::{self, Head};

/// A file of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalFile {
    pub number: u64,
    pub path: PathBuf,
}

/// What counts of some files.
#[derive(Debug, Default)]
pub struct Contents {
    /// The last of them that has a head, and its last record, or the one before its first.
    pub last: Option<Place>,
    /// Those that count, in order.
    pub files: Vec<Part>,
    /// One behind them that was about to be begun.
    pub blank: Vec<PathBuf>,
    /// Where they are damaged, a sentence each. What is acknowledged was there.
    pub damage: Vec<String>,
    /// Why files could not be read, a sentence each.
    pub unreadable: Vec<String>,
}

/// A file that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub path: PathBuf,
    /// The bytes of its last record, or of its head.
    pub tail: Range<u64>,
}

/// What is done with an entry of a record: its key, and its value or none where it is removed.
pub type Take<'a> = dyn FnMut(&[u8], Option<&[u8]>) + 'a;

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

/// Reads the changes of these files, in order. `settled`: the store, and the last record before them, if that is known.
///
/// The last record may be torn: nobody was told of it. Anything else that does not fit is damage, and what follows it is given
/// all the same, for a caller who saves what can be read.
pub fn read(files: &[JournalFile], settled: Option<(u64, Place)>, take: &mut Take<'_>) -> Contents {
    let mut contents = Contents::default();
    let mut before = settled.map(|(_, place)| place);
    for JournalFile { number, path } in files {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                contents.unreadable.push(format!("{} cannot be read: {error}", path.display()));
                continue;
            }
        };
        let head = match Head::read(&bytes, *number) {
            Some(head) => head,
            None => match Head::of_record(&bytes, *number) {
                Some(head) => {
                    contents.damage.push(headless(path));
                    Head { store: settled.map_or(0, |(store, _)| store), ..head }
                }
                None if Head::is_none(&bytes) => {
                    contents.blank.push(path.clone());
                    continue;
                }
                None => {
                    contents.damage.push(headless(path));
                    continue;
                }
            },
        };
        // Its head is durable before anything is written to a file, and that before there is another one.
        let heads = contents.blank.drain(..).map(|path| headless(&path));
        contents.damage.extend(heads);
        if !follows(before, settled, &head) {
            let lost = "what was written before it is lost, or it is of another store";
            contents.damage.push(format!("{} does not follow the file before: {lost}", path.display()));
        }
        let mut sequence = head.first - 1;
        let tail = records(&bytes, &head, &mut sequence, take, |from, to| {
            contents.damage.push(format!("{} is damaged from byte {from} to byte {to}", path.display()));
        });
        contents.files.push(Part { path: path.clone(), tail });
        before = Some(Place { number: *number, sequence });
        contents.last = before;
    }
    // One may be about to be begun.
    let one_too_many = contents.blank.len().saturating_sub(1);
    let heads = contents.blank.drain(..one_too_many).map(|path| headless(&path));
    contents.damage.extend(heads);
    contents
}

fn headless(path: &Path) -> String {
    format!("the head of {} is damaged", path.display())
}

fn follows(before: Option<Place>, settled: Option<(u64, Place)>, head: &Head) -> bool {
    let of_store = settled.is_none_or(|(store, _)| store == head.store);
    let next = |number: u64| number.checked_add(1);
    of_store
        && match before {
            // A file that waits to be used again may stand before one that does not follow it.
            Some(before) if settled.is_none() && next(before.number) < Some(head.number) => true,
            Some(before) => next(before.number) == Some(head.number) && next(before.sequence) == Some(head.first),
            None => true,
        }
}

/// Gives the changes of one file. `sequence` is that of the record before, and then that of the last one, whose bytes are returned.
fn records(
    bytes: &[u8],
    head: &Head,
    sequence: &mut u64,
    take: &mut Take<'_>,
    mut damaged: impl FnMut(usize, usize),
) -> Range<u64> {
    let mut at = record::HEAD;
    let mut tail = 0..at as u64;
    loop {
        let expected = sequence.checked_add(1);
        let found = bytes.get(at..).and_then(|rest| record::read(rest, head));
        match found.filter(|(found, _)| Some(*found) == expected) {
            Some((found, changes)) => {
                record::changes(changes).for_each(|(key, value)| take(key, value));
                let end = at + record::FRONT + changes.len();
                tail = at as u64..end as u64;
                (at, *sequence) = (end, found);
            }
            None => {
                let Some((later, found)) = behind(bytes, at, head, *sequence) else { return tail };
                damaged(at, later);
                (at, *sequence) = (later, found - 1);
            }
        }
    }
}

/// The next whole record behind what is none, and its sequence. It was written when all before it was durable.
fn behind(bytes: &[u8], from: usize, head: &Head, last: u64) -> Option<(usize, u64)> {
    (from..bytes.len().saturating_sub(record::FRONT)).find_map(|at| {
        let (sequence, _) = record::read(&bytes[at..], head)?;
        (sequence > last).then_some((at, sequence))
    })
}
