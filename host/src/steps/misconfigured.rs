//! Attempts that wait for an operator: what they need is not set, or does not compile.
//!
//! Nothing about them is written: the attempt that is recorded as begun has not come to anything yet. So nothing is used up
//! however long it takes, and whatever was mended, by a save or by a restart with another environment, lets each go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use durhai_core::Millis;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;
use crate::steps::step::{StepContext, StepError};

/// Between two looks whether it was mended.
const LOOK: Duration = Duration::from_millis(500);

/// What attempts wait for, and how many of them.
#[derive(Debug, Default)]
pub(crate) struct Misconfigured(Mutex<BTreeMap<(String, String), u64>>);

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// Another attempt makes sense.
    Mended,
    /// The run does not want it any more, or the host stops.
    Unwanted,
    /// The call's deadline is over.
    Late,
    /// The run is to be parked.
    TooLong,
}

impl Misconfigured {
    /// One text for each step and reason.
    pub fn list(&self) -> Vec<String> {
        let all = self.0.lock();
        let said = |((step, why), count): (&(String, String), &u64)| {
            let attempts = if *count == 1 { "1 attempt waits".into() } else { format!("{count} attempts wait") };
            format!("{attempts} at step {step}: {why}")
        };
        all.iter().map(said).collect()
    }

    fn enter(self: &Arc<Self>, step: &str, why: &str) -> Waiting {
        let key = (step.to_owned(), why.to_owned());
        let mut all = self.0.lock();
        let count = all.entry(key.clone()).or_default();
        *count += 1;
        if *count == 1 {
            tracing::warn!(step, "attempts at step {step} wait until this is mended: {why}");
        }
        Waiting { held: self.clone(), key }
    }
}

/// One that waits, counted.
struct Waiting {
    held: Arc<Misconfigured>,
    key: (String, String),
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut all = self.held.0.lock();
        if let Some(count) = all.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.key);
            }
        }
    }
}

/// Waits until what `error` complains about was mended. The run's log tells why.
pub(crate) async fn wait(
    host: &Shared,
    token: &CancellationToken,
    context: &StepContext,
    error: &StepError,
    (deadline, once): (Option<Millis>, bool),
) -> Waited {
    let Some(mended) = &error.mended else { return Waited::Mended };
    // What is shown must not show a secret.
    let hidden = host.steps.mask.as_ref().and_then(|mask| mask(&error.message));
    let why = hidden.unwrap_or_else(|| error.message.clone());
    let _waiting = host.steps.misconfigured.enter(context.name(), &why);
    context.log("warn", format!("the attempt waits, and does not count; it goes on when this is mended: {why}"));
    let most = host.config.park_misconfigured.filter(|_| !once);
    let began = tokio::time::Instant::now();
    loop {
        let left = most.map(|most| most.saturating_sub(began.elapsed()));
        if deadline.is_some_and(|deadline| host.store.clock.now() >= deadline) {
            return Waited::Late;
        }
        if left.is_some_and(|left| left.is_zero()) {
            return Waited::TooLong;
        }
        tokio::select! {
            biased;
            () = token.cancelled() => return Waited::Unwanted,
            () = tokio::time::sleep(LOOK.min(left.unwrap_or(LOOK))) => {}
        }
        let look = mended.clone();
        // It may look at files.
        if host.tokio.spawn_blocking(move || look.look()).await.unwrap_or(false) {
            return Waited::Mended;
        }
    }
}
