//! The run's log, and who the run is.

use durhai_core::{Failure, FailureKind, Value};
use rhai::{Dynamic, Engine, NativeCallContext};

use super::args::{self, invalid};
use crate::errors::thrown::{Thrown, throw};
use crate::meter;
use crate::run::current::{self, State};
use crate::run::operations;
use crate::values::convert::{self, Budget};
use crate::values::show;

/// Bytes of one line; longer ones are cut.
pub const LINE: usize = 16 << 10;

pub fn register(engine: &mut Engine) {
    engine
        .on_print(|text| line("info", text))
        .on_debug(|text, _, _| line("debug", text))
        .register_fn("log", |ctx: NativeCallContext<'_>, level: Dynamic, message: Dynamic| {
            log(&ctx, &level, &message, &Dynamic::UNIT)
        })
        .register_fn("log", |ctx: NativeCallContext<'_>, level: Dynamic, message: Dynamic, fields: Dynamic| {
            log(&ctx, &level, &message, &fields)
        })
        .register_fn("run_id", |ctx: NativeCallContext<'_>| {
            current::run(&ctx, |state| state.replay.known_as().to_string()).map(meter::owned)
        })
        .register_fn("workflow_name", |ctx: NativeCallContext<'_>| {
            current::run(&ctx, |state| state.replay.workflow().to_string()).map(meter::owned)
        })
        .register_fn("attempt", |ctx: NativeCallContext<'_>| {
            current::run(&ctx, |state| i64::from(state.replay.attempt()))
        })
        .register_fn("step_id", |ctx: NativeCallContext<'_>| {
            current::run(&ctx, |state| state.replay.step_id(state.task)).map(meter::owned)
        });
}

fn line(level: &str, text: &str) {
    // Outside a run a module is being loaded: there is no log to write to.
    if let Some(size) = current::with(|state| write(state, level, cut(text), Value::Null)) {
        // Rhai's `print` cannot fail, so a limit ends the run at its next operation.
        let _ = written(size);
    }
}

fn log(ctx: &NativeCallContext<'_>, level: &Dynamic, message: &Dynamic, fields: &Dynamic) -> Result<(), Thrown> {
    let level = args::text("log: the level", level)?;
    if !["debug", "info", "warn", "error"].contains(&level.as_str()) {
        return invalid(format!("log: {level:?} is no level; there are: debug, info, warn, error"));
    }
    let message = match message.as_immutable_string_ref() {
        Ok(text) => cut(&text),
        Err(_) => show::show(message, LINE),
    };
    let budget = Budget { bytes: LINE, depth: 16 };
    let fields = convert::to_value(fields, "fields", budget).map_err(throw)?;
    let size = current::run(ctx, |state| write(state, &level, message, fields))?;
    written(size).map_err(throw)
}

pub fn write(state: &mut State, level: &str, message: String, fields: Value) -> Result<usize, Failure> {
    state.replay.log(state.task, level, message, fields)
}

/// What a line or an emitted value came to: its bytes cost operations, a limit ends the run whatever the script does.
pub fn written(size: Result<usize, Failure>) -> Result<(), Failure> {
    match size {
        Ok(size) => {
            operations::shown(size);
            Ok(())
        }
        Err(failure) => {
            if failure.kind == FailureKind::Limit {
                operations::break_limit(failure.clone());
            }
            Err(failure)
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().map(|(at, _)| at).find(|at| *at >= LINE) {
        Some(end) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}
