//! The bytes of a journal's file.
//!
//! A head, then one record for each group commit, without a gap. Numbers are little endian.
//!
//! | bytes | head |
//! |---|---|
//! | 8 | `durhaiJ1` |
//! | 8 | the number of the file, which is its name in hexadecimal digits |
//! | 8 | the sequence of its first record |
//! | 4 | CRC-32 of the 24 bytes before |
//! | 4 | zeros |
//!
//! | bytes | record |
//! |---|---|
//! | 4 | how many bytes of changes follow |
//! | 4 | CRC-32 of the file's number, of those 4 bytes, of the sequence and of the changes |
//! | 8 | sequence: one more than that of the record before, also over the end of a file |
//! | … | changes: length of the key u32, length of the value u32 (`ffffffff`: the entry is removed), key, value |
//!
//! A record is written when the one before is durable. So what is not acknowledged is at most one record, the last: it is whole
//! or it does not count. What an earlier use left behind in a file does not count either: it was summed with another number.

use crate::batch::Change;

/// Bytes of a head.
pub const HEAD: usize = 32;

/// Bytes of a record before its changes.
pub const FRONT: usize = 16;

const MAGIC: &[u8; 8] = b"durhaiJ1";

/// The length that says that an entry is removed.
const REMOVED: u32 = u32::MAX;

/// The most bytes of changes that fit into one record.
pub const MOST: usize = (u32::MAX - 1) as usize;

/// The head of a file.
pub fn head(number: u64, first: u64) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(MAGIC);
    head[8..16].copy_from_slice(&number.to_le_bytes());
    head[16..24].copy_from_slice(&first.to_le_bytes());
    let sum = crc32fast::hash(&head[..24]);
    head[24..28].copy_from_slice(&sum.to_le_bytes());
    head
}

/// The sequence of the first record of a file with this number; none if its head is not whole, or of another number.
pub fn first_of(bytes: &[u8], number: u64) -> Option<u64> {
    let found = bytes.get(..HEAD)?;
    let first = u64_at(found, 16)?;
    (found == head(number, first)).then_some(first)
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
pub fn front(number: u64, sequence: u64, changes: &[u8]) -> [u8; FRONT] {
    let mut front = [0; FRONT];
    front[..4].copy_from_slice(&(changes.len() as u32).to_le_bytes());
    front[8..].copy_from_slice(&sequence.to_le_bytes());
    let sum = sum(number, &front[..4], &front[8..], changes);
    front[4..8].copy_from_slice(&sum.to_le_bytes());
    front
}

/// The sequence and the changes of the record that begins the bytes; none if it is not whole, or of another file.
pub fn read(bytes: &[u8], number: u64) -> Option<(u64, &[u8])> {
    let front = bytes.get(..FRONT)?;
    let length = u32_at(front, 0)? as usize;
    let changes = bytes.get(FRONT..FRONT.checked_add(length)?)?;
    let sound = length > 0 && sum(number, &front[..4], &front[8..], changes) == u32_at(front, 4)?;
    sound.then_some((u64_at(front, 8)?, changes))
}

/// The changes of a record, one by one: the key, and the value or none where the entry is removed.
pub fn changes(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    std::iter::from_fn(move || {
        let (key, value) = (u32_at(bytes, 0)? as usize, u32_at(bytes, 4)?);
        let (key, rest) = bytes.get(8..)?.split_at_checked(key)?;
        let (value, rest) = match value {
            REMOVED => (None, rest),
            length => rest.split_at_checked(length as usize).map(|(value, rest)| (Some(value), rest))?,
        };
        bytes = rest;
        Some((key, value))
    })
}

/// The sequence that the record would have which begins the bytes, whole or not.
pub fn sequence_at(bytes: &[u8]) -> Option<u64> {
    u64_at(bytes, 8)
}

fn sum(number: u64, length: &[u8], sequence: &[u8], changes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(length);
    hasher.update(sequence);
    hasher.update(changes);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}
