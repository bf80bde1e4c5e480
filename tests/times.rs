//! Every moment and every length of time that a log can hold open, under everything that goes on with a log: the table of
//! `host/docs/replay.md`, a cell a case.

use std::sync::Arc;
use std::time::Duration;

use durhai::archive::{ExportOptions, ImportOptions};
use durhai::clock::Clock;
use durhai::logs::Fork;
use durhai::{FailureKind, Host, Run, Status, StepContext, StepError, StepId, Value};
use durhai_testkit::{START, TestHost};

/// Seconds after the first start at which the log is taken, and at which the run goes on.
const TAKEN: u64 = 60_000;
const GOES_ON: u64 = 70_000;

/// What counts on ends then, what was left of 100 000 s, and all of it.
const ON: u64 = 100_000;
const LEFT: u64 = GOES_ON + (ON - TAKEN);
const ALL: u64 = GOES_ON + ON;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Retry,
    Fork,
    Import,
    AsIs,
    Migrate,
    Restart,
}

const HOW: [How; 6] = [How::Retry, How::Fork, How::Import, How::AsIs, How::Migrate, How::Restart];

/// What is open, and when the run ends under each.
struct Row {
    what: &'static str,
    /// One branch of the script; the other one sleeps for a while and makes the step at which it is forked.
    open: &'static str,
    header: &'static str,
    ends: [u64; 6],
}

const GIVEN: [u64; 6] = [ALL, ALL, LEFT, ON, ON, ON];
const MOMENT: [u64; 6] = [ON; 6];

