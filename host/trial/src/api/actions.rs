//! What the outside does to runs, and time.

use durhai::view::HookRequest;
use rhai::{Dynamic, Engine, Map, NativeCallContext, Position};

use super::{Hand, RunRef, context, refuse, run_of};
use crate::context::{Thrown, duration, option, wait};
use crate::test_run::Stuck;
use crate::values::to_json;

// Long because it is a table: one function of test scripts after the other.
pub fn register(engine: &mut Engine, hand: &Hand) {
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
        context(&h, ctx.call_position())?.settle(&ctx).map(drop)
    });
    let h = hand.clone();
    engine.register_fn("advance", move |ctx: NativeCallContext<'_>, by: Dynamic| -> Result<(), Thrown> {
        let at = ctx.call_position();
        let by = duration(&by).map_err(|why| refuse(at, why))?;
        let context = context(&h, at)?;
        let now = context.with(at, |test_run| Ok(test_run.now()))?;
        context.advance(&ctx, now.saturating_add(by))
    });
    let h = hand.clone();
    engine.register_fn("finish", move |ctx: NativeCallContext<'_>, run: Dynamic| -> Result<RunRef, Thrown> {
        let at = ctx.call_position();
        let (context, run) = (context(&h, at)?, run_of(&run, at)?);
        loop {
            let next = context.settle(&ctx)?;
            let view = context.with(at, |test_run| test_run.view(&run.id))?;
            match next.filter(|_| !view.status.is_terminal()) {
                Some(next) => context.with(at, |test_run| {
                    test_run.set_time(next);
                    Ok(())
                })?,
                None => return Ok(run),
            }
        }
    });
    let h = hand.clone();
    engine.register_fn("schedule", move |ctx: NativeCallContext<'_>, workflow: &str| -> Result<(), Thrown> {
        let at = ctx.call_position();
        let context = context(&h, at)?;
        context.with(at, |test_run| test_run.schedule(workflow))?;
        context.settle(&ctx).map(drop)
    });
    engine.register_fn("sleep", |_: Dynamic| -> Result<(), Thrown> {
        Err(refuse(Position::NONE, "a test does not wait: advance(\"3 days\") moves the time of its runs"))
    });
}

fn start(
    hand: &Hand,
    ctx: &NativeCallContext<'_>,
    name: &str,
    input: &Dynamic,
    options: &Map,
) -> Result<RunRef, Thrown> {
    let at = ctx.call_position();
    let context = context(hand, at)?;
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
        None => context.with(at, |test_run| Ok(test_run.next_id()))?,
    };
    let run = context.with(at, |test_run| {
        test_run.start(|host| {
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
    context.settle(ctx)?;
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
    let (context, run) = (context(hand, at)?, run_of(run, at)?);
    let payload = to_json(payload).map_err(|why| refuse(at, why))?;
    context.settle(ctx)?;
    context.with(at, |test_run| {
        test_run.tell(|host| {
            let (id, payload) = (run.id.to_string(), payload.clone());
            async move { host.get(&id).await?.signal(signal, &payload).await }
        })
    })?;
    context.settle(ctx).map(drop)
}

fn resume(
    hand: &Hand,
    ctx: &NativeCallContext<'_>,
    run: &Dynamic,
    label: Option<&str>,
    data: &Dynamic,
) -> Result<(), Thrown> {
    let at = ctx.call_position();
    let (context, run) = (context(hand, at)?, run_of(run, at)?);
    let data = to_json(data).map_err(|why| refuse(at, why))?;
    context.settle(ctx)?;
    context.with(at, |test_run| {
        test_run.tell(|host| {
            let (id, data) = (run.id.to_string(), data.clone());
            async move { host.get(&id).await?.resume(label, &data).await }
        })
    })?;
    context.settle(ctx).map(drop)
}

fn hook(hand: &Hand, ctx: &NativeCallContext<'_>, token: &str, payload: &Dynamic) -> Result<(), Thrown> {
    let at = ctx.call_position();
    let context = context(hand, at)?;
    let body = to_json(payload).map_err(|why| refuse(at, why))?;
    context.settle(ctx)?;
    context.with(at, |test_run| {
        test_run.tell(|host| {
            let request = HookRequest { method: "POST".into(), body: body.clone(), ..HookRequest::default() };
            async move { host.deliver_hook(token, request, None).await }
        })
    })?;
    context.settle(ctx).map(drop)
}

fn end(hand: &Hand, ctx: &NativeCallContext<'_>, run: &Dynamic, reason: &str, terminate: bool) -> Result<(), Thrown> {
    let at = ctx.call_position();
    let (context, run) = (context(hand, at)?, run_of(run, at)?);
    context.settle(ctx)?;
    context.with(at, |test_run| {
        let ended = test_run.view(&run.id)?.status;
        if ended.is_terminal() {
            return Err(Stuck::Refused(format!("run {} has ended already: it is {ended}", run.id)));
        }
        test_run.tell(|host| {
            let id = run.id.to_string();
            async move {
                let run = host.get(&id).await?;
                // One that waits for its turn ends at once, without a message.
                if run.status().await?.is_terminal() {
                    return Ok(());
                }
                if terminate { run.terminate(reason).await } else { run.cancel(reason).await }
            }
        })
    })?;
    context.settle(ctx).map(drop)
}
