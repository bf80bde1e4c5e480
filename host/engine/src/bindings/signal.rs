//! `wait_for` and `poll_signal`.

use std::sync::Arc;

use durhai_core::replay::{Answer, Call};
use durhai_core::{Failure, FailureKind, Value};
use rhai::{Dynamic, Engine, NativeCallContext};

use super::args;
use crate::errors::thrown::{Thrown, throw};
use crate::run::ask::ask;
use crate::values::convert;
use crate::{meter, schema};

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("wait_for", |ctx: NativeCallContext<'_>, name: Dynamic| wait_for(&ctx, &name, &Dynamic::UNIT))
        .register_fn("wait_for", |ctx: NativeCallContext<'_>, name: Dynamic, options: Dynamic| {
            wait_for(&ctx, &name, &options)
        })
        .register_fn("poll_signal", |ctx: NativeCallContext<'_>, name: Dynamic| -> Result<Dynamic, Thrown> {
            let signal = args::name("poll_signal: the name of the signal", &name)?.into();
            ask(&ctx, Call::PollSignal { signal }, |_, _| ()).map(args::value_of)
        });
}

fn wait_for(ctx: &NativeCallContext<'_>, name: &Dynamic, options: &Dynamic) -> Result<Dynamic, Thrown> {
    let signal = args::name("wait_for: the name of the signal", name)?;
    let (mut timeout, mut schema) = (None, None);
    if !options.is_unit() {
        for (key, value) in args::options("wait_for", options, &["timeout", "schema"])? {
            match key.as_str() {
                "timeout" => timeout = Some(args::millis("wait_for: option `timeout`", &value)?),
                _ => schema = Some(args::schema(ctx, "wait_for: option `schema`", &value)?),
            }
        }
    }
    let shown = schema.as_ref().map(|schema| Arc::new(schema.document().clone()));
    let call = Call::WaitFor { signal: signal.as_str().into(), timeout, schema: shown };
    let answer = ask(ctx, call, |_, _| ())?;
    let (schema, payload) = match (schema, answer) {
        (Some(schema), Answer::Value(payload)) => (schema, payload),
        (_, answer) => return Ok(args::value_of(answer)),
    };
    let payload = own(payload);
    if timeout.is_some() && payload.is_null() {
        return Ok(Dynamic::UNIT);
    }
    match schema.accept(payload.clone()) {
        Ok(payload) => Ok(convert::to_dynamic(&payload)),
        // The signal is consumed, so its payload goes on with the error.
        Err(problems) => {
            let problems = schema::list(&problems);
            let message = format!("wait_for: the payload of signal {signal:?} does not fit: {problems}");
            Err(throw(Failure::new(FailureKind::InvalidInput, message).with_data(payload)))
        }
    }
}

/// A copy that the script pays for, as it frees it.
fn own(shared: Arc<Value>) -> Value {
    let own = Value::clone(&shared);
    meter::apart(|| drop(shared));
    own
}
