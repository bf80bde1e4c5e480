//! The module `exec`.

use durhai::{StepError, Value};
use rhai::{Array, Dynamic, EvalAltResult, Map, Module, Position};

use super::current::{CurrentAttempt, RunningAttempt, running};
use super::thrown::{Fallible, give};
use crate::convert::{to_dynamic, to_json};
use crate::exec::{Asked, exec};

pub fn module(current: &CurrentAttempt) -> Module {
    let mut module = Module::new();
    let here = current.clone();
    module.set_native_fn("run", move |program: &str, args: Array| run(&here, program, args, Map::new()));
    let here = current.clone();
    module.set_native_fn("run", move |program: &str, args: Array, options: Map| run(&here, program, args, options));
    module.build_index();
    module
}

fn run(current: &CurrentAttempt, program: &str, args: Array, mut options: Map) -> Fallible<Dynamic> {
    let RunningAttempt { caller, step_env, stop, tokio, .. } = running(current);
    let bytes = match options.remove("stdin") {
        Some(stdin) if stdin.is_blob() => stdin.into_blob().ok(),
        Some(stdin) => {
            options.insert("stdin".into(), stdin);
            None
        }
        None => None,
    };
    let mut asked = give(asked(program, args, options))?;
    asked.bytes = bytes;
    // It ends by itself when the attempt is told to end, and lets the program put its things in order.
    let outcome = tokio.block_on(exec(&step_env, &caller, asked, stop.ended()));
    if stop.must_end().is_some() {
        return Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into());
    }
    Ok(to_dynamic(give(outcome)?)?)
}

fn asked(program: &str, args: Array, options: Map) -> Result<Asked, StepError> {
    let wrong = |what: String| StepError::fatal(format!("exec::run: {what}"));
    if let Some(name) = ["program", "args"].into_iter().find(|name| options.contains_key(*name)) {
        return Err(wrong(format!("{name} is given before the options, not in them")));
    }
    let mut input = to_json(&options.into()).map_err(wrong)?;
    input["program"] = program.into();
    input["args"] = to_json(&args.into()).map_err(wrong)?;
    serde_json::from_value::<Asked>(Value::take(&mut input)).map_err(|error| wrong(error.to_string()))
}
