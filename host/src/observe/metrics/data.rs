//! Metrics as plain data.

use serde::{Deserialize, Serialize};

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

impl Metrics {
    /// A family by its name.
    pub fn family(&self, name: &str) -> Option<&MetricFamily> {
        self.families.iter().find(|family| family.name == name)
    }
}
