//! The effects engine: plain Rhai with a clock and files, for one step at a time.
//!
//! Functions a step has beside Rhai's own: `attempt()` `run_id()` `step_id()` `idempotency_key()` `workflow_name()`,
//! `log(level, message[, fields])` and `print`, `heartbeat(detail)`, `is_cancelled()`, `sleep(seconds or "250ms")`,
//! `now()`, `fatal(message[, data])`, `retry_after(wait, message[, data])`, and the modules `file` and `json`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durhai::{StepError, Value, duration};
use rhai::{
    AST, CallFnOptions, Dynamic, Engine, EvalAltResult, ImmutableString, Map, Module, ModuleResolver,
    NativeCallContext, Position, Scope, Shared,
};

use crate::attempt::{Caller, End, Stop, Word};
use crate::convert::{to_dynamic, to_json};
use crate::files::{self, Writer};
use crate::permissions::Permissions;
use crate::program::{Program, limit_text, module_file, point};

/// Calls inside calls, the same in debug and release builds, so that a step behaves the same. The threads have the
/// stack for it, see [`crate::pool`].
pub const MAX_CALLS: usize = 100;

type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// An engine with the step that runs on it. Stays on its thread.
pub struct Stage {
    engine: Engine,
    seat: Seat,
    cache: Cache,
}

/// One attempt, ready to run.
pub struct Play {
    pub program: Arc<Program>,
    pub function: String,
    pub input: Value,
    pub caller: Arc<Caller>,
    pub stop: Arc<Stop>,
}

/// Who runs now, for the functions that the engine was given once.
type Seat = Arc<Mutex<Option<Sitting>>>;

#[derive(Clone)]
struct Sitting {
    program: Arc<Program>,
    caller: Arc<Caller>,
    stop: Arc<Stop>,
}

/// Compiled texts by the file of the step, then by their own file; only those of the newest program are kept.
type Cache = Arc<Mutex<HashMap<String, (u64, HashMap<String, AST>)>>>;

/// What `fatal`, `retry_after` and the file functions throw: a script that catches it can look and throw it again.
#[derive(Debug, Clone)]
struct Verdict {
    error: StepError,
    data: Value,
}

impl Stage {
    pub fn new(permissions: Arc<Permissions>) -> Self {
        let (seat, cache) = (Seat::default(), Cache::default());
        let mut engine = Engine::new();
        limit_text(&mut engine);
        engine.set_max_call_levels(MAX_CALLS);
        // Generous, and there so that a mistake in a script does not take the memory of the whole host.
        engine.set_max_string_size(64 * 1024 * 1024);
        engine.set_max_array_size(1_000_000);
        engine.set_max_map_size(1_000_000);
        engine.set_module_resolver(Imports { seat: seat.clone(), cache: cache.clone() });
        add_context(&mut engine, &seat);
        add_verdicts(&mut engine);
        add_time(&mut engine, &seat);
        engine.register_static_module("file", Shared::new(file_module(&permissions, &seat)));
        engine.register_static_module("json", Shared::new(json_module()));
        let watched = seat.clone();
        engine.on_progress(move |operations| {
            // Looking takes longer than an operation.
            (operations % 32 == 0 && sitting(&watched)?.stop.must_end().is_some()).then_some(Dynamic::UNIT)
        });
        Stage { engine, seat, cache }
    }

    /// Runs one attempt to its end, on this thread.
    pub fn run(&mut self, play: Play) -> Result<Value, StepError> {
        let Play { program, function, input, caller, stop } = play;
        let input = to_dynamic(input).map_err(|why| StepError::fatal(format!("the input of {function}: {why}")))?;
        let sitting = Sitting { program: program.clone(), caller, stop: stop.clone() };
        *self.seat.lock().unwrap_or_else(PoisonError::into_inner) = Some(sitting);
        let result = self.call(&program, &function, input);
        *self.seat.lock().unwrap_or_else(PoisonError::into_inner) = None;
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

/// Resolves imports within the texts of the program that runs.
struct Imports {
    seat: Seat,
    cache: Cache,
}

impl ModuleResolver for Imports {
    fn resolve(
        &self,
        engine: &Engine,
        _source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Fallible<Shared<Module>> {
        let missing = || Box::new(EvalAltResult::ErrorModuleNotFound(path.into(), position));
        let program = sitting(&self.seat).ok_or_else(missing)?.program;
        let file = module_file(path);
        if !program.texts.contains_key(&file) {
            return Err(missing());
        }
        let ast = compiled(engine, &self.cache, &program, &file)?;
        // Evaluated for each attempt: an attempt must not see what another one left in a module.
        Module::eval_ast_as_new(Scope::new(), &ast, engine)
            .map(Shared::new)
            .map_err(|error| Box::new(EvalAltResult::ErrorInModule(file, error, position)))
    }
}

fn compiled(engine: &Engine, cache: &Cache, program: &Program, file: &str) -> Fallible<AST> {
    let cached = |cache: &Cache| {
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, texts) = cache.entry(program.file.clone()).or_default();
        if *id != program.id {
            (*id, *texts) = (program.id, HashMap::new());
        }
        texts.get(file).cloned()
    };
    if let Some(ast) = cached(cache) {
        return Ok(ast);
    }
    let mut ast = engine.compile(&*program.texts[file])?;
    ast.set_source(file);
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, texts)) = cache.get_mut(&program.file) {
        texts.insert(file.into(), ast.clone());
    }
    Ok(ast)
}

