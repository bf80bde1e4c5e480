//! What is in the journal goes into sled, in the background, and its files are used again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use durhai_world::WorldError;

use super::blocks::layout::STEP_BYTES;
use super::journal::Ended;
use super::journal::read::Place;
use super::journal::unsettled::Mark;
use super::store::Store;
use crate::fault::panic_text;

/// So many blocks go into sled before they are made durable there, however small: with each sled may write a page of some sixteen of them anew, and move another one.
const STEP_BLOCKS: usize = 32;

/// What the settler has to do.
pub struct Settling {
    /// What is frozen goes up to this record.
    wanted: Option<Place>,
    /// The files it is in.
    files: Vec<PathBuf>,
    /// Nothing is written any more.
    closing: bool,
    stop: bool,
    /// As it is in sled.
    pub(super) mark: Mark,
}

impl Settling {
    /// With what was found in files when the store was opened: `last` is their last record.
    pub fn new(mark: Mark, last: Option<Place>, files: Vec<PathBuf>) -> Self {
        Settling { wanted: last, files, closing: false, stop: false, mark }
    }

    pub fn begin(&mut self, ended: Ended) {
        self.wanted = Some(ended.last);
        self.files.push(ended.path);
    }
}

/// The thread that puts into sled what is frozen.
pub struct Settler(Option<JoinHandle<()>>);

impl Settler {
    pub fn start(store: &Arc<Store>) -> Result<Self, WorldError> {
        let its = store.clone();
        let thread = std::thread::Builder::new().name("durhai-settle".into()).spawn(move || {
            let done = catch_unwind(AssertUnwindSafe(|| its.settle()));
            // Those who wait for it must hear of it.
            let _ = done.map_err(|panic| its.keep_failure::<()>(Err(its.corrupt(panic_text(&*panic)))));
        });
        match thread {
            Ok(thread) => Ok(Settler(Some(thread))),
            Err(error) => Err(WorldError::Unavailable(format!("cannot start the thread durhai-settle: {error}"))),
        }
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // It keeps its failures, panics too.
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
        self.settling.lock().closing = true;
        let _ = self.settle_all().and_then(|()| self.end_journal());
        self.settling.lock().stop = true;
        self.settled.notify_all();
    }

    fn settle_all(&self) -> Result<(), WorldError> {
        // The settler may begin by itself in between.
        while self.fill() > 0 || self.overlay().bytes() > 0 {
            self.wait_until_settled()?;
            self.try_freeze(true)?;
        }
        self.wait_until_settled()
    }

    /// All is in sled: the next one who opens the store needs no file.
    fn end_journal(&self) -> Result<(), WorldError> {
        let mark = self.settling.lock().mark;
        if mark.open {
            self.put_into_sled(Mark::KEY, &Mark { open: false, ..mark }.value())?;
        }
        self.io("clean up", || self.journal.lock().remove())
    }

    /// The body of the settler's thread.
    fn settle(&self) {
        while let Some((mark, files)) = self.next_to_settle() {
            // The files are free when the mark is durable, and that before the caller that closes the store goes on.
            let done = self.settle_frozen(mark);
            let done = done.and_then(|()| self.io("clean up", || self.journal.lock().give_back(files)));
            if self.keep_failure(done).is_ok() {
                let mut settling = self.settling.lock();
                // In one step with what follows: the next one may be frozen as soon as nothing is.
                let frozen = self.thaw();
                (settling.wanted, settling.mark) = (None, mark);
                drop(settling);
                self.settled.notify_all();
                drop(frozen);
            }
        }
    }

    /// Waits for something to do: the mark that sled gets then, and the files that are free then. None at the end.
    fn next_to_settle(&self) -> Option<(Mark, Vec<PathBuf>)> {
        let mut settling = self.settling.lock();
        loop {
            if self.check().is_err() {
                return None;
            }
            if let Some(settled) = settling.wanted {
                // With the last one the journal ends, if no file was begun behind it.
                let open = !settling.closing || self.journal.lock().is_open();
                let mark = Mark { settled, open, ..settling.mark };
                return Some((mark, std::mem::take(&mut settling.files)));
            }
            if settling.stop {
                return None;
            }
            let written = self.overlay().active_bytes();
            let Some(until) = Instant::now().checked_add(self.idle).filter(|_| written > 0) else {
                self.settled.wait(&mut settling);
                continue;
            };
            let timed_out = self.settled.wait_until(&mut settling, until).timed_out();
            if timed_out && self.overlay().active_bytes() == written && !settling.stop {
                drop(settling);
                // Its failure is kept for the next caller that writes.
                let _ = self.try_freeze(false);
                settling = self.settling.lock();
            }
        }
    }

    /// Puts the last value of each key into sled. The mark comes when they are durable: after a crash the files are read again
    /// that it does not cover.
    fn settle_frozen(&self, mark: Mark) -> Result<(), WorldError> {
        let Some(frozen) = self.overlay().frozen() else {
            return Err(self.corrupt("what its journal has is not in memory"));
        };
        let (mut bytes, mut blocks) = (0, 0);
        self.put(frozen.iter().map(|(key, value)| (key, value.as_ref())), &mut |written| {
            bytes += written;
            blocks += 1;
            if bytes > STEP_BYTES || blocks == STEP_BLOCKS {
                (bytes, blocks) = (0, 0);
                self.flush_sled()?;
            }
            Ok(())
        })?;
        self.flush_sled()?;
        self.put_into_sled(Mark::KEY, &mark.value())
    }
}
