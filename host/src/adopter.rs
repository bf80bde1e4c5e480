//! Takes up runs that are due and that nobody holds: timers of evicted runs, letters, runs of hosts that died.

use std::sync::Arc;
use std::time::Duration;

use crate::inner::Inner;
use crate::worker::Msg;

/// Claims at a time.
const CLAIMS: usize = 256;

/// The longest sleep: worlds that other hosts write to may not tell.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Runs until the host stops.
pub(crate) fn run(inner: &Arc<Inner>) {
    // Nothing may be claimed before the first renewal: if the clock went on since a run was created here, this host would
    // take it from itself.
    let mut renewed = None;
    while !inner.is_stopping() {
        let now = inner.clock.now();
        if renewed.is_none_or(|renewed| now >= renewed + inner.holder.lease / 3) {
            renewed = Some(now);
            if let Err(error) = inner.world.renew(&inner.holder, now) {
                return inner.fail(Arc::new(error));
            }
        }
        let mut patience = LOOK_AGAIN.min(Duration::from_millis(inner.holder.lease / 3));
        if inner.adopt {
            match inner.world.claim(&inner.holder, now, CLAIMS) {
                Ok(claims) => {
                    if claims.len() == CLAIMS {
                        patience = Duration::ZERO;
                    }
                    for claim in claims {
                        let worker = inner.worker_of(&claim.run);
                        inner.send(worker, Msg::Adopt { claim: Box::new(claim), history: None });
                    }
                }
                Err(error) => return inner.fail(Arc::new(error)),
            }
            match inner.world.next_wake() {
                Ok(Some(at)) => patience = patience.min(inner.clock.patience(at)),
                Ok(None) => {}
                Err(error) => return inner.fail(Arc::new(error)),
            }
        }
        inner.adopter.wait(patience);
    }
}
