//! The write path: a batch of writes becomes one batch of sled.

mod claim;
mod commit;
mod concurrency;
mod create;
pub mod delete;
mod hooks;
mod send;
mod txn;

use durhai_world::{Write, Written};

use txn::Outcome;
pub use txn::WriteTxn;

impl WriteTxn<'_> {
    /// Performs one write of a batch.
    pub fn write(&mut self, write: Write) -> Outcome<Written> {
        Ok(match write {
            Write::Commit(commit) => self.commit(*commit)?.map(Written::Committed),
            Write::Create(create) => self.create(*create, None)?.map(Written::Created),
            Write::Send(message) => self.send(message)?.map(Written::Sent),
            Write::Release { run, fence } => self.release(run, fence)?.map(|()| Written::Released),
            Write::Delete { run } => self.delete(run)?.map(|()| Written::Deleted),
        })
    }
}
