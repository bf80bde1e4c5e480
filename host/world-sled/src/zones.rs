//! When the runs with neighbouring keys were created: what is not in question is skipped by whole zones.
//!
//! Runs are listed in the order of their keys, and clocks are read by hosts, jump, and are as old as an import says; so
//! the times of one zone may be any, and are mostly those of a few minutes. Bounds grow with each run and do not shrink
//! when one goes, until the last of the zone does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use durhai_core::Millis;
use durhai_world::WorldError;

use crate::batch::Batch;
use crate::disk::Disk;
use crate::keys;

/// Keys in a zone.
const SIZE: u64 = 512;

/// Earliest and latest of a zone.
type Bounds = (Millis, Millis);

#[derive(Default)]
pub struct Zones {
    bounds: BTreeMap<u64, Bounds>,
    /// Not written yet.
    changed: BTreeSet<u64>,
}

impl Zones {
    /// `None`: what is stored cannot be read.
    pub fn read(disk: &Disk) -> Result<Option<Self>, WorldError> {
        let mut zones = Zones::default();
        for entry in disk.prefix([keys::ZONE]) {
            let (key, value) = entry?;
            let Some((zone, bounds)) = parse(&key, &value) else { return Ok(None) };
            zones.bounds.insert(zone, bounds);
        }
        Ok(Some(zones))
    }

    /// A run was created at this time.
    pub fn add(&mut self, run: u64, created_at: Millis) {
        let zone = run / SIZE;
        let old = self.bounds.get(&zone).copied();
        let (earliest, latest) = old.unwrap_or((created_at, created_at));
        let new = (earliest.min(created_at), latest.max(created_at));
        if old != Some(new) {
            self.bounds.insert(zone, new);
            self.changed.insert(zone);
        }
    }

    /// A run is about to go; the others must be on the disk.
    pub fn remove(&mut self, disk: &Disk, run: u64) -> Result<(), WorldError> {
        let zone = run / SIZE;
        let keys = keys::one(keys::ROW, zone * SIZE).to_vec()..keys::one(keys::ROW, (zone + 1) * SIZE).to_vec();
        for entry in disk.range(keys).take(2) {
            if keys::last_number(&entry?.0) != Some(run) {
                return Ok(());
            }
        }
        self.bounds.remove(&zone);
        self.changed.insert(zone);
        Ok(())
    }

    /// Writes what changed since the last time.
    pub fn flush(&mut self, batch: &mut Batch) {
        while let Some(zone) = self.changed.pop_first() {
            let value = self
                .bounds
                .get(&zone)
                .map(|(earliest, latest)| [earliest.to_be_bytes(), latest.to_be_bytes()].concat());
            batch.set(&keys::one(keys::ZONE, zone), value);
        }
    }

    /// The keys among which are all runs created at or after `since` and before `until`, the highest first.
    pub fn between(&self, since: Option<Millis>, until: Option<Millis>) -> Vec<Range<u64>> {
        let (since, until) = (since.unwrap_or(0), until.unwrap_or(Millis::MAX));
        let mut found: Vec<Range<u64>> = Vec::new();
        for (zone, (earliest, latest)) in self.bounds.iter().rev() {
            if *latest < since || *earliest >= until {
                continue;
            }
            let zone = zone * SIZE..(zone + 1) * SIZE;
            match found.last_mut() {
                Some(last) if last.start == zone.end => last.start = zone.start,
                _ => found.push(zone),
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
    for entry in disk.prefix([keys::ZONE]) {
        let (key, value) = entry?;
        match parse(&key, &value) {
            Some((zone, bounds)) => drop(stored.insert(zone, (bounds, false))),
            None => report(format!("the times of runs cannot be read: {}", keys::hex(&key))),
        }
    }
    for (run, created_at) in rows {
        match stored.get_mut(&(run / SIZE)) {
            Some(((earliest, latest), seen)) if (*earliest..=*latest).contains(&created_at) => *seen = true,
            _ => report(format!("run number {run} would not be found by its time, {created_at}")),
        }
    }
    for (zone, _) in stored.into_iter().filter(|(_, (_, seen))| !seen) {
        report(format!("the times of runs from number {} on, and there are no such runs", zone * SIZE));
    }
    Ok(())
}

fn parse(key: &[u8], value: &[u8]) -> Option<(u64, Bounds)> {
    let zone = keys::last_number(key).filter(|_| key.len() == 9)?;
    let earliest = value.first_chunk().filter(|_| value.len() == 16)?;
    Some((zone, (Millis::from_be_bytes(*earliest), keys::last_number(value)?)))
}
