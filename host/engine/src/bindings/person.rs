//! `suspend`: a person is asked.

use durhai_core::Value;
use durhai_core::replay::Call;
use rhai::{Dynamic, Engine, NativeCallContext};

use super::args;
use crate::errors::thrown::{Thrown, throw};
use crate::run::ask::ask;
use crate::run::current;
use crate::values::convert::{self, Budget};

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("suspend", |ctx: NativeCallContext<'_>, payload: Dynamic| suspend(&ctx, &payload, &Dynamic::UNIT))
        .register_fn("suspend", |ctx: NativeCallContext<'_>, payload: Dynamic, options: Dynamic| {
            suspend(&ctx, &payload, &options)
        });
}

fn suspend(ctx: &NativeCallContext<'_>, payload: &Dynamic, options: &Dynamic) -> Result<Dynamic, Thrown> {
    ask(ctx, || question(ctx, payload, options), |_, _| ()).map(args::value_of)
}

fn question(ctx: &NativeCallContext<'_>, payload: &Dynamic, options: &Dynamic) -> Result<Call, Thrown> {
    let budget = current::run(ctx, |state| Budget::from(state.replay.limits()))?;
    let payload = convert::to_value(payload, "payload", budget).map_err(throw)?;
    let (mut label, mut schema, mut timeout) = (None, Value::Null, None);
    if !options.is_unit() {
        for (key, value) in args::options("suspend", options, &["schema", "label", "timeout"])? {
            let what = format!("suspend: option `{key}`");
            match key.as_str() {
                "schema" => schema = args::schema(ctx, &what, &value)?.document().clone(),
                "label" => label = Some(args::name(&what, &value)?),
                _ => timeout = Some(args::millis(&what, &value)?),
            }
        }
    }
    Ok(Call::Suspend { payload, label, schema, timeout })
}
