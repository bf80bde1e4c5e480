//! The Rhai sandbox of durhai: compiles workflows and carries their runs as fibers.
//!
//! A [`Sandbox`] belongs to a thread. It compiles a [`Bundle`] (a workflow's text with all it imports) into a
//! [`Program`]. An [`Execution`] is one run of a program: it asks its [`Replay`](durhai_core::Replay) what to do, runs
//! script code in fibers, and gives the thread back when every task waits. There is no clock, no file, no thread and no
//! async in here.

mod bindings;
mod calls;
pub mod check;
pub mod cron;
mod errors;
mod fiber;
pub mod graph;
pub mod header;
mod limits;
mod memory;
mod meter;
mod natives;
mod program;
mod run;
mod sandbox;
pub mod trace;
mod values;

pub use calls::{CALLS, CallDoc};
pub use cron::Cron;
pub use durhai_stdlib::schema;
pub use errors::diagnostic::Diagnostic;
pub use header::Header;
pub use limits::{Extension, SandboxConfig, ScriptLimits};
pub use memory::{CountingAllocator, memory_is_counted};
pub use meter::{Pool, ScriptMemory};
pub use program::Program;
pub use program::bundle::Bundle;
pub use program::parse::MAX_SOURCE;
pub use program::texts::{Texts, source_line};
pub use rhai;
pub use run::execution::{Execution, Yield};
pub use sandbox::Sandbox;
