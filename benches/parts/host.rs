//! The shell without a disk: a step's way through worker, committer and runner and back.

use criterion::{Criterion, Throughput};
use durhai::{Host, MemoryWorld, StepContext, StepError};
use tokio::runtime::Runtime;

const SEQUENCE: &str = r#"let x = 0; for i in 0..input { x = use_step("add", x); } x"#;

/// Elements are steps, where there are any.
pub fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let builder = Host::builder()
        .world(MemoryWorld::new())
        .workflow("sequence", SEQUENCE)
        .step("add", |_: StepContext, x: i64| async move { Ok::<_, StepError>(x + 1) });
    let host = runtime.block_on(builder.start()).expect("a host");
    let run = |steps: i64| {
        let output =
            runtime.block_on(async { host.run("sequence").input(&steps).start().await?.output::<i64>().await });
        assert_eq!(output.expect("a run that completes"), steps);
    };
    let mut group = criterion.benchmark_group("host on memory");
    group.bench_function("run without a step", |b| b.iter(|| run(0)));
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("1000 steps in sequence", |b| b.iter(|| run(1_000)));
    group.finish();
    runtime.block_on(host.shutdown());
}
