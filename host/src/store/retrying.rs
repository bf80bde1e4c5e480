//! Reads that are asked for again where the world does not answer for a moment.
//!
//! A lost connection, a disk that is busy: a read that fails once says nothing about the run it was for. So every read of a host
//! goes through here, and only when the world has not answered several times its reader learns of it, as
//! [`WorldError::Unavailable`]. What changes something is asked for once: nobody knows whether it happened.

use std::sync::Arc;
use std::time::{Duration, Instant};

use durhai_core::{Millis, RunId, Version};
use durhai_world::{
    Chunk, Claim, Count, Holder, Hook, InboxMessage, Page, Query, Queue, Record, Refused, Row, Snapshot, Watcher,
    World, WorldError, Write, Written,
};
use tokio_util::sync::CancellationToken;

/// How long a reader waits before it asks again: for a moment, as others wait for it.
const WAITS: [u64; 3] = [5, 20, 80];

/// A world whose reads are patient.
pub(crate) struct Retrying {
    world: Arc<dyn World>,
    /// A host that stops waits for nothing.
    stopping: CancellationToken,
}

impl Retrying {
    pub fn new(world: Arc<dyn World>, stopping: CancellationToken) -> Self {
        Retrying { world, stopping }
    }

    fn read<T>(&self, read: impl Fn(&dyn World) -> Result<T, WorldError>) -> Result<T, WorldError> {
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

impl World for Retrying {
    fn write(&self, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError> {
        self.world.write(batch)
    }

    /// Once: claims of which nobody knows would be nobody's until their holder is gone.
    fn claim(&self, holder: &Holder, now: Millis, limit: usize) -> Result<Vec<Claim>, WorldError> {
        self.world.claim(holder, now, limit)
    }

    fn claim_run(&self, run: &RunId, holder: &Holder, now: Millis) -> Result<Option<Claim>, WorldError> {
        self.world.claim_run(run, holder, now)
    }

    /// Twice does no harm.
    fn renew(&self, holder: &Holder, now: Millis) -> Result<(), WorldError> {
        self.read(|world| world.renew(holder, now))
    }

    fn next_wake(&self) -> Result<Option<Millis>, WorldError> {
        self.read(|world| world.next_wake())
    }

    fn log(&self, run: &RunId, from: u64, limit_bytes: usize) -> Result<Vec<Chunk>, WorldError> {
        self.read(|world| world.log(run, from, limit_bytes))
    }

    fn log_tail(&self, run: &RunId) -> Result<Option<Chunk>, WorldError> {
        self.read(|world| world.log_tail(run))
    }

    fn inbox(&self, run: &RunId, after: u64, limit: usize) -> Result<Vec<InboxMessage>, WorldError> {
        self.read(|world| world.inbox(run, after, limit))
    }

    fn stream(&self, run: &RunId, stream: &str, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, WorldError> {
        self.read(|world| world.stream(run, stream, from, limit))
    }

    fn streams(&self, run: &RunId) -> Result<Vec<(String, u64)>, WorldError> {
        self.read(|world| world.streams(run))
    }

    fn values(&self, run: &RunId) -> Result<Vec<(String, Vec<u8>)>, WorldError> {
        self.read(|world| world.values(run))
    }

    /// Twice does no harm.
    fn reserve(&self, token: &str, run: &RunId, fence: u64) -> Result<Option<RunId>, WorldError> {
        self.read(|world| world.reserve(token, run, fence))
    }

    fn hook(&self, token: &str) -> Result<Option<Hook>, WorldError> {
        self.read(|world| world.hook(token))
    }

    fn snapshot(&self, runs: &[RunId]) -> Result<Vec<Option<Snapshot>>, WorldError> {
        self.read(|world| world.snapshot(runs))
    }

    fn copy(&self, take: &mut dyn FnMut(Record) -> Result<(), WorldError>) -> Result<(), WorldError> {
        self.world.copy(take)
    }

    fn restore(&self, next: &mut dyn FnMut() -> Result<Option<Record>, WorldError>) -> Result<(), WorldError> {
        self.world.restore(next)
    }

    fn set_limit(&self, key: &str, limit: u32) -> Result<(), WorldError> {
        self.world.set_limit(key, limit)
    }

    fn waits(&self, run: &RunId) -> Result<bool, WorldError> {
        self.read(|world| world.waits(run))
    }

    fn queue(&self, run: &RunId, most: usize) -> Result<Option<Queue>, WorldError> {
        self.read(|world| world.queue(run, most))
    }

    fn row(&self, run: &RunId) -> Result<Option<Row>, WorldError> {
        self.read(|world| world.row(run))
    }

    fn list(&self, query: &Query) -> Result<Page, WorldError> {
        self.read(|world| world.list(query))
    }

    fn run_counts(&self) -> Result<Vec<Count>, WorldError> {
        self.read(|world| world.run_counts())
    }

    fn put_program(&self, version: &Version, bytes: &[u8]) -> Result<(), WorldError> {
        self.world.put_program(version, bytes)
    }

    fn program(&self, version: &Version) -> Result<Option<Vec<u8>>, WorldError> {
        self.read(|world| world.program(version))
    }

    fn programs(&self) -> Result<Vec<Version>, WorldError> {
        self.read(|world| world.programs())
    }

    fn drop_program(&self, version: &Version) -> Result<bool, WorldError> {
        self.world.drop_program(version)
    }

    fn expired(&self, now: Millis, limit: usize) -> Result<Vec<RunId>, WorldError> {
        self.read(|world| world.expired(now, limit))
    }

    fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), WorldError> {
        self.world.put_meta(key, value)
    }

    fn remove_meta(&self, key: &str) -> Result<(), WorldError> {
        self.world.remove_meta(key)
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, WorldError> {
        self.read(|world| world.meta(key))
    }

    fn watch(&self, watcher: Watcher) {
        self.world.watch(watcher);
    }

    fn size(&self) -> Result<Option<u64>, WorldError> {
        self.read(|world| world.size())
    }

    fn verify(&self, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
        self.world.verify(report)
    }
}
