//! The threads that steps in scripts run on: they may block, so they are not the host's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use durhai::{StepError, Value};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::effects::{Bounds, ScriptAttempt, StepEngine};
use crate::fair_queue::FairQueue;

/// Room for [`crate::program::MAX_CALLS`] calls inside calls, also in a debug build, where each may take some 100 KB.
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
    attempts: FairQueue<(ScriptAttempt, oneshot::Sender<Outcome>)>,
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
    pub fn submit(&self, attempt: ScriptAttempt) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        let mut line = self.shared.line();
        let run = attempt.caller.run_id.clone();
        line.attempts.push(&run, (attempt, sender));
        if line.idle < line.attempts.len() && line.threads < self.size {
            let shared = self.shared.clone();
            let thread = thread::Builder::new().name("durhai-step".into()).stack_size(STACK);
            match thread.spawn(move || work(&shared)) {
                Ok(_) => line.threads += 1,
                Err(error) if line.threads == 0 => {
                    if let Some((_, sender)) = line.attempts.pop() {
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
        line.attempts.clear();
        self.shared.arrived.notify_all();
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock()
    }

    fn next(&self) -> Option<(ScriptAttempt, oneshot::Sender<Outcome>)> {
        let mut line = self.line();
        loop {
            if let Some(next) = line.attempts.pop() {
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
    let mut engine = StepEngine::new(shared.bounds);
    while let Some((attempt, sender)) = shared.next() {
        if attempt.stop.must_end().is_some() {
            let _ = sender.send(Err(StepError::retry("stopped before it began")));
            continue;
        }
        let name = attempt.caller.step.clone();
        let outcome = catch_unwind(AssertUnwindSafe(|| engine.run(attempt))).unwrap_or_else(|panic| {
            // What the panic left half done is in the old one.
            engine = StepEngine::new(shared.bounds);
            let why = panic.downcast_ref::<&str>().map(|why| (*why).to_owned());
            let why = why.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(StepError::retry(format!("the step {name} panicked: {why}")))
        });
        // The host may have dropped the attempt meanwhile.
        let _ = sender.send(outcome);
    }
}
