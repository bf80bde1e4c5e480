//! Removes what large deleted runs left, in small steps, on a thread of its own.

use std::sync::Arc;
use std::thread::JoinHandle;

use durhai_world::WorldError;
use parking_lot::Mutex;

use crate::batch::Batch;
use crate::disk::Disk;
use crate::keys;
use crate::write::delete::sweep;

/// Entries removed in one step; others may write between two.
const STEP: usize = 512;

/// A thread that is there while there is something to do.
#[derive(Default)]
pub struct Sweeper {
    job: Arc<Mutex<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Job {
    running: bool,
    again: bool,
    stop: bool,
}

impl Sweeper {
    /// There is something to sweep up.
    pub fn wake(&self, disk: &Arc<Disk>) {
        let mut job = self.job.lock();
        job.again = true;
        if job.running || job.stop {
            return;
        }
        let (shared, disk) = (self.job.clone(), disk.clone());
        let spawned = std::thread::Builder::new().name("durhai-sweep".into()).spawn(move || work(&shared, &disk));
        // Without a thread it stays until the next open: it takes space, nothing else.
        if let Ok(thread) = spawned {
            job.running = true;
            *self.thread.lock() = Some(thread);
        }
    }

    /// Waits until nothing is left, or with `stop` until the step at hand is done.
    pub fn finish(&self, stop: bool) {
        self.job.lock().stop |= stop;
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn work(job: &Mutex<Job>, disk: &Disk) {
    loop {
        {
            let mut job = job.lock();
            if job.stop || !job.again {
                job.running = false;
                return;
            }
            job.again = false;
        }
        // A store that fails says so to the next write; here there is no caller to tell.
        while !job.lock().stop && matches!(step(disk), Ok(true)) {}
    }
}

/// Whether there was something to do.
fn step(disk: &Disk) -> Result<bool, WorldError> {
    let Some((name, _)) = disk.prefix([keys::GARBAGE]).next().transpose()? else { return Ok(false) };
    let mut batch = Batch::default();
    let key = keys::last_number(&name).unwrap_or(0);
    if sweep(disk, key, STEP, &mut batch)? {
        batch.remove(name);
    }
    disk.apply(batch)?;
    Ok(true)
}
