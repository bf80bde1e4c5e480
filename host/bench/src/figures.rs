//! What is measured: figures with their keys, and times.

use std::time::Duration;

/// One figure: its key in the JSON, its value, and what it means.
pub struct Figure {
    pub key: &'static str,
    pub value: f64,
    pub meaning: &'static str,
}

pub type Figures = Vec<Figure>;

pub fn figure(key: &'static str, value: f64, meaning: &'static str) -> Figure {
    Figure { key, value, meaning }
}

pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The middle one; zero where there is none.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
