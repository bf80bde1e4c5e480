//! A world that dies on demand, that is slow to tell, and whose reads fail for a moment.

use std::cell::Cell;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use durhai_core::{Millis, RunId, Version};
use durhai_world::{
    Chunk, Claim, Count, Holder, Hook, InboxMessage, Notice, Page, Query, Queue, Record, Refused, Row, Snapshot,
    Watcher, World, WorldError, Write, Written,
};
use parking_lot::Mutex;

use crate::pulse::Pulse;

/// When the world goes away, counted in calls of [`World::write`] from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Never,
    /// In front of that write: nothing of it is stored.
    Before(u64),
    /// Behind it: it is stored, and nobody is told.
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
    notices: Notices,
    writes: AtomicU64,
    down: Arc<AtomicBool>,
    struck: AtomicBool,
    /// Held from before what the fault strikes is stored until everybody can see that the world is down.
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
            notices: Notices::Prompt,
            writes: AtomicU64::new(0),
            down: Arc::new(AtomicBool::new(false)),
            struck: AtomicBool::new(false),
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

    /// Calls of `write` so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
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
        self.struck.load(Ordering::SeqCst)
    }

    /// Whether it is gone. Whoever has seen what was stored last gets the answer that holds after it.
    pub fn is_down(&self) -> bool {
        drop(self.striking.lock());
        self.has_gone()
    }

    fn has_gone(&self) -> bool {
        self.down.load(Ordering::SeqCst)
    }

    fn world(&self) -> Result<&dyn World, WorldError> {
        if self.has_gone() {
            return Err(WorldError::Unavailable("the world went away (a test made it)".into()));
        }
        Ok(&*self.inner)
    }

    /// For the read of this name.
    fn read(&self, name: &str) -> Result<&dyn World, WorldError> {
        let number = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
        let fails = match &mut *self.read_fault.lock() {
            ReadFault::Never => false,
            ReadFault::Once(at) => number == *at,
            ReadFault::EveryFirst => FAILED.replace(!FAILED.get()),
            ReadFault::Next(of, left) if *of == name && *left > 0 => {
                *left -= 1;
                true
            }
            ReadFault::Next(..) => false,
        };
        self.failed_reads.fetch_add(u64::from(fails), Ordering::SeqCst);
        match fails {
            true => Err(WorldError::Unavailable("the world does not answer at this moment (a test made it)".into())),
            false => self.world(),
        }
    }
}

impl World for FaultWorld {
    fn write(&self, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        let strikes = self.fault == Fault::Before(number) || self.fault == Fault::After(number);
        let striking = strikes.then(|| self.striking.lock());
        if strikes {
            self.struck.store(true, Ordering::SeqCst);
        }
        if self.fault == Fault::Before(number) {
            self.crash();
        }
        let result = self.world()?.write(batch);
        if let Ok(answers) = &result {
            let refused = answers.iter().filter_map(|answer| answer.as_ref().err().map(ToString::to_string));
            self.refused.lock().extend(refused);
        }
        if self.fault == Fault::After(number) {
            self.crash();
        }
        drop(striking);
        self.pulse.beat();
        self.world()?;
        result
    }

    fn claim(&self, holder: &Holder, now: Millis, limit: usize) -> Result<Vec<Claim>, WorldError> {
        self.world()?.claim(holder, now, limit)
    }

    fn claim_run(&self, run: &RunId, holder: &Holder, now: Millis) -> Result<Option<Claim>, WorldError> {
        self.world()?.claim_run(run, holder, now)
    }

    fn renew(&self, holder: &Holder, now: Millis) -> Result<(), WorldError> {
        self.read("renew")?.renew(holder, now)
    }

    fn next_wake(&self) -> Result<Option<Millis>, WorldError> {
        self.read("next_wake")?.next_wake()
    }

    fn log(&self, run: &RunId, from: u64, limit_bytes: usize) -> Result<Vec<Chunk>, WorldError> {
        self.read("log")?.log(run, from, limit_bytes)
    }

    fn log_tail(&self, run: &RunId) -> Result<Option<Chunk>, WorldError> {
        self.read("log_tail")?.log_tail(run)
    }

    fn inbox(&self, run: &RunId, after: u64, limit: usize) -> Result<Vec<InboxMessage>, WorldError> {
        self.read("inbox")?.inbox(run, after, limit)
    }

    fn stream(&self, run: &RunId, stream: &str, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, WorldError> {
        self.read("stream")?.stream(run, stream, from, limit)
    }

    fn streams(&self, run: &RunId) -> Result<Vec<(String, u64)>, WorldError> {
        self.read("streams")?.streams(run)
    }

    fn values(&self, run: &RunId) -> Result<Vec<(String, Vec<u8>)>, WorldError> {
        self.read("values")?.values(run)
    }

    fn reserve(&self, token: &str, run: &RunId, fence: u64) -> Result<Option<RunId>, WorldError> {
        self.read("reserve")?.reserve(token, run, fence)
    }

    fn hook(&self, token: &str) -> Result<Option<Hook>, WorldError> {
        self.read("hook")?.hook(token)
    }

    fn snapshot(&self, runs: &[RunId]) -> Result<Vec<Option<Snapshot>>, WorldError> {
        self.read("snapshot")?.snapshot(runs)
    }

    fn copy(&self, take: &mut dyn FnMut(Record) -> Result<(), WorldError>) -> Result<(), WorldError> {
        self.world()?.copy(take)
    }

    fn restore(&self, next: &mut dyn FnMut() -> Result<Option<Record>, WorldError>) -> Result<(), WorldError> {
        self.world()?.restore(next)
    }

    fn set_limit(&self, key: &str, limit: u32) -> Result<(), WorldError> {
        self.world()?.set_limit(key, limit)
    }

    fn waits(&self, run: &RunId) -> Result<bool, WorldError> {
        self.read("waits")?.waits(run)
    }

    fn queue(&self, run: &RunId, most: usize) -> Result<Option<Queue>, WorldError> {
        self.read("queue")?.queue(run, most)
    }

    fn row(&self, run: &RunId) -> Result<Option<Row>, WorldError> {
        self.read("row")?.row(run)
    }

    fn list(&self, query: &Query) -> Result<Page, WorldError> {
        self.read("list")?.list(query)
    }

    fn run_counts(&self) -> Result<Vec<Count>, WorldError> {
        self.read("run_counts")?.run_counts()
    }

    fn put_program(&self, version: &Version, bytes: &[u8]) -> Result<(), WorldError> {
        self.world()?.put_program(version, bytes)
    }

    fn program(&self, version: &Version) -> Result<Option<Vec<u8>>, WorldError> {
        self.read("program")?.program(version)
    }

    fn programs(&self) -> Result<Vec<Version>, WorldError> {
        self.read("programs")?.programs()
    }

    fn drop_program(&self, version: &Version) -> Result<bool, WorldError> {
        self.world()?.drop_program(version)
    }

    fn expired(&self, now: Millis, limit: usize) -> Result<Vec<RunId>, WorldError> {
        self.read("expired")?.expired(now, limit)
    }

    fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), WorldError> {
        self.world()?.put_meta(key, value)
    }

    fn remove_meta(&self, key: &str) -> Result<(), WorldError> {
        self.world()?.remove_meta(key)
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, WorldError> {
        self.read("meta")?.meta(key)
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

    fn size(&self) -> Result<Option<u64>, WorldError> {
        self.read("size")?.size()
    }

    fn verify(&self, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
        self.world()?.verify(report)
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
