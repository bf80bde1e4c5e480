//! The layout: entries in the order of their keys, which begin with a byte that says what they are. How they stand in sled, many in
//! a block, is in `disk/blocks/layout.rs`.
//!
//! A run has a number, its *key*: a counter in the order of creation, never used twice while anything of it is left.
//! Numbers are big endian, so that the tree has them in order. `term` is a text in a key: its length and at most its
//! first 128 bytes, enough to find by; who finds compares the whole.
//!
//! | key | value |
//! |---|---|
//! | `!` name | this world's own: `format` (decimal text), `opened` (u64, how often), `settled` (the mark of the journal), `blocks` (the format from which it is being brought up to this one, decimal text; empty when that is done) |
//! | `m` name | a value of `put_meta` |
//! | `p` version | a program |
//! | `i` run id | the run's key, u64 |
//! | `r` key | the row, JSON |
//! | `l` key, first seq u64 | one chunk: count u32, then its bytes |
//! | `x` key, index u64 | one message that waits: at u64, with the highest bit set if it is urgent, then its bytes |
//! | `u` key | the index of the last urgent message that waits, u64; absent: there is none |
//! | `c` key | the index of the last message taken, u64; absent: none was |
//! | `s` key, name length u32, name, index u64 | one entry of a stream |
//! | `v` key, name | a value of the run |
//! | `k` token | an open hook: the run's key, u64, then what was given with it |
//! | `o` key, token | the run has that hook |
//! | `G` concurrency key | limit u32, how many are admitted u64, how many have not ended u64; nothing for a key without runs |
//! | `g` key | how far a run is that has a concurrency limit: `w` waits, `i` admitted; absent: it has not arrived, or ended |
//! | `Q` concurrency key's length u32, concurrency key, rank u32, key | a run that waits; the best has the lowest rank |
//! | `d` due u64, key | an unheld run that becomes due; nothing for held ones |
//! | `h` key | the run is claimed; found at open: its holder died |
//! | `t` key | tries, u32; absent: 0 |
//! | `S` status u8, workflow term, key · `W` workflow term, key · `T` tag term, value term, key · `P` parent term, key · `V` version term, key | indexes of the rows |
//! | `E` purge time u64, key | an ended run that may be purged from then on |
//! | `z` key | a deleted run of which something may be left |
//! | `N` status u8, version length u32, version, workflow | how many such runs there are, u64; never 0 |
//! | `C` range u64 | the earliest and the latest time at which a run of those 512 keys was created, u64 each |
//!
//! A turn that brings only events is one insert under `l`. A run that is held has no `d`: it gets one when it is given
//! back, or at the next open; one that waits for others of its limit when it is admitted.

use durhai_core::{Millis, RunId, Status, Version};
use durhai_world::Row;
use sled::IVec;

pub const OWN: u8 = b'!';
pub const META: u8 = b'm';
pub const PROGRAM: u8 = b'p';
pub const ID: u8 = b'i';
pub const ROW: u8 = b'r';
pub const LOG: u8 = b'l';
pub const MESSAGE: u8 = b'x';
pub const URGENT: u8 = b'u';
pub const TAKEN: u8 = b'c';
pub const STREAM: u8 = b's';
pub const VALUE: u8 = b'v';
pub const HOOK: u8 = b'k';
pub const OPEN: u8 = b'o';
pub const LIMIT: u8 = b'G';
pub const ADMISSION: u8 = b'g';
pub const QUEUE: u8 = b'Q';
pub const DUE: u8 = b'd';
pub const HELD: u8 = b'h';
pub const TRIES: u8 = b't';
pub const GARBAGE: u8 = b'z';
pub const STATUS: u8 = b'S';
pub const WORKFLOW: u8 = b'W';
pub const TAG: u8 = b'T';
pub const PARENT: u8 = b'P';
pub const VERSION: u8 = b'V';
pub const EXPIRY: u8 = b'E';
pub const COUNT: u8 = b'N';
pub const CREATED: u8 = b'C';

/// What is only found by its run's number, in the order in which it is given out.
pub const OF_RUNS: [u8; 8] = [ROW, TRIES, ADMISSION, TAKEN, LOG, MESSAGE, STREAM, VALUE];

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

/// `tag number name`
pub fn of_run(tag: u8, run: u64, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(9 + name.len());
    key.extend_from_slice(&one(tag, run));
    key.extend_from_slice(name.as_bytes());
    key
}

/// The name in what [`of_run`] made.
pub fn name_of_run(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(9..)?).ok()
}

