//! Whether the world answers, as far as its host has asked it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use durhai_world::WorldError;
use parking_lot::Mutex;

use crate::observe::metrics::{Counter, Histogram};

/// A world that does not answer for so long does not answer at this moment. Shorter ones nobody has to hear of.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);

/// What came of the calls of one host.
///
/// Reads come often, and some take long: an answer to any of them says that the world answers. A write or a claim that waits holds up what is
/// behind it, whatever reads are told: only its own answer ends that.
pub(crate) struct Reach {
    state: Mutex<State>,
    pub reads: Histogram,
    /// Reads that got no answer, of several attempts.
    pub failed: Counter,
}

#[derive(Default)]
struct State {
    /// Reads that wait for their answer.
    reading: u64,
    /// Since when an answer is wanted and none has come: to a read, or to a call that failed.
    unanswered: Option<Instant>,
    /// Since when calls wait that change something, by number.
    changing: BTreeMap<u64, Instant>,
    last: u64,
}

impl State {
    fn answered<T>(&mut self, answer: &Result<T, WorldError>, began: Instant) {
        if matches!(answer, Err(WorldError::Unavailable(_))) {
            self.unanswered.get_or_insert(began);
        } else {
            // The other reads that wait do so without an answer from now on.
            self.unanswered = (self.reading > 0).then(Instant::now);
        }
    }
}

impl Default for Reach {
    fn default() -> Self {
        Reach { state: Mutex::default(), reads: Histogram::quick(), failed: Counter::default() }
    }
}

impl Reach {
    /// A call that changes something, with what came of it.
    pub fn change<T>(&self, call: impl FnOnce() -> Result<T, WorldError>) -> Result<T, WorldError> {
        let began = Instant::now();
        let number = {
            let mut state = self.state.lock();
            state.last += 1;
            let number = state.last;
            state.changing.insert(number, began);
            number
        };
        let answer = call();
        let mut state = self.state.lock();
        let began = state.changing.remove(&number).unwrap_or(began);
        state.answered(&answer, began);
        answer
    }

    /// A call that only reads.
    pub fn read<T>(&self, read: impl FnOnce() -> Result<T, WorldError>) -> Result<T, WorldError> {
        let began = Instant::now();
        {
            let mut state = self.state.lock();
            state.reading += 1;
            state.unanswered.get_or_insert(began);
        }
        let answer = read();
        self.reads.time(began.elapsed());
        if matches!(answer, Err(WorldError::Unavailable(_))) {
            self.failed.inc();
        }
        let mut state = self.state.lock();
        state.reading -= 1;
        state.answered(&answer, began);
        answer
    }

    /// For how long it has not answered, although it was asked.
    pub fn silence(&self) -> Duration {
        let state = self.state.lock();
        let oldest = state.changing.values().chain(&state.unanswered).min();
        oldest.map_or(Duration::ZERO, Instant::elapsed)
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
        state.changing.values_mut().for_each(|since| *since -= time);
    }

    #[test]
    fn silence_lasts_from_the_first_call_without_an_answer_to_the_next_answer() {
        let reach = Reach::default();
        assert_eq!(reach.silence(), Duration::ZERO, "nobody asked");
        reach.change(|| Err::<(), _>(away())).unwrap_err();
        ago(&reach, 5 * SILENCE);
        reach.change(|| Err::<(), _>(away())).unwrap_err();
        assert!(reach.is_away().is_some_and(|silence| silence >= 5 * SILENCE));
        // An error that says something is an answer.
        reach.read(|| Err::<(), _>(WorldError::Invalid("a cursor".into()))).unwrap_err();
        assert_eq!((reach.silence(), reach.is_away()), (Duration::ZERO, None));
    }

    #[test]
    fn a_read_that_waits_while_others_were_answered_is_silence_from_the_last_answer_on() {
        let reach = Reach::default();
        reach
            .read(|| {
                ago(&reach, 5 * SILENCE);
                assert!(reach.is_away().is_some());
                reach.read(|| Ok(()))?;
                assert_eq!(reach.is_away(), None);
                ago(&reach, 3 * SILENCE);
                assert!(reach.is_away().is_some_and(|silence| silence < 5 * SILENCE));
                Ok(())
            })
            .unwrap();
        assert_eq!(reach.silence(), Duration::ZERO);
    }

    #[test]
    fn a_write_that_waits_is_silence_whatever_reads_are_told() {
        let reach = Reach::default();
        reach
            .change(|| {
                ago(&reach, 5 * SILENCE);
                reach.read(|| Ok(()))?;
                reach.change(|| Ok(()))?;
                assert!(reach.is_away().is_some_and(|silence| silence >= 5 * SILENCE));
                Ok(())
            })
            .unwrap();
        assert_eq!(reach.silence(), Duration::ZERO);
    }
}
