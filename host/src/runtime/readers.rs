//! Reads that nobody's thread may wait for: made on threads of tokio that may, some at a time, in the order they were asked for.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

/// Reads at a time. A world behind a network has fewer connections; while all of them are busy the others wait here.
const AT_ONCE: usize = 16;

type Read = Box<dyn FnOnce() + Send>;

/// The reads that wait.
#[derive(Clone, Default)]
pub(crate) struct Readers(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Read>,
    running: usize,
}

impl Readers {
    /// Has it done soon. It hears of no stop: what it reads must end by itself.
    pub fn ask(&self, tokio: &tokio::runtime::Handle, read: impl FnOnce() + Send + 'static) {
        let mut state = self.0.lock();
        state.waiting.push_back(Box::new(read));
        if state.running < AT_ONCE {
            state.running += 1;
            let readers = self.clone();
            tokio.spawn_blocking(move || readers.work());
        }
    }

    fn work(&self) {
        loop {
            let mut state = self.0.lock();
            let Some(read) = state.waiting.pop_front() else {
                // While it is locked: whoever asks next sees that it needs another thread.
                state.running -= 1;
                return;
            };
            drop(state);
            // Who asks deals with a panic; here it must not cost the others a thread.
            let _ = catch_unwind(AssertUnwindSafe(read));
        }
    }
}
