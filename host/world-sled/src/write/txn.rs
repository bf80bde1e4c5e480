//! One batch of writes in the making.

use std::collections::HashMap;
use std::sync::Arc;

use durhai_core::RunId;
use durhai_world::{Notice, Refused, WorldError};
use sled::IVec;

use crate::batch::Batch;
use crate::disk::Disk;
use crate::state::State;

/// What a write came to: accepted or refused, or the store itself failed.
pub type Outcome<T> = Result<Result<T, Refused>, WorldError>;

/// One batch in the making. The state runs ahead of the disk; if the disk then fails, nothing can be written any more.
pub struct WriteTxn<'a> {
    pub disk: &'a Disk,
    pub state: &'a mut State,
    pub batch: Batch,
    pub notices: Vec<Notice>,
    /// Runs that are in memory only for this batch.
    pub passing: Vec<RunId>,
    /// Keys of the concurrency limits that it touched.
    pub semaphores: Vec<String>,
    /// Hooks that it changes, each with the key of the run that has it then.
    pub hooks: HashMap<Arc<str>, Option<u64>>,
    /// A deleted run was too large to go at once.
    pub garbage: bool,
    /// Something of it is visible, and must become durable.
    pub applied: bool,
    pub chunks: ChunkBuffer,
}

impl<'a> WriteTxn<'a> {
    pub fn new(disk: &'a Disk, state: &'a mut State) -> Self {
        WriteTxn {
            disk,
            state,
            batch: Batch::default(),
            notices: Vec::new(),
            passing: Vec::new(),
            semaphores: Vec::new(),
            hooks: HashMap::new(),
            garbage: false,
            applied: false,
            chunks: ChunkBuffer::default(),
        }
    }

    /// Makes visible what came together so far.
    pub fn apply(&mut self) -> Result<(), WorldError> {
        if !self.batch.is_empty() {
            self.state.counts.flush(&mut self.batch);
            self.state.created.flush(&mut self.batch);
            self.disk.apply(std::mem::take(&mut self.batch))?;
            self.applied = true;
        }
        self.forget();
        Ok(())
    }

    /// The change was cut off by an error that the disk survives: what is stored counts, not what is in memory.
    pub fn abandon(&mut self) {
        for key in self.semaphores.drain(..) {
            self.state.semaphores.remove(&key);
        }
        self.state.admitted.forget();
        self.forget();
    }

    /// Leaves in memory only what is held, or costs much to read again.
    fn forget(&mut self) {
        for run in self.passing.drain(..) {
            self.state.let_go(&run);
        }
        for key in self.semaphores.drain(..) {
            if self.state.semaphores.get(&key).is_some_and(|semaphore| semaphore.waiting.is_empty()) {
                self.state.semaphores.remove(&key);
            }
        }
        self.hooks.clear();
    }

    /// Why this run takes no write under that fence.
    pub fn refuse<T>(&mut self, id: RunId) -> Outcome<T> {
        let Some(run) = self.state.run(self.disk, &id)? else { return Ok(Err(Refused::Unknown(id))) };
        if run.fence == 0 {
            self.passing.push(id.clone());
        }
        Ok(Err(match run.row.status {
            status if status.is_terminal() => Refused::Terminal(id, status),
            _ => Refused::Fenced(id),
        }))
    }
}

/// Puts values of chunks together, used again and again.
#[derive(Default)]
pub struct ChunkBuffer(Vec<u8>);

impl ChunkBuffer {
    pub fn value(&mut self, count: u32, bytes: &[u8]) -> IVec {
        self.0.clear();
        self.0.extend_from_slice(&count.to_be_bytes());
        self.0.extend_from_slice(bytes);
        let value = IVec::from(self.0.as_slice());
        if self.0.capacity() > 1 << 20 {
            self.0 = Vec::new();
        }
        value
    }
}
