//! The Rhai sandbox of durhai: compiles workflows and carries their runs as fibers.
//!
//! A [`Sandbox`] belongs to a thread. It compiles a [`Bundle`] (a workflow's text with all it imports) into a
//! [`Program`]. An [`Execution`] is one run of a program: it asks its [`Replay`](durhai_core::Replay) what to do, runs
//! script code in fibers, and gives the thread back when every task waits. There is no clock, no file, no thread and no
//! async in here.

mod bindings;
pub mod check;
mod convert;
pub mod cron;
mod current;
pub mod diagnostic;
mod execution;
mod fiber;
pub mod graph;
pub mod header;
mod memory;
mod meter;
mod natives;
mod program;
mod sandbox;
mod show;
mod suggest;
pub mod trace;

pub use bindings::{CALLS, CallDoc};
pub use cron::Cron;
pub use diagnostic::Diagnostic;
pub use durhai_stdlib::schema;
pub use execution::{Execution, Turn};
pub use header::Header;
pub use memory::{CountingAllocator, memory_is_counted};
pub use meter::{Pool, ScriptMemory};
pub use program::{Bundle, MAX_SOURCE, Program, Texts};
pub use rhai;
pub use sandbox::{Extension, Sandbox, SandboxConfig, ScriptLimits};
