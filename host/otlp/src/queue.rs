//! Spans that wait to be sent: as many as there is room for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::proto::Message;

/// Never waits: what does not fit is dropped and counted.
pub(crate) struct Queue {
    spans: Mutex<VecDeque<Message>>,
    most: usize,
    batch: usize,
    /// A batch is full.
    pub full: Notify,
    dropped: AtomicU64,
}

impl Queue {
    pub fn new(most: usize, batch: usize) -> Self {
        Queue { spans: Mutex::default(), most, batch, full: Notify::new(), dropped: AtomicU64::new(0) }
    }

    pub fn push(&self, span: Message) {
        let mut spans = self.spans.lock();
        if spans.len() >= self.most {
            drop(spans);
            self.drop_some(1);
            return;
        }
        spans.push_back(span);
        if spans.len() == self.batch {
            self.full.notify_one();
        }
    }

    /// The oldest, as many as go into one request.
    pub fn take(&self) -> Vec<Message> {
        let mut spans = self.spans.lock();
        let count = spans.len().min(self.batch);
        spans.drain(..count).collect()
    }

    pub fn has_batch(&self) -> bool {
        self.len() >= self.batch
    }

    pub fn len(&self) -> usize {
        self.spans.lock().len()
    }

    /// Counts spans that were lost; the first are said in the log.
    pub fn drop_some(&self, count: usize) {
        if count > 0 && self.dropped.fetch_add(count as u64, Ordering::Relaxed) == 0 {
            tracing::warn!("spans are dropped: the collector does not take as many as there are, or is away");
        }
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
