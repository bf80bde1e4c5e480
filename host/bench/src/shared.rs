//! Hosts on a PostgreSQL database, beside what its server gives without durhai.

use std::sync::Arc;
use std::time::{Duration, Instant};

use durhai::postgres::{Floor, PgWorld};
use durhai::{Host, World};

use crate::figures::{Figures, Unit, median, micros, millis, once, repeated};
use crate::hosts::{self, STEPS};
use crate::progress::Progress;
use crate::store::each;
use crate::usage;

const ROUNDS: usize = 5;

/// Statements of the floor between two measurements.
const FLOORS: usize = 200;

/// Steps of a run in `step`.
const SEQUENCE: i64 = 200;

/// Signals that are sent one after the other.
const SIGNALS: usize = 100;

/// A host, whose world ends with it.
async fn host(url: &str) -> anyhow::Result<Host> {
    let world: Arc<dyn World> = Arc::new(tokio::task::block_in_place(|| PgWorld::open(url))?);
    Ok(hosts::workflows().shared_world(world).start().await?)
}

fn floor<T>(url: &str, measure: impl FnOnce(&mut Floor) -> Result<T, durhai::WorldError>) -> anyhow::Result<T> {
    tokio::task::block_in_place(|| {
        let mut floor = Floor::begin(url)?;
        let measured = measure(&mut floor)?;
        floor.end()?;
        Ok(measured)
    })
}

/// The server on its own.
pub async fn server(url: &str) -> anyhow::Result<Figures> {
    // The schema is laid out.
    host(url).await?.shutdown().await;
    let (trips, inserts) = floor(url, |floor| Ok((floor.round_trips(400)?, floor.inserts(400)?)))?;
    let us = |times: Vec<Duration>| times.into_iter().map(micros).collect();
    Ok(vec![
        repeated("floor_round_trip_p50_us", us(trips), Unit::Microseconds, "select 1"),
        repeated("floor_insert_p50_us", us(inserts), Unit::Microseconds, "one row of 300 bytes inserted and committed"),
    ])
}

/// Runs of sequential steps, one at a time, with the floor in between.
pub async fn step(url: &str) -> anyhow::Result<Figures> {
    let host = host(url).await?;
    hosts::sequence(&host, SEQUENCE).await?;
    let (mut steps, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2 * ROUNDS {
        let step = hosts::sequence(&host, SEQUENCE).await? / SEQUENCE as u32;
        let insert = median(floor(url, |floor| floor.inserts(FLOORS))?);
        steps.push(micros(step));
        floors.push(micros(insert));
        ratios.push(step.as_secs_f64() / insert.as_secs_f64());
    }
    host.shutdown().await;
    Ok(vec![
        repeated(
            "step_p50_us",
            steps,
            Unit::Microseconds,
            format!("a step in a run of {SEQUENCE}, start and end included"),
        ),
        repeated("step_floor_us", floors, Unit::Microseconds, "the committed INSERT, measured between these runs"),
        repeated("step_to_floor", ratios, Unit::Ratio, "the one divided by the other"),
    ])
}

/// Many short runs, started together.
pub async fn throughput(url: &str, runs: usize) -> anyhow::Result<Figures> {
    let host = host(url).await?;
    let steps = runs * STEPS;
    let (mut rates, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (before, began) = (usage::cpu(), Instant::now());
        each(0..runs, &mut Progress::new(&|_| (), "", runs), |_| hosts::short(&host)).await?;
        rates.push(steps as f64 / began.elapsed().as_secs_f64());
        cpu.push(micros(usage::cpu() - before) / steps as f64);
    }
    host.shutdown().await;
    let about = format!("durable steps: {runs} runs of {STEPS}, started together");
    Ok(vec![
        repeated("steps_per_s", rates, Unit::PerSecond, about),
        repeated("cpu_us_per_step", cpu, Unit::Microseconds, "processor time of this process meanwhile, for each step"),
    ])
}

/// One run that opens so many tasks with one step each.
pub async fn parallel(url: &str, steps: usize) -> anyhow::Result<Figures> {
    let host = host(url).await?;
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

/// Runs that wait at one host, and signals that another one sends, each until the run has ended.
pub async fn signal(url: &str) -> anyhow::Result<Figures> {
    let (holder, sender) = (host(url).await?, host(url).await?);
    let mark = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_micros());
    let mut times = Vec::new();
    for number in 0..SIGNALS {
        let id = format!("signal-{mark}-{number}");
        let run = holder.run("wait").id(&id).input(&serde_json::json!({ "order": number })).start().await?;
        while run.status().await? != durhai::Status::Waiting {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let began = Instant::now();
        sender.get(&id).await?.signal("go", &true).await?;
        run.output::<serde_json::Value>().await?;
        times.push(millis(began.elapsed()));
    }
    let insert = median(floor(url, |floor| floor.inserts(FLOORS))?);
    holder.shutdown().await;
    sender.shutdown().await;
    Ok(vec![
        repeated(
            "signal_p50_ms",
            times,
            Unit::Milliseconds,
            "from a signal at one host to the end of the run at another",
        ),
        once("signal_floor_us", micros(insert), Unit::Microseconds, "a committed INSERT beside it"),
    ])
}
