//! The end of a run's data.

use durhai_core::RunId;
use durhai_world::{Refused, WorldError};

use super::txn::{Outcome, WriteTxn};
use crate::batch::Batch;
use crate::disk::Disk;
use crate::keys;

/// How many entries of a deleted run go with it at once; the others are swept up later, so that no other write waits for them.
const AT_ONCE: usize = 1000;

impl WriteTxn<'_> {
    /// Removes a run that has ended, and what it has; see [`sweep`].
    pub fn delete(&mut self, id: RunId) -> Outcome<()> {
        // What is about to go must be on the disk to be found.
        self.apply()?;
        let Some(run) = self.state.run(self.disk, &id)? else { return Ok(Err(Refused::Unknown(id))) };
        if !run.row.status.is_terminal() {
            let status = run.row.status;
            self.state.let_go(&id);
            return Ok(Err(Refused::NotTerminal(id, status)));
        }
        let key = run.key;
        self.batch.remove(keys::named(keys::ID, id.as_str()));
        self.batch.remove(&keys::one(keys::ROW, key));
        for index in keys::of_row(&run.row, key) {
            self.batch.remove(index);
        }
        let row = run.row.clone();
        self.state.counts.remove(&row);
        self.state.created.remove(self.disk, key)?;
        self.state.let_go(&id);
        if !sweep(self.disk, key, AT_ONCE, &mut self.batch)? {
            self.batch.insert(&keys::one(keys::GARBAGE, key), &[]);
            self.garbage = true;
        }
        self.apply()?;
        Ok(Ok(()))
    }
}

/// Puts the removal of what is left of a deleted run into the batch, at most so many entries. Whether that was all.
pub fn sweep(disk: &Disk, key: u64, limit: usize, batch: &mut Batch) -> Result<bool, WorldError> {
    batch.remove(&keys::one(keys::TAKEN, key));
    batch.remove(&keys::one(keys::TRIES, key));
    let mut left = limit;
    for tag in [keys::LOG, keys::STREAM, keys::MESSAGE, keys::VALUE] {
        for entry in disk.prefix(keys::one(tag, key)) {
            if left == 0 {
                return Ok(false);
            }
            batch.remove(entry?.0);
            left -= 1;
        }
    }
    Ok(true)
}
