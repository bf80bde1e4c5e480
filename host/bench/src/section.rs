//! What can be measured, each on its own.

use std::path::Path;

use crate::child::Child;
use crate::figures::{Figures, Unit, micros, repeated};
use crate::floor::{APPENDED, Floor};
use crate::memory::{self, Kind};
use crate::sizes::Sizes;
use crate::{asleep, crowd, live, lone, recovery, replay, shared, sleepers, sustained};

/// A part of the bench, in the order in which they are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Floor,
    Step,
    Pair,
    Long,
    Throughput,
    Sustained,
    Growth,
    Parallel,
    Replay,
    Recovery,
    Memory,
    Crowd,
    Evicted,
    Finished,
    Sleepers,
    /// Between two hosts.
    Signal,
    /// Of hosts that have nothing to do.
    Idle,
}

/// What all sections are measured with.
pub struct Setting<'a> {
    /// A folder that is there; each section has one in it, as long as it is measured.
    pub dir: &'a Path,
    pub sizes: &'a Sizes,
    pub child: Child<'a>,
    /// A database to measure on, in place of stores in the folder.
    pub database: Option<&'a str>,
}

impl Section {
    pub const ALL: [Section; 17] = [
        Section::Floor,
        Section::Step,
        Section::Pair,
        Section::Long,
        Section::Throughput,
        Section::Sustained,
        Section::Growth,
        Section::Parallel,
        Section::Replay,
        Section::Recovery,
        Section::Memory,
        Section::Crowd,
        Section::Evicted,
        Section::Finished,
        // Before the server has a million rows to clean up after.
        Section::Idle,
        Section::Sleepers,
        Section::Signal,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Section::Floor => "floor",
            Section::Step => "step",
            Section::Pair => "pair",
            Section::Long => "long",
            Section::Throughput => "throughput",
            Section::Sustained => "sustained",
            Section::Growth => "growth",
            Section::Parallel => "parallel",
            Section::Replay => "replay",
            Section::Recovery => "recovery",
            Section::Memory => "memory",
            Section::Crowd => "crowd",
            Section::Evicted => "evicted",
            Section::Finished => "finished",
            Section::Sleepers => "sleepers",
            Section::Signal => "signal",
            Section::Idle => "idle",
        }
    }

    /// Whether it must be asked for: it takes minutes, and gigabytes of disk, or it needs a database.
    pub fn is_special(self) -> bool {
        matches!(self, Section::Sleepers | Section::Signal | Section::Idle)
    }

    /// What is measured, with its sizes; `database`: on one.
    pub fn about(self, sizes: &Sizes, database: bool) -> String {
        match self {
            Section::Floor if database => return "the database on its own".into(),
            Section::Sleepers if database => {
                return format!("{} runs that sleep, and 20000 that are due", sizes.sleepers);
            }
            Section::Step if database => return "runs of 200 steps, one after the other".into(),
            _ => {}
        }
        let Sizes { lone, pairs, long, longs, throughput, sustained, growth, .. } = sizes;
        let Sizes { parallel, replayed, recovered, waiting, stored, sleepers, .. } = sizes;
        match self {
            Section::Floor => "a file that is appended to and synced".into(),
            Section::Step => format!("one run of {lone} steps, one after the other"),
            Section::Pair => format!("two such runs side by side, {pairs} times"),
            Section::Long => format!("a run of {} steps, {longs} times", long[2]),
            Section::Throughput => format!("{throughput} runs of 5 steps at once"),
            Section::Sustained => format!("{sustained} runs of 5 steps"),
            Section::Growth => format!("a run of {} and one of {} steps", growth[0], growth[1]),
            Section::Parallel => format!("{parallel} parallel steps"),
            Section::Replay => format!("the log of {replayed} steps"),
            Section::Recovery => format!("kill -9 after {} and {} steps", recovered[0], recovered[1]),
            Section::Memory => format!("{waiting} runs that wait in memory"),
            Section::Crowd => format!("{waiting} runs that wait, most of them evicted early"),
            Section::Evicted => format!("{stored} runs that wait and are not in memory"),
            Section::Finished => format!("{stored} runs of 5 steps that have ended"),
            Section::Sleepers => format!("{sleepers} runs that sleep through a restart"),
            Section::Signal => "signals from one host to runs of another".into(),
            Section::Idle => "hosts that have nothing to do".into(),
        }
    }

    pub async fn measure(self, setting: &Setting<'_>) -> anyhow::Result<Figures> {
        let Setting { dir, sizes, child, database } = *setting;
        if let Some(url) = database {
            return self.measure_on(url, sizes).await;
        }
        let dir = &dir.join(self.name());
        std::fs::create_dir_all(dir)?;
        let measured = self.measure_in(dir, sizes, child).await;
        std::fs::remove_dir_all(dir)?;
        measured
    }

    /// Whether it is measured on a database without being asked for.
    pub fn is_shared(self) -> bool {
        let each =
            [Section::Floor, Section::Step, Section::Throughput, Section::Parallel, Section::Signal, Section::Idle];
        each.contains(&self)
    }

    async fn measure_on(self, url: &str, sizes: &Sizes) -> anyhow::Result<Figures> {
        match self {
            Section::Floor => shared::server(url).await,
            Section::Step => shared::step(url).await,
            Section::Throughput => shared::throughput(url, sizes.throughput).await,
            Section::Parallel => shared::parallel(url, sizes.parallel).await,
            Section::Signal => shared::signal(url).await,
            Section::Idle => asleep::idle(url).await,
            Section::Sleepers => tokio::task::block_in_place(|| asleep::sleepers(url, sizes.sleepers)),
            other => anyhow::bail!("{} is measured on this machine's store only", other.name()),
        }
    }

    async fn measure_in(self, dir: &Path, sizes: &Sizes, child: Child<'_>) -> anyhow::Result<Figures> {
        match self {
            Section::Floor => floor(dir),
            Section::Step => lone::step(dir, sizes.lone).await,
            Section::Pair => lone::pair(dir, sizes.pairs, sizes.lone).await,
            Section::Long => lone::long(dir, sizes.longs, sizes.long).await,
            Section::Throughput => live::throughput(dir, sizes.throughput).await,
            Section::Sustained => sustained::measure(dir, sizes.sustained, child),
            Section::Growth => live::growth(dir, sizes.growth).await,
            Section::Parallel => live::parallel(dir, sizes.parallel).await,
            Section::Replay => replay::measure(dir, sizes.replayed).await,
            Section::Recovery => recovery::measure(dir, sizes.recovered, child),
            Section::Memory => memory::measure(Kind::Waiting, dir, sizes.waiting, child),
            Section::Crowd => crowd::measure(dir, sizes.waiting, child),
            Section::Evicted => memory::measure(Kind::Evicted, dir, sizes.stored, child),
            Section::Finished => memory::measure(Kind::Finished, dir, sizes.stored, child),
            Section::Sleepers => sleepers::measure(dir, sizes.sleepers, child),
            Section::Signal | Section::Idle => {
                anyhow::bail!("{} is measured on a database: --store postgres://…", self.name())
            }
        }
    }
}

/// The disk on its own.
fn floor(dir: &Path) -> anyhow::Result<Figures> {
    let times = Floor::of_a_step(&dir.join("file"))?.writes(400)?.into_iter().map(micros).collect();
    let meaning = format!("append {APPENDED} bytes to a file, fdatasync");
    Ok(vec![repeated("floor_append_p50_us", times, Unit::Microseconds, meaning)])
}
