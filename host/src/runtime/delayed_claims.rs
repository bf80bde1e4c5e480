//! Runs that were claimed and could not be read, because the world did not answer: they stay as they are and are taken up a
//! moment later, the longer the oftener it failed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use durhai_core::RunId;
use parking_lot::Mutex;

use crate::runtime::lease::{Lease, OwnClaim};

/// The first wait and the longest; each is twice the one before.
pub(crate) const WAITS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(30);

/// What was read for so long without a failure counts as mended.
const FORGET: Duration = Duration::from_secs(120);

/// The claims that wait.
#[derive(Default)]
pub(crate) struct DelayedClaims(Mutex<HashMap<RunId, Entry>>);

struct Entry {
    claim: Option<Box<OwnClaim>>,
    failures: u32,
    last: Instant,
}

impl DelayedClaims {
    /// How long until it is tried again.
    pub fn keep(&self, claim: OwnClaim) -> Duration {
        let mut all = self.0.lock();
        all.retain(|_, entry| entry.claim.is_some() || entry.last.elapsed() < FORGET);
        let entry = all.entry(claim.run.clone()).or_insert(Entry { claim: None, failures: 0, last: Instant::now() });
        entry.claim = Some(Box::new(claim));
        entry.failures += 1;
        entry.last = Instant::now();
        let wait = WAITS.start().saturating_mul(1 << (entry.failures - 1).min(16));
        wait.min(*WAITS.end())
    }

    pub fn take(&self, run: &RunId) -> Option<Box<OwnClaim>> {
        self.0.lock().get_mut(run)?.claim.take()
    }

    /// Drops those that were claimed under another name than the host has now.
    pub fn drop_lost(&self, lease: &Lease) {
        self.0.lock().retain(|_, entry| entry.claim.as_ref().is_none_or(|claim| !lease.is_over(claim.epoch)));
    }

    /// All that wait: the host stops, and gives them back.
    pub fn take_all(&self) -> Vec<OwnClaim> {
        let all = std::mem::take(&mut *self.0.lock());
        all.into_values().filter_map(|entry| entry.claim).map(|claim| *claim).collect()
    }
}
