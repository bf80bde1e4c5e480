//! Writes that wait, in the order in which they are made, and whose turn it is to make them.
//!
//! Who writes has the *lead*: takes a batch from the front, and gives the lead back when all that follows from the batch is
//! done. There is one lead. So a run's writes are made in the order in which its worker handed them in, and what follows from
//! one batch comes before what follows from the next, whoever makes them.
//!
//! The committer's thread takes the lead whenever writes wait. A worker takes it where nobody else writes: then no thread has to
//! be woken for the write, and none to go on after it. It makes one batch of one write. What was handed in meanwhile is the
//! thread's, so a worker that others keep busy does not go on writing.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::runtime::job::{Job, Queued};

/// Writes of one batch, at least and at most. A small batch is on the disk while workers prepare the next; a slow disk
/// wants large ones, so that few flushes serve all.
const BATCH: std::ops::RangeInclusive<usize> = 64..=1024;

/// A batch that takes longer may be followed by one of twice its size.
const SLOW: Duration = Duration::from_millis(12);

/// What workers make takes no longer, as far as the batch before can tell. Two hand-overs between threads take a fiftieth of
/// that, and a message for another run of the worker waits so long at most.
const QUICK: Duration = Duration::from_millis(1);

pub(crate) struct CommitQueue {
    state: Mutex<State>,
    /// Wakes the committer's thread.
    wake: Condvar,
    workers_lead: bool,
}

struct State {
    jobs: VecDeque<Queued>,
    /// A batch is being made.
    led: bool,
    /// Nothing is taken in any more.
    closed: bool,
    /// Writes of the next batch, at most.
    most: usize,
    /// The last batch was one write, made quickly, and none was handed in meanwhile.
    calm: bool,
}

/// Writes to be made now, and the lead until this is dropped.
pub(crate) struct Batch<'a> {
    pub jobs: Vec<Queued>,
    /// How long the world took, once that is known.
    pub took: Option<Duration>,
    queue: &'a CommitQueue,
    size: usize,
}

impl CommitQueue {
    /// `workers_lead`: the world is one that workers may wait for.
    pub fn new(workers_lead: bool) -> Self {
        let state = State { jobs: VecDeque::new(), led: false, closed: false, most: *BATCH.start(), calm: false };
        CommitQueue { state: Mutex::new(state), wake: Condvar::new(), workers_lead }
    }

    /// Hands in a job for the next that leads. `false`: it was dropped, the queue is closed.
    pub fn push(&self, job: Job) -> bool {
        let mut state = self.state.lock();
        let taken = state.push(job);
        self.tell(state);
        taken
    }

    /// The same, for a worker that calls [`lead`](Self::lead) or [`announce`](Self::announce) next: the thread is not woken yet.
    pub fn push_untold(&self, job: Job) -> bool {
        self.state.lock().push(job)
    }

    /// Wakes the committer's thread for what waits.
    pub fn announce(&self) {
        self.tell(self.state.lock());
    }

    /// What a worker is to write that has nothing else to do. `None`: nothing, or it is left to the thread.
    pub fn lead(&self) -> Option<Batch<'_>> {
        let mut state = self.state.lock();
        if self.workers_lead && state.calm && !state.led && state.jobs.len() == 1 {
            return Some(self.begin(&mut state));
        }
        self.tell(state);
        None
    }

    /// What the committer's thread is to write, as soon as there is something; `None`: the queue is closed, and empty.
    pub fn next_batch(&self) -> Option<Batch<'_>> {
        let mut state = self.state.lock();
        while state.led || state.jobs.is_empty() {
            if state.closed && !state.led {
                return None;
            }
            self.wake.wait(&mut state);
        }
        Some(self.begin(&mut state))
    }

    /// Nothing is taken in any more. What was handed in so far is still written.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        self.tell(state);
    }

    fn begin(&self, state: &mut State) -> Batch<'_> {
        state.led = true;
        let size = state.jobs.len().min(state.most);
        Batch { jobs: state.jobs.drain(..size).collect(), took: None, queue: self, size }
    }

    /// Wakes the thread if it has something to do. While there is a lead it has not, and is told when that ends.
    fn tell(&self, state: MutexGuard<'_, State>) {
        let wake = !state.led && (state.closed || !state.jobs.is_empty());
        drop(state);
        if wake {
            self.wake.notify_one();
        }
    }
}

impl State {
    fn push(&mut self, job: Job) -> bool {
        if !self.closed {
            self.jobs.push_back(Queued::new(job));
        }
        !self.closed
    }
}

