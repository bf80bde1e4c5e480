//! Concurrency limits in memory: how many runs are admitted under each, and which wait.

use std::collections::{BTreeSet, HashMap};

use durhai_world::{Admission, Concurrency, WorldError};

use crate::disk::Disk;
use crate::entries::{admission_of, row_of};
use crate::keys;

/// What is known of one limit. While a run waits there is no room.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Semaphore {
    pub limit: u32,
    pub admitted: u64,
    /// Runs that have not ended, wherever they are: as long as there is one, the limit is remembered.
    pub members: u64,
    /// Rank and key.
    pub waiting: BTreeSet<(u32, u64)>,
}

impl Semaphore {
    pub fn read(disk: &Disk, name: &str) -> Result<Self, WorldError> {
        let mut semaphore = match disk.get(keys::named(keys::LIMIT, name))? {
            Some(value) => {
                Semaphore::of_value(&value).ok_or_else(|| disk.corrupt(format!("the concurrency limit {name:?}")))?
            }
            None => return Ok(Semaphore::default()),
        };
        for entry in disk.prefix(keys::queue(name)) {
            semaphore.waiting.extend(keys::split_waiting(&entry?.0));
        }
        Ok(semaphore)
    }

    /// Undoes [`value`](Self::value); which runs wait is stored elsewhere.
    pub fn of_value(value: &[u8]) -> Option<Self> {
        let (limit, rest) = value.split_first_chunk()?;
        let (admitted, rest) = rest.split_first_chunk()?;
        let members = rest.first_chunk()?;
        Some(Semaphore {
            limit: u32::from_be_bytes(*limit),
            admitted: u64::from_be_bytes(*admitted),
            members: u64::from_be_bytes(*members),
            waiting: BTreeSet::new(),
        })
    }

    /// How it is stored.
    pub fn value(&self) -> Vec<u8> {
        let mut value = self.limit.to_be_bytes().to_vec();
        value.extend_from_slice(&self.admitted.to_be_bytes());
        value.extend_from_slice(&self.members.to_be_bytes());
        value
    }
}

/// Its rank among those that wait: the higher the priority, the lower.
pub fn rank(of: &Concurrency) -> u32 {
    !(of.priority.cast_unsigned() ^ (1 << 31))
}

/// The keys of the runs that are admitted, by limit. Only callers of `queue` need it, so it is read for the first of them,
/// and kept up to date from then on.
#[derive(Default)]
pub struct Admitted(Option<HashMap<String, BTreeSet<u64>>>);

impl Admitted {
    pub fn read(&mut self, disk: &Disk) -> Result<&HashMap<String, BTreeSet<u64>>, WorldError> {
        if self.0.is_none() {
            let mut all: HashMap<String, BTreeSet<u64>> = HashMap::new();
            for entry in disk.prefix([keys::ADMISSION]) {
                let (name, value) = entry?;
                let Some(key) = keys::last_number(&name).filter(|_| admission_of(Some(&value)) == Admission::Admitted)
                else {
                    continue;
                };
                if let Some(of) = row_of(disk, key)?.and_then(|row| row.concurrency) {
                    all.entry(of.key).or_default().insert(key);
                }
            }
            self.0 = Some(all);
        }
        Ok(self.0.as_ref().expect("it was read"))
    }

    pub fn note(&mut self, limit: &str, key: u64, admission: Admission) {
        let Some(all) = &mut self.0 else { return };
        if admission == Admission::Admitted {
            all.entry(limit.to_owned()).or_default().insert(key);
        } else if let Some(admitted) = all.get_mut(limit) {
            admitted.remove(&key);
            if admitted.is_empty() {
                all.remove(limit);
            }
        }
    }

    /// It may be ahead of the disk: to be read again.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}
