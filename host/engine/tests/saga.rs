//! `std/saga`: what is undone, when, and which error goes on.

mod driver;

use driver::{Outcome, Outside, run_amid, sandbox};
use durhai_core::replay::Verdict;
use durhai_core::{EventBody, FailureKind};
use serde_json::json;

fn saga(script: &str) -> Outcome {
    saga_amid(script, None)
}

fn saga_amid(script: &str, cancel_at: Option<usize>) -> Outcome {
    let script = format!("import \"std/saga\" as saga; {script}");
    run_amid(&sandbox(), &script, json!({}), Outside { cancel_at, ..Outside::default() })
}

/// The inputs of the steps that were run, in order.
fn steps(outcome: &Outcome) -> Vec<String> {
    let input = |body: &EventBody| match body {
        EventBody::StepStarted { input: Some(input), .. } => Some(input.to_string().replace('"', "")),
        _ => None,
    };
    outcome.events.iter().filter_map(|event| input(&event.body)).collect()
}

fn lines(outcome: &Outcome) -> Vec<String> {
    outcome.lines.iter().map(|line| format!("{} {}", line.level, line.message)).collect()
}

const TWO: &str = "let a = s.step(|| use_step(\"echo\", \"a\"), |x| use_step(\"echo\", `undo ${x}`));
    let b = s.step(|| use_step(\"echo\", \"b\"), || use_step(\"echo\", \"undo b\"));";

#[test]
fn nothing_is_undone_when_all_goes_well() {
    let outcome = saga(&format!("saga::run(|s| {{ {TWO} s.undo(|| use_step(\"echo\", \"never\")); [a, b] }})"));
    assert_eq!(outcome.result(), Ok(json!(["a", "b"])));
    assert_eq!(steps(&outcome), ["a", "b"]);
}

#[test]
fn what_succeeded_is_undone_last_first() {
    for (failing, kind, message) in [
        ("use_step(\"fail\", \"c\")", FailureKind::StepFailed, "it is broken"),
        (
            "s.step(|| use_step(\"fail\", \"c\"), || use_step(\"echo\", \"undo c\"))",
            FailureKind::StepFailed,
            "it is broken",
        ),
        ("throw \"no\"", FailureKind::Thrown, "no"),
        ("let x = #{}; x.no_such_thing()", FailureKind::Script, "there is no function no_such_thing(map)"),
        ("parallel([|| sleep(5), || throw \"no\"])", FailureKind::Thrown, "no"),
        ("s.step(5, || 1)", FailureKind::InvalidInput, "step: the action must be a closure"),
        ("s.step(|| 1, 5)", FailureKind::InvalidInput, "step: the compensation must be a closure"),
        ("s.undo(5)", FailureKind::InvalidInput, "undo: the compensation must be a closure"),
    ] {
        let outcome =
            saga(&format!("saga::run(|s| {{\n{TWO} s.undo(|| use_step(\"echo\", \"undo free\"));\n{failing} }})"));
        let failure = outcome.result().expect_err(failing);
        assert_eq!(failure.kind, kind, "{failing}: {failure}");
        assert!(failure.message.starts_with(message), "{failing}: {failure}");
        // The error that is thrown on is the one of the block, with its place.
        assert_eq!(failure.place.as_ref().map(|place| place.line), Some(4), "{failing}: {failure}");
        let all = steps(&outcome);
        assert_eq!(&all[all.len() - 3..], ["undo free", "undo b", "undo a"], "{failing}: {all:?}");
    }
}

#[test]
fn a_compensation_that_fails_does_not_stop_the_others() {
    let outcome = saga(&format!(
        "let e = (); try {{ saga::run(|s| {{ {TWO} s.undo(|| use_step(\"fail\", \"undo c\")); s.undo(|| nothing()); s.undo(|x, y| 1); throw #{{ code: 4 }} }}) }} catch (x) {{ e = x; }} e"
    ));
    assert_eq!(outcome.result(), Ok(json!({ "code": 4 })));
    assert_eq!(steps(&outcome), ["a", "b", "undo c", "undo b", "undo a"]);
    assert_eq!(
        lines(&outcome),
        [
            "error a compensation failed: the closure cannot be called with 0 arguments ()",
            "error a compensation failed: there is no function nothing()",
            "error a compensation failed: it is broken",
        ]
    );
    assert_eq!(outcome.lines[2].fields["kind"], json!("step_failed"));
    assert_eq!(outcome.lines[2].fields["data"], json!({ "code": 7 }));
}

#[test]
fn a_cancelled_run_is_undone() {
    // Cancelled while it sleeps.
    let outcome = saga_amid(&format!("saga::run(|s| {{ {TWO} sleep(60); }})"), Some(1));
    assert!(matches!(outcome.verdict, Some(Verdict::Ended(EventBody::RunCancelled { .. }))), "{:?}", outcome.verdict);
    assert_eq!(steps(&outcome), ["a", "b", "undo b", "undo a"]);
    // Cancelled in an action, and in a branch.
    let outcome = saga_amid(
        &format!(
            "saga::run(|s| {{ {TWO} parallel([|| step(s, || sleep(60), || use_step(\"echo\", \"never\")), || sleep(70)]); }})"
        ),
        Some(1),
    );
    assert_eq!(steps(&outcome), ["a", "b", "undo b", "undo a"]);
    // Cancelled in a compensation: it is begun again.
    let outcome = saga_amid(
        &format!("saga::run(|s| {{ {TWO} s.undo(|| {{ sleep(20); use_step(\"echo\", \"slow\") }}); throw 1 }})"),
        Some(1),
    );
    assert_eq!(steps(&outcome), ["a", "b", "slow", "undo b", "undo a"]);
    assert_eq!(lines(&outcome), ["warn a compensation was interrupted by a cancellation and is begun again"]);
}

#[test]
fn branches_share_a_saga() {
    let script = "saga::run(|s| {
        foreach([3, 1, 2], |n| step(s, || { sleep(n); use_step(\"echo\", n) }, |x| use_step(\"echo\", `undo ${x}`)), #{ concurrency: 3 });
        throw \"no\"
    })";
    assert_eq!(steps(&saga(script)), ["1", "2", "3", "undo 3", "undo 2", "undo 1"]);
    // The branch that fails ends the block; the other one had succeeded.
    let script = "saga::run(|s| { parallel([
        || step(s, || use_step(\"echo\", 1), || use_step(\"echo\", \"undo 1\")),
        || { sleep(5); throw \"no\" },
        || step(s, || sleep(60), || use_step(\"echo\", \"never\")),
    ]) })";
    let outcome = saga(script);
    assert_eq!(steps(&outcome), ["1", "undo 1"]);
    assert_eq!(outcome.result().unwrap_err().message, "no");
}

/// A branch that is told to stop and finishes its action all the same: what it did is undone too.
#[test]
fn what_succeeds_too_late_is_undone() {
    let script = "saga::run(|s| { parallel([
        || { sleep(5); throw \"no\" },
        || step(s, || { try { sleep(60) } catch { sleep(10); use_step(\"echo\", 1) } }, || use_step(\"echo\", \"undo 1\")),
    ]) })";
    let outcome = saga(script);
    assert_eq!(steps(&outcome), ["1", "undo 1"]);
    assert_eq!(outcome.result().unwrap_err().message, "no");
}

#[test]
fn sagas_nest_and_are_over_when_they_are_over() {
    let outcome = saga(&format!(
        "saga::run(|s| {{ {TWO} try {{ saga::run(|t| {{ t.undo(|| use_step(\"echo\", \"inner\")); throw 1 }}) }} catch {{ }}
        saga::run(|t| {{ t.undo(|| use_step(\"echo\", \"kept\")); }}); throw 2 }})"
    ));
    assert_eq!(steps(&outcome), ["a", "b", "inner", "undo b", "undo a"]);
    for (script, message) in [
        (
            "let kept = (); saga::run(|s| { kept = s; }); kept.step(|| 1, || 2)",
            "step: the block of this saga has ended",
        ),
        ("let kept = (); saga::run(|s| { kept = s; }); kept.undo(|| 2)", "undo: the block of this saga has ended"),
        ("saga::run(5)", "saga::run: the argument must be a closure like || use_step(…), found an integer (5)"),
        ("saga::run(|s| use_step(\"echo\", s))", "input is a saga;"),
    ] {
        let failure = saga(script).result().expect_err(script);
        assert!(failure.message.starts_with(message), "{script}: {failure}");
    }
    // The block may leave its parameter out.
    assert_eq!(saga("saga::run(|| 5)").result(), Ok(json!(5)));
}