impl Drop for Batch<'_> {
    /// Also where a panic unwinds: the queue is never without one who looks at it.
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        state.led = false;
        if let Some(took) = self.took {
            state.most = match took > SLOW {
                true => (state.most * 2).min(*BATCH.end()),
                false => (state.most / 2).max(*BATCH.start()),
            };
        }
        state.calm = self.size == 1 && state.jobs.is_empty() && self.took.is_some_and(|took| took < QUICK);
        self.queue.tell(state);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, Ordering};

    use durhai_core::RunId;
    use durhai_world::Write;
    use tokio::sync::oneshot;

    use super::*;
    use crate::runtime::job::Then;

    /// The fence is its number.
    fn job(fence: u64) -> Job {
        let run = RunId::new("r").expect("an id");
        Job { write: Write::Release { run, fence }, then: Then::Reply(oneshot::channel().0) }
    }

    fn numbers(batch: &Batch<'_>) -> Vec<u64> {
        let number = |queued: &Queued| match queued.job.write {
            Write::Release { fence, .. } => fence,
            _ => panic!("another write"),
        };
        batch.jobs.iter().map(number).collect()
    }

    fn push(queue: &CommitQueue, count: u64) {
        (1..=count).for_each(|number| assert!(queue.push(job(number))));
    }

    /// A batch made by the thread, of all that waits.
    fn write(queue: &CommitQueue, took: Duration) {
        queue.next_batch().expect("a batch").took = Some(took);
    }

    #[test]
    fn a_worker_leads_where_nobody_else_writes() {
        const FAST: Duration = Duration::from_micros(100);
        // Whether workers lead here; the batch before: its writes, those handed in meanwhile, and its time; what waits now.
        let cases = [
            ("alone", true, (1, 0, FAST), 1, true),
            ("nothing waits", true, (1, 0, FAST), 0, false),
            ("others wait", true, (1, 0, FAST), 2, false),
            ("others wrote with it", true, (2, 0, FAST), 1, false),
            ("others came meanwhile", true, (1, 1, FAST), 0, false),
            ("a slow disk", true, (1, 0, QUICK), 1, false),
            ("a world far away", false, (1, 0, FAST), 1, false),
        ];
        for (case, workers_lead, (before, meanwhile, took), waiting, leads) in cases {
            let queue = CommitQueue::new(workers_lead);
            assert!(queue.push_untold(job(1)) && queue.lead().is_none(), "{case}: of no batch before nothing is known");
            push(&queue, before - 1);
            let mut batch = queue.next_batch().expect("a batch");
            push(&queue, meanwhile);
            assert!(queue.lead().is_none(), "{case}: there is one lead");
            batch.took = Some(took);
            drop(batch);
            push(&queue, waiting);
            assert_eq!(queue.lead().is_some(), leads, "{case}");
        }
    }

    #[test]
    fn after_one_batch_of_a_worker_the_thread_goes_on() {
        let queue = CommitQueue::new(true);
        push(&queue, 1);
        write(&queue, Duration::ZERO);
        push(&queue, 1);
        let mut led = queue.lead().expect("it is calm");
        assert!(queue.push_untold(job(2)) && queue.lead().is_none(), "there is one lead");
        let next = std::thread::scope(|scope| {
            let thread = scope.spawn(|| queue.next_batch().map(|batch| numbers(&batch)));
            (3..=4).for_each(|number| assert!(queue.push(job(number))));
            led.took = Some(Duration::ZERO);
            drop(led);
            thread.join().expect("it ends")
        });
        assert_eq!(next, Some(vec![2, 3, 4]));
        assert!(queue.push_untold(job(5)) && queue.lead().is_none(), "there were several");
    }

    #[test]
    fn a_slow_disk_gets_large_batches() {
        let queue = CommitQueue::new(true);
        push(&queue, 1_000);
        let mut sizes = Vec::new();
        for took in [1, 13, 13, 1, 1, 1] {
            let mut batch = queue.next_batch().expect("a batch");
            sizes.push(batch.jobs.len());
            batch.took = Some(Duration::from_millis(took));
        }
        assert_eq!(sizes, [64, 64, 128, 256, 128, 64]);
    }

    #[test]
    fn what_was_handed_in_before_the_end_is_written() {
        let queue = CommitQueue::new(true);
        push(&queue, 2);
        assert!(queue.push_untold(job(3)));
        queue.close();
        assert!(!queue.push(job(4)));
        assert_eq!(queue.next_batch().map(|batch| numbers(&batch)), Some(vec![1, 2, 3]));
        assert!(queue.next_batch().is_none());
    }

    #[test]
    fn the_thread_ends_after_the_worker_that_writes() {
        let queue = CommitQueue::new(true);
        push(&queue, 1);
        write(&queue, Duration::ZERO);
        push(&queue, 1);
        let led = queue.lead().expect("it is calm");
        queue.close();
        let written = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                assert!(queue.next_batch().is_none());
                assert!(written.load(Ordering::SeqCst), "it did not wait");
            });
            // Until it waits. Woken for nothing, it waits again.
            while !queue.wake.notify_one() && !thread.is_finished() {
                std::thread::yield_now();
            }
            written.store(true, Ordering::SeqCst);
            drop(led);
        });
    }

    #[test]
    fn a_panic_gives_the_lead_back() {
        let queue = CommitQueue::new(true);
        push(&queue, 1);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let _batch = queue.next_batch();
            panic!("a test");
        }));
        assert!(panic.is_err());
        push(&queue, 1);
        assert!(queue.lead().is_none(), "it is not known how long the last one would have taken");
        assert!(queue.next_batch().is_some());
    }
}
