//! Waiting for something that other threads bring about.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Beats whenever something may have changed that a test waits for.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<(Mutex<u64>, Condvar)>);

/// Somebody who was never told looks again all the same.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl Pulse {
    pub fn beat(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.1.notify_all();
    }

    /// Beats so far.
    pub fn count(&self) -> u64 {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns at the next beat after the first `seen`, or after a while; `false` if it is later than `limit`.
    pub fn wait(&self, seen: u64, limit: Instant) -> bool {
        let left = limit.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let beats = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(beats, left.min(LOOK_AGAIN), |beats| *beats == seen);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        true
    }
}
