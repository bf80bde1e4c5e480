//! Who shares a world, and who holds which run: what operators see.

use std::sync::Arc;
use std::time::Duration;

use durhai::{Host, MemoryWorld, SledWorld, Status, World};
use durhai_testkit::{FarWorld, PATIENCE, TestHost};
use serde_json::json;

const WAITS: &str = r#"wait_for("m")"#;

/// `None` when no host holds it.
async fn holder(host: &Host, run: &str) -> Option<(u64, bool)> {
    let view = host.get(run).await.unwrap().view().await.unwrap();
    view.holder.map(|holder| (holder.id, holder.here))
}

/// What is seen of each host that lives: is it the one that was asked, and how many runs it holds.
async fn seen(host: &Host) -> Vec<(bool, u64)> {
    let hosts = host.hosts(false).await.unwrap();
    assert!(hosts.iter().all(|host| host.alive && !host.label.is_empty() && host.lease == 10_000), "{hosts:?}");
    hosts.iter().map(|host| (host.here, host.runs)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_host_tells_who_holds_a_run() {
    let test = TestHost::new().workflow("waits", WAITS);
    let far = || Arc::new(FarWorld::new(test.world.clone()));
    let a = test.builder_on(far()).start().await.unwrap();
    let b = test.builder_on(far()).start().await.unwrap();
    for (host, id) in [(&a, "one"), (&a, "two"), (&b, "three")] {
        host.run("waits").id(id).start().await.unwrap();
    }
    test.rests().await;
    assert_eq!((seen(&a).await, seen(&b).await), (vec![(true, 2), (false, 1)], vec![(false, 2), (true, 1)]));
    let ids: Vec<_> = a.hosts(true).await.unwrap().into_iter().map(|host| host.id).collect();
    assert!(ids[0] < ids[1], "{ids:?}");
    for (run, place) in [("one", 0), ("two", 0), ("three", 1)] {
        assert_eq!(holder(&a, run).await, Some((ids[place], place == 0)), "{run}");
        assert_eq!(holder(&b, run).await, Some((ids[place], place == 1)), "{run}");
    }
    // What has ended nobody holds; a run of a host that stops, another one takes up when it is due.
    let run = b.get("one").await.unwrap();
    run.signal("m", &1).await.unwrap();
    assert_eq!(run.output::<i64>().await.unwrap(), 1);
    assert_eq!(holder(&b, "one").await, None);
    a.shutdown().await;
    assert_eq!(holder(&b, "two").await, None);
    let run = b.get("two").await.unwrap();
    run.signal("m", &2).await.unwrap();
    assert_eq!(run.output::<i64>().await.unwrap(), 2);
    b.shutdown().await;
}

/// It knows no other hosts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_on_a_store_of_its_own_is_alone() {
    let folder = tempfile::tempdir().unwrap();
    let world: Arc<dyn World> = Arc::new(SledWorld::open(folder.path()).unwrap());
    let builder = Host::builder().shared_world(world).workflow("waits", WAITS).max_waiting_runs(0);
    let host = builder.start().await.unwrap();
    assert_eq!(seen(&host).await, [(true, 0)]);
    let run = host.run("waits").id("one").start().await.unwrap();
    // It comes into memory, until it has waited there for a second.
    for expected in [Some((1, true)), None] {
        let becomes = async {
            while holder(&host, "one").await != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, becomes).await.unwrap_or_else(|_| panic!("expected {expected:?}"));
    }
    assert_eq!(run.view().await.unwrap().status, Status::Waiting);
    run.signal("m", &json!("on")).await.unwrap();
    assert_eq!(run.output::<String>().await.unwrap(), "on");
    host.shutdown().await;
}

/// Also a host that only looks is one: it may start runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_ended_are_seen_where_they_are_asked_for() {
    let world = Arc::new(MemoryWorld::new());
    let test = TestHost::new();
    let lease = Duration::from_secs(10);
    let far = || Arc::new(FarWorld::new(world.clone()));
    let a = test.builder_on(far()).lease(lease).start().await.unwrap();
    let b = test.builder_on(far()).lease(lease).start().await.unwrap();
    a.shutdown().await;
    // In a world in memory nobody says that it ends; the others find out.
    let finds = async {
        loop {
            test.clock.advance(3_400);
            if b.hosts(false).await.unwrap().len() == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, finds).await.expect("it is found dead");
    let all = b.hosts(true).await.unwrap();
    assert_eq!(all.iter().map(|host| (host.alive, host.here)).collect::<Vec<_>>(), [(false, false), (true, true)]);
    b.shutdown().await;
}
