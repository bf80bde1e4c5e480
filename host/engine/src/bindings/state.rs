//! What a run shows of itself while it runs.

use rhai::{Dynamic, Engine, NativeCallContext};

use super::{args, log};
use crate::errors::thrown::{Thrown, throw};
use crate::run::current::{self, State};
use crate::run::operations;
use crate::values::convert::{self, Budget};
use durhai_core::Value;

/// The stream of `emit(value)`.
const STREAM: &str = "default";

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("set_state", |ctx: NativeCallContext<'_>, key: Dynamic, value: Dynamic| -> Result<(), Thrown> {
            let key = args::name("set_state: the key", &key)?;
            let value = stored(&ctx, &value)?;
            let size = current::run(&ctx, |state| state.replay.set_state(&key, value))?.map_err(throw)?;
            operations::shown(size);
            Ok(())
        })
        .register_fn("get_state", |ctx: NativeCallContext<'_>, key: Dynamic| -> Result<Dynamic, Thrown> {
            let key = args::name("get_state: the key", &key)?;
            let value = current::run(&ctx, |state| state.replay.get_state(&key).cloned())?;
            Ok(value.map_or(Dynamic::UNIT, convert::into_dynamic))
        })
        .register_fn("set_status", |ctx: NativeCallContext<'_>, value: Dynamic| -> Result<(), Thrown> {
            let text = match stored(&ctx, &value)? {
                Value::Null => String::new(),
                Value::String(text) => text,
                other => other.to_string(),
            };
            current::run(&ctx, |state| state.replay.set_status(text))?.map_err(throw)
        })
        .register_fn("emit", |ctx: NativeCallContext<'_>, value: Dynamic| emit(&ctx, STREAM, &value))
        .register_fn("emit", |ctx: NativeCallContext<'_>, stream: Dynamic, value: Dynamic| {
            emit(&ctx, &args::name("emit: the name of the stream", &stream)?, &value)
        });
}

fn emit(ctx: &NativeCallContext<'_>, stream: &str, value: &Dynamic) -> Result<(), Thrown> {
    let value = stored(ctx, value)?;
    let size = current::run(ctx, |state: &mut State| state.replay.emit(stream, value))?;
    log::written(size).map_err(throw)
}

fn stored(ctx: &NativeCallContext<'_>, value: &Dynamic) -> Result<Value, Thrown> {
    let budget = current::run(ctx, |state| Budget::from(state.replay.limits()))?;
    convert::to_value(value, "value", budget).map_err(throw)
}
