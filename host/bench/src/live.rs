//! Runs that go on live: many at once, and many steps at once.

use std::path::Path;
use std::time::Instant;

use crate::figures::{Figures, Unit, median, micros, millis, once, repeated};
use crate::floor::Yardstick;
use crate::hosts::{self, STEPS};
use crate::progress::Progress;
use crate::store::each;
use crate::usage;

const ROUNDS: usize = 5;

/// Many short runs, started together.
pub async fn throughput(dir: &Path, runs: usize) -> anyhow::Result<Figures> {
    let host = hosts::on_disk(&dir.join("store"))?.start().await?;
    let steps = runs * STEPS;
    let yardstick = Yardstick::of_steps(steps);
    let (mut rates, mut cpu, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut flushes, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (before, cpu_before) = (host.stats(), usage::cpu());
        let began = Instant::now();
        each(0..runs, &mut Progress::new(&|_| (), "", runs), |_| hosts::short(&host)).await?;
        let took = began.elapsed();
        let cpu_took = usage::cpu() - cpu_before;
        let after = host.stats();
        // At once, as the disk is now what it was a moment before.
        let floor = yardstick.time(&dir.join("raw"))?;
        rates.push(steps as f64 / took.as_secs_f64());
        cpu.push(micros(cpu_took) / steps as f64);
        floors.push(millis(floor));
        ratios.push(floor.as_secs_f64() / took.as_secs_f64());
        flushes.push((after.flushes - before.flushes) as f64);
        bytes.push((after.event_bytes - before.event_bytes) as f64);
    }
    host.shutdown().await;
    let Yardstick { writes, bytes: each_write } = yardstick;
    let about = format!("durable steps: {runs} runs of {STEPS}, started together");
    Ok(vec![
        repeated("steps_per_s", rates, Unit::PerSecond, about),
        repeated("cpu_us_per_step", cpu, Unit::Microseconds, "processor time of the process meanwhile, for each step"),
        repeated("flushes", flushes, Unit::Count, "flushes they shared"),
        repeated("event_bytes", bytes, Unit::Bytes, "bytes of events"),
        once("throughput_floor_writes", writes as f64, Unit::Count, "what they are held against: so many writes"),
        once("throughput_floor_bytes", (writes * each_write) as f64, Unit::Bytes, "with so many bytes in all"),
        repeated(
            "throughput_floor_ms",
            floors,
            Unit::Milliseconds,
            "to a file, fdatasync after each, right after the round",
        ),
        repeated("throughput_to_floor", ratios, Unit::Ratio, "that time divided by the time of all the runs"),
    ])
}

/// What a step costs in a short run and in a long one.
pub async fn growth(dir: &Path, [few, many]: [usize; 2]) -> anyhow::Result<Figures> {
    let host = hosts::on_disk(dir)?.start().await?;
    let mut short = Vec::new();
    for _ in 0..11 {
        short.push(hosts::sequence(&host, few as i64).await? / few as u32);
    }
    let long = hosts::sequence(&host, many as i64).await? / many as u32;
    for _ in 0..10 {
        short.push(hosts::sequence(&host, few as i64).await? / few as u32);
    }
    host.shutdown().await;
    let growth = long.as_secs_f64() / median(short.clone()).as_secs_f64();
    let meaning = format!("a step in a run of {few}, start and end included");
    Ok(vec![
        repeated(format!("step_us_in_{few}"), short.into_iter().map(micros).collect(), Unit::Microseconds, meaning),
        once(format!("step_us_in_{many}"), micros(long), Unit::Microseconds, format!("a step in a run of {many}")),
        once("growth", growth, Unit::Ratio, "the second divided by the first"),
    ])
}

/// One run that opens so many tasks with one step each.
pub async fn parallel(dir: &Path, steps: usize) -> anyhow::Result<Figures> {
    let host = hosts::on_disk(dir)?.start().await?;
    let mut times = Vec::new();
    for _ in 0..7 {
        let began = Instant::now();
        let output: usize = host.run("parallel").input(&steps).start().await?.output().await?;
        anyhow::ensure!(output == steps, "the run gave {output}");
        times.push(millis(began.elapsed()));
    }
    host.shutdown().await;
    let meaning = format!("a run with {steps} parallel steps, start to output");
    Ok(vec![repeated(format!("parallel_{steps}_ms"), times, Unit::Milliseconds, meaning)])
}
