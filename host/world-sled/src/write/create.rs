//! A new run.

use durhai_core::RunId;
use durhai_world::{Admission, Claim, Create, Notice, Refused, Row};

use super::txn::{Outcome, WriteTxn};
use crate::entries::row_value;
use crate::keys;
use crate::state::run::Run;

impl WriteTxn<'_> {
    /// With the run that ends with the same commit, if one does.
    pub fn create(&mut self, create: Create, ending: Option<&RunId>) -> Outcome<Option<Claim>> {
        let Create { row, events, claim, hooks, messages } = create;
        let id = row.run.clone();
        if let Some(run) = self.state.runs.get(&id) {
            return Ok(Err(Refused::Exists(run.row.clone())));
        }
        if let Some(run) = Run::of_id(self.disk, &id)? {
            return Ok(Err(Refused::Exists(run.row)));
        }
        if events.first != 1 {
            return Ok(Err(Refused::Sequence { run: id, expected: events.first, found: 0 }));
        }
        for (token, _) in &hooks {
            if let Some(run) = self.owner(token)? {
                return Ok(Err(Refused::Token { token: token.clone(), run }));
            }
        }
        let terminal = row.status.is_terminal();
        let row = Row { wake_at: row.wake_at.filter(|_| !terminal), ..row };
        let key = self.state.next_key;
        self.state.next_key += 1;
        self.batch.insert(keys::named(keys::ID, id.as_str()), &key.to_be_bytes());
        self.batch.insert(&keys::one(keys::ROW, key), row_value(&row));
        for index in keys::of_row(&row, key) {
            self.batch.insert(index, &[]);
        }
        self.state.counts.add(&row);
        self.state.created.add(key, row.created_at);
        if events.count > 0 {
            let value = self.chunks.value(events.count, &events.bytes);
            self.batch.insert(&keys::two(keys::LOG, key, 1), value);
        }
        let limited = row.concurrency.is_some();
        let arrives = claim.is_some() || row.wake_at.is_some_and(|wake_at| wake_at <= row.created_at);
        let created_at = row.created_at;
        let mut run = Run::new(key, row, if limited { Admission::NotArrived } else { Admission::Admitted });
        run.last_seq = u64::from(events.count);
        for (token, info) in hooks.into_iter().filter(|_| !terminal) {
            self.open(&mut run, token, &info);
        }
        for bytes in messages.into_iter().filter(|_| !terminal) {
            run.last_message += 1;
            self.batch
                .insert(&keys::two(keys::MESSAGE, key, run.last_message), keys::message(created_at, false, &bytes));
        }
        self.state.runs.insert(id.clone(), run);
        if limited && !terminal {
            // Its queue must find it if it has to wait, and it is not on the disk yet.
            self.passing.push(id.clone());
            self.join(&id, arrives, ending)?;
        }
        let Some(run) = self.state.runs.get_mut(&id) else { return Ok(Ok(None)) };
        if claim.is_some() && !terminal && run.admission == Admission::Admitted {
            if limited && let Some(due) = run.due() {
                self.batch.remove(&keys::two(keys::DUE, due, key));
            }
            return Ok(Ok(Some(run.hold(&id, true, &mut self.state.next_fence, &mut self.batch))));
        }
        run.queue(&mut self.batch);
        self.notices.push(Notice::Due);
        self.passing.push(id);
        Ok(Ok(None))
    }
}
