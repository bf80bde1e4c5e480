//! What a run may take.

use crate::Millis;

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
