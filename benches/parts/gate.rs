//! The gate: the logs of live runs against a new text, on the store on disk.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use durhai::versions::MigrateReport;
use durhai::{Host, Query, SledWorld, StepContext, StepError};
use tokio::runtime::Runtime;

/// 20 events: created, started, nine steps.
const OLD: &str = r#"let x = 0; for i in 0..9 { x = use_step("add", x); } wait_for("go"); x"#;
const NEW: &str = r#"let x = 0; for i in 0..9 { x = use_step("add", x); } wait_for("go"); -x"#;

/// Elements are runs. The aim: 1000 in less than 250 ms on two cores.
pub fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("gate");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).throughput(Throughput::Elements(1_000));
    group.bench_function("1000 live runs of 20 events", |b| {
        let (folder, host) = runtime.block_on(standing(1_000));
        b.iter(|| runtime.block_on(look(&host, 1_000)));
        runtime.block_on(host.shutdown());
        drop(folder);
    });
    group.finish();
}

/// Said once: it takes too long to be sampled.
pub fn print() {
    let runtime = Runtime::new().expect("a runtime");
    let count = 20_000;
    let (folder, host) = runtime.block_on(standing(count));
    let began = Instant::now();
    runtime.block_on(look(&host, count));
    println!("gate: {count} live runs of 20 events in {:.2} s", began.elapsed().as_secs_f64());
    runtime.block_on(host.shutdown());
    drop(folder);
}

async fn look(host: &Host, count: u64) -> MigrateReport {
    let query = Query { workflow: Some("w".into()), ..Query::default() };
    let report = host.migrate(query, None, true).await.expect("the gate answers");
    assert_eq!((report.live, report.compatible), (count, count));
    report
}

/// A host with so many runs of the old text that wait; the new one serves.
async fn standing(count: u64) -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().expect("a folder");
    let scripts = folder.path().join("scripts");
    std::fs::create_dir(&scripts).expect("a folder");
    std::fs::write(scripts.join("w.rhai"), OLD).expect("a script");
    let host = Host::builder()
        .world(SledWorld::open(folder.path().join("store")).expect("a store"))
        .workflows(&scripts)
        .watch(false)
        .step("add", |_: StepContext, x: i64| async move { Ok::<_, StepError>(x + 1) })
        .start()
        .await
        .expect("a host");
    for n in 0..count {
        host.run("w").id(format!("run-{n}")).start().await.expect("a run");
    }
    let waiting =
        || Query { status: vec![durhai::Status::Running, durhai::Status::Pending], limit: 1, ..Query::default() };
    while !host.list(waiting()).await.expect("a list").runs.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    std::fs::write(scripts.join("w.rhai"), NEW).expect("a script");
    host.reload().await.expect("it is looked at");
    (folder, host)
}
