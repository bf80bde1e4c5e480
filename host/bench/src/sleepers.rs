//! So many runs that wait that nobody would hold them in memory: made, put away, found again by the next process, some of them
//! woken.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use durhai::{Host, Query, RunId};
use serde_json::{Value, json};

use crate::child::{self, Child};
use crate::figures::{Figures, Unit, micros, millis, once, repeated};
use crate::hosts::{self, order};
use crate::progress::{Progress, Say};
use crate::store::{Stored, each};
use crate::usage;

/// How often a list is asked for, and how many runs are shown.
const ASKED: usize = 21;

/// What `durhai show` reads of a run at a time.
const PAGE: usize = 1_000;

/// One process makes them; another one, which has nothing of it in memory, finds them.
pub fn measure(dir: &Path, runs: usize, child: Child<'_>) -> anyhow::Result<Figures> {
    let woken = woken(runs);
    let lines = child::ask(child, "sleep", dir, runs)?;
    let [made] = &lines[..] else { anyhow::bail!("found {lines:?}, expected one line") };
    let disk = usage::disk(dir)?;
    let (served, found) = find(dir, runs, child)?;
    let of = |line: &Value, key| child::number(line, key);
    let many = |key: &str| -> anyhow::Result<Vec<f64>> {
        let values = found[key].as_array().into_iter().flatten().map(Value::as_f64).collect::<Option<Vec<_>>>();
        values.filter(|values| !values.is_empty()).ok_or_else(|| anyhow::anyhow!("found {found}, expected {key:?}"))
    };
    let each = runs as f64;
    let woke = "started again: from their signals, sent at once, to the last output";
    Ok(vec![
        once("sleepers", each, Unit::Count, "runs that wait for a signal or thirty days"),
        once("sleepers_make_s", of(made, "seconds")?, Unit::Seconds, "until all wait, are evicted and have settled"),
        once(
            "sleepers_make_cpu_us_per_run",
            of(made, "cpu_us")? / each,
            Unit::Microseconds,
            "processor time of the process meanwhile",
        ),
        once("sleepers_make_resident_bytes", of(made, "resident")?, Unit::Bytes, "the process that made them, then"),
        once("sleepers_close_ms", of(made, "close_ms")?, Unit::Milliseconds, "stop of the host, close of the store"),
        once("sleepers_disk_bytes", disk.blocks, Unit::Bytes, "the closed store, as blocks"),
        once("sleepers_disk_bytes_per_run", disk.blocks / each, Unit::Bytes, "of each, as blocks"),
        once("sleepers_length_bytes_per_run", disk.length / each, Unit::Bytes, "of each, as lengths of files"),
        once(
            "sleepers_serve_ms",
            millis(served),
            Unit::Milliseconds,
            "from the start of another process until its host answers; the files are in the system's memory",
        ),
        once(
            "sleepers_serve_cpu_ms",
            of(&found, "serve_cpu_ms")?,
            Unit::Milliseconds,
            "processor time of that process until then",
        ),
        once("sleepers_resident_bytes", of(&found, "resident")?, Unit::Bytes, "that process when it serves"),
        repeated("sleepers_list_100_ms", many("list")?, Unit::Milliseconds, "it lists the newest hundred"),
        repeated("sleepers_show_ms", many("show")?, Unit::Milliseconds, "it reads what `durhai show` shows of a run"),
        once(
            format!("sleepers_wake_{woken}_ms"),
            of(&found, "wake_ms")?,
            Unit::Milliseconds,
            format!("{woken} of them {woke}"),
        ),
    ])
}

/// How many of so many are woken.
fn woken(runs: usize) -> usize {
    (runs / 20).clamp(1, 1_000)
}

/// How long the other process took until it served, and what it said then.
fn find(dir: &Path, runs: usize, child: Child<'_>) -> anyhow::Result<(Duration, Value)> {
    let began = Instant::now();
    let mut process = child::begin(child("wake", dir, runs)?.stdout(Stdio::piped()).stderr(Stdio::inherit()))?;
    let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    let first = lines.next().transpose()?;
    let served = began.elapsed();
    let second = lines.next().transpose()?;
    let status = child::reap(process)?.status;
    match (first.as_deref(), second) {
        (Some("serving"), Some(line)) if status.success() => Ok((served, serde_json::from_str(&line)?)),
        said => anyhow::bail!("the process that should find {runs} runs ended with {status} after {said:?}"),
    }
}

/// Makes them.
pub(crate) async fn sleep(dir: &Path, runs: usize, say: Say<'_>) -> anyhow::Result<()> {
    let builder = hosts::workflows().max_live_runs(1_000).evict_after(Duration::ZERO);
    let stored = Stored::start(builder, dir).await?;
    let mut progress = Progress::new(say, "sleepers", runs);
    let (began, before) = (Instant::now(), usage::cpu());
    each(0..runs, &mut progress, |number| hosts::waits(&stored.host, "sleep", number)).await?;
    stored.at_rest().await?;
    stored.live(0).await?;
    stored.settled().await?;
    let (took, cpu, resident) = (began.elapsed(), usage::cpu() - before, usage::resident()?);
    say("sleepers: the store is closed …");
    let closing = stored.close().await?;
    let said = json!({
        "seconds": took.as_secs_f64(),
        "cpu_us": micros(cpu),
        "resident": resident,
        "close_ms": millis(closing),
    });
    println!("{said}");
    Ok(())
}

/// Finds them.
pub(crate) async fn wake(dir: &Path, runs: usize) -> anyhow::Result<()> {
    let woken = woken(runs);
    let stored = Stored::start(hosts::workflows(), dir).await?;
    let host = &stored.host;
    host.list(Query { limit: 1, ..Query::default() }).await?;
    println!("serving");
    let (resident, serve_cpu) = (usage::resident()?, usage::cpu());
    let (mut lists, mut shows) = (Vec::new(), Vec::new());
    let expected = runs.min(100);
    for number in 0..ASKED {
        let began = Instant::now();
        let found = host.list(Query { limit: 100, ..Query::default() }).await?.runs.len();
        lists.push(millis(began.elapsed()));
        anyhow::ensure!(found == expected, "a list has {found} runs, expected {expected}");
        let began = Instant::now();
        show(host, &order(runs / ASKED * number)).await?;
        shows.push(millis(began.elapsed()));
    }
    let began = Instant::now();
    each(0..woken, &mut Progress::new(&|_| (), "", woken), |number| {
        let (host, number) = (host.clone(), runs / woken * number);
        async move {
            let run = host.get(&order(number)).await?;
            run.signal("go", &true).await?;
            let output: Value = run.output().await?;
            anyhow::ensure!(output["order"] == number, "a run gave {output}");
            Ok(())
        }
    })
    .await?;
    let took = began.elapsed();
    let said = json!({
        "resident": resident,
        "serve_cpu_ms": millis(serve_cpu),
        "list": lists,
        "show": shows,
        "wake_ms": millis(took),
    });
    println!("{said}");
    stored.close().await.map(drop)
}

/// What `durhai show` asks.
async fn show(host: &Host, id: &str) -> anyhow::Result<()> {
    let run = host.get(id).await?;
    let view = run.view().await?;
    anyhow::ensure!(!view.status.is_terminal(), "{id} does not wait: {view:?}");
    let children = Query { parent: Some(RunId::new(id)?), limit: PAGE, ..Query::default() };
    host.list(children).await?;
    run.suspensions().await?;
    run.events(1, PAGE).await?;
    Ok(())
}
