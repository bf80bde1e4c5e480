//! Runs that make one step after the other while nothing else happens, and the floor in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use durhai::{Host, Limits, RunId, StepContext, StepError};
use parking_lot::Mutex;
use tokio::sync::Barrier;

use crate::figures::{Figures, Unit, median, micros, once, repeated};
use crate::floor::Floor;
use crate::store::Stored;
use crate::usage;

/// Steps one after the other, in legs; after each leg it stops.
const LEGS: &str = r#"
    let x = 0;
    for leg in input { for i in 0..leg { x = use_step("add", x); } use_step("stop", x); }
    x
"#;

/// Writes of the floor at each stop.
const FLOORS: usize = 100;

/// Steps before a place in a long run whose median is taken, at most.
const BEFORE: usize = 1_000;

/// One run of sequential steps, stopped four times for the floor.
pub async fn step(dir: &Path, steps: usize) -> anyhow::Result<Figures> {
    let legs = Legs::measure(dir, &["lone".to_owned()], &[steps / 4; 4]).await?;
    let gaps: Vec<Duration> = legs.runs.iter().flatten().flatten().copied().collect();
    let floor = legs.floors.concat();
    let mean = |gaps: &[Duration]| gaps.iter().sum::<Duration>().as_secs_f64() / gaps.len() as f64;
    let worst = gaps.chunks(100).map(mean).fold(0.0, f64::max) / mean(&gaps[..gaps.len().min(100)]);
    let ratio = of(median(gaps.clone()), median(floor.clone()));
    Ok(vec![
        repeated("step_p50_us", us(&gaps), Unit::Microseconds, "one durable step in one run"),
        repeated("step_floor_us", us(&floor), Unit::Microseconds, "the floor, measured between these steps"),
        once("step_to_floor", ratio, Unit::Ratio, "the one divided by the other"),
        once("step_cpu_us", legs.cpu_of_a_step(), Unit::Microseconds, "processor time of the process for such a step"),
        once(
            "slowest_100_to_first_100",
            worst,
            Unit::Ratio,
            "the slowest hundred of these steps, times the first hundred",
        ),
    ])
}

/// Two such runs side by side, which share a host and a store and nothing else.
pub async fn pair(dir: &Path, rounds: usize, steps: usize) -> anyhow::Result<Figures> {
    let (mut times, mut ratios) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let (mut floors, mut cpu) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // A run's worker follows from its id: some of these pairs share one, and every measurement has the same pairs.
        let ids = ["first", "second"].map(|name| format!("{name}-{round}"));
        let legs = Legs::measure(&dir.join(round.to_string()), &ids, &[steps / 4; 4]).await?;
        let floor = median(legs.floors.concat());
        for (index, run) in legs.runs.iter().enumerate() {
            let step = median(run.concat());
            times[index].push(micros(step));
            ratios[index].push(of(step, floor));
        }
        floors.push(micros(floor));
        cpu.push(legs.cpu_of_a_step());
    }
    let ([first, second], [first_ratio, second_ratio]) = (times, ratios);
    Ok(vec![
        repeated("pair_first_step_us", first, Unit::Microseconds, "a step of a run beside another one"),
        repeated("pair_second_step_us", second, Unit::Microseconds, "a step of that other one"),
        repeated("pair_floor_us", floors, Unit::Microseconds, "the floor, measured between these steps"),
        repeated("pair_first_to_floor", first_ratio, Unit::Ratio, "the first, times the floor"),
        repeated("pair_second_to_floor", second_ratio, Unit::Ratio, "the second, times the floor"),
        repeated("pair_step_cpu_us", cpu, Unit::Microseconds, "processor time of the process for a step of either"),
    ])
}

/// What a step takes at some places of a run that is long.
pub async fn long(dir: &Path, rounds: usize, places: [usize; 3]) -> anyhow::Result<Figures> {
    let [first, second, last] = places;
    let (mut steps, mut floors, mut ratios) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3], Vec::new());
    for round in 0..rounds {
        let dir = dir.join(round.to_string());
        let legs = Legs::measure(&dir, &["long".to_owned()], &[first, second - first, last - second]).await?;
        let mut ratio = [0.0; 3];
        for (place, (leg, floor)) in legs.runs[0].iter().zip(&legs.floors).enumerate() {
            let step = median(leg[leg.len().saturating_sub(BEFORE)..].to_vec());
            let floor = median(floor.clone());
            steps[place].push(micros(step));
            floors[place].push(micros(floor));
            ratio[place] = of(step, floor);
        }
        ratios.push(ratio);
    }
    let mut figures = Figures::new();
    for (index, (place, (steps, floors))) in places.into_iter().zip(steps.into_iter().zip(floors)).enumerate() {
        let ratios = ratios.iter().map(|ratio| ratio[index]).collect();
        figures.push(repeated(
            format!("step_us_at_{place}"),
            steps,
            Unit::Microseconds,
            format!("the median of the {} steps up to step {place} of a run of {last}", place.min(BEFORE)),
        ));
        figures.push(repeated(format!("floor_us_at_{place}"), floors, Unit::Microseconds, "the floor there"));
        figures.push(repeated(
            format!("step_to_floor_at_{place}"),
            ratios,
            Unit::Ratio,
            "the one divided by the other",
        ));
    }
    let flat = ratios.iter().map(|[first, _, last]| last / first).collect();
    figures.push(repeated(
        "long_growth",
        flat,
        Unit::Ratio,
        format!("step_to_floor_at_{last} divided by step_to_floor_at_{first}: 1 is flat"),
    ));
    Ok(figures)
}

