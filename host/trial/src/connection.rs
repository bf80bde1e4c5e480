//! A host's connection to its world, which is cut where a crash is wanted.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use durhai::world::{
    Chunk, Claim, Count, Holder, Hook, InboxMessage, Page, Query, Queue, Record, Refused, Row, Snapshot, Watcher,
    World, WorldError, Write, Written, decode,
};
use durhai::{Millis, RunId, Version};
use parking_lot::Mutex;

use crate::pulse::Pulse;

/// What is done to the host during one repetition of a test. Writes are counted from 1: runs that are created, turns that
/// bring events, messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disturbance {
    #[default]
    None,
    /// Runs are dropped from memory whenever they wait, and rebuilt from their logs.
    Evicted,
    /// The host dies in front of that write: nothing of it is stored.
    CrashBefore(u64),
    /// The host dies behind it: it is stored, and nobody is told.
    CrashAfter(u64),
}

/// One host's connection. Once it is cut every call fails: for the host this is the end, as a killed process is. The world
/// behind it lives on.
pub struct Connection {
    inner: Arc<dyn World>,
    disturbance: Disturbance,
    pulse: Pulse,
    writes: AtomicU64,
    messages: AtomicU64,
    changes: AtomicU64,
    down: Arc<AtomicBool>,
    struck: Mutex<Option<String>>,
}

impl Connection {
    pub fn new(inner: Arc<dyn World>, disturbance: Disturbance, pulse: Pulse) -> Self {
        Connection {
            inner,
            disturbance,
            pulse,
            writes: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            down: Arc::default(),
            struck: Mutex::default(),
        }
    }

    /// Writes so far at which a crash makes a difference.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// Messages from outside that were stored.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::SeqCst)
    }

    /// Changes of the world so far: what was seen while this stayed the same is of one moment.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::SeqCst)
    }

    /// Ends it now.
    pub fn cut(&self) {
        self.down.store(true, Ordering::SeqCst);
        self.pulse.beat();
    }

    /// The write that the crash hit.
    pub fn struck(&self) -> Option<String> {
        self.struck.lock().clone()
    }

    fn world(&self) -> Result<&dyn World, WorldError> {
        if self.is_down() {
            return Err(WorldError::Unavailable("the host was killed by the test runner".into()));
        }
        Ok(&*self.inner)
    }

    fn strike(&self, write: &Write) {
        *self.struck.lock() = Some(describe(write));
        self.cut();
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}

