//! Reading: runs as they stand on the disk.

pub mod list;
pub mod queue;

use durhai_core::{Millis, RunId, Version};
use durhai_world::{Chunk, Hook, InboxMessage, Snapshot, Standing, WorldError};
use sled::IVec;

use crate::disk::Disk;
use crate::entries::{key_of, last_seq, row_of, taken};
use crate::keys;

pub fn log(disk: &Disk, run: &RunId, from: u64, limit_bytes: usize) -> Result<Vec<Chunk>, WorldError> {
    let Some(key) = key_of(disk, run)? else { return Ok(Vec::new()) };
    let at = |seq: u64| keys::two(keys::LOG, key, seq).to_vec();
    let before = disk.range_back(at(0)..=at(from)).next().transpose()?;
    let first = before.and_then(|(key, _)| keys::last_number(&key)).unwrap_or(from);
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut bytes = 0;
    for entry in disk.range(at(first)..=at(u64::MAX)) {
        let chunk = chunk(disk, entry?)?;
        if chunk.first + u64::from(chunk.count) <= from {
            continue;
        }
        bytes += chunk.bytes.len();
        if !chunks.is_empty() && bytes > limit_bytes {
            break;
        }
        chunks.push(chunk);
    }
    Ok(chunks)
}

pub fn log_tail(disk: &Disk, run: &RunId) -> Result<Option<Chunk>, WorldError> {
    let Some(key) = key_of(disk, run)? else { return Ok(None) };
    disk.last(keys::one(keys::LOG, key))?.map(|entry| chunk(disk, entry)).transpose()
}

pub fn inbox(disk: &Disk, run: &RunId, after: u64, limit: usize) -> Result<Vec<InboxMessage>, WorldError> {
    let (Some(key), Some(first)) = (key_of(disk, run)?, after.checked_add(1)) else { return Ok(Vec::new()) };
    messages(disk, run, key, first, limit)
}

/// The messages of the run with this key, from this one on.
pub fn messages(disk: &Disk, run: &RunId, key: u64, first: u64, limit: usize) -> Result<Vec<InboxMessage>, WorldError> {
    let at = |index: u64| keys::two(keys::MESSAGE, key, index).to_vec();
    let message = |(name, value): (IVec, IVec)| match (keys::last_number(&name), keys::split_message(&value)) {
        (Some(index), Some((at, urgent, bytes))) => Ok(InboxMessage { index, at, urgent, bytes: bytes.to_vec() }),
        _ => Err(disk.corrupt(format!("a message for run {run} cannot be read"))),
    };
    disk.range(at(first)..=at(u64::MAX)).take(limit).map(|entry| message(entry?)).collect()
}

