//! What the script of a test can call.

use std::cell::RefCell;
use std::rc::Rc;

use durhai::{HookRequest, Query, RunId, RunView, StepError, Value};
use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, Map, NativeCallContext, Position};
use serde_json::json;

use crate::ledger::Call;
use crate::play::Stuck;
use crate::scene::{Finding, Mock, Scene, Thrown, Verdict, duration, mock, option, wait};
use crate::values::{self, to_dynamic, to_json};
use crate::waits;

/// The test that is being run with an engine.
pub type Hand = Rc<RefCell<Option<Rc<Scene>>>>;

/// A run, as a test holds it.
#[derive(Debug, Clone)]
pub struct RunRef {
    pub id: RunId,
}

pub fn scene(hand: &Hand, at: Position) -> Result<Rc<Scene>, Thrown> {
    hand.borrow().clone().ok_or_else(|| refuse(at, "this can be called in a test only, not at the top of the file"))
}

/// An error that the script can catch.
pub fn refuse(at: Position, text: impl Into<String>) -> Thrown {
    EvalAltResult::ErrorRuntime(text.into().into(), at).into()
}

pub fn register(engine: &mut Engine, hand: &Hand) {
    engine.register_type_with_name::<RunRef>("run");
    steps(engine, hand);
    actions(engine, hand);
    observers(engine, hand);
    views(engine, hand);
}

/// Mocks.
fn steps(engine: &mut Engine, hand: &Hand) {
    let add = |hand: &Hand, at: Position, step: &str, made: Result<Mock, String>| -> Result<(), Thrown> {
        let scene = scene(hand, at)?;
        let mock = made.map_err(|why| refuse(at, why))?;
        scene.with(at, |play| {
            play.cast().mocked.insert(step.into());
            play.delays.remove(step);
            Ok(())
        })?;
        scene.mocks.borrow_mut().insert(step.into(), mock);
        Ok(())
    };
    let h = hand.clone();
    engine.register_fn("mock", move |ctx: NativeCallContext<'_>, step: &str, value: Dynamic| {
        add(&h, ctx.call_position(), step, mock(&value))
    });
    let h = hand.clone();
    engine.register_fn("mock_fail", move |ctx: NativeCallContext<'_>, step: &str, message: &str| {
        add(&h, ctx.call_position(), step, Ok(Mock::Fail(message.into())))
    });
    let times = move |h: &Hand, at: Position, step: &str, times: i64, message: &str, then: &Dynamic| {
        let times = u32::try_from(times).map_err(|_| refuse(at, format!("{times} is no number of failures")))?;
        let made = mock(then).map(|then| Mock::FailTimes(times, message.into(), Rc::new(then)));
        add(h, at, step, made)
    };
    let h = hand.clone();
    engine.register_fn("fail_times", move |ctx: NativeCallContext<'_>, step: &str, n: i64, then: Dynamic| {
        times(&h, ctx.call_position(), step, n, "it fails, as the test wants", &then)
    });
    let h = hand.clone();
    engine.register_fn(
        "fail_times",
        move |ctx: NativeCallContext<'_>, step: &str, n: i64, message: &str, then: Dynamic| {
            times(&h, ctx.call_position(), step, n, message, &then)
        },
    );
    let h = hand.clone();
    engine.register_fn(
        "mock_delay",
        move |ctx: NativeCallContext<'_>, step: &str, delay: Dynamic, value: Dynamic| -> Result<(), Thrown> {
            let at = ctx.call_position();
            let delay = duration(&delay).map_err(|why| refuse(at, why))?;
            add(&h, at, step, mock(&value))?;
            scene(&h, at)?.with(at, |play| {
                play.delays.insert(step.into(), delay);
                Ok(())
            })
        },
    );
    for name in ["use_real", "allow"] {
        let h = hand.clone();
        engine.register_fn(name, move |ctx: NativeCallContext<'_>, pattern: &str| -> Result<(), Thrown> {
            let at = ctx.call_position();
            scene(&h, at)?.with(at, |play| {
                play.cast().real.insert(pattern.into());
                Ok(())
            })
        });
    }
    // How an attempt ends, as in a step.
    let verdict = |error: StepError| -> Result<Dynamic, Thrown> {
        Err(EvalAltResult::ErrorRuntime(Dynamic::from(Verdict(error)), Position::NONE).into())
    };
    engine.register_fn("fatal", move |message: &str| verdict(StepError::fatal(message)));
    engine.register_fn("fatal", move |message: &str, data: Dynamic| {
        verdict(StepError::fatal(message).data(to_json(&data).unwrap_or_default()))
    });
    engine.register_fn("retry_after", move |after: Dynamic, message: &str| match duration(&after) {
        Ok(ms) => verdict(StepError::retry(message).retry_after(wait(ms))),
        Err(why) => Err(refuse(Position::NONE, why)),
    });
}

