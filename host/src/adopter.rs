//! Takes up runs that are due and that nobody holds: timers of evicted runs, letters, runs of hosts that died.

use std::sync::Arc;
use std::time::Duration;

use durhai_core::Millis;
use durhai_world::{Claim, WorldError, Write};

use crate::access;
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
                        note(inner, &claim, now);
                        if !claim.admitted {
                            inner.end_soon(claim);
                            continue;
                        }
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
        } else {
            match claim_own(inner, now) {
                Ok(wait) => patience = patience.min(wait),
                Err(error) => return inner.fail(Arc::new(error)),
            }
        }
        inner.adopter.wait(patience);
    }
}

/// A run was claimed because it was due: by its own timer, or 0 for what cannot wait.
fn note(inner: &Inner, claim: &Claim, now: Millis) {
    inner.meters.claimed.inc();
    if let Some(due) = claim.row.wake_at.filter(|due| (1..=now).contains(due)) {
        inner.meters.timer_lag.record(now - due);
    }
}

/// Looks after the runs that this host created and that could not begin at once, where it takes up no others. How long
/// until one of them may be due.
fn claim_own(inner: &Arc<Inner>, now: Millis) -> Result<Duration, WorldError> {
    let own: Vec<_> = inner.own.lock().expect("not poisoned").iter().cloned().collect();
    let mut patience = LOOK_AGAIN;
    for run in own {
        let row = inner.world.row(&run)?;
        let over = row.as_ref().is_none_or(|row| row.status.is_terminal());
        let due = row.and_then(|row| row.wake_at).unwrap_or(0);
        if !over && (due > now || inner.world.waits(&run)?) && !access::is_urgent(&*inner.world, &run)? {
            // The run that gives its place free rings the bell.
            patience = patience.min(if due > now { inner.clock.patience(due) } else { LOOK_AGAIN });
            continue;
        }
        let claim = if over { None } else { inner.world.claim_run(&run, &inner.holder, now)? };
        match claim {
            Some(claim) if !claim.admitted && access::is_urgent(&*inner.world, &run)? => {
                inner.own.lock().expect("not poisoned").remove(&run);
                inner.end_soon(claim);
            }
            Some(claim) if !claim.admitted => {
                let write = Write::Release { run: run.clone(), fence: claim.fence };
                inner.world.write(vec![write])?;
            }
            claim => {
                // Taken here, or by somebody else.
                inner.own.lock().expect("not poisoned").remove(&run);
                claim.into_iter().for_each(|claim| inner.adopt(claim, None));
            }
        }
    }
    Ok(patience)
}
