//! What a test can look at. All of it is noted, so that repetitions of the test can be compared.

use durhai::{Query, RunView, Value};
use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, NativeCallContext};
use serde_json::json;

use super::{Hand, RunRef, context, list, run_of, without_attempts};
use crate::context::{Finding, Thrown};
use crate::ledger::Call;
use crate::values::to_dynamic;

// Long because it is a table: one function of test scripts after the other.
pub fn register(engine: &mut Engine, hand: &Hand) {
    properties(engine, hand);
    let h = hand.clone();
    engine.register_fn("now", move |ctx: NativeCallContext<'_>| -> Result<i64, Thrown> {
        let at = ctx.call_position();
        context(&h, at)?.with(at, |test_run| Ok(test_run.now() as i64))
    });
    let h = hand.clone();
    engine.register_fn("calls", move |ctx: NativeCallContext<'_>| calls(&h, &ctx, None).map(list));
    let h = hand.clone();
    engine.register_fn("calls", move |ctx: NativeCallContext<'_>, step: &str| calls(&h, &ctx, Some(step)).map(list));
    let h = hand.clone();
    engine.register_fn("runs", move |ctx: NativeCallContext<'_>| runs(&h, &ctx, &Query::default()));
    let h = hand.clone();
    engine.register_fn("runs", move |ctx: NativeCallContext<'_>, workflow: &str| {
        runs(&h, &ctx, &Query { workflow: Some(workflow.into()), ..Query::default() })
    });
    let h = hand.clone();
    engine.register_fn("children", move |ctx: NativeCallContext<'_>, run: Dynamic| -> Result<Array, Thrown> {
        let id = run_of(&run, ctx.call_position())?.id;
        runs(&h, &ctx, &Query { parent: Some(id), ..Query::default() })
    });
    let h = hand.clone();
    engine.register_fn("emitted", move |ctx: NativeCallContext<'_>, run: Dynamic| {
        emitted(&h, &ctx, &run, durhai::DEFAULT_STREAM)
    });
    let h = hand.clone();
    engine.register_fn("emitted", move |ctx: NativeCallContext<'_>, run: Dynamic, stream: &str| {
        emitted(&h, &ctx, &run, stream)
    });
    let h = hand.clone();
    engine.register_fn("logs", move |ctx: NativeCallContext<'_>, run: Dynamic| logs(&h, &ctx, &run));
    let h = hand.clone();
    engine.register_fn("events", move |ctx: NativeCallContext<'_>, run: Dynamic| -> Result<Array, Thrown> {
        let at = ctx.call_position();
        let (context, run) = (context(&h, at)?, run_of(&run, at)?);
        let id = run.id.to_string();
        let events = context.with(at, |test_run| {
            test_run.ask(|host| {
                let id = id.clone();
                async move { host.get(&id).await?.events(1, usize::MAX).await }
            })
        })?;
        // Not compared: a crash leaves its traces in the log.
        Ok(events.iter().map(|event| to_dynamic(&json!(event))).collect())
    });
    let h = hand.clone();
    engine.register_fn("questions", move |ctx: NativeCallContext<'_>, run: Dynamic| -> Result<Array, Thrown> {
        let at = ctx.call_position();
        let (context, run) = (context(&h, at)?, run_of(&run, at)?);
        let id = run.id.to_string();
        let questions = context.with(at, |test_run| {
            test_run.ask(|host| {
                let id = id.clone();
                async move { host.get(&id).await?.suspensions().await }
            })
        })?;
        let shown = questions.iter().map(|asked| json!({ "label": asked.label, "payload": asked.payload }));
        let shown: Vec<Value> = shown.collect();
        context.saw(at, format!("questions({})", run.id), json!(shown));
        Ok(list(shown))
    });
    let h = hand.clone();
    engine.register_fn("hooks", move |ctx: NativeCallContext<'_>, run: Dynamic| -> Result<Array, Thrown> {
        let at = ctx.call_position();
        let (context, run) = (context(&h, at)?, run_of(&run, at)?);
        let hooks = context.with(at, |test_run| {
            test_run.runs()?;
            Ok(test_run.ledger(&run.id).map(|ledger| ledger.hooks.clone()).unwrap_or_default())
        })?;
        context.saw(at, format!("the number of hooks({})", run.id), hooks.len().into());
        Ok(list(hooks.iter().map(|(_, token, url)| json!({ "token": token, "url": url })).collect()))
    });
    let h = hand.clone();
    engine.register_fn("refused", move |ctx: NativeCallContext<'_>, action: FnPtr| -> Result<String, Thrown> {
        let at = ctx.call_position();
        let context = context(&h, at)?;
        match action.call_within_context::<Dynamic>(&ctx, ()) {
            Ok(_) => Err(context.doom(at, Finding::new("expected a refusal, but it was done"))),
            Err(error) => match error.unwrap_inner() {
                EvalAltResult::ErrorRuntime(value, _) if value.is_string() => {
                    let text = value.clone().into_string().unwrap_or_default();
                    context.saw(at, "refused", json!(text));
                    Ok(text)
                }
                _ => Err(error),
            },
        }
    });
}