/// What all entries of one stream of a run begin with.
pub fn stream(run: u64, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(21 + name.len());
    key.extend_from_slice(&one(STREAM, run));
    measured(&mut key, name);
    key
}

/// What the entries of all runs begin with that wait under one concurrency limit.
pub fn queue(limit: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(17 + limit.len());
    key.push(QUEUE);
    measured(&mut key, limit);
    key
}

/// The entry of a run that waits.
pub fn waiting(limit: &str, rank: u32, run: u64) -> Vec<u8> {
    let mut key = queue(limit);
    key.extend_from_slice(&rank.to_be_bytes());
    key.extend_from_slice(&run.to_be_bytes());
    key
}

/// Undoes [`waiting`], but for the concurrency key.
pub fn split_waiting(key: &[u8]) -> Option<(u32, u64)> {
    let (rest, run) = key.split_last_chunk()?;
    Some((u32::from_be_bytes(*rest.last_chunk()?), u64::from_be_bytes(*run)))
}

/// The first name with a length before it that stands at `from` in a key.
pub fn name_at(key: &[u8], from: usize) -> Option<&str> {
    let (length, rest) = key.get(from..)?.split_first_chunk()?;
    std::str::from_utf8(rest.get(..u32::from_be_bytes(*length) as usize)?).ok()
}

/// A prefix and a number behind it.
pub fn under(prefix: &[u8], number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(prefix.len() + 8);
    key.extend_from_slice(prefix);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// What runs that are alike in this are counted under.
pub fn count(key: &mut Vec<u8>, workflow: &str, version: &Version, status: Status) {
    key.clear();
    key.extend_from_slice(&[COUNT, self::status(status)]);
    measured(key, version.as_str());
    key.extend_from_slice(workflow.as_bytes());
}

pub fn by_status(status: Status, workflow: &str) -> Vec<u8> {
    let mut key = vec![STATUS, self::status(status)];
    term(&mut key, workflow);
    key
}

/// A status as it stands in keys.
pub fn status(status: Status) -> u8 {
    match status {
        Status::Pending => 0,
        Status::Running => 1,
        Status::Waiting => 2,
        Status::Suspended => 3,
        Status::Completed => 4,
        Status::Failed => 5,
        Status::Cancelled => 6,
        Status::Continued => 7,
        Status::Parked => 8,
    }
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

pub fn by_version(version: &Version) -> Vec<u8> {
    let mut key = vec![VERSION];
    term(&mut key, version.as_str());
    key
}

/// The entry of a run that is to be purged.
pub fn expiry(row: &Row, run: u64) -> Option<Vec<u8>> {
    Some(two(EXPIRY, row.purge_at.filter(|_| row.status.is_terminal())?, run).to_vec())
}

/// Every index entry of a row.
pub fn of_row(row: &Row, run: u64) -> Vec<Vec<u8>> {
    let mut keys = Vec::with_capacity(5 + row.tags.len());
    keys.push(under(&by_status(row.status, &row.workflow), run));
    keys.push(under(&by_workflow(&row.workflow), run));
    keys.extend(row.tags.iter().map(|(name, value)| under(&by_tag(name, value), run)));
    keys.extend(row.parent.iter().map(|parent| under(&by_parent(parent), run)));
    keys.push(under(&by_version(&row.version), run));
    keys.extend(expiry(row, run));
    keys
}

fn term(key: &mut Vec<u8>, text: &str) {
    key.extend_from_slice(&(text.len() as u32).to_be_bytes());
    key.extend_from_slice(&text.as_bytes()[..text.len().min(TERM)]);
}

fn measured(key: &mut Vec<u8>, name: &str) {
    key.extend_from_slice(&(name.len() as u32).to_be_bytes());
    key.extend_from_slice(name.as_bytes());
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

/// Set in the time of an urgent message.
const URGENT_BIT: u64 = 1 << 63;

/// The value of a message.
pub fn message(at: Millis, urgent: bool, bytes: &[u8]) -> IVec {
    dated(at.min(!URGENT_BIT) | if urgent { URGENT_BIT } else { 0 }, bytes)
}

/// Undoes [`message`]: when it was sent, whether it is urgent, and its bytes.
pub fn split_message(value: &[u8]) -> Option<(Millis, bool, &[u8])> {
    let (at, bytes) = split_dated(value)?;
    Some((at & !URGENT_BIT, at & URGENT_BIT != 0, bytes))
}

/// Undoes what the write path makes of a chunk.
pub fn split_counted(value: &[u8]) -> Option<(u32, &[u8])> {
    let (number, bytes) = value.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), bytes))
}
