//! Limits for the attempts of a step: so many at a time, so many in a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use durhai::{Host, HostError, Rate, Run, StepContext, StepError, StepRule, Value};
use durhai_testkit::{PATIENCE, TestHost};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// Steps that end when the test says so, and what it sees of them.
struct Gate {
    begun: mpsc::UnboundedReceiver<(String, Value)>,
    open: Arc<Semaphore>,
    most: Arc<AtomicUsize>,
}

/// Hosts with steps of these names that wait for the gate.
fn gated(names: &[&str]) -> (TestHost, Gate) {
    let (tell, begun) = mpsc::unbounded_channel();
    let (open, most, inside) =
        (Arc::new(Semaphore::new(0)), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let mut test = TestHost::new();
    for name in names {
        let (tell, open, most, inside) = (tell.clone(), open.clone(), most.clone(), inside.clone());
        test = test.step(*name, move |ctx: StepContext, input: Value| {
            let (tell, open, most, inside) = (tell.clone(), open.clone(), most.clone(), inside.clone());
            async move {
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let _ = tell.send((ctx.name().to_owned(), input.clone()));
                open.acquire().await.unwrap().forget();
                inside.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, StepError>(input)
            }
        });
    }
    (test, Gate { begun, open, most })
}

impl Gate {
    async fn next(&mut self) -> (String, Value) {
        tokio::time::timeout(PATIENCE, self.begun.recv()).await.expect("an attempt begins").unwrap()
    }
}

fn at_a_time(most: u32) -> StepRule {
    StepRule { concurrency: Some(most), ..StepRule::default() }
}

async fn start(host: &Host, id: &str, input: Value) -> Run {
    host.run("w").id(id).input(&input).start().await.unwrap()
}

/// The start of a run's only step is durable: it has its place in the queue, or is just getting it.
async fn queued(run: &Run) {
    let began = Instant::now();
    while run.events(1, 10).await.unwrap().iter().all(|event| event.body.name() != "step_started") {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn of_all_hosts(most: u32) -> StepRule {
    StepRule { shared: true, ..at_a_time(most) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_share_the_places_of_a_limit() {
    let (test, mut gate) = gated(&["work"]);
    let test = test.workflow("w", "use_step(\"work\", input)");
    let mut hosts = Vec::new();
    for _ in 0..3 {
        hosts.push(test.builder().step_rule("work", of_all_hosts(4)).start().await.unwrap());
    }
    let mut runs = Vec::new();
    for n in 0..24 {
        runs.push(start(&hosts[n % 3], &format!("r{n}"), json!(n % 3)).await);
    }
    for n in 0..24 {
        gate.next().await;
        if n >= 3 {
            gate.open.add_permits(1);
        }
    }
    gate.open.add_permits(3);
    for run in &runs {
        run.output::<i64>().await.unwrap();
    }
    assert_eq!(gate.most.load(Ordering::SeqCst), 4, "all places were used, and never more");

    // One has them all; a rule that goes gives them to the others.
    let held: Vec<_> = {
        let mut held = Vec::new();
        for n in 0..4 {
            held.push(start(&hosts[0], &format!("h{n}"), json!(0)).await);
            gate.next().await;
        }
        held
    };
    let waits = start(&hosts[1], "waits", json!(1)).await;
    queued(&waits).await;
    assert!(gate.begun.is_empty());
    hosts[0].set_step_rules([].into()).unwrap();
    assert_eq!(gate.next().await.1, json!(1));
    gate.open.add_permits(5);
    for run in held.iter().chain([&waits]) {
        run.output::<i64>().await.unwrap();
    }
    for host in hosts {
        host.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_take_turns_where_there_are_fewer_places() {
    let (test, mut gate) = gated(&["work"]);
    let test = test.workflow("w", "use_step(\"work\", input)");
    let busy = test.builder().step_rule("work", of_all_hosts(1)).start().await.unwrap();
    let other = test.builder().step_rule("work", of_all_hosts(1)).start().await.unwrap();
    let mut runs = Vec::new();
    for n in 0..400 {
        runs.push(start(&busy, &format!("r{n}"), json!(0)).await);
    }
    gate.next().await;
    let waits = start(&other, "waits", json!(1)).await;
    queued(&waits).await;
    // The busy host always has one that could begin, and yet gives its place away.
    let mut before = 1;
    gate.open.add_permits(1);
    while gate.next().await.1 == json!(0) {
        before += 1;
        assert!(before < 400, "it had to wait for all of the other host's");
        tokio::time::sleep(Duration::from_millis(10)).await;
        gate.open.add_permits(1);
    }
    gate.open.add_permits(400);
    for run in runs.iter().chain([&waits]) {
        run.output::<i64>().await.unwrap();
    }
    assert_eq!(gate.most.load(Ordering::SeqCst), 1);
    busy.shutdown().await;
    other.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_at_a_time_in_order() {
    let (test, mut gate) = gated(&["work"]);
    let test = test.workflow("w", "use_step(\"work\", input)");
    let host = test.builder().step_rule("work", at_a_time(3)).start().await.unwrap();
    let mut runs = Vec::new();
    for n in 0..12 {
        let run = start(&host, &format!("r{n}"), json!(n)).await;
        queued(&run).await;
        runs.push(run);
    }
    let mut order = Vec::new();
    for n in 0..12 {
        if n >= 3 {
            gate.open.add_permits(1);
        }
        order.push(gate.next().await.1.as_i64().unwrap());
        assert!(n < 2 || gate.begun.is_empty(), "a place was free that was not");
    }
    gate.open.add_permits(3);
    for run in &runs {
        run.output::<i64>().await.unwrap();
    }
    order[..3].sort_unstable();
    assert_eq!(order, (0..12).collect::<Vec<_>>());
    assert_eq!(gate.most.load(Ordering::SeqCst), 3);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beginning_of_names_shares_one_limit() {
    let (test, mut gate) = gated(&["http.get", "http.put", "http.free", "other"]);
    let script = "foreach(input, |name| use_step(name, name), #{ concurrency: 9 }).len";
    let builder = test.workflow("w", script).builder();
    let builder = builder.step_rule("http.*", at_a_time(2)).step_rule("http.free", StepRule::default());
    let host = builder.start().await.unwrap();
    let names = ["http.get", "http.put", "http.get", "http.put", "http.free", "http.free", "other", "other", "other"];
    let run = start(&host, "r", json!(names)).await;
    let mut begun = Vec::new();
    for _ in 0..7 {
        begun.push(gate.next().await.0);
    }
    begun.sort();
    assert_eq!(begun, ["http.free", "http.free", "http.get", "http.put", "other", "other", "other"]);
    assert!(gate.begun.is_empty());
    gate.open.add_permits(100);
    assert_eq!(run.output::<i64>().await.unwrap(), 9);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_in_a_while() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = times.clone();
    let rate = Rate { count: 2, per: Duration::from_millis(200) };
    let host = TestHost::new()
        .step("call", move |_: StepContext, _: Value| {
            noted.lock().push(Instant::now());
            async { Ok::<_, StepError>(()) }
        })
        .workflow("w", "let calls = []; for i in 0..5 { calls.push(|| use_step(\"call\", i)); } parallel(calls); 1")
        .builder()
        .step_rule("call", StepRule { rate: Some(rate), ..StepRule::default() })
        .start()
        .await
        .unwrap();
    let began = Instant::now();
    start(&host, "r", Value::Null).await.output::<i64>().await.unwrap();
    assert!(began.elapsed() >= 2 * rate.per, "{:?}", began.elapsed());
    assert_eq!(times.lock().len(), 5);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_attempt_leaves_the_queue() {
    let (test, mut gate) = gated(&["work"]);
    let test = test.workflow("w", "use_step(\"work\", input)");
    let host = test.builder().step_rule("work", at_a_time(1)).start().await.unwrap();
    let first = start(&host, "first", json!(1)).await;
    assert_eq!(gate.next().await.1, json!(1));
    let second = start(&host, "second", json!(2)).await;
    queued(&second).await;
    let third = start(&host, "third", json!(3)).await;
    second.cancel("not wanted").await.unwrap();
    assert_eq!(second.wait().await.unwrap().status.to_string(), "cancelled");
    gate.open.add_permits(1);
    assert_eq!(first.output::<i64>().await.unwrap(), 1);
    assert_eq!(gate.next().await.1, json!(3));
    gate.open.add_permits(1);
    assert_eq!(third.output::<i64>().await.unwrap(), 3);
    assert!(gate.begun.is_empty(), "the second never began");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeout_counts_from_the_real_begin() {
    // Each takes a good part of its timeout: were the wait counted, the later ones would fail.
    let host = TestHost::new()
        .step("slow", async |_: StepContext, _: Value| {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok::<_, StepError>(1)
        })
        .workflow(
            "w",
            r#"
            let calls = [];
            for i in 0..4 { calls.push(|| use_step("slow", i, #{ timeout: "1s", retry: #{ max_attempts: 1 } })); }
            parallel(calls).len
            "#,
        )
        .builder()
        .step_rule("slow", at_a_time(1))
        .start()
        .await
        .unwrap();
    let began = Instant::now();
    assert_eq!(start(&host, "r", Value::Null).await.output::<i64>().await.unwrap(), 4);
    assert!(began.elapsed() >= Duration::from_millis(1_200));
    host.shutdown().await;
}

#[tokio::test]
async fn limits_that_make_no_sense_stop_the_start() {
    let error = TestHost::new().builder().step_rule("a", at_a_time(0)).start().await.unwrap_err();
    assert!(matches!(&error, HostError::Invalid(text) if text.contains("\"a\"")), "{error}");
}
