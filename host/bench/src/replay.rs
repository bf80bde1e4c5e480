//! Running a log again, against running the same script with a plain native function.

use std::path::Path;
use std::time::{Duration, Instant};

use durhai::logs::ReplayOptions;

use crate::figures::{Figures, Unit, median, once, repeated};
use crate::hosts::{self, SEQUENCE};

const ROUNDS: usize = 7;

pub async fn measure(dir: &Path, steps: usize) -> anyhow::Result<Figures> {
    let host = hosts::on_disk(dir)?.start().await?;
    let run = host.run("sequence").input(&steps).start().await?;
    run.output::<usize>().await?;
    let mut times = Vec::new();
    let mut events = 0;
    for _ in 0..ROUNDS {
        let view = run.replay(ReplayOptions::default()).await?;
        anyhow::ensure!(view.divergence.is_none() && view.output == steps, "the replay gave {view:?}");
        events = view.events;
        times.push(Duration::from_micros(view.micros));
    }
    host.shutdown().await;
    let rates = times.iter().map(|time| events as f64 / time.as_secs_f64()).collect();
    let ratio = median(times).as_secs_f64() / native(steps)?.as_secs_f64();
    let meaning = format!("events of a log of {steps} steps replayed");
    Ok(vec![
        repeated("replay_events_per_s", rates, Unit::PerSecond, meaning),
        once("replay_to_native", ratio, Unit::Ratio, "times the same script with a plain function as step"),
    ])
}

/// The script of the bench in a bare Rhai engine, each step a native call.
fn native(steps: usize) -> anyhow::Result<Duration> {
    let steps = i64::try_from(steps)?;
    let mut engine = rhai::Engine::new();
    engine.register_fn("use_step", |_: &str, x: i64| x + 1);
    let script = engine.compile(SEQUENCE)?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let mut scope = rhai::Scope::new();
        scope.push_constant("input", steps);
        let began = Instant::now();
        let output: i64 =
            engine.eval_ast_with_scope(&mut scope, &script).map_err(|error| anyhow::anyhow!("{error}"))?;
        times.push(began.elapsed());
        anyhow::ensure!(output == steps, "the script gave {output}");
    }
    Ok(median(times))
}