fn sitting(seat: &Seat) -> Option<Sitting> {
    seat.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Functions only run while somebody sits.
fn present(seat: &Seat) -> Sitting {
    sitting(seat).expect("a script runs only as a step")
}

fn add_context(engine: &mut Engine, seat: &Seat) {
    let text = |engine: &mut Engine, name: &str, get: fn(&Caller) -> &str| {
        let seat = seat.clone();
        engine.register_fn(name, move || ImmutableString::from(get(&present(&seat).caller)));
    };
    text(engine, "run_id", |caller| &caller.run_id);
    text(engine, "step_id", |caller| &caller.step_id);
    text(engine, "idempotency_key", |caller| &caller.key);
    text(engine, "workflow_name", |caller| &caller.workflow);
    let here = seat.clone();
    engine.register_fn("attempt", move || i64::from(present(&here).caller.attempt));
    let here = seat.clone();
    engine.register_fn("is_cancelled", move || present(&here).stop.is_asked());
    let here = seat.clone();
    engine.register_fn("heartbeat", move |detail: Dynamic| -> Fallible<()> {
        (present(&here).caller.tell)(Word::Heartbeat(to_json(&detail)?));
        Ok(())
    });
    let here = seat.clone();
    engine.register_fn("log", move |level: &str, message: Dynamic| log(&here, level, &message, Value::Null));
    let here = seat.clone();
    engine.register_fn("log", move |level: &str, message: Dynamic, fields: Map| {
        log(&here, level, &message, to_json(&fields.into())?)
    });
    let here = seat.clone();
    engine.on_print(move |text| present(&here).caller.log("info", text.into(), Value::Null));
    let here = seat.clone();
    engine.on_debug(move |text, _, position| {
        let fields = position.line().map_or(Value::Null, |line| serde_json::json!({ "line": line }));
        present(&here).caller.log("debug", text.into(), fields);
    });
}

fn log(seat: &Seat, level: &str, message: &Dynamic, fields: Value) -> Fallible<()> {
    if !["debug", "info", "warn", "error"].contains(&level) {
        return Err(format!("{level:?} is no level of the log: use debug, info, warn or error").into());
    }
    present(seat).caller.log(level, message.to_string(), fields);
    Ok(())
}

fn add_verdicts(engine: &mut Engine) {
    engine.register_type_with_name::<Verdict>("StepError");
    engine.register_get("message", |verdict: &mut Verdict| verdict.error.message().to_owned());
    engine.register_get("fatal", |verdict: &mut Verdict| verdict.error.is_fatal());
    engine.register_get("data", |verdict: &mut Verdict| to_dynamic(verdict.data.clone()).unwrap_or_default());
    engine.register_fn("to_string", |verdict: &mut Verdict| verdict.error.message().to_owned());
    engine.register_fn("to_debug", |verdict: &mut Verdict| verdict.error.message().to_owned());

    let throw = |make: fn(String) -> StepError, message: Dynamic| -> Fallible<Dynamic> {
        let (message, data) = in_words(&message);
        Err(Verdict { error: make(message), data }.thrown())
    };
    engine.register_fn("fatal", move |message: Dynamic| throw(StepError::fatal, message));
    engine.register_fn("fatal", |message: &str, data: Dynamic| -> Fallible<Dynamic> {
        Err(Verdict { error: StepError::fatal(message), data: to_json(&data)? }.thrown())
    });
    engine.register_fn("retry_after", |wait: Dynamic, message: &str| -> Fallible<Dynamic> {
        Err(Verdict { error: StepError::retry(message).retry_after(length(&wait)?), data: Value::Null }.thrown())
    });
    engine.register_fn("retry_after", |wait: Dynamic, message: &str, data: Dynamic| -> Fallible<Dynamic> {
        let error = StepError::retry(message).retry_after(length(&wait)?);
        Err(Verdict { error, data: to_json(&data)? }.thrown())
    });
}

impl Verdict {
    fn thrown(self) -> Box<EvalAltResult> {
        EvalAltResult::ErrorRuntime(Dynamic::from(self), Position::NONE).into()
    }
}

impl From<StepError> for Verdict {
    fn from(error: StepError) -> Self {
        Verdict { error, data: Value::Null }
    }
}

fn add_time(engine: &mut Engine, seat: &Seat) {
    // One for each type, because Rhai's own `sleep` is for whole numbers and floats, and would be found first.
    fn wait(seat: &Seat, wait: &Dynamic) -> Fallible<()> {
        let stop = present(seat).stop;
        stop.sleep(length(wait)?);
        match stop.must_end() {
            Some(_) => Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into()),
            None => Ok(()),
        }
    }
    let here = seat.clone();
    engine.register_fn("sleep", move |seconds: i64| wait(&here, &seconds.into()));
    let here = seat.clone();
    engine.register_fn("sleep", move |seconds: f64| wait(&here, &seconds.into()));
    let here = seat.clone();
    engine.register_fn("sleep", move |text: ImmutableString| wait(&here, &text.into()));
    engine.register_fn("now", || {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
    });
}

