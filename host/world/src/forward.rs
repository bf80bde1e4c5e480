//! A world that stands before another one: every call goes there, and the type says only what it does differently.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use durhai_world::{Forward, MemoryWorld, World, WorldError};
//!
//! /// Counts the calls that only read.
//! struct Counted {
//!     world: Arc<dyn World>,
//!     reads: AtomicU64,
//! }
//!
//! impl Forward for Counted {
//!     fn inner(&self) -> Result<&dyn World, WorldError> {
//!         Ok(&*self.world)
//!     }
//!
//!     fn read<T>(
//!         &self,
//!         _call: &'static str,
//!         read: impl Fn(&dyn World) -> Result<T, WorldError>,
//!     ) -> Result<T, WorldError> {
//!         self.reads.fetch_add(1, Ordering::Relaxed);
//!         read(self.inner()?)
//!     }
//! }
//!
//! let counted = Counted { world: Arc::new(MemoryWorld::new()), reads: AtomicU64::new(0) };
//! assert_eq!(counted.programs()?, []);
//! assert_eq!(counted.reads.into_inner(), 1);
//! # Ok::<(), WorldError>(())
//! ```

use std::sync::Arc;

use durhai_core::{Millis, RunId, Version};

use crate::{
    Chunk, Claim, Count, Holder, Hook, HostId, HostSeen, InboxMessage, Link, Page, Places, Query, Queue, Record,
    Refused, Renewed, Row, Snapshot, Standing, Watcher, World, WorldError, WorldSize, Write, Written,
};

/// Makes a [`World`] of a type that has another one behind it. What has no default in `World` does not compile until it is
/// forwarded here, and a test looks after what has one. A call that a type wants to itself and that is not among these comes in
/// here, like [`write`](Forward::write).
pub trait Forward: Send + Sync + 'static {
    /// The world behind it, or why no call comes there any more.
    fn inner(&self) -> Result<&dyn World, WorldError>;

    /// Every call goes through this that may be made again where it failed: it changes nothing, or nothing more the
    /// second time.
    fn read<T>(
        &self,
        _call: &'static str,
        read: impl Fn(&dyn World) -> Result<T, WorldError>,
    ) -> Result<T, WorldError> {
        read(self.inner()?)
    }

    /// Every other call goes through this.
    fn once<T>(
        &self,
        _call: &'static str,
        once: impl FnOnce(&dyn World) -> Result<T, WorldError>,
    ) -> Result<T, WorldError> {
        once(self.inner()?)
    }

    fn write(&self, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError> {
        self.once("write", |world| world.write(batch))
    }

    /// Of one that cannot be asked it is not known.
    fn is_local(&self) -> bool {
        self.inner().is_ok_and(|world| world.is_local())
    }

    fn claim(&self, holder: &Holder, now: Millis, limit: usize) -> Result<Vec<Claim>, WorldError> {
        self.once("claim", |world| world.claim(holder, now, limit))
    }

    fn claim_run(&self, run: &RunId, holder: &Holder, now: Millis) -> Result<Option<Claim>, WorldError> {
        self.once("claim_run", |world| world.claim_run(run, holder, now))
    }

    fn renew(&self, holder: &Holder, now: Millis) -> Result<Renewed, WorldError> {
        self.read("renew", |world| world.renew(holder, now))
    }

    fn expired(&self, now: Millis, limit: usize) -> Result<Vec<RunId>, WorldError> {
        self.read("expired", |world| world.expired(now, limit))
    }

    fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), WorldError> {
        self.once("put_meta", |world| world.put_meta(key, value))
    }

    fn watch(&self, watcher: Watcher) {
        if let Ok(world) = self.inner() {
            world.watch(watcher);
        }
    }

    /// None of its own, which would go round what stands before the world.
    fn for_host(&self) -> Option<Arc<dyn World>> {
        None
    }

    fn close(&self) {
        if let Ok(world) = self.inner() {
            world.close();
        }
    }
}