/// What the outside does, and time.
fn actions(engine: &mut Engine, hand: &Hand) {
    let h = hand.clone();
    engine.register_fn("start", move |ctx: NativeCallContext<'_>, name: &str| {
        start(&h, &ctx, name, &Dynamic::UNIT, &Map::new())
    });
    let h = hand.clone();
    engine.register_fn("start", move |ctx: NativeCallContext<'_>, name: &str, input: Dynamic| {
        start(&h, &ctx, name, &input, &Map::new())
    });
    let h = hand.clone();
    engine.register_fn("start", move |ctx: NativeCallContext<'_>, name: &str, input: Dynamic, options: Map| {
        start(&h, &ctx, name, &input, &options)
    });
    let h = hand.clone();
    engine.register_fn("send", move |ctx: NativeCallContext<'_>, run: Dynamic, signal: &str| {
        send(&h, &ctx, &run, signal, &Dynamic::UNIT)
    });
    let h = hand.clone();
    engine.register_fn("send", move |ctx: NativeCallContext<'_>, run: Dynamic, signal: &str, payload: Dynamic| {
        send(&h, &ctx, &run, signal, &payload)
    });
    let h = hand.clone();
    engine.register_fn("resume", move |ctx: NativeCallContext<'_>, run: Dynamic, data: Dynamic| {
        resume(&h, &ctx, &run, None, &data)
    });
    let h = hand.clone();
    engine.register_fn("resume", move |ctx: NativeCallContext<'_>, run: Dynamic, label: &str, data: Dynamic| {
        resume(&h, &ctx, &run, Some(label), &data)
    });
    let h = hand.clone();
    engine.register_fn("hook", move |ctx: NativeCallContext<'_>, token: &str| hook(&h, &ctx, token, &Dynamic::UNIT));
    let h = hand.clone();
    engine.register_fn("hook", move |ctx: NativeCallContext<'_>, token: &str, payload: Dynamic| {
        hook(&h, &ctx, token, &payload)
    });
    for (name, terminate) in [("cancel", false), ("terminate", true)] {
        let h = hand.clone();
        engine.register_fn(name, move |ctx: NativeCallContext<'_>, run: Dynamic| end(&h, &ctx, &run, "", terminate));
        let h = hand.clone();
        engine.register_fn(name, move |ctx: NativeCallContext<'_>, run: Dynamic, reason: &str| {
            end(&h, &ctx, &run, reason, terminate)
        });
    }
    let h = hand.clone();
    engine.register_fn("settle", move |ctx: NativeCallContext<'_>| {
        scene(&h, ctx.call_position())?.settle(&ctx).map(drop)
    });
    let h = hand.clone();
    engine.register_fn("advance", move |ctx: NativeCallContext<'_>, by: Dynamic| -> Result<(), Thrown> {
        let at = ctx.call_position();
        let by = duration(&by).map_err(|why| refuse(at, why))?;
        let scene = scene(&h, at)?;
        let now = scene.with(at, |play| Ok(play.now()))?;
        scene.advance(&ctx, now.saturating_add(by))
    });
    let h = hand.clone();
    engine.register_fn("finish", move |ctx: NativeCallContext<'_>, run: Dynamic| -> Result<RunRef, Thrown> {
        let at = ctx.call_position();
        let (scene, run) = (scene(&h, at)?, run_of(&run, at)?);
        loop {
            let next = scene.settle(&ctx)?;
            let view = scene.with(at, |play| play.view(&run.id))?;
            match next.filter(|_| !view.status.is_terminal()) {
                Some(next) => scene.with(at, |play| {
                    play.set_time(next);
                    Ok(())
                })?,
                None => return Ok(run),
            }
        }
    });
    let h = hand.clone();
    engine.register_fn("schedule", move |ctx: NativeCallContext<'_>, workflow: &str| -> Result<(), Thrown> {
        let at = ctx.call_position();
        let scene = scene(&h, at)?;
        scene.with(at, |play| play.schedule(workflow))?;
        scene.settle(&ctx).map(drop)
    });
    engine.register_fn("sleep", |_: Dynamic| -> Result<(), Thrown> {
        Err(refuse(Position::NONE, "a test does not wait: advance(\"3 days\") moves the time of its runs"))
    });
}

