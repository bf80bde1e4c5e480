//! The threads that steps in scripts run on: they may block, so they are not the host's.

mod turns;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use durhai::{StepError, Value};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use self::turns::Turns;
use crate::effects::{Bounds, Play, Stage};

/// Room for [`crate::effects::MAX_CALLS`] calls inside calls, also in a debug build, where each may take some 100 KB.
/// Mapped, and only what is touched takes memory.
const STACK: usize = 64 * 1024 * 1024;

/// At most `size` threads, each begun when work finds no idle one. More work waits in line, where runs take turns. Ends with the last handle,
/// when what was begun is done.
pub struct Pool {
    shared: Arc<Shared>,
    size: usize,
}

struct Shared {
    bounds: Bounds,
    line: Mutex<Line>,
    arrived: Condvar,
}

#[derive(Default)]
struct Line {
    plays: Turns<(Play, oneshot::Sender<Outcome>)>,
    threads: usize,
    idle: usize,
    closed: bool,
}

pub type Outcome = Result<Value, StepError>;

impl Pool {
    pub fn new(size: usize, bounds: Bounds) -> Self {
        let shared = Shared { bounds, line: Mutex::default(), arrived: Condvar::new() };
        Pool { shared: Arc::new(shared), size: size.max(1) }
    }

    /// The receiver fails if the pool is dropped before the attempt began.
    pub fn submit(&self, play: Play) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        let mut line = self.shared.line();
        let run = play.caller.run_id.clone();
        line.plays.push(&run, (play, sender));
        if line.idle < line.plays.len() && line.threads < self.size {
            let shared = self.shared.clone();
            let thread = thread::Builder::new().name("durhai-step".into()).stack_size(STACK);
            match thread.spawn(move || work(&shared)) {
                Ok(_) => line.threads += 1,
                Err(error) if line.threads == 0 => {
                    if let Some((_, sender)) = line.plays.pop() {
                        let _ = sender.send(Err(StepError::retry(format!("no thread for the step: {error}"))));
                    }
                }
                Err(_) => {}
            }
        }
        self.shared.arrived.notify_one();
        receiver
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut line = self.shared.line();
        line.closed = true;
        line.plays.clear();
        self.shared.arrived.notify_all();
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock()
    }

    fn next(&self) -> Option<(Play, oneshot::Sender<Outcome>)> {
        let mut line = self.line();
        loop {
            if let Some(next) = line.plays.pop() {
                return Some(next);
            }
            if line.closed {
                return None;
            }
            line.idle += 1;
            self.arrived.wait(&mut line);
            line.idle -= 1;
        }
    }
}

fn work(shared: &Shared) {
    let mut stage = Stage::new(shared.bounds);
    while let Some((play, sender)) = shared.next() {
        if play.stop.must_end().is_some() {
            let _ = sender.send(Err(StepError::retry("stopped before it began")));
            continue;
        }
        let name = play.caller.step.clone();
        let outcome = catch_unwind(AssertUnwindSafe(|| stage.run(play))).unwrap_or_else(|panic| {
            // Whatever the panic left half done is in there.
            stage = Stage::new(shared.bounds);
            let why = panic.downcast_ref::<&str>().map(|why| (*why).to_owned());
            let why = why.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(StepError::retry(format!("the step {name} panicked: {why}")))
        });
        // Nobody may be there any more to take it.
        let _ = sender.send(outcome);
    }
}