impl<F: Forward> World for F {
    fn write(&self, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError> {
        Forward::write(self, batch)
    }

    fn is_local(&self) -> bool {
        Forward::is_local(self)
    }

    fn claim(&self, holder: &Holder, now: Millis, limit: usize) -> Result<Vec<Claim>, WorldError> {
        Forward::claim(self, holder, now, limit)
    }

    fn claim_run(&self, run: &RunId, holder: &Holder, now: Millis) -> Result<Option<Claim>, WorldError> {
        Forward::claim_run(self, run, holder, now)
    }

    fn renew(&self, holder: &Holder, now: Millis) -> Result<Renewed, WorldError> {
        Forward::renew(self, holder, now)
    }

    fn duty(&self, name: &str, holder: &Holder) -> Result<bool, WorldError> {
        self.read("duty", |world| world.duty(name, holder))
    }

    fn duties(&self, prefix: &str, names: &[String], holder: &Holder) -> Result<Vec<bool>, WorldError> {
        self.read("duties", |world| world.duties(prefix, names, holder))
    }

    fn places(&self, limit: &str, holder: &Holder, most: u32, wanted: u32) -> Result<Places, WorldError> {
        self.once("places", |world| world.places(limit, holder, most, wanted))
    }

    fn leave(&self, holder: &Holder) -> Result<(), WorldError> {
        self.once("leave", |world| world.leave(holder))
    }

    fn hosts(&self, all: bool) -> Result<Vec<HostSeen>, WorldError> {
        self.read("hosts", |world| world.hosts(all))
    }

    fn living(&self) -> Result<u64, WorldError> {
        self.read("living", |world| world.living())
    }

    fn holders(&self, runs: &[RunId]) -> Result<Vec<Option<HostId>>, WorldError> {
        self.read("holders", |world| world.holders(runs))
    }

    fn written(&self) -> Result<Option<u64>, WorldError> {
        self.read("written", |world| world.written())
    }

    fn link(&self) -> Option<Link> {
        self.inner().ok().and_then(|world| world.link())
    }

    fn for_host(&self) -> Option<Arc<dyn World>> {
        Forward::for_host(self)
    }

    fn close(&self) {
        Forward::close(self);
    }

    fn next_wake(&self) -> Result<Option<Millis>, WorldError> {
        self.read("next_wake", |world| world.next_wake())
    }

    fn log(&self, run: &RunId, from: u64, limit_bytes: usize) -> Result<Vec<Chunk>, WorldError> {
        self.read("log", |world| world.log(run, from, limit_bytes))
    }

    fn log_tail(&self, run: &RunId) -> Result<Option<Chunk>, WorldError> {
        self.read("log_tail", |world| world.log_tail(run))
    }

    fn inbox(&self, run: &RunId, after: u64, limit: usize) -> Result<Vec<InboxMessage>, WorldError> {
        self.read("inbox", |world| world.inbox(run, after, limit))
    }

    fn unread(&self, runs: &[(RunId, u64)]) -> Result<Vec<RunId>, WorldError> {
        self.read("unread", |world| world.unread(runs))
    }

    fn stream(&self, run: &RunId, stream: &str, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, WorldError> {
        self.read("stream", |world| world.stream(run, stream, from, limit))
    }

    fn streams(&self, run: &RunId) -> Result<Vec<(String, u64)>, WorldError> {
        self.read("streams", |world| world.streams(run))
    }

    fn values(&self, run: &RunId) -> Result<Vec<(String, Vec<u8>)>, WorldError> {
        self.read("values", |world| world.values(run))
    }

    fn reserve(&self, token: &str, run: &RunId, fence: u64) -> Result<Option<RunId>, WorldError> {
        self.read("reserve", |world| world.reserve(token, run, fence))
    }

    fn hook(&self, token: &str) -> Result<Option<Hook>, WorldError> {
        self.read("hook", |world| world.hook(token))
    }

    fn snapshot(&self, runs: &[RunId]) -> Result<Vec<Option<Snapshot>>, WorldError> {
        self.read("snapshot", |world| world.snapshot(runs))
    }

    fn standings(&self, runs: &[RunId]) -> Result<Vec<Option<Standing>>, WorldError> {
        self.read("standings", |world| world.standings(runs))
    }

    fn copy(&self, take: &mut dyn FnMut(Record) -> Result<(), WorldError>) -> Result<(), WorldError> {
        self.once("copy", |world| world.copy(take))
    }

    fn restore(&self, next: &mut dyn FnMut() -> Result<Option<Record>, WorldError>) -> Result<(), WorldError> {
        self.once("restore", |world| world.restore(next))
    }

    fn set_limit(&self, key: &str, limit: u32) -> Result<(), WorldError> {
        self.once("set_limit", |world| world.set_limit(key, limit))
    }

    fn waits(&self, run: &RunId) -> Result<bool, WorldError> {
        self.read("waits", |world| world.waits(run))
    }

    fn queue(&self, run: &RunId, most: usize) -> Result<Option<Queue>, WorldError> {
        self.read("queue", |world| world.queue(run, most))
    }

    fn row(&self, run: &RunId) -> Result<Option<Row>, WorldError> {
        self.read("row", |world| world.row(run))
    }

    fn list(&self, query: &Query) -> Result<Page, WorldError> {
        self.read("list", |world| world.list(query))
    }

    fn run_counts(&self) -> Result<Vec<Count>, WorldError> {
        self.read("run_counts", |world| world.run_counts())
    }

    fn put_program(&self, version: &Version, bytes: &[u8]) -> Result<(), WorldError> {
        self.once("put_program", |world| world.put_program(version, bytes))
    }

    fn program(&self, version: &Version) -> Result<Option<Vec<u8>>, WorldError> {
        self.read("program", |world| world.program(version))
    }

    fn programs(&self) -> Result<Vec<Version>, WorldError> {
        self.read("programs", |world| world.programs())
    }

    fn drop_program(&self, version: &Version) -> Result<bool, WorldError> {
        self.once("drop_program", |world| world.drop_program(version))
    }

    fn expired(&self, now: Millis, limit: usize) -> Result<Vec<RunId>, WorldError> {
        Forward::expired(self, now, limit)
    }

    fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), WorldError> {
        Forward::put_meta(self, key, value)
    }

    fn remove_meta(&self, key: &str) -> Result<(), WorldError> {
        self.once("remove_meta", |world| world.remove_meta(key))
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, WorldError> {
        self.read("meta", |world| world.meta(key))
    }

    fn metas(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, WorldError> {
        self.read("metas", |world| world.metas(keys))
    }

    fn swap_meta(&self, key: &str, before: Option<&[u8]>, after: &[u8]) -> Result<bool, WorldError> {
        self.once("swap_meta", |world| world.swap_meta(key, before, after))
    }

    fn watch(&self, watcher: Watcher) {
        Forward::watch(self, watcher);
    }

    fn size(&self) -> Result<WorldSize, WorldError> {
        self.read("size", |world| world.size())
    }

    fn verify(&self, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
        self.once("verify", |world| world.verify(report))
    }
}

#[cfg(test)]
mod tests {
    /// A default in `World` would be taken here in silence, instead of what the world behind does.
    #[test]
    fn every_call_is_forwarded() {
        let (lib, own) = (include_str!("lib.rs"), include_str!("forward.rs"));
        let body = lib.split("pub trait World").nth(1).expect("the trait");
        let calls: Vec<_> = body.lines().filter_map(|line| line.strip_prefix("    fn ")?.split('(').next()).collect();
        assert!(calls.len() > 30, "{calls:?}");
        // Hosts of one process share what stands before the world, too.
        for call in calls.into_iter().filter(|call| *call != "for_host") {
            assert!(own.contains(&format!("world.{call}(")), "forward.rs does not forward {call}");
        }
    }
}
