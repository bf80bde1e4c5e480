//! Time that moves when a test says so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use durhai::Millis;
use durhai::clock::Clock;
use parking_lot::Mutex;

/// Where a [`SimClock`] begins: 2023-11-14T22:13:20Z.
pub const START: Millis = 1_700_000_000_000;

/// A clock that stands still until it is moved. Several hosts may share one.
pub struct SimClock {
    now: AtomicU64,
    wake: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

impl Default for SimClock {
    fn default() -> Self {
        SimClock { now: AtomicU64::new(START), wake: Mutex::default() }
    }
}

impl SimClock {
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves it on by so many milliseconds, and tells the hosts.
    pub fn advance(&self, ms: Millis) {
        self.set(self.now().saturating_add(ms));
    }

    /// Sets it, backwards too, and tells the hosts.
    pub fn set(&self, now: Millis) {
        self.now.store(now, Ordering::SeqCst);
        for wake in &*self.wake.lock() {
            wake();
        }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Millis {
        self.now.load(Ordering::SeqCst)
    }

    /// For ever, near enough: whoever waits is told of every jump.
    fn patience(&self, until: Millis) -> Duration {
        if until <= self.now() { Duration::ZERO } else { Duration::from_secs(3_600) }
    }

    fn on_jump(&self, wake: Box<dyn Fn() + Send + Sync>) {
        self.wake.lock().push(wake);
    }
}
