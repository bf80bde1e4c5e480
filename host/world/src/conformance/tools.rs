//! What the cases are written with.

use std::collections::BTreeMap;
use std::sync::Arc;

use durhai_core::{Millis, RunId, Status, Version};

use crate::{Chunk, Claim, Commit, Create, Holder, NewMessage, Refused, Row, World, Write, Written};

pub const LEASE: Millis = 1000;

pub fn id(name: &str) -> RunId {
    RunId::new(name).expect("a legal name")
}

pub fn holder(name: &str) -> Holder {
    Holder { name: name.into(), lease: LEASE }
}

pub fn row(name: &str) -> Row {
    Row {
        run: id(name),
        workflow: "flow".into(),
        version: Version::of([("flow", "1")]),
        status: Status::Pending,
        tags: BTreeMap::new(),
        parent: None,
        created_at: 10,
        started_at: None,
        ended_at: None,
        wake_at: Some(0),
        note: serde_json::Value::Null,
        purge_at: None,
        concurrency: None,
    }
}

pub fn chunk(first: u64, count: u32) -> Chunk {
    Chunk { first, count, bytes: format!("events {first}+{count}").into_bytes() }
}

pub fn new(row: Row, claim: Option<&Holder>) -> Write {
    Write::Create(Box::new(Create {
        row,
        events: chunk(1, 2),
        claim: claim.cloned(),
        hooks: Vec::new(),
        messages: Vec::new(),
    }))
}

pub fn turn(claim: &Claim) -> Commit {
    Commit::new(claim.run.clone(), claim.fence)
}

pub fn commit(commit: Commit) -> Write {
    Write::Commit(Box::new(commit))
}

pub fn events(claim: &Claim, first: u64, count: u32) -> Write {
    commit(Commit { events: Some(chunk(first, count)), ..turn(claim) })
}

pub fn becomes(claim: &Claim, change: impl FnOnce(&mut Row)) -> Write {
    let mut row = claim.row.clone();
    change(&mut row);
    commit(Commit { row: Some(row), ..turn(claim) })
}

pub fn ends(claim: &Claim) -> Write {
    becomes(claim, |row| row.status = Status::Completed)
}

pub fn send(run: &RunId, bytes: &[u8]) -> Write {
    Write::Send(message(run, bytes))
}

/// One that concerns a run which has not begun.
pub fn send_urgent(run: &RunId, bytes: &[u8]) -> Write {
    Write::Send(NewMessage { urgent: true, ..message(run, bytes) })
}

pub fn message(run: &RunId, bytes: &[u8]) -> NewMessage {
    NewMessage { run: run.clone(), at: 77, urgent: false, bytes: bytes.to_vec() }
}

pub fn release(claim: &Claim) -> Write {
    Write::Release { run: claim.run.clone(), fence: claim.fence }
}

pub fn delete(run: &RunId) -> Write {
    Write::Delete { run: run.clone() }
}

pub fn entry(claim: &Claim, stream: &str, bytes: &[u8]) -> Write {
    commit(Commit { append: vec![(Arc::from(stream), bytes.to_vec())], ..turn(claim) })
}

/// Writes one thing.
pub fn write(world: &dyn World, write: Write) -> Result<Written, Refused> {
    let mut written = world.write(vec![write]).expect("the world works");
    assert_eq!(written.len(), 1, "one answer for each write");
    written.remove(0)
}

/// Writes many that must all be accepted.
pub fn write_all(world: &dyn World, batch: Vec<Write>) -> Vec<Written> {
    let written = world.write(batch).expect("the world works");
    written.into_iter().map(|one| one.expect("accepted")).collect()
}

/// Creates a run that is claimed at once.
pub fn held(world: &dyn World, row: Row, by: &Holder) -> Claim {
    match write(world, new(row, Some(by))) {
        Ok(Written::Created(Some(claim))) => claim,
        other => panic!("no claim at creation: {other:?}"),
    }
}

/// The names of the runs that can be claimed.
pub fn claimed(world: &dyn World, by: &Holder, now: Millis, limit: usize) -> Vec<String> {
    let claims = world.claim(by, now, limit).expect("the world works");
    claims.iter().map(|claim| claim.run.to_string()).collect()
}

pub fn claim_one(world: &dyn World, by: &Holder, now: Millis) -> Claim {
    let mut claims = world.claim(by, now, 10).expect("the world works");
    assert_eq!(claims.len(), 1, "one run is due: {claims:?}");
    claims.remove(0)
}

pub fn log(world: &dyn World, run: &RunId) -> Vec<Chunk> {
    world.log(run, 0, usize::MAX).expect("the world works")
}

pub fn messages(world: &dyn World, run: &RunId) -> Vec<(u64, Vec<u8>)> {
    let messages = world.inbox(run, 0, usize::MAX).expect("the world works");
    messages.into_iter().map(|message| (message.index, message.bytes)).collect()
}

pub fn undamaged(world: &dyn World) {
    let mut damage = Vec::new();
    world.verify(&mut |line| damage.push(line)).expect("the world works");
    assert!(damage.is_empty(), "{damage:#?}");
}
