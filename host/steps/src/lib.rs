//! Steps for durhai that are no Rust functions of the embedder: Rhai functions in `steps/*.rhai`, and the built-in
//! ones, both under [`Permissions`].
//!
//! ```no_run
//! use durhai::Host;
//! use durhai_steps::{BuiltinSteps, StepEnvHandle, PathGrant, Permissions, RhaiSteps};
//! use std::sync::Arc;
//!
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! let step_env = StepEnvHandle::from(Permissions {
//!     read: PathGrant::paths(["data"])?,
//!     write: PathGrant::paths(["out"])?,
//!     ..Permissions::none()
//! });
//! let host = Host::builder()
//!     .workflows("scripts")
//!     .steps(Arc::new(RhaiSteps::open("scripts", step_env.clone())))
//!     .steps(Arc::new(BuiltinSteps::new(step_env)))
//!     .start()
//!     .await?;
//! # Ok(()) }
//! ```

mod attempt;
mod builtin;
mod convert;
mod declared;
mod effects;
mod environment;
mod exec;
mod fair_queue;
mod files;
mod folder;
mod handle;
mod http;
mod permissions;
mod pool;
mod program;
mod rhai_steps;
mod secrets;
mod settings;
mod sql;
mod step_env;

use std::future::Future;
use std::pin::Pin;

pub use builtin::BuiltinSteps;
pub use declared::{Declared, DeclaredSteps, ProgramStep, ServiceStep};
pub use environment::Environment;
pub use http::{HttpOptions, Resolver, Roots};
pub use permissions::{
    Access, EnvGrant, ExecGrant, GrantedProgram, HostGrant, NetGrant, PathGrant, Permissions, Refusal, SqlGrant,
};
pub use rhai_steps::RhaiSteps;
pub use secrets::{SecretSource, SecretSources};
pub use settings::{Given, Place, Reload, Settings, SettingsError, SettingsSource, follow};
pub use sql::{DatabasePlace, StoreDatabase};
pub use step_env::{StepEnvConfig, StepEnvHandle};

/// The future of one attempt, as [`durhai::StepHandler::call`] gives it.
type Attempt = Pin<Box<dyn Future<Output = Result<durhai::Value, durhai::StepError>> + Send>>;
