//! Traces and metrics of a durhai host, sent to an OpenTelemetry collector by OTLP (HTTP, protobuf).
//!
//! ```no_run
//! use durhai::Host;
//! use durhai_otlp::{Config, Exporter};
//!
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! // OTEL_EXPORTER_OTLP_ENDPOINT and the like; none of them set: nothing is exported.
//! let config = Config::from_env(None, |name| std::env::var(name).ok())?;
//! let exporter = config.map(Exporter::start).transpose()?;
//! let mut builder = Host::builder().workflows("scripts");
//! if let Some(exporter) = &exporter {
//!     builder = builder.observe(exporter.observer());
//! }
//! let host = builder.start().await?;
//! if let Some(exporter) = &exporter {
//!     exporter.measure(&host);
//! }
//! // …
//! host.shutdown().await;
//! if let Some(exporter) = exporter {
//!     exporter.shutdown().await;
//! }
//! # Ok(()) }
//! ```
//!
//! A host never waits for a collector, and never fails because of one: what does not fit the queue is dropped, counted and said
//! in the log once. What the spans look like stands in `host/docs/telemetry.md`.

mod config;
mod exporter;
mod metrics;
mod post;
mod proto;
mod queue;
mod sampler;
mod spans;

pub use config::{Config, ConfigError};
pub use exporter::{Exporter, StartError};
pub use sampler::Sampler;
