//! What the tests of durhai are made with: a clock that jumps, a world that dies on demand, steps that wait to be told
//! how they end, and scripts made from a seed.
//!
//! Nothing in here waits for wall-clock time. Whether a host is done with what it was given is read from what it made
//! durable: see [`quiet`].

mod clock;
mod contents;
mod doubles;
mod far;
mod fault;
mod generate;
mod pulse;
mod quiet;
mod test_host;

pub use clock::{START, SimClock};
pub use contents::contents;
pub use doubles::{Ending, StepDoubles, StepNames, WaitingAttempt};
pub use far::FarWorld;
pub use fault::{Fault, FaultWorld, Notices, ReadFault};
pub use generate::{Rng, Script, generate};
pub use pulse::{PATIENCE, Pulse};
pub use quiet::{Quiet, events, quiet};
pub use test_host::{Settled, TestHost};
