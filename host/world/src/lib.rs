//! Where runs live.
//!
//! [`World`] is all a durhai host needs from outside: runs and their logs, inboxes, streams, and the texts of programs.
//! A world stores bytes and moves them atomically; it never interprets an event. There is one write path,
//! [`World::write`]: the host that holds a run commits to it under a fence, all others only create runs and
//! appends to inboxes.
//!
//! Calls may block on a disk or a network: make them from threads that may wait, never from async code.

#[cfg(feature = "conformance")]
pub mod conformance;
mod copy;
mod forward;
mod memory;
mod types;

pub use copy::{Admission, Record, Snapshot};
pub use forward::Forward;
pub use memory::MemoryWorld;
pub use types::*;

use std::sync::Arc;

use durhai_core::{Millis, RunId, Version};

/// Storage for runs. See the crate's documentation for who calls what, and the
/// suite `conformance` (the feature of that name) for what each call promises.
pub trait World: Send + Sync + 'static {
    /// Performs the writes in order and makes them durable together: when this returns `Ok`, every accepted write
    /// survives a power cut. Each write is accepted or refused by itself; one refusal does not stop the others.
    ///
    /// `Err` means the world itself failed and nothing is known about the batch.
    fn write(&self, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError>;

    /// Whether [`write`](World::write) waits for nothing but this machine: its memory, its disks. Then a host writes on a thread that
    /// drives runs where there is one write only, and spares two hand-overs between threads. A world behind a network answers `false`:
    /// that may take long, and the other runs of the thread would wait for it. The answer is always the same.
    fn is_local(&self) -> bool;

    /// Takes up to `limit` runs that are due and that no live host holds: those whose `wake_at` is at or before `now`,
    /// and those with something in their inbox (due at 0; a parked one waits for an operator instead, and one that has not
    /// begun is due only by an [urgent](InboxMessage::urgent) message). Earliest first, then in the order they were created. The claims are durable for as long as the holder's lease; a run that was held
    /// by a host that died has its `tries` raised by one. A holder that is [dead](Renewed::alive) gets nothing. A run that arrives at its [`Concurrency`] limit with that and has to wait is
    /// passed over, unless a message for it is urgent; whether the script may begin says [`Claim::admitted`].
    fn claim(&self, holder: &Holder, now: Millis, limit: usize) -> Result<Vec<Claim>, WorldError>;

    /// Takes one run, whether due or not, if no live host holds it and it is not terminal. `None`: held elsewhere,
    /// terminal or unknown, or the holder is dead. Whether it may begin says [`Claim::admitted`]; one that is due arrives at its limit with this.
    fn claim_run(&self, run: &RunId, holder: &Holder, now: Millis) -> Result<Option<Claim>, WorldError>;

    /// Says that this holder lives, which extends the lease of everything it has, and hears whether the others still take it for
    /// alive. A holder that has not said so for longer than its lease, by this or by a claim, is dead as soon as another one looks: all of its
    /// runs are free at once, with one more try each, and it is dead for good. Who hears that begins anew with another name.
    ///
    /// `now` is the caller's clock. A world that hosts of several machines share measures leases by other means: there `now` says only
    /// what is due.
    fn renew(&self, holder: &Holder, now: Millis) -> Result<Renewed, WorldError>;

    /// Whether this holder does what one host has to do for all, and `name` stands for (look at schedules, say): the first one that asks,
    /// until it is dead. A dead holder does nothing.
    fn duty(&self, name: &str, holder: &Holder) -> Result<bool, WorldError>;

    /// The same for several, whose names begin with `prefix`: which of them this holder has. All others that begin so it gives up, for another one
    /// that asks.
    fn duties(&self, prefix: &str, names: &[String], holder: &Holder) -> Result<Vec<bool>, WorldError>;

    /// A limit that all holders share, at most `most` places: this holder could use `wanted` now, those that it has among them. What it
    /// has is not taken from it, but by its death; what it wants less than before is free. Among those that have none the first that waits comes
    /// first. Worlds with one host give it what there is.
    fn places(&self, _limit: &str, _holder: &Holder, most: u32, wanted: u32) -> Result<Places, WorldError> {
        let held = wanted.min(most);
        Ok(Places { held, share: held })
    }

    /// The holder stops, and leaves its [duties](World::duty) to others. What it holds all the same is free when its lease is over.
    /// Where this does nothing, so are the duties.
    fn leave(&self, _holder: &Holder) -> Result<(), WorldError> {
        Ok(())
    }

    /// The same world for one more host of this process, with connections of its own: what [closes](World::close) it disturbs no other.
    /// `None`: hosts of one process share this value.
    fn for_host(&self) -> Option<Arc<dyn World>> {
        None
    }

    /// The hosts of this world, the oldest first: those that live, and with `all` those that ended and are remembered. None where it
    /// cannot tell, as one that only one process can open need not.
    fn hosts(&self, _all: bool) -> Result<Vec<HostSeen>, WorldError> {
        Ok(Vec::new())
    }

    /// How many hosts of this world live; none where it cannot tell. Asked for again and again: it takes no longer where they hold many
    /// runs.
    fn living(&self) -> Result<u64, WorldError> {
        Ok(self.hosts(false)?.len() as u64)
    }

    /// Which host holds each of these runs; `None` where none does, or the world cannot tell.
    fn holders(&self, runs: &[RunId]) -> Result<Vec<Option<HostId>>, WorldError> {
        Ok(vec![None; runs.len()])
    }

    /// A number that is another one after other processes wrote something. It may change without that, too. `None` where no other
    /// process writes, or the world cannot tell. For those who look on at all runs, again and again: it takes no longer where there are
    /// many.
    fn written(&self) -> Result<Option<u64>, WorldError> {
        Ok(None)
    }

    /// How its connection for writes is, where it has one.
    fn link(&self) -> Option<Link> {
        None
    }

    /// The host that uses this world stops: what waits for a server that is away waits no longer, and answers with
    /// [`WorldError::Unavailable`], as every later call may, for good. For worlds of one process this does nothing.
    fn close(&self) {}

    /// The earliest moment at which an unheld run becomes due, if there is any, as [`claim`](World::claim) has it.
    /// Runs whose holder's lease ran out are not counted: where that can happen, look now and then.
    fn next_wake(&self) -> Result<Option<Millis>, WorldError>;

    /// The chunks of a run's log that hold events from `from` on, in order, as many as fit into `limit_bytes` (at least
    /// one chunk, if there is one). The first may begin before `from`. An unknown run has an empty log.
    fn log(&self, run: &RunId, from: u64, limit_bytes: usize) -> Result<Vec<Chunk>, WorldError>;

    /// The last chunk of a run's log.
    fn log_tail(&self, run: &RunId) -> Result<Option<Chunk>, WorldError>;

    /// Messages in a run's inbox with an index greater than `after`, in order, at most `limit`.
    fn inbox(&self, run: &RunId, after: u64, limit: usize) -> Result<Vec<InboxMessage>, WorldError>;

    /// Which of these runs have messages in their inboxes with an index greater than the one given with each, in any order. For
    /// hosts that look after many runs at once, where the world cannot [tell](World::watch) them.
    fn unread(&self, runs: &[(RunId, u64)]) -> Result<Vec<RunId>, WorldError> {
        let mut found = Vec::new();
        for (run, after) in runs {
            if !self.inbox(run, *after, 1)?.is_empty() {
                found.push(run.clone());
            }
        }
        Ok(found)
    }

    /// Entries of one of a run's streams from index `from` (the first is 0), at most `limit`.
    fn stream(&self, run: &RunId, stream: &str, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, WorldError>;

    /// The names of a run's streams, each with the number of its entries, by name.
    fn streams(&self, run: &RunId) -> Result<Vec<(String, u64)>, WorldError>;

    /// The named values of a run ([`Commit::values`]), by name.
    fn values(&self, run: &RunId) -> Result<Vec<(String, Vec<u8>)>, WorldError>;

    /// Takes a token for a run that is held under this fence, so that the commit that opens it cannot come too late:
    /// `None`, it is the run's; otherwise the other run that has it, open or reserved. A run that has it already gets it
    /// again. A reservation need not survive a crash; it lasts until [`Open`](HookChange::Open), and at most as long as the
    /// claim. Under a fence that is lost nothing is reserved, and the answer is `None`: the commit will be refused.
    fn reserve(&self, token: &str, run: &RunId, fence: u64) -> Result<Option<RunId>, WorldError>;

    /// The open hook of a token.
    fn hook(&self, token: &str) -> Result<Option<Hook>, WorldError>;

    /// How these runs stand at one and the same moment; `None` for one that is unknown.
    fn snapshot(&self, runs: &[RunId]) -> Result<Vec<Option<Snapshot>>, WorldError>;

    /// How far these runs are; `None` for one that is unknown. For those who follow runs of other hosts, again and again.
    fn standings(&self, runs: &[RunId]) -> Result<Vec<Option<Standing>>, WorldError> {
        let standing = |of: Snapshot| Standing { status: of.row.status, last_seq: of.last_seq, streams: of.streams };
        Ok(self.snapshot(runs)?.into_iter().map(|found| found.map(standing)).collect())
    }

    /// Gives out everything as it is at one moment, which lies before the end of the call, while others go on writing. A
    /// record that comes later counts more than an earlier one of the same thing; those of one run follow each other,
    /// except for hooks and for what changed meanwhile. An error of `take` ends it.
    ///
    /// [`WorldError::Unavailable`] if `take` cannot keep up with those who write.
    fn copy(&self, take: &mut dyn FnMut(Record) -> Result<(), WorldError>) -> Result<(), WorldError>;

    /// Puts what [`copy`](World::copy) gave out, of any world, into this one, which must be empty: the same runs, in the same
    /// order, no host holding any. All or nothing: after an error the world is of no use.
    fn restore(&self, next: &mut dyn FnMut() -> Result<Option<Record>, WorldError>) -> Result<(), WorldError>;

    /// Changes the limit of a [`Concurrency`] key, and admits those for which there is room now. Durable on return. A limit is
    /// there from the first run created with its key until none is left that has not ended; for a key without one this does
    /// nothing, it takes the limit of the next run.
    fn set_limit(&self, key: &str, limit: u32) -> Result<(), WorldError>;

    /// Whether a run [waits](Admission::Waiting) to be admitted: its script may not begin, and only an urgent message makes it due.
    fn waits(&self, run: &RunId) -> Result<bool, WorldError>;

    /// How a run stands in the queue of its [`Concurrency`], with at most `most` of those admitted. `None` for one without, one that has ended or is
    /// unknown.
    fn queue(&self, run: &RunId, most: usize) -> Result<Option<Queue>, WorldError>;

    /// The row of a run.
    fn row(&self, run: &RunId) -> Result<Option<Row>, WorldError>;

    /// Rows by index, newest first (the one created last, whatever the clocks said).
    fn list(&self, query: &Query) -> Result<Page, WorldError>;

    /// How many runs there are of each workflow, version and status: one count for each three of which there is a run, in
    /// that order. It takes no longer where there are many runs, and is right at some moment during the call.
    fn run_counts(&self) -> Result<Vec<Count>, WorldError>;

    /// Keeps the texts of a version. Durable on return; keeping the same version again changes nothing.
    fn put_program(&self, version: &Version, bytes: &[u8]) -> Result<(), WorldError>;

    /// The texts of a version.
    fn program(&self, version: &Version) -> Result<Option<Vec<u8>>, WorldError>;

    /// Every version that is kept, in any order.
    fn programs(&self) -> Result<Vec<Version>, WorldError>;

    /// Removes the texts of a version, unless the row of a run has it, ended or not. Whether they are gone, which those
    /// of an unknown version are. Durable on return; no run can be created in between, except by another host.
    fn drop_program(&self, version: &Version) -> Result<bool, WorldError>;

    /// Terminal runs whose `purge_at` is at or before `now`, earliest first, at most `limit`.
    fn expired(&self, now: Millis, limit: usize) -> Result<Vec<RunId>, WorldError>;

    /// Small named values for the host itself (pointers to the version that serves, say). Durable on return.
    fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), WorldError>;

    /// Removes a named value. Durable on return.
    fn remove_meta(&self, key: &str) -> Result<(), WorldError>;

    /// A named value.
    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, WorldError>;

    /// Named values, in the order of their keys. For hosts that look again and again whether another one changed any of them.
    fn metas(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, WorldError> {
        keys.iter().map(|key| self.meta(key)).collect()
    }

    /// Writes a named value if what is there is still `before` (`None`: nothing). Whether it was; then it is durable on return. For hosts
    /// that decide the same thing at the same time. It is also `false` where the answer to a first attempt that wrote it was lost:
    /// read it again then.
    fn swap_meta(&self, key: &str, before: Option<&[u8]>, after: &[u8]) -> Result<bool, WorldError>;

    /// Calls `watcher` after each write that others may wait for: a message for a run, or a run that became due. It may
    /// come late, twice or (from another host) not at all: a hint to look, never the only way to learn.
    fn watch(&self, watcher: Watcher);

    /// Bytes this world occupies, where it can tell.
    fn size(&self) -> Result<WorldSize, WorldError>;

    /// Looks at everything that is stored and reports what is damaged, one line each. Changes nothing.
    fn verify(&self, report: &mut dyn FnMut(String)) -> Result<(), WorldError>;
}
