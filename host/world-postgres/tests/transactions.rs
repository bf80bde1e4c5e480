//! Steps in the database itself: each has its effect once, also where connections are cut in the middle of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::common::*;
use durhai::postgres::{Transaction, TransactionError};
use durhai::{Host, StepError};
use durhai_world_postgres::PgWorld;

/// Each adds one to an account and writes a line of its own.
const WORKFLOW: &str = r#"
    for i in 0..input { use_step("charge", i, #{ retry: #{ max_attempts: 1000, initial: "5ms", factor: 1 } }); }
    "charged"
"#;

const TABLES: &str = "create table account (cents bigint not null); insert into account values (0); create table line (run text, number bigint);";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_in_the_database_is_made_exactly_once() {
    let Some(cluster) = cluster(&["fsync=off", "max_connections=60"]) else { return };
    sql(&cluster, TABLES);
    let url = cluster.url("steps");
    let world = Arc::new(tokio::task::block_in_place(|| PgWorld::open(&url)).expect("opens"));
    let attempts = Arc::new(AtomicU64::new(0));
    let made = attempts.clone();
    let charge = move |tx: Transaction, number: i64| {
        made.fetch_add(1, Ordering::SeqCst);
        async move {
            tx.execute("update account set cents = cents + 1", &[]).await?;
            tx.execute("insert into line values ('run', $1)", &[&number]).await?;
            Ok::<_, StepError>(number)
        }
    };
    let builder = Host::builder().shared_world(world.clone()).workflow("w", WORKFLOW);
    let host = builder.transaction_step("charge", &world, charge).start().await.expect("it starts");
    let runs = 4;
    let mut all = Vec::new();
    for number in 0..runs {
        all.push(host.run("w").id(format!("r{number}")).input(&25).start().await.expect("it starts"));
    }
    let done = Arc::new(AtomicBool::new(false));
    let cut = {
        let (done, cluster) = (done.clone(), cluster);
        std::thread::spawn(move || {
            while !done.load(Ordering::SeqCst) {
                sql(
                    &cluster,
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'durhai' and random() < 0.5",
                );
                std::thread::sleep(Duration::from_millis(15));
            }
            cluster
        })
    };
    for run in all {
        let output: String =
            tokio::time::timeout(Duration::from_secs(300), run.output()).await.expect("it ends").expect("and well");
        assert_eq!(output, "charged");
    }
    done.store(true, Ordering::SeqCst);
    let cluster = cut.join().expect("it ends");
    let (once, count) = (
        sql(&cluster, "select cents from account"),
        sql(&cluster, "select count(*), count(distinct (number)) from line"),
    );
    assert_eq!(
        (once.as_str(), count.as_str()),
        ("100", "100|25"),
        "after {} attempts",
        attempts.load(Ordering::SeqCst)
    );
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_recorded_is_not_done_again_and_what_fails_leaves_nothing() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    sql(&cluster, TABLES);
    let world = Arc::new(tokio::task::block_in_place(|| PgWorld::open(&cluster.url("once"))).expect("opens"));
    tokio::task::block_in_place(|| held(&*world, "a", &holder("me")));
    let run = id("a");
    let add = |tx: Transaction| async move {
        tx.execute("update account set cents = cents + 1", &[]).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(b"output".to_vec())
    };
    assert_eq!(world.transaction(&run, "a/1", add).await.expect("it works"), b"output");
    let never = |_: Transaction| async { panic!("it was done before") };
    assert_eq!(world.transaction::<_, _, String>(&run, "a/1", never).await.expect("it is known"), b"output");
    // Two at once: one of them is taken back, and both hear the same.
    let both = tokio::join!(world.transaction(&run, "a/2", add), world.transaction(&run, "a/2", add));
    assert_eq!((both.0.expect("it works"), both.1.expect("it works")), (b"output".to_vec(), b"output".to_vec()));
    let fails = |tx: Transaction| async move {
        tx.execute("update account set cents = 1000", &[]).await.map_err(|error| error.to_string())?;
        Err::<Vec<u8>, _>("no money".to_owned())
    };
    assert!(
        matches!(world.transaction(&run, "a/3", fails).await, Err(TransactionError::Work(why)) if why == "no money")
    );
    assert!(matches!(world.transaction(&id("nobody"), "b/1", add).await, Err(TransactionError::Refused(_))));
    assert_eq!(sql(&cluster, "select cents from account"), "2");
}
