//! Forks: what is taken over is not made again, what is not is; nobody else is disturbed; crashes change nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use durhai::logs::{DifferenceKind, Fork, ReplayOptions, Script, diff_logs};
use durhai::{Event, EventBody, HostError, Run, Status, StepContext, StepError, StepId, Value};
use durhai_core::legal::LogCheck;
use durhai_testkit::{Fault, TestHost};
use parking_lot::Mutex;
use serde_json::json;

/// Hosts whose attempts of `echo` are noted: run and step.
fn test_host(script: &str) -> (TestHost, Made) {
    let made = Made::default();
    let noted = made.clone();
    let test = TestHost::new()
        .workflow("flow", script)
        .workflow("child", "use_step(\"echo\", input) + 1")
        .workflow("taker", r#"let got = "taken"; try { hook(#{ token: input }); } catch (e) { got = e.kind; } got"#)
        .step("echo", move |context: StepContext, input: Value| {
            noted.0.lock().push(format!("{} {}", context.run_id(), context.step_id()));
            async move { Ok::<_, StepError>(input) }
        })
        .step("bad", async |_: StepContext, _: Value| Err::<Value, _>(StepError::fatal("broken")));
    (test, made)
}

/// The attempts since the last look.
#[derive(Clone, Default)]
struct Made(Arc<Mutex<Vec<String>>>);

impl Made {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

fn id(text: &str) -> StepId {
    StepId::parse(text).expect("a step id")
}

fn check(log: &[Event], what: &str) {
    let mut check = LogCheck::default();
    log.iter().try_for_each(|event| check.next(event)).unwrap_or_else(|bad| panic!("{what}: {bad}"));
}

/// Scripts whose output says all that matters; none looks at the time or at its own name.
const SCRIPTS: &[(&str, &str)] = &[
    ("steps", r#"let a = use_step("echo", 1); let b = use_step("echo", a + 1); [a, b, use_step("echo", a + b)]"#),
    (
        "branches",
        r#"let got = parallel([|| { let x = use_step("echo", 1); use_step("echo", x + 1) }, || { sleep(5); use_step("echo", 3) }]);
           got.push(use_step("echo", 9)); got"#,
    ),
    ("children", r#"let a = run_workflow("child", 4); let b = use_step("echo", a); [b, run_workflow("child", b)]"#),
    (
        "chance",
        r#"let a = rand(0, 1000000); let b = use_step("echo", a); let c = rand(0, 1000000); [a, b, c, use_step("echo", c)]"#,
    ),
    ("errors", r#"let why = (); try { use_step("bad", 1) } catch (e) { why = e.kind; } [why, use_step("echo", 2)]"#),
    ("each", r#"foreach([1, 2, 3], |n| { sleep(n); use_step("echo", n * 2) }, #{ concurrency: 2 })"#),
    (
        "race",
        r#"let r = race(#{ a: || { sleep(9); 1 }, b: || use_step("echo", 2) }); [r.winner, use_step("echo", r.value)]"#,
    ),
    ("state", r#"set_state("n", use_step("echo", 1)); emit(1); [get_state("n"), use_step("echo", 5)]"#),
    (
        "signals",
        r#"sleep(50); let a = wait_for("go", #{ timeout: 50 }); let b = use_step("echo", a); [b, poll_signal("go"), use_step("echo", 3)]"#,
    ),
    (
        "timeout",
        r#"let r = (); try { with_timeout(3, || { sleep(10); 1 }) } catch (e) { r = e.kind; } [r, use_step("echo", 7)]"#,
    ),
];

#[tokio::test]
async fn at_every_step_the_fork_comes_to_the_same() {
    for (name, script) in SCRIPTS {
        let (test, made) = test_host(script);
        let (connection, host) = test.start_with(Fault::Never).await;
        let run = host.run("flow").id("first").start().await.expect("it starts");
        if *name == "signals" {
            run.signal("go", &json!("one")).await.expect("it is sent");
            run.signal("go", &json!("two")).await.expect("it is sent");
        }
        assert!(test.settle(&connection).await);
        let output: Value = run.output().await.expect("it completes");
        let log = test.log(run.id());
        let steps: BTreeSet<StepId> = log.iter().filter_map(|event| event.step_id.clone()).collect();
        assert!(!steps.is_empty(), "{name}");
        made.take();
        let mut compared = 0;
        for step in steps {
            for (how, fork) in [("at", Fork::at(step.clone())), ("after", Fork::after(step.clone()))] {
                let what = format!("{name} {how} {step}");
                let fork = match run.fork(fork).await {
                    Ok(fork) => fork,
                    // A call that was cancelled by another branch has no result of its own.
                    Err(error) => {
                        assert!(how == "after" && error.to_string().contains("no result yet"), "{what}: {error}");
                        continue;
                    }
                };
                assert!(test.settle(&connection).await);
                let view = fork.view().await.expect("it is there");
                let own = test.log(fork.id());
                let signals = |log: &[Event]| {
                    log.iter().filter(|event| matches!(event.body, EventBody::SignalReceived { .. })).count()
                };
                assert_eq!(view.status, Status::Completed, "{what}: {view:?}");
                // Signals that came behind the cut are not there.
                if signals(&own) == signals(&log) {
                    assert_eq!(view.output, output, "{what}: {view:?}");
                    compared += 1;
                }
                assert!(view.started_at >= Some(view.created_at), "{what}: started before it was created: {view:?}");
                check(&own, &what);
                let origin = view.origin.expect("it knows where it came from");
                assert_eq!(origin.run, *run.id(), "{what}");
                // What was taken over had ended: its attempts are not made again.
                let taken: BTreeSet<&str> = own[..origin.seq as usize]
                    .iter()
                    .filter(|event| {
                        matches!(event.body, EventBody::StepCompleted { .. } | EventBody::StepFailed { .. })
                    })
                    .filter_map(|event| Some(event.step_id.as_ref()?.as_str()))
                    .collect();
                for made in made.take() {
                    let (of, step) = made.split_once(' ').expect("a run and a step");
                    assert!(of != fork.id().as_str() || !taken.contains(step), "{what}: {made} was made again");
                }
                let again = fork.replay(ReplayOptions::default()).await.expect("it replays");
                assert_eq!((again.divergence, again.status), (None, Status::Completed), "{what}");
            }
        }
        assert!(compared >= 2, "{name}");
        assert_eq!(test.log(run.id()), log, "{name}: the run that was forked is as it was");
        assert!(!run.view().await.expect("it is there").forks.is_empty());
        host.shutdown().await;
    }
}

const ORDER: &str = r#"
let paid = use_step("echo", #{ cents: input });
let sent = use_step("echo", paid.cents * 2);
use_step("echo", `${sent} for ${paid.cents}`)
"#;

#[tokio::test]
async fn results_and_texts_can_be_others() {
    let (test, made) = test_host(ORDER);
    let (connection, host) = test.start_with(Fault::Never).await;
    let run = host.run("flow").id("order").input(&5).tag("team", "red").start().await.expect("it starts");
    assert!(test.settle(&connection).await);
    made.take();
    let fork = run.fork(Fork::at(id("2")).set(id("1"), json!({ "cents": 7 })).id("seven")).await.expect("it forks");
    assert!(test.settle(&connection).await);
    let view = fork.view().await.expect("it is there");
    assert_eq!((view.output, view.input, view.tags["team"].as_str()), (json!("14 for 7"), json!(5), "red"));
    assert_eq!(made.take(), ["seven 2", "seven 3"]);
    let edited = Script { source: ORDER.replace("* 2", "* 3"), ..Script::default() };
    let fork = run.fork(Fork::after(id("1")).script(edited.clone())).await.expect("it fits the first step");
    assert!(test.settle(&connection).await);
    assert_eq!(fork.output::<String>().await.expect("it completes"), "15 for 5");
    assert_ne!(fork.view().await.expect("it is there").version, run.view().await.expect("it is there").version);
    // Behind the second step the text differs from what was done.
    let before = host.list(Default::default()).await.expect("runs").runs.len();
    let error = run.fork(Fork::after(id("2")).script(edited)).await.expect_err("it does not fit");
    let text = error.to_string();
    assert!(matches!(error, HostError::Conflict(_)), "{text}");
    for part in ["at step 2", "with 10", "with 15", "paid.cents * 2", "paid.cents * 3", "Nothing was created"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for (fork, says) in [
        (Fork::at(id("9")), "the log has no step 9; the last in it is 3"),
        (Fork::at(id("2")).set(id("2"), json!(1)), "step 2 has no result to be set"),
        (Fork::at(id("2")).set(id("9"), json!(1)), "those that have are 1"),
        (Fork::default(), "give one of `at` and `after`"),
    ] {
        let error = run.fork(fork).await.expect_err(says);
        assert!(error.to_string().contains(says), "{error}");
    }
    // The name of another run is refused, that of the same fork gives the same run.
    let taken = run.fork(Fork::at(id("2")).id("order")).await.expect_err("the name is taken");
    assert!(matches!(&taken, HostError::Conflict(_)), "{taken}");
    let same = run.fork(Fork::at(id("2")).set(id("1"), json!({ "cents": 7 })).id("seven")).await.expect("it is there");
    assert_eq!(same.output::<String>().await.expect("its output"), "14 for 7");
    assert_eq!(host.list(Default::default()).await.expect("runs").runs.len(), before);
    let forks: Vec<_> = run.view().await.expect("it is there").forks;
    assert_eq!(forks.len(), 2, "{forks:?}");
    // Where they differ.
    let diff = diff_logs(&test.log(run.id()), &test.log(same.id()));
    let found: Vec<_> = diff.differences.iter().map(|d| (d.step_id.as_ref().map(|s| s.to_string()), d.what)).collect();
    let step = |n: &str| Some(n.to_owned());
    assert_eq!(
        found,
        [
            (step("1"), DifferenceKind::Result),
            (step("2"), DifferenceKind::Call),
            (step("3"), DifferenceKind::Call),
            (None, DifferenceKind::End)
        ]
    );
    host.shutdown().await;
}

#[tokio::test]
async fn a_live_run_is_not_disturbed_and_its_hooks_stay_its_own() {
    let script = r#"
        let h = hook();
        use_step("echo", #{ url: h.url, run: run_id() });
        let got = h.wait();
        use_step("echo", got.body)
    "#;
    let (test, _) = test_host(script);
    let (connection, host) = test.start_with(Fault::Never).await;
    let run = host.run("flow").id("live").start().await.expect("it starts");
    assert!(test.settle(&connection).await);
    let before = test.log(run.id());
    let fork = run.fork(Fork::after(id("2")).id("copy")).await.expect("it forks");
    assert!(test.settle(&connection).await);
    assert_eq!(test.log(run.id()), before);
    let token = |log: &[Event]| {
        log.iter().find_map(|event| {
            if let EventBody::HookOpened { token, .. } = &event.body { Some(token.clone()) } else { None }
        })
    };
    let (old, new) = (token(&before).expect("a hook"), token(&test.log(fork.id())).expect("a hook"));
    assert_ne!(old, new);
    for (run, token, n) in [(&fork, &new, 2), (&run, &old, 1)] {
        let request = durhai::view::HookRequest { method: "POST".into(), body: json!(n), ..Default::default() };
        host.deliver_hook(token, request, None).await.expect("the hook is open");
        assert!(test.settle(&connection).await);
        assert_eq!(run.output::<Value>().await.expect("it completes"), json!(n));
    }
    host.shutdown().await;
}

#[tokio::test]
async fn a_token_the_script_named_is_not_taken_from_a_live_run() {
    let script = r#"let h = hook(#{ token: "till-7" }); use_step("echo", 1); h.wait().body"#;
    let (test, _) = test_host(script);
    let (connection, host) = test.start_with(Fault::Never).await;
    let run = host.run("flow").id("live").start().await.expect("it starts");
    assert!(test.settle(&connection).await);
    let error = run.fork(Fork::at(id("2"))).await.expect_err("the token is taken");
    assert!(error.to_string().contains("till-7"), "{error}");
    assert_eq!(host.list(Default::default()).await.expect("runs").runs.len(), 1);
    run.terminate("enough").await.expect("it ends");
    assert!(test.settle(&connection).await);
    let fork = run.fork(Fork::at(id("2"))).await.expect("the token is free");
    assert!(test.settle(&connection).await);
    let request = durhai::view::HookRequest { method: "POST".into(), body: json!(3), ..Default::default() };
    host.deliver_hook("till-7", request, None).await.expect("it is the fork's now");
    assert!(test.settle(&connection).await);
    assert_eq!(fork.output::<i64>().await.expect("it completes"), 3);
    host.shutdown().await;
}

#[tokio::test]
async fn a_run_tried_again_keeps_its_tokens_unless_somebody_has_them() {
    // One that the script named, and one that was made up.
    for (script, named) in [
        (r#"let h = hook(#{ token: "till-7" }); use_step("echo", 1); h.wait().body"#, true),
        (r#"let h = hook(); use_step("echo", h.token); h.wait().body"#, false),
    ] {
        let (test, _) = test_host(script);
        let (connection, host) = test.start_with(Fault::Never).await;
        let run = host.run("flow").id("first").start().await.expect("it starts");
        assert!(test.settle(&connection).await);
        run.terminate("enough").await.expect("it ends");
        assert!(test.settle(&connection).await);
        let token = |run: &Run| {
            let opened = |event: &Event| match &event.body {
                EventBody::HookOpened { token, .. } => Some(token.clone()),
                _ => None,
            };
            test.log(run.id()).iter().find_map(opened).expect("a hook")
        };
        let again = run.retry().await.expect("it is tried again");
        assert!(test.settle(&connection).await);
        assert_eq!(token(&again), token(&run), "its address works again");
        // A fork gets a token of its own.
        let mut open = vec![again];
        if !named {
            open.push(run.fork(Fork::at(id("2"))).await.expect("it forks"));
        }
        assert!(test.settle(&connection).await);
        assert_eq!(host.doctor().await.expect("a diagnosis").findings, []);
        for (n, run) in open.iter().enumerate() {
            let request = durhai::view::HookRequest { method: "POST".into(), body: json!(n), ..Default::default() };
            host.deliver_hook(&token(run), request, None).await.expect("the hook is open");
            assert!(test.settle(&connection).await);
            assert_eq!(run.output::<Value>().await.expect("it completes"), json!(n));
        }
        host.shutdown().await;
    }
}

#[tokio::test]
async fn open_hooks_are_those_of_the_new_run_before_it_begins() {
    // One that the script named, and one that was made up; with a schema that has to hold.
    for (hook, named) in [(r#"token: "till-7", "#, true), ("", false)] {
        let script = format!(
            r#"const WORKFLOW = #{{ concurrency: 1 }};
               if input == "place" {{ return wait_for("leave"); }}
               let h = hook(#{{ {hook}schema: #{{ type: "integer" }} }});
               use_step("echo", 1);
               h.wait().body"#
        );
        let (test, _) = test_host(&script);
        let (connection, host) = test.start_with(Fault::Never).await;
        let run = host.run("flow").id("first").start().await.expect("it starts");
        assert!(test.settle(&connection).await);
        let token = |run: &Run| {
            let opened = |event: &Event| match &event.body {
                EventBody::HookOpened { token, .. } => Some(token.clone()),
                _ => None,
            };
            test.log(run.id()).iter().find_map(opened).expect("a hook")
        };
        run.terminate("enough").await.expect("it ends");
        assert!(test.settle(&connection).await);
        let place = host.run("flow").id("place").input("place").start().await.expect("it starts");
        let again = run.retry().await.expect("it is tried again");
        let mut new = vec![again];
        match run.fork(Fork::at(id("2")).id("copy")).await {
            Ok(fork) => new.push(fork),
            Err(error) => assert!(named && error.to_string().contains("till-7"), "{error}"),
        }
        assert!(test.settle(&connection).await);
        for (n, run) in new.iter().enumerate() {
            assert_eq!(run.status().await.expect("it is there"), Status::Pending);
            let token = token(run);
            let taker = host.run("taker").input(&token).start().await.expect("it starts");
            assert!(test.settle(&connection).await);
            assert_eq!(taker.output::<String>().await.expect("it completes"), "hook_conflict");
            let body = |body: Value| durhai::view::HookRequest { method: "POST".into(), body, ..Default::default() };
            let misfit = host.deliver_hook(&token, body(json!("x")), None).await.expect_err("the schema");
            assert!(matches!(misfit, HostError::Invalid(_)), "{misfit}");
            host.deliver_hook(&token, body(json!(n)), None).await.expect("the hook is open");
        }
        place.signal("leave", &1).await.expect("it is sent");
        assert!(test.settle(&connection).await);
        for (n, run) in new.iter().enumerate() {
            assert_eq!(run.output::<Value>().await.expect("it completes"), json!(n));
        }
        assert_eq!(host.doctor().await.expect("a diagnosis").findings, []);
        host.shutdown().await;
    }
}

#[tokio::test]
async fn a_fork_survives_a_crash_at_every_write() {
    let script = SCRIPTS.iter().find(|(name, _)| *name == "branches").expect("it is there").1;
    let mut crashes = 0;
    for write in 1..40 {
        for fault in [Fault::Before(write), Fault::After(write)] {
            let (test, _) = test_host(script);
            let (connection, host) = test.start_with(Fault::Never).await;
            let run = host.run("flow").id("first").start().await.expect("it starts");
            assert!(test.settle(&connection).await);
            let output: Value = run.output().await.expect("it completes");
            host.shutdown().await;
            let fork = || Fork::at(id("1.2.2")).id("second");
            let (mut connection, mut host) = test.start_with(fault).await;
            let first = host.get("first").await.expect("it is there").fork(fork()).await;
            let mut alive = test.settle(&connection).await;
            assert!(first.is_ok() || !alive, "{fault:?}: {first:?}");
            if !alive {
                crashes += 1;
                test.bury(&host).await;
                (connection, host) = test.start_with(Fault::Never).await;
                host.get("first").await.expect("it is there").fork(fork()).await.expect("it forks, or has");
                alive = test.settle(&connection).await;
            }
            assert!(alive);
            let second = host.get("second").await.expect("it is there");
            assert_eq!(second.output::<Value>().await.expect("it completes"), output, "{fault:?}");
            check(&test.log(second.id()), &format!("{fault:?}"));
            assert_eq!(host.get("first").await.expect("it is there").view().await.expect("a view").forks.len(), 1);
            host.shutdown().await;
        }
    }
    assert!(crashes >= 6, "{crashes} crashes");
}
