//! Runs that are tried again: one run for each failed one, whoever asks, how often, on however many hosts, with whatever
//! crash between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durhai::archive::{ExportOptions, ImportOptions};
use durhai::logs::Fork;
use durhai::{Host, HostError, Run, RunError, Status, StepContext, StepError, StepId, Value, World};
use durhai_testkit::{Fault, TestHost};
use parking_lot::Mutex;
use serde_json::json;

/// Hosts, and what their steps `pay` do.
struct Orders {
    test: TestHost,
    paid: Arc<Paid>,
}

struct Paid {
    /// By idempotency key: the runs that used it.
    keys: Mutex<BTreeMap<String, Vec<String>>>,
    /// The step fails.
    broken: AtomicBool,
}

impl Orders {
    fn new() -> Self {
        let paid = Arc::new(Paid { keys: Mutex::default(), broken: AtomicBool::new(true) });
        let noted = paid.clone();
        let test = TestHost::new()
            .workflow("order", r#"let me = use_step("note", run_id()); use_step("pay"); wait_for("sent"); me"#)
            .step("note", async |_: StepContext, id: String| Ok::<_, StepError>(id))
            .step("pay", move |ctx: StepContext, _: Value| {
                let run = ctx.run_id().to_string();
                noted.keys.lock().entry(ctx.idempotency_key()).or_default().push(run);
                let broken = noted.broken.load(Ordering::SeqCst);
                async move { if broken { Err(StepError::fatal("the bank is closed")) } else { Ok(1) } }
            });
        Orders { test, paid }
    }

    async fn host(&self) -> Host {
        self.test.start().await
    }

    fn mend(&self) {
        self.paid.broken.store(false, Ordering::SeqCst);
    }

    fn paid(&self) -> BTreeMap<String, Vec<String>> {
        std::mem::take(&mut *self.paid.keys.lock())
    }
}

async fn fails(host: &Host, id: &str) -> Run {
    let run = host.run("order").id(id).start().await.unwrap();
    assert!(matches!(run.output::<Value>().await, Err(RunError::Failed(..))));
    run
}

async fn ids(host: &Host) -> Vec<String> {
    let mut ids: Vec<_> =
        host.list(Default::default()).await.unwrap().runs.into_iter().map(|run| run.id.to_string()).collect();
    ids.sort();
    ids
}

async fn waits(orders: &Orders, run: &Run) {
    orders.test.rests().await;
    assert_eq!(run.status().await.unwrap(), Status::Waiting);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_twice_or_by_many_at_once_it_is_one_run() {
    let orders = Orders::new();
    let (one, other) = (orders.host().await, orders.host().await);
    fails(&one, "o").await;
    orders.mend();
    orders.paid();
    let mut asked = Vec::new();
    for n in 0..24 {
        let host = if n % 2 == 0 { one.clone() } else { other.clone() };
        asked.push(tokio::spawn(async move { host.get("o").await.unwrap().retry().await.unwrap().id().to_string() }));
    }
    for asked in asked {
        assert_eq!(asked.await.unwrap(), "o@2");
    }
    let again = other.get("o@2").await.unwrap();
    waits(&orders, &again).await;
    assert_eq!(one.get("o").await.unwrap().retry().await.unwrap().id(), again.id(), "while it lives");
    assert_eq!(ids(&one).await, ["o", "o@2"]);
    assert_eq!(orders.paid(), BTreeMap::from([("o/2".to_owned(), vec!["o@2".to_owned()])]), "paid once");
    again.signal("sent", &1).await.unwrap();
    assert_eq!(again.output::<String>().await.unwrap(), "o", "it goes by the name of the first");
    assert_eq!(one.get("o").await.unwrap().retry().await.unwrap().id(), again.id(), "when it has ended");
    // Each names the other.
    let (old, new) = (one.get("o").await.unwrap().view().await.unwrap(), again.view().await.unwrap());
    assert_eq!((old.retried_as.as_ref(), old.retry_of.as_ref()), (Some(again.id()), None));
    assert_eq!((new.retried_as.as_ref(), new.retry_of.as_ref(), new.attempt), (None, Some(&old.id), 2));
    assert!(old.forks.is_empty());
    assert!(matches!(again.retry().await, Err(HostError::Conflict(_))), "it did not fail");
    for host in [one, other] {
        host.shutdown().await;
    }
}

#[tokio::test]
async fn each_attempt_that_fails_has_one_that_follows_it() {
    let orders = Orders::new();
    let host = orders.host().await;
    let first = fails(&host, "o").await;
    let second = first.retry().await.unwrap();
    assert!(matches!(second.output::<Value>().await, Err(RunError::Failed(..))));
    assert_eq!(first.retry().await.unwrap().id(), second.id(), "it is the second that can be tried again");
    let third = second.retry().await.unwrap();
    assert_eq!(third.id().as_str(), "o@3");
    assert!(matches!(third.output::<Value>().await, Err(RunError::Failed(..))));
    let runs = ["o", "o@2", "o@3"].map(ToOwned::to_owned).to_vec();
    assert_eq!(orders.paid(), BTreeMap::from([("o/2".to_owned(), runs)]));
    // One that is gone may be made again.
    third.delete().await.unwrap();
    assert!(second.retried().await.unwrap().is_none());
    orders.mend();
    assert_eq!(second.retry().await.unwrap().id(), third.id());
    waits(&orders, &third).await;
    host.shutdown().await;
}

#[tokio::test]
async fn a_name_that_somebody_else_has_is_passed_over() {
    let orders = Orders::new();
    let host = orders.host().await;
    let first = fails(&host, "o").await;
    orders.mend();
    let stranger = host.run("order").id("o@2").start().await.unwrap();
    let again = first.retry().await.unwrap();
    assert_eq!(again.id().as_str(), "o@2.1");
    assert_eq!(first.retry().await.unwrap().id(), again.id());
    assert_eq!(first.view().await.unwrap().retried_as.as_ref(), Some(again.id()));
    for run in [&again, &stranger] {
        waits(&orders, run).await;
    }
    // It goes on counting from there.
    again.terminate("enough").await.unwrap();
    again.wait().await.unwrap();
    assert_eq!(again.retry().await.unwrap().id().as_str(), "o@2.1@3");
    host.shutdown().await;
}

#[tokio::test]
async fn forks_and_imports_of_what_was_tried_again_have_effects_of_their_own() {
    let orders = Orders::new();
    let host = orders.host().await;
    let first = fails(&host, "o").await;
    orders.mend();
    let again = first.retry().await.unwrap();
    waits(&orders, &again).await;
    orders.paid();
    let step = StepId::parse("2").unwrap();
    let fork = again.fork(Fork::at(step).id("f")).await.unwrap();
    waits(&orders, &fork).await;
    assert_eq!(orders.paid().into_keys().collect::<Vec<_>>(), ["f/2"], "not those of the run that lives");
    assert_eq!((fork.view().await.unwrap().retry_of, first.retried().await.unwrap().unwrap().id()), (None, again.id()));
    let file = crate::export::exported(&again, ExportOptions::default()).await;
    let options = ImportOptions { id: Some("i".into()), go: true, ..ImportOptions::default() };
    host.import(std::io::Cursor::new(file), options).await.unwrap();
    let imported = host.get("i").await.unwrap();
    waits(&orders, &imported).await;
    imported.terminate("enough").await.unwrap();
    assert_eq!(imported.wait().await.unwrap().status, Status::Failed);
    let next = imported.retry().await.unwrap();
    assert_eq!(next.view().await.unwrap().retry_of.as_ref(), Some(imported.id()));
    host.shutdown().await;
}

#[tokio::test]
async fn a_crash_at_any_write_leaves_one_retry() {
    let mut crashes = 0;
    for write in 1..12 {
        for fault in [Fault::Before(write), Fault::After(write)] {
            let orders = Orders::new();
            let host = orders.host().await;
            fails(&host, "o").await;
            host.shutdown().await;
            orders.mend();
            orders.paid();
            let (connection, host) = orders.test.start_with(fault).await;
            if let Ok(again) = host.get("o").await.unwrap().retry().await {
                assert_eq!(again.id().as_str(), "o@2");
            }
            let rests = || {
                let waits = |row: &durhai_world::Row| row.status == Status::Waiting;
                let row = orders.test.world.row(&durhai::RunId::new("o@2").unwrap()).unwrap();
                (connection.is_down() || row.as_ref().is_some_and(waits)).then_some(())
            };
            orders.test.pulse.until(rests, || fault).await;
            crashes += u32::from(connection.is_down());
            orders.test.bury(&host).await;
            let host = orders.host().await;
            let again = host.get("o").await.unwrap().retry().await.unwrap();
            waits(&orders, &again).await;
            again.signal("sent", &1).await.unwrap();
            assert_eq!(again.output::<Value>().await.unwrap(), json!("o"), "{fault:?}");
            assert_eq!(ids(&host).await, ["o", "o@2"], "{fault:?}");
            assert!(orders.paid().into_keys().eq(["o/2"]), "{fault:?}");
            host.shutdown().await;
        }
    }
    assert!(crashes >= 4, "{crashes} crashes");
}
