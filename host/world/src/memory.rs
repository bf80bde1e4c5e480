//! The specification of a world, executable: everything in ordered maps behind one lock, nothing on a disk.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use durhai_core::{Millis, RunId, Status, Version};

use crate::{
    Chunk, Claim, Commit, Create, Holder, Letter, Notice, Page, Query, Refused, Row, Watcher, World, WorldError, Write,
    Written,
};

/// A world that lives as long as its value: for tests, and to read what the other worlds must do.
///
/// Several hosts may share one. A host's claims hold until its lease has passed; [`renew`](World::renew) and every
/// claim extend the lease, a claim at creation counts from the row's `created_at`.
#[derive(Default)]
pub struct MemoryWorld {
    state: Mutex<State>,
    watchers: Mutex<Vec<Watcher>>,
}

#[derive(Default)]
struct State {
    runs: HashMap<RunId, Run>,
    /// The runs in the order they were created.
    order: BTreeMap<u64, RunId>,
    /// Until when each host's claims hold.
    leases: HashMap<Arc<str>, Millis>,
    programs: HashMap<Version, Vec<u8>>,
    meta: HashMap<String, Vec<u8>>,
    last_key: u64,
    last_fence: u64,
}

struct Run {
    /// Its place in [`State::order`].
    key: u64,
    row: Row,
    log: Vec<Chunk>,
    inbox: Vec<Letter>,
    last_letter: u64,
    streams: BTreeMap<Arc<str>, Vec<Vec<u8>>>,
    held: Option<Held>,
    tries: u32,
    /// The last holder died: the next claim counts as one more try.
    died: bool,
}

struct Held {
    by: Arc<str>,
    fence: u64,
}

