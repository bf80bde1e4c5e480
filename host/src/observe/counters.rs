//! What `Host::stats` shows.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::view::Stats;

#[derive(Default)]
pub(crate) struct Counters {
    pub flushes: AtomicU64,
    pub writes: AtomicU64,
    pub event_bytes: AtomicU64,
    pub live: AtomicU64,
    pub evicted: AtomicU64,
    pub rebuilt: AtomicU64,
    pub attempts: AtomicU64,
}

impl Counters {
    pub fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            flushes: read(&self.flushes),
            writes: read(&self.writes),
            event_bytes: read(&self.event_bytes),
            live: read(&self.live),
            evicted: read(&self.evicted),
            rebuilt: read(&self.rebuilt),
            attempts: read(&self.attempts),
        }
    }
}
