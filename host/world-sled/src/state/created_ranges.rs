//! When the runs with neighbouring keys were created: a zone map (a block range index), so that a list by time skips whole
//! ranges of keys.
//!
//! Runs are listed in the order of their keys, and clocks are read by hosts, jump, and are as old as an import says; so
//! the times of one range may be any, and are mostly those of a few minutes. Bounds grow with each run and do not shrink
//! when one goes, until the last of the range does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use durhai_core::Millis;
use durhai_world::WorldError;

use crate::batch::Batch;
use crate::disk::Disk;
use crate::keys;

/// Keys in a range.
const SIZE: u64 = 512;

/// Earliest and latest of a range.
type Bounds = (Millis, Millis);

#[derive(Default)]
pub struct CreatedRanges {
    bounds: BTreeMap<u64, Bounds>,
    /// Not written yet.
    changed: BTreeSet<u64>,
}

impl CreatedRanges {
    /// `None`: what is stored cannot be read.
    pub fn read(disk: &Disk) -> Result<Option<Self>, WorldError> {
        let mut ranges = CreatedRanges::default();
        for entry in disk.prefix([keys::CREATED]) {
            let (key, value) = entry?;
            let Some((range, bounds)) = parse(&key, &value) else { return Ok(None) };
            ranges.bounds.insert(range, bounds);
        }
        Ok(Some(ranges))
    }

    /// A run was created at this time.
    pub fn add(&mut self, run: u64, created_at: Millis) {
        let range = run / SIZE;
        let old = self.bounds.get(&range).copied();
        let (earliest, latest) = old.unwrap_or((created_at, created_at));
        let new = (earliest.min(created_at), latest.max(created_at));
        if old != Some(new) {
            self.bounds.insert(range, new);
            self.changed.insert(range);
        }
    }

    /// A run is about to go; the others must be on the disk.
    pub fn remove(&mut self, disk: &Disk, run: u64) -> Result<(), WorldError> {
        let range = run / SIZE;
        let keys = keys::one(keys::ROW, range * SIZE).to_vec()..keys::one(keys::ROW, (range + 1) * SIZE).to_vec();
        for entry in disk.range(keys).take(2) {
            if keys::last_number(&entry?.0) != Some(run) {
                return Ok(());
            }
        }
        self.bounds.remove(&range);
        self.changed.insert(range);
        Ok(())
    }

    /// Writes what changed since the last time.
    pub fn flush(&mut self, batch: &mut Batch) {
        while let Some(range) = self.changed.pop_first() {
            let value = self
                .bounds
                .get(&range)
                .map(|(earliest, latest)| [earliest.to_be_bytes(), latest.to_be_bytes()].concat());
            batch.set(&keys::one(keys::CREATED, range), value);
        }
    }

    /// The keys among which are all runs created at or after `since` and before `until`, the highest first.
    pub fn between(&self, since: Option<Millis>, until: Option<Millis>) -> Vec<Range<u64>> {
        let (since, until) = (since.unwrap_or(0), until.unwrap_or(Millis::MAX));
        let mut found: Vec<Range<u64>> = Vec::new();
        for (range, (earliest, latest)) in self.bounds.iter().rev() {
            if *latest < since || *earliest >= until {
                continue;
            }
            let keys = range * SIZE..(range + 1) * SIZE;
            match found.last_mut() {
                Some(last) if last.start == keys.end => last.start = keys.start,
                _ => found.push(keys),
            }
        }
        found
    }
}

/// Looks through what is stored for rows that a list would miss.
pub fn verify(
    disk: &Disk,
    rows: impl Iterator<Item = (u64, Millis)>,
    report: &mut dyn FnMut(String),
) -> Result<(), WorldError> {
    let mut stored = BTreeMap::new();
    for entry in disk.prefix([keys::CREATED]) {
        let (key, value) = entry?;
        match parse(&key, &value) {
            Some((range, bounds)) => drop(stored.insert(range, (bounds, false))),
            None => report(format!("the times of runs cannot be read: {}", keys::hex(&key))),
        }
    }
    for (run, created_at) in rows {
        match stored.get_mut(&(run / SIZE)) {
            Some(((earliest, latest), seen)) if (*earliest..=*latest).contains(&created_at) => *seen = true,
            _ => report(format!("run number {run} would not be found by its time, {created_at}")),
        }
    }
    for (range, _) in stored.into_iter().filter(|(_, (_, seen))| !seen) {
        report(format!("the times of runs from number {} on, and there are no such runs", range * SIZE));
    }
    Ok(())
}

fn parse(key: &[u8], value: &[u8]) -> Option<(u64, Bounds)> {
    let range = keys::last_number(key).filter(|_| key.len() == 9)?;
    let earliest = value.first_chunk().filter(|_| value.len() == 16)?;
    Some((range, (Millis::from_be_bytes(*earliest), keys::last_number(value)?)))
}
