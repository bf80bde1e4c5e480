//! Assertions.

use durhai::{FailureKind, Status, Value};
use rhai::{Dynamic, Engine, NativeCallContext, Position};

use crate::api::{Hand, RunRef, calls, context, describe, refuse, run_of, show};
use crate::context::{Finding, Thrown};
use crate::values::{contains, diff, equal, to_json};

/// What `expect(…)` gives: every method returns it again.
#[derive(Debug, Clone)]
enum Expectation {
    Run(RunRef),
    Value(Value),
}

pub fn register(engine: &mut Engine, hand: &Hand) {
    engine.register_type_with_name::<Expectation>("expectation");
    let expect = |ctx: NativeCallContext<'_>, value: Dynamic| -> Result<Expectation, Thrown> {
        match value.clone().try_cast::<RunRef>() {
            Some(run) => Ok(Expectation::Run(run)),
            None => to_json(&value).map(Expectation::Value).map_err(|why| refuse(ctx.call_position(), why)),
        }
    };
    engine.register_fn("expect", expect);
    of_values(engine, hand);
    of_runs(engine, hand);
    plain(engine, hand);
}

fn plain(engine: &mut Engine, hand: &Hand) {
    let h = hand.clone();
    engine.register_fn("assert", move |ctx: NativeCallContext<'_>, holds: bool| -> Result<(), Thrown> {
        check(&h, ctx.call_position(), holds, || Finding::new("the assertion does not hold"))
    });
    let h = hand.clone();
    engine.register_fn("assert", move |ctx: NativeCallContext<'_>, holds: bool, why: &str| -> Result<(), Thrown> {
        check(&h, ctx.call_position(), holds, || Finding::new(why))
    });
    let h = hand.clone();
    engine.register_fn("fail", move |ctx: NativeCallContext<'_>, why: &str| -> Result<(), Thrown> {
        check(&h, ctx.call_position(), false, || Finding::new(why))
    });
    let h = hand.clone();
    engine.register_fn(
        "expect_calls",
        move |ctx: NativeCallContext<'_>, step: &str, wanted: i64| -> Result<(), Thrown> {
            let made = calls(&h, &ctx, Some(step))?;
            check(&h, ctx.call_position(), made.len() as i64 == wanted, || {
                let times = |n: i64| if n == 1 { "once".to_owned() } else { format!("{n} times") };
                let text = format!(
                    "expected the step {step:?} to be called {}, it was called {}",
                    times(wanted),
                    times(made.len() as i64)
                );
                let all = made.iter().take(20).map(|call| {
                    let key = call["key"].as_str().unwrap_or_default();
                    format!("{key}, attempt {}: {}", call["attempt"], show(&call["input"]))
                });
                all.fold(Finding::new(text), Finding::note)
            })
        },
    );
}

fn of_values(engine: &mut Engine, hand: &Hand) {
    let mut add = |name: &'static str, holds: fn(&Value, &Value) -> Result<bool, String>, says: &'static str| {
        let h = hand.clone();
        let method = move |ctx: NativeCallContext<'_>, it: &mut Expectation, wanted: Dynamic| {
            let at = ctx.call_position();
            let found = value(it, name, at)?;
            let wanted = to_json(&wanted).map_err(|why| refuse(at, why))?;
            let holds = holds(&found, &wanted).map_err(|why| refuse(at, why))?;
            check(&h, at, holds, || {
                let finding = Finding::new(format!("expected {} {says} {}", show(&found), show(&wanted)));
                match name {
                    "to_equal" => Finding { diff: Some(diff(&wanted, &found)), ..Finding::new("the values differ") },
                    _ => finding,
                }
            })?;
            Ok(it.clone())
        };
        engine.register_fn(name, move |ctx: NativeCallContext<'_>, it: &mut Expectation, wanted: Dynamic| {
            method(ctx, it, wanted) as Result<Expectation, Thrown>
        });
    };
    add("to_equal", |found, wanted| Ok(equal(found, wanted)), "to equal");
    add("not_to_equal", |found, wanted| Ok(!equal(found, wanted)), "to differ from");
    add("to_contain", |found, wanted| Ok(contains(found, wanted)), "to contain");
    add("not_to_contain", |found, wanted| Ok(!contains(found, wanted)), "not to contain");
    add("to_match", is_match, "to match");
}

