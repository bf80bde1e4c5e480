//! Hooks: which run has a token.

use std::sync::Arc;

use durhai_core::RunId;
use durhai_world::{HookChange, WorldError};

use super::txn::WriteTxn;
use crate::entries::row_of;
use crate::keys;
use crate::state::run::Run;

impl WriteTxn<'_> {
    /// Opens or closes a hook of a run that is held.
    pub fn change_hook(&mut self, id: &RunId, change: HookChange) -> Result<(), WorldError> {
        let (HookChange::Open { token, .. } | HookChange::Close { token }) = &change;
        let token = token.clone();
        let reserved = self.state.reserved.get(&token).is_some_and(|owner| owner == id);
        let free = reserved || !self.state.reserved.contains_key(&token);
        let taken = self.hook_owner(&token)?;
        let Some(run) = self.state.runs.get_mut(id) else { return Ok(()) };
        let has = taken == Some(run.key);
        match change {
            HookChange::Open { info, .. } if has => {
                self.batch.insert(keys::named(keys::HOOK, &token), keys::dated(run.key, &info));
            }
            HookChange::Open { info, .. } if taken.is_none() && free => {
                let key = run.key;
                run.hooks.push(token.clone());
                self.list(key, &token, &info);
            }
            HookChange::Close { .. } if has => {
                run.hooks.retain(|open| *open != token);
                let key = run.key;
                self.close(key, token);
                return Ok(());
            }
            _ => {}
        }
        // Used up, or given back.
        if reserved && let Some(run) = self.state.runs.get_mut(id) {
            run.reserved.retain(|one| *one != token);
            self.state.reserved.remove(&token);
        }
        Ok(())
    }

    /// Opens a hook of a run that is being created, whose token is free.
    pub fn open(&mut self, run: &mut Run, token: Arc<str>, info: &[u8]) {
        if !run.hooks.contains(&token) {
            run.hooks.push(token.clone());
        }
        self.list(run.key, &token, info);
    }

    fn list(&mut self, key: u64, token: &Arc<str>, info: &[u8]) {
        self.batch.insert(keys::named(keys::HOOK, token), keys::dated(key, info));
        self.batch.insert(keys::of_run(keys::OPEN, key, token), &[]);
        self.hooks.insert(token.clone(), Some(key));
    }

    /// The run that has a token, open or reserved.
    pub fn owner(&self, token: &str) -> Result<Option<RunId>, WorldError> {
        let Some(key) = self.hook_owner(token)? else { return Ok(self.state.reserved.get(token).cloned()) };
        // It may be one of this batch, which is not on the disk yet.
        if let Some((id, _)) = self.state.runs.iter().find(|(_, run)| run.key == key) {
            return Ok(Some(id.clone()));
        }
        Ok(row_of(self.disk, key)?.map(|row| row.run))
    }

    /// Ends all that a run which ended has.
    pub fn close_all(&mut self, id: &RunId) {
        self.state.unreserve(id);
        let Some(run) = self.state.runs.get_mut(id) else { return };
        let key = run.key;
        for token in std::mem::take(&mut run.hooks) {
            self.close(key, token);
        }
    }

    fn close(&mut self, key: u64, token: Arc<str>) {
        self.batch.remove(keys::named(keys::HOOK, &token));
        self.batch.remove(keys::of_run(keys::OPEN, key, &token));
        self.hooks.insert(token, None);
    }

    /// The key of the run that has this hook open, or will have it with this batch.
    fn hook_owner(&self, token: &str) -> Result<Option<u64>, WorldError> {
        if let Some(owner) = self.hooks.get(token) {
            return Ok(*owner);
        }
        let value = self.disk.get(keys::named(keys::HOOK, token))?;
        Ok(value.and_then(|value| keys::split_dated(&value).map(|(key, _)| key)))
    }
}
