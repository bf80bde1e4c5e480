//! `durhai bench`: what this machine's disk gives, and how much of it durhai uses. `host/docs/bench.md` says what the figures
//! mean.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use durhai_bench::child::end_all;
use durhai_bench::figures::{Figure, Figures};
use durhai_bench::run_child;
use durhai_bench::section::{Section, Setting};
use durhai_bench::sizes::Sizes;
use serde_json::{Map, Value, json};

use crate::args::{Bench, Globals};
use crate::exit::{Exit, Fail};
use crate::interrupt::Interrupt;
use crate::note::note;
use crate::output::Out;

/// Runs the bench in a folder of its own below the data folder, which is removed afterwards.
pub async fn run(args: Bench, globals: &Globals, out: &Out) -> Result<Exit, Fail> {
    let mut interrupt = Interrupt::listen();
    if let Some(words) = &args.child {
        // One that was asked to stop is stopped by the end of its parent, which removes the folder.
        let [what, dir, count] = &words[..] else { return Err(Fail::new(Exit::Usage, "--child takes three values")) };
        let count = count.parse().map_err(|_| Fail::new(Exit::Usage, format!("{count:?} is no number")))?;
        let done = run_child(what, Path::new(dir), count, &|line| note(line)).await;
        return done.map(|()| Exit::Done).map_err(failed);
    }
    let database = globals.database().is_some();
    let (sections, sizes) = (args.sections(database), args.sizes());
    let machine = machine();
    if args.takes_long() {
        note("this takes some minutes; `--only NAME` measures one part, `--quick` says in seconds whether it works");
    }
    let dir = Scratch::new(&globals.data).map_err(failed)?;
    let folder = dir.0.clone();
    tokio::spawn(async move {
        interrupt.wait().await;
        end_all();
        // A store in this process may put something into it meanwhile, but not into what is gone.
        let _ = (0..100).any(|_| std::fs::remove_dir_all(&folder).is_ok());
        std::process::exit(Exit::Interrupted as i32);
    });
    let setting = Setting { dir: &dir.0, sizes: &sizes, child: &start, database: globals.database() };
    let mut measured = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        note(format!("{} of {}: {}: {} …", index + 1, sections.len(), section.name(), section.about(&sizes, database)));
        measured.push((*section, section.measure(&setting).await.map_err(failed)?));
    }
    if out.json {
        out.document(&document(machine, &sizes, database, &measured));
    } else {
        for (section, figures) in &measured {
            out.line(format!("{}: {}", section.name(), section.about(&sizes, database)));
            figures.iter().for_each(|figure| out.line(line(figure)));
        }
    }
    Ok(Exit::Done)
}

/// What `--json` prints.
fn document(machine: Value, sizes: &Sizes, database: bool, measured: &[(Section, Figures)]) -> Value {
    let sections = measured.iter().map(|(section, figures)| {
        let figures = figures.iter().map(|figure| (figure.key.clone(), value(figure)));
        let about = section.about(sizes, database);
        (section.name().to_owned(), json!({ "about": about, "figures": figures.collect::<Map<_, _>>() }))
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "machine": machine,
        "sections": sections.collect::<Map<_, _>>(),
    })
}

fn value(figure: &Figure) -> Value {
    let mut value = json!({ "value": round(figure.value), "unit": figure.unit.name(), "meaning": figure.meaning });
    if let Some(spread) = figure.spread {
        value["low"] = json!(round(spread.low));
        value["high"] = json!(round(spread.high));
        value["samples"] = json!(spread.samples);
    }
    value
}

/// A figure for people: key, value, unit, spread, meaning.
fn line(figure: &Figure) -> String {
    let spread = figure.spread.map_or(String::new(), |spread| {
        format!("[{} .. {}, n={}] ", round(spread.low), round(spread.high), spread.samples)
    });
    let Figure { key, value, unit, meaning, .. } = figure;
    format!("  {key:<34} {:>12} {:<5}  {spread}{meaning}", round(*value), unit.name())
}

/// What the figures are of, and how busy it was before.
fn machine() -> Value {
    let first = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().next().unwrap_or_default().to_owned()
    };
    json!({
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "kernel": first("/proc/sys/kernel/osrelease"),
        "cpus": std::thread::available_parallelism().map_or(1, |count| count.get()),
        "load": first("/proc/loadavg").parse::<f64>().ok(),
    })
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
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