/// Properties of a run.
fn properties(engine: &mut Engine, hand: &Hand) {
    engine.register_get("id", |run: &mut RunRef| run.id.to_string());
    engine.register_fn("to_string", |run: &mut RunRef| run.id.to_string());
    engine.register_fn("to_debug", |run: &mut RunRef| format!("run {}", run.id));
    engine.register_fn("==", |a: RunRef, b: RunRef| a.id == b.id);
    engine.register_fn("!=", |a: RunRef, b: RunRef| a.id != b.id);
    type Part = fn(&RunView) -> Value;
    let parts: [(&'static str, Part); 9] = [
        ("workflow", |view| json!(view.workflow)),
        ("status", |view| json!(view.status)),
        ("input", |view| view.input.clone()),
        ("output", |view| view.output.clone()),
        ("error", |view| view.error.as_ref().map_or(Value::Null, |error| json!(error))),
        ("state", |view| view.state.clone()),
        ("status_text", |view| json!(view.status_text)),
        ("tags", |view| json!(view.tags)),
        ("waiting_for", |view| json!(view.waiting_for)),
    ];
    for (name, part) in parts {
        let h = hand.clone();
        engine.register_get(name, move |ctx: NativeCallContext<'_>, run: &mut RunRef| -> Result<Dynamic, Thrown> {
            let at = ctx.call_position();
            let context = context(&h, at)?;
            let view = context.with(at, |test_run| test_run.view(&run.id))?;
            let value = part(&view);
            context.saw(at, format!("{}.{name}", run.id), without_attempts(value.clone()));
            Ok(to_dynamic(&value))
        });
    }
}

/// Attempts of a step, or of all.
pub fn calls(hand: &Hand, ctx: &NativeCallContext<'_>, step: Option<&str>) -> Result<Vec<Value>, Thrown> {
    let at = ctx.call_position();
    let context = context(hand, at)?;
    let calls = context.with(at, |test_run| test_run.calls())?;
    let wanted = calls.iter().filter(|call| step.is_none_or(|step| crate::real_steps::matches(step, &call.name)));
    let (full, compared): (Vec<_>, Vec<_>) = wanted.map(|call| (shown(call), compared(call))).unzip();
    context.saw(at, format!("calls({})", step.map_or(String::new(), |step| format!("{step:?}"))), json!(compared));
    Ok(full)
}

fn shown(call: &Call) -> Value {
    let mut shown = json!({
        "step": &*call.name,
        "run": call.run,
        "input": &*call.input,
        "attempt": call.attempt,
        "at": call.at,
        "key": format!("{}/{}", call.run, call.step_id),
        "done": call.result.is_some(),
        "output": null,
        "error": null,
    });
    match &call.result {
        Some(Ok(output)) => shown["output"] = output.clone(),
        Some(Err(error)) => shown["error"] = json!(error),
        None => {}
    }
    shown
}

/// Without what a crash may change.
fn compared(call: &Call) -> Value {
    let mut shown = shown(call);
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("at");
        let error = fields.remove("error").map(without_attempts);
        fields.insert("error".into(), error.unwrap_or_default());
    }
    shown
}

fn runs(hand: &Hand, ctx: &NativeCallContext<'_>, query: &Query) -> Result<Array, Thrown> {
    let at = ctx.call_position();
    let context = context(hand, at)?;
    let rows = context.with(at, |test_run| test_run.runs())?;
    let rows: Vec<_> = rows.into_iter().filter(|row| query.matches(row)).collect();
    context.saw(at, "runs", rows.iter().map(|row| json!([row.run, row.workflow])).collect());
    Ok(rows.into_iter().map(|row| Dynamic::from(RunRef { id: row.run })).collect())
}

fn emitted(hand: &Hand, ctx: &NativeCallContext<'_>, run: &Dynamic, stream: &str) -> Result<Array, Thrown> {
    let at = ctx.call_position();
    let (context, run) = (context(hand, at)?, run_of(run, at)?);
    let id = run.id.to_string();
    let entries = context.with(at, |test_run| {
        test_run.ask(|host| {
            let id = id.clone();
            async move { host.get(&id).await?.emitted(stream, 0, usize::MAX).await }
        })
    })?;
    let values: Vec<Value> = entries.into_iter().map(|entry| entry.value).collect();
    context.saw(at, format!("emitted({id}, {stream:?})"), json!(values));
    Ok(list(values))
}

fn logs(hand: &Hand, ctx: &NativeCallContext<'_>, run: &Dynamic) -> Result<Array, Thrown> {
    let at = ctx.call_position();
    let (context, run) = (context(hand, at)?, run_of(run, at)?);
    let id = run.id.to_string();
    let entries = context.with(at, |test_run| {
        test_run.ask(|host| {
            let id = id.clone();
            async move { host.get(&id).await?.logs(0, usize::MAX).await }
        })
    })?;
    let line = |entry: &durhai::view::LogEntry| {
        let line = &entry.line;
        json!({ "level": line.level, "message": line.message, "fields": line.fields })
    };
    let all: Vec<Value> = entries.iter().map(line).collect();
    // What attempts of steps write comes again when they are made again; the order of tasks may change.
    let mut own: Vec<_> =
        entries.iter().filter(|entry| entry.line.attempt.is_none()).map(|entry| line(entry).to_string()).collect();
    own.sort();
    context.saw(at, format!("logs({id})"), json!(own));
    Ok(list(all))
}