const ROWS: &[Row] = &[
    Row {
        what: "the timeout of the run",
        open: r#"wait_for("never")"#,
        header: r#"const WORKFLOW = #{ timeout: "100000s" };"#,
        ends: GIVEN,
    },
    Row { what: "with_timeout", open: r#"with_timeout("100000s", || wait_for("never"))"#, header: "", ends: GIVEN },
    Row { what: "wait_for", open: r#"wait_for("never", #{ timeout: "100000s" })"#, header: "", ends: GIVEN },
    Row { what: "a hook", open: r#"{ let h = hook(); h.wait(#{ timeout: "100000s" }) }"#, header: "", ends: GIVEN },
    Row { what: "suspend", open: r#"suspend("?", #{ timeout: "100000s" })"#, header: "", ends: GIVEN },
    Row {
        what: "the deadline of a step",
        // It is over when the next attempt, 20 000 s after the one before, would come too late.
        open: r#"use_step("fails", 1, #{ deadline: "100000s", retry: #{ max_attempts: 99, initial: "20000s", max: "20000s", factor: 1, jitter: 0 } })"#,
        header: "",
        // The fork has an attempt under way, which it makes again when it begins.
        ends: [ALL - 10_000, ALL - 20_000, LEFT - 10_000, ON - 20_000, ON - 20_000, ON - 20_000],
    },
    Row { what: "sleep", open: r#"sleep("100000s")"#, header: "", ends: MOMENT },
    Row { what: "sleep_until", open: "sleep_until(input)", header: "", ends: MOMENT },
    Row {
        what: "the next attempt",
        open: r#"use_step("once_more", 1, #{ retry: #{ initial: "100000s", max: "100000s", jitter: 0 } })"#,
        header: "",
        ends: MOMENT,
    },
];

fn script(row: &Row, more: &str) -> String {
    let Row { open, header, .. } = row;
    format!(r#"{header} parallel([|| {{ {open} }}, || {{ sleep("{TAKEN}s"); use_step("echo", 1) }}]){more}"#)
}

fn test_host(script: &str) -> TestHost {
    TestHost::new()
        .workers(1)
        .with(|builder| builder.grace(Duration::from_secs(ON)))
        .workflow("w", script)
        .echo()
        .step("fails", async |_: StepContext, _: Value| Err::<Value, _>(StepError::retry("not yet")))
        .step("once_more", async |ctx: StepContext, input: Value| match ctx.attempt() {
            1 => Err(StepError::retry("not yet")),
            _ => Ok(input),
        })
}

/// Lets time pass up to that second, event by event.
async fn until(test: &TestHost, second: u64) {
    let end = START + second * 1_000;
    test.until(end).await;
    test.clock.set(end.max(test.clock.now()));
}

/// When it ends, in seconds from the first start.
async fn end_of(test: &TestHost, run: &Run) -> u64 {
    until(test, 10 * ON).await;
    let view = run.view().await.unwrap();
    (view.ended_at.unwrap_or_else(|| panic!("{view:#?}")) - START) / 1_000
}

/// The second at which a run ends whose log was taken at [`TAKEN`] and went on at [`GOES_ON`].
async fn goes_on(script: &str, how: How, fork_at: &str, cancel: bool) -> (u64, Run, Host) {
    let mut test = test_host(script);
    let host = test.start().await;
    let run = host.run("w").id("old").input(&(START + ON * 1_000)).start().await.unwrap();
    if cancel {
        until(&test, 0).await;
        run.cancel("enough").await.unwrap();
    }
    until(&test, TAKEN).await;
    until(&test, TAKEN).await;
    match how {
        How::Retry => {
            run.terminate("it stands still").await.unwrap();
            until(&test, GOES_ON).await;
            let next = run.retry().await.unwrap();
            (end_of(&test, &next).await, next, host)
        }
        How::Fork => {
            until(&test, GOES_ON).await;
            let next = run.fork(Fork::at(StepId::parse(fork_at).unwrap())).await.unwrap();
            run.terminate("enough").await.unwrap();
            (end_of(&test, &next).await, next, host)
        }
        How::Import | How::AsIs => {
            let file = crate::export::exported(&run, ExportOptions::default()).await;
            host.shutdown().await;
            test.clock.set(START + GOES_ON * 1_000);
            test.world = Arc::default();
            let host = test.start().await;
            let as_is = how == How::AsIs;
            let options = ImportOptions { go: true, as_is, ..ImportOptions::default() };
            let imported = host.import(std::io::Cursor::new(file), options).await.unwrap();
            let next = host.get(imported.run.as_str()).await.unwrap();
            (end_of(&test, &next).await, next, host)
        }
        How::Migrate | How::Restart => {
            host.shutdown().await;
            test.clock.set(START + GOES_ON * 1_000);
            let text = if how == How::Migrate { format!("{script} // another text") } else { script.to_owned() };
            test = test.workflow("w", text);
            let host = test.start().await;
            let next = host.get("old").await.unwrap();
            if how == How::Migrate {
                assert!(next.migrate(None, false).await.unwrap().moved);
            }
            (end_of(&test, &next).await, next, host)
        }
    }
}

#[tokio::test]
async fn every_time_that_is_open_in_a_log_under_everything_that_goes_on_with_it() {
    for row in ROWS {
        for (how, ends) in HOW.into_iter().zip(row.ends) {
            let what = format!("{} under {how:?}", row.what);
            let (ended, run, host) = goes_on(&script(row, ""), how, "1.2.2", false).await;
            let view = run.view().await.unwrap();
            assert_eq!(ended, ends, "{what}: {:?}", view.error);
            let asked = (!row.header.is_empty()).then_some(ON * 1_000);
            assert_eq!(view.timeout, asked, "{what}: it is shown as it was asked for");
            if matches!(how, How::Retry | How::Fork) {
                assert_eq!(view.started_at, Some(START + GOES_ON * 1_000), "{what}");
                assert!(view.created_at <= view.started_at.unwrap(), "{what}");
            }
            // It can be replayed, and every host after it sees the same.
            let again = run.replay(durhai::logs::ReplayOptions::default()).await.unwrap();
            assert_eq!((again.divergence, again.status), (None, view.status), "{what}");
            assert_eq!(host.doctor().await.unwrap().findings, [], "{what}");
            host.shutdown().await;
        }
    }
}

#[tokio::test]
async fn the_grace_period_of_clean_ups_is_one_of_them() {
    let script = r#"try { wait_for("never") } catch (e) { sleep(60000); use_step("echo", 1); sleep("1000000s"); }"#;
    for (how, ends) in HOW.into_iter().zip(GIVEN) {
        if how == How::Retry {
            // It begins before the cancellation.
            continue;
        }
        let (ended, run, host) = goes_on(script, how, "3", true).await;
        assert_eq!(ended, ends, "{how:?}");
        assert_eq!(run.view().await.unwrap().status, Status::Cancelled, "{how:?}");
        host.shutdown().await;
    }
}

#[tokio::test]
async fn what_was_over_and_failed_the_run_is_open_again_in_its_retry() {
    for (script, kind) in [
        (r#"const WORKFLOW = #{ timeout: "100s" }; wait_for("go")"#, FailureKind::Timeout),
        (r#"with_timeout("100s", || wait_for("go"))"#, FailureKind::Timeout),
        (r#"with_timeout("100s", || parallel([|| wait_for("go"), || sleep("1d")]))"#, FailureKind::Timeout),
        (
            r#"use_step("fails", 1, #{ deadline: "100s", retry: #{ max_attempts: 9, initial: "40s", factor: 1, jitter: 0 } })"#,
            FailureKind::Timeout,
        ),
    ] {
        let test = test_host(script);
        let host = test.start().await;
        let mut run = host.run("w").id("r").start().await.unwrap();
        let mut lasted = Vec::new();
        for round in 0..3u64 {
            let begins = START + round * 86_400_000;
            until(&test, round * 86_400 + 3_600).await;
            let view = run.view().await.unwrap();
            assert_eq!(view.error.as_ref().map(|error| error.kind), Some(kind), "{script} {round}: {view:#?}");
            lasted.push(view.ended_at.unwrap() - begins);
            test.clock.set(begins + 86_400_000);
            run = run.retry().await.unwrap();
        }
        assert!(lasted[0] > 50_000 && lasted.iter().all(|one| *one == lasted[0]), "{script}: {lasted:?}");
        host.shutdown().await;
    }
}

#[tokio::test]
async fn what_a_run_waits_at_its_gate_does_not_count() {
    let script = r#"const WORKFLOW = #{ timeout: "100s", concurrency: 1 }; wait_for("go")"#;
    let test = test_host(script);
    let host = test.start().await;
    let first = host.run("w").id("first").start().await.unwrap();
    until(&test, 10).await;
    first.terminate("enough").await.unwrap();
    first.wait().await.unwrap();
    let other = host.run("w").id("other").timeout(Duration::from_secs(1_000)).start().await.unwrap();
    let again = first.retry().await.unwrap();
    until(&test, 500).await;
    assert_eq!(again.view().await.unwrap().status, Status::Pending);
    other.terminate("enough").await.unwrap();
    assert_eq!(end_of(&test, &again).await, 600);
    host.shutdown().await;
}

/// Nothing of its time has passed, whatever it goes through before it begins.
#[tokio::test]
async fn a_retry_that_was_a_file_before_it_began_has_all_of_its_time() {
    let script = r#"const WORKFLOW = #{ timeout: "100000s", concurrency: 1 }; if input == 1 { return wait_for("never"); } with_timeout("50000s", || wait_for("never"))"#;
    let mut test = test_host(script);
    let host = test.start().await;
    let first = host.run("w").id("first").start().await.unwrap();
    until(&test, 20_000).await;
    first.terminate("enough").await.unwrap();
    until(&test, 30_000).await;
    host.run("w").id("place").input(&1).start().await.unwrap();
    let again = first.retry().await.unwrap();
    until(&test, 40_000).await;
    let file = crate::export::exported(&again, ExportOptions::default()).await;
    host.shutdown().await;
    test.clock.set(START + 500_000_000);
    test.world = Arc::default();
    let host = test.start().await;
    let options = ImportOptions { go: true, ..ImportOptions::default() };
    let imported = host.import(std::io::Cursor::new(file), options).await.unwrap();
    let run = host.get(imported.run.as_str()).await.unwrap();
    assert_eq!(end_of(&test, &run).await, 550_000);
    host.shutdown().await;
}
