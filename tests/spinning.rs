//! Scripts that ask for what is answered at once, or show things, without end: the others go on, nothing gathers, and they
//! are stopped.

use std::time::Duration;

use durhai::view::LogEntry;
use durhai::{Limits, Run, Status};
use durhai_core::FailureKind;
use durhai_testkit::{Fault, PATIENCE, TestHost};

/// What goes round without ever waiting for something from outside.
const LOOPS: [&str; 22] = [
    "loop { sleep(0) }",
    "loop { poll_signal(\"x\") }",
    "loop { wait_for(\"x\", #{ timeout: 0 }) }",
    "loop { task(|| 1).join(); }",
    "loop { task(|| poll_signal(\"x\")).join(); }",
    "loop { parallel([|| 1, || 2]); }",
    "loop { parallel([]); }",
    "loop { foreach([1, 2], |x| x); }",
    "loop { race([|| 1]); }",
    "loop { with_timeout(\"1h\", || 1); }",
    "loop { let h = hook(); h.close(); }",
    "loop { try { hook(#{ token: \"mine\" }); } catch { } }",
    "loop { start_workflow(\"nothing\"); }",
    "loop { try { start_workflow(\"no such one\"); } catch { } }",
    "loop { try { use_step(\"no.such\"); } catch { } }",
    "loop { try { throw 1 } catch { } }",
    "loop { set_state(\"k\", 1); }",
    "loop { set_status(\"busy\"); }",
    "loop { print(\"x\"); }",
    "loop { log(\"info\", \"x\"); }",
    "loop { emit(\"x\"); }",
    "let t = \"x\"; while t.len() < 1000 { t += t; } parallel([|| loop { print(t); }, || loop { emit(t); }])",
];

fn test_host() -> TestHost {
    let good = "let n = 0; for i in 0..10 { n += use_step(\"echo\", 1); } n";
    let test = TestHost::new().workers(1).echo().workflow("nothing", "1").workflow("good", good);
    LOOPS.iter().enumerate().fold(test, |test, (n, text)| test.workflow(format!("loop/{n}"), *text))
}