pub fn stream(disk: &Disk, run: &RunId, stream: &str, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, WorldError> {
    let Some(key) = key_of(disk, run)? else { return Ok(Vec::new()) };
    let prefix = keys::stream(key, stream);
    let entries = disk.range(keys::under(&prefix, from)..=keys::under(&prefix, u64::MAX));
    entries.take(limit).map(|entry| Ok(entry?.1.to_vec())).collect()
}

pub fn streams(disk: &Disk, run: &RunId) -> Result<Vec<(String, u64)>, WorldError> {
    let Some(key) = key_of(disk, run)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut from = keys::one(keys::STREAM, key).to_vec();
    let end = keys::two(keys::STREAM, key, u64::MAX).to_vec();
    // From one stream to the next, however many entries are in between.
    while let Some((entry, _)) = disk.range(from..end.clone()).next().transpose()? {
        let name = keys::name_at(&entry, 9);
        let name = name.ok_or_else(|| disk.corrupt(format!("the name of a stream of run {run} cannot be read")))?;
        let last = keys::under(&keys::stream(key, name), u64::MAX);
        let newest = disk.range_back(entry.to_vec()..=last.clone()).next().transpose()?;
        found.extend(newest.and_then(|(newest, _)| Some((name.to_owned(), keys::last_number(&newest)? + 1))));
        from = last;
        from.push(0);
    }
    found.sort_unstable();
    Ok(found)
}

pub fn values(disk: &Disk, run: &RunId) -> Result<Vec<(String, Vec<u8>)>, WorldError> {
    let Some(key) = key_of(disk, run)? else { return Ok(Vec::new()) };
    let value = |(name, value): (IVec, IVec)| match keys::name_of_run(&name) {
        Some(name) => Ok((name.to_owned(), value.to_vec())),
        None => Err(disk.corrupt(format!("the name of a value of run {run} cannot be read"))),
    };
    disk.prefix(keys::one(keys::VALUE, key)).map(|entry| value(entry?)).collect()
}

pub fn programs(disk: &Disk) -> Result<Vec<Version>, WorldError> {
    let version = |name: &[u8]| match std::str::from_utf8(&name[1..]) {
        Ok(name) => Ok(Version::from_digest(name)),
        Err(_) => Err(disk.corrupt("the name of a program cannot be read")),
    };
    disk.prefix([keys::PROGRAM]).map(|entry| version(&entry?.0)).collect()
}

/// Whether there is a run of this version.
pub fn has_version(disk: &Disk, version: &Version) -> Result<bool, WorldError> {
    for entry in disk.prefix(keys::by_version(version)) {
        // Only the beginning of a long name stands in the index.
        let key = keys::last_number(&entry?.0).unwrap_or(0);
        if row_of(disk, key)?.is_some_and(|row| row.version == *version) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub fn expired(disk: &Disk, now: Millis, limit: usize) -> Result<Vec<RunId>, WorldError> {
    let range = keys::two(keys::EXPIRY, 0, 0).to_vec()..=keys::two(keys::EXPIRY, now, u64::MAX).to_vec();
    let mut found = Vec::new();
    for entry in disk.range(range) {
        if found.len() == limit {
            break;
        }
        // The run may go while we look.
        found.extend(row_of(disk, keys::last_number(&entry?.0).unwrap_or(0))?.map(|row| row.run));
    }
    Ok(found)
}

/// The open hook of a token.
pub fn hook(disk: &Disk, token: &str) -> Result<Option<Hook>, WorldError> {
    let Some(value) = disk.get(keys::named(keys::HOOK, token))? else { return Ok(None) };
    let Some((key, info)) = keys::split_dated(&value) else {
        return Err(disk.corrupt(format!("the hook {token:?} cannot be read")));
    };
    // The run may end and go while we look.
    Ok(row_of(disk, key)?.map(|row| Hook { run: row.run, info: info.to_vec() }))
}

/// How a run stands; no batch may be applied meanwhile.
pub fn snapshot(disk: &Disk, id: &RunId) -> Result<Option<Snapshot>, WorldError> {
    let Some(key) = key_of(disk, id)? else { return Ok(None) };
    let Some(row) = row_of(disk, key)? else { return Ok(None) };
    let mut hooks = Vec::new();
    for entry in disk.prefix(keys::one(keys::OPEN, key)) {
        let entry = entry?.0;
        let Some(token) = keys::name_of_run(&entry) else { continue };
        let Some(value) = disk.get(keys::named(keys::HOOK, token))? else { continue };
        hooks.extend(keys::split_dated(&value).map(|(_, info)| (token.to_owned(), info.to_vec())));
    }
    let messages = inbox(disk, id, taken(disk, key)?, usize::MAX)?;
    Ok(Some(Snapshot {
        row,
        last_seq: last_seq(disk, key)?,
        streams: streams(disk, id)?,
        values: values(disk, id)?,
        messages,
        hooks,
    }))
}

pub fn standing(disk: &Disk, id: &RunId) -> Result<Option<Standing>, WorldError> {
    let Some(key) = key_of(disk, id)? else { return Ok(None) };
    let (last_seq, streams) = (last_seq(disk, key)?, streams(disk, id)?);
    let Some(row) = row_of(disk, key)? else { return Ok(None) };
    Ok(Some(Standing { status: row.status, last_seq, streams }))
}

fn chunk(disk: &Disk, (name, value): (IVec, IVec)) -> Result<Chunk, WorldError> {
    match (keys::last_number(&name), keys::split_counted(&value)) {
        (Some(first), Some((count, bytes))) => Ok(Chunk { first, count, bytes: bytes.to_vec() }),
        _ => Err(disk.corrupt("a chunk of a log cannot be read")),
    }
}
