//! The connections for everything that is no batch of writes and no claim.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use durhai_world::WorldError;
use parking_lot::{Mutex, MutexGuard};

use crate::failure::Failure;
use crate::server::Server;
use crate::wire::Wire;

/// How long a question may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Waits between two attempts to reach the server, the first and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(1_000));

/// Attempts of what another transaction was in the way of.
const CONFLICTS: u32 = 5;

/// How long one who asks waits for a server that cannot be reached.
#[derive(Debug, Clone, Copy)]
pub enum Patience {
    /// A person or a program waits for the answer: it is told soon that there is none.
    Short(Duration),
    /// A host cannot go on without: until the world is closed.
    Endless,
}

pub struct Readers {
    server: Arc<Server>,
    wires: Vec<Mutex<Option<Wire>>>,
    next: AtomicUsize,
    closed: Arc<AtomicBool>,
}

impl Readers {
    pub fn new(server: &Arc<Server>, count: usize, closed: &Arc<AtomicBool>) -> Self {
        let wires = (0..count.max(1)).map(|_| Mutex::new(None)).collect();
        Readers { server: server.clone(), wires, next: AtomicUsize::new(0), closed: closed.clone() }
    }

    /// Asks on a connection that is free. What is asked may be asked twice, where the first answer did not come.
    pub fn ask<T>(
        &self,
        patience: Patience,
        mut ask: impl FnMut(&mut Wire) -> Result<T, Failure>,
    ) -> Result<T, WorldError> {
        let mut wire = self.free();
        persist(&self.server, &mut wire, patience, &self.closed, &mut ask)
    }

    fn free(&self) -> MutexGuard<'_, Option<Wire>> {
        if let Some(free) = self.wires.iter().find_map(Mutex::try_lock) {
            return free;
        }
        self.wires[self.next.fetch_add(1, Ordering::Relaxed) % self.wires.len()].lock()
    }
}

/// Asks until there is an answer, on a new connection where the old one is gone.
pub fn persist<T>(
    server: &Arc<Server>,
    wire: &mut Option<Wire>,
    patience: Patience,
    closed: &AtomicBool,
    ask: &mut dyn FnMut(&mut Wire) -> Result<T, Failure>,
) -> Result<T, WorldError> {
    let began = Instant::now();
    let mut backoff = Backoff::default();
    let mut conflicts = 0;
    loop {
        let answer = match wire {
            Some(open) => ask(open),
            None => Wire::connect(server, ANSWER).and_then(|open| ask(wire.insert(open))),
        };
        match answer {
            Ok(answer) => return Ok(answer),
            Err(Failure::Conflict(_)) if conflicts < CONFLICTS => conflicts += 1,
            Err(failure @ (Failure::Lost(_) | Failure::Ended(_))) => {
                *wire = None;
                let late = matches!(patience, Patience::Short(limit) if began.elapsed() >= limit);
                if late || closed.load(Ordering::Relaxed) {
                    return Err(failure.into_world());
                }
                backoff.wait(failure.why(), closed);
            }
            Err(other) => return Err(other.into_world()),
        }
    }
}

/// Waits that grow.
#[derive(Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Until the next attempt, or until the world is closed.
    pub fn wait(&mut self, why: &str, closed: &AtomicBool) {
        let longest = AGAIN.0.saturating_mul(1 << self.attempts.min(10)).min(AGAIN.1);
        self.attempts += 1;
        if self.attempts.is_power_of_two() {
            tracing::warn!(attempt = self.attempts, "the database cannot be reached: {why}; it is tried again");
        }
        // Hosts that lost their server together do not come back at one moment.
        let spread = u64::from(std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.subsec_nanos()));
        let wait = longest / 2 + longest / 2 * (spread % 1_000) as u32 / 1_000;
        let until = Instant::now() + wait;
        while Instant::now() < until && !closed.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
