//! Callers that wait for the end of a run.

use std::collections::HashMap;
use std::sync::Arc;

use durhai_core::{EventBody, RunId};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Runs that some caller waited for, before those are looked for that none waits for any more.
const MANY: usize = 1_024;

/// The callers, by run.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<Table>);

#[derive(Default)]
struct Table {
    callers: HashMap<RunId, Vec<oneshot::Sender<Settled>>>,
    /// So many of these were left when it was looked last.
    left: usize,
}

/// How a run ended or was left: its terminal event, if it has one.
pub(crate) type Settled = Option<Arc<EventBody>>;

impl Waiters {
    /// Resolves at the next end of the run, or when it is parked. Register first, then look at the run: so none is missed.
    pub fn register(&self, run: &RunId) -> oneshot::Receiver<Settled> {
        let (tx, rx) = oneshot::channel();
        let mut table = self.0.lock();
        table.look();
        let waiting = table.callers.entry(run.clone()).or_insert_with(|| Vec::with_capacity(1));
        waiting.retain(|tx| !tx.is_closed());
        waiting.push(tx);
        rx
    }

    pub fn wake(&self, run: &RunId, settled: &Settled) {
        let waiting = self.0.lock().callers.remove(run);
        for tx in waiting.into_iter().flatten() {
            let _ = tx.send(settled.clone());
        }
    }

    pub fn wake_all(&self) {
        let all = std::mem::take(&mut self.0.lock().callers);
        for tx in all.into_values().flatten() {
            let _ = tx.send(None);
        }
    }
}

impl Table {
    /// Forgets callers that wait no more, when there are twice as many runs as last time: who starts a run seldom waits for
    /// its end, and the run may wait for months.
    fn look(&mut self) {
        if self.callers.len() < MANY.max(2 * self.left) {
            return;
        }
        self.callers.retain(|_, waiting| {
            waiting.retain(|tx| !tx.is_closed());
            !waiting.is_empty()
        });
        self.left = self.callers.len();
    }
}

#[cfg(test)]
mod tests {
    use durhai_core::RunId;

    use super::{MANY, Waiters};

    #[test]
    fn callers_that_left_are_forgotten() {
        let waiters = Waiters::default();
        let run = |n: usize| RunId::new(format!("run-{n}")).expect("an id");
        let mut waiting: Vec<_> = (0..100).map(|n| waiters.register(&run(n))).collect();
        for n in 100..10 * MANY {
            drop(waiters.register(&run(n)));
            assert!(waiters.0.lock().callers.len() <= MANY);
        }
        waiters.wake(&run(7), &None);
        assert_eq!(waiting[7].try_recv(), Ok(None));
        assert!(waiting[8].try_recv().is_err());
        waiters.wake_all();
        assert_eq!(waiting[8].try_recv(), Ok(None));
    }
}
