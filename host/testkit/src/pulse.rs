//! Waiting for a condition that other threads bring about.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::watch;

/// How long a test waits before it says that it hangs. Not a criterion of anything: a machine under load may need long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A thread that missed a beat looks again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Beats whenever something may have changed that a test waits for.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    beats: Mutex<u64>,
    /// For threads.
    beaten: Condvar,
    /// For tasks.
    tasks: watch::Sender<()>,
}

impl Pulse {
    pub fn beat(&self) {
        *self.beats() += 1;
        self.0.beaten.notify_all();
        self.0.tasks.send_replace(());
    }

    /// Beats so far.
    pub fn count(&self) -> u64 {
        *self.beats()
    }

    /// Blocks until the next beat after the first `seen`, or for a while; `false` if it is later than `limit`.
    pub fn wait(&self, seen: u64, limit: Instant) -> bool {
        let left = limit.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        self.0.beaten.wait_while_for(&mut self.beats(), |beats| *beats == seen, left.min(LOOK_AGAIN));
        true
    }

    /// Looks now and after every beat, until there is an answer. Panics when none comes in [`PATIENCE`]; `state` says
    /// what to show then.
    pub async fn until<T, S: Debug>(&self, mut look: impl FnMut() -> Option<T>, state: impl FnOnce() -> S) -> T {
        let mut beats = self.0.tasks.subscribe();
        let work = async {
            loop {
                beats.borrow_and_update();
                if let Some(found) = look() {
                    return found;
                }
                beats.changed().await.expect("the pulse holds the sender");
            }
        };
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(found) => found,
            Err(_) => panic!("nothing happens any more: {:#?}", state()),
        }
    }

    fn beats(&self) -> MutexGuard<'_, u64> {
        self.0.beats.lock()
    }
}
