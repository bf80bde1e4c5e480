//! Reading one run, and listing many.

use std::ops::Range;

use durhai_core::{Millis, RunId, Version};
use durhai_world::{Chunk, Letter, Page, Query, WorldError};
use sled::IVec;

use crate::disk::Disk;
use crate::keys;
use crate::state::{key_of, row_of};

/// How far ahead indexes are counted at first, to find the one with the fewest entries.
const LOOK: usize = 128;

pub fn log(disk: &Disk, run: &RunId, from: u64, limit_bytes: usize) -> Result<Vec<Chunk>, WorldError> {
    let Some(key) = key_of(disk, run)? else { return Ok(Vec::new()) };
    let at = |seq: u64| keys::two(keys::LOG, key, seq).to_vec();
    let before = disk.range(at(0)..=at(from)).next_back().transpose()?;
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
    disk.prefix(keys::one(keys::LOG, key)).next_back().map(|entry| chunk(disk, entry?)).transpose()
}

pub fn inbox(disk: &Disk, run: &RunId, after: u64, limit: usize) -> Result<Vec<Letter>, WorldError> {
    let (Some(key), Some(first)) = (key_of(disk, run)?, after.checked_add(1)) else { return Ok(Vec::new()) };
    let at = |index: u64| keys::two(keys::LETTER, key, index).to_vec();
    let letter = |(name, value): (IVec, IVec)| match (keys::last_number(&name), keys::split_dated(&value)) {
        (Some(index), Some((at, bytes))) => Ok(Letter { index, at, bytes: bytes.to_vec() }),
        _ => Err(disk.corrupt(format!("a letter for run {run} cannot be read"))),
    };
    disk.range(at(first)..=at(u64::MAX)).take(limit).map(|entry| letter(entry?)).collect()
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
        let newest = disk.range(entry.to_vec()..=last.clone()).next_back().transpose()?;
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

/// Runs whose keys are in none of the `zones`, which go downwards, are not among those that are asked for.
pub fn list(disk: &Disk, query: &Query, zones: Option<&[Range<u64>]>) -> Result<Page, WorldError> {
    let before = match &query.cursor {
        None => u64::MAX,
        Some(cursor) => u64::from_str_radix(cursor, 16).map_err(|_| {
            WorldError::Invalid(format!("{cursor:?} is no cursor of this world: take the one a page came with"))
        })?,
    };
    let mut page = Page::default();
    let mut last = before;
    let (driver, others) = plan(disk, query, before)?;
    let mut newest_first = Merge::new(disk, &driver, before)?;
    let mut zones = zones.map(|zones| zones.iter().peekable());
    while let Some(key) = newest_first.next()? {
        if let Some(zones) = &mut zones {
            while zones.next_if(|zone| zone.start > key).is_some() {}
            let Some(zone) = zones.peek() else { break };
            if key >= zone.end {
                newest_first = Merge::new(disk, &driver, zone.end)?;
                continue;
            }
        }
        if !others.iter().map(|any| has_any(disk, any, key)).try_fold(true, |all, has| Ok(all && has?))? {
            continue;
        }
        // A row may go, or change, while we look.
        let Some(row) = row_of(disk, key)?.filter(|row| query.matches(row)) else { continue };
        if page.rows.len() == query.page_size() {
            page.next = Some(format!("{last:x}"));
            break;
        }
        page.rows.push(row);
        last = key;
    }
    Ok(page)
}

fn chunk(disk: &Disk, (name, value): (IVec, IVec)) -> Result<Chunk, WorldError> {
    match (keys::last_number(&name), keys::split_counted(&value)) {
        (Some(first), Some((count, bytes))) => Ok(Chunk { first, count, bytes: bytes.to_vec() }),
        _ => Err(disk.corrupt("a chunk of a log cannot be read")),
    }
}

/// Index prefixes of which a run must be under one.
type AnyOf = Vec<Vec<u8>>;

/// The index to go through, which is the one with the fewest entries, and those to look into for each run found.
fn plan(disk: &Disk, query: &Query, before: u64) -> Result<(AnyOf, Vec<AnyOf>), WorldError> {
    let mut wanted: Vec<AnyOf> = Vec::new();
    wanted.extend(query.parent.iter().map(|parent| vec![keys::by_parent(parent)]));
    wanted.extend(query.tags.iter().map(|(name, value)| vec![keys::by_tag(name, value)]));
    wanted.extend(query.version.iter().map(|version| vec![keys::by_version(version)]));
    wanted.extend(query.workflow.iter().map(|workflow| vec![keys::by_workflow(workflow)]));
    if !query.status.is_empty() {
        let mut all: AnyOf = query.status.iter().map(|status| keys::by_status(*status)).collect();
        all.sort_unstable();
        all.dedup();
        wanted.push(all);
    }
    if wanted.is_empty() {
        return Ok((vec![vec![keys::ROW]], Vec::new()));
    }
    let mut look = LOOK;
    let best = loop {
        let mut counts = Vec::with_capacity(wanted.len());
        for any in &wanted {
            counts.push(any.iter().map(|prefix| newest(disk, prefix, before).take(look).count()).sum::<usize>());
        }
        let (best, fewest) = counts.into_iter().enumerate().min_by_key(|(_, count)| *count).expect("one is wanted");
        // All are longer: look further, so that this costs no more than a part of the shortest.
        if wanted.len() == 1 || fewest < look || look >= LOOK << 12 {
            break best;
        }
        look *= 8;
    };
    Ok((wanted.swap_remove(best), wanted))
}

fn has_any(disk: &Disk, any: &AnyOf, key: u64) -> Result<bool, WorldError> {
    for prefix in any {
        if disk.has(keys::under(prefix, key))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The keys of runs under one prefix and before a key, newest first.
fn newest<'a>(disk: &'a Disk, prefix: &[u8], before: u64) -> impl Iterator<Item = Result<u64, WorldError>> + 'a {
    let range = keys::under(prefix, 0)..keys::under(prefix, before);
    disk.range(range).rev().map(move |entry| {
        let key = entry?.0;
        keys::last_number(&key).ok_or_else(|| disk.corrupt("an index entry has no key"))
    })
}

/// Several prefixes at once, newest first.
struct Merge<'a> {
    sources: Vec<Box<dyn Iterator<Item = Result<u64, WorldError>> + 'a>>,
    heads: Vec<Option<u64>>,
}

impl<'a> Merge<'a> {
    fn new(disk: &'a Disk, any: &AnyOf, before: u64) -> Result<Self, WorldError> {
        let mut sources = Vec::new();
        let mut heads = Vec::new();
        for prefix in any {
            let mut source = newest(disk, prefix, before);
            heads.push(source.next().transpose()?);
            sources.push(Box::new(source) as Box<dyn Iterator<Item = _>>);
        }
        Ok(Merge { sources, heads })
    }

    fn next(&mut self) -> Result<Option<u64>, WorldError> {
        let Some(newest) = self.heads.iter().copied().flatten().max() else { return Ok(None) };
        // A run that changes its status while we look may be under two.
        for (head, source) in self.heads.iter_mut().zip(&mut self.sources) {
            if *head == Some(newest) {
                *head = source.next().transpose()?;
            }
        }
        Ok(Some(newest))
    }
}
