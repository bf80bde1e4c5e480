//! How a host stops: asked to, or because its world failed.

use std::sync::atomic::AtomicBool;
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
    /// Set when the workers of a host that stops have ended, or were left behind.
    pub drained: CancellationToken,
    /// Set when such a host does not wait for its world any more.
    pub cut_off: AtomicBool,
    /// Cancelled when the host has stopped: no caller waits for anything any more.
    pub closing: CancellationToken,
    failed: OnceLock<Arc<WorldError>>,
    pub threads: Mutex<Vec<JoinHandle<()>>>,
    /// Ends after them: it says that the host lives.
    pub claimer: Mutex<Option<JoinHandle<()>>>,
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

    /// Whether nothing is left for which the host must live in the eyes of others.
    pub fn is_drained(&self) -> bool {
        self.drained.is_cancelled() || self.failed.get().is_some()
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
