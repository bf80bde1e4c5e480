//! Who runs, the log, and time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durhai::{Value, duration};
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, Map, Position};

use super::{Fallible, Seat, present};
use crate::attempt::{Caller, Word};
use crate::convert::to_json;

pub fn add_context(engine: &mut Engine, seat: &Seat) {
    let text = |engine: &mut Engine, name: &str, get: fn(&Caller) -> &str| {
        let seat = seat.clone();
        engine.register_fn(name, move || ImmutableString::from(get(&present(&seat).caller)));
    };
    text(engine, "run_id", |caller| &caller.run_id);
    text(engine, "step_id", |caller| &caller.step_id);
    text(engine, "idempotency_key", |caller| &caller.key);
    text(engine, "workflow_name", |caller| &caller.workflow);
    let here = seat.clone();
    engine.register_fn("attempt", move || i64::from(present(&here).caller.attempt));
    let here = seat.clone();
    engine.register_fn("is_cancelled", move || present(&here).stop.is_asked());
    let here = seat.clone();
    engine.register_fn("heartbeat", move |detail: Dynamic| -> Fallible<()> {
        (present(&here).caller.tell)(Word::Heartbeat(to_json(&detail)?));
        Ok(())
    });
    let here = seat.clone();
    engine.register_fn("log", move |level: &str, message: Dynamic| log(&here, level, &message, Value::Null));
    let here = seat.clone();
    engine.register_fn("log", move |level: &str, message: Dynamic, fields: Map| {
        log(&here, level, &message, to_json(&fields.into())?)
    });
    let here = seat.clone();
    engine.on_print(move |text| present(&here).caller.log("info", text.into(), Value::Null));
    let here = seat.clone();
    engine.on_debug(move |text, _, position| {
        let fields = position.line().map_or(Value::Null, |line| serde_json::json!({ "line": line }));
        present(&here).caller.log("debug", text.into(), fields);
    });
}

fn log(seat: &Seat, level: &str, message: &Dynamic, fields: Value) -> Fallible<()> {
    if !["debug", "info", "warn", "error"].contains(&level) {
        return Err(format!("{level:?} is no level of the log: use debug, info, warn or error").into());
    }
    present(seat).caller.log(level, message.to_string(), fields);
    Ok(())
}

pub fn add_time(engine: &mut Engine, seat: &Seat) {
    // One for each type, because Rhai's own `sleep` is for whole numbers and floats, and would be found first.
    fn wait(seat: &Seat, wait: &Dynamic) -> Fallible<()> {
        let stop = present(seat).stop;
        stop.sleep(length(wait)?);
        match stop.must_end() {
            Some(_) => Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into()),
            None => Ok(()),
        }
    }
    let here = seat.clone();
    engine.register_fn("sleep", move |seconds: i64| wait(&here, &seconds.into()));
    let here = seat.clone();
    engine.register_fn("sleep", move |seconds: f64| wait(&here, &seconds.into()));
    let here = seat.clone();
    engine.register_fn("sleep", move |text: ImmutableString| wait(&here, &text.into()));
    engine.register_fn("now", || {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
    });
}

/// A length of time as scripts write it.
pub fn length(wait: &Dynamic) -> Fallible<Duration> {
    let millis = match (wait.as_int(), wait.as_float(), wait.as_immutable_string_ref()) {
        (Ok(seconds), ..) => duration::from_seconds(seconds as f64),
        (_, Ok(seconds), _) => duration::from_seconds(seconds),
        (.., Ok(text)) => duration::parse(&text),
        _ => Err(format!("{wait} is no duration: write seconds, or text like \"250ms\"")),
    };
    Ok(Duration::from_millis(millis?))
}
