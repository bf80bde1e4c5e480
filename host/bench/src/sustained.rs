//! Many short runs for longer than a window of the journal lasts, until all of it is in its last place.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use crate::child::{self, Child};
use crate::figures::{Figures, Unit, micros, millis, once};
use crate::hosts::{self, STEPS};
use crate::progress::{Progress, Say};
use crate::store::{Stored, each};
use crate::usage;

/// In a process of its own, whose memory nobody has used before.
pub fn measure(dir: &Path, runs: usize, child: Child<'_>) -> anyhow::Result<Figures> {
    let lines = child::ask(child, "sustained", dir, runs)?;
    let [line] = &lines[..] else { anyhow::bail!("found {lines:?}, expected one line") };
    let number = |key| child::number(line, key);
    let (seconds, cpu, close) = (number("seconds")?, number("cpu_us")?, number("close_ms")?);
    // The store is closed: nothing but what runs left is there.
    let disk = usage::disk(dir)?;
    let steps = (runs * STEPS) as f64;
    let about = format!("durable steps: {runs} runs of {STEPS}, until the store is closed and all has settled");
    Ok(vec![
        once("sustained_steps_per_s", steps / seconds, Unit::PerSecond, about),
        once("sustained_cpu_us_per_step", cpu / steps, Unit::Microseconds, "processor time of the process meanwhile"),
        once("sustained_close_ms", close, Unit::Milliseconds, "of that time the stop of the host and the close"),
        once("sustained_disk_bytes_per_run", disk.blocks / runs as f64, Unit::Bytes, "of the closed store, as blocks"),
        once("sustained_length_bytes_per_run", disk.length / runs as f64, Unit::Bytes, "the same, as lengths of files"),
    ])
}

pub(crate) async fn run(dir: &Path, runs: usize, say: Say<'_>) -> anyhow::Result<()> {
    let stored = Stored::start(hosts::workflows(), dir).await?;
    let mut progress = Progress::new(say, "sustained", runs);
    let (began, before) = (Instant::now(), usage::cpu());
    each(0..runs, &mut progress, |_| hosts::short(&stored.host)).await?;
    let closing = stored.close().await?;
    let (took, cpu) = (began.elapsed(), usage::cpu() - before);
    println!("{}", json!({ "seconds": took.as_secs_f64(), "cpu_us": micros(cpu), "close_ms": millis(closing) }));
    Ok(())
}
