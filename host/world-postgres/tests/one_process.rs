//! Several hosts of one process that were given the same world.

use std::sync::Arc;
use std::time::Duration;

use crate::common::*;
use durhai::{Host, Run, Status};
use durhai_world_postgres::PgWorld;

const PATIENCE: Duration = Duration::from_secs(120);

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

async fn until_it_waits(run: &Run) {
    in_time("the run", async {
        while run.status().await.expect("it is there") != Status::Waiting {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// While the server is away one of two hosts stops, both with writes that wait. The other one goes on when the server is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_stops_leaves_the_others_what_they_need() {
    let Some(mut cluster) = cluster(&["fsync=off"]) else { return };
    let world = Arc::new(tokio::task::block_in_place(|| PgWorld::open(&cluster.url("both"))).expect("opens"));
    let mut hosts = Vec::new();
    for _ in 0..2 {
        let builder = Host::builder().shared_world(world.clone()).workflow("w", r#"wait_for("go")"#);
        hosts.push(builder.lease(Duration::from_millis(600)).start().await.expect("it starts"));
    }
    let mut runs = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        let run = host.run("w").id(format!("r{number}")).start().await.expect("it starts");
        until_it_waits(&run).await;
        runs.push(run);
    }
    tokio::task::block_in_place(|| cluster.stop("fast")).expect("it stops");
    let signals: Vec<_> =
        (runs.iter().cloned()).map(|run| tokio::spawn(async move { run.signal("go", &1).await })).collect();
    // Both writes are on their way, and each host has found out that nobody answers.
    tokio::time::sleep(Duration::from_millis(300)).await;
    in_time("the stop of a host", hosts.remove(0).shutdown()).await;
    // It has renewed its lease in vain since, and looks after it again and again.
    tokio::time::sleep(Duration::from_millis(900)).await;
    tokio::task::block_in_place(|| cluster.begin()).expect("it starts again");
    let mut signals = signals.into_iter();
    in_time("the caller", signals.next().expect("two")).await.expect("no panic").expect_err("its host has stopped");
    in_time("the other caller", signals.next().expect("two")).await.expect("no panic").expect("its host goes on");
    let output: i64 = in_time("the end", runs[1].output()).await.expect("well");
    assert_eq!(output, 1);
    // And takes up what the one that stopped had.
    let run = hosts[0].get(runs[0].id().as_str()).await.expect("it is there");
    in_time("a signal", run.signal("go", &2)).await.expect("sent");
    let output: i64 = in_time("the end", run.output()).await.expect("well");
    assert_eq!(output, 2);
    hosts.remove(0).shutdown().await;
}

/// A host that is started where one has stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_outlives_its_hosts() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    let world = Arc::new(tokio::task::block_in_place(|| PgWorld::open(&cluster.url("again"))).expect("opens"));
    for number in 0..3 {
        let host = Host::builder().shared_world(world.clone()).workflow("w", "input").start().await.expect("it starts");
        let run = host.run("w").id(format!("r{number}")).input(&number).start().await.expect("it starts");
        assert_eq!(in_time("the end", run.output::<i64>()).await.expect("well"), number);
        host.shutdown().await;
    }
}
