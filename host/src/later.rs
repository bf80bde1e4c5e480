//! Runs that were claimed and could not be read, because the world did not answer: they stay as they are and are taken up a
//! moment later, the longer the oftener it failed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use durhai_core::RunId;
use durhai_world::{Claim, WorldError};

use crate::inner::Inner;
use crate::worker::Msg;

/// The first wait and the longest; each is twice the one before.
const WAITS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(30);

/// What was read for so long without a failure counts as mended.
const FORGET: Duration = Duration::from_secs(120);

/// The claims that wait.
#[derive(Default)]
pub(crate) struct Later(Mutex<HashMap<RunId, Entry>>);

struct Entry {
    claim: Option<Box<Claim>>,
    failures: u32,
    last: Instant,
}

impl Later {
    /// How long until it is tried again.
    fn keep(&self, claim: Claim) -> Duration {
        let mut all = self.0.lock().expect("not poisoned");
        all.retain(|_, entry| entry.claim.is_some() || entry.last.elapsed() < FORGET);
        let entry = all.entry(claim.run.clone()).or_insert(Entry { claim: None, failures: 0, last: Instant::now() });
        entry.claim = Some(Box::new(claim));
        entry.failures += 1;
        entry.last = Instant::now();
        let wait = WAITS.start().saturating_mul(1 << (entry.failures - 1).min(16));
        wait.min(*WAITS.end())
    }

    fn take(&self, run: &RunId) -> Option<Box<Claim>> {
        self.0.lock().expect("not poisoned").get_mut(run)?.claim.take()
    }

    /// All that wait: the host stops, and gives them back.
    pub fn take_all(&self) -> Vec<Claim> {
        let all = std::mem::take(&mut *self.0.lock().expect("not poisoned"));
        all.into_values().filter_map(|entry| entry.claim).map(|claim| *claim).collect()
    }
}

impl Inner {
    /// Takes the run up again after a while. It is not parked: nothing is known to be wrong with it.
    pub fn adopt_later(self: &Arc<Self>, claim: Claim, error: &WorldError) {
        let run = claim.run.clone();
        let wait = self.later.keep(claim);
        tracing::warn!(%run, "run {run} cannot be read at this moment and is tried again in {wait:?}: {error}");
        self.after(wait, move |inner| {
            if let Some(claim) = inner.later.take(&run) {
                inner.adopt(*claim, None);
            }
        });
    }

    /// Has the letters of a run that is in memory read after a while.
    pub fn letter_later(self: &Arc<Self>, run: &RunId, error: &WorldError) {
        tracing::warn!(%run, "the messages for run {run} cannot be read at this moment: {error}");
        let run = run.clone();
        self.after(*WAITS.start(), move |inner| inner.send(inner.worker_of(&run), Msg::Letter(run)));
    }

    /// Unless the host stops before.
    fn after(self: &Arc<Self>, wait: Duration, act: impl FnOnce(&Arc<Inner>) + Send + 'static) {
        let inner = self.clone();
        self.tokio.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(wait) => act(&inner),
                () = inner.stopping.cancelled() => {}
            }
        });
    }
}
