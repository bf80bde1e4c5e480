//! The way to the thread that looks at the scripts folder.

use std::sync::mpsc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::HostError;
use crate::view::Report;

/// What the thread is told.
pub(crate) enum Look {
    /// Something changed, or may have.
    Changed,
    /// Look now and say what changed.
    Now(oneshot::Sender<Vec<Report>>),
    /// Look at this workflow, which a caller wants to start, and say when that is done.
    At(String, oneshot::Sender<()>),
    Stop,
}

/// Tells the thread.
pub(crate) struct Watcher(Mutex<mpsc::Sender<Look>>);

impl Watcher {
    /// With where the thread hears of it.
    pub fn new() -> (Self, mpsc::Receiver<Look>) {
        let (looks, receiver) = mpsc::channel();
        (Watcher(Mutex::new(looks)), receiver)
    }

    pub fn sender(&self) -> mpsc::Sender<Look> {
        self.0.lock().clone()
    }

    pub fn stop(&self) {
        let _ = self.0.lock().send(Look::Stop);
    }

    pub fn tell(&self, look: Look) -> Result<(), HostError> {
        self.0.lock().send(look).map_err(|_| HostError::Closed)
    }
}
