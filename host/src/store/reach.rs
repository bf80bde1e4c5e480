//! Whether the world answers, as far as its host has asked it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use durhai_world::WorldError;

use crate::observe::metrics::{Counter, Histogram};

/// A world that does not answer for so long does not answer at this moment. Shorter ones nobody has to hear of.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);

/// What came of the calls of one host.
pub(crate) struct Reach {
    began: Instant,
    /// Milliseconds since then, and one: the beginning of the first call since the last answer. 0: there is none.
    unanswered: AtomicU64,
    pub reads: Histogram,
    /// Reads that got no answer, of several attempts.
    pub failed: Counter,
}

impl Default for Reach {
    fn default() -> Self {
        Reach {
            began: Instant::now(),
            unanswered: AtomicU64::new(0),
            reads: Histogram::quick(),
            failed: Counter::default(),
        }
    }
}

impl Reach {
    /// A call of the world, with what came of it.
    pub fn call<T>(&self, call: impl FnOnce() -> Result<T, WorldError>) -> Result<T, WorldError> {
        let now = self.began.elapsed().as_millis() as u64 + 1;
        // What waits longer counts.
        let _ = self.unanswered.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        let answer = call();
        if !matches!(answer, Err(WorldError::Unavailable(_))) {
            self.unanswered.store(0, Ordering::Relaxed);
        }
        answer
    }

    /// A call that only reads.
    pub fn read<T>(&self, read: impl FnOnce() -> Result<T, WorldError>) -> Result<T, WorldError> {
        let began = Instant::now();
        let answer = self.call(read);
        self.reads.time(began.elapsed());
        if matches!(answer, Err(WorldError::Unavailable(_))) {
            self.failed.inc();
        }
        answer
    }

    /// For how long it has not answered, although it was asked.
    pub fn silence(&self) -> Duration {
        match self.unanswered.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.began.elapsed().saturating_sub(Duration::from_millis(since - 1)),
        }
    }

    /// The same where it is so long that somebody should hear of it.
    pub fn is_away(&self) -> Option<Duration> {
        Some(self.silence()).filter(|silence| *silence >= SILENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> WorldError {
        WorldError::Unavailable("no".into())
    }

    #[test]
    fn silence_lasts_from_the_first_call_without_an_answer_to_the_next_answer() {
        let reach = Reach { began: Instant::now() - Duration::from_secs(60), ..Reach::default() };
        assert_eq!(reach.silence(), Duration::ZERO, "nobody asked");
        reach.call(|| Err::<(), _>(away())).unwrap_err();
        reach.unanswered.store(50_001, Ordering::Relaxed);
        reach.call(|| Err::<(), _>(away())).unwrap_err();
        assert!(reach.silence() >= Duration::from_secs(10) && reach.is_away().is_some());
        // An error that says something is an answer.
        reach.call(|| Err::<(), _>(WorldError::Invalid("a cursor".into()))).unwrap_err();
        assert_eq!((reach.silence(), reach.is_away()), (Duration::ZERO, None));
        let within = reach.call(|| Ok(reach.silence())).unwrap();
        assert!(within < SILENCE && reach.silence() == Duration::ZERO);
    }
}
