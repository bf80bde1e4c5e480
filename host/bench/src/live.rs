//! Runs that go on live: one step after the other, many runs at once, many steps at once.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use durhai::{Host, SledWorld, StepContext, StepError};
use parking_lot::Mutex;

use crate::figures::{Figures, figure, median, micros, millis};
use crate::floor;
use crate::hosts::{self, SEQUENCE};

/// Steps of one run.
pub struct Steps {
    p50: Duration,
    /// The slowest hundred, times the first hundred.
    worst: f64,
}

impl Steps {
    pub fn figures(&self, floor: Duration) -> Figures {
        let ratio = self.p50.as_secs_f64() / floor.as_secs_f64();
        vec![
            figure("step_p50_us", micros(self.p50), "one durable step in one run, the median of 1000"),
            figure("step_to_floor", ratio, "the same, times the floor"),
            figure(
                "slowest_100_to_first_100",
                self.worst,
                "the slowest hundred of 1000 steps, times the first hundred",
            ),
        ]
    }
}

/// The time between two steps of one run, where nothing else happens.
pub async fn step(dir: &Path) -> anyhow::Result<Steps> {
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = times.clone();
    let host = Host::builder()
        .world(SledWorld::open(dir)?)
        .workflow("sequence", SEQUENCE)
        .step("add", move |_: StepContext, x: i64| {
            seen.lock().push(Instant::now());
            async move { Ok::<_, StepError>(x + 1) }
        })
        .start()
        .await?;
    let run = host.run("sequence").input(&1_000).start().await?;
    run.output::<i64>().await?;
    host.shutdown().await;
    let times = std::mem::take(&mut *times.lock());
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mean = |gaps: &[Duration]| gaps.iter().sum::<Duration>().as_secs_f64() / gaps.len() as f64;
    let worst = gaps.chunks(100).map(mean).fold(0.0, f64::max) / mean(&gaps[..100]);
    Ok(Steps { p50: median(gaps), worst })
}

/// 1000 runs of 5 sequential steps, started together.
pub async fn throughput(dir: &Path) -> anyhow::Result<Figures> {
    let host = hosts::on_disk(dir)?.start().await?;
    let mut rates = Vec::new();
    for _ in 0..5 {
        let before = host.stats();
        let began = Instant::now();
        let mut runs = tokio::task::JoinSet::new();
        for _ in 0..1_000 {
            let host = host.clone();
            runs.spawn(async move { host.run("sequence").input(&5).start().await?.output::<i64>().await });
        }
        while let Some(result) = runs.join_next().await {
            anyhow::ensure!(result?? == 5, "a run gave another output");
        }
        let took = began.elapsed();
        let after = host.stats();
        rates.push((took, after.flushes - before.flushes, after.event_bytes - before.event_bytes));
    }
    host.shutdown().await;
    rates.sort_unstable();
    let (took, flushes, bytes) = rates[rates.len() / 2];
    let raw = floor::groups(&dir.with_extension("raw"), bytes, flushes)?;
    Ok(vec![
        figure("steps_per_s", 5_000.0 / took.as_secs_f64(), "durable steps, 1000 runs of 5 (median of 5 rounds)"),
        figure("flushes", flushes as f64, "flushes they shared"),
        figure("event_bytes", bytes as f64, "bytes of events"),
        figure(
            "throughput_to_floor",
            raw.as_secs_f64() / took.as_secs_f64(),
            "a raw file's time for these bytes in as many write + fdatasync, divided by ours",
        ),
    ])
}

/// What a step costs in a short run and in a long one.
pub async fn growth(dir: &Path) -> anyhow::Result<Figures> {
    let host = hosts::on_disk(dir)?.start().await?;
    let mut short = Vec::new();
    for _ in 0..11 {
        short.push(hosts::sequence(&host, 100).await? / 100);
    }
    let long = hosts::sequence(&host, 10_000).await? / 10_000;
    for _ in 0..10 {
        short.push(hosts::sequence(&host, 100).await? / 100);
    }
    host.shutdown().await;
    let short = median(short);
    Ok(vec![
        figure("step_us_in_100", micros(short), "a step in a run of 100, start and end included"),
        figure("step_us_in_10000", micros(long), "a step in a run of 10 000"),
        figure("growth", long.as_secs_f64() / short.as_secs_f64(), "the one divided by the other"),
    ])
}

/// One run that opens 1000 tasks with one step each.
pub async fn parallel(dir: &Path) -> anyhow::Result<Figures> {
    let host = hosts::on_disk(dir)?.start().await?;
    let mut times = Vec::new();
    for _ in 0..7 {
        let began = Instant::now();
        let output: i64 = host.run("parallel").input(&1_000).start().await?.output().await?;
        anyhow::ensure!(output == 1_000, "the run gave {output}");
        times.push(began.elapsed());
    }
    host.shutdown().await;
    Ok(vec![figure("parallel_1000_ms", millis(median(times)), "a run with 1000 parallel steps, start to output")])
}
