//! Watching a script while its log is run again: every statement, the variables it changes, every durable call.
//!
//! A [`Sandbox`](crate::Sandbox) made by [`Sandbox::traced`](crate::Sandbox::traced) calls the [`Tracer`] of the run that
//! has the thread at each node of the syntax tree, by Rhai's debugger interface. The tracer keeps no values, only what they
//! look like (a bounded text and a fingerprint), so it neither holds memory nor changes what the script does: the same
//! operations, the same step ids, the same answers.

mod event;
mod frames;
mod peek;
mod places;
mod tracer;
mod watch;

pub use self::event::{Pass, Snapshot, SourceLine, StackFrame, Stop, TraceEvent, Traced, Variable};
pub use self::tracer::{Sink, Tracer, TracerOptions};
pub(crate) use self::watch::{Shown, is_over, is_watched, note_answer, note_call, register, watch};
