//! The layout: one tree, whose keys begin with a byte that says what they are.
//!
//! A run has a number, its *key*: a counter in the order of creation, never used twice while anything of it is left.
//! Numbers are big endian, so that the tree has them in order. `term` is a text in a key: its length and at most its
//! first 128 bytes, enough to find by; who finds compares the whole.
//!
//! | key | value |
//! |---|---|
//! | `!` name | this world's own: `format` (decimal text), `opened` (u64, how often) |
//! | `m` name | a value of `put_meta` |
//! | `p` version | a program |
//! | `i` run id | the run's key, u64 |
//! | `r` key | the row, JSON |
//! | `l` key, first seq u64 | one chunk: count u32, then its bytes |
//! | `x` key, index u64 | one letter that waits: at u64, then its bytes |
//! | `c` key | the index of the last letter taken, u64; absent: none was |
//! | `s` key, name length u32, name, index u64 | one entry of a stream |
//! | `d` due u64, key | an unheld run that becomes due; nothing for held ones |
//! | `h` key | the run is claimed; found at open: its holder died |
//! | `t` key | tries, u32; absent: 0 |
//! | `S` status u8, key · `W` workflow term, key · `T` tag term, value term, key · `P` parent term, key | indexes of the rows |
//! | `z` key | a deleted run of which something may be left |
//!
//! A turn that brings only events is one insert under `l`. A run that is held has no `d`: it gets one when it is given
//! back, or at the next open.

use durhai_core::{Millis, RunId, Status};
use durhai_world::Row;
use sled::IVec;

pub const OWN: u8 = b'!';
pub const META: u8 = b'm';
pub const PROGRAM: u8 = b'p';
pub const ID: u8 = b'i';
pub const ROW: u8 = b'r';
pub const LOG: u8 = b'l';
pub const LETTER: u8 = b'x';
pub const TAKEN: u8 = b'c';
pub const STREAM: u8 = b's';
pub const DUE: u8 = b'd';
pub const HELD: u8 = b'h';
pub const TRIES: u8 = b't';
pub const GARBAGE: u8 = b'z';
pub const STATUS: u8 = b'S';
pub const WORKFLOW: u8 = b'W';
pub const TAG: u8 = b'T';
pub const PARENT: u8 = b'P';

/// How much of a text stands in an index.
const TERM: usize = 128;

/// `tag name`
pub fn named(tag: u8, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(tag);
    key.extend_from_slice(name.as_bytes());
    key
}

/// `tag number`
pub fn one(tag: u8, number: u64) -> [u8; 9] {
    let mut key = [tag; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// `tag number number`
pub fn two(tag: u8, first: u64, second: u64) -> [u8; 17] {
    let mut key = [tag; 17];
    key[1..9].copy_from_slice(&first.to_be_bytes());
    key[9..].copy_from_slice(&second.to_be_bytes());
    key
}

/// What all entries of one stream of a run begin with.
pub fn stream(run: u64, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(21 + name.len());
    key.extend_from_slice(&one(STREAM, run));
    key.extend_from_slice(&(name.len() as u32).to_be_bytes());
    key.extend_from_slice(name.as_bytes());
    key
}

/// A prefix and a number behind it.
pub fn under(prefix: &[u8], number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(prefix.len() + 8);
    key.extend_from_slice(prefix);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub fn by_status(status: Status) -> Vec<u8> {
    let number = match status {
        Status::Pending => 0,
        Status::Running => 1,
        Status::Waiting => 2,
        Status::Suspended => 3,
        Status::Completed => 4,
        Status::Failed => 5,
        Status::Cancelled => 6,
        Status::Continued => 7,
        Status::Parked => 8,
    };
    vec![STATUS, number]
}

pub fn by_workflow(workflow: &str) -> Vec<u8> {
    let mut key = vec![WORKFLOW];
    term(&mut key, workflow);
    key
}

pub fn by_tag(name: &str, value: &str) -> Vec<u8> {
    let mut key = vec![TAG];
    term(&mut key, name);
    term(&mut key, value);
    key
}

pub fn by_parent(parent: &RunId) -> Vec<u8> {
    let mut key = vec![PARENT];
    term(&mut key, parent.as_str());
    key
}

/// Every index entry of a row.
pub fn of_row(row: &Row, run: u64) -> Vec<Vec<u8>> {
    let mut keys = Vec::with_capacity(2 + row.tags.len() + usize::from(row.parent.is_some()));
    keys.push(under(&by_status(row.status), run));
    keys.push(under(&by_workflow(&row.workflow), run));
    keys.extend(row.tags.iter().map(|(name, value)| under(&by_tag(name, value), run)));
    keys.extend(row.parent.iter().map(|parent| under(&by_parent(parent), run)));
    keys
}

fn term(key: &mut Vec<u8>, text: &str) {
    key.extend_from_slice(&(text.len() as u32).to_be_bytes());
    key.extend_from_slice(&text.as_bytes()[..text.len().min(TERM)]);
}

/// The number that a key or a value ends with.
pub fn last_number(bytes: &[u8]) -> Option<u64> {
    bytes.last_chunk().map(|last| u64::from_be_bytes(*last))
}

/// The number after the tag.
pub fn first_number(key: &[u8]) -> Option<u64> {
    key.get(1..)?.first_chunk().map(|first| u64::from_be_bytes(*first))
}

/// A value: a number and what follows it.
pub fn dated(at: Millis, bytes: &[u8]) -> IVec {
    let mut value = Vec::with_capacity(8 + bytes.len());
    value.extend_from_slice(&at.to_be_bytes());
    value.extend_from_slice(bytes);
    value.into()
}

/// Undoes [`dated`].
pub fn split_dated(value: &[u8]) -> Option<(u64, &[u8])> {
    let (number, bytes) = value.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), bytes))
}

/// Undoes what the write path makes of a chunk.
pub fn split_counted(value: &[u8]) -> Option<(u32, &[u8])> {
    let (number, bytes) = value.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), bytes))
}
