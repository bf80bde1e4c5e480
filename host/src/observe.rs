//! What a host tells of itself: numbers, commits, and the ends of attempts and runs.

pub(crate) mod counters;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod observer;

pub use durhai_core::{SpanId, TraceContext, TraceId};

pub use crate::runtime::elsewhere::Follower;
pub use crate::runtime::written::Others;

pub use self::observer::{AttemptEnded, AttemptOutcome, ObservedError, Observer, RunEnded};
