//! The compatibility check: the logs of live runs against a new text, on the store on disk.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use durhai_bench::compat;
use tokio::runtime::Runtime;

/// Elements are runs. The aim: 1000 in less than 250 ms on two cores.
pub fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("compat");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).throughput(Throughput::Elements(1_000));
    group.bench_function("1000 live runs of 20 events", |b| {
        let (folder, host) = runtime.block_on(compat::waiting(1_000));
        b.iter(|| runtime.block_on(compat::check(&host, 1_000)));
        runtime.block_on(host.shutdown());
        drop(folder);
    });
    group.finish();
}

/// Said once: it takes too long to be sampled.
pub fn print() {
    let runtime = Runtime::new().expect("a runtime");
    let count = 20_000;
    let (folder, host) = runtime.block_on(compat::waiting(count));
    let began = Instant::now();
    runtime.block_on(compat::check(&host, count));
    println!("compat: {count} live runs of 20 events in {:.2} s", began.elapsed().as_secs_f64());
    runtime.block_on(host.shutdown());
    drop(folder);
}
