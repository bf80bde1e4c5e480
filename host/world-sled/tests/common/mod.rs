//! What the tests of this crate share.
#![allow(dead_code)]

pub mod raw;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use durhai_core::{RunId, Status, Version};
pub use durhai_world::conformance::Dice;
use durhai_world::{Chunk, Claim, Commit, Create, Holder, NewMessage, Row, World, WorldError, Write, Written};
use durhai_world_sled::{Options, SledWorld};
use tempfile::TempDir;

/// Tells a test that it is the child of another one, and which folder to use.
pub const FOLDER: &str = "DURHAI_TEST_FOLDER";

/// How many bytes are written before they go into the tree, for a child; the default where it is not set.
pub const WINDOW: &str = "DURHAI_TEST_WINDOW";

/// So few that they go there all the time, some, and as many as usual.
pub const WINDOWS: [usize; 3] = [2_000, 20_000, 4 << 20];

pub fn open(folder: &Path) -> SledWorld {
    let window = std::env::var(WINDOW).ok().and_then(|text| text.parse().ok());
    open_with(folder, &Options { window_bytes: window.unwrap_or(4 << 20), ..Options::default() })
}

pub fn open_with(folder: &Path, options: &Options) -> SledWorld {
    patiently(|| SledWorld::open_with(folder, options)).expect("opens")
}

/// Asks again while a store is locked: the lock of a child that was just killed may outlive it for a moment, and one that another
/// test starts has the files of this process until it is another program.
pub fn patiently<T>(mut ask: impl FnMut() -> Result<T, WorldError>) -> Result<T, WorldError> {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        match ask() {
            Err(WorldError::Locked(_)) if Instant::now() < patience => std::thread::yield_now(),
            done => return done,
        }
    }
}

/// A folder in memory where the system has one: what a test opens again and again need not wait for a disk.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.or_else(|_| TempDir::new()).expect("a folder")
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        match entry.file_type().expect("known").is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied")),
        }
    }
}

/// This test binary again, running one test in another process.
pub fn child(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(FOLDER, folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

pub fn holder() -> Holder {
    Holder { name: "test".into(), lease: 1000 }
}

pub fn row(name: &str) -> Row {
    Row {
        run: RunId::new(name).expect("legal"),
        workflow: "flow".into(),
        version: Version::of([("flow", "1")]),
        status: Status::Running,
        tags: [("k".to_owned(), "v".to_owned())].into(),
        parent: None,
        created_at: 1,
        started_at: None,
        ended_at: None,
        wake_at: Some(0),
        note: serde_json::Value::Null,
        purge_at: None,
        concurrency: None,
    }
}

pub fn text(run: &RunId, first: u64) -> Vec<u8> {
    format!("{run}:{first}:{}", "x".repeat((first * 37 % 300) as usize)).into_bytes()
}

pub fn create(row: Row) -> Write {
    let events = Chunk { first: 1, count: 1, bytes: text(&row.run, 1) };
    Write::Create(Box::new(Create { row, events, claim: Some(holder()), hooks: Vec::new(), messages: Vec::new() }))
}

pub fn turn(claim: &Claim) -> Commit {
    Commit { progress: true, ..Commit::new(claim.run.clone(), claim.fence) }
}

/// The next event of a run; counts it in the claim.
pub fn event(claim: &mut Claim) -> Write {
    claim.last_seq += 1;
    let events = Chunk { first: claim.last_seq, count: 1, bytes: text(&claim.run, claim.last_seq) };
    Write::Commit(Box::new(Commit { events: Some(events), ..turn(claim) }))
}

pub fn end(claim: &Claim) -> Write {
    let row = Row { status: Status::Completed, ..claim.row.clone() };
    Write::Commit(Box::new(Commit { row: Some(row), ..turn(claim) }))
}

pub fn message(run: &RunId, bytes: Vec<u8>) -> NewMessage {
    NewMessage { run: run.clone(), at: 0, urgent: false, bytes }
}

pub fn send(run: &RunId, bytes: Vec<u8>) -> Write {
    Write::Send(message(run, bytes))
}

/// Writes what must be accepted.
pub fn write(world: &SledWorld, batch: Vec<Write>) -> Vec<Written> {
    let written = world.write(batch).expect("the world works");
    written.into_iter().map(|one| one.expect("accepted")).collect()
}

pub fn held(world: &SledWorld, name: &str) -> Claim {
    match write(world, vec![create(row(name))]).remove(0) {
        Written::Created(Some(claim)) => claim,
        other => panic!("{other:?}"),
    }
}

pub fn damage(world: &SledWorld) -> Vec<String> {
    let mut lines = Vec::new();
    world.verify(&mut |line| lines.push(line)).expect("readable");
    lines
}

/// Bytes that cannot be compressed.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    (0..length).map(|_| dice.below(256) as u8).collect()
}

/// What strace sees of a test of this binary that runs in a process of its own, with a store in that folder; none where it cannot
/// be seen.
pub fn strace(test: &str, store: &Path, arguments: &[&str], window: Option<usize>) -> Option<String> {
    let folder = TempDir::new().expect("a folder");
    let trace = folder.path().join("trace");
    let plain = child(test, store);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y"]).args(arguments).arg("-o").arg(&trace);
    strace.arg(plain.get_program()).args(plain.get_args()).env(FOLDER, store);
    strace.envs(window.map(|window| (WINDOW, window.to_string())));
    match strace.output() {
        Ok(output) if output.status.success() => Some(std::fs::read_to_string(&trace).expect("a trace")),
        Ok(output) => {
            println!("skipped: strace cannot trace here: {}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(error) => {
            println!("skipped: there is no strace here: {error}");
            None
        }
    }
}
