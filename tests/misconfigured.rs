//! Attempts that fail for what only an operator can mend: they wait, and nothing is used up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use durhai::{EventBody, FailureKind, Run, RunError, Status, StepContext, StepError, Value};
use durhai_testkit::{PATIENCE, TestHost};

/// A secret that is there or not, and how often the step was made.
#[derive(Clone, Default)]
struct Settings {
    set: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
}

fn test_host(settings: &Settings) -> TestHost {
    let settings = settings.clone();
    TestHost::new().workers(1).step("pay", move |_: StepContext, input: Value| {
        let settings = settings.clone();
        async move {
            settings.made.fetch_add(1, Ordering::SeqCst);
            if settings.set.load(Ordering::SeqCst) {
                return Ok(input);
            }
            let set = settings.set.clone();
            Err(StepError::misconfigured("the secret \"key\" is not set", move || set.load(Ordering::SeqCst)))
        }
    })
}

/// Until its attempt waits, which its log tells.
async fn waits(run: &Run) {
    let told = async {
        while run.logs(0, 10).await.expect("a log").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("it is told");
}

async fn types(run: &Run) -> Vec<&'static str> {
    run.events(1, 100).await.expect("events").iter().map(|event| event.body.name()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mended_lets_the_attempt_go_on_and_nothing_is_used_up() {
    let settings = Settings::default();
    let host = test_host(&settings).workflow("w", "use_step(\"pay\", 7, #{ retry: false })").start().await;
    let run = host.run("w").start().await.expect("it starts");
    waits(&run).await;
    let lines = run.logs(0, 10).await.expect("a log");
    assert!(lines.len() == 1 && lines[0].line.level == "warn" && lines[0].line.message.contains("\"key\" is not set"));
    let health = host.health();
    assert!(health.ok && health.warnings.len() == 1 && health.warnings[0].contains("step pay"), "{health:?}");
    // It is not made again and again: it is asked whether that makes sense.
    assert_eq!(settings.made.load(Ordering::SeqCst), 1);
    settings.set.store(true, Ordering::SeqCst);
    assert_eq!(run.output::<i64>().await.expect("an output"), 7);
    assert_eq!(types(&run).await, ["run_created", "run_started", "step_started", "step_completed", "run_completed"]);
    assert_eq!(host.health().warnings, Vec::<String>::new());
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_other_settings_takes_the_attempt_up_also_one_that_is_made_once() {
    let settings = Settings::default();
    let test = test_host(&settings).workflow("w", "use_step(\"pay\", 7, #{ retry: false, once: true })");
    let first = test.start().await;
    let run = first.run("w").id("r").start().await.expect("it starts");
    waits(&run).await;
    first.shutdown().await;
    settings.set.store(true, Ordering::SeqCst);
    let second = test.start().await;
    let run = second.get("r").await.expect("it is there");
    assert_eq!(run.output::<i64>().await.expect("an output"), 7);
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_is_cancelled_ends_at_its_deadline_or_is_parked() {
    let settings = Settings::default();
    let test = test_host(&settings).workflow("w", "use_step(\"pay\", 7)").workflow(
        "late",
        "let got = ();\ntry { got = use_step(\"pay\", 7, #{ deadline: \"300ms\" }); } catch (e) { got = e; }\ngot",
    );
    let first = test.start().await;
    let run = first.run("w").start().await.expect("it starts");
    waits(&run).await;
    run.cancel("no more").await.expect("asked");
    assert!(matches!(run.output::<Value>().await, Err(RunError::Cancelled(..))));
    let late = first.run("late").start().await.expect("it starts");
    waits(&late).await;
    test.clock.advance(300);
    let late: Value = late.output().await.expect("an output");
    assert_eq!(late["kind"], "timeout");
    assert!(late["message"].as_str().is_some_and(|text| text.contains("\"key\" is not set")), "{late}");
    first.shutdown().await;

    let parking = test.builder().park_misconfigured_after(Duration::from_millis(100));
    let second = parking.start().await.expect("a host");
    let run = second.run("w").start().await.expect("it starts");
    let view = run.wait().await.expect("a run");
    assert_eq!(view.status, Status::Parked);
    assert!(view.reason.as_ref().is_some_and(|why| why.contains("step 1") && why.contains("not set")), "{view:?}");
    settings.set.store(true, Ordering::SeqCst);
    run.unpark().await.expect("it may try again");
    assert_eq!(run.output::<i64>().await.expect("an output"), 7);
    let failed = run.events(1, 100).await.expect("events");
    assert!(
        !failed
            .iter()
            .any(|event| matches!(&event.body, EventBody::StepFailed { error } if error.kind != FailureKind::Timeout))
    );
    second.shutdown().await;
}
