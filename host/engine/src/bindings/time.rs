//! Timers and the run's clock.

use durhai_core::replay::{Call, Wake};
use rhai::{Dynamic, Engine, NativeCallContext};

use super::args::{self, invalid};
use crate::errors::thrown::Thrown;
use crate::run::ask::ask;
use crate::run::current;
use crate::values::handles::Timestamp;
use crate::values::show::found;

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("sleep", |ctx: NativeCallContext<'_>, length: Dynamic| -> Result<(), Thrown> {
            let wake = || args::millis("sleep: the duration", &length).map(Wake::After);
            ask(&ctx, || wake().map(Call::Sleep), |_, _| ()).map(drop)
        })
        .register_fn("sleep_until", |ctx: NativeCallContext<'_>, at: Dynamic| -> Result<(), Thrown> {
            ask(&ctx, || moment(&at).map(|at| Call::Sleep(Wake::At(at))), |_, _| ()).map(drop)
        })
        .register_fn("now", |ctx: NativeCallContext<'_>| now(&ctx))
        .register_fn("timestamp", |ctx: NativeCallContext<'_>| now(&ctx).map(Timestamp));
    let elapsed = |ctx: NativeCallContext<'_>, from: &mut Timestamp| -> Result<f64, Thrown> {
        Ok(Timestamp(now(&ctx)?).since(*from))
    };
    engine
        .register_type_with_name::<Timestamp>("timestamp")
        .register_get("elapsed", elapsed)
        .register_fn("elapsed", elapsed)
        .register_fn("to_string", |time: Timestamp| time.to_string())
        .register_fn("to_debug", |time: Timestamp| time.to_string())
        .register_fn("-", |a: Timestamp, b: Timestamp| a.since(b))
        .register_fn("+", |a: Timestamp, seconds: f64| a.plus(seconds))
        .register_fn("+", |a: Timestamp, seconds: i64| a.plus(seconds as f64))
        .register_fn("-", |a: Timestamp, seconds: f64| a.plus(-seconds))
        .register_fn("-", |a: Timestamp, seconds: i64| a.plus(-(seconds as f64)))
        .register_fn("+=", |a: &mut Timestamp, seconds: f64| *a = a.plus(seconds))
        .register_fn("+=", |a: &mut Timestamp, seconds: i64| *a = a.plus(seconds as f64))
        .register_fn("-=", |a: &mut Timestamp, seconds: f64| *a = a.plus(-seconds))
        .register_fn("-=", |a: &mut Timestamp, seconds: i64| *a = a.plus(-(seconds as f64)))
        .register_fn("==", |a: Timestamp, b: Timestamp| a == b)
        .register_fn("!=", |a: Timestamp, b: Timestamp| a != b)
        .register_fn("<", |a: Timestamp, b: Timestamp| a < b)
        .register_fn("<=", |a: Timestamp, b: Timestamp| a <= b)
        .register_fn(">", |a: Timestamp, b: Timestamp| a > b)
        .register_fn(">=", |a: Timestamp, b: Timestamp| a >= b);
}

fn now(ctx: &NativeCallContext<'_>) -> Result<i64, Thrown> {
    current::run(ctx, |state| i64::try_from(state.replay.now()).unwrap_or(i64::MAX))
}

/// Unix milliseconds, or a timestamp. What lies before 1970 is past anyway.
fn moment(value: &Dynamic) -> Result<durhai_core::Millis, Thrown> {
    if let Some(time) = value.read_lock::<Timestamp>() {
        return Ok(u64::try_from(time.0).unwrap_or(0));
    }
    match value.as_int() {
        Ok(at) => Ok(u64::try_from(at).unwrap_or(0)),
        Err(_) => invalid(format!(
            "sleep_until: the moment must be Unix milliseconds (an integer, like now() gives) or a timestamp, found {}",
            found(value)
        )),
    }
}
