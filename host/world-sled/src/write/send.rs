//! A message into the inbox of a run.

use durhai_world::{NewMessage, Notice, Refused};

use super::txn::{Outcome, WriteTxn};
use crate::keys;

impl WriteTxn<'_> {
    /// The index that the message gets.
    pub fn send(&mut self, message: NewMessage) -> Outcome<u64> {
        let NewMessage { run: id, at, urgent, bytes } = message;
        let Some(run) = self.state.run(self.disk, &id)? else { return Ok(Err(Refused::Unknown(id))) };
        if run.fence == 0 {
            self.passing.push(id.clone());
        }
        if run.row.status.is_terminal() {
            return Ok(Err(Refused::Terminal(id, run.row.status)));
        }
        let before = run.due();
        run.last_message += 1;
        self.batch.insert(&keys::two(keys::MESSAGE, run.key, run.last_message), keys::message(at, urgent, &bytes));
        if urgent {
            run.urgent = run.last_message;
            self.batch.insert(&keys::one(keys::URGENT, run.key), &run.urgent.to_be_bytes());
        }
        if run.fence == 0 {
            if before != run.due() {
                if let Some(before) = before {
                    self.batch.remove(&keys::two(keys::DUE, before, run.key));
                }
                run.queue(&mut self.batch);
            }
            self.notices.push(Notice::Due);
        }
        self.notices.push(Notice::Message(id));
        Ok(Ok(run.last_message))
    }
}
