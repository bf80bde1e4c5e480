//! Hosts with the workflows that are measured, and a step that only counts.

use std::path::Path;
use std::time::{Duration, Instant};

use durhai::{Host, HostBuilder, MemoryWorld, SledWorld, StepContext, StepError};

/// As many steps as the input says, one after the other.
pub const SEQUENCE: &str = r#"let x = 0; for i in 0..input { x = use_step("add", x); } x"#;
/// As many tasks as the input says, one step each.
const PARALLEL: &str = r#"let all = []; for i in 0..input { all.push(|| use_step("add", 1)); } parallel(all).len()"#;

/// On a new store.
pub fn on_disk(dir: &Path) -> anyhow::Result<HostBuilder> {
    Ok(workflows(Host::builder().world(SledWorld::open(dir)?)))
}

/// Without a disk.
pub fn in_memory() -> HostBuilder {
    workflows(Host::builder().world(MemoryWorld::new()))
}

fn workflows(builder: HostBuilder) -> HostBuilder {
    builder.workflow("sequence", SEQUENCE).workflow("parallel", PARALLEL).step("add", add)
}

/// The step: one more than its input.
pub async fn add(_: StepContext, x: i64) -> Result<i64, StepError> {
    Ok(x + 1)
}

/// A run of so many steps, from its start to its output.
pub async fn sequence(host: &Host, steps: i64) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let output: i64 = host.run("sequence").input(&steps).start().await?.output().await?;
    anyhow::ensure!(output == steps, "the run gave {output}");
    Ok(began.elapsed())
}
