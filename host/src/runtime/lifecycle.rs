//! How a host stops: asked to, or because its world failed.

use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use durhai_world::WorldError;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub(crate) struct Lifecycle {
    /// Cancelled when the host stops: every attempt is told.
    pub stopping: CancellationToken,
    /// Cancelled when the world has failed.
    pub failing: CancellationToken,
    /// Cancelled when the host has stopped: no caller waits for anything any more.
    pub closing: CancellationToken,
    failed: OnceLock<Arc<WorldError>>,
    pub threads: Mutex<Vec<JoinHandle<()>>>,
    /// Ends after the others: they write until they end.
    pub committer: Mutex<Option<JoinHandle<()>>>,
}

impl Lifecycle {
    pub fn new(stopping: CancellationToken) -> Self {
        Lifecycle { stopping, ..Lifecycle::default() }
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    pub fn failure(&self) -> Option<Arc<WorldError>> {
        self.failed.get().cloned()
    }

    /// `true` for the first failure: the host stops.
    pub fn fail(&self, error: Arc<WorldError>) -> bool {
        let message = error.to_string();
        if self.failed.set(error).is_err() {
            return false;
        }
        tracing::error!("the world failed, the host stops: {message}");
        self.failing.cancel();
        self.stopping.cancel();
        true
    }
}
