//! The world as the rest of the host uses it: reads on threads that may wait, writes through the committer.

use std::sync::Arc;

use durhai_core::{Event, RunId};
use durhai_world::{Holder, Refused, Row, World, WorldError, Write, Written};
use tokio::sync::oneshot;

use crate::clock::{Clock, WorldClock};
use crate::error::HostError;
use crate::observe::metrics::Gauge;
use crate::runtime::commit_queue::CommitQueue;
use crate::runtime::job::{Job, Then};
use crate::runtime::lease::Lease;
use crate::store::reach::Reach;
use crate::store::rows;

pub(crate) struct Store {
    pub world: Arc<dyn World>,
    /// The world waits for nothing but this machine, so that workers may ask it themselves.
    pub is_local: bool,
    pub lease: Lease,
    /// Whether the world answers.
    pub reach: Arc<Reach>,
    pub clock: Arc<dyn Clock>,
    /// The same, if it goes by the world's.
    pub followed: Option<Arc<WorldClock>>,
    tokio: tokio::runtime::Handle,
    /// Writes that wait for the committer, and how many.
    pub queue: CommitQueue,
    waiting: Gauge,
}

impl Store {
    pub fn new(
        (world, reach): (Arc<dyn World>, Arc<Reach>),
        holder: Holder,
        (clock, followed): (Arc<dyn Clock>, Option<Arc<WorldClock>>),
        tokio: tokio::runtime::Handle,
        waiting: Gauge,
    ) -> Self {
        let is_local = world.is_local();
        let queue = CommitQueue::new(is_local);
        let lease = Lease::new(holder, !is_local);
        Store { world, is_local, lease, reach, clock, followed, tokio, queue, waiting }
    }

    /// Hands a job to the committer. Dropped if the host has stopped.
    pub fn submit(&self, job: Job) {
        self.count(|| self.queue.push(job));
    }

    /// The same, for a worker that sees to the queue next: see [`CommitQueue::push_untold`].
    pub fn submit_untold(&self, job: Job) {
        self.count(|| self.queue.push_untold(job));
    }

    /// Before it is in the queue: from then on the committer counts it off.
    fn count(&self, push: impl FnOnce() -> bool) {
        self.waiting.add(1);
        if !push() {
            self.waiting.add(-1);
        }
    }

    pub fn write(&self, write: Write, then: Then) {
        self.submit(Job { write, then });
    }

    /// The committer ends when it has written what it was given so far.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Has something written, together with what others write, and waits until it is durable.
    pub async fn ask(&self, write: Write) -> Result<Result<Written, Refused>, HostError> {
        let (reply, answer) = oneshot::channel();
        self.write(write, Then::Reply(reply));
        match answer.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(HostError::world(&error)),
            Err(_) => Err(HostError::Closed),
        }
    }

    /// Does something with the world on a thread that may wait.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn World) -> Result<T, WorldError> + Send + 'static,
    ) -> Result<T, HostError> {
        let world = self.world.clone();
        match self.tokio.spawn_blocking(move || work(&*world)).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(HostError::Closed),
        }
    }

    /// The world for a thread that may not wait for a network.
    pub fn local(&self) -> Option<&dyn World> {
        self.is_local.then_some(&*self.world)
    }

    pub async fn row(&self, run: &RunId) -> Result<Option<Row>, HostError> {
        let run = run.clone();
        self.blocking(move |world| world.row(&run)).await
    }

    /// The row of a run that has to be there.
    pub async fn known(&self, run: &RunId) -> Result<Row, HostError> {
        self.row(run).await?.ok_or_else(|| HostError::no_run(run))
    }

    pub async fn last_event(&self, run: &RunId) -> Result<Option<Event>, HostError> {
        let run = run.clone();
        self.blocking(move |world| rows::last_event(world, &run)).await
    }
}
