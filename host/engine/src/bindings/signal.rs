//! `wait_for` and `poll_signal`.

use durhai_core::replay::Call;
use rhai::{Dynamic, Engine, NativeCallContext};

use super::args;
use super::step::value_of;
use crate::current::{self, Thrown};

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("wait_for", |ctx: NativeCallContext<'_>, name: Dynamic| wait_for(&ctx, &name, &Dynamic::UNIT))
        .register_fn("wait_for", |ctx: NativeCallContext<'_>, name: Dynamic, options: Dynamic| {
            wait_for(&ctx, &name, &options)
        })
        .register_fn("poll_signal", |ctx: NativeCallContext<'_>, name: Dynamic| -> Result<Dynamic, Thrown> {
            let signal = args::name("poll_signal: the name of the signal", &name)?.into();
            current::ask(&ctx, Call::PollSignal { signal }, |_, _| ()).map(|answer| value_of(&answer))
        });
}

fn wait_for(ctx: &NativeCallContext<'_>, name: &Dynamic, options: &Dynamic) -> Result<Dynamic, Thrown> {
    let signal = args::name("wait_for: the name of the signal", name)?.into();
    let mut timeout = None;
    if !options.is_unit() {
        for (_, value) in args::options("wait_for", options, &["timeout"])? {
            timeout = Some(args::millis("wait_for: option `timeout`", &value)?);
        }
    }
    current::ask(ctx, Call::WaitFor { signal, timeout }, |_, _| ()).map(|answer| value_of(&answer))
}