/// What there is to see.
fn observers(engine: &mut Engine, hand: &Hand) {
    let h = hand.clone();
    engine.register_fn("now", move |ctx: NativeCallContext<'_>| -> Result<i64, Thrown> {
        let at = ctx.call_position();
        scene(&h, at)?.with(at, |play| Ok(play.now() as i64))
    });
    let h = hand.clone();
    engine.register_fn("calls", move |ctx: NativeCallContext<'_>| calls(&h, &ctx, None).map(list));
    let h = hand.clone();
    engine.register_fn("calls", move |ctx: NativeCallContext<'_>, step: &str| calls(&h, &ctx, Some(step)).map(list));
    let h = hand.clone();
    engine.register_fn("runs", move |ctx: NativeCallContext<'_>| runs(&h, &ctx, |_| Query::default()));
    let h = hand.clone();
    engine.register_fn("runs", move |ctx: NativeCallContext<'_>, workflow: &str| {
        runs(&h, &ctx, |_| Query { workflow: Some(workflow.into()), ..Query::default() })
    });
    let h = hand.clone();
    engine.register_fn("children", move |ctx: NativeCallContext<'_>, run: Dynamic| -> Result<Array, Thrown> {
        let id = run_of(&run, ctx.call_position())?.id;
        runs(&h, &ctx, |_| Query { parent: Some(id.clone()), ..Query::default() })
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
        let (scene, run) = (scene(&h, at)?, run_of(&run, at)?);
        let id = run.id.to_string();
        let events = scene.with(at, |play| {
            play.ask(|host| {
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
        let (scene, run) = (scene(&h, at)?, run_of(&run, at)?);
        let id = run.id.to_string();
        let questions = scene.with(at, |play| {
            play.ask(|host| {
                let id = id.clone();
                async move { host.get(&id).await?.suspensions().await }
            })
        })?;
        let shown = questions.iter().map(|asked| json!({ "label": asked.label, "payload": asked.payload }));
        let shown: Vec<Value> = shown.collect();
        scene.saw(at, format!("questions({})", run.id), json!(shown));
        Ok(list(shown))
    });
    let h = hand.clone();
    engine.register_fn("hooks", move |ctx: NativeCallContext<'_>, run: Dynamic| -> Result<Array, Thrown> {
        let at = ctx.call_position();
        let (scene, run) = (scene(&h, at)?, run_of(&run, at)?);
        let hooks = scene.with(at, |play| {
            play.runs()?;
            Ok(play.ledger(&run.id).map(|ledger| ledger.hooks.clone()).unwrap_or_default())
        })?;
        scene.saw(at, format!("the number of hooks({})", run.id), hooks.len().into());
        Ok(list(hooks.iter().map(|(_, token, url)| json!({ "token": token, "url": url })).collect()))
    });
    let h = hand.clone();
    engine.register_fn("refused", move |ctx: NativeCallContext<'_>, action: FnPtr| -> Result<String, Thrown> {
        let at = ctx.call_position();
        let scene = scene(&h, at)?;
        match action.call_within_context::<Dynamic>(&ctx, ()) {
            Ok(_) => Err(scene.doom(at, Finding::new("expected a refusal, but it was done"))),
            Err(error) => match error.unwrap_inner() {
                EvalAltResult::ErrorRuntime(value, _) if value.is_string() => {
                    let text = value.clone().into_string().unwrap_or_default();
                    scene.saw(at, "refused", json!(text));
                    Ok(text)
                }
                _ => Err(error),
            },
        }
    });
}

/// Properties of a run.
fn views(engine: &mut Engine, hand: &Hand) {
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
            let scene = scene(&h, at)?;
            let view = scene.with(at, |play| play.view(&run.id))?;
            let value = part(&view);
            scene.saw(at, format!("{}.{name}", run.id), without_attempts(value.clone()));
            Ok(to_dynamic(&value))
        });
    }
}

/// A run, or its id.
pub fn run_of(value: &Dynamic, at: Position) -> Result<RunRef, Thrown> {
    if let Some(run) = value.clone().try_cast::<RunRef>() {
        return Ok(run);
    }
    let id = value.clone().into_immutable_string().ok().and_then(|id: ImmutableString| RunId::new(id.as_str()).ok());
    let wrong =
        || refuse(at, format!("a run is wanted here (what start() gives, or its id), not a {}", value.type_name()));
    id.map(|id| RunRef { id }).ok_or_else(wrong)
}

