//! Turns of many runs in one write of a world.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use durhai_core::{RunId, Status, Version};
use durhai_world::{Chunk, Claim, Commit, Create, Holder, Row, World, Write, Written};
use tempfile::TempDir;

use crate::logs::START;

/// A world with some runs that are held.
pub struct Runs<'a, W> {
    open: fn(&Path) -> W,
    size: usize,
    events: Events<'a>,
    /// Where the worlds that are opened have their folders.
    below: &'a Path,
    // Before the folder it is in, so that it is closed first.
    world: W,
    folder: TempDir,
    claims: Vec<Claim>,
    last_seq: u64,
}

/// What one commit adds.
#[derive(Debug, Clone, Copy)]
pub struct Events<'a> {
    pub count: u32,
    pub bytes: &'a [u8],
}

/// Commits after which a new world is begun, so that memory and disk stay bounded.
const MOST: u64 = 200_000;

impl<'a, W: World> Runs<'a, W> {
    pub fn new(open: fn(&Path) -> W, size: usize, events: Events<'a>, below: &'a Path) -> Self {
        let folder = TempDir::new_in(below).expect("a folder");
        let world = open(folder.path());
        let creates = (0..size).map(|number| create(number, events)).collect();
        let written = world.write(creates).expect("the world works");
        let claims = written.into_iter().map(|written| match written {
            Ok(Written::Created(Some(claim))) => claim,
            other => panic!("no claim at creation: {other:?}"),
        });
        Runs { open, size, events, below, claims: claims.collect(), world, folder, last_seq: events.count.into() }
    }

    pub fn world(&self) -> &W {
        &self.world
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// One commit for each run, all in one write: how long it took.
    pub fn write(&mut self) -> Duration {
        if self.last_seq / u64::from(self.events.count) * self.size as u64 > MOST {
            *self = Runs::new(self.open, self.size, self.events, self.below);
        }
        let batch = self.claims.iter().map(|claim| commit(claim, self.last_seq + 1, self.events)).collect();
        self.last_seq += u64::from(self.events.count);
        let began = Instant::now();
        let written = self.world.write(batch).expect("the world works");
        let took = began.elapsed();
        assert!(written.iter().all(Result::is_ok), "{written:?}");
        took
    }
}

impl Events<'_> {
    fn chunk(self, first: u64) -> Chunk {
        Chunk { first, count: self.count, bytes: self.bytes.to_vec() }
    }
}

fn create(number: usize, events: Events<'_>) -> Write {
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
    Write::Create(Box::new(Create { row, events: events.chunk(1), claim, hooks: Vec::new(), messages: Vec::new() }))
}

fn commit(claim: &Claim, first: u64, events: Events<'_>) -> Write {
    let events = Some(events.chunk(first));
    Write::Commit(Box::new(Commit { events, progress: true, ..Commit::new(claim.run.clone(), claim.fence) }))
}
