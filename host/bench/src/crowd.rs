//! What a run costs that is one of many which wait: most of them are evicted early. What it takes to wake one that was, beside one
//! that stayed in memory.

use std::path::Path;
use std::time::Instant;

use durhai::Host;
use serde_json::{Value, json};

use crate::child::{self, Child};
use crate::figures::{Figures, Unit, micros, once, repeated};
use crate::hosts::{self, order};
use crate::progress::{Progress, Say};
use crate::store::{Stored, each};
use crate::usage;

/// Runs that a host keeps in memory by default, although they wait for long.
const KEPT: usize = 1_000;

/// Counts in a process of its own, so that nothing else is counted.
pub fn measure(dir: &Path, runs: usize, child: Child<'_>) -> anyhow::Result<Figures> {
    let lines = child::ask(child, "crowd", dir, runs)?;
    let [found] = &lines[..] else { anyhow::bail!("found {lines:?}, expected one line") };
    let times = |key: &str| found[key].as_array().into_iter().flatten().filter_map(Value::as_f64).collect::<Vec<_>>();
    let (kept, evicted) = (times("kept_us"), times("evicted_us"));
    anyhow::ensure!(!kept.is_empty() && kept.len() == evicted.len(), "found {found}, expected times");
    let kept =
        repeated("crowd_wake_kept_us", kept, Unit::Microseconds, "from the signal to the output of one in memory");
    let evicted =
        repeated("crowd_wake_evicted_us", evicted, Unit::Microseconds, "the same of one that was evicted early");
    let each = child::number(found, "resident")? / runs as f64;
    Ok(vec![
        once("crowd_resident_bytes_per_run", each, Unit::Bytes, "what the process grew by, over all that wait"),
        once("crowd_in_memory", child::number(found, "live")?, Unit::Count, "runs that stayed in memory"),
        once("crowd_wake", evicted.value / kept.value, Unit::Ratio, "the second time divided by the first"),
        kept,
        evicted,
    ])
}

/// Makes the runs with a host as it is by default, and wakes some.
pub(crate) async fn run(dir: &Path, runs: usize, say: Say<'_>) -> anyhow::Result<()> {
    let kept = KEPT.min(runs / 4);
    let stored = Stored::start(hosts::workflows().max_waiting_runs(kept), dir).await?;
    let before = usage::resident()?;
    let mut progress = Progress::new(say, "crowd", runs);
    each(0..runs, &mut progress, |number| hosts::waits(&stored.host, "wait", number)).await?;
    stored.at_rest().await?;
    stored.at_most(kept).await?;
    stored.settled().await?;
    let (resident, live) = (usage::resident()?, stored.host.stats().live);
    let some = (runs / 40).min(300);
    // Those that began last waited shortest.
    let evicted = wake_each(&stored.host, 0..some).await?;
    let in_memory = wake_each(&stored.host, runs - some..runs).await?;
    let said = json!({ "resident": resident - before, "live": live, "kept_us": in_memory, "evicted_us": evicted });
    println!("{said}");
    stored.close().await.map(drop)
}

/// From signal to output, one run after the other.
async fn wake_each(host: &Host, numbers: std::ops::Range<usize>) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    for number in numbers {
        let run = host.get(&order(number)).await?;
        let began = Instant::now();
        run.signal("go", &true).await?;
        let output: Value = run.output().await?;
        times.push(micros(began.elapsed()));
        anyhow::ensure!(output["order"] == number, "a run gave {output}");
    }
    Ok(times)
}
