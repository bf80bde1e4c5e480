//! The bytes of a journal's file.
//!
//! A head, then one record for each group commit, without a gap. Numbers are little endian, sums are CRC-32.
//!
//! | bytes | head |
//! |---|---|
//! | 8 | `durhaiJ1` |
//! | 8 | the store: a random number that it got when it was made |
//! | 8 | the number of the file, which is its name in hexadecimal digits |
//! | 8 | the sequence of its first record, from 1 on |
//! | 4 | salt: a random number of this use of the file |
//! | 4 | sum of the 36 bytes before |
//!
//! | bytes | record |
//! |---|---|
//! | 4 | how many bytes of changes follow, not 0 |
//! | 4 | sum of the changes |
//! | 8 | sequence: one more than that of the record before, also over the end of a file |
//! | 4 | the salt of the file |
//! | 4 | sum of the file's number and the 20 bytes before |
//! | … | changes: length of the key u32, length of the value u32 (`ffffffff`: the entry is removed), key, value |
//!
//! A record is written when the one before is durable. So what is not acknowledged is at most one record, the last: it is whole
//! or it does not count. What an earlier use left behind in a file, or what a value looks like, is never taken for one: it would
//! have to know the salt.

use crate::batch::Change;

/// Bytes of a head.
pub const HEAD: usize = 40;

/// Bytes of a record before its changes.
pub const FRONT: usize = 24;

const MAGIC: &[u8; 8] = b"durhaiJ1";

/// The length that says that an entry is removed.
const REMOVED: u32 = u32::MAX;

/// The most bytes of changes that fit into one record.
pub const MOST: usize = (u32::MAX - 1) as usize;

/// What the head of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub store: u64,
    pub number: u64,
    /// The sequence of its first record.
    pub first: u64,
    pub salt: u32,
}

impl Head {
    pub fn bytes(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.store.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.salt.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..36]);
        bytes[36..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The head of a file with this number; none if it is not whole, or that of another one.
    pub fn read(bytes: &[u8], number: u64) -> Option<Self> {
        let found = bytes.get(..HEAD)?;
        let head = Head { store: u64_at(found, 8)?, number, first: u64_at(found, 24)?, salt: u32_at(found, 32)? };
        (found == head.bytes() && head.first > 0).then_some(head)
    }

    /// What the head of this file must have said, by the first record that is whole; none if there is none. The store is not known.
    pub fn of_record(bytes: &[u8], number: u64) -> Option<Self> {
        (HEAD..bytes.len().saturating_sub(FRONT)).find_map(|at| {
            let front = &bytes[at..];
            let head = Head { store: 0, number, first: u64_at(front, 8)?, salt: u32_at(front, 16)? };
            (head.first > 0 && read(front, &head).is_some()).then_some(head)
        })
    }

    /// Whether this may be the head of a file to which nothing was written yet under its name: there is none, or that of an
    /// earlier use.
    pub fn is_none(bytes: &[u8]) -> bool {
        let Some(found) = bytes.get(..HEAD) else { return true };
        found == [0; HEAD] || u64_at(found, 16).is_some_and(|number| Head::read(found, number).is_some())
    }
}

/// Puts changes behind those that a record has so far.
pub fn add(changes: &[Change], bytes: &mut Vec<u8>) {
    for (key, value) in changes {
        // A store has no key or value of 4 GiB: `MOST` is looked at before the record is written.
        bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&value.as_ref().map_or(REMOVED, |value| value.len() as u32).to_le_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value.as_deref().unwrap_or_default());
    }
}

/// What stands before the changes of a record.
pub fn front(head: &Head, sequence: u64, changes: &[u8]) -> [u8; FRONT] {
    let mut front = [0; FRONT];
    front[..4].copy_from_slice(&(changes.len() as u32).to_le_bytes());
    front[4..8].copy_from_slice(&crc32fast::hash(changes).to_le_bytes());
    front[8..16].copy_from_slice(&sequence.to_le_bytes());
    front[16..20].copy_from_slice(&head.salt.to_le_bytes());
    let sum = sum(head.number, &front[..20]);
    front[20..].copy_from_slice(&sum.to_le_bytes());
    front
}

/// The sequence and the changes of the record that begins the bytes; none if it is not whole, or of another use of a file.
pub fn read<'a>(bytes: &'a [u8], head: &Head) -> Option<(u64, &'a [u8])> {
    let front = bytes.get(..FRONT)?;
    // A place that is none costs no more than this, whatever length stands there.
    if u32_at(front, 16)? != head.salt || sum(head.number, &front[..20]) != u32_at(front, 20)? {
        return None;
    }
    let length = u32_at(front, 0)? as usize;
    let changes = bytes.get(FRONT..FRONT.checked_add(length)?)?;
    let whole = length > 0 && crc32fast::hash(changes) == u32_at(front, 4)? && is_filled(changes);
    whole.then_some((u64_at(front, 8)?, changes))
}

/// The key of an entry, and its value or none where it is removed.
type Entry<'a> = (&'a [u8], Option<&'a [u8]>);

/// The changes of a record, one by one.
pub fn changes(mut bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let (entry, rest) = split(bytes)?;
        bytes = rest;
        Some(entry)
    })
}

fn is_filled(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let Some((_, rest)) = split(bytes) else { return false };
        bytes = rest;
    }
    true
}

/// The first change, and what is behind it.
fn split(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (key, value) = (u32_at(bytes, 0)? as usize, u32_at(bytes, 4)?);
    let (key, rest) = bytes.get(8..)?.split_at_checked(key)?;
    match value {
        REMOVED => Some(((key, None), rest)),
        length => rest.split_at_checked(length as usize).map(|(value, rest)| ((key, Some(value)), rest)),
    }
}

fn sum(number: u64, front: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(front);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}