/// How many attempts were made differs where a crash interrupted one.
pub fn without_attempts(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.remove("attempts");
        if let Some(cause) = fields.remove("cause") {
            fields.insert("cause".into(), without_attempts(cause));
        }
    }
    value
}

fn list(values: Vec<Value>) -> Array {
    values.iter().map(to_dynamic).collect()
}

fn start(
    hand: &Hand,
    ctx: &NativeCallContext<'_>,
    name: &str,
    input: &Dynamic,
    options: &Map,
) -> Result<RunRef, Thrown> {
    let at = ctx.call_position();
    let scene = scene(hand, at)?;
    let known = ["id", "tags", "timeout", "delay", "priority"];
    if let Some(wrong) = options.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(refuse(at, format!("start() knows no option {wrong:?}; there are {}", known.join(", "))));
    }
    let bad = |why: String| refuse(at, why);
    let input = to_json(input).map_err(bad)?;
    let text = |value: Dynamic| value.into_string().map_err(|found| refuse(at, format!("text is wanted, not {found}")));
    let id = option(options, "id").map(text).transpose()?;
    let timeout = option(options, "timeout").map(|it| duration(&it)).transpose().map_err(bad)?;
    let delay = option(options, "delay").map(|it| duration(&it)).transpose().map_err(bad)?;
    let priority = option(options, "priority").and_then(|it| it.as_int().ok()).unwrap_or(0) as i32;
    let tags = option(options, "tags").map(|tags| to_json(&tags)).transpose().map_err(bad)?.unwrap_or_default();
    let id = match id {
        Some(id) => id,
        None => scene.with(at, |play| Ok(play.next_id()))?,
    };
    let run = scene.with(at, |play| {
        play.start(|host| {
            let mut start = host.run(name).id(&id).input(&input).priority(priority);
            for (key, value) in tags.as_object().into_iter().flatten() {
                start = start.tag(key, value.as_str().map_or(value.to_string(), ToOwned::to_owned));
            }
            if let Some(ms) = timeout {
                start = start.timeout(wait(ms));
            }
            if let Some(ms) = delay {
                start = start.delay(wait(ms));
            }
            start.start()
        })
    })?;
    scene.settle(ctx)?;
    Ok(RunRef { id: run })
}

fn send(
    hand: &Hand,
    ctx: &NativeCallContext<'_>,
    run: &Dynamic,
    signal: &str,
    payload: &Dynamic,
) -> Result<(), Thrown> {
    let at = ctx.call_position();
    let (scene, run) = (scene(hand, at)?, run_of(run, at)?);
    let payload = to_json(payload).map_err(|why| refuse(at, why))?;
    scene.settle(ctx)?;
    scene.with(at, |play| {
        play.tell(|host| {
            let (id, payload) = (run.id.to_string(), payload.clone());
            async move { host.get(&id).await?.signal(signal, &payload).await }
        })
    })?;
    scene.settle(ctx).map(drop)
}

fn resume(
    hand: &Hand,
    ctx: &NativeCallContext<'_>,
    run: &Dynamic,
    label: Option<&str>,
    data: &Dynamic,
) -> Result<(), Thrown> {
    let at = ctx.call_position();
    let (scene, run) = (scene(hand, at)?, run_of(run, at)?);
    let data = to_json(data).map_err(|why| refuse(at, why))?;
    scene.settle(ctx)?;
    scene.with(at, |play| {
        play.tell(|host| {
            let (id, data) = (run.id.to_string(), data.clone());
            async move { host.get(&id).await?.resume(label, &data).await }
        })
    })?;
    scene.settle(ctx).map(drop)
}

fn hook(hand: &Hand, ctx: &NativeCallContext<'_>, token: &str, payload: &Dynamic) -> Result<(), Thrown> {
    let at = ctx.call_position();
    let scene = scene(hand, at)?;
    let body = to_json(payload).map_err(|why| refuse(at, why))?;
    scene.settle(ctx)?;
    scene.with(at, |play| {
        play.tell(|host| {
            let request = HookRequest { method: "POST".into(), body: body.clone(), ..HookRequest::default() };
            async move { host.deliver_hook(token, request, None).await }
        })
    })?;
    scene.settle(ctx).map(drop)
}

