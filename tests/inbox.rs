//! Messages count when they are applied: what was acknowledged reaches the run, its successor, or the one that tries it
//! again, however many came at once and wherever the run ended among them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use durhai::view::HookRequest;
use durhai::{Host, HostError, Limits, Run, Status, StepContext, StepError, Value};
use durhai_core::FailureKind;
use durhai_testkit::{PATIENCE, TestHost};
use serde_json::json;

/// Takes five, one a run.
const COLLECT: &str = r#"
    let got = input.got;
    got.push(wait_for("m"));
    if got.len() < 5 { continue_as_new(#{ got: got }); }
    got
"#;

/// The same by a hook whose address stays.
const HOOKED: &str = r#"
    let h = hook(#{ token: "orders" });
    let got = input.got;
    got.push(h.wait().body);
    if got.len() < 5 { continue_as_new(#{ got: got }); }
    got
"#;

const TEXTS: [(&str, &str); 16] = [
    ("timed/signal", "wait_for(\"m\", #{ timeout: \"4s\" })"),
    ("timed/person", "suspend(\"q\", #{ timeout: \"4s\" })"),
    ("timed/hook", "let h = hook(#{ token: \"timed\" }); h.wait(#{ timeout: \"4s\" })?.body"),
    ("timed/block", "with_timeout(\"4s\", || wait_for(\"m\"))"),
    ("timed/race", "race([|| sleep(4), || wait_for(\"m\")])"),
    ("timed/run", "const WORKFLOW = #{ timeout: \"4s\" }; wait_for(\"m\")"),
    ("one", "wait_for(\"m\")"),
    // The number of the attempt goes into what is recorded before the failure.
    (
        "cleans",
        r#"
        let mode = if attempt() == 1 { "first" } else { "again" };
        let h = hook(#{ token: "cleans" });
        let mode = use_step("echo", mode);
        let a = wait_for("a");
        try { use_step("flaky", (), #{ retry: false }); } catch (e) { sleep(30); throw e; }
        [mode, a, wait_for("b"), h.wait().body, attempt()]
    "#,
    ),
    (
        "reopens",
        r#"
        let got = [];
        let h = hook(#{ token: "again" });
        wait_for("go");
        got.push(h.wait().body);
        h.close();
        // A handle that is closed reads what came before.
        got.push(h.wait().body);
        while got.len() < 5 {
            let next = hook(#{ token: "again" });
            got.push(next.wait().body);
            next.close();
        }
        got
    "#,
    ),
    ("collect", COLLECT),
    ("hooked", HOOKED),
    ("computes", "let i = 0; loop { i += 1; }"),
    // A question in each run of the chain, under the same step id.
    (
        "asks",
        r#"
        let a = suspend(`round ${input}`, #{ label: "q", timeout: "1h" });
        if a == () { wait_for("on"); continue_as_new(input + 1); }
        [input, a]
    "#,
    ),
    // Fails at the first signal, with others behind it.
    (
        "fails",
        r#"
        let first = wait_for("m");
        if attempt() == 1 { throw "not today"; }
        [first, wait_for("m"), wait_for("m")]
    "#,
    ),
    (
        "limited",
        r#"
        let first = wait_for("m");
        if attempt() == 1 { loop { print("x"); } }
        [first, wait_for("m"), wait_for("m")]
    "#,
    ),
    (
        "closes",
        r#"
        let h = hook(#{ token: "again" });
        let first = h.wait().body;
        h.close();
        let h = hook(#{ token: "again" });
        [first, h.wait().body, h.wait().body]
    "#,
    ),
];

/// What the step `flaky` needs.
static MENDED: AtomicBool = AtomicBool::new(false);

fn test_host() -> TestHost {
    let limits = Limits { log_lines: 1_000, ..Limits::default() };
    let test = TestHost::new().workers(1).with(move |builder| builder.limits(limits.clone())).echo();
    let test =
        test.step(
            "flaky",
            async |_: StepContext, input: Value| {
                if MENDED.load(Ordering::SeqCst) { Ok(input) } else { Err(StepError::fatal("not today")) }
            },
        );
    TEXTS.iter().fold(test, |test, (name, text)| test.workflow(*name, *text))
}

/// A host that takes up nothing: what is sent through it lies in the inbox.
async fn sender(test: &TestHost) -> Host {
    test.builder().adopt(false).start().await.unwrap()
}

/// Starts a run, and stops its host once the run waits.
async fn begun(test: &TestHost, workflow: &str, input: Value) -> String {
    let host = test.start().await;
    let run = host.run(workflow).id("run").input(&input).start().await.unwrap();
    test.rests().await;
    host.shutdown().await;
    run.id().to_string()
}

async fn output(run: &Run) -> Value {
    tokio::time::timeout(PATIENCE, run.wait()).await.expect("it ends").unwrap().output
}

#[tokio::test]
async fn signals_behind_the_end_of_a_run_go_to_its_successors_in_order() {
    let test = test_host();
    let run = begun(&test, "collect", json!({ "got": [] })).await;
    let down = sender(&test).await;
    for n in 0..5 {
        down.get(&run).await.unwrap().signal("m", &n).await.unwrap();
    }
    down.shutdown().await;
    let host = test.start().await;
    assert_eq!(output(&host.get(&run).await.unwrap()).await, json!([0, 1, 2, 3, 4]));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_lose_nothing_while_the_run_goes_on_as_others() {
    let test = test_host();
    let host = test.start().await;
    let mut got = Vec::new();
    for round in 0..8 {
        let run = host.run("collect").id(format!("run-{round}")).input(&json!({ "got": [] })).start().await.unwrap();
        let send = |n: usize| {
            let run = run.clone();
            async move { run.signal("m", &n).await }
        };
        let sent = futures_join((0..5).map(send).collect()).await;
        assert!(sent.iter().all(Result::is_ok), "{sent:?}");
        let mut all: Vec<u64> = serde_json::from_value(output(&run).await).unwrap();
        all.sort_unstable();
        got.push(all);
    }
    assert!(got.iter().all(|all| *all == [0, 1, 2, 3, 4]), "{got:?}");
    host.shutdown().await;
}

/// All at once.
async fn futures_join<T: Send + 'static>(all: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let tasks: Vec<_> = all.into_iter().map(tokio::spawn).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    done
}

#[tokio::test]
async fn what_ends_a_run_ends_the_chain_it_became() {
    for terminate in [false, true] {
        for before in 0..4 {
            let test = test_host();
            let run = begun(&test, "collect", json!({ "got": [] })).await;
            let down = sender(&test).await;
            let to = down.get(&run).await.unwrap();
            for n in 0..before {
                to.signal("m", &n).await.unwrap();
            }
            match terminate {
                true => to.terminate("enough").await.unwrap(),
                false => to.cancel("enough").await.unwrap(),
            }
            for n in before..5 {
                to.signal("m", &n).await.unwrap();
            }
            down.shutdown().await;
            let host = test.start().await;
            let view =
                tokio::time::timeout(PATIENCE, host.get(&run).await.unwrap().wait()).await.expect("it ends").unwrap();
            match terminate {
                true => assert_eq!(
                    view.error.as_ref().map(|error| error.kind),
                    Some(FailureKind::Terminated),
                    "{before}: {view:?}"
                ),
                false => assert_eq!(view.status, Status::Cancelled, "{before}: {view:?}"),
            }
            host.shutdown().await;
        }
    }
}

fn request(body: &Value) -> HookRequest {
    HookRequest { method: "POST".into(), body: body.clone(), ..HookRequest::default() }
}

#[tokio::test]
async fn payloads_for_a_token_reach_whichever_hook_has_it_next() {
    // In the next run of the chain.
    let test = test_host();
    let run = begun(&test, "hooked", json!({ "got": [] })).await;
    let down = sender(&test).await;
    for n in 0..5 {
        let id = format!("id-{n}");
        down.deliver_hook("orders", request(&json!(n)), Some(&id)).await.unwrap();
        // Sent twice, and found to be the same in whichever run it comes to.
        down.deliver_hook("orders", request(&json!(n)), Some(&id)).await.unwrap();
    }
    down.shutdown().await;
    let host = test.start().await;
    assert_eq!(output(&host.get(&run).await.unwrap()).await, json!([0, 1, 2, 3, 4]));
    host.shutdown().await;

    // In the next hook of the same run.
    let test = test_host();
    let run = begun(&test, "closes", Value::Null).await;
    let down = sender(&test).await;
    for n in 0..3 {
        down.deliver_hook("again", request(&json!(n)), None).await.unwrap();
    }
    down.shutdown().await;
    let host = test.start().await;
    let run = host.get(&run).await.unwrap();
    assert_eq!(output(&run).await, json!([0, 1, 2]));
    let view = run.replay(Default::default()).await.unwrap();
    assert_eq!((view.divergence, view.output), (None, json!([0, 1, 2])));
    host.shutdown().await;
}

#[tokio::test]
async fn an_answer_is_for_the_question_of_its_run() {
    let test = test_host();
    let run = begun(&test, "asks", json!(1)).await;
    let down = sender(&test).await;
    let to = down.get(&run).await.unwrap();
    // The hour is over before anybody answers, and the answer lies in the inbox when the run goes on as another.
    to.signal("on", &Value::Null).await.unwrap();
    test.clock.advance(3_600_001);
    to.resume(Some("q"), &"late").await.unwrap();
    down.shutdown().await;
    let host = test.start().await;
    let next = async {
        loop {
            let asked = host.get(&run).await.unwrap().suspensions().await.unwrap();
            match asked.first() {
                Some(asked) if asked.payload == "round 2" => break,
                _ => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("it asks again");
    let run = host.get(&run).await.unwrap();
    run.resume(Some("q"), &"in time").await.unwrap();
    assert_eq!(output(&run).await, json!([2, "in time"]));
    host.shutdown().await;
}

#[tokio::test]
async fn what_a_failed_run_did_not_come_to_is_for_the_one_that_tries_it_again() {
    for workflow in ["fails", "limited"] {
        let test = test_host();
        let run = begun(&test, workflow, Value::Null).await;
        let down = sender(&test).await;
        for n in 0..3 {
            down.get(&run).await.unwrap().signal("m", &n).await.unwrap();
        }
        down.shutdown().await;
        let host = test.start().await;
        let failed = host.get(&run).await.unwrap();
        let view = tokio::time::timeout(PATIENCE, failed.wait()).await.expect("it ends").unwrap();
        assert_eq!(view.status, Status::Failed, "{workflow}");
        let again = failed.retry().await.unwrap();
        assert_eq!(output(&again).await, json!([0, 1, 2]), "{workflow}");
        host.shutdown().await;
    }
}

/// Waits that end by themselves, each sent something in time while its host is down, which comes back when the time is over.
#[tokio::test]
async fn what_was_sent_in_time_counts_however_late_the_run_hears_of_it() {
    for (workflow, what, expected) in [
        ("timed/signal", "signal", json!("in time")),
        ("timed/person", "resume", json!("in time")),
        ("timed/hook", "hook", json!("in time")),
        ("timed/block", "signal", json!("in time")),
        ("timed/race", "signal", json!({ "winner": 1, "value": "in time" })),
        ("timed/run", "signal", json!("in time")),
        ("timed/run", "cancel", Value::Null),
    ] {
        let test = test_host();
        let run = begun(&test, workflow, Value::Null).await;
        let down = sender(&test).await;
        let to = down.get(&run).await.unwrap();
        test.clock.advance(2_000);
        match what {
            "signal" => to.signal("m", &"in time").await.unwrap(),
            "resume" => to.resume(None, &"in time").await.unwrap(),
            "hook" => down.deliver_hook("timed", request(&json!("in time")), None).await.unwrap(),
            _ => to.cancel("in time").await.unwrap(),
        }
        down.shutdown().await;
        test.clock.advance(10_000);
        let host = test.start().await;
        let view =
            tokio::time::timeout(PATIENCE, host.get(&run).await.unwrap().wait()).await.expect("it ends").unwrap();
        let status = if what == "cancel" { Status::Cancelled } else { Status::Completed };
        assert_eq!((view.status, &view.output), (status, &expected), "{workflow} {what}: {:?}", view.error);
        let again = host.get(&run).await.unwrap().replay(Default::default()).await.unwrap();
        assert!(again.divergence.is_none(), "{workflow} {what}: {again:?}");
        host.shutdown().await;
    }
}

/// What came before the failure, for the run that tries it again, also where its clean-up was under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_during_a_clean_up_is_for_the_run_that_tries_it_again() {
    let test = test_host();
    let host = test.start().await;
    let run = host.run("cleans").id("run").start().await.unwrap();
    test.rests().await;
    run.signal("a", &1).await.unwrap();
    // It cleans up.
    test.rests().await;
    run.signal("b", &2).await.unwrap();
    host.deliver_hook("cleans", request(&json!(3)), None).await.unwrap();
    test.clock.advance(60_000);
    let view = tokio::time::timeout(PATIENCE, run.wait()).await.expect("it ends").unwrap();
    assert_eq!(view.status, Status::Failed);
    MENDED.store(true, Ordering::SeqCst);
    let again = run.retry().await.unwrap();
    assert_eq!(output(&again).await, json!(["first", 1, 2, 3, 2]));
    host.shutdown().await;
}

#[tokio::test]
async fn what_a_hook_did_not_read_is_for_the_next_with_its_token() {
    let test = test_host();
    let host = test.start().await;
    let run = host.run("reopens").id("run").start().await.unwrap();
    test.rests().await;
    for n in 0..5 {
        host.deliver_hook("again", request(&json!(n)), None).await.unwrap();
    }
    run.signal("go", &Value::Null).await.unwrap();
    assert_eq!(output(&run).await, json!([0, 1, 2, 3, 4]));
    let again = run.replay(Default::default()).await.unwrap();
    assert!(again.divergence.is_none(), "{again:?}");
    host.shutdown().await;
}

#[tokio::test]
async fn what_a_script_ends_without_is_told() {
    let test = test_host();
    let run = begun(&test, "one", Value::Null).await;
    let down = sender(&test).await;
    for n in 0..3 {
        down.get(&run).await.unwrap().signal("m", &n).await.unwrap();
    }
    down.shutdown().await;
    let host = test.start().await;
    let run = host.get(&run).await.unwrap();
    assert_eq!(output(&run).await, json!(0));
    let lines = run.logs(0, 9).await.unwrap();
    assert!(
        lines.iter().any(|entry| entry.line.level == "warn" && entry.line.message.contains("2 messages")),
        "{lines:?}"
    );
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_computes_is_terminated_where_it_stands() {
    let test = test_host();
    let host = test.builder().script_operations(u64::MAX).start().await.unwrap();
    let run = host.run("computes").id("run").start().await.unwrap();
    let started = async {
        while run.events(1, 9).await.unwrap().is_empty() || run.status().await.unwrap() == Status::Pending {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, started).await.expect("it begins");
    run.terminate("enough").await.unwrap();
    let view = tokio::time::timeout(PATIENCE, run.wait()).await.expect("it ends").unwrap();
    assert_eq!(view.error.map(|error| (error.kind, error.message)), Some((FailureKind::Terminated, "enough".into())));
    let refused = run.signal("m", &1).await.unwrap_err();
    assert!(matches!(refused, HostError::Conflict(_)), "{refused}");
    host.shutdown().await;
}
