//! A world that dies on demand, that is slow to tell, and whose reads fail for a moment.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use durhai_core::{Millis, RunId, wire};
use durhai_world::{Chunk, Claim, Forward, Holder, Notice, Refused, Watcher, World, WorldError, Write, Written};
use parking_lot::Mutex;

use crate::pulse::Pulse;

/// When the world goes away, counted in calls of [`World::write`] from 1, or in [single writes](FaultWorld::singly).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Never,
    /// In front of that write: nothing of it is stored.
    Before(u64),
    /// Behind it: it is stored, and the host does not learn of it.
    After(u64),
}

/// How watchers learn of what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notices {
    Prompt,
    Twice,
    /// From another thread, after the write was answered.
    Late,
}

/// Which reads fail, without anything being wrong with the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadFault {
    #[default]
    Never,
    /// That one, counted in reads from 1.
    Once(u64),
    /// Each one, the first time it is made: of two reads of one thread after another the first fails.
    EveryFirst,
    /// The next so many of this method.
    Next(&'static str, u64),
}

/// One host's connection to a world. When its [`Fault`] strikes, every call fails from then on: for the host this is the
/// end, as a killed process is. The world behind it lives on, for the next host with a connection of its own.
pub struct FaultWorld {
    inner: Arc<dyn World>,
    fault: Fault,
    singly: bool,
    keeps: bool,
    notices: Notices,
    writes: AtomicU64,
    messages: AtomicU64,
    changes: AtomicU64,
    down: Arc<AtomicBool>,
    struck: Mutex<Option<String>>,
    /// Held while what the fault strikes is stored.
    striking: Mutex<()>,
    pulse: Pulse,
    refused: Mutex<Vec<String>>,
    reads: AtomicU64,
    failed_reads: AtomicU64,
    read_fault: Mutex<ReadFault>,
}

thread_local! {
    /// The read before was made to fail.
    static FAILED: Cell<bool> = const { Cell::new(false) };
}

impl FaultWorld {
    pub fn new(inner: Arc<dyn World>, fault: Fault, pulse: Pulse) -> Self {
        FaultWorld {
            inner,
            fault,
            singly: false,
            keeps: false,
            notices: Notices::Prompt,
            writes: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            down: Arc::new(AtomicBool::new(false)),
            struck: Mutex::default(),
            striking: Mutex::default(),
            pulse,
            refused: Mutex::default(),
            reads: AtomicU64::new(0),
            failed_reads: AtomicU64::new(0),
            read_fault: Mutex::default(),
        }
    }

    #[must_use]
    pub fn notices(mut self, notices: Notices) -> Self {
        self.notices = notices;
        self
    }

    /// Stores the writes of a batch one after the other, so that a crash can lie between any two, and counts only those at
    /// which a crash makes a difference: runs that are created, turns that bring events, messages.
    #[must_use]
    pub fn singly(mut self) -> Self {
        self.singly = true;
        self
    }

    /// Tells the host of no run that has expired, so that none is purged.
    #[must_use]
    pub fn keeps_runs(mut self) -> Self {
        self.keeps = true;
        self
    }

    #[must_use]
    pub fn reads_fail(self, fault: ReadFault) -> Self {
        self.fail_reads(fault);
        self
    }

