//! world: turns of many runs in one write, beside a plain file that is given the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use durhai_core::{RunId, Status, Version, wire};
use durhai_world::{Chunk, Claim, Commit, Create, Holder, MemoryWorld, Row, World, Write, Written};
use durhai_world_sled::SledWorld;
use tempfile::TempDir;

use crate::log::{self, START};

/// What was measured beside the floor, write by write, so that a disk whose speed changes changes both.
#[derive(Default)]
pub struct Ratios(Vec<(usize, Vec<Duration>, Vec<Duration>)>);

/// Elements are commits: each adds one chunk, with the result of a step and the start of the next, to its own run.
pub fn bench(criterion: &mut Criterion) -> Ratios {
    let chunk = wire::encode(&log::of(10)[3..5]);
    let mut ratios = Ratios::default();
    for size in [1, 64, 256] {
        let mut group = criterion.benchmark_group(format!("write of {size}"));
        group.throughput(Throughput::Elements(size as u64));
        // Made when first asked for, as a filter may leave them out, and kept: criterion calls what measures many times.
        let (mut memory, mut sled, mut beside, mut floor) = (None, None, None, None);
        group.bench_function("memory", |b| {
            let open = |_: &Path| -> Box<dyn World> { Box::new(MemoryWorld::new()) };
            let runs = memory.get_or_insert_with(|| Runs::new(open, size, &chunk));
            b.iter_custom(|times| (0..times).map(|_| runs.write()).sum());
        });
        let (mut ours, mut raw) = (Vec::new(), Vec::new());
        group.bench_function("sled", |b| {
            let open = |dir: &Path| -> Box<dyn World> { Box::new(SledWorld::open(dir).expect("a store")) };
            let runs = sled.get_or_insert_with(|| Runs::new(open, size, &chunk));
            let beside = beside.get_or_insert_with(|| Floor::new(size, &chunk));
            b.iter_custom(|times| {
                let from = ours.len();
                for _ in 0..times {
                    ours.push(runs.write());
                    raw.push(beside.write());
                }
                ours[from..].iter().sum()
            });
        });
        // One write only: criterion was asked to test, not to measure.
        if ours.len() > 1 {
            ratios.0.push((size, ours, raw));
        }
        group.bench_function("append + fdatasync", |b| {
            let floor = floor.get_or_insert_with(|| Floor::new(size, &chunk));
            b.iter_custom(|times| (0..times).map(|_| floor.write()).sum());
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
            let (ours, raw) = (median(ours), median(raw));
            println!("{size:>8} {:>9.0} µs {:>25.0} µs {:>9.2}", ours * 1e6, raw * 1e6, ours / raw);
        }
    }
}

/// In seconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// A world with some runs that are held.
struct Runs<'a> {
    open: fn(&Path) -> Box<dyn World>,
    size: usize,
    chunk: &'a [u8],
    // Before the folder it is in, so that it is closed first.
    world: Box<dyn World>,
    _folder: TempDir,
    claims: Vec<Claim>,
    last_seq: u64,
}

/// Commits after which a new world is begun, so that memory and disk stay bounded.
const MOST: u64 = 200_000;

impl<'a> Runs<'a> {
    fn new(open: fn(&Path) -> Box<dyn World>, size: usize, chunk: &'a [u8]) -> Self {
        let folder = folder();
        let world = open(folder.path());
        let creates = (0..size).map(|number| create(number, chunk)).collect();
        let written = world.write(creates).expect("the world works");
        let claims = written.into_iter().map(|written| match written {
            Ok(Written::Created(Some(claim))) => claim,
            other => panic!("no claim at creation: {other:?}"),
        });
        Runs { open, size, chunk, claims: claims.collect(), world, _folder: folder, last_seq: 2 }
    }

    /// One commit for each run, all in one write: how long it took.
    fn write(&mut self) -> Duration {
        if self.last_seq * self.size as u64 > 2 * MOST {
            *self = Runs::new(self.open, self.size, self.chunk);
        }
        let batch = self.claims.iter().map(|claim| commit(claim, self.last_seq + 1, self.chunk)).collect();
        self.last_seq += 2;
        let began = Instant::now();
        let written = self.world.write(batch).expect("the world works");
        let took = began.elapsed();
        assert!(written.iter().all(Result::is_ok), "{written:?}");
        took
    }
}

fn create(number: usize, chunk: &[u8]) -> Write {
    let mut entropy = [0; 10];
    entropy[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let row = Row {
        run: RunId::generate(START, entropy),
        workflow: "sequence".into(),
        version: Version::of([("main", "")]),
        status: Status::Running,
        tags: BTreeMap::new(),
        parent: None,
        created_at: START,
        started_at: Some(START),
        ended_at: None,
        wake_at: Some(0),
        note: serde_json::Value::Null,
        purge_at: None,
        concurrency: None,
    };
    let claim = Some(Holder { name: "bench".into(), lease: 3_600_000 });
    Write::Create(Box::new(Create {
        row,
        events: Chunk { first: 1, count: 2, bytes: chunk.to_vec() },
        claim,
        hooks: Vec::new(),
        messages: Vec::new(),
    }))
}

fn commit(claim: &Claim, first: u64, chunk: &[u8]) -> Write {
    let events = Some(Chunk { first, count: 2, bytes: chunk.to_vec() });
    Write::Commit(Box::new(Commit { events, progress: true, ..Commit::new(claim.run.clone(), claim.fence) }))
}

/// A file that is appended to: what a durable write costs at least.
struct Floor {
    file: File,
    _folder: TempDir,
    bytes: Vec<u8>,
}

impl Floor {
    fn new(size: usize, chunk: &[u8]) -> Self {
        let folder = folder();
        let file = File::create(folder.path().join("floor")).expect("a file");
        Floor { file, _folder: folder, bytes: chunk.repeat(size) }
    }

    fn write(&mut self) -> Duration {
        if self.file.stream_position().expect("a file") > 64 << 20 {
            self.file.set_len(0).and_then(|()| self.file.rewind()).expect("a file");
            self.file.sync_all().expect("a file");
        }
        let began = Instant::now();
        self.file.write_all(&self.bytes).and_then(|()| self.file.sync_data()).expect("a disk");
        began.elapsed()
    }
}

/// Beside what is built, for `/tmp` may be no disk.
fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}
