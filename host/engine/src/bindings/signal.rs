//! `wait_for` and `poll_signal`.

use std::sync::Arc;

use durhai_core::replay::{Answer, Call};
use durhai_core::{Failure, FailureKind, Value};
use rhai::{Dynamic, Engine, NativeCallContext};

use super::args;
use crate::errors::thrown::{Thrown, throw};
use crate::meter;
use crate::run::ask::ask;
use crate::schema::{self, Schema};
use crate::values::convert;

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("wait_for", |ctx: NativeCallContext<'_>, name: Dynamic| wait_for(&ctx, &name, &Dynamic::UNIT))
        .register_fn("wait_for", |ctx: NativeCallContext<'_>, name: Dynamic, options: Dynamic| {
            wait_for(&ctx, &name, &options)
        })
        .register_fn("poll_signal", |ctx: NativeCallContext<'_>, name: Dynamic| -> Result<Dynamic, Thrown> {
            let signal = || args::name("poll_signal: the name of the signal", &name);
            ask(&ctx, || Ok(Call::PollSignal { signal: signal()?.into() }), |_, _| ()).map(args::value_of)
        });
}

fn wait_for(ctx: &NativeCallContext<'_>, name: &Dynamic, options: &Dynamic) -> Result<Dynamic, Thrown> {
    let mut wanted = None;
    let answer = ask(ctx, || call(ctx, name, options, &mut wanted), |_, _| ())?;
    match (wanted, answer) {
        (Some(wanted), Answer::Value(payload)) => fitting(&wanted, own(payload)),
        (_, answer) => Ok(args::value_of(answer)),
    }
}

/// What a payload must be that has a schema.
struct Wanted {
    signal: String,
    schema: Box<Schema>,
    timeout: bool,
}

fn call(
    ctx: &NativeCallContext<'_>,
    name: &Dynamic,
    options: &Dynamic,
    wanted: &mut Option<Wanted>,
) -> Result<Call, Thrown> {
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
    *wanted = schema.map(|schema| Wanted { signal, schema: Box::new(schema), timeout: timeout.is_some() });
    Ok(call)
}

#[inline(never)]
fn fitting(wanted: &Wanted, payload: Value) -> Result<Dynamic, Thrown> {
    if wanted.timeout && payload.is_null() {
        return Ok(Dynamic::UNIT);
    }
    match wanted.schema.accept(payload.clone()) {
        Ok(payload) => Ok(convert::to_dynamic(&payload)),
        // The signal is consumed, so its payload goes on with the error.
        Err(problems) => {
            let (signal, problems) = (&wanted.signal, schema::list(&problems));
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
