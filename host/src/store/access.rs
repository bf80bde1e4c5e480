//! The world as the rest of the host uses it: reads on threads that may wait, writes through the committer.

use std::sync::{Arc, mpsc};

use durhai_core::{Event, RunId};
use durhai_world::{Holder, Refused, Row, World, WorldError, Write, Written};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::error::HostError;
use crate::observe::metrics::Gauge;
use crate::runtime::job::{Job, Queued, Then};
use crate::store::rows;

pub(crate) struct Store {
    pub world: Arc<dyn World>,
    /// Who this host is to the world.
    pub holder: Holder,
    pub clock: Arc<dyn Clock>,
    tokio: tokio::runtime::Handle,
    jobs: Mutex<Option<mpsc::Sender<Queued>>>,
    /// Writes that wait for the committer.
    waiting: Gauge,
}

impl Store {
    /// With where the committer hears of jobs.
    pub fn new(
        world: Arc<dyn World>,
        holder: Holder,
        clock: Arc<dyn Clock>,
        tokio: tokio::runtime::Handle,
        waiting: Gauge,
    ) -> (Self, mpsc::Receiver<Queued>) {
        let (jobs, receiver) = mpsc::channel();
        (Store { world, holder, clock, tokio, jobs: Mutex::new(Some(jobs)), waiting }, receiver)
    }

    /// Hands a job to the committer. Dropped if the host has stopped.
    pub fn submit(&self, job: Job) {
        if let Some(jobs) = self.jobs.lock().as_ref() {
            self.waiting.add(1);
            if jobs.send(Queued::new(job)).is_err() {
                self.waiting.add(-1);
            }
        }
    }

    pub fn write(&self, write: Write, then: Then) {
        self.submit(Job { write, then });
    }

    /// The committer ends when it has written what it was given so far.
    pub fn close(&self) {
        self.jobs.lock().take();
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
