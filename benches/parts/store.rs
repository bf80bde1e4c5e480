//! The store on disk in its parts: the journal that a write waits for, the window that goes into the tree later, and what is
//! left of both to the next one who opens it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use durhai_bench::commits::{Events, Runs};
use durhai_bench::logs;
use durhai_core::wire;
use durhai_world_sled::{Options, SledWorld};
use tempfile::TempDir;

use crate::commit::FOLDER;

/// The window that is usual.
const WINDOW: u64 = 4 << 20;

/// The most that is unsettled, in bytes of memory as a window is: then those who write wait.
const FULL: u64 = 4 * WINDOW;

/// Runs that write together where a window is filled.
const RUNS: usize = 64;

/// Nothing else lets it settle: when it was not full there is nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn bench(criterion: &mut Criterion) {
    let event = wire::encode(&logs::of(10)[3..4]);
    let event = Events { count: 1, bytes: &event };
    journal(criterion, event);
    settle(criterion, event);
    reopen(criterion, event);
}

/// Nothing settles: what is measured is the journal, and what it keeps in memory. Elements are events.
fn journal(criterion: &mut Criterion, event: Events<'_>) {
    let mut group = criterion.benchmark_group("journal");
    for size in [1, 64] {
        let mut runs = None;
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(format!("batch of {size}"), |b| {
            let runs = runs.get_or_insert_with(|| Runs::new(never_settles, size, event, Path::new(FOLDER)));
            b.iter_custom(|times| (0..times).map(|_| runs.write()).sum());
        });
    }
    group.finish();
}

/// From the write that fills a window until all of it is in the tree and durable there.
fn settle(criterion: &mut Criterion, event: Events<'_>) {
    let mut group = criterion.benchmark_group("settle");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    let mut runs = None;
    group.bench_function("a window of 4 MiB", |b| {
        let runs = runs.get_or_insert_with(|| Runs::new(settles_when_full, RUNS, event, Path::new(FOLDER)));
        b.iter_custom(|times| (0..times).map(|_| settled(runs)).sum());
    });
    group.finish();
}

fn settled(runs: &mut Runs<'_, SledWorld>) -> Duration {
    while runs.world().unsettled() < WINDOW {
        runs.write();
    }
    let began = Instant::now();
    while runs.world().unsettled() > 0 {
        assert!(began.elapsed() < PATIENCE, "a window that is full does not settle");
        std::thread::sleep(Duration::from_micros(100));
    }
    began.elapsed()
}

/// A store as a process leaves it that is killed, and one that was closed.
fn reopen(criterion: &mut Criterion, event: Events<'_>) {
    let mut group = criterion.benchmark_group("reopen");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    for (name, closed) in [("after a kill, 16 MiB unsettled", false), ("the same, closed before", true)] {
        let mut left = None;
        group.bench_function(name, |b| {
            let left = left.get_or_insert_with(|| leave(event, closed));
            b.iter_custom(|times| (0..times).map(|_| opened(left.path())).sum());
        });
    }
    group.finish();
}

fn leave(event: Events<'_>, closed: bool) -> TempDir {
    let mut runs = Runs::new(never_settles, RUNS, event, Path::new(FOLDER));
    while runs.world().unsettled() < FULL {
        runs.write();
    }
    let left = TempDir::new_in(FOLDER).expect("a folder");
    copy(runs.folder(), left.path()).expect("a disk");
    if closed {
        drop(open(left.path(), &Options::default()));
    }
    left
}

/// Each time a copy of it, as to open it changes it.
fn opened(left: &Path) -> Duration {
    let folder = TempDir::new_in(FOLDER).expect("a folder");
    copy(left, folder.path()).expect("a disk");
    let began = Instant::now();
    let world = open(folder.path(), &Options::default());
    let took = began.elapsed();
    drop(world);
    took
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&to)?;
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
            fs::File::open(&to)?.sync_all()?;
        }
    }
    Ok(())
}

fn never_settles(folder: &Path) -> SledWorld {
    open(folder, &Options { window_bytes: 1 << 30, idle: Duration::from_secs(3_600), ..Options::default() })
}

fn settles_when_full(folder: &Path) -> SledWorld {
    open(folder, &Options { window_bytes: WINDOW as usize, idle: Duration::from_secs(3_600), ..Options::default() })
}

fn open(folder: &Path, options: &Options) -> SledWorld {
    SledWorld::open_with(folder, options).expect("a store")
}