impl MemoryWorld {
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends all claims, as the death of every holder does in a world that only one process can open.
    pub fn crash(&self) {
        for run in self.state().runs.values_mut() {
            run.died |= run.held.take().is_some();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_run<T: Default>(&self, run: &RunId, read: impl FnOnce(&Run) -> T) -> Result<T, WorldError> {
        Ok(self.state().runs.get(run).map(read).unwrap_or_default())
    }
}

impl Run {
    fn last_seq(&self) -> u64 {
        self.log.last().map_or(0, |chunk| chunk.first + u64::from(chunk.count) - 1)
    }

    fn due(&self) -> Option<Millis> {
        // A letter cannot help a parked run; an operator must.
        if self.inbox.is_empty() || self.row.status == Status::Parked { self.row.wake_at } else { Some(0) }
    }

    fn set_row(&mut self, row: Row) {
        self.row = row;
        if self.row.status.is_terminal() {
            self.row.wake_at = None;
            self.inbox.clear();
            self.held = None;
            self.tries = 0;
        }
    }

    fn add(&mut self, chunk: Chunk) {
        if chunk.count > 0 {
            self.log.push(chunk);
        }
    }
}

impl State {
    fn write(&mut self, write: Write, notices: &mut Vec<Notice>) -> Result<Written, Refused> {
        match write {
            Write::Create(create) => self.create(*create, notices),
            Write::Commit(commit) => self.commit(*commit),
            Write::Send { run, at, bytes } => self.send(&run, at, bytes, notices),
            Write::Release { run, fence } => {
                self.held(&run, fence)?.held = None;
                notices.push(Notice::Due);
                Ok(Written::Released)
            }
            Write::Delete { run } => {
                let found = self.runs.get(&run).ok_or_else(|| Refused::Unknown(run.clone()))?;
                if !found.row.status.is_terminal() {
                    return Err(Refused::NotTerminal(run, found.row.status));
                }
                self.order.remove(&found.key);
                self.runs.remove(&run);
                Ok(Written::Deleted)
            }
        }
    }

    fn create(&mut self, create: Create, notices: &mut Vec<Notice>) -> Result<Written, Refused> {
        let Create { row, events, claim } = create;
        let id = row.run.clone();
        if let Some(run) = self.runs.get(&id) {
            return Err(Refused::Exists(Box::new(run.row.clone())));
        }
        if events.first != 1 {
            return Err(Refused::Sequence { run: id, expected: events.first, found: 0 });
        }
        self.last_key += 1;
        let mut run = Run {
            key: self.last_key,
            row: row.clone(),
            log: Vec::new(),
            inbox: Vec::new(),
            last_letter: 0,
            streams: BTreeMap::new(),
            held: None,
            tries: 0,
            died: false,
        };
        run.add(events);
        run.set_row(row);
        let (terminal, created_at) = (run.row.status.is_terminal(), run.row.created_at);
        self.order.insert(run.key, id.clone());
        self.runs.insert(id.clone(), run);
        match claim {
            Some(holder) if !terminal => Ok(Written::Created(Some(self.take(&id, &holder, created_at)))),
            _ => {
                notices.push(Notice::Due);
                Ok(Written::Created(None))
            }
        }
    }

    fn commit(&mut self, commit: Commit) -> Result<Written, Refused> {
        let run = self.held(&commit.run, commit.fence)?;
        if let Some(chunk) = commit.events {
            if chunk.first != run.last_seq() + 1 {
                return Err(Refused::Sequence { run: commit.run, expected: chunk.first, found: run.last_seq() });
            }
            run.add(chunk);
        }
        if let Some(taken) = commit.inbox_taken {
            run.inbox.retain(|letter| letter.index > taken);
        }
        for (stream, entry) in commit.append {
            run.streams.entry(stream).or_default().push(entry);
        }
        if commit.progress {
            run.tries = 0;
        }
        if let Some(row) = commit.row {
            run.set_row(Row { run: commit.run, ..row });
        }
        Ok(Written::Committed)
    }

    fn send(&mut self, run: &RunId, at: Millis, bytes: Vec<u8>, notices: &mut Vec<Notice>) -> Result<Written, Refused> {
        let found = self.runs.get_mut(run).ok_or_else(|| Refused::Unknown(run.clone()))?;
        if found.row.status.is_terminal() {
            return Err(Refused::Terminal(run.clone(), found.row.status));
        }
        found.last_letter += 1;
        let index = found.last_letter;
        found.inbox.push(Letter { index, at, bytes });
        notices.push(Notice::Letter(run.clone()));
        if found.held.is_none() {
            notices.push(Notice::Due);
        }
        Ok(Written::Sent(index))
    }

    /// The run, if it is held under this fence.
    fn held(&mut self, id: &RunId, fence: u64) -> Result<&mut Run, Refused> {
        let run = self.runs.get_mut(id).ok_or_else(|| Refused::Unknown(id.clone()))?;
        match &run.held {
            _ if run.row.status.is_terminal() => Err(Refused::Terminal(id.clone(), run.row.status)),
            Some(held) if held.fence == fence => Ok(run),
            _ => Err(Refused::Fenced(id.clone())),
        }
    }

    fn free(&self, run: &Run, now: Millis) -> bool {
        let lease = |held: &Held| self.leases.get(&held.by).copied().unwrap_or(0);
        !run.row.status.is_terminal() && run.held.as_ref().is_none_or(|held| lease(held) < now)
    }

    /// Claims a run that is free.
    fn take(&mut self, id: &RunId, holder: &Holder, now: Millis) -> Claim {
        self.extend(holder, now);
        self.last_fence += 1;
        let run = self.runs.get_mut(id).expect("the caller found it");
        if run.died || run.held.is_some() {
            run.tries += 1;
        }
        run.died = false;
        run.held = Some(Held { by: holder.name.clone(), fence: self.last_fence });
        let (tries, row, last_seq) = (run.tries, run.row.clone(), run.last_seq());
        Claim { run: id.clone(), fence: self.last_fence, tries, row, last_seq }
    }

    fn extend(&mut self, holder: &Holder, now: Millis) {
        let lease = self.leases.entry(holder.name.clone()).or_default();
        *lease = now.saturating_add(holder.lease).max(*lease);
    }
}

impl World for MemoryWorld {
    fn write(&self, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError> {
        let mut notices = Vec::new();
        let mut state = self.state();
        let written = batch.into_iter().map(|write| state.write(write, &mut notices)).collect();
        drop(state);
        let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for notice in notices {
            watchers.iter().for_each(|watcher| watcher(notice.clone()));
        }
        Ok(written)
    }

    fn claim(&self, holder: &Holder, now: Millis, limit: usize) -> Result<Vec<Claim>, WorldError> {
        let mut state = self.state();
        let mut due: Vec<(Millis, u64, RunId)> = (state.runs.iter())
            .filter(|(_, run)| state.free(run, now))
            .filter_map(|(id, run)| Some((run.due().filter(|due| *due <= now)?, run.key, id.clone())))
            .collect();
        due.sort_unstable();
        Ok(due.iter().take(limit).map(|(_, _, id)| state.take(id, holder, now)).collect())
    }

    fn claim_run(&self, run: &RunId, holder: &Holder, now: Millis) -> Result<Option<Claim>, WorldError> {
        let mut state = self.state();
        let free = state.runs.get(run).is_some_and(|found| state.free(found, now));
        Ok(free.then(|| state.take(run, holder, now)))
    }

    fn renew(&self, holder: &Holder, now: Millis) -> Result<(), WorldError> {
        self.state().extend(holder, now);
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

    fn inbox(&self, run: &RunId, after: u64, limit: usize) -> Result<Vec<Letter>, WorldError> {
        self.of_run(run, |run| run.inbox.iter().filter(|letter| letter.index > after).take(limit).cloned().collect())
    }

    fn stream(&self, run: &RunId, stream: &str, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, WorldError> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        self.of_run(run, |run| {
            run.streams.get(stream).map(|all| all.iter().skip(from).take(limit).cloned().collect()).unwrap_or_default()
        })
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

    fn put_program(&self, version: &Version, bytes: &[u8]) -> Result<(), WorldError> {
        self.state().programs.entry(version.clone()).or_insert_with(|| bytes.to_vec());
        Ok(())
    }

    fn program(&self, version: &Version) -> Result<Option<Vec<u8>>, WorldError> {
        Ok(self.state().programs.get(version).cloned())
    }

    fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), WorldError> {
        self.state().meta.insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, WorldError> {
        Ok(self.state().meta.get(key).cloned())
    }

    fn watch(&self, watcher: Watcher) {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(watcher);
    }

    fn size(&self) -> Result<Option<u64>, WorldError> {
        Ok(None)
    }

    fn verify(&self, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
        for (id, run) in &self.state().runs {
            let mut next = 1;
            for chunk in &run.log {
                if chunk.first != next {
                    report(format!("run {id}: event {next} is missing, the log goes on at {}", chunk.first));
                }
                next = chunk.first + u64::from(chunk.count);
            }
        }
        Ok(())
    }
}
