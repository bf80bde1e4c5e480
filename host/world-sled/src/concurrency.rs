//! Concurrency limits: which runs are admitted, which wait, and which is next.

use std::collections::{BTreeSet, HashMap};

use durhai_core::RunId;
use durhai_world::{Admission, Notice, Queue, WorldError};

use crate::disk::Disk;
use crate::keys;
use crate::state::{Run, State, admission_of, row_of, value_of};
use crate::write::Turn;

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
    fn read(disk: &Disk, name: &str) -> Result<Self, WorldError> {
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

    pub fn value(&self) -> Vec<u8> {
        let mut value = self.limit.to_be_bytes().to_vec();
        value.extend_from_slice(&self.admitted.to_be_bytes());
        value.extend_from_slice(&self.members.to_be_bytes());
        value
    }
}

/// Its rank among those that wait: the higher the priority, the lower.
pub fn rank(of: &durhai_world::Concurrency) -> u32 {
    !(of.priority.cast_unsigned() ^ (1 << 31))
}

impl State {
    fn semaphore(&mut self, disk: &Disk, name: &str) -> Result<&mut Semaphore, WorldError> {
        if !self.semaphores.contains_key(name) {
            self.semaphores.insert(name.to_owned(), Semaphore::read(disk, name)?);
        }
        Ok(self.semaphores.get_mut(name).expect("it is there now"))
    }
}

/// The keys of the runs that are admitted, by limit. Only callers of `queue` need it, so it is read for the first of them,
/// and kept up to date from then on.
#[derive(Default)]
pub struct Admitted(Option<HashMap<String, BTreeSet<u64>>>);