fn us(times: &[Duration]) -> Vec<f64> {
    times.iter().copied().map(micros).collect()
}

fn of(time: Duration, floor: Duration) -> f64 {
    time.as_secs_f64() / floor.as_secs_f64()
}

/// What was measured of runs that made the same legs.
struct Legs {
    /// Of each run and each leg the times from one step to the next.
    runs: Vec<Vec<Vec<Duration>>>,
    /// Of each stop the times of the floor.
    floors: Vec<Vec<Duration>>,
    /// Without what was done at the stops.
    cpu: Duration,
}

impl Legs {
    /// On a new store. The floor is a file in the same folder.
    async fn measure(dir: &Path, ids: &[String], legs: &[usize]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let seen = Arc::new(Seen {
            stop: Barrier::new(ids.len()),
            floor: Mutex::new(Floor::of_a_step(&dir.join("floor"))?),
            floors: Mutex::default(),
            steps: Mutex::default(),
            stopped_cpu: Mutex::default(),
        });
        let (adds, stops) = (seen.clone(), seen.clone());
        // More than a log may have by default.
        let limits = Limits { log_events: u64::MAX, log_bytes: u64::MAX, ..Limits::default() };
        let builder = Host::builder()
            .limits(limits)
            .workflow("legs", LEGS)
            .step("add", move |context: StepContext, x: i64| {
                adds.step(context.run_id());
                async move { Ok::<_, StepError>(x + 1) }
            })
            .step("stop", move |context: StepContext, _: i64| {
                let seen = stops.clone();
                async move { seen.stopped(context.run_id()).await }
            });
        let stored = Stored::start(builder, &dir.join("store")).await?;
        let before = usage::cpu();
        let mut runs = Vec::new();
        for id in ids {
            runs.push(stored.host.run("legs").id(id).input(legs).start().await?);
        }
        for run in runs {
            let output: usize = run.output().await?;
            anyhow::ensure!(output == legs.iter().sum::<usize>(), "the run gave {output}");
        }
        let cpu = usage::cpu() - before - *seen.stopped_cpu.lock();
        stored.close().await?;
        let mut steps = std::mem::take(&mut *seen.steps.lock());
        let gaps = |leg: Vec<Instant>| leg.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let runs = ids.iter().map(|id| {
            let mut legs = steps.remove(id.as_str()).unwrap_or_default();
            // What was begun at the last stop.
            legs.pop();
            legs.into_iter().map(gaps).collect()
        });
        Ok(Legs { runs: runs.collect(), floors: std::mem::take(&mut *seen.floors.lock()), cpu })
    }

    fn cpu_of_a_step(&self) -> f64 {
        // One more than gaps in each leg.
        let steps: usize = self.runs.iter().flatten().map(|gaps| gaps.len() + 1).sum();
        micros(self.cpu) / steps as f64
    }
}

/// What the steps see.
struct Seen {
    /// Passed when all runs have come to it.
    stop: Barrier,
    floor: Mutex<Floor>,
    floors: Mutex<Vec<Vec<Duration>>>,
    /// Of each run and each leg when its steps were begun.
    steps: Mutex<BTreeMap<String, Vec<Vec<Instant>>>>,
    stopped_cpu: Mutex<Duration>,
}

impl Seen {
    fn step(&self, run: &RunId) {
        let mut runs = self.steps.lock();
        let now = Instant::now();
        match runs.get_mut(run.as_str()) {
            Some(legs) => legs.last_mut().expect("a leg").push(now),
            None => drop(runs.insert(run.as_str().to_owned(), vec![vec![now]])),
        }
    }

    /// All runs stand still while one of them measures.
    async fn stopped(self: Arc<Self>, run: &RunId) -> Result<(), StepError> {
        self.steps.lock().get_mut(run.as_str()).expect("it made steps").push(Vec::new());
        if self.stop.wait().await.is_leader() {
            let seen = self.clone();
            let measured = tokio::task::spawn_blocking(move || {
                let before = usage::cpu();
                let times = seen.floor.lock().writes(FLOORS)?;
                seen.floors.lock().push(times);
                *seen.stopped_cpu.lock() += usage::cpu() - before;
                Ok::<_, std::io::Error>(())
            });
            let done = measured.await.map_err(StepError::fatal).and_then(|done| done.map_err(StepError::fatal));
            // Also after a failure: the others wait here.
            self.stop.wait().await;
            return done;
        }
        self.stop.wait().await;
        Ok(())
    }
}
