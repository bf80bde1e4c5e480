//! What counts and measures: atomics, so that the threads that work never wait for a reader.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use super::data::{Distribution, OTHER};

/// Only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn inc(&self) {
        self.add(1);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How much there is of something now.
#[derive(Default, Clone)]
pub(crate) struct Gauge(Arc<AtomicI64>);

/// One more, until it is dropped.
pub(crate) struct Raised(Arc<AtomicI64>);

impl Gauge {
    pub fn raise(&self) -> Raised {
        self.add(1);
        Raised(self.0.clone())
    }

    pub fn add(&self, more: i64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Never below 0: two counters are not read at one moment.
    pub fn get(&self) -> u64 {
        u64::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the buckets of a histogram end, and how its whole numbers are to be read.
pub(crate) struct Scale {
    bounds: &'static [u64],
    /// So many of the whole numbers make one.
    per_one: f64,
}

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000 * MICRO;
const SECOND: u64 = 1_000 * MILLI;

/// From 10 µs to 10 s, in nanoseconds: what a host does itself.
pub(crate) const QUICK: Scale = Scale {
    bounds: &[
        10 * MICRO,
        25 * MICRO,
        50 * MICRO,
        100 * MICRO,
        250 * MICRO,
        500 * MICRO,
        MILLI,
        5 * MILLI / 2,
        5 * MILLI,
        10 * MILLI,
        25 * MILLI,
        50 * MILLI,
        100 * MILLI,
        250 * MILLI,
        500 * MILLI,
        SECOND,
        5 * SECOND / 2,
        10 * SECOND,
    ],
    per_one: 1e9,
};

/// From 1 ms to half an hour, in microseconds: what goes out to the world.
pub(crate) const STEPS: Scale = Scale {
    bounds: &[
        1_000,
        2_500,
        5_000,
        10_000,
        25_000,
        50_000,
        100_000,
        250_000,
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        30_000_000,
        60_000_000,
        300_000_000,
        1_800_000_000,
    ],
    per_one: 1e6,
};

/// From 10 ms to 30 days, in milliseconds: how long runs take, and how late they are.
pub(crate) const RUNS: Scale = Scale {
    bounds: &[
        10,
        50,
        100,
        500,
        1_000,
        5_000,
        10_000,
        30_000,
        60_000,
        300_000,
        1_800_000,
        3_600_000,
        21_600_000,
        86_400_000,
        604_800_000,
        2_592_000_000,
    ],
    per_one: 1e3,
};

/// Powers of two up to what a batch can hold.
pub(crate) const SIZES: Scale = Scale { bounds: &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], per_one: 1.0 };

/// How values are distributed.
pub(crate) struct Histogram {
    scale: &'static Scale,
    /// One more than there are bounds; each value is counted in one.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Of times that are short as a rule.
    pub fn quick() -> Self {
        Histogram::new(&QUICK)
    }

    pub fn new(scale: &'static Scale) -> Self {
        let buckets = (0..=scale.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { scale, buckets, sum: AtomicU64::new(0) }
    }

    /// A whole number, as the scale has them.
    pub fn record(&self, value: u64) {
        let at = self.scale.bounds.partition_point(|bound| *bound < value);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// A time; only where the scale is one of times.
    pub fn time(&self, took: Duration) {
        self.record((took.as_nanos() as f64 * self.scale.per_one / 1e9) as u64);
    }

    pub fn get(&self) -> Distribution {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(self.scale.bounds.len());
        for (bound, bucket) in self.scale.bounds.iter().zip(&self.buckets) {
            count += bucket.load(Ordering::Relaxed);
            buckets.push((*bound as f64 / self.scale.per_one, count));
        }
        count += self.buckets[buckets.len()].load(Ordering::Relaxed);
        Distribution { buckets, sum: self.sum.load(Ordering::Relaxed) as f64 / self.scale.per_one, count }
    }
}

/// Names that get meters of their own, at most; a label with more is of no use to a reader.
const NAMES: usize = 1_000;

/// Meters by name.
pub(crate) struct Named<T>(RwLock<HashMap<Arc<str>, Arc<T>>>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Named(RwLock::default())
    }
}

impl<T: Default> Named<T> {
    /// Those of this name; where it is not `known`, those of all others.
    pub fn of(&self, name: &str, known: impl FnOnce() -> bool) -> Arc<T> {
        if let Some(found) = self.0.read().get(name) {
            return found.clone();
        }
        let known = known();
        let mut all = self.0.write();
        let name = if known && (all.len() < NAMES || all.contains_key(name)) { name } else { OTHER };
        all.entry(name.into()).or_default().clone()
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<(Arc<str>, Arc<T>)> {
        let all = self.0.read();
        let mut all: Vec<_> = all.iter().map(|(name, meters)| (name.clone(), meters.clone())).collect();
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_the_bucket_that_ends_with_them() {
        let histogram = Histogram::new(&RUNS);
        for value in [0, 10, 11, 50, 2_592_000_000, u64::MAX / 4] {
            histogram.record(value);
        }
        let Distribution { buckets, count, .. } = histogram.get();
        assert_eq!((buckets[0], buckets[1], count), ((0.01, 2), (0.05, 4), 6));
        assert_eq!(buckets.last(), Some(&(2_592_000.0, 5)));
        for scale in [&QUICK, &STEPS, &RUNS, &SIZES] {
            assert!(scale.bounds.is_sorted_by(|a, b| a < b));
        }
        let histogram = Histogram::new(&QUICK);
        histogram.time(Duration::from_micros(1_500));
        assert_eq!((histogram.get().sum, histogram.get().buckets[7]), (0.0015, (0.0025, 1)));
    }

    #[test]
    fn names_beyond_the_limit_share_one() {
        let named = Named::<Counter>::default();
        for n in 0..NAMES + 50 {
            named.of(&format!("n{n}"), || true).inc();
        }
        named.of("unheard of", || false).inc();
        named.of("n7", || true).inc();
        assert_eq!(named.all().len(), NAMES + 1);
        assert_eq!(named.of(OTHER, || true).get(), 51);
        assert_eq!(named.of("n7", || true).get(), 2);
    }
}
