//! How many runs there are of each workflow, version and status.
//!
//! The numbers are kept in memory and written, as they are then, with each batch that changes them: so they are right
//! after a crash without being counted again, and many changes of one number are one entry.

use std::collections::HashMap;

use durhai_core::{Status, Version};
use durhai_world::{Count, Row, WorldError};

use crate::batch::Batch;
use crate::disk::Disk;
use crate::keys;

/// By key of the store, since that is how they are looked up for each change.
#[derive(Default)]
pub struct RunCounts {
    by_key: HashMap<Vec<u8>, Number>,
    /// Those that are not written yet.
    changed: Vec<Vec<u8>>,
    /// To look up with.
    key: Vec<u8>,
}

#[derive(Default)]
struct Number {
    runs: u64,
    changed: bool,
}

impl RunCounts {
    /// `None`: what is stored cannot be read.
    pub fn read(disk: &Disk) -> Result<Option<Self>, WorldError> {
        let mut counts = RunCounts::default();
        for entry in disk.prefix([keys::COUNT]) {
            let (key, value) = entry?;
            let Some(runs) = keys::last_number(&value).filter(|_| value.len() == 8 && split(&key).is_some()) else {
                return Ok(None);
            };
            counts.by_key.insert(key.to_vec(), Number { runs, changed: false });
        }
        Ok(Some(counts))
    }

    pub fn add(&mut self, row: &Row) {
        self.change(row, |runs| runs + 1);
    }

    pub fn remove(&mut self, row: &Row) {
        self.change(row, |runs| runs.saturating_sub(1));
    }

    /// The run had the one row and has the other now.
    pub fn replace(&mut self, old: &Row, new: &Row) {
        if (old.status, &old.workflow, &old.version) != (new.status, &new.workflow, &new.version) {
            self.remove(old);
            self.add(new);
        }
    }

    fn change(&mut self, row: &Row, change: impl Fn(u64) -> u64) {
        keys::count(&mut self.key, &row.workflow, &row.version, row.status);
        let number = match self.by_key.get_mut(&self.key) {
            Some(number) => number,
            None => self.by_key.entry(self.key.clone()).or_default(),
        };
        number.runs = change(number.runs);
        if !std::mem::replace(&mut number.changed, true) {
            self.changed.push(self.key.clone());
        }
    }

    /// Writes what changed since the last time.
    pub fn flush(&mut self, batch: &mut Batch) {
        for key in self.changed.drain(..) {
            match self.by_key.get_mut(&key) {
                Some(number @ Number { runs: 1.., .. }) => {
                    number.changed = false;
                    batch.insert(key, &number.runs.to_be_bytes());
                }
                _ => {
                    self.by_key.remove(&key);
                    batch.remove(key);
                }
            }
        }
    }

    /// The statuses and workflows of which there is a run.
    pub fn kinds(&self) -> Vec<(Status, &str)> {
        let keys = self.by_key.iter().filter(|(_, number)| number.runs > 0).map(|(key, _)| key);
        keys.filter_map(|key| split(key).map(|(status, _, workflow)| (status, workflow))).collect()
    }

    /// All that are not 0, by workflow, version and status.
    pub fn list(&self) -> Vec<Count> {
        let counts = self.by_key.iter().filter(|(_, number)| number.runs > 0);
        let mut counts: Vec<Count> = counts.filter_map(|(key, number)| count(key, number.runs)).collect();
        counts.sort_unstable();
        counts
    }

    /// Says where these, counted from the rows, differ from those that are stored.
    pub fn compare(&self, disk: &Disk, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
        let mut unseen: HashMap<&[u8], u64> =
            self.by_key.iter().map(|(key, number)| (key.as_slice(), number.runs)).collect();
        for entry in disk.prefix([keys::COUNT]) {
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

/// Undoes [`keys::count`].
fn count(key: &[u8], runs: u64) -> Option<Count> {
    let (status, version, workflow) = split(key)?;
    Some(Count { workflow: workflow.to_owned(), version: Version::from_digest(version), status, runs })
}

fn split(key: &[u8]) -> Option<(Status, &str, &str)> {
    let status = Status::ALL.into_iter().find(|status| Some(&keys::status(*status)) == key.get(1))?;
    let version = keys::name_at(key, 2)?;
    Some((status, version, std::str::from_utf8(key.get(6 + version.len()..)?).ok()?))
}
