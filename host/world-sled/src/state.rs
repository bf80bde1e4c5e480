//! What is kept in memory: the runs that are held, and for the length of one batch those it touches.

pub mod counts;
pub mod created_ranges;
pub mod run;
pub mod semaphore;

use std::collections::HashMap;
use std::sync::Arc;

use durhai_core::{Millis, RunId};
use durhai_world::{Claim, Row, WorldError};

use crate::batch::Batch;
use crate::disk::Disk;
use crate::entries::last_seq;
use crate::{keys, read};
use counts::RunCounts;
use created_ranges::CreatedRanges;
use run::Run;
use semaphore::{Admitted, Semaphore};

/// All that must not change while a batch is put together.
pub struct State {
    pub runs: HashMap<RunId, Run>,
    /// Limits by key: those under which runs wait, and for the length of one batch those it touches.
    pub semaphores: HashMap<String, Semaphore>,
    pub admitted: Admitted,
    /// Tokens that held runs reserved, each with the run.
    pub reserved: HashMap<Arc<str>, RunId>,
    pub counts: RunCounts,
    pub created: CreatedRanges,
    pub next_key: u64,
    pub next_fence: u64,
}

impl State {
    /// Reads where the counters stand, and ends the claims of a process that died.
    pub fn recover(disk: &Disk) -> Result<Self, WorldError> {
        let mut next_key = 1;
        // What a deleted run left may be of a later run than the last row.
        for tag in [keys::ROW, keys::GARBAGE] {
            if let Some((key, _)) = disk.last([tag])? {
                next_key = next_key.max(keys::first_number(&key).unwrap_or(0) + 1);
            }
        }
        // Fences need not be stored: those of this process are higher than those of all before.
        let next_fence = (disk.count_open()? << 32) + 1;
        loop {
            let mut batch = Batch::default();
            let mut found = 0;
            for entry in disk.prefix([keys::HELD]).take(1000) {
                found += 1;
                let held = entry?.0;
                batch.remove(&held);
                let Some(run) = Run::of_key(disk, keys::last_number(&held).unwrap_or(0))? else { continue };
                batch.insert(&keys::one(keys::TRIES, run.key), &(run.tries + 1).to_be_bytes());
                run.queue(&mut batch);
            }
            if found == 0 {
                break;
            }
            disk.apply(batch)?;
        }
        disk.sync()?;
        // Damaged ones are for `verify` to report; they come from the rows, and a store that opens can be mended.
        let (counts, created) = match (RunCounts::read(disk)?, CreatedRanges::read(disk)?) {
            (Some(counts), Some(created)) => (counts, created),
            _ => recount(disk)?,
        };
        Ok(State {
            runs: HashMap::new(),
            semaphores: HashMap::new(),
            admitted: Admitted::default(),
            reserved: HashMap::new(),
            counts,
            created,
            next_key,
            next_fence,
        })
    }

    /// The run, read if it is not at hand. `None`: there is none.
    pub fn run(&mut self, disk: &Disk, id: &RunId) -> Result<Option<&mut Run>, WorldError> {
        if !self.runs.contains_key(id) {
            let Some(run) = Run::of_id(disk, id)? else { return Ok(None) };
            self.runs.insert(id.clone(), run);
        }
        Ok(self.runs.get_mut(id))
    }

    /// Claims a run that no host holds and that is in `runs`; `None` if it is not.
    pub fn take(
        &mut self,
        disk: &Disk,
        id: &RunId,
        now: Millis,
        batch: &mut Batch,
    ) -> Result<Option<Claim>, WorldError> {
        let Some(run) = self.runs.get_mut(id) else { return Ok(None) };
        if let Some(due) = run.due() {
            batch.remove(&keys::two(keys::DUE, due, run.key));
        }
        run.last_seq = last_seq(disk, run.key)?;
        for entry in disk.prefix(keys::one(keys::OPEN, run.key)) {
            run.hooks.extend(keys::name_of_run(&entry?.0).map(Arc::from));
        }
        let admitted = run.is_admitted(now);
        Ok(Some(run.hold(id, admitted, &mut self.next_fence, batch)))
    }

    /// Forgets a run that was only looked at.
    pub fn let_go(&mut self, id: &RunId) {
        if self.runs.get(id).is_some_and(|run| run.fence == 0) {
            self.runs.remove(id);
        }
    }

    /// What is known of a concurrency limit, read if it is not at hand.
    pub fn semaphore(&mut self, disk: &Disk, name: &str) -> Result<&mut Semaphore, WorldError> {
        if !self.semaphores.contains_key(name) {
            self.semaphores.insert(name.to_owned(), Semaphore::read(disk, name)?);
        }
        Ok(self.semaphores.get_mut(name).expect("it is there now"))
    }

    /// What [`World::reserve`](durhai_world::World::reserve) does.
    pub fn reserve(&mut self, disk: &Disk, token: &str, run: &RunId, fence: u64) -> Result<Option<RunId>, WorldError> {
        let Some(held) = self.runs.get_mut(run).filter(|held| held.fence == fence && fence != 0) else {
            return Ok(None);
        };
        if let Some(hook) = read::hook(disk, token)?.filter(|hook| hook.run != *run) {
            return Ok(Some(hook.run));
        }
        if let Some(owner) = self.reserved.get(token) {
            return Ok(Some(owner.clone()).filter(|owner| owner != run));
        }
        let token: Arc<str> = token.into();
        held.reserved.push(token.clone());
        self.reserved.insert(token, run.clone());
        Ok(None)
    }

    /// Ends the reservations of a run.
    pub fn unreserve(&mut self, run: &RunId) {
        let Some(held) = self.runs.get_mut(run) else { return };
        for token in std::mem::take(&mut held.reserved) {
            self.reserved.remove(&token);
        }
    }
}

/// The counts and the times of creation as the rows say. A row that cannot be read is for `verify` to report.
pub fn recount(disk: &Disk) -> Result<(RunCounts, CreatedRanges), WorldError> {
    let (mut counts, mut created) = (RunCounts::default(), CreatedRanges::default());
    for entry in disk.prefix([keys::ROW]) {
        let (at, value) = entry?;
        if let (Some(key), Ok(row)) = (keys::last_number(&at), serde_json::from_slice::<Row>(&value)) {
            counts.add(&row);
            created.add(key, row.created_at);
        }
    }
    Ok((counts, created))
}
