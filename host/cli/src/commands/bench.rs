//! `durhai bench`: what this machine's disk gives, and how much of it durhai uses. Every figure is measured in one run
//! of the command, so that ratios compare like with like.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use durhai_bench::figures::{Figures, figure, micros};
use durhai_bench::{floor, live, memory, recovery, replay, run_child};
use serde_json::{Map, Value, json};

use crate::args::Bench;
use crate::exit::{Exit, Fail};
use crate::note::note;
use crate::output::Out;

/// Runs the bench in a folder of its own below the data folder, which is removed afterwards.
pub async fn run(args: Bench, data: &Path, out: &Out) -> Result<Exit, Fail> {
    if let Some(words) = &args.child {
        let [what, dir, count] = &words[..] else { return Err(Fail::new(Exit::Usage, "--child takes three values")) };
        let count = count.parse().map_err(|_| Fail::new(Exit::Usage, format!("{count:?} is no number")))?;
        return run_child(what, Path::new(dir), count).await.map(|()| Exit::Done).map_err(failed);
    }
    let dir = Scratch::new(data).map_err(failed)?;
    let wanted = |part: &str| args.only.is_empty() || args.only.iter().any(|only| only == part);
    let mut figures = Figures::new();
    let before = append(&dir)?;
    let mut step = None;
    if wanted("step") {
        note("one run of sequential steps …");
        step = Some(live::step(&dir.path("step")).await.map_err(failed)?);
    }
    // Disks have moods: the better of two moments is the floor.
    let floor = before.min(append(&dir)?);
    figures.push(figure("floor_append_p50_us", micros(floor), "append 256 bytes to a file, fdatasync"));
    if let Some(step) = step {
        figures.extend(step.figures(floor));
    }
    if wanted("throughput") {
        note("1000 runs of 5 steps …");
        figures.extend(live::throughput(&dir.path("throughput")).await.map_err(failed)?);
    }
    if wanted("growth") {
        note("a run of 100 and one of 10 000 steps …");
        figures.extend(live::growth(&dir.path("growth")).await.map_err(failed)?);
    }
    if wanted("parallel") {
        note("1000 parallel steps …");
        figures.extend(live::parallel(&dir.path("parallel")).await.map_err(failed)?);
    }
    if wanted("replay") {
        note("replay …");
        figures.extend(replay::measure(&dir.path("replay")).await.map_err(failed)?);
    }
    if wanted("recovery") {
        note("kill -9 and recovery …");
        figures.extend(recovery::measure(&dir.path("recovery"), &start).map_err(failed)?);
    }
    if wanted("memory") {
        note("waiting runs …");
        figures.extend(memory::measure(&dir.path("memory"), args.waiting, &start).map_err(failed)?);
    }
    if out.json {
        let map: Map<String, Value> =
            figures.iter().map(|figure| (figure.key.to_owned(), json!(round(figure.value)))).collect();
        out.document(&map);
    } else {
        for figure in &figures {
            out.line(format!("{:<34} {:>12}  {}", figure.key, round(figure.value), figure.meaning));
        }
    }
    Ok(Exit::Done)
}

fn append(dir: &Scratch) -> Result<std::time::Duration, Fail> {
    floor::append(&dir.path("floor")).map_err(|error| failed(error.into()))
}

/// This program again, as a child of the bench.
fn start(what: &str, dir: &Path, count: usize) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "--child", what]).arg(dir).arg(count.to_string());
    Ok(command)
}

fn failed(error: anyhow::Error) -> Fail {
    Fail::new(Exit::Unreachable, format!("the bench failed: {error:#}"))
}

/// Three digits that count.
fn round(value: f64) -> f64 {
    match value.abs() {
        abs if abs >= 100.0 => value.round(),
        abs if abs >= 10.0 => (value * 10.0).round() / 10.0,
        _ => (value * 1000.0).round() / 1000.0,
    }
}

/// A folder that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(data: &Path) -> anyhow::Result<Self> {
        let dir = data.join(format!("bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Scratch(std::path::absolute(dir)?))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
