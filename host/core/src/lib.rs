//! The sans-IO heart of durhai.
//!
//! A run is a pure function of its history. This crate holds what that sentence needs and nothing else: the
//! [events](event) and their [encoding](wire), the [table of what may follow what](legal), and [`Replay`], which is
//! asked by a script and answers from the log, or says what the world must do next. There is no clock, no file, no
//! thread and no Rhai in here; time and randomness come in as arguments.

pub mod duration;
pub mod event;
pub mod failure;
pub mod ids;
pub mod json;
pub mod legal;
pub mod options;
pub mod replay;
pub mod retry;
pub mod rng;
pub mod run;
pub mod small_map;
pub mod tags;
pub mod trace_context;
pub mod wire;

pub use event::{Event, EventBody, Site};
pub use failure::{Failure, FailureKind};
pub use ids::{RunId, StepId, Version};
pub use json::{JsonError, TooLong};
pub use options::{RetryPolicy, StepOptions};
pub use replay::Replay;
pub use run::Status;
pub use small_map::SmallMap;
pub use trace_context::{SpanId, TraceContext, TraceId};

/// What a script hands out and gets back: JSON, with integers (64 bit, signed) and floats kept apart.
pub type Value = serde_json::Value;

/// Milliseconds: since the Unix epoch where a moment is meant, otherwise a length of time.
pub type Millis = u64;
