//! The effects engine: plain Rhai with a clock and files, for one step at a time.
//!
//! Functions a step has beside Rhai's own: `attempt()` `run_id()` `step_id()` `idempotency_key()` `workflow_name()`,
//! `log(level, message[, fields])` and `print`, `heartbeat(detail)`, `is_cancelled()`, `sleep(seconds or "250ms")`,
//! `now()`, `secret(name)`, `fatal(message[, data])`, `retry_after(wait, message[, data])`, and the modules `file`, `http`,
//! `exec`, `env`, `sql`; of the standard library `json`, `hash`, `text` and `time` without an import, the other pure ones by
//! `import "std/NAME"`.

mod context;
mod current;
mod env;
mod exec;
mod file;
mod http;
pub mod memory;
mod secret;
mod sql;
mod thrown;

use std::collections::HashMap;
use std::sync::Arc;

use durhai::{StepError, Value};
use durhai_stdlib::language::{self, Imported, Imports, Scripts};
use durhai_stdlib::{mend, words};
use parking_lot::Mutex;
use rhai::{AST, CallFnOptions, Dynamic, Engine, EvalAltResult, Module, Position, Scope, Shared};
use tokio::runtime::Handle;

use crate::attempt::{Caller, End, Stop};
use crate::convert::{to_dynamic, to_json};
use crate::program::{LIMITS, Program, module_file, point};
use crate::step_env::StepEnv;
use current::{CurrentAttempt, RunningAttempt};
use thrown::{Fallible, ThrownStepError, in_words};

/// What an attempt may take of the host.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub operations: u64,
    /// Of the whole process, in bytes.
    pub memory: u64,
}

/// The modules of the standard library that every step has without an import.
const ALWAYS: [&str; 4] = ["hash", "json", "text", "time"];

/// An engine with the step that runs on it. Stays on its thread.
pub struct StepEngine {
    engine: Engine,
    current: CurrentAttempt,
    cache: Cache,
}

/// One attempt, ready to run.
pub struct ScriptAttempt {
    pub program: Arc<Program>,
    pub function: String,
    pub input: Value,
    pub caller: Arc<Caller>,
    pub stop: Arc<Stop>,
    pub step_env: Arc<StepEnv>,
    /// Where module functions wait for services and programs.
    pub tokio: Handle,
}

/// Compiled texts by the file of the step, then by their own file; only those of the newest program are kept.
type Cache = Arc<Mutex<HashMap<String, (u64, HashMap<String, AST>)>>>;

impl StepEngine {
    pub fn new(bounds: Bounds) -> Self {
        let (current, cache) = (CurrentAttempt::default(), Cache::default());
        let caught = |file: &str, error: &EvalAltResult| mend::told(file, error).into();
        let mut engine = language::engine(Scripts::Steps, &LIMITS, caught);
        // Rhai's own makes a float of a number that is too long.
        engine.register_fn("parse_json", |text: &str| -> Fallible<Dynamic> {
            let value = durhai::json::from_str(text, "").map_err(|error| format!("parse_json: {error}"))?;
            Ok(to_dynamic(value)?)
        });
        let library = library(&engine);
        for name in ALWAYS {
            if let Some(module) = library.get(&format!("std/{name}")) {
                engine.register_static_module(name, module.clone());
            }
        }
        let (attempt, texts) = (current.clone(), cache.clone());
        engine.set_module_resolver(Imports(move |engine: &Engine, path: &str| {
            if let Some(module) = library.get(path) {
                return Ok(Some(Imported::Module(module.clone())));
            }
            import(engine, &attempt, &texts, path)
        }));
        context::add_context(&mut engine, &current);
        context::add_time(&mut engine, &current);
        thrown::add_step_errors(&mut engine);
        secret::add_secrets(&mut engine, &current);
        engine.register_static_module("env", Shared::new(env::module(&current)));
        engine.register_static_module("exec", Shared::new(exec::module(&current)));
        engine.register_static_module("file", Shared::new(file::module(&current)));
        engine.register_static_module("http", Shared::new(http::module(&current)));
        engine.register_static_module("sql", Shared::new(sql::module(&current)));
        let (watched, guard) = (current.clone(), memory::Guard::new(bounds.memory));
        engine.on_progress(move |operations| {
            // A script could catch Rhai's own error of too many operations again and again.
            let too_many = operations > bounds.operations;
            // Looking takes longer than an operation.
            if operations % 32 != 0 && !too_many {
                return None;
            }
            let stop = watched.lock().as_ref()?.stop.clone();
            if too_many {
                stop.break_off(End::Operations);
            } else if guard.exceeded() {
                stop.break_off(End::Memory);
            }
            stop.must_end().map(|_| Dynamic::UNIT)
        });
        StepEngine { engine, current, cache }
    }

    /// Runs one attempt to its end, on this thread.
    pub fn run(&mut self, attempt: ScriptAttempt) -> Result<Value, StepError> {
        let ScriptAttempt { program, function, input, caller, stop, step_env, tokio } = attempt;
        let input = to_dynamic(input).map_err(|why| StepError::fatal(format!("the input of {function}: {why}")))?;
        let running = RunningAttempt {
            program: program.clone(),
            caller,
            stop: stop.clone(),
            step_env,
            tokio,
            keyed: Arc::default(),
        };
        *self.current.lock() = Some(running);
        let result = self.call(&program, &function, input);
        *self.current.lock() = None;
        match result {
            Ok(value) => to_json(&value)
                .map_err(|why| StepError::fatal(format!("what {function} in {} gave back: {why}", program.file))),
            Err(error) => Err(explain(*error, &program, &stop)),
        }
    }

