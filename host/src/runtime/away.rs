//! What threads do while a world behind a network does not answer.

use std::time::Duration;

use durhai_world::WorldError;

/// How long a thread waits before it asks again.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether a thread waits for the world, so that it says so once.
pub(crate) struct Away {
    what: &'static str,
    told: bool,
}

impl Away {
    pub fn new(what: &'static str) -> Self {
        Away { what, told: false }
    }

    /// How long to wait before the world is asked again.
    pub fn failed(&mut self, error: &WorldError) -> Duration {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!("{} waits for the world, which does not answer at this moment: {error}", self.what);
        }
        PAUSE
    }

    pub fn answered(&mut self) {
        if std::mem::take(&mut self.told) {
            tracing::info!("the world answers again: {} goes on", self.what);
        }
    }
}
