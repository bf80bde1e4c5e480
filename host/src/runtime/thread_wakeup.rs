//! Wakes a thread that sleeps until something is due.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Wakes a sleeping thread; a call while it is awake is remembered.
#[derive(Default)]
pub(crate) struct Wakeup {
    called: Mutex<bool>,
    condition: Condvar,
}

impl Wakeup {
    pub fn wake(&self) {
        *self.called.lock() = true;
        self.condition.notify_one();
    }

    /// Sleeps until it is woken, or that long.
    pub fn wait(&self, timeout: Duration) {
        let mut called = self.called.lock();
        self.condition.wait_while_for(&mut called, |called| !*called, timeout);
        *called = false;
    }
}
