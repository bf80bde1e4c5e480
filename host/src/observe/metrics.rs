//! Metrics: what a host has counted and measured since it started, as plain data.
//!
//! Nothing here knows an exporter: [`Metrics::prometheus`] is one text for it, and another exporter walks
//! through the [families](Metrics::families). What each of them tells stands in `host/docs/metrics.md`.

pub(crate) mod data;
mod instruments;
mod meters;
mod prometheus;
pub(crate) mod snapshot;

pub(crate) use self::instruments::{Counter, Gauge, Histogram, Raised};
pub(crate) use self::meters::{Meters, Outcome, Step as StepMeters};
