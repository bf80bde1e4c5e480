//! Other runs: `run_workflow`, `start_workflow`, and the run's own successor.

use durhai_core::options::ChildOptions;
use durhai_core::replay::Call;
use durhai_core::{RunId, Value};
use rhai::{Dynamic, Engine, NativeCallContext};

use super::args::{self, invalid};
use crate::errors::thrown::{Thrown, throw};
use crate::run::ask::ask;
use crate::run::current;
use crate::schema;
use crate::values::convert::{self, Budget};
use crate::values::show::found;

#[derive(Clone, Copy)]
struct Form {
    name: &'static str,
    options: &'static [&'static str],
}

const RUN: Form = Form { name: "run_workflow", options: &["id", "tags", "timeout", "priority", "label"] };
const START: Form = Form { name: "start_workflow", options: &["id", "tags", "timeout", "priority", "label", "delay"] };

pub fn register(engine: &mut Engine) {
    for form in [RUN, START] {
        engine
            .register_fn(form.name, move |ctx: NativeCallContext<'_>, name: Dynamic| {
                child(&ctx, form, &name, &Dynamic::UNIT, &Dynamic::UNIT)
            })
            .register_fn(form.name, move |ctx: NativeCallContext<'_>, name: Dynamic, input: Dynamic| {
                child(&ctx, form, &name, &input, &Dynamic::UNIT)
            })
            .register_fn(
                form.name,
                move |ctx: NativeCallContext<'_>, name: Dynamic, input: Dynamic, options: Dynamic| {
                    child(&ctx, form, &name, &input, &options)
                },
            );
    }
    engine
        .register_fn("continue_as_new", |ctx: NativeCallContext<'_>| continue_as_new(&ctx, &Dynamic::UNIT))
        .register_fn("continue_as_new", |ctx: NativeCallContext<'_>, input: Dynamic| continue_as_new(&ctx, &input));
}

fn child(
    ctx: &NativeCallContext<'_>,
    form: Form,
    name: &Dynamic,
    input: &Dynamic,
    options: &Dynamic,
) -> Result<Dynamic, Thrown> {
    ask(ctx, || call(ctx, form, name, input, options), |_, _| ()).map(args::value_of)
}

fn call(
    ctx: &NativeCallContext<'_>,
    form: Form,
    name: &Dynamic,
    input: &Dynamic,
    options: &Dynamic,
) -> Result<Call, Thrown> {
    let workflow = args::name(&format!("{}: the name of the workflow", form.name), name)?.into();
    let input = stored(ctx, input)?;
    let options = child_options(form, options)?;
    Ok(match form.name == START.name {
        true => Call::Start { workflow, input, options },
        false => Call::Child { workflow, input, options },
    })
}

/// The input must fit the workflow's own header, so that the mistake is told where it is made.
fn continue_as_new(ctx: &NativeCallContext<'_>, input: &Dynamic) -> Result<Dynamic, Thrown> {
    ask(ctx, || successor(ctx, input), |_, _| ()).map(args::value_of)
}

fn successor(ctx: &NativeCallContext<'_>, input: &Dynamic) -> Result<Call, Thrown> {
    let input = stored(ctx, input)?;
    let header = current::run(ctx, |state| state.program.header().clone())?;
    let input = match &header.input {
        None => input,
        Some(schema) => schema.accept(input).or_else(|problems| {
            invalid(format!("continue_as_new: the input does not fit: {}", schema::list(&problems)))
        })?,
    };
    Ok(Call::Continue { input })
}

fn stored(ctx: &NativeCallContext<'_>, input: &Dynamic) -> Result<Value, Thrown> {
    let budget = current::run(ctx, |state| Budget::from(state.replay.limits()))?;
    convert::to_value(input, "input", budget).map_err(throw)
}

fn child_options(form: Form, value: &Dynamic) -> Result<ChildOptions, Thrown> {
    let mut options = ChildOptions::default();
    if value.is_unit() {
        return Ok(options);
    }
    for (key, value) in args::options(form.name, value, form.options)? {
        let what = format!("{}: option `{key}`", form.name);
        match key.as_str() {
            "id" => {
                let id = RunId::new(args::text(&what, &value)?);
                options.id = Some(id.or_else(|why| invalid(format!("{what}: {why}")))?);
            }
            "tags" => options.tags = args::tags(&what, &value)?,
            "timeout" => options.timeout = Some(args::positive(&what, &value)?),
            "priority" => match value.as_int().map(i32::try_from) {
                Ok(Ok(priority)) => options.priority = priority,
                _ => {
                    let (least, most) = (i32::MIN, i32::MAX);
                    return invalid(format!(
                        "{what} must be a whole number from {least} to {most}, found {}",
                        found(&value)
                    ));
                }
            },
            "delay" => options.delay = Some(args::millis(&what, &value)?),
            _ => options.label = Some(args::name(&what, &value)?),
        }
    }
    Ok(options)
}