impl Admitted {
    fn read(&mut self, disk: &Disk) -> Result<&HashMap<String, BTreeSet<u64>>, WorldError> {
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

    fn note(&mut self, limit: &str, key: u64, admission: Admission) {
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

impl State {
    /// What [`World::queue`](durhai_world::World::queue) gives.
    pub fn queue(&mut self, disk: &Disk, id: &RunId, most: usize) -> Result<Option<Queue>, WorldError> {
        let found = self.run(disk, id)?.filter(|run| !run.row.status.is_terminal());
        let found = found.and_then(|run| Some((run.key, run.admission, run.row.concurrency.clone()?)));
        self.let_go(id);
        let Some((key, admission, its)) = found else { return Ok(None) };
        let semaphore = self.semaphore(disk, &its.key)?;
        let (limit, waiting, admitted) = (semaphore.limit, semaphore.waiting.len() as u64, semaphore.admitted);
        let ahead = match admission {
            Admission::Waiting => semaphore.waiting.range(..(rank(&its), key)).count() as u64,
            Admission::NotArrived | Admission::Admitted => 0,
        };
        if waiting == 0 {
            self.semaphores.remove(&its.key);
        }
        let mut holders = Vec::new();
        for key in self.admitted.read(disk)?.get(&its.key).into_iter().flatten().take(most) {
            holders.extend(row_of(disk, *key)?.map(|row| row.run));
        }
        Ok(Some(Queue { key: its.key, limit, admission, ahead, waiting, admitted, holders }))
    }
}

impl Turn<'_> {
    /// A new run counts under its limit. It must be among the runs, as one that has not arrived. If it arrives, it may have the place
    /// of a run that ends with this commit, which that one loses then.
    pub fn join(&mut self, id: &RunId, arrives: bool, ending: Option<&RunId>) -> Result<(), WorldError> {
        let Some(its) = self.state.runs.get(id).and_then(|run| run.row.concurrency.clone()) else { return Ok(()) };
        let semaphore = self.touch(&its.key)?;
        semaphore.limit = its.limit.max(1);
        semaphore.members += 1;
        let limited_by = |run: &&mut Run| run.row.concurrency.as_ref().is_some_and(|of| of.key == its.key);
        let ending = ending.filter(|_| arrives).and_then(|ending| self.state.runs.get_mut(ending));
        match ending.filter(|run| run.admission == Admission::Admitted).filter(limited_by) {
            Some(ending) => {
                ending.admission = Admission::NotArrived;
                self.set_admission(id, Admission::Admitted);
                self.admit(&its.key)
            }
            None if arrives => self.arrive(id),
            None => self.admit(&its.key),
        }
    }

    /// A run that has not arrived does so: it is admitted then, or it waits.
    pub fn arrive(&mut self, id: &RunId) -> Result<(), WorldError> {
        let Some(run) = self.state.runs.get(id) else { return Ok(()) };
        let (key, Some(its), Admission::NotArrived) = (run.key, run.row.concurrency.clone(), run.admission) else {
            return Ok(());
        };
        let semaphore = self.touch(&its.key)?;
        if semaphore.waiting.is_empty() && semaphore.admitted < u64::from(semaphore.limit) {
            semaphore.admitted += 1;
            self.set_admission(id, Admission::Admitted);
        } else {
            semaphore.waiting.insert((rank(&its), key));
            self.batch.insert(keys::waiting(&its.key, rank(&its), key), &[]);
            self.set_admission(id, Admission::Waiting);
        }
        self.admit(&its.key)
    }

    /// A run that counts under this limit has ended; not arrived is also one whose place is another's already.
    pub fn leave(&mut self, its: &durhai_world::Concurrency, key: u64, admission: Admission) -> Result<(), WorldError> {
        self.batch.remove(&keys::one(keys::ADMISSION, key));
        self.state.admitted.note(&its.key, key, Admission::NotArrived);
        let semaphore = self.touch(&its.key)?;
        semaphore.members = semaphore.members.saturating_sub(1);
        match admission {
            Admission::Admitted => semaphore.admitted = semaphore.admitted.saturating_sub(1),
            Admission::Waiting => {
                semaphore.waiting.remove(&(rank(its), key));
                self.batch.remove(keys::waiting(&its.key, rank(its), key));
            }
            Admission::NotArrived => {}
        }
        self.admit(&its.key)
    }

    /// Changes the limit of this key, if there is one.
    pub fn set_limit(&mut self, name: &str, limit: u32) -> Result<(), WorldError> {
        let semaphore = self.touch(name)?;
        if semaphore.members == 0 {
            return Ok(());
        }
        semaphore.limit = limit.max(1);
        self.admit(name)
    }

    /// Admits those for which there is room, and stores the limit.
    fn admit(&mut self, name: &str) -> Result<(), WorldError> {
        loop {
            let semaphore = self.state.semaphore(self.disk, name)?;
            if semaphore.admitted >= u64::from(semaphore.limit) {
                break;
            }
            let Some((rank, key)) = semaphore.waiting.pop_first() else { break };
            self.batch.remove(keys::waiting(name, rank, key));
            // One that waits and is not there is damage, which `verify` reports; here it is only in the way.
            let Some(id) = self.id_of(key)? else { continue };
            self.state.semaphore(self.disk, name)?.admitted += 1;
            self.set_admission(&id, Admission::Admitted);
            let Some(run) = self.state.runs.get(&id) else { continue };
            if run.fence == 0 {
                run.queue(&mut self.batch);
                self.notices.push(Notice::Due);
                self.passing.push(id);
            }
        }
        let semaphore = self.state.semaphore(self.disk, name)?;
        self.empty = false;
        match semaphore.members {
            0 => self.batch.remove(keys::named(keys::LIMIT, name)),
            _ => self.batch.insert(keys::named(keys::LIMIT, name), semaphore.value()),
        }
        Ok(())
    }

    fn touch(&mut self, name: &str) -> Result<&mut Semaphore, WorldError> {
        self.semaphores.push(name.to_owned());
        self.state.semaphore(self.disk, name)
    }

    /// The run that waits, which is among the runs then.
    fn id_of(&mut self, key: u64) -> Result<Option<RunId>, WorldError> {
        if let Some(row) = row_of(self.disk, key)? {
            return Ok(self.state.run(self.disk, &row.run)?.map(|run| run.row.run.clone()));
        }
        // Not on the disk yet.
        let is = |id: &&RunId| self.state.runs.get(*id).is_some_and(|run| run.key == key);
        Ok(self.passing.iter().find(is).cloned())
    }

    fn set_admission(&mut self, id: &RunId, admission: Admission) {
        let Some(run) = self.state.runs.get_mut(id) else { return };
        run.admission = admission;
        let key = run.key;
        if let Some(of) = &run.row.concurrency {
            self.state.admitted.note(&of.key, key, admission);
        }
        if let Some(value) = value_of(admission) {
            self.batch.insert(&keys::one(keys::ADMISSION, key), value);
        }
    }
}