    /// From now on, instead of what was said before.
    pub fn fail_reads(&self, fault: ReadFault) {
        *self.read_fault.lock() = fault;
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// Those of them that were made to fail.
    pub fn failed_reads(&self) -> u64 {
        self.failed_reads.load(Ordering::SeqCst)
    }

    /// Writes so far, as the [`Fault`] counts them.
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

    /// Why writes were refused, in order.
    pub fn refused(&self) -> Vec<String> {
        self.refused.lock().clone()
    }

    /// Ends it now.
    pub fn crash(&self) {
        self.down.store(true, Ordering::SeqCst);
        self.pulse.beat();
    }

    /// Whether its fault came to pass.
    pub fn struck(&self) -> bool {
        self.struck.lock().is_some()
    }

    /// What the write was that the fault struck: `run-1: step_completed 1, timer_started 2`
    pub fn struck_write(&self) -> Option<String> {
        self.struck.lock().clone()
    }

    /// Whether it is gone. What the fault struck is stored by then, or never.
    pub fn is_down(&self) -> bool {
        drop(self.striking.lock());
        self.down.load(Ordering::SeqCst)
    }

    /// Stores some writes together, and dies of it where that is wanted.
    fn store(&self, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError> {
        self.inner()?;
        let mut number = 0;
        if !self.singly || batch.iter().any(makes_a_difference) {
            number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        }
        let (before, after) = (self.fault == Fault::Before(number), self.fault == Fault::After(number));
        let mut striking = None;
        if number > 0 && (before || after) {
            striking = Some(self.striking.lock());
            *self.struck.lock() = Some(batch.iter().map(describe).collect::<Vec<_>>().join("; "));
            // Down before it can be seen, so that no thread of the host acts on it.
            self.down.store(true, Ordering::SeqCst);
        }
        if before && number > 0 {
            self.inner()?;
        }
        let sent = batch.iter().filter(|write| matches!(write, Write::Send(_))).count() as u64;
        let answers = self.inner.write(batch)?;
        drop(striking);
        let refused = answers.iter().filter_map(|answer| answer.as_ref().err().map(ToString::to_string));
        self.refused.lock().extend(refused);
        if answers.iter().all(Result::is_ok) {
            self.messages.fetch_add(sent, Ordering::SeqCst);
        }
        self.changed();
        Ok(answers)
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}

impl Forward for FaultWorld {
    fn inner(&self) -> Result<&dyn World, WorldError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(WorldError::Unavailable("the host was killed by the test".into()));
        }
        Ok(&*self.inner)
    }

    fn read<T>(&self, call: &'static str, read: impl Fn(&dyn World) -> Result<T, WorldError>) -> Result<T, WorldError> {
        let number = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
        let fails = match &mut *self.read_fault.lock() {
            ReadFault::Never => false,
            ReadFault::Once(at) => number == *at,
            ReadFault::EveryFirst => FAILED.replace(!FAILED.get()),
            ReadFault::Next(of, left) if *of == call && *left > 0 => {
                *left -= 1;
                true
            }
            ReadFault::Next(..) => false,
        };
        self.failed_reads.fetch_add(u64::from(fails), Ordering::SeqCst);
        match fails {
            true => Err(WorldError::Unavailable("the world does not answer at this moment (a test made it)".into())),
            false => read(self.inner()?),
        }
    }

    fn write(&self, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError> {
        let stored = match self.singly {
            false => self.store(batch),
            true => batch.into_iter().try_fold(Vec::new(), |mut answers, write| {
                answers.extend(self.store(vec![write])?);
                Ok(answers)
            }),
        };
        self.pulse.beat();
        self.inner()?;
        stored
    }

    fn claim(&self, holder: &Holder, now: Millis, limit: usize) -> Result<Vec<Claim>, WorldError> {
        let claims = self.inner()?.claim(holder, now, limit)?;
        if !claims.is_empty() {
            self.changed();
            self.pulse.beat();
        }
        Ok(claims)
    }

    fn claim_run(&self, run: &RunId, holder: &Holder, now: Millis) -> Result<Option<Claim>, WorldError> {
        let claim = self.inner()?.claim_run(run, holder, now)?;
        self.changed();
        self.pulse.beat();
        Ok(claim)
    }

    fn expired(&self, now: Millis, limit: usize) -> Result<Vec<RunId>, WorldError> {
        let most = if self.keeps { 0 } else { limit };
        self.read("expired", |world| world.expired(now, most))
    }

    fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), WorldError> {
        self.inner()?.put_meta(key, value)?;
        self.changed();
        self.pulse.beat();
        Ok(())
    }

    fn watch(&self, watcher: Watcher) {
        let (down, notices) = (self.down.clone(), self.notices);
        let late = Mutex::new(None);
        self.inner.watch(Arc::new(move |notice| {
            if down.load(Ordering::SeqCst) {
                return;
            }
            match notices {
                Notices::Prompt => watcher(notice),
                Notices::Twice => {
                    watcher(notice.clone());
                    watcher(notice);
                }
                Notices::Late => {
                    let mut late = late.lock();
                    let _ = late.get_or_insert_with(|| teller(watcher.clone())).send(notice);
                }
            }
        }));
    }
}

/// Claims that are given back and rows that change alone leave nothing that a crash could tear apart.
fn makes_a_difference(write: &Write) -> bool {
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
        let _ = wire::decode(&chunk.bytes, &mut events);
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

/// A thread that passes notices on.
fn teller(watcher: Watcher) -> std::sync::mpsc::Sender<Notice> {
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for notice in rx {
            std::thread::yield_now();
            watcher(notice);
        }
    });
    tx
}