fn is_match(found: &Value, pattern: &Value) -> Result<bool, String> {
    let (Value::String(found), Value::String(pattern)) = (found, pattern) else {
        return Err(format!("to_match is for text and a pattern, not for {} and {}", show(found), show(pattern)));
    };
    let pattern = regex::Regex::new(pattern).map_err(|error| format!("the pattern is wrong: {error}"))?;
    Ok(pattern.is_match(found))
}

/// What stands for a value: one that was given.
fn value(it: &Expectation, method: &str, at: Position) -> Result<Value, Thrown> {
    match it {
        Expectation::Value(value) => Ok(value.clone()),
        Expectation::Run(run) => Err(refuse(
            at,
            format!("{method} is for values; of run {} take expect(run.output), expect(run.state), …", run.id),
        )),
    }
}

fn run(it: &Expectation, method: &str, at: Position) -> Result<RunRef, Thrown> {
    match it {
        Expectation::Run(run) => Ok(run.clone()),
        // A run by its id.
        Expectation::Value(Value::String(id)) => run_of(&id.as_str().into(), at),
        Expectation::Value(value) => Err(refuse(at, format!("{method} is for runs, not for {}", show(value)))),
    }
}

// Long because it is a table: one function of test scripts after the other.
fn of_runs(engine: &mut Engine, hand: &Hand) {
    for (name, status) in [
        ("completed", Status::Completed),
        ("failed", Status::Failed),
        ("cancelled", Status::Cancelled),
        ("parked", Status::Parked),
        ("suspended", Status::Suspended),
    ] {
        let h = hand.clone();
        engine.register_fn(name, move |ctx: NativeCallContext<'_>, it: &mut Expectation| {
            is(&h, &ctx, it, name, status).map(|_| it.clone())
        });
    }
    for name in ["completed", "output"] {
        let h = hand.clone();
        engine.register_fn(name, move |ctx: NativeCallContext<'_>, it: &mut Expectation, wanted: Dynamic| {
            let at = ctx.call_position();
            let wanted = to_json(&wanted).map_err(|why| refuse(at, why))?;
            let (view, text) = is(&h, &ctx, it, name, Status::Completed)?;
            check(&h, at, equal(&view.output, &wanted), || {
                let finding = Finding::new(format!("the output of {} is not what was expected", view.id));
                Finding { diff: Some(diff(&wanted, &view.output)), ..finding }.note(text)
            })?;
            Ok(it.clone()) as Result<Expectation, Thrown>
        });
    }
    let h = hand.clone();
    engine.register_fn("failed", move |ctx: NativeCallContext<'_>, it: &mut Expectation, kind: &str| {
        let at = ctx.call_position();
        let kind: FailureKind = kind.parse().map_err(|()| refuse(at, format!("there is no kind of error {kind:?}")))?;
        let (view, text) = is(&h, &ctx, it, "failed", Status::Failed)?;
        let found = view.error.as_ref().map(|error| error.kind);
        check(&h, at, found == Some(kind), || {
            Finding::new(format!("expected {} to fail with the kind {kind}", view.id)).note(text)
        })?;
        Ok(it.clone()) as Result<Expectation, Thrown>
    });
    let h = hand.clone();
    engine.register_fn("failed_with", move |ctx: NativeCallContext<'_>, it: &mut Expectation, wanted: &str| {
        let at = ctx.call_position();
        let (view, text) = is(&h, &ctx, it, "failed_with", Status::Failed)?;
        let holds = view.error.as_ref().is_some_and(|error| error.to_string().contains(wanted));
        check(&h, at, holds, || {
            Finding::new(format!("expected {} to fail with an error that says {wanted:?}", view.id)).note(text)
        })?;
        Ok(it.clone()) as Result<Expectation, Thrown>
    });
    let h = hand.clone();
    engine.register_fn("status", move |ctx: NativeCallContext<'_>, it: &mut Expectation, wanted: &str| {
        let at = ctx.call_position();
        let status: Status = wanted.parse().map_err(|why: String| refuse(at, why))?;
        is(&h, &ctx, it, "status", status)?;
        Ok(it.clone()) as Result<Expectation, Thrown>
    });
    let h = hand.clone();
    engine.register_fn("waiting_for", move |ctx: NativeCallContext<'_>, it: &mut Expectation, wanted: &str| {
        let at = ctx.call_position();
        let (view, text) = describe(&*context(&h, at)?, at, &run(it, "waiting_for", at)?)?;
        let is =
            |wait: &Value| ["name", "kind", "run_id"].iter().any(|key| wait.get(key) == Some(&Value::from(wanted)));
        let holds = !view.status.is_terminal() && view.waiting_for.iter().any(is);
        check(&h, at, holds, || {
            let waits = Finding::new(format!("expected {} to wait for {wanted:?}", view.id));
            waits.note(text)
        })?;
        Ok(it.clone()) as Result<Expectation, Thrown>
    });
    let h = hand.clone();
    engine.register_fn("state", move |ctx: NativeCallContext<'_>, it: &mut Expectation, key: &str, wanted: Dynamic| {
        let at = ctx.call_position();
        let wanted = to_json(&wanted).map_err(|why| refuse(at, why))?;
        let (view, text) = describe(&*context(&h, at)?, at, &run(it, "state", at)?)?;
        let found = view.state.get(key).cloned().unwrap_or_default();
        check(&h, at, equal(&found, &wanted), || {
            let finding = Finding::new(format!("the state {key:?} of {} is not what was expected", view.id));
            Finding { diff: Some(diff(&wanted, &found)), ..finding }.note(text)
        })?;
        Ok(it.clone()) as Result<Expectation, Thrown>
    });
    let h = hand.clone();
    engine.register_fn("status_text", move |ctx: NativeCallContext<'_>, it: &mut Expectation, wanted: &str| {
        let at = ctx.call_position();
        let (view, text) = describe(&*context(&h, at)?, at, &run(it, "status_text", at)?)?;
        check(&h, at, view.status_text.as_deref() == Some(wanted), || {
            let found = view.status_text.as_deref().unwrap_or("nothing");
            Finding::new(format!("expected the status text {wanted:?}, found {found:?}")).note(text)
        })?;
        Ok(it.clone()) as Result<Expectation, Thrown>
    });
}

fn is(
    hand: &Hand,
    ctx: &NativeCallContext<'_>,
    it: &Expectation,
    method: &str,
    status: Status,
) -> Result<(durhai::RunView, String), Thrown> {
    let at = ctx.call_position();
    let context = context(hand, at)?;
    context.settle(ctx)?;
    let (view, text) = describe(&context, at, &run(it, method, at)?)?;
    check(hand, at, view.status == status, || {
        let finding =
            Finding::new(format!("expected {} to be {status}, it is {}", view.id, view.status)).note(text.clone());
        let sleeps = view.waiting_for.iter().any(|wait| wait.get("until").is_some());
        match sleeps && status.is_terminal() && !view.status.is_terminal() {
            true => finding.note("advance(\"1 day\") moves time on, finish(run) to the run's end"),
            false => finding,
        }
    })?;
    Ok((view, text))
}

fn check(hand: &Hand, at: Position, holds: bool, finding: impl FnOnce() -> Finding) -> Result<(), Thrown> {
    if holds { Ok(()) } else { Err(context(hand, at)?.doom(at, finding())) }
}
