//! Hosts with the workflows that are measured, and a step that only counts.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use durhai::{Host, HostBuilder, MemoryWorld, SledWorld, StepContext, StepError};

/// As many steps as the input says, one after the other.
pub const SEQUENCE: &str = r#"let x = 0; for i in 0..input { x = use_step("add", x); } x"#;
/// As many tasks as the input says, one step each.
const PARALLEL: &str = r#"let all = []; for i in 0..input { all.push(|| use_step("add", 1)); } parallel(all).len()"#;
/// Waits for somebody.
const WAIT: &str = r#"let order = input; wait_for("go"); order"#;
/// The same, but not for ever: it has a timer too.
const SLEEP: &str = r#"let order = input; wait_for("go", #{ timeout: "30 days" }); order"#;

/// Steps of each of many runs.
pub const STEPS: usize = 5;

/// On a new store.
pub fn on_disk(dir: &Path) -> anyhow::Result<HostBuilder> {
    Ok(workflows().world(SledWorld::open(dir)?))
}

/// Without a disk.
pub fn in_memory() -> HostBuilder {
    workflows().world(MemoryWorld::new())
}

/// On no world yet.
pub fn workflows() -> HostBuilder {
    let builder = Host::builder().workflow("sequence", SEQUENCE).workflow("parallel", PARALLEL).step("add", add);
    builder.workflow("wait", WAIT).workflow("sleep", SLEEP)
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

/// One of many short runs, to its output.
pub fn short(host: &Host) -> impl Future<Output = anyhow::Result<()>> + Send + 'static + use<> {
    let start = host.run("sequence").input(&STEPS);
    async move {
        let output: usize = start.start().await?.output().await?;
        anyhow::ensure!(output == STEPS, "a run gave {output}");
        Ok(())
    }
}

/// Starts one of many runs that wait.
pub fn waits(
    host: &Host,
    workflow: &str,
    number: usize,
) -> impl Future<Output = anyhow::Result<()>> + Send + 'static + use<> {
    let input = serde_json::json!({ "order": number, "customer": "somebody" });
    let start = host.run(workflow).id(order(number)).input(&input);
    async move { Ok(start.start().await.map(drop)?) }
}

/// The id of such a run.
pub fn order(number: usize) -> String {
    format!("order-{number}")
}
