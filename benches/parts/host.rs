//! The shell without a disk: a step's way through worker, committer and runner and back.

use criterion::{Criterion, Throughput};
use durhai_bench::hosts;
use tokio::runtime::Runtime;

/// Elements are steps, where there are any.
pub fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let host = runtime.block_on(hosts::in_memory().start()).expect("a host");
    let run = |steps: i64| {
        runtime.block_on(hosts::sequence(&host, steps)).expect("a run that completes");
    };
    let mut group = criterion.benchmark_group("host on memory");
    group.bench_function("run without a step", |b| b.iter(|| run(0)));
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("1000 steps in sequence", |b| b.iter(|| run(1_000)));
    group.finish();
    runtime.block_on(host.shutdown());
}
