//! The ways to the workers.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use durhai_core::RunId;
use parking_lot::Mutex;

use crate::runtime::command::WorkerCommand;

pub(crate) struct Workers(Vec<Worker>);

struct Worker {
    commands: Mutex<mpsc::Sender<WorkerCommand>>,
    queued: Arc<AtomicUsize>,
}

impl Workers {
    /// So many, and where each of them hears its commands.
    pub fn new(count: usize) -> (Self, Vec<mpsc::Receiver<WorkerCommand>>) {
        let mut receivers = Vec::with_capacity(count);
        let workers = (0..count).map(|_| {
            let (commands, receiver) = mpsc::channel();
            receivers.push(receiver);
            Worker { commands: Mutex::new(commands), queued: Arc::default() }
        });
        (Workers(workers.collect()), receivers)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The worker a run lives on: always the same one.
    pub fn of(&self, run: &RunId) -> usize {
        let mut hasher = DefaultHasher::new();
        run.hash(&mut hasher);
        (hasher.finish() % self.0.len() as u64) as usize
    }

    /// Sends to a worker. A worker that is gone misses nothing: its runs are in the world.
    pub fn send(&self, worker: usize, command: WorkerCommand) {
        let worker = &self.0[worker];
        worker.queued.fetch_add(1, Ordering::Relaxed);
        let _ = worker.commands.lock().send(command);
    }

    pub fn send_all(&self, command: impl Fn() -> WorkerCommand) {
        (0..self.count()).for_each(|worker| self.send(worker, command()));
    }

    pub fn lengths(&self) -> Vec<usize> {
        self.0.iter().map(|worker| worker.queued.load(Ordering::Relaxed)).collect()
    }

    /// Commands that were sent to a worker and not yet looked at: a script that spins makes room for them.
    pub fn queued(&self, worker: usize) -> Arc<AtomicUsize> {
        self.0[worker].queued.clone()
    }
}
