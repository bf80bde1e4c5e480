//! A process that dies after many steps, and the time from the start of the next one to the end of the run.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use durhai::{Host, SledWorld, StepContext, StepError};

use crate::child::{self, Child};
use crate::figures::{Figures, Unit, millis, repeated};

const RUN: &str = "recovered";

const ROUNDS: usize = 5;

/// Prepares and recovers runs of so many steps in processes of their own.
pub fn measure(dir: &Path, sizes: [usize; 2], child: Child<'_>) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    for steps in sizes {
        let times: Vec<_> = (0..ROUNDS)
            .map(|i| once(&dir.join(format!("{steps}-{i}")), steps, child).map(millis))
            .collect::<Result<_, _>>()?;
        let meaning = format!("from process start to done, after kill -9 with {steps} steps done");
        figures.push(repeated(format!("recovery_{steps}_steps_ms"), times, Unit::Milliseconds, meaning));
    }
    Ok(figures)
}

fn once(dir: &Path, steps: usize, child_of: Child<'_>) -> anyhow::Result<Duration> {
    let mut victim = child::begin(child_of("prepare", dir, steps)?.stdout(Stdio::piped()))?;
    let mut line = String::new();
    BufReader::new(victim.stdout.take().expect("it is piped")).read_line(&mut line)?;
    anyhow::ensure!(line.trim() == "ready", "the process to be killed said {line:?}");
    victim.kill()?;
    child::reap(victim)?;
    let began = Instant::now();
    let output = child::output(child_of("recover", dir, steps)?.stdout(Stdio::piped()))?;
    let took = began.elapsed();
    let said = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(said.trim() == (steps + 1).to_string(), "the recovered run said {said:?}");
    std::fs::remove_dir_all(dir)?;
    Ok(took)
}

/// `prepare`: all steps but the last, which never ends. Otherwise: the rest.
pub(crate) async fn run(prepare: bool, dir: &Path, steps: usize) -> anyhow::Result<()> {
    let last = steps as i64;
    let host = Host::builder()
        .world(SledWorld::open(dir)?)
        .adopt(false)
        .workflow("long", r#"let x = 0; for i in 0..input { x = use_step("add", x); } use_step("add", x)"#)
        .step("add", move |_: StepContext, x: i64| async move {
            if prepare && x == last {
                println!("ready");
                std::future::pending::<()>().await;
            }
            Ok::<_, StepError>(x + 1)
        })
        .start()
        .await?;
    let output: i64 = host.run("long").id(RUN).input(&last).start().await?.output().await?;
    println!("{output}");
    Ok(())
}
