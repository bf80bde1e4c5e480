//! The cursor.
pub mod call;

use crate::*;
pub use call::*;
use rand_chacha::ChaCha8Rng;

/// A run.
pub struct Replay;

/// Engine side. (Bodies follow.)
#[allow(unused_variables)]
impl Replay {
    /// What to do next: call it, do it, call it again, until it says `Idle` or `Stop`.
    pub fn next(&mut self) -> Next { unimplemented!() }
    /// A task makes a durable call.
    pub fn call(&mut self, task: TaskKey, call: Call, site: Site) -> Reply { unimplemented!() }
    /// A fiber came to its end. `Value` counts for the body only (its output); branches give null, the engine keeps what they returned.
    pub fn ended(&mut self, task: TaskKey, result: Result<Value, Failure>) { unimplemented!() }
    /// `handle.is_done()`
    pub fn is_done(&self, group: GroupKey) -> bool { unimplemented!() }
    /// `handle.cancel()`: the branches of the group are cancelled; the caller goes on.
    pub fn cancel_group(&mut self, group: GroupKey) { unimplemented!() }
    /// Ends the run as failed, whatever the script does: an operation limit, say. Afterwards `call` answers `Stop`.
    pub fn fail(&mut self, failure: Failure) { unimplemented!() }
    /// The run's clock.
    pub fn now(&self) -> Millis { unimplemented!() }
    /// The random stream of a task.
    pub fn rng(&mut self, task: TaskKey) -> &mut ChaCha8Rng { unimplemented!() }
    /// `print`, `debug`, `log`: kept unless this part of the log is being replayed.
    pub fn log(&mut self, task: TaskKey, level: &str, message: String, fields: Value) { unimplemented!() }
    pub fn run_id(&self) -> &RunId { unimplemented!() }
    pub fn workflow(&self) -> &str { unimplemented!() }
    pub fn input(&self) -> &Value { unimplemented!() }
    /// The id of the last durable call of a task ("" before the first).
    pub fn step_id(&self, task: TaskKey) -> String { unimplemented!() }
    pub fn limits(&self) -> &Limits { unimplemented!() }
}

/// Limits that a run obeys; an error names the limit and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one payload as JSON: a step's input or output, a signal, the run's input or output.
    pub payload: usize,
    /// Levels of arrays and maps in one payload.
    pub depth: usize,
    pub log_events: u64,
    pub log_bytes: u64,
    pub open_tasks: usize,
}
impl Default for Limits {
    fn default() -> Self { Limits { payload: 2 << 20, depth: 64, log_events: 50_000, log_bytes: 50 << 20, open_tasks: 10_000 } }
}
