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

mod access;
mod adopter;
mod altered;
mod answers;
mod assumed;
mod backup;
mod builder;
mod catalog;
mod check;
mod circle;
mod clock;
mod committer;
mod diff_logs;
mod doctor;
mod error;
mod export;
mod folder;
mod fork;
mod gate;
mod handle;
mod held;
mod hook;
mod host;
mod import;
mod inner;
mod later;
mod letter;
mod limiter;
mod log;
mod mask;
mod metrics;
mod migrate;
mod new_run;
mod outputs;
mod patience;
mod payload;
mod people;
mod registry;
mod replaying;
mod retention;
mod retry;
mod rules;
mod runner;
mod schedules;
mod slot;
mod stamp;
mod step;
mod telemetry;
mod text;
mod told;
mod trace_text;
mod versions;
mod view;
mod watch;
mod worker;

pub use assumed::{AssumedFunction, StandIn};
pub use backup::{BackupSummary, restore};
pub use builder::HostBuilder;
pub use check::{CheckOptions, Code as FindingCode, Finding, Graph, Severity, check, graph};
pub use clock::{Clock, Nap, SystemClock};
pub use diff_logs::{Difference, DifferenceKind, LogDiff, LogSide, diff_logs};
pub use doctor::{Damage, Diagnosis, Repaired, rebuild, repair};
pub use error::{HostError, RunError};
pub use export::{ExportError, ExportHeader, ExportOptions, ExportSummary, Exported, ExportedRun};
pub use fork::Fork;
pub use gate::{GateReport, GateVerdict, MigrateReport, Migration, Misfit};
pub use handle::{Run, Start};
pub use host::Host;
pub use import::{ImportOptions, Imported};
pub use limiter::Rate;
pub use metrics::{Distribution, MetricFamily, MetricKind, MetricSeries, MetricValue, Metrics, OTHER};
pub use outputs::DEFAULT_STREAM;
pub use replaying::{ReplayOptions, Script};
pub use rules::StepRule;
pub use step::{Attempt, StepContext, StepError, StepHandler, StepInfo, StepSource};
pub use telemetry::{AttemptEnded, AttemptOutcome, ObservedError, Observer, RunEnded};
pub use text::{decode as decode_text, read_text, strip_bom, without_bom};
pub use trace_text::TraceText;
pub use view::{
    Committed, Health, HookRequest, Listing, LiveVersion, LogEntry, NextCall, Outlook, OutputEntry, PlaceView, Purge,
    Purged, QueryValue, ReplayView, Report, RunCount, RunView, ScheduleView, SourceView, Stats, StreamView, Suspension,
    VersionView, WorkflowView,
};

pub use durhai_core::duration;
pub use durhai_core::event::{Again, Origin, Times};
pub use durhai_core::json;
pub use durhai_core::replay::{Divergence, Emitted, Limits, LogLine};
pub use durhai_core::tags;
pub use durhai_core::{
    Body, Event, Failure, Kind, Millis, RetryPolicy, RunId, Site, SpanId, Status, StepId, TraceContext, TraceId, Value,
    Version,
};
pub use durhai_engine::trace::{Pass, Snapshot, SourceLine, StackFrame, Stop, TraceEvent, Traced, Variable};
pub use durhai_engine::{CALLS, CallDoc, CountingAllocator, memory_is_counted};
pub use durhai_world::{MemoryWorld, Query, World, WorldError};

/// For those who write a world of their own, or stand between a host and its world.
pub mod world {
    pub use durhai_core::wire::decode;
    pub use durhai_world::*;
}
#[cfg(feature = "sled")]
pub use durhai_world_sled::{Files, Salvaged, SledWorld};

/// What the README shows must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
