//! What is known of a run in memory by all who deal with it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use durhai_core::{RunId, SmallMap, StepId, TraceContext, Version};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::runtime::lease::Epoch;

/// What the worker, the committer and the attempts of one live run share.
pub(crate) struct RunShared {
    pub id: RunId,
    pub workflow: String,
    /// The one it has now.
    pub version: Mutex<Version>,
    /// The span that started it, once its log was read and if there is one.
    pub starter: OnceLock<TraceContext>,
    pub worker: usize,
    /// Under which name of this host it was claimed.
    pub epoch: Epoch,
    /// Attempts that run now, by call.
    pub attempts: Mutex<SmallMap<StepId, CancellationToken>>,
    /// Its worker has dropped it for good: what was committed before leads to no attempts any more. Changed with the attempts.
    pub dropped: AtomicBool,
}

impl RunShared {
    /// An attempt of the call may run now, until the token is cancelled.
    pub fn register(&self, id: &StepId, token: &CancellationToken) {
        let mut attempts = self.attempts.lock();
        if self.dropped.load(Ordering::Relaxed) {
            return token.cancel();
        }
        attempts.insert(id.clone(), token.clone());
    }

    /// Another host has the run, or may have: its attempts are told, and those that are about to begin.
    pub fn drop_attempts(&self) {
        let mut attempts = self.attempts.lock();
        self.dropped.store(true, Ordering::Relaxed);
        let told = std::mem::take(&mut *attempts);
        drop(attempts);
        told.into_iter().for_each(|(_, token)| token.cancel());
    }
}