async fn ends(run: &Run, what: &str) -> (Status, Option<FailureKind>) {
    let view =
        tokio::time::timeout(PATIENCE, run.wait()).await.unwrap_or_else(|_| panic!("{what} does not end")).unwrap();
    (view.status, view.error.map(|error| error.kind))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_waits_gives_way_and_is_terminated() {
    for (n, text) in LOOPS.iter().enumerate() {
        let host = test_host().start().await;
        let bad = host.run(format!("loop/{n}")).start().await.unwrap();
        let good = host.run("good").start().await.unwrap();
        assert_eq!(ends(&good, text).await, (Status::Completed, None), "{text}");
        // Some have come to a limit by now.
        if let Err(error) = bad.terminate("enough").await {
            assert!(bad.status().await.unwrap().is_terminal(), "{text}: {error}");
        }
        let (status, kind) = ends(&bad, text).await;
        assert!(
            status == Status::Failed && matches!(kind, Some(FailureKind::Terminated | FailureKind::Limit)),
            "{text}: {kind:?}"
        );
        host.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_waits_does_not_hold_up_the_end_of_its_host() {
    let test = test_host();
    let first = test.start().await;
    for n in 0..LOOPS.len() {
        first.run(format!("loop/{n}")).id(format!("run-{n}")).start().await.unwrap();
    }
    tokio::time::timeout(PATIENCE, first.shutdown()).await.expect("it stops");
    // Nobody has them, and the next host can deal with each.
    let next = test.start().await;
    for (n, text) in LOOPS.iter().enumerate() {
        let run = next.get(&format!("run-{n}")).await.unwrap();
        if run.terminate("enough").await.is_err() {
            assert!(run.status().await.unwrap().is_terminal(), "{text}");
        }
        assert_eq!(ends(&run, text).await.0, Status::Failed, "{text}");
    }
    next.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_native_function_that_never_comes_back_does_not_hold_up_the_end_of_its_host() {
    let test = test_host();
    let (entered, inside) = std::sync::mpsc::channel();
    let stuck = test
        .builder()
        .workers(2)
        .grace(Duration::from_millis(50))
        .drain(Duration::from_millis(50))
        .lease(Duration::from_secs(1))
        .extend_scripts(move |engine| {
            let entered = entered.clone();
            engine.register_fn("stuck", move || -> i64 {
                let _ = entered.send(());
                loop {
                    std::thread::park();
                }
            });
        })
        .workflow("stuck", "use_step(\"echo\", 1); if attempt() == 1 { stuck() }")
        .start()
        .await
        .unwrap();
    let bad = stuck.run("stuck").id("bad").start().await.unwrap();
    tokio::task::spawn_blocking(move || inside.recv()).await.unwrap().expect("it is entered");
    assert_eq!(bad.status().await.unwrap(), Status::Running);
    tokio::time::timeout(PATIENCE, stuck.shutdown()).await.expect("it stops");
    // Its claim ends with the lease.
    test.clock.advance(2_000);
    let next = test
        .builder()
        .extend_scripts(|engine| {
            engine.register_fn("stuck", || 7_i64);
        })
        .start()
        .await
        .unwrap();
    let view = tokio::time::timeout(PATIENCE, next.get("bad").await.unwrap().wait()).await.expect("it ends").unwrap();
    assert_eq!(view.output, 7);
    next.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_writes_so_much_in_all() {
    let limits = Limits { log_lines: 10_000, stream_bytes: 1 << 20, log_events: 500, ..Limits::default() };
    for (text, name) in [
        ("loop { print(\"x\"); }", "log_lines"),
        ("loop { try { loop { log(\"info\", \"x\"); } } catch { } }", "log_lines"),
        ("for i in 0..9_000 { print(i); } sleep(1); loop { print(\"x\"); }", "log_lines"),
        ("loop { emit(\"0123456789\"); }", "stream_bytes"),
        ("loop { try { emit(\"other\", \"0123456789\"); } catch { } }", "stream_bytes"),
        ("let t = \"x\"; while t.len() < 9000 { t += t; } loop { print(t); }", "stream_bytes"),
        ("loop { with_timeout(\"1h\", || 1); }", "the limit is 500"),
        ("loop { let h = hook(); h.close(); }", "the limit is 500"),
    ] {
        let test = test_host().workflow("w", text);
        let host = test.builder().limits(limits.clone()).start().await.unwrap();
        let run = host.run("w").start().await.unwrap();
        let ended = async {
            while !run.status().await.unwrap().is_terminal() {
                test.clock.advance(1_000);
                tokio::task::yield_now().await;
            }
            run.view().await.unwrap()
        };
        let view = tokio::time::timeout(PATIENCE, ended).await.unwrap_or_else(|_| panic!("{text} does not end"));
        let error = view.error.unwrap_or_else(|| panic!("{text}: {}", view.status));
        assert_eq!(error.kind, FailureKind::Limit, "{text}: {error}");
        assert!(error.message.contains(name), "{text}: {error}");
        let place = error.place.as_ref().map(|place| place.line);
        assert!(place.is_some() || name.contains("500"), "{text}: the error says where");
        let lines = all(&run).await;
        assert!(lines.len() <= 10_001, "{text}: {} lines", lines.len());
        let again = run.replay(Default::default()).await.unwrap();
        assert!(again.divergence.is_none(), "{text}: {:?}", again.divergence);
        host.shutdown().await;
    }
}

async fn all(run: &Run) -> Vec<LogEntry> {
    let mut lines: Vec<LogEntry> = Vec::new();
    loop {
        let page = run.logs(lines.len() as u64, 1_000).await.unwrap();
        if page.is_empty() {
            return lines;
        }
        lines.extend(page);
    }
}

/// More than one commit takes, in front of, between and behind durable calls, and in tasks.
const LOUD: &str = r#"
    for i in 0..9_000 { print(`a${i}`); }
    use_step("echo", 1);
    for i in 0..5_000 { emit(i); }
    parallel([
        || { use_step("echo", 2); for i in 0..6_000 { log("info", `b${i}`); } },
        || { for i in 0..6_000 { emit("other", i); } use_step("echo", 3); set_state("done", true); },
    ]);
    print("end");
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_in_parts_is_there_once_whatever_dies_between() {
    let mut expected = None;
    let mut writes = 1;
    let mut number = 0;
    while number <= writes {
        let fault = match number {
            0 => Fault::Never,
            n if n % 2 == 0 => Fault::Before(n),
            n => Fault::After(n),
        };
        number += 1;
        let test = test_host().workflow("loud", LOUD);
        let (dying, one) = test.start_with(fault).await;
        if let Ok(run) = one.run("loud").id("loud").start().await {
            let _ = tokio::time::timeout(PATIENCE, run.wait()).await.expect("it ends, or its host does");
        }
        test.bury(&one).await;
        let two = test.start().await;
        let run = two.run("loud").id("loud").start().await.unwrap();
        assert_eq!(ends(&run, "loud").await, (Status::Completed, None), "{fault:?}");
        let lines: Vec<_> = all(&run).await.into_iter().map(|entry| entry.line.message).collect();
        let mut streams = Vec::new();
        for name in ["default", "other"] {
            let values: Vec<_> = run.emitted(name, 0, 20_000).await.unwrap();
            streams.push(values.into_iter().map(|entry| entry.value).collect::<Vec<_>>());
        }
        let outcome = (lines, streams, run.view().await.unwrap().state);
        two.shutdown().await;
        if number == 1 {
            writes = dying.writes();
            assert!(writes >= 9, "{writes} writes: parts of their own");
            assert_eq!((outcome.0.len(), outcome.1[0].len(), outcome.1[1].len()), (15_001, 5_000, 6_000));
            expected = Some(outcome);
        } else {
            let (mut left, mut right) = (outcome.clone(), expected.clone().unwrap());
            // The two tasks may take turns otherwise.
            left.0.sort();
            right.0.sort();
            assert_eq!(left, right, "{fault:?}");
        }
    }
}
