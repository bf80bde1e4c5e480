//! Turns of many runs in one write of a world.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use durhai_core::{RunId, Status, Version};
use durhai_world::{Chunk, Claim, Commit, Create, Holder, Row, World, Write, Written};
use tempfile::TempDir;

use crate::logs::START;

/// A world with some runs that are held.
pub struct Runs<'a> {
    open: fn(&Path) -> Box<dyn World>,
    size: usize,
    chunk: &'a [u8],
    /// Where the worlds that are opened have their folders.
    below: &'a Path,
    // Before the folder it is in, so that it is closed first.
    world: Box<dyn World>,
    _folder: TempDir,
    claims: Vec<Claim>,
    last_seq: u64,
}

/// Commits after which a new world is begun, so that memory and disk stay bounded.
const MOST: u64 = 200_000;

impl<'a> Runs<'a> {
    pub fn new(open: fn(&Path) -> Box<dyn World>, size: usize, chunk: &'a [u8], below: &'a Path) -> Self {
        let folder = TempDir::new_in(below).expect("a folder");
        let world = open(folder.path());
        let creates = (0..size).map(|number| create(number, chunk)).collect();
        let written = world.write(creates).expect("the world works");
        let claims = written.into_iter().map(|written| match written {
            Ok(Written::Created(Some(claim))) => claim,
            other => panic!("no claim at creation: {other:?}"),
        });
        Runs { open, size, chunk, below, claims: claims.collect(), world, _folder: folder, last_seq: 2 }
    }

    /// One commit for each run, all in one write: how long it took.
    pub fn write(&mut self) -> Duration {
        if self.last_seq * self.size as u64 > 2 * MOST {
            *self = Runs::new(self.open, self.size, self.chunk, self.below);
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
