//! Concurrency limits: which runs are admitted, which wait, and which is next.

use durhai_core::RunId;
use durhai_world::{Admission, Concurrency, Notice, WorldError};

use super::txn::WriteTxn;
use crate::entries::{admission_value, row_of};
use crate::keys;
use crate::state::run::Run;
use crate::state::semaphore::{Semaphore, rank};

impl WriteTxn<'_> {
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
    pub fn leave(&mut self, its: &Concurrency, key: u64, admission: Admission) -> Result<(), WorldError> {
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
        if let Some(value) = admission_value(admission) {
            self.batch.insert(&keys::one(keys::ADMISSION, key), value);
        }
    }
}
