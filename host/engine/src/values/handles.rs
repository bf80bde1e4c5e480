//! The values that only durable calls give: handles of tasks, hooks and sagas, and moments on the run's clock.

use std::fmt;
use std::sync::Arc;

use durhai_core::replay::{GroupKey, HookRef};

/// What `task()` gives.
#[derive(Debug, Clone, Copy)]
pub struct TaskHandle(pub GroupKey);

/// What `hook()` gives.
#[derive(Debug, Clone)]
pub struct HookHandle(pub Arc<HookRef>);

/// What the block of `saga::run` is given: the number of its saga in this run.
#[derive(Debug, Clone, Copy)]
pub struct SagaHandle(pub u32);

/// A moment on the run's clock, in Unix milliseconds. What `timestamp()` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn plus(self, seconds: f64) -> Self {
        Timestamp(self.0.saturating_add((seconds * 1_000.0).round() as i64))
    }

    /// Seconds from `earlier` to this one.
    pub fn since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1_000.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timestamp({})", self.0)
    }
}
