//! Steps for durhai that are no Rust functions of the embedder: Rhai functions in `steps/*.rhai`, and the built-in
//! ones, both under [`Permissions`].
//!
//! ```no_run
//! use durhai::Host;
//! use durhai_steps::{BuiltinSteps, Grant, Permissions, RhaiSteps};
//! use std::sync::Arc;
//!
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! let permissions = Permissions { read: Grant::paths(["data"])?, write: Grant::paths(["out"])? };
//! let host = Host::builder()
//!     .workflows("scripts")
//!     .steps(Arc::new(RhaiSteps::open("scripts", permissions.clone())))
//!     .steps(Arc::new(BuiltinSteps::new(permissions)))
//!     .start()
//!     .await?;
//! # Ok(()) }
//! ```

mod attempt;
mod builtin;
mod convert;
mod effects;
mod files;
mod folder;
mod permissions;
mod pool;
mod program;
mod rhai_steps;

use std::future::Future;
use std::pin::Pin;

pub use builtin::BuiltinSteps;
pub use permissions::{Access, Grant, Permissions, Refusal};
pub use rhai_steps::RhaiSteps;

/// The future of one attempt, as [`durhai::StepHandler::call`] gives it.
type Attempt = Pin<Box<dyn Future<Output = Result<durhai::Value, durhai::StepError>> + Send>>;
