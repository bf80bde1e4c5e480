//! Reads that are asked for again where the world does not answer for a moment.
//!
//! A lost connection, a disk that is busy: a read that fails once says nothing about the run it was for. So every read of a host
//! goes through here, and only when the world has not answered several times its reader learns of it, as
//! [`WorldError::Unavailable`]. What changes something is asked for once, as it is not known whether it happened; claims, too:
//! those that were made and not handed over would be held until this host is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use durhai_world::{Forward, World, WorldError};
use tokio_util::sync::CancellationToken;

use crate::store::reach::Reach;

/// How long a reader waits before it asks again: for a moment, as others wait for it.
const WAITS: [u64; 3] = [5, 20, 80];

/// Calls that go through everything: they may take minutes, and the world answers all the while.
const LONG: [&str; 3] = ["copy", "restore", "verify"];

/// A world whose reads are patient.
pub(crate) struct Retrying {
    world: Arc<dyn World>,
    /// A host that stops waits for nothing.
    stopping: CancellationToken,
    /// None of a world that is here, which always answers.
    reach: Option<Arc<Reach>>,
}

impl Retrying {
    pub fn new(world: Arc<dyn World>, stopping: CancellationToken, reach: Arc<Reach>) -> Self {
        let reach = (!world.is_local()).then_some(reach);
        Retrying { world, stopping, reach }
    }

    fn patiently<T>(&self, read: impl Fn(&dyn World) -> Result<T, WorldError>) -> Result<T, WorldError> {
        for wait in WAITS {
            match read(&*self.world) {
                Err(WorldError::Unavailable(why)) => tracing::debug!("a read failed and is tried again: {why}"),
                answer => return answer,
            }
            let until = Instant::now() + Duration::from_millis(wait);
            while Instant::now() < until && !self.stopping.is_cancelled() {
                std::thread::sleep(Duration::from_millis(wait.min(5)));
            }
            if self.stopping.is_cancelled() {
                break;
            }
        }
        read(&*self.world)
    }
}

impl Forward for Retrying {
    fn inner(&self) -> Result<&dyn World, WorldError> {
        Ok(&*self.world)
    }

    fn read<T>(
        &self,
        _call: &'static str,
        read: impl Fn(&dyn World) -> Result<T, WorldError>,
    ) -> Result<T, WorldError> {
        match &self.reach {
            Some(reach) => reach.read(|| self.patiently(read)),
            None => self.patiently(read),
        }
    }

    fn once<T>(
        &self,
        call: &'static str,
        once: impl FnOnce(&dyn World) -> Result<T, WorldError>,
    ) -> Result<T, WorldError> {
        match &self.reach {
            Some(reach) if !LONG.contains(&call) => reach.change(|| once(&*self.world)),
            _ => once(&*self.world),
        }
    }
}
