//! `use_step`.

use durhai_core::options::{RetryPolicy, StepOptions};
use durhai_core::replay::Call;
use rhai::{Dynamic, Engine, NativeCallContext};

use super::args::{self, invalid};
use crate::errors::thrown::{Thrown, throw};
use crate::run::ask::ask;
use crate::run::current;
use crate::values::convert::{self, Budget};
use crate::values::show::found;

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("use_step", |ctx: NativeCallContext<'_>, name: Dynamic| {
            use_step(&ctx, &name, &Dynamic::UNIT, &Dynamic::UNIT)
        })
        .register_fn("use_step", |ctx: NativeCallContext<'_>, name: Dynamic, input: Dynamic| {
            use_step(&ctx, &name, &input, &Dynamic::UNIT)
        })
        .register_fn("use_step", |ctx: NativeCallContext<'_>, name: Dynamic, input: Dynamic, options: Dynamic| {
            use_step(&ctx, &name, &input, &options)
        });
}

fn use_step(
    ctx: &NativeCallContext<'_>,
    name: &Dynamic,
    input: &Dynamic,
    options: &Dynamic,
) -> Result<Dynamic, Thrown> {
    ask(ctx, || call(ctx, name, input, options), |_, _| ()).map(args::value_of)
}

fn call(ctx: &NativeCallContext<'_>, name: &Dynamic, input: &Dynamic, options: &Dynamic) -> Result<Call, Thrown> {
    let name = args::name("use_step: the name of the step", name)?;
    let budget = current::run(ctx, |state| Budget::from(state.replay.limits()))?;
    let input = convert::to_value(input, "input", budget).map_err(|mut failure| {
        failure.step = Some(name.clone());
        throw(failure)
    })?;
    let policy = current::run(ctx, |state| state.program.header().retry.clone())?;
    let options = step_options(options, policy)?;
    Ok(Call::Step { name: name.into(), input, options })
}

/// `()` stands for no options. `policy` is what the header says.
fn step_options(value: &Dynamic, policy: Option<RetryPolicy>) -> Result<StepOptions, Thrown> {
    let mut options = StepOptions { retry: policy.unwrap_or_default(), ..StepOptions::default() };
    if value.is_unit() {
        return Ok(options);
    }
    let known = ["retry", "timeout", "deadline", "once", "label"];
    for (key, value) in args::options("use_step", value, &known)? {
        let what = format!("use_step: option `{key}`");
        match key.as_str() {
            "retry" => {
                options.retry = retry(&value, &options.retry)?;
                options.asked_retry = true;
            }
            "timeout" => options.timeout = Some(args::positive(&what, &value)?),
            "deadline" => options.deadline = Some(args::positive(&what, &value)?),
            "once" => options.once = args::boolean(&what, &value)?,
            _ => options.label = Some(args::name(&what, &value)?),
        }
    }
    Ok(options)
}

/// Changes the policy of the header, key by key.
fn retry(value: &Dynamic, header: &RetryPolicy) -> Result<RetryPolicy, Thrown> {
    let mut policy = header.clone();
    match value.as_bool() {
        Ok(false) => return Ok(RetryPolicy::never()),
        // Where the header says `retry: false`, this is the way back.
        Ok(true) if policy == RetryPolicy::never() => return Ok(RetryPolicy::default()),
        Ok(true) => return Ok(policy),
        Err(_) if !value.is_map() => {
            return invalid(format!(
                "use_step: option `retry` must be false or a map like #{{ max_attempts: 5 }}, found {}",
                found(value)
            ));
        }
        Err(_) => {}
    }
    let known = ["max_attempts", "initial", "factor", "max", "jitter", "unless"];
    let (mut initial, mut max) = (None, None);
    for (key, value) in args::options("use_step: retry", value, &known)? {
        let what = format!("use_step: option `retry.{key}`");
        match key.as_str() {
            "max_attempts" => policy.max_attempts = args::count(&what, &value)?,
            "initial" => initial = Some(args::millis(&what, &value)?),
            "factor" => policy.factor = args::number(&what, &value, 1.0, f64::INFINITY)?,
            "max" => max = Some(args::millis(&what, &value)?),
            "unless" => policy.unless = args::names(&what, &value)?,
            _ => policy.jitter = args::number(&what, &value, 0.0, 1.0)?,
        }
    }
    policy.say_waits(initial, max);
    Ok(policy)
}
