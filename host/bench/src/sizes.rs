//! How much is measured.

/// Runs and steps of each section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// Steps of the lone runs in `step` and `pair`.
    pub lone: usize,
    /// Rounds of `pair`.
    pub pairs: usize,
    /// Where the run of `long` is looked at; it ends with the last.
    pub long: [usize; 3],
    /// Runs of `long`.
    pub longs: usize,
    /// Runs of a round of `throughput`.
    pub throughput: usize,
    pub sustained: usize,
    /// Steps of the short run and of the long one in `growth`.
    pub growth: [usize; 2],
    /// Steps of the run in `parallel`.
    pub parallel: usize,
    /// Steps of the run in `replay`.
    pub replayed: usize,
    /// Steps before the kill in `recovery`.
    pub recovered: [usize; 2],
    /// Runs in `memory`, where all of them are in memory, and in `crowd`.
    pub waiting: usize,
    /// Runs in `evicted` and in `finished`.
    pub stored: usize,
    pub sleepers: usize,
}

impl Sizes {
    /// Those whose figures can be compared with others.
    pub fn full() -> Self {
        Sizes {
            lone: 1_000,
            pairs: 6,
            long: [100, 10_000, 50_000],
            longs: 3,
            throughput: 1_000,
            sustained: 60_000,
            growth: [100, 10_000],
            parallel: 1_000,
            replayed: 10_000,
            recovered: [1_000, 10_000],
            waiting: 20_000,
            stored: 200_000,
            sleepers: 1_000_000,
        }
    }

    /// So small that all of it takes some seconds: it shows that the bench works here, and no more.
    pub fn quick() -> Self {
        Sizes {
            lone: 400,
            pairs: 2,
            long: [50, 200, 400],
            longs: 1,
            throughput: 100,
            sustained: 200,
            growth: [20, 200],
            parallel: 100,
            replayed: 200,
            recovered: [50, 200],
            waiting: 400,
            stored: 800,
            sleepers: 1_000,
        }
    }

    /// With so many runs where a store is filled.
    pub fn with_runs(self, runs: usize) -> Self {
        Sizes { sustained: runs, stored: runs, sleepers: runs, ..self }
    }

    /// With so many steps in the run of `long`, at least 100 of them.
    pub fn with_steps(self, steps: usize) -> Self {
        let steps = steps.max(100);
        Sizes { long: [(steps / 10).min(100), steps / 5, steps], ..self }
    }
}
