//! Metrics: what a host has counted and measured since it started, as plain data.
//!
//! Nothing here knows who wants it: [`Metrics::prometheus`] is one text for it, and whoever has another exporter walks
//! through the [families](Metrics::families). What each of them tells stands in `host/docs/metrics.md`.

mod instruments;
mod meters;
mod prometheus;
mod snapshot;

use serde::{Deserialize, Serialize};

pub(crate) use self::instruments::Raised;
pub(crate) use self::meters::{Meters, Outcome, Step as StepMeters};

use crate::host::Host;

/// The name under which what is too much to be named apart is counted together.
pub const OTHER: &str = "(other)";

/// All metrics of a host at one moment. Every family is there, also one without series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    pub families: Vec<MetricFamily>,
}

/// Series that measure the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricFamily {
    /// As Prometheus has it: `durhai_flush_seconds`, a counter ends in `_total`.
    pub name: String,
    pub help: String,
    /// `seconds`, `bytes`, or nothing for what is only counted.
    pub unit: String,
    pub kind: MetricKind,
    pub series: Vec<MetricSeries>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// Only grows, from 0 at the start of the host.
    Counter,
    /// What is now.
    Gauge,
    Histogram,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricSeries {
    /// Names and values. Those of runs and steps are theirs; beyond a thousand they share [`OTHER`].
    pub labels: Vec<(String, String)>,
    pub value: MetricValue,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetricValue {
    Number(f64),
    Histogram(Distribution),
}

/// How what was measured is distributed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// For each bound how many were at most that, the lowest bound first. Above the highest is what [`count`](Self::count)
    /// has more.
    pub buckets: Vec<(f64, u64)>,
    /// All measured values together.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
}

impl Host {
    /// Everything the host counts and measures, and how many runs its world has. What only the world can tell is left
    /// out if the world has failed, which `durhai_host_failed` says.
    pub async fn metrics(&self) -> Metrics {
        let inner = self.inner.clone();
        let seen = match self.inner() {
            Ok(inner) => inner.blocking(|world| Ok((world.run_counts()?, world.size()?))).await.ok(),
            Err(_) => None,
        };
        inner.snapshot(seen)
    }
}

impl Metrics {
    /// A family by its name.
    pub fn family(&self, name: &str) -> Option<&MetricFamily> {
        self.families.iter().find(|family| family.name == name)
    }
}
