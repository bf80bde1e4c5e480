//! How much a server works on at once.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::limits::Limits;

/// Places for requests and for streamed answers.
#[derive(Debug)]
pub(crate) struct Capacity {
    pub requests: Arc<Semaphore>,
    pub streams: Arc<Semaphore>,
}

impl Capacity {
    pub fn new(limits: &Limits) -> Capacity {
        let places = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Capacity { requests: places(limits.requests), streams: places(limits.streams) }
    }
}
