//! What is in the journal goes into sled, in the background, and its files are used again.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use durhai_world::WorldError;

use super::journal::Ended;
use super::journal::read::Place;
use super::journal::unsettled::Mark;
use super::store::Store;

/// What the settler has to do.
#[derive(Default)]
pub struct Settling {
    /// What is frozen goes up to this record.
    wanted: Option<Place>,
    /// The files it is in.
    files: Vec<PathBuf>,
    stop: bool,
    /// Where sled has all.
    pub settled: Place,
}

impl Settling {
    /// With what was found in files when the store was opened: `last` is their last record.
    pub fn new(settled: Place, last: Option<Place>, files: Vec<PathBuf>) -> Self {
        Settling { wanted: last, files, stop: false, settled }
    }

    pub fn begin(&mut self, ended: Ended) {
        self.wanted = Some(Place { number: ended.number, sequence: ended.last });
        self.files.push(ended.path);
    }
}

/// The thread that puts into sled what is frozen.
pub struct Settler(Option<JoinHandle<()>>);

impl Settler {
    pub fn start(store: &Arc<Store>) -> Result<Self, WorldError> {
        let its = store.clone();
        let thread = std::thread::Builder::new().name("durhai-settle".into()).spawn(move || its.settle());
        match thread {
            Ok(thread) => Ok(Settler(Some(thread))),
            Err(error) => Err(WorldError::Unavailable(format!("cannot start the thread durhai-settle: {error}"))),
        }
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // It keeps its failures; a panic of it was printed.
            let _ = thread.join();
        }
    }
}

impl Store {
    /// Waits until nothing is on its way into sled.
    pub fn wait_until_settled(&self) -> Result<(), WorldError> {
        let mut settling = self.settling.lock();
        while settling.wanted.is_some() {
            self.check()?;
            self.settled.wait(&mut settling);
        }
        self.check()
    }

    /// Puts all that is in memory into sled, removes the journal's files, and ends the settler.
    pub fn close(&self) {
        let _ = self.settle_all().and_then(|()| self.end_journal());
        self.settling.lock().stop = true;
        self.settled.notify_all();
    }

    fn settle_all(&self) -> Result<(), WorldError> {
        // The settler may begin by itself in between.
        while self.overlay().bytes() > 0 {
            self.wait_until_settled()?;
            self.try_freeze()?;
        }
        self.wait_until_settled()
    }

    /// All is in sled: the next one who opens the store needs no file.
    fn end_journal(&self) -> Result<(), WorldError> {
        let settled = self.settling.lock().settled;
        self.put_into_sled(Mark::KEY, &Mark { settled, open: false }.value())?;
        self.io("clean up", || self.journal.lock().remove())
    }

    /// The body of the settler's thread.
    fn settle(&self) {
        while let Some(until) = self.next_to_settle() {
            let done = self.settle_frozen(until);
            let failed = self.keep_failure(done).is_err();
            let mut settling = self.settling.lock();
            settling.wanted = None;
            if !failed {
                settling.settled = until;
                let files = std::mem::take(&mut settling.files);
                drop(settling);
                let freed = self.io("clean up", || self.journal.lock().give_back(files));
                let _ = self.keep_failure(freed);
            }
            self.settled.notify_all();
        }
    }

    /// Waits for something to do; none at the end.
    fn next_to_settle(&self) -> Option<Place> {
        let mut settling = self.settling.lock();
        loop {
            if settling.wanted.is_some() && self.check().is_ok() {
                return settling.wanted;
            }
            if settling.stop {
                return None;
            }
            if self.overlay().active_bytes() == 0 || self.check().is_err() {
                self.settled.wait(&mut settling);
                continue;
            }
            let written = self.overlay().active_bytes();
            let until = Instant::now() + self.idle;
            let timed_out = self.settled.wait_until(&mut settling, until).timed_out();
            if timed_out && self.overlay().active_bytes() == written && !settling.stop {
                drop(settling);
                // Its failure is kept for the next caller that writes.
                let _ = self.try_freeze();
                settling = self.settling.lock();
            }
        }
    }

    /// Puts the last value of each key into sled. The mark comes when they are durable: after a crash the files are read again
    /// that it does not cover.
    fn settle_frozen(&self, until: Place) -> Result<(), WorldError> {
        let Some(frozen) = self.overlay().frozen() else { return Ok(()) };
        for (key, value) in frozen.iter() {
            self.guard("write to", || match value {
                Some(value) => self.db().insert(key, value).map(drop),
                None if self.db().contains_key(key)? => self.db().remove(key).map(drop),
                None => Ok(()),
            })?;
        }
        self.flush_sled()?;
        self.put_into_sled(Mark::KEY, &Mark { settled: until, open: true }.value())?;
        drop(frozen);
        self.thaw();
        Ok(())
    }
}
