//! The specification of a world, executable: everything in ordered maps behind one lock, nothing on a disk.

mod copy;
mod places;
mod run;
mod state;

use std::collections::BTreeMap;

use durhai_core::{Millis, RunId, Version};
use parking_lot::{Mutex, MutexGuard};

use crate::{
    Admission, Chunk, Claim, Count, Holder, Hook, HostId, HostSeen, InboxMessage, Notice, Page, Places, Query, Queue,
    Record, Refused, Renewed, Row, Snapshot, Watcher, World, WorldError, WorldSize, Write, Written,
};
use run::Run;
use state::State;

/// A world that lives as long as its value: for tests, and to read what the other worlds must do.
///
/// Several hosts may share one. A host is dead once another one renews or claims after its lease has passed;
/// [`renew`](World::renew) and every claim extend the lease, as does a run that is created for it, from the row's `created_at` on.
#[derive(Default)]
pub struct MemoryWorld {
    state: Mutex<State>,
    watchers: Mutex<Vec<Watcher>>,
}

impl MemoryWorld {
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends all claims and reservations, as the death of every holder does in a world that only one process can open.
    pub fn crash(&self) {
        let mut state = self.state();
        for run in state.runs.values_mut() {
            run.died |= run.held.take().is_some();
        }
        state.forget_duties(|_| true);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn notify(&self, notices: Vec<Notice>) {
        let watchers = self.watchers.lock().clone();
        for notice in notices {
            watchers.iter().for_each(|watcher| watcher(notice.clone()));
        }
    }

    fn of_run<T: Default>(&self, run: &RunId, read: impl FnOnce(&Run) -> T) -> Result<T, WorldError> {
        Ok(self.state().runs.get(run).map(read).unwrap_or_default())
    }
}

impl World for MemoryWorld {
    fn write(&self, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError> {
        let mut notices = Vec::new();
        let mut state = self.state();
        let written = batch.into_iter().map(|write| state.write(write, &mut notices)).collect();
        drop(state);
        self.notify(notices);
        Ok(written)
    }

    fn is_local(&self) -> bool {
        true
    }

    fn claim(&self, holder: &Holder, now: Millis, limit: usize) -> Result<Vec<Claim>, WorldError> {
        let mut state = self.state();
        if !state.lives(holder, now) {
            return Ok(Vec::new());
        }
        let mut due: Vec<(Millis, u64, RunId)> = (state.runs.iter())
            .filter(|(_, run)| State::is_free(run))
            .filter_map(|(id, run)| Some((run.due().filter(|due| *due <= now)?, run.key, id.clone())))
            .collect();
        due.sort_unstable();
        let mut claims = Vec::new();
        for (_, _, id) in due {
            if claims.len() == limit {
                break;
            }
            // No other run is admitted by that: there is room only where none waits.
            let comes = state.runs[&id].ready_at().is_some_and(|at| at <= now);
            let admitted = comes && state.arrive(&id, &mut Vec::new());
            if admitted || state.runs[&id].is_urgent() {
                claims.push(state.take(&id, holder, now));
            }
        }
        Ok(claims)
    }

    fn claim_run(&self, run: &RunId, holder: &Holder, now: Millis) -> Result<Option<Claim>, WorldError> {
        let mut state = self.state();
        if !state.lives(holder, now) {
            return Ok(None);
        }
        let Some(found) = state.runs.get(run).filter(|found| State::is_free(found)) else { return Ok(None) };
        if found.ready_at().is_some_and(|at| at <= now) {
            state.arrive(run, &mut Vec::new());
        }
        Ok(Some(state.take(run, holder, now)))
    }

    fn renew(&self, holder: &Holder, now: Millis) -> Result<Renewed, WorldError> {
        Ok(Renewed { alive: self.state().lives(holder, now), now: None })
    }

    fn duty(&self, name: &str, holder: &Holder) -> Result<bool, WorldError> {
        Ok(self.state().duty(name, holder))
    }

    fn duties(&self, prefix: &str, names: &[String], holder: &Holder) -> Result<Vec<bool>, WorldError> {
        Ok(self.state().duties_of(prefix, names, holder))
    }

    fn places(&self, limit: &str, holder: &Holder, most: u32, wanted: u32) -> Result<Places, WorldError> {
        Ok(self.state().places(limit, holder, most, wanted))
    }

    fn hosts(&self, all: bool) -> Result<Vec<HostSeen>, WorldError> {
        Ok(self.state().hosts(all))
    }

    /// It cannot tell whose hosts are of another process: all writes count.
    fn written(&self) -> Result<Option<u64>, WorldError> {
        Ok(Some(self.state().written))
    }

    fn holders(&self, runs: &[RunId]) -> Result<Vec<Option<HostId>>, WorldError> {
        let state = self.state();
        let holder = |run| state.runs.get(run)?.held.as_ref().map(|held| state.host(&held.by));
        Ok(runs.iter().map(holder).collect())
    }

    fn leave(&self, holder: &Holder) -> Result<(), WorldError> {
        self.state().forget_duties(|has| *has == holder.name);
        Ok(())
    }

    fn next_wake(&self) -> Result<Option<Millis>, WorldError> {
        Ok(self.state().runs.values().filter(|run| run.held.is_none()).filter_map(Run::due).min())
    }

    fn log(&self, run: &RunId, from: u64, limit_bytes: usize) -> Result<Vec<Chunk>, WorldError> {
        self.of_run(run, |run| {
            let start = run.log.partition_point(|chunk| chunk.first + u64::from(chunk.count) <= from);
            let mut bytes = 0;
            let fits = |(index, chunk): &(usize, &Chunk)| {
                bytes += chunk.bytes.len();
                *index == 0 || bytes <= limit_bytes
            };
            run.log[start..].iter().enumerate().take_while(fits).map(|(_, chunk)| chunk.clone()).collect()
        })
    }

    fn log_tail(&self, run: &RunId) -> Result<Option<Chunk>, WorldError> {
        self.of_run(run, |run| run.log.last().cloned())
    }

    fn inbox(&self, run: &RunId, after: u64, limit: usize) -> Result<Vec<InboxMessage>, WorldError> {
        self.of_run(run, |run| run.inbox.iter().filter(|message| message.index > after).take(limit).cloned().collect())
    }

    fn stream(&self, run: &RunId, stream: &str, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, WorldError> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        self.of_run(run, |run| {
            run.streams.get(stream).map(|all| all.iter().skip(from).take(limit).cloned().collect()).unwrap_or_default()
        })
    }

    fn streams(&self, run: &RunId) -> Result<Vec<(String, u64)>, WorldError> {
        self.of_run(run, |run| run.streams.iter().map(|(name, all)| (name.to_string(), all.len() as u64)).collect())
    }

    fn values(&self, run: &RunId) -> Result<Vec<(String, Vec<u8>)>, WorldError> {
        self.of_run(run, |run| run.values.iter().map(|(name, value)| (name.to_string(), value.clone())).collect())
    }

    fn reserve(&self, token: &str, run: &RunId, fence: u64) -> Result<Option<RunId>, WorldError> {
        let mut state = self.state();
        if state.held(run, fence).is_err() {
            return Ok(None);
        }
        let other = state.owner(token).filter(|owner| owner != run);
        if other.is_none() {
            state.reserved.insert(token.into(), (run.clone(), fence));
        }
        Ok(other)
    }

    fn hook(&self, token: &str) -> Result<Option<Hook>, WorldError> {
        Ok(self.state().hooks.get(token).cloned())
    }

    fn snapshot(&self, runs: &[RunId]) -> Result<Vec<Option<Snapshot>>, WorldError> {
        let state = self.state();
        Ok(runs.iter().map(|run| state.snapshot(run)).collect())
    }

    fn copy(&self, take: &mut dyn FnMut(Record) -> Result<(), WorldError>) -> Result<(), WorldError> {
        let records = self.state().records();
        records.into_iter().try_for_each(take)
    }

    fn restore(&self, next: &mut dyn FnMut() -> Result<Option<Record>, WorldError>) -> Result<(), WorldError> {
        let restored = State::restore(next)?;
        let mut state = self.state();
        if !state.is_empty() {
            return Err(WorldError::Invalid("this world is not empty: a copy is restored into an empty one".into()));
        }
        *state = restored;
        drop(state);
        self.notify(vec![Notice::Due]);
        Ok(())
    }

    fn set_limit(&self, key: &str, limit: u32) -> Result<(), WorldError> {
        let mut state = self.state();
        let mut notices = Vec::new();
        if let Some(known) = state.limits.get_mut(key) {
            *known = limit.max(1);
            state.admit(key, &mut notices);
        }
        drop(state);
        self.notify(notices);
        Ok(())
    }

    fn waits(&self, run: &RunId) -> Result<bool, WorldError> {
        self.of_run(run, |run| run.admission == Admission::Waiting)
    }

    fn queue(&self, run: &RunId, most: usize) -> Result<Option<Queue>, WorldError> {
        Ok(self.state().queue(run, most))
    }

    fn row(&self, run: &RunId) -> Result<Option<Row>, WorldError> {
        self.of_run(run, |run| Some(run.row.clone()))
    }

    fn list(&self, query: &Query) -> Result<Page, WorldError> {
        let state = self.state();
        let before = match &query.cursor {
            None => u64::MAX,
            Some(cursor) => cursor.parse().map_err(|_| {
                WorldError::Invalid(format!("{cursor:?} is no cursor of this world: take the one a page came with"))
            })?,
        };
        let mut page = Page::default();
        let mut last = before;
        for (key, id) in state.order.range(..before).rev() {
            let row = &state.runs[id].row;
            if !query.matches(row) {
                continue;
            }
            if page.rows.len() == query.page_size() {
                page.next = Some(last.to_string());
                break;
            }
            page.rows.push(row.clone());
            last = *key;
        }
        Ok(page)
    }

    fn run_counts(&self) -> Result<Vec<Count>, WorldError> {
        let mut counts = BTreeMap::new();
        for Run { row, .. } in self.state().runs.values() {
            *counts.entry((row.workflow.clone(), row.version.clone(), row.status)).or_default() += 1;
        }
        let count = |((workflow, version, status), runs)| Count { workflow, version, status, runs };
        Ok(counts.into_iter().map(count).collect())
    }

    fn put_program(&self, version: &Version, bytes: &[u8]) -> Result<(), WorldError> {
        self.state().programs.entry(version.clone()).or_insert_with(|| bytes.to_vec());
        Ok(())
    }

    fn program(&self, version: &Version) -> Result<Option<Vec<u8>>, WorldError> {
        Ok(self.state().programs.get(version).cloned())
    }

    fn programs(&self) -> Result<Vec<Version>, WorldError> {
        Ok(self.state().programs.keys().cloned().collect())
    }

    fn drop_program(&self, version: &Version) -> Result<bool, WorldError> {
        let mut state = self.state();
        if state.runs.values().any(|run| run.row.version == *version) {
            return Ok(false);
        }
        state.programs.remove(version);
        Ok(true)
    }

    fn expired(&self, now: Millis, limit: usize) -> Result<Vec<RunId>, WorldError> {
        let state = self.state();
        let mut expired: Vec<(Millis, u64, &RunId)> = (state.runs.iter())
            .filter(|(_, run)| run.row.status.is_terminal())
            .filter_map(|(id, run)| Some((run.row.purge_at.filter(|at| *at <= now)?, run.key, id)))
            .collect();
        expired.sort_unstable();
        Ok(expired.into_iter().take(limit).map(|(_, _, id)| id.clone()).collect())
    }

    fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), WorldError> {
        self.state().meta.insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    fn remove_meta(&self, key: &str) -> Result<(), WorldError> {
        self.state().meta.remove(key);
        Ok(())
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, WorldError> {
        Ok(self.state().meta.get(key).cloned())
    }

    fn swap_meta(&self, key: &str, before: Option<&[u8]>, after: &[u8]) -> Result<bool, WorldError> {
        let mut state = self.state();
        if state.meta.get(key).map(Vec::as_slice) != before {
            return Ok(false);
        }
        state.meta.insert(key.to_owned(), after.to_vec());
        Ok(true)
    }

    fn watch(&self, watcher: Watcher) {
        self.watchers.lock().push(watcher);
    }

    fn size(&self) -> Result<WorldSize, WorldError> {
        Ok(WorldSize::default())
    }

    fn verify(&self, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
        let state = self.state();
        for (id, run) in &state.runs {
            let mut next = 1;
            for chunk in &run.log {
                if chunk.first != next {
                    report(format!("run {id}: event {next} is missing, the log goes on at {}", chunk.first));
                }
                next = chunk.first + u64::from(chunk.count);
            }
        }
        for (key, limit) in &state.limits {
            let at =
                |admission| state.runs.values().filter(|run| run.limited_by(key) && run.admission == admission).count();
            if at(Admission::Waiting) > 0 && at(Admission::Admitted) < *limit as usize {
                report(format!("runs wait under the concurrency limit {key:?} although there is room"));
            }
        }
        Ok(())
    }
}