impl World for Connection {
    /// One after the other, so that a crash can lie between any two.
    fn write(&self, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError> {
        let mut answers = Vec::with_capacity(batch.len());
        for write in batch {
            self.world()?;
            let mut number = 0;
            if counts(&write) {
                number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
            }
            if number > 0 && self.disturbance == Disturbance::CrashBefore(number) {
                self.strike(&write);
                break;
            }
            if number > 0 && self.disturbance == Disturbance::CrashAfter(number) {
                // Down before it can be seen, so that nobody acts on it any more.
                self.strike(&write);
            }
            let message = matches!(write, Write::Send(_));
            let answer = self.inner.write(vec![write])?;
            self.messages.fetch_add(u64::from(message && answer.iter().all(Result::is_ok)), Ordering::SeqCst);
            answers.extend(answer);
            self.changed();
        }
        self.pulse.beat();
        self.world()?;
        Ok(answers)
    }

    fn claim(&self, holder: &Holder, now: Millis, limit: usize) -> Result<Vec<Claim>, WorldError> {
        let claims = self.world()?.claim(holder, now, limit)?;
        if !claims.is_empty() {
            self.changed();
            self.pulse.beat();
        }
        Ok(claims)
    }

    fn claim_run(&self, run: &RunId, holder: &Holder, now: Millis) -> Result<Option<Claim>, WorldError> {
        let claim = self.world()?.claim_run(run, holder, now)?;
        self.changed();
        self.pulse.beat();
        Ok(claim)
    }

    fn renew(&self, holder: &Holder, now: Millis) -> Result<(), WorldError> {
        self.world()?.renew(holder, now)
    }

    fn next_wake(&self) -> Result<Option<Millis>, WorldError> {
        self.world()?.next_wake()
    }

    fn log(&self, run: &RunId, from: u64, limit_bytes: usize) -> Result<Vec<Chunk>, WorldError> {
        self.world()?.log(run, from, limit_bytes)
    }

    fn log_tail(&self, run: &RunId) -> Result<Option<Chunk>, WorldError> {
        self.world()?.log_tail(run)
    }

    fn inbox(&self, run: &RunId, after: u64, limit: usize) -> Result<Vec<InboxMessage>, WorldError> {
        self.world()?.inbox(run, after, limit)
    }

    fn stream(&self, run: &RunId, stream: &str, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, WorldError> {
        self.world()?.stream(run, stream, from, limit)
    }

    fn streams(&self, run: &RunId) -> Result<Vec<(String, u64)>, WorldError> {
        self.world()?.streams(run)
    }

    fn values(&self, run: &RunId) -> Result<Vec<(String, Vec<u8>)>, WorldError> {
        self.world()?.values(run)
    }

    fn reserve(&self, token: &str, run: &RunId, fence: u64) -> Result<Option<RunId>, WorldError> {
        self.world()?.reserve(token, run, fence)
    }

    fn hook(&self, token: &str) -> Result<Option<Hook>, WorldError> {
        self.world()?.hook(token)
    }

    fn set_limit(&self, key: &str, limit: u32) -> Result<(), WorldError> {
        self.world()?.set_limit(key, limit)
    }

    fn waits(&self, run: &RunId) -> Result<bool, WorldError> {
        self.world()?.waits(run)
    }

    fn queue(&self, run: &RunId, most: usize) -> Result<Option<Queue>, WorldError> {
        self.world()?.queue(run, most)
    }

    fn row(&self, run: &RunId) -> Result<Option<Row>, WorldError> {
        self.world()?.row(run)
    }

    fn list(&self, query: &Query) -> Result<Page, WorldError> {
        self.world()?.list(query)
    }

    fn run_counts(&self) -> Result<Vec<Count>, WorldError> {
        self.world()?.run_counts()
    }

    fn put_program(&self, version: &Version, bytes: &[u8]) -> Result<(), WorldError> {
        self.world()?.put_program(version, bytes)
    }

    fn program(&self, version: &Version) -> Result<Option<Vec<u8>>, WorldError> {
        self.world()?.program(version)
    }

    fn programs(&self) -> Result<Vec<Version>, WorldError> {
        self.world()?.programs()
    }

    fn drop_program(&self, version: &Version) -> Result<bool, WorldError> {
        self.world()?.drop_program(version)
    }

    /// None: a test looks at runs long after they have ended.
    fn expired(&self, _: Millis, _: usize) -> Result<Vec<RunId>, WorldError> {
        self.world().map(|_| Vec::new())
    }

    fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), WorldError> {
        self.world()?.put_meta(key, value)?;
        self.changed();
        self.pulse.beat();
        Ok(())
    }

    fn remove_meta(&self, key: &str) -> Result<(), WorldError> {
        self.world()?.remove_meta(key)
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, WorldError> {
        self.world()?.meta(key)
    }

    fn watch(&self, watcher: Watcher) {
        let down = self.down.clone();
        self.inner.watch(Arc::new(move |notice| {
            if !down.load(Ordering::SeqCst) {
                watcher(notice);
            }
        }));
    }

    fn snapshot(&self, runs: &[RunId]) -> Result<Vec<Option<Snapshot>>, WorldError> {
        self.world()?.snapshot(runs)
    }

    fn copy(&self, each: &mut dyn FnMut(Record) -> Result<(), WorldError>) -> Result<(), WorldError> {
        self.world()?.copy(each)
    }

    fn restore(&self, next: &mut dyn FnMut() -> Result<Option<Record>, WorldError>) -> Result<(), WorldError> {
        self.world()?.restore(next)
    }

    fn size(&self) -> Result<Option<u64>, WorldError> {
        self.world()?.size()
    }

    fn verify(&self, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
        self.world()?.verify(report)
    }
}

/// Claims that are given back and rows that change alone leave nothing that a crash could tear apart.
fn counts(write: &Write) -> bool {
    match write {
        Write::Create(_) | Write::Send(_) => true,
        Write::Commit(commit) => commit.events.is_some(),
        Write::Release { .. } | Write::Delete { .. } => false,
    }
}

/// `run-1: step_completed 1, timer_started 2`
fn describe(write: &Write) -> String {
    let events = |chunk: &Chunk| {
        let mut events = Vec::new();
        // What cannot be read is not described.
        let _ = decode(&chunk.bytes, &mut events);
        let names = events.iter().map(|event| match &event.step_id {
            Some(id) => format!("{} {id}", event.body.name()),
            None => event.body.name().to_owned(),
        });
        names.collect::<Vec<_>>().join(", ")
    };
    match write {
        Write::Create(create) => format!("{}: {}", create.row.run, events(&create.events)),
        Write::Commit(commit) => {
            format!("{}: {}", commit.run, commit.events.as_ref().map(events).unwrap_or_default())
        }
        Write::Send(sent) => format!("{}: a message to it", sent.run),
        Write::Release { run, .. } | Write::Delete { run } => run.to_string(),
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disturbance::None => f.write_str("undisturbed"),
            Disturbance::Evicted => f.write_str("evicted"),
            Disturbance::CrashBefore(write) => write!(f, "crash before {write}"),
            Disturbance::CrashAfter(write) => write!(f, "crash after {write}"),
        }
    }
}

impl FromStr for Disturbance {
    type Err = String;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse().ok().filter(|number| *number > 0);
        let found = match text.trim() {
            "undisturbed" => Some(Disturbance::None),
            "evicted" => Some(Disturbance::Evicted),
            text => match (text.strip_prefix("crash before "), text.strip_prefix("crash after ")) {
                (Some(rest), _) => number(rest).map(Disturbance::CrashBefore),
                (_, Some(rest)) => number(rest).map(Disturbance::CrashAfter),
                _ => None,
            },
        };
        found.ok_or_else(|| {
            format!("{text:?} is no repetition: write undisturbed, evicted, 'crash before 7' or 'crash after 7'")
        })
    }
}
