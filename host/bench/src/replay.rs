//! Running a log again, against running the same script with a plain native function.

use std::path::Path;
use std::time::{Duration, Instant};

use durhai::logs::ReplayOptions;

use crate::figures::{Figures, figure, median};
use crate::hosts::{self, SEQUENCE};

const STEPS: i64 = 10_000;

pub async fn measure(dir: &Path) -> anyhow::Result<Figures> {
    let host = hosts::on_disk(dir)?.start().await?;
    let run = host.run("sequence").input(&STEPS).start().await?;
    run.output::<i64>().await?;
    let mut times = Vec::new();
    let mut events = 0;
    for _ in 0..7 {
        let view = run.replay(ReplayOptions::default()).await?;
        anyhow::ensure!(view.divergence.is_none() && view.output == STEPS, "the replay gave {view:?}");
        events = view.events;
        times.push(Duration::from_micros(view.micros));
    }
    host.shutdown().await;
    let replay = median(times).as_secs_f64();
    let native = native()?.as_secs_f64();
    Ok(vec![
        figure("replay_events_per_s", events as f64 / replay, "events of a 10 000-step log replayed"),
        figure("replay_to_native", replay / native, "times the same script with a plain function as step"),
    ])
}

/// The script of the bench in a bare Rhai engine, each step a native call.
fn native() -> anyhow::Result<Duration> {
    let mut engine = rhai::Engine::new();
    engine.register_fn("use_step", |_: &str, x: i64| x + 1);
    let script = engine.compile(SEQUENCE)?;
    let mut times = Vec::new();
    for _ in 0..7 {
        let mut scope = rhai::Scope::new();
        scope.push_constant("input", STEPS);
        let began = Instant::now();
        let output: i64 =
            engine.eval_ast_with_scope(&mut scope, &script).map_err(|error| anyhow::anyhow!("{error}"))?;
        times.push(began.elapsed());
        anyhow::ensure!(output == STEPS, "the script gave {output}");
    }
    Ok(median(times))
}
