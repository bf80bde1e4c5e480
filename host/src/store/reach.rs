//! Whether the world answers, as far as its host has asked it.

use std::time::{Duration, Instant};

use durhai_world::WorldError;
use parking_lot::Mutex;

use crate::observe::metrics::{Counter, Histogram};

/// A world that does not answer for so long does not answer at this moment. Shorter ones nobody has to hear of.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);

/// What came of the calls of one host.
pub(crate) struct Reach {
    state: Mutex<State>,
    pub reads: Histogram,
    /// Reads that got no answer, of several attempts.
    pub failed: Counter,
}

#[derive(Default)]
struct State {
    /// Calls that wait for their answer.
    under_way: u64,
    /// Since when an answer is wanted and none has come, to any call.
    unanswered: Option<Instant>,
}

impl Default for Reach {
    fn default() -> Self {
        Reach { state: Mutex::default(), reads: Histogram::quick(), failed: Counter::default() }
    }
}

impl Reach {
    /// A call of the world, with what came of it.
    pub fn call<T>(&self, call: impl FnOnce() -> Result<T, WorldError>) -> Result<T, WorldError> {
        {
            let mut state = self.state.lock();
            state.under_way += 1;
            state.unanswered.get_or_insert_with(Instant::now);
        }
        let answer = call();
        let mut state = self.state.lock();
        state.under_way -= 1;
        if !matches!(answer, Err(WorldError::Unavailable(_))) {
            // The others that wait do so without an answer from now on.
            state.unanswered = (state.under_way > 0).then(Instant::now);
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
        self.state.lock().unanswered.map_or(Duration::ZERO, |since| since.elapsed())
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

    /// As if what was asked first was asked so much earlier.
    fn ago(reach: &Reach, time: Duration) {
        let mut state = reach.state.lock();
        state.unanswered = state.unanswered.map(|since| since - time);
    }

    #[test]
    fn silence_lasts_from_the_first_call_without_an_answer_to_the_next_answer() {
        let reach = Reach::default();
        assert_eq!(reach.silence(), Duration::ZERO, "nobody asked");
        reach.call(|| Err::<(), _>(away())).unwrap_err();
        ago(&reach, 5 * SILENCE);
        reach.call(|| Err::<(), _>(away())).unwrap_err();
        assert!(reach.is_away().is_some_and(|silence| silence >= 5 * SILENCE));
        // An error that says something is an answer.
        reach.call(|| Err::<(), _>(WorldError::Invalid("a cursor".into()))).unwrap_err();
        assert_eq!((reach.silence(), reach.is_away()), (Duration::ZERO, None));
    }

    #[test]
    fn a_call_that_waits_while_others_were_answered_is_silence_from_the_last_answer_on() {
        let reach = Reach::default();
        reach
            .call(|| {
                ago(&reach, 5 * SILENCE);
                assert!(reach.is_away().is_some());
                reach.call(|| Ok(()))?;
                assert_eq!(reach.is_away(), None);
                ago(&reach, 3 * SILENCE);
                assert!(reach.is_away().is_some_and(|silence| silence < 5 * SILENCE));
                Ok(())
            })
            .unwrap();
        assert_eq!(reach.silence(), Duration::ZERO);
    }
}
