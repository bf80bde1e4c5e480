//! Waiting for a condition that others bring about.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// How long a test waits before it says that it hangs. Not a criterion of anything: a machine under load may need long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Beats whenever something may have changed that a test waits for.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<watch::Sender<u64>>);

impl Default for Pulse {
    fn default() -> Self {
        Pulse(Arc::new(watch::channel(0).0))
    }
}

impl Pulse {
    pub fn beat(&self) {
        self.0.send_modify(|beats| *beats += 1);
    }

    /// Looks now and after every beat, until there is an answer. Panics when none comes in [`PATIENCE`]; `state` says
    /// what to show then.
    pub async fn until<T, S: Debug>(&self, mut look: impl FnMut() -> Option<T>, state: impl FnOnce() -> S) -> T {
        let mut beats = self.0.subscribe();
        let work = async {
            loop {
                beats.borrow_and_update();
                if let Some(found) = look() {
                    return found;
                }
                beats.changed().await.expect("the pulse holds the sender");
            }
        };
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(found) => found,
            Err(_) => panic!("nothing happens any more: {:#?}", state()),
        }
    }
}
