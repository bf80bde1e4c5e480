//! What a run may take, and how near it has come to that with its log.

use crate::{Failure, FailureKind, Millis};

/// Limits that a run obeys; an error names the limit and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one payload as JSON: a step's input or output, a signal, the run's input or output.
    pub payload: usize,
    /// Levels of arrays and maps in one payload.
    pub depth: usize,
    pub log_events: u64,
    pub log_bytes: u64,
    /// Lines that the script may write to the run's log.
    pub log_lines: u64,
    /// Bytes of these lines and of all that it emits.
    pub stream_bytes: u64,
    pub open_tasks: usize,
    /// Levels of runs that start each other.
    pub run_levels: u32,
    /// How long clean-ups may go on after the body has ended.
    pub grace: Millis,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            payload: 2 << 20,
            depth: 64,
            log_events: 50_000,
            log_bytes: 50 << 20,
            log_lines: 250_000,
            stream_bytes: 256 << 20,
            open_tasks: 10_000,
            run_levels: 16,
            grace: 30_000,
        }
    }
}

/// The size of a run's log, as the host tells it.
#[derive(Default)]
pub(super) struct LogSize {
    /// Of stored events.
    bytes: u64,
    /// The script's log says that half of it is used.
    warned: bool,
}

/// How much room the log has.
pub(super) enum LogRoom {
    Enough,
    /// Half of it is used: a warning for the script's log, once.
    Half(String),
    /// None is left: why the run fails.
    Full(Failure),
}

/// What a script can do about a log that grows too large.
const ADVICE: &str = "use continue_as_new to go on with an empty log";

impl LogSize {
    pub fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// The log has so many events, the last ones not stored yet.
    pub fn check(&mut self, events: u64, not_stored: usize, limits: &Limits) -> LogRoom {
        let bytes = self.bytes + not_stored as u64 * 100;
        let (most, most_bytes) = (limits.log_events, limits.log_bytes);
        if events >= most {
            return LogRoom::Full(log_is_full(events, most));
        }
        if bytes >= most_bytes {
            let message = format!("the log has {bytes} bytes, the limit is {most_bytes}: {ADVICE}");
            return LogRoom::Full(Failure::new(FailureKind::Limit, message));
        }
        if !self.warned && (events >= most / 2 || bytes >= most_bytes / 2) {
            self.warned = true;
            return LogRoom::Half(format!(
                "the log has {events} events and {bytes} bytes, half of what it may have: {ADVICE}"
            ));
        }
        LogRoom::Enough
    }
}

/// Why a run fails whose log has all the events it may have.
pub(super) fn log_is_full(events: u64, most: u64) -> Failure {
    Failure::new(FailureKind::Limit, format!("the log has {events} events, the limit is {most}: {ADVICE}"))
}