    fn call(&self, program: &Program, function: &str, input: Dynamic) -> Fallible<Dynamic> {
        let ast = compiled(&self.engine, &self.cache, program, &program.file)?;
        let takes_input = program.functions.get(function).is_none_or(|function| function.takes_input);
        let args = if takes_input { vec![input] } else { vec![] };
        // The top of the file runs first: its imports and constants are what the function sees.
        let options = CallFnOptions::new().eval_ast(true);
        match self.engine.call_fn_with_options(options, &mut Scope::new(), &ast, function, args) {
            Err(error) => match *error {
                EvalAltResult::Exit(value, _) => Ok(value),
                error => Err(error.into()),
            },
            done => done,
        }
    }
}

/// What a path leads to within the texts of the program that runs. Evaluated for each attempt: an attempt must not see what
/// another one left in a module.
fn import(engine: &Engine, current: &CurrentAttempt, cache: &Cache, path: &str) -> Fallible<Option<Imported>> {
    let file = module_file(path);
    let Some(program) = current::find(current).map(|attempt| attempt.program).filter(|it| it.texts.contains_key(&file))
    else {
        return Ok(None);
    };
    let ast = compiled(engine, cache, &program, &file)?;
    Ok(Some(Imported::Compiled(file, ast)))
}

fn compiled(engine: &Engine, cache: &Cache, program: &Program, file: &str) -> Fallible<AST> {
    let cached = |cache: &Cache| {
        let mut cache = cache.lock();
        let (id, texts) = cache.entry(program.file.clone()).or_default();
        if *id != program.id {
            (*id, *texts) = (program.id, HashMap::new());
        }
        texts.get(file).cloned()
    };
    if let Some(ast) = cached(cache) {
        return Ok(ast);
    }
    let ast = language::compile(engine, file, &program.texts[file])?;
    let mut cache = cache.lock();
    if let Some((_, texts)) = cache.get_mut(&program.file) {
        texts.insert(file.into(), ast.clone());
    }
    Ok(ast)
}

/// The modules of the standard library that need no durable calls, by the path of their import.
fn library(engine: &Engine) -> HashMap<String, Shared<Module>> {
    let compile = |path: &str| {
        let ast = engine.compile(durhai_stdlib::source(path.strip_prefix("std/")?)?).ok()?;
        Module::eval_ast_as_new(Scope::new(), &ast, engine).ok().map(Shared::new)
    };
    durhai_stdlib::PURE.iter().filter_map(|path| Some(((*path).to_owned(), compile(path)?))).collect()
}

/// What an error of the script means for the step.
fn explain(error: EvalAltResult, program: &Program, stop: &Stop) -> StepError {
    match stop.must_end() {
        Some(End::Asked) => return StepError::retry("stopped: its result was not wanted any more"),
        Some(End::Deadline) => return StepError::retry("stopped: it took longer than steps in scripts may take"),
        Some(End::Memory) => {
            return StepError::retry("stopped: the host takes more memory than it may while a step runs");
        }
        Some(End::Operations) => {
            let message = "stopped: it took more operations than an attempt may take; is there a loop without end?";
            return StepError::fatal(message);
        }
        None => {}
    }
    let mut file = program.file.clone();
    let mut inner = error;
    loop {
        match inner {
            EvalAltResult::ErrorInFunctionCall(_, source, error, _) => {
                if !source.is_empty() {
                    file = source;
                }
                inner = *error;
            }
            EvalAltResult::ErrorInModule(module, error, _) => {
                file = module;
                inner = *error;
            }
            EvalAltResult::ErrorRuntime(thrown, _) => {
                return match thrown.try_cast_result::<ThrownStepError>() {
                    Ok(error) => error.error.data(error.data),
                    Err(thrown) => {
                        if let Some(message) = thrown_on(&thrown, program) {
                            return StepError::retry(message);
                        }
                        let (message, data) = in_words(&thrown);
                        StepError::retry(message).data(data)
                    }
                };
            }
            _ => break,
        }
    }
    let position = inner.take_position();
    StepError::retry(point(&file, program.texts.get(&file).map(|text| &**text), position, &words::of_step(&inner)))
}

/// An error of the script that it caught and threw on: told with its place, as if it had not been caught.
fn thrown_on(thrown: &Dynamic, program: &Program) -> Option<String> {
    let map = thrown.as_map_ref().ok()?;
    let text = |field: &str| map.get(field)?.as_immutable_string_ref().ok().map(|text| text.to_string());
    let number = |field: &str| u16::try_from(map.get(field)?.as_int().ok()?).ok();
    if text("kind")? != "script" {
        return None;
    }
    let (file, message) = (text("file")?, text("message")?);
    let position = Position::new(number("line")?, number("column")?);
    Some(point(&file, program.texts.get(&file).map(|text| &**text), position, &message))
}

#[cfg(test)]
mod tests;
