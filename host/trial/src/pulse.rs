//! Waiting for something that other threads bring about.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Beats whenever something may have changed that a test waits for.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<(Mutex<u64>, Condvar)>);

/// A waiter that was never told looks again all the same.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl Pulse {
    pub fn beat(&self) {
        *self.0.0.lock() += 1;
        self.0.1.notify_all();
    }

    /// Beats so far.
    pub fn count(&self) -> u64 {
        *self.0.0.lock()
    }

    /// Returns at the next beat after the first `seen`, or after a while; `false` if it is later than `limit`.
    pub fn wait(&self, seen: u64, limit: Instant) -> bool {
        let left = limit.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let (beats, changed) = &*self.0;
        changed.wait_while_for(&mut beats.lock(), |beats| *beats == seen, left.min(LOOK_AGAIN));
        true
    }
}
