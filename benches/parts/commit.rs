//! world: turns of many runs in one write, beside a plain file that is given the same bytes.

use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use durhai_bench::commits::{Events, Runs};
use durhai_bench::figures::{median, micros};
use durhai_bench::floor::Floor;
use durhai_bench::logs;
use durhai_core::wire;
use durhai_world::MemoryWorld;
use durhai_world_sled::SledWorld;
use tempfile::TempDir;

/// Beside what is built, for `/tmp` may be no disk.
pub const FOLDER: &str = env!("CARGO_TARGET_TMPDIR");

/// What was measured beside the floor, write by write, so that a disk whose speed changes changes both.
#[derive(Default)]
pub struct Ratios(Vec<(usize, Vec<Duration>, Vec<Duration>)>);

/// Elements are commits: each adds one chunk, with the result of a step and the start of the next, to its own run.
pub fn bench(criterion: &mut Criterion) -> Ratios {
    let chunk = wire::encode(&logs::of(10)[3..5]);
    let events = Events { count: 2, bytes: &chunk };
    let mut ratios = Ratios::default();
    for size in [1, 64, 256] {
        let mut group = criterion.benchmark_group(format!("write of {size}"));
        group.throughput(Throughput::Elements(size as u64));
        // Made when first asked for, as a filter may leave them out, and kept: criterion calls what measures many times.
        let (mut memory, mut sled, mut beside, mut alone) = (None, None, None, None);
        group.bench_function("memory", |b| {
            let open = |_: &Path| MemoryWorld::new();
            let runs = memory.get_or_insert_with(|| Runs::new(open, size, events, Path::new(FOLDER)));
            b.iter_custom(|times| (0..times).map(|_| runs.write()).sum());
        });
        let (mut ours, mut raw) = (Vec::new(), Vec::new());
        group.bench_function("sled", |b| {
            let open = |dir: &Path| SledWorld::open(dir).expect("a store");
            let runs = sled.get_or_insert_with(|| Runs::new(open, size, events, Path::new(FOLDER)));
            let beside = beside.get_or_insert_with(|| floor(&chunk.repeat(size)));
            b.iter_custom(|times| {
                let from = ours.len();
                for _ in 0..times {
                    ours.push(runs.write());
                    raw.push(beside.1.write().expect("a disk"));
                }
                ours[from..].iter().sum()
            });
        });
        // One write only: criterion was asked to test, not to measure.
        if ours.len() > 1 {
            ratios.0.push((size, ours, raw));
        }
        group.bench_function("append + fdatasync", |b| {
            let floor = alone.get_or_insert_with(|| floor(&chunk.repeat(size)));
            b.iter_custom(|times| (0..times).map(|_| floor.1.write().expect("a disk")).sum());
        });
        group.finish();
    }
    ratios
}

impl Ratios {
    pub fn print(self) {
        if self.0.is_empty() {
            return;
        }
        println!("SledWorld and the floor, one write each in turn, medians:");
        println!("{:>8} {:>12} {:>28} {:>9}", "commits", "write", "append + fdatasync", "to floor");
        for (size, ours, raw) in self.0 {
            let (ours, raw) = (micros(median(ours)), micros(median(raw)));
            println!("{size:>8} {ours:>9.0} µs {raw:>25.0} µs {:>9.2}", ours / raw);
        }
    }
}

/// A file, with the folder it is in.
fn floor(bytes: &[u8]) -> (TempDir, Floor) {
    let folder = TempDir::new_in(FOLDER).expect("a folder");
    let floor = Floor::create(&folder.path().join("floor"), bytes.to_vec()).expect("a file");
    (folder, floor)
}