fn end(hand: &Hand, ctx: &NativeCallContext<'_>, run: &Dynamic, reason: &str, terminate: bool) -> Result<(), Thrown> {
    let at = ctx.call_position();
    let (scene, run) = (scene(hand, at)?, run_of(run, at)?);
    scene.settle(ctx)?;
    scene.with(at, |play| {
        let ended = play.view(&run.id)?.status;
        if ended.is_terminal() {
            return Err(Stuck::Refused(format!("run {} has ended already: it is {ended}", run.id)));
        }
        play.tell(|host| {
            let id = run.id.to_string();
            async move {
                let run = host.get(&id).await?;
                // One that waits for its turn ends at once, without a letter.
                if run.status().await?.is_terminal() {
                    return Ok(());
                }
                if terminate { run.terminate(reason).await } else { run.cancel(reason).await }
            }
        })
    })?;
    scene.settle(ctx).map(drop)
}

/// Attempts of a step, or of all.
pub fn calls(hand: &Hand, ctx: &NativeCallContext<'_>, step: Option<&str>) -> Result<Vec<Value>, Thrown> {
    let at = ctx.call_position();
    let scene = scene(hand, at)?;
    let calls = scene.with(at, |play| play.calls())?;
    let wanted = calls.iter().filter(|call| step.is_none_or(|step| crate::stage::matches(step, &call.name)));
    let (full, compared): (Vec<_>, Vec<_>) = wanted.map(|call| (shown(call), compared(call))).unzip();
    scene.saw(at, format!("calls({})", step.map_or(String::new(), |step| format!("{step:?}"))), json!(compared));
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

fn runs(hand: &Hand, ctx: &NativeCallContext<'_>, query: impl Fn(()) -> Query) -> Result<Array, Thrown> {
    let at = ctx.call_position();
    let scene = scene(hand, at)?;
    let query = query(());
    let rows = scene.with(at, |play| play.runs())?;
    let rows: Vec<_> = rows.into_iter().filter(|row| query.matches(row)).collect();
    scene.saw(at, "runs", rows.iter().map(|row| json!([row.run, row.workflow])).collect());
    Ok(rows.into_iter().map(|row| Dynamic::from(RunRef { id: row.run })).collect())
}

fn emitted(hand: &Hand, ctx: &NativeCallContext<'_>, run: &Dynamic, stream: &str) -> Result<Array, Thrown> {
    let at = ctx.call_position();
    let (scene, run) = (scene(hand, at)?, run_of(run, at)?);
    let id = run.id.to_string();
    let entries = scene.with(at, |play| {
        play.ask(|host| {
            let id = id.clone();
            async move { host.get(&id).await?.emitted(stream, 0, usize::MAX).await }
        })
    })?;
    let values: Vec<Value> = entries.into_iter().map(|entry| entry.value).collect();
    scene.saw(at, format!("emitted({id}, {stream:?})"), json!(values));
    Ok(list(values))
}

fn logs(hand: &Hand, ctx: &NativeCallContext<'_>, run: &Dynamic) -> Result<Array, Thrown> {
    let at = ctx.call_position();
    let (scene, run) = (scene(hand, at)?, run_of(run, at)?);
    let id = run.id.to_string();
    let entries = scene.with(at, |play| {
        play.ask(|host| {
            let id = id.clone();
            async move { host.get(&id).await?.logs(0, usize::MAX).await }
        })
    })?;
    let line = |entry: &durhai::LogEntry| {
        let line = &entry.line;
        json!({ "level": line.level, "message": line.message, "fields": line.fields })
    };
    let all: Vec<Value> = entries.iter().map(line).collect();
    // What attempts of steps write comes again when they are made again; the order of tasks may change.
    let mut own: Vec<_> =
        entries.iter().filter(|entry| entry.line.attempt.is_none()).map(|entry| line(entry).to_string()).collect();
    own.sort();
    scene.saw(at, format!("logs({id})"), json!(own));
    Ok(list(all))
}

/// A run in words, for a finding.
pub fn describe(scene: &Scene, at: Position, run: &RunRef) -> Result<(RunView, String), Thrown> {
    scene.with(at, |play| {
        let view = play.view(&run.id)?;
        let text = waits::describe(&view, play.now());
        Ok((view, text))
    })
}

/// `a map`, for messages.
pub fn show(value: &Value) -> String {
    values::short(value, 200)
}
