//! Callers that wait for the end of a run.

use std::collections::HashMap;
use std::sync::Arc;

use durhai_core::{EventBody, RunId};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The callers, by run.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<HashMap<RunId, Vec<oneshot::Sender<Settled>>>>);

/// How a run ended or was left: its terminal event, if it has one.
pub(crate) type Settled = Option<Arc<EventBody>>;

impl Waiters {
    /// Resolves at the next end of the run, or when it is parked. Register first, then look at the run: so none is missed.
    pub fn register(&self, run: &RunId) -> oneshot::Receiver<Settled> {
        let (tx, rx) = oneshot::channel();
        let mut all = self.0.lock();
        let waiting = all.entry(run.clone()).or_default();
        waiting.retain(|tx| !tx.is_closed());
        waiting.push(tx);
        rx
    }

    pub fn wake(&self, run: &RunId, settled: &Settled) {
        let waiting = self.0.lock().remove(run);
        for tx in waiting.into_iter().flatten() {
            let _ = tx.send(settled.clone());
        }
    }

    pub fn wake_all(&self) {
        let all = std::mem::take(&mut *self.0.lock());
        for tx in all.into_values().flatten() {
            let _ = tx.send(None);
        }
    }
}
