//! How many runs there are of each workflow, version and status.
//!
//! The numbers are kept in memory and written, as they are then, with each batch that changes them: so they are right
//! after a crash without anybody's counting, and many changes of one number are one entry.

use std::collections::{HashMap, HashSet};

use durhai_core::{Status, Version};
use durhai_world::{Count, Row, WorldError};

use crate::batch::Batch;
use crate::disk::Disk;
use crate::keys;

/// By key of the store, since that is how they are looked up for each change.
#[derive(Default)]
pub struct Census {
    counts: HashMap<Vec<u8>, u64>,
    /// Not written yet.
    changed: HashSet<Vec<u8>>,
}

impl Census {
    pub fn read(disk: &Disk) -> Result<Self, WorldError> {
        let mut census = Census::default();
        for entry in disk.prefix([keys::CENSUS]) {
            let (key, value) = entry?;
            let runs = keys::last_number(&value).filter(|_| value.len() == 8 && count(&key, 0).is_some());
            let runs = runs.ok_or_else(|| disk.corrupt("a number of runs cannot be read"))?;
            census.counts.insert(key.to_vec(), runs);
        }
        Ok(census)
    }

    pub fn add(&mut self, row: &Row) {
        let key = keys::census(&row.workflow, &row.version, row.status);
        *self.counts.entry(key.clone()).or_default() += 1;
        self.changed.insert(key);
    }

    pub fn remove(&mut self, row: &Row) {
        let key = keys::census(&row.workflow, &row.version, row.status);
        if let Some(runs) = self.counts.get_mut(&key) {
            *runs = runs.saturating_sub(1);
        }
        self.changed.insert(key);
    }

    /// The run had the one row and has the other now.
    pub fn replace(&mut self, old: &Row, new: &Row) {
        if (&old.workflow, &old.version, old.status) != (&new.workflow, &new.version, new.status) {
            self.remove(old);
            self.add(new);
        }
    }

    /// Writes what changed since the last time.
    pub fn flush(&mut self, batch: &mut Batch) {
        for key in self.changed.drain() {
            match self.counts.get(&key) {
                Some(runs @ 1..) => batch.insert(key, &runs.to_be_bytes()),
                _ => {
                    self.counts.remove(&key);
                    batch.remove(key);
                }
            }
        }
    }

    /// The statuses and workflows of which there is a run.
    pub fn kinds(&self) -> Vec<(Status, &str)> {
        let keys = self.counts.iter().filter(|(_, runs)| **runs > 0).map(|(key, _)| key);
        keys.filter_map(|key| split(key).map(|(status, _, workflow)| (status, workflow))).collect()
    }

    /// All that are not 0, by workflow, version and status.
    pub fn list(&self) -> Vec<Count> {
        let counts = self.counts.iter().filter(|(_, runs)| **runs > 0);
        let mut counts: Vec<Count> = counts.filter_map(|(key, runs)| count(key, *runs)).collect();
        counts.sort_unstable();
        counts
    }

    /// Says where these, counted from the rows, differ from those that are stored.
    pub fn compare(&self, disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
        let mut unseen = self.counts.clone();
        for entry in disk.prefix([keys::CENSUS]) {
            let (key, value) = entry?;
            let counted = unseen.remove(&*key).unwrap_or(0);
            match (count(&key, counted), keys::last_number(&value).filter(|_| value.len() == 8)) {
                (Some(_), Some(stored)) if stored == counted && stored > 0 => {}
                (Some(of), Some(stored)) => report(format!("{} are counted, and {stored} are stored", what(&of))),
                _ => report(format!("a number of runs cannot be read: {}", keys::hex(&key))),
            }
        }
        for (key, runs) in &unseen {
            let of = count(key, *runs).as_ref().map(what);
            report(format!("{} are counted, and no number is stored", of.unwrap_or_default()));
        }
        Ok(())
    }
}

fn what(of: &Count) -> String {
    format!("{} {} runs of {} in version {}", of.runs, of.status, of.workflow, of.version.short())
}

/// Undoes [`keys::census`].
fn count(key: &[u8], runs: u64) -> Option<Count> {
    let (status, version, workflow) = split(key)?;
    Some(Count { workflow: workflow.to_owned(), version: Version::from_digest(version), status, runs })
}

fn split(key: &[u8]) -> Option<(Status, &str, &str)> {
    let status = Status::ALL.into_iter().find(|status| Some(&keys::status(*status)) == key.get(1))?;
    let version = keys::name_at(key, 2)?;
    Some((status, version, std::str::from_utf8(key.get(6 + version.len()..)?).ok()?))
}
