//! Claims: of what is due, of one run, and given back.

use durhai_core::{Millis, RunId};
use durhai_world::{Admission, Claim, Notice, WorldError};

use super::txn::{Outcome, WriteTxn};
use crate::keys;
use crate::state::run::Run;

/// How many runs are looked at before what became of them is made visible: many may be due that have to wait.
const AT_ONCE: usize = 1000;

impl WriteTxn<'_> {
    /// Claims what is due, at most `limit` runs.
    pub fn claim(&mut self, now: Millis, limit: usize) -> Result<Vec<Claim>, WorldError> {
        let mut claims = Vec::new();
        let done = self.claim_due(now, limit, &mut claims);
        if done.is_err() {
            // The caller does not get them.
            claims.iter().for_each(|claim| drop(self.state.runs.remove(&claim.run)));
        }
        done.map(|()| claims)
    }

    fn claim_due(&mut self, now: Millis, limit: usize, claims: &mut Vec<Claim>) -> Result<(), WorldError> {
        for (looked, entry) in self.disk.prefix([keys::DUE]).enumerate() {
            if claims.len() == limit {
                break;
            }
            let name = entry?.0;
            let (Some(due), Some(key)) = (keys::first_number(&name), keys::last_number(&name)) else { continue };
            if due > now {
                break;
            }
            let Some(run) = Run::of_key(self.disk, key)? else {
                // An entry without a run is damage, which `verify` reports; here it is only in the way.
                self.batch.remove(name);
                continue;
            };
            let id = run.row.run.clone();
            self.state.runs.insert(id.clone(), run);
            claims.extend(self.take_due(id, now)?);
            if looked % AT_ONCE == AT_ONCE - 1 {
                self.apply()?;
            }
        }
        Ok(())
    }

    /// Claims one run, due or not.
    pub fn claim_run(&mut self, id: &RunId, now: Millis) -> Result<Option<Claim>, WorldError> {
        match self.state.run(self.disk, id)? {
            Some(found) if found.fence != 0 => Ok(None),
            Some(found) if found.row.status.is_terminal() => {
                self.passing.push(id.clone());
                Ok(None)
            }
            Some(found) if found.due().is_none_or(|due| due > now) => {
                self.state.take(self.disk, id, now, &mut self.batch)
            }
            Some(_) => match self.take_due(id.clone(), now)? {
                // It waits now, and can be claimed all the same.
                None => self.state.take(self.disk, id, now, &mut self.batch),
                claim => Ok(claim),
            },
            None => Ok(None),
        }
    }

    /// Claims a run that is due, unless it has to wait to be admitted and nothing about it is urgent.
    fn take_due(&mut self, id: RunId, now: Millis) -> Result<Option<Claim>, WorldError> {
        let Some(run) = self.state.runs.get(&id) else { return Ok(None) };
        if run.admission == Admission::NotArrived && run.ready_at().is_some_and(|at| at <= now) {
            if let Some(due) = run.due() {
                self.batch.remove(&keys::two(keys::DUE, due, run.key));
            }
            self.arrive(&id)?;
        }
        if self.state.runs.get(&id).is_some_and(|run| run.admission == Admission::Admitted || run.is_urgent()) {
            return self.state.take(self.disk, &id, now, &mut self.batch);
        }
        self.passing.push(id);
        Ok(None)
    }

    /// Gives the claim back.
    pub fn release(&mut self, id: RunId, fence: u64) -> Outcome<()> {
        let run = match self.state.runs.get_mut(&id) {
            Some(run) if run.fence == fence && fence != 0 => run,
            _ => return self.refuse(id),
        };
        run.fence = 0;
        self.batch.remove(&keys::one(keys::HELD, run.key));
        run.queue(&mut self.batch);
        self.state.unreserve(&id);
        self.notices.push(Notice::Due);
        self.passing.push(id);
        Ok(Ok(()))
    }
}
