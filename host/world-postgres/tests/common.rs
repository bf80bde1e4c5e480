//! A server, and what is written to it.

use std::collections::BTreeMap;
use std::process::Command;

use durhai_core::{RunId, Status, Version};
use durhai_world::{Chunk, Claim, Commit, Create, Holder, Row, World, Write, Written};
use durhai_world_postgres::cluster::Cluster;

/// `None`, said once, where PostgreSQL is not installed.
pub fn cluster(settings: &[&str]) -> Option<Cluster> {
    let cluster = Cluster::start(settings).expect("a server");
    if cluster.is_none() {
        eprintln!("skipped: there is no PostgreSQL here (apt-get install postgresql)");
    }
    cluster
}

pub fn id(name: &str) -> RunId {
    RunId::new(name).expect("a legal name")
}

pub fn holder(name: &str) -> Holder {
    Holder { name: name.into(), lease: 10_000 }
}

pub fn new(name: &str, claim: Option<&Holder>) -> Write {
    let row = Row {
        run: id(name),
        workflow: "flow".into(),
        version: Version::of([("flow", "1")]),
        status: Status::Running,
        tags: BTreeMap::new(),
        parent: None,
        created_at: 10,
        started_at: None,
        ended_at: None,
        wake_at: None,
        note: serde_json::Value::Null,
        purge_at: None,
        concurrency: None,
    };
    let events = Chunk { first: 1, count: 1, bytes: b"event 1".to_vec() };
    Write::Create(Box::new(Create { row, events, claim: claim.cloned(), hooks: Vec::new(), messages: Vec::new() }))
}

/// A run that is held.
pub fn held(world: &dyn World, name: &str, by: &Holder) -> Claim {
    match world.write(vec![new(name, Some(by))]).expect("the world works").remove(0) {
        Ok(Written::Created(Some(claim))) => claim,
        other => panic!("no claim: {other:?}"),
    }
}

/// A turn that is one event.
pub fn turn(claim: &Claim, seq: u64) -> Write {
    let events = Some(Chunk { first: seq, count: 1, bytes: format!("event {seq}").into_bytes() });
    Write::Commit(Box::new(Commit { events, ..Commit::new(claim.run.clone(), claim.fence) }))
}

/// The same, and something else beside it, so that it is no plain one.
pub fn full_turn(claim: &Claim, seq: u64) -> Write {
    let Write::Commit(mut commit) = turn(claim, seq) else { unreachable!("it is a commit") };
    commit.append.push(("out".into(), seq.to_string().into_bytes()));
    Write::Commit(commit)
}

/// That a log is whole: event after event, up to the last.
pub fn assert_log(world: &dyn World, run: &RunId, last: u64) {
    let log = world.log(run, 1, usize::MAX).expect("the world works");
    let found: Vec<_> = log.iter().map(|chunk| (chunk.first, chunk.count, chunk.bytes.clone())).collect();
    let expected: Vec<_> = (1..=last).map(|seq| (seq, 1, format!("event {seq}").into_bytes())).collect();
    assert_eq!(found, expected, "the log of {run}");
}

/// What the server answers to a statement, a line for each row.
pub fn sql(cluster: &Cluster, sql: &str) -> String {
    let port = cluster.port().to_string();
    let args = [
        "-X",
        "-q",
        "-t",
        "-A",
        "-v",
        "ON_ERROR_STOP=1",
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-U",
        "durhai",
        "postgres",
        "-c",
        sql,
    ];
    let done = Command::new(cluster.bin().join("psql")).args(args).output().expect("psql runs");
    // It may end its own connection, too.
    assert!(done.status.success() || sql.contains("terminate"), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text").trim().to_owned()
}
