//! Which attempt runs, the log, and time.

use std::time::{SystemTime, UNIX_EPOCH};

use durhai::Value;
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, Map, Position};

use super::current::{CurrentAttempt, running};
use super::thrown::Fallible;
use crate::attempt::{Caller, Progress};
use crate::convert::{to_duration, to_json};

pub fn add_context(engine: &mut Engine, current: &CurrentAttempt) {
    let text = |engine: &mut Engine, name: &str, get: fn(&Caller) -> &str| {
        let current = current.clone();
        engine.register_fn(name, move || ImmutableString::from(get(&running(&current).caller)));
    };
    text(engine, "run_id", |caller| &caller.run_id);
    text(engine, "step_id", |caller| &caller.step_id);
    text(engine, "idempotency_key", |caller| &caller.key);
    text(engine, "workflow_name", |caller| &caller.workflow);
    let here = current.clone();
    engine.register_fn("attempt", move || i64::from(running(&here).caller.attempt));
    let here = current.clone();
    engine.register_fn("is_cancelled", move || running(&here).stop.is_asked());
    let here = current.clone();
    engine.register_fn("heartbeat", move |detail: Dynamic| -> Fallible<()> {
        (running(&here).caller.tell)(Progress::Heartbeat(to_json(&detail)?));
        Ok(())
    });
    let here = current.clone();
    engine.register_fn("log", move |level: &str, message: Dynamic| log(&here, level, &message, Value::Null));
    let here = current.clone();
    engine.register_fn("log", move |level: &str, message: Dynamic, fields: Map| {
        log(&here, level, &message, to_json(&fields.into())?)
    });
    let here = current.clone();
    engine.on_print(move |text| running(&here).caller.log("info", text.into(), Value::Null));
    let here = current.clone();
    engine.on_debug(move |text, _, position| {
        let fields = position.line().map_or(Value::Null, |line| serde_json::json!({ "line": line }));
        running(&here).caller.log("debug", text.into(), fields);
    });
}

fn log(current: &CurrentAttempt, level: &str, message: &Dynamic, fields: Value) -> Fallible<()> {
    if !["debug", "info", "warn", "error"].contains(&level) {
        return Err(format!("{level:?} is no level of the log: use debug, info, warn or error").into());
    }
    running(current).caller.log(level, message.to_string(), fields);
    Ok(())
}

pub fn add_time(engine: &mut Engine, current: &CurrentAttempt) {
    // One for each type, because Rhai's own `sleep` is for whole numbers and floats, and would be found first.
    fn wait(current: &CurrentAttempt, wait: &Dynamic) -> Fallible<()> {
        let stop = running(current).stop;
        stop.sleep(to_duration(wait)?);
        match stop.must_end() {
            Some(_) => Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into()),
            None => Ok(()),
        }
    }
    let here = current.clone();
    engine.register_fn("sleep", move |seconds: i64| wait(&here, &seconds.into()));
    let here = current.clone();
    engine.register_fn("sleep", move |seconds: f64| wait(&here, &seconds.into()));
    let here = current.clone();
    engine.register_fn("sleep", move |text: ImmutableString| wait(&here, &text.into()));
    engine.register_fn("now", || {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
    });
}
