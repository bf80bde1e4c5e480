//! Secrets by name: read where they are used, hidden in what steps hand over.
//!
//! Every value that was ever read stays known as long as the [`StepEnvHandle`](crate::StepEnvHandle) lives: a file may have
//! been rotated while a step still works with what stood in it before.

pub(crate) mod known;
pub(crate) mod source;
#[cfg(test)]
mod tests;

pub use source::{SecretSource, SecretSources};
