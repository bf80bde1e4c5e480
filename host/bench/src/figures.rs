//! What is measured: figures with their keys, units and spread, and times.

use std::time::Duration;

/// One figure: its key in the JSON, its value, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    pub key: String,
    pub value: f64,
    pub unit: Unit,
    /// Of what was measured several times; the value is the median then.
    pub spread: Option<Spread>,
    pub meaning: String,
}

pub type Figures = Vec<Figure>;

/// Eight of ten samples are not below the low one and not above the high one. Of fewer than ten samples these are the
/// least and the most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub low: f64,
    pub high: f64,
    pub samples: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Microseconds,
    Milliseconds,
    Seconds,
    PerSecond,
    Bytes,
    Count,
    /// One figure divided by another of the same unit.
    Ratio,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Microseconds => "us",
            Unit::Milliseconds => "ms",
            Unit::Seconds => "s",
            Unit::PerSecond => "1/s",
            Unit::Bytes => "bytes",
            Unit::Count => "count",
            Unit::Ratio => "ratio",
        }
    }
}

/// Measured once.
pub fn once(key: impl Into<String>, value: f64, unit: Unit, meaning: impl Into<String>) -> Figure {
    Figure { key: key.into(), value, unit, spread: None, meaning: meaning.into() }
}

/// Measured several times: the median, with the spread.
pub fn repeated(key: impl Into<String>, mut samples: Vec<f64>, unit: Unit, meaning: impl Into<String>) -> Figure {
    samples.sort_unstable_by(f64::total_cmp);
    let count = samples.len();
    let at = |index: usize| samples.get(index).copied().unwrap_or_default();
    let tenth = count / 10;
    let spread = (count > 1).then(|| Spread { low: at(tenth), high: at(count - 1 - tenth), samples: count });
    Figure { key: key.into(), value: at(count / 2), unit, spread, meaning: meaning.into() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_what_is_around_it() {
        for (samples, value, spread) in [
            (vec![], 0.0, None),
            (vec![4.0], 4.0, None),
            (vec![3.0, 1.0, 2.0], 2.0, Some((1.0, 3.0))),
            ((0..9).map(f64::from).rev().collect(), 4.0, Some((0.0, 8.0))),
            ((0..10).map(f64::from).collect(), 5.0, Some((1.0, 8.0))),
            ((0..=100).map(f64::from).rev().collect(), 50.0, Some((10.0, 90.0))),
        ] {
            let count = samples.len();
            let figure = repeated("key", samples.clone(), Unit::Ratio, "");
            let spread = spread.map(|(low, high)| Spread { low, high, samples: count });
            assert_eq!((figure.value, figure.spread), (value, spread), "{samples:?}");
        }
    }
}
