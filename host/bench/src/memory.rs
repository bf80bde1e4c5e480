//! What a run costs that waits or has ended, in memory and on disk: how both grow with the number of runs.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::child::{self, Child};
use crate::figures::{Figure, Figures, Unit, once, repeated};
use crate::hosts;
use crate::progress::{Progress, Say};
use crate::store::{Stored, each};
use crate::usage::{self, Disk};

/// What kind of runs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They wait with their fibers in memory.
    Waiting,
    /// They wait and their fibers were dropped.
    Evicted,
    /// They made five steps and have ended.
    Finished,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Waiting, Kind::Evicted, Kind::Finished];

    /// Also what the child is told.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Waiting => "waiting",
            Kind::Evicted => "evicted",
            Kind::Finished => "finished",
        }
    }

    /// Numbers of runs at which it is measured. What a process and a store take for themselves (threads, caches, what an
    /// allocator keeps, files made ahead) is there at the first; the rest is what runs cost.
    fn marks(self, runs: usize) -> Vec<usize> {
        match self {
            Kind::Waiting => vec![runs / 4, runs],
            // Of an eighth of few runs nothing could be seen.
            _ if runs < 10_000 => vec![runs / 2, runs],
            Kind::Evicted | Kind::Finished => (4..=8).map(|eighths| runs * eighths / 8).collect(),
        }
    }
}

/// What there is with so many runs.
struct Mark {
    runs: f64,
    resident: f64,
    disk: Disk,
    /// The blocks of the journal, which are in nothing else.
    journal: f64,
}

/// Counts in a process of its own, so that nothing else is counted.
pub fn measure(kind: Kind, dir: &Path, runs: usize, child: Child<'_>) -> anyhow::Result<Figures> {
    let lines = child::ask(child, kind.name(), dir, runs)?;
    let marks: Vec<Mark> = lines.iter().map(Mark::of).collect::<Result<_, _>>()?;
    let [first, .., last] = &marks[..] else { anyhow::bail!("found {lines:?}, expected two lines or more") };
    let per_run = |what: &str, of: fn(&Mark) -> f64, meaning: &str| growth(what, kind, &marks, of, meaning);
    let which = match kind {
        Kind::Waiting => "a run that waits with its fiber in memory",
        Kind::Evicted => "a run that waits and whose fiber was dropped",
        Kind::Finished => "a run of five steps that has ended",
    };
    let resident = per_run("resident", |mark| mark.resident, which);
    let mut figures = vec![
        resident.clone(),
        per_run("disk", |mark| mark.disk.blocks, "what it has in the store, as blocks of the file system"),
        per_run("length", |mark| mark.disk.length, "the same, as lengths of files"),
        once(
            format!("{}_journal_bytes", kind.name()),
            last.journal,
            Unit::Bytes,
            "blocks of the store's journal, which are used again and in none of these",
        ),
    ];
    if kind == Kind::Waiting {
        let host = first.resident - resident.value * first.runs;
        figures.push(once("resident_bytes_of_the_host", host, Unit::Bytes, "all that is no run"));
    }
    Ok(figures)
}

/// From the first mark to the last; the spread is that of the growth from mark to mark.
fn growth(what: &str, kind: Kind, marks: &[Mark], of: fn(&Mark) -> f64, meaning: &str) -> Figure {
    let between = |from: &Mark, to: &Mark| (of(to) - of(from)) / (to.runs - from.runs);
    let steps: Vec<f64> = marks.windows(2).map(|pair| between(&pair[0], &pair[1])).collect();
    let (first, last) = (&marks[0], &marks[marks.len() - 1]);
    let key = format!("{what}_bytes_per_{}_run", kind.name());
    let meaning = format!("{meaning}: growth from {} to {} runs", first.runs, last.runs);
    Figure { value: between(first, last), ..repeated(key, steps, Unit::Bytes, meaning) }
}

impl Mark {
    fn of(line: &Value) -> anyhow::Result<Self> {
        let number = |key| child::number(line, key);
        let disk = Disk { blocks: number("blocks")?, length: number("length")? };
        Ok(Mark { runs: number("runs")?, resident: number("resident")?, disk, journal: number("journal")? })
    }
}

/// Makes the runs; at each mark it waits until nothing is on its way, and prints what there is.
pub(crate) async fn run(kind: Kind, dir: &Path, runs: usize, say: Say<'_>) -> anyhow::Result<()> {
    let builder = match kind {
        // Runs are spread over the workers by chance, so each needs some room to spare.
        Kind::Waiting => {
            let builder = hosts::workflows().max_live_runs(2 * runs + 100).max_waiting_runs(2 * runs + 100);
            builder.evict_after(Duration::from_secs(86_400))
        }
        Kind::Evicted | Kind::Finished => hosts::workflows().max_live_runs(1_000).evict_after(Duration::ZERO),
    };
    let stored = Stored::start(builder, dir).await?;
    // As its section is called.
    let section = if kind == Kind::Waiting { "memory" } else { kind.name() };
    let mut progress = Progress::new(say, section, runs);
    let mut there = 0;
    for mark in kind.marks(runs) {
        match kind {
            Kind::Finished => each(there..mark, &mut progress, |_| hosts::short(&stored.host)).await?,
            _ => each(there..mark, &mut progress, |number| hosts::waits(&stored.host, "wait", number)).await?,
        }
        there = mark;
        stored.at_rest().await?;
        stored.live(if kind == Kind::Waiting { mark } else { 0 }).await?;
        stored.settled().await?;
        let (kept, journal) = usage::store(dir)?;
        let mark = json!({
            "runs": mark,
            "resident": usage::resident()?,
            "blocks": kept.blocks,
            "length": kept.length,
            "journal": journal.blocks,
        });
        println!("{mark}");
    }
    stored.close().await.map(drop)
}
