//! The write of the turn after which a worker would rest: it makes it itself, where nobody else writes.
//!
//! A run that is alone in its host asks for a step, and nothing else can happen until that is durable. With the committer's thread
//! between, two threads would be woken one after the other: a tenth of the time of a step, and more on a fast disk.
//!
//! A worker that has more to do goes on with it instead, while the thread writes. Commands that come while a worker writes are
//! taken when it is done. [`CommitQueue`](crate::runtime::commit_queue::CommitQueue) lets it write only where that is quick.

use std::sync::atomic::Ordering;

use super::Worker;
use crate::runtime::committer;
use crate::runtime::job::Job;

impl Worker {
    /// Hands over what a turn brought.
    pub(super) fn hand_over(&mut self, job: Job) {
        if self.has_more_to_do() {
            return self.host.store.submit(job);
        }
        self.host.store.submit_untold(job);
        self.untold = true;
    }

    /// Before the worker rests, or goes on: the write of which nobody was told is made, or the committer's thread is told.
    pub(super) fn see_to_last_write(&mut self) {
        if !std::mem::take(&mut self.untold) {
            return;
        }
        if self.has_more_to_do() {
            return self.host.store.queue.announce();
        }
        committer::lead(&self.host);
    }

    fn has_more_to_do(&self) -> bool {
        self.draining || self.queued.load(Ordering::Relaxed) > 0 || self.timeout().is_zero()
    }
}