fn length(wait: &Dynamic) -> Fallible<Duration> {
    let millis = match (wait.as_int(), wait.as_float(), wait.as_immutable_string_ref()) {
        (Ok(seconds), ..) => duration::from_seconds(seconds as f64),
        (_, Ok(seconds), _) => duration::from_seconds(seconds),
        (.., Ok(text)) => duration::parse(&text),
        _ => Err(format!("{wait} is no duration: write seconds, or text like \"250ms\"")),
    };
    Ok(Duration::from_millis(millis?))
}

fn file_module(permissions: &Arc<Permissions>, seat: &Seat) -> Module {
    fn give<T>(result: Result<T, StepError>) -> Fallible<T> {
        result.map_err(|error| Verdict::from(error).thrown())
    }
    let mut module = Module::new();
    let allowed = permissions.clone();
    module.set_native_fn("read", move |path: &str| give(files::read(&allowed, path)));
    let (allowed, here) = (permissions.clone(), seat.clone());
    module.set_native_fn("write", move |path: &str, text: &str| {
        let caller = present(&here).caller;
        let writer = Writer { key: &caller.key, attempt: caller.attempt };
        give(files::write(&allowed, path, text, writer)).map(|bytes| bytes as i64)
    });
    let allowed = permissions.clone();
    module.set_native_fn("append", move |path: &str, text: &str| {
        give(files::append(&allowed, path, text)).map(|bytes| bytes as i64)
    });
    let allowed = permissions.clone();
    module.set_native_fn("list", move |path: &str| -> Fallible<Dynamic> {
        let entries = give(files::list(&allowed, path))?;
        let entries = serde_json::to_value(entries).map_err(|error| error.to_string())?;
        Ok(to_dynamic(entries)?)
    });
    let allowed = permissions.clone();
    module.set_native_fn("exists", move |path: &str| give(files::exists(&allowed, path)));
    let allowed = permissions.clone();
    module.set_native_fn("remove", move |path: &str| give(files::remove(&allowed, path)));
    module.build_index();
    module
}

fn json_module() -> Module {
    let mut module = Module::new();
    module.set_native_fn("parse", |text: &str| -> Fallible<Dynamic> {
        let value = serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))?;
        Ok(to_dynamic(value)?)
    });
    module.set_native_fn("stringify", |_: NativeCallContext<'_>, value: Dynamic| -> Fallible<String> {
        Ok(to_json(&value)?.to_string())
    });
    module.build_index();
    module
}

/// A thrown value as a message and what is kept of it as data.
fn in_words(thrown: &Dynamic) -> (String, Value) {
    if let Ok(text) = thrown.as_immutable_string_ref() {
        return (text.to_string(), Value::Null);
    }
    let data = to_json(thrown).unwrap_or_else(|_| thrown.to_string().into());
    match data.get("message").and_then(Value::as_str) {
        Some(message) => (message.to_owned(), data),
        None => (data.to_string(), data),
    }
}

/// What an error of the script means for the step.
fn explain(error: EvalAltResult, program: &Program, stop: &Stop) -> StepError {
    match stop.must_end() {
        Some(End::Asked) => return StepError::retry("stopped: its result was not wanted any more"),
        Some(End::Deadline) => return StepError::retry("stopped: it took longer than steps in scripts may take"),
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
                return match thrown.try_cast_result::<Verdict>() {
                    Ok(verdict) => verdict.error.data(verdict.data),
                    Err(thrown) => {
                        let (message, data) = in_words(&thrown);
                        StepError::retry(message).data(data)
                    }
                };
            }
            _ => break,
        }
    }
    let position = inner.take_position();
    StepError::retry(point(&file, program.texts.get(&file).map(|text| &**text), position, &inner.to_string()))
}

#[cfg(test)]
mod tests;
