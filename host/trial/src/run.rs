//! Running the tests of a file: once undisturbed, then again with everything that may happen to a host.

use std::rc::Rc;
use std::time::{Duration, Instant};

use durhai::Value;
use serde_json::json;

use crate::context::{Finding, Seen, TestContext};
use crate::coverage::Coverage;
use crate::disturbance::Disturbance;
use crate::file::{TestFile, TestInfo};
use crate::test_run::{Setting, Stuck, TestRun};
use crate::values;
use crate::{Options, Outcome};

/// One repetition of a test.
struct Repetition {
    result: Result<(), Finding>,
    seen: Vec<Seen>,
    printed: Vec<String>,
    /// Writes at which a crash makes a difference.
    writes: u64,
    /// The write that the crash hit.
    struck: Option<String>,
}

/// Runs one test with all its repetitions.
pub fn run(file: &TestFile, test: &TestInfo, setting: &Setting, options: &Options, coverage: &mut Coverage) -> Outcome {
    let began = Instant::now();
    let mut outcome = Outcome { name: test.name.clone(), line: test.line, ..Outcome::default() };
    let mut watched = options.coverage.then_some(coverage);
    let plain = repeat(file, test, setting, options, Disturbance::None, watched.take());
    outcome.printed = plain.printed;
    if let Err(finding) = plain.result {
        outcome.failure = Some(finding);
        outcome.took = began.elapsed();
        return outcome;
    }
    let (chosen, left_out) = disturbances(test, options, plain.writes);
    outcome.left_out = left_out;
    for disturbance in chosen {
        let again = repeat(file, test, setting, options, disturbance, None);
        outcome.disturbed += 1;
        let finding = match again.result {
            Err(finding) => Some(finding.note("undisturbed, the test passes")),
            Ok(()) => differs(&plain.seen, &again.seen),
        };
        if let Some(finding) = finding {
            outcome.failure = Some(finding);
            outcome.disturbance = Some(disturbance);
            outcome.struck = again.struck;
            break;
        }
    }
    outcome.took = began.elapsed();
    outcome
}

/// What is done to a test, and how many crashes are left out because there are too many.
fn disturbances(test: &TestInfo, options: &Options, writes: u64) -> (Vec<Disturbance>, usize) {
    if let Some(only) = options.only {
        let others = Some(only).filter(|only| *only != Disturbance::None);
        return (others.into_iter().collect(), 0);
    }
    if !options.crashes || !test.crashes {
        return (Vec::new(), 0);
    }
    let crashes = (1..=writes).flat_map(|write| [Disturbance::CrashBefore(write), Disturbance::CrashAfter(write)]);
    let crashes: Vec<_> = crashes.collect();
    let (all, most) = (crashes.len(), options.max_crashes.max(1));
    let kept: Vec<_> = match all > most {
        // Evenly, and beginning elsewhere with another seed.
        true => (0..most).map(|n| crashes[(n * all / most + options.seed as usize) % all]).collect(),
        false => crashes,
    };
    let left_out = all - kept.len();
    (std::iter::once(Disturbance::Evicted).chain(kept).collect(), left_out)
}

fn repeat(
    file: &TestFile,
    test: &TestInfo,
    setting: &Setting,
    options: &Options,
    disturbance: Disturbance,
    coverage: Option<&mut Coverage>,
) -> Repetition {
    let limit = options.limit.or(file.limit).unwrap_or(Duration::from_secs(60));
    let mut setting = setting.clone();
    // Those of the test come last, and so take the place of others.
    setting.functions.extend(file.stand_ins.iter().cloned());
    let test_run = match TestRun::new(setting, disturbance, limit) {
        Ok(test_run) => test_run,
        Err(Stuck::Refused(text) | Stuck::Fatal(text)) => {
            let result = Err(Finding::new(text));
            return Repetition { result, seen: Vec::new(), printed: Vec::new(), writes: 0, struck: None };
        }
    };
    let context = Rc::new(TestContext::new(test_run, file.arities.clone()));
    let mut result = file.run(&test.name, context.clone()).map_err(|finding| match finding.line {
        0 => Finding { line: test.line, column: 1, ..finding },
        _ => finding,
    });
    if result.is_ok() {
        result = ends(&context);
    }
    let mut test_run = context.test_run.borrow_mut();
    if let Some(coverage) = coverage {
        coverage.watch(&mut test_run);
    }
    test_run.close();
    Repetition {
        result,
        seen: context.seen.take(),
        printed: context.printed.take(),
        writes: test_run.writes(),
        struck: test_run.struck(),
    }
}

/// How all runs stand at the end of the test, also those it did not look at.
fn ends(context: &TestContext) -> Result<(), Finding> {
    let text = |stuck| match stuck {
        Stuck::Refused(text) | Stuck::Fatal(text) => Finding::new(text),
    };
    let mut test_run = context.test_run.borrow_mut();
    for row in test_run.runs().map_err(text)? {
        let view = test_run.ask(|host| {
            let id = row.run.clone();
            async move { host.get(id.as_str()).await?.view().await }
        });
        let view = view.map_err(text)?;
        let error = view.error.as_ref().map(|error| json!({ "kind": error.kind, "message": error.message }));
        let end = json!({
            "workflow": view.workflow,
            "status": view.status,
            "output": view.output,
            "error": error,
            "state": view.state,
        });
        context.seen.borrow_mut().push(Seen { line: 0, what: format!("the end of {}", view.id), value: end });
    }
    Ok(())
}

/// The first thing that a repetition saw otherwise.
fn differs(plain: &[Seen], again: &[Seen]) -> Option<Finding> {
    let at = (0..plain.len().max(again.len())).find(|at| match (plain.get(*at), again.get(*at)) {
        (Some(a), Some(b)) => a.what != b.what || !values::equal(&a.value, &b.value),
        _ => true,
    })?;
    let null = Seen { line: 0, what: "nothing".into(), value: Value::Null };
    let (a, b) = (plain.get(at).unwrap_or(&null), again.get(at).unwrap_or(&null));
    let finding = match a.what == b.what {
        true => Finding {
            diff: Some(values::diff(&a.value, &b.value)),
            ..Finding::new(format!("{} is not what it is undisturbed", a.what))
        },
        false => Finding::new(format!("the test looks at {} here, undisturbed at {}", b.what, a.what)),
    };
    let line = if b.line > 0 { b.line } else { a.line };
    Some(Finding { line, column: usize::from(line > 0), ..finding })
}

/// For people: `12 ms`, `1.5 s`.
pub fn took(time: Duration) -> String {
    match time.as_millis() {
        ms if ms < 1_000 => format!("{ms} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
