//! What a waiting run costs, in memory and on disk.

use std::ops::Range;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use durhai::{Host, Query, SledWorld, Status};

use crate::child::Child;
use crate::figures::{Figures, figure};

/// Counts in processes of their own, so that nothing else is counted. What a process takes for itself (threads, caches,
/// what its allocator keeps) is there after the first quarter of the runs; the rest is what runs cost.
pub fn measure(dir: &Path, runs: usize, child: Child<'_>) -> anyhow::Result<Figures> {
    let live = report(child, "live", &dir.join("live"), runs)?;
    let evicted = report(child, "evict", &dir.join("evicted"), runs)?;
    let per_run = |memory: &Memory| memory.grown / (runs - runs / 4) as f64;
    Ok(vec![
        figure("resident_bytes_per_waiting_run", per_run(&live), "a run that waits with its fiber in memory"),
        figure("resident_bytes_per_evicted_run", per_run(&evicted), "one whose fiber was dropped"),
        figure("resident_bytes_of_the_host", live.resident - per_run(&live) * runs as f64, "all that is no run"),
        figure("disk_bytes_per_waiting_run", live.disk / runs as f64, "in the store"),
        figure("disk_bytes_per_evicted_run", evicted.disk / runs as f64, "in the store"),
    ])
}

struct Memory {
    resident: f64,
    grown: f64,
    disk: f64,
}

fn report(child: Child<'_>, what: &str, dir: &Path, runs: usize) -> anyhow::Result<Memory> {
    std::fs::create_dir_all(dir)?;
    let output = child(what, dir, runs)?.stderr(Stdio::inherit()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [resident, grown, disk] => Ok(Memory { resident, grown, disk }),
        _ => anyhow::bail!("the process that should count memory said {said:?}"),
    }
}

/// Starts runs that wait for a signal, and drops their fibers if that is wanted; prints resident bytes, by how much they
/// grew after the first quarter of the runs, and the bytes on disk.
pub(crate) async fn run(evict: bool, dir: &Path, runs: usize) -> anyhow::Result<()> {
    let host = Host::builder()
        .world(SledWorld::open(dir)?)
        // Runs are spread over the workers by chance, so each needs some room to spare.
        .max_live_runs(if evict { 1_000 } else { 2 * runs + 100 })
        .evict_after(if evict { Duration::ZERO } else { Duration::from_secs(86_400) })
        .workflow("wait", r#"let order = input; wait_for("go"); order"#)
        .start()
        .await?;
    let quarter = runs / 4;
    begin(&host, 0..quarter, evict).await?;
    let before = resident()?;
    begin(&host, quarter..runs, evict).await?;
    let after = resident()?;
    host.shutdown().await;
    println!("{} {} {}", after, (after - before).max(0.0), disk(dir)?);
    Ok(())
}

async fn begin(host: &Host, numbers: Range<usize>, evict: bool) -> anyhow::Result<()> {
    let all = numbers.end;
    let mut starts = tokio::task::JoinSet::new();
    for i in numbers {
        let host = host.clone();
        starts.spawn(async move {
            let input = serde_json::json!({ "order": i, "customer": "somebody" });
            host.run("wait").id(format!("order-{i}")).input(&input).start().await.map(drop)
        });
        if starts.len() >= 1_000 {
            starts.join_next().await.expect("there is one")??;
        }
    }
    while let Some(started) = starts.join_next().await {
        started??;
    }
    settled(host, all, evict).await
}

/// Until all of them wait, and are evicted if they should be.
async fn settled(host: &Host, runs: usize, evict: bool) -> anyhow::Result<()> {
    loop {
        let stats = host.stats();
        let there = if evict { stats.live == 0 } else { stats.live == runs as u64 };
        if there {
            let pending = Query { status: vec![Status::Pending, Status::Running], limit: 1, ..Query::default() };
            if host.list(pending).await?.runs.is_empty() {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn resident() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|number| number.parse::<f64>().ok());
    kilobytes.map(|kb| kb * 1024.0).ok_or_else(|| anyhow::anyhow!("/proc/self/status has no VmRSS"))
}

fn disk(dir: &Path) -> anyhow::Result<f64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0.0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let data = entry.metadata()?;
        bytes += if data.is_dir() { disk(&entry.path())? } else { data.blocks() as f64 * 512.0 };
    }
    Ok(bytes)
}
