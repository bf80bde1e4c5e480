//! Durable workflows as Rhai scripts, embedded.
//!
//! A [`Host`] runs scripts. What a script awaits (a step, a timer, a signal) is recorded in a [world](World); after a
//! crash the script is run again from the top, recorded calls answer from the log, and it goes on where it stopped.
//!
//! ```no_run
//! use durhai::{Host, SledWorld, StepContext, StepError};
//! use serde_json::json;
//!
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! let host = Host::builder()
//!     .world(SledWorld::open("data")?)
//!     .workflow("order", r#"let paid = use_step("charge", input); `paid ${paid}`"#)
//!     .step("charge", |ctx: StepContext, cents: i64| async move {
//!         println!("{} is charged {cents}", ctx.idempotency_key());
//!         Ok::<_, StepError>(cents)
//!     })
//!     .start()
//!     .await?;
//! let run = host.run("order").id("order-42").input(&json!(500)).start().await?;
//! let receipt: String = run.output().await?;
//! host.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! [`Host::builder`] puts a host together, [`Host::run`] describes a start, [`Run`] is one run by its name. What else there is:
//!
//! | module | for |
//! |---|---|
//! | [`view`], [`event`] | what is shown of runs and hosts, what is in their logs |
//! | [`versions`], [`check`] | texts of workflows and live runs that move between them, mistakes in scripts |
//! | [`logs`], [`trace`] | logs run again, compared and forked, line by line |
//! | [`archive`] | runs and worlds as files, damage and its repair |
//! | [`metrics`], [`observe`] | numbers, and the ends of attempts and runs |
//! | [`clock`], [`world`] | time in tests, worlds of one's own |
//! | [`text`], [`json`], [`duration`], [`tags`] | how a host reads what people write |

pub mod archive;
mod builder;
pub mod check;
pub mod clock;
mod error;
mod host;
pub mod logs;
mod messages;
pub mod observe;
mod run;
mod runtime;
mod shared;
mod start;
mod steps;
mod store;
pub mod text;
pub mod trace;
pub mod versions;
pub mod view;

pub use durhai_core::replay::Limits;
pub use durhai_core::{
    Event, EventBody, Failure, FailureKind, Millis, RetryPolicy, RunId, Status, StepId, Value, Version, duration, json,
    tags,
};
pub use durhai_engine::{CountingAllocator, memory_is_counted};
pub use durhai_world::{MemoryWorld, Query, World, WorldError};
#[cfg(feature = "sled")]
pub use durhai_world_sled::SledWorld;

/// Many hosts on one PostgreSQL database.
#[cfg(feature = "postgres")]
pub mod postgres {
    pub use durhai_world_postgres::{
        Access, Database, DatabaseView, Floor, LAYOUT, LeaseClock, Options, PgWorld, Records, Transaction,
        TransactionError, client, layout_statements,
    };
}

pub use self::builder::HostBuilder;
pub use self::error::{HostError, RunError};
pub use self::host::Host;
pub use self::run::Run;
pub use self::start::Start;
pub use self::steps::limiter::Rate;
pub use self::steps::rules::StepRule;
pub use self::steps::step::{Attempt, StepContext, StepError, StepHandler, StepInfo, StepSource};
pub use self::store::streams::DEFAULT_STREAM;
pub use self::view::{RunView, WorkflowView};

/// Parts of events, and what steps and scripts write beside them.
pub mod event {
    pub use durhai_core::Site;
    pub use durhai_core::event::{OpenTimes, Origin, Takeover};
    pub use durhai_core::replay::{Emitted, LogLine};
}

/// What a host counts and measures.
pub mod metrics {
    pub use crate::observe::metrics::data::{
        Distribution, MetricFamily, MetricKind, MetricSeries, MetricValue, Metrics, OTHER,
    };
}

/// For those who write a world of their own, or stand between a host and its world.
pub mod world {
    pub use durhai_core::wire::decode;
    pub use durhai_world::*;
}

/// What the README shows must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
