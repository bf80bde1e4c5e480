//! How fast turns become durable: single-chunk commits in groups, beside a raw file with one fdatasync for each group.
//!
//! `cargo run --release -p durhai-world-sled --example write_rate -- [FOLDER [BYTES]]`: the folder decides which disk it
//! is, a chunk has so many bytes (250).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use durhai_core::{RunId, Status, Version};
use durhai_world::{Chunk, Claim, Commit, Create, Holder, Row, World, Write, Written};
use durhai_world_sled::SledWorld;

const RUNS: usize = 256;
const FOR: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let bytes = std::env::args().nth(2).map_or(Ok(250), |text| text.parse())?;
    let folder = base.join(format!("durhai-write-rate-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    println!("{:>6}  {:>12}  {:>12}  {:>6}  {:>14}", "group", "sled ev/s", "file ev/s", "ratio", "CPU in write");
    for group in [1, 64, 256] {
        let (sled, cpu) = world(&folder.join(format!("sled-{group}")), group, bytes)?;
        let file = file(&folder.join(format!("file-{group}")), group, bytes)?;
        println!("{group:>6}  {sled:>12.0}  {file:>12.0}  {:>6.2}  {cpu:>8.2} µs/ev", sled / file);
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Commits a second, and the processor time of this thread for each.
fn world(folder: &Path, group: usize, bytes: usize) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let world = SledWorld::open(folder)?;
    let mut claims = create(&world)?;
    let (begin, cpu) = (Instant::now(), thread_cpu());
    let mut done = 0;
    while begin.elapsed() < FOR {
        let batch = (done..done + group).map(|at| turn(&mut claims[at % RUNS], bytes)).collect();
        for written in world.write(batch)? {
            written?;
        }
        done += group;
    }
    let rate = done as f64 / begin.elapsed().as_secs_f64();
    Ok((rate, (thread_cpu() - cpu) / done as f64 * 1e6))
}

fn turn(claim: &mut Claim, bytes: usize) -> Write {
    claim.last_seq += 1;
    Write::Commit(Box::new(Commit {
        events: Some(Chunk { first: claim.last_seq, count: 1, bytes: vec![b'e'; bytes] }),
        progress: true,
        ..Commit::new(claim.run.clone(), claim.fence)
    }))
}

fn create(world: &SledWorld) -> Result<Vec<Claim>, Box<dyn std::error::Error>> {
    let holder = Holder { name: "bench".into(), lease: 0 };
    let mut claims = Vec::new();
    for at in 0..RUNS {
        let row = Row {
            run: RunId::new(format!("run-{at}"))?,
            workflow: "bench".into(),
            version: Version::of([("bench", "")]),
            status: Status::Running,
            tags: Default::default(),
            parent: None,
            created_at: 0,
            started_at: None,
            ended_at: None,
            wake_at: Some(0),
            note: Default::default(),
            purge_at: None,
            concurrency: None,
        };
        let events = Chunk { first: 1, count: 1, bytes: vec![b'c'; 250] };
        let create = Create { row, events, claim: Some(holder.clone()), hooks: Vec::new(), messages: Vec::new() };
        for written in world.write(vec![Write::Create(Box::new(create))])? {
            if let Written::Created(Some(claim)) = written? {
                claims.push(claim);
            }
        }
    }
    Ok(claims)
}

fn file(path: &Path, group: usize, bytes: usize) -> Result<f64, Box<dyn std::error::Error>> {
    let mut file = std::fs::File::create(path)?;
    let bytes = vec![b'e'; bytes * group];
    let begin = Instant::now();
    let mut done = 0;
    while begin.elapsed() < FOR {
        file.write_all(&bytes)?;
        file.sync_data()?;
        done += group;
    }
    Ok(done as f64 / begin.elapsed().as_secs_f64())
}

/// Seconds of processor time this thread has used; 0 where the system does not tell.
fn thread_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}
