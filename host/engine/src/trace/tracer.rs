//! The tracer of a run: turns what Rhai's debugger interface and the durable calls say into events.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use durhai_core::replay::{Answer, Call, GroupKind, TaskKey};
use durhai_core::{Site, StepId, Value};
use durhai_stdlib::mend;
use rhai::debugger::{CallStackFrame, DebuggerEvent};
use rhai::{ASTNode, Engine, EvalAltResult, EvalContext, Expr, Stmt};

use super::event::{Snapshot, SourceLine, Stop, TraceEvent, Traced, Variable};
use super::frames::{Frame, TaskFrames};
use super::peek;
use super::places::{Place, Places};
use crate::errors::suggest;
use crate::program::Program;
use crate::program::parse::parse;
use crate::program::texts::file_name;
use crate::run::current;

/// What a trace is to show.
#[derive(Debug, Clone)]
pub struct TracerOptions {
    /// Bytes of one value, about.
    pub limit: usize,
    pub stop: Option<Stop>,
    /// An expression to be evaluated where it stops, on copies of the variables.
    pub evaluate: Option<String>,
}

impl Default for TracerOptions {
    fn default() -> Self {
        TracerOptions { limit: 120, stop: None, evaluate: None }
    }
}

/// Gets each event as it happens; `false`: enough, nothing of the script runs any more.
pub type Sink = Box<dyn FnMut(TraceEvent) -> bool>;

/// Bytes of one value where a trace has stopped.
const SNAPSHOT_VALUE: usize = 4_000;

/// Lines of text shown before and behind the place where it stopped.
const AROUND: u32 = 5;

/// Watches one run.
pub struct Tracer {
    options: TracerOptions,
    sink: Sink,
    /// The file of the workflow itself.
    main: String,
    /// By what Rhai calls the file.
    files: BTreeMap<String, Rc<Places>>,
    tasks: HashMap<TaskKey, TaskFrames>,
    n: u64,
    /// The last statement that made the call it was to stop at.
    found: Option<u64>,
    snapshot: Option<Snapshot>,
    over: bool,
}

impl Tracer {
    /// `engine` must be the one that compiled the program: see [`Sandbox::tracer`](crate::Sandbox::tracer).
    pub(crate) fn new(engine: &Engine, program: &Program, options: TracerOptions, sink: Sink) -> Self {
        let files = program.texts().all().map(|(name, text)| {
            let file = file_name(name);
            let ast = parse(engine, &file, text).ok();
            (name.to_owned(), Rc::new(Places::new(&file, text, ast.as_ref())))
        });
        Tracer {
            options,
            sink,
            main: file_name(program.name()),
            files: files.collect(),
            tasks: HashMap::new(),
            n: 0,
            found: None,
            snapshot: None,
            over: false,
        }
    }

    pub(super) fn is_new(&self, task: TaskKey) -> bool {
        !self.tasks.contains_key(&task)
    }

    /// It was stopped: by its options, or by the sink of the events.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// How many statements have begun.
    pub fn statements(&self) -> u64 {
        self.n
    }

    /// The statement that makes the call that [`Stop::Step`] or [`Stop::AnyStep`] names: trace again, and stop there.
    pub fn found(&self) -> Option<u64> {
        self.found
    }

    pub fn take_snapshot(&mut self) -> Option<Snapshot> {
        self.snapshot.take()
    }

    pub(super) fn begin(&mut self, task: TaskKey, path: Arc<str>) {
        // `4.1.2.1` was opened by the call 2 of the task `4.1`.
        let opener = path.rsplitn(3, '.').nth(2).unwrap_or("");
        let around = match path.is_empty() {
            true => Vec::new(),
            false => {
                let opener = self.tasks.values().find(|task| *task.path == *opener);
                opener.map(TaskFrames::loops).unwrap_or_default()
            }
        };
        self.tasks.insert(task, TaskFrames::new(path, around));
    }

    pub(super) fn node(
        &mut self,
        task: TaskKey,
        context: &EvalContext<'_, '_, '_, '_, '_, '_>,
        event: DebuggerEvent<'_>,
        node: ASTNode<'_>,
        source: Option<&str>,
        at: Place,
    ) {
        let stack = context.debugger().map(|debugger| debugger.call_stack()).unwrap_or_default();
        match event {
            DebuggerEvent::FunctionExitWithValue(value) => {
                if let Some(function) = self.leaves(task, stack.len(), node) {
                    self.show_changes(task, context);
                    let value = peek::brief(value, self.options.limit);
                    self.emit(task, Traced::Returned { function, value });
                    self.leave(task);
                }
            }
            DebuggerEvent::FunctionExitWithError(error) => {
                if let Some(function) = self.leaves(task, stack.len(), node) {
                    self.show_changes(task, context);
                    let error = first_line(&message(error), self.options.limit);
                    self.emit(task, Traced::Threw { function, error });
                    self.leave(task);
                }
            }
            DebuggerEvent::End => {
                self.show_changes(task, context);
                self.leave(task);
            }
            _ => {
                self.enter(task, stack, source);
                let statement = match node {
                    ASTNode::Stmt(Stmt::Noop(_) | Stmt::Block(_) | Stmt::Share(_)) => None,
                    ASTNode::Stmt(_) => {
                        let part = self.top(task).is_some_and(|top| top.places.is_filled_in(at));
                        (!part).then_some(at)
                    }
                    // What a `try` became.
                    ASTNode::Expr(Expr::Custom(custom, _)) => mend::is_try(custom).then_some(at),
                    ASTNode::Expr(expression) => self.top(task).and_then(|top| top.places.statement(expression, at)),
                    _ => None,
                };
                if let Some(begins) = statement {
                    self.statement(task, context, at, begins);
                }
            }
        }
    }

    /// Opens a frame for a function that has just begun; closes those that ended unseen.
    fn enter(&mut self, task: TaskKey, stack: &[CallStackFrame], source: Option<&str>) {
        let Some(known) = self.tasks.get_mut(&task) else { return };
        while known.frames.last().is_some_and(|top| top.calls > stack.len()) {
            known.frames.pop();
        }
        if known.frames.last().is_some_and(|top| top.calls == stack.len()) {
            return;
        }
        let function = match stack.last().map(|call| call.fn_name.as_str()) {
            Some(name) if name.starts_with("anon$") => "|…|".to_owned(),
            Some(name) => name.to_owned(),
            None => String::new(),
        };
        let places = source.and_then(|source| self.files.get(source)).cloned();
        let places = places.unwrap_or_else(|| Rc::new(Places::new(source.unwrap_or_default(), "", None)));
        known.frames.push(Frame::new(function.clone(), places, stack.len()));
        // A task begins with its closure, which is its body rather than a call.
        if known.frames.len() > 1 {
            self.emit(task, Traced::Entered { function });
        }
    }

    /// The name of the function that ends here, if it is one of the script: natives report their end too.
    fn leaves(&self, task: TaskKey, calls: usize, node: ASTNode<'_>) -> Option<String> {
        let top = self.top(task)?;
        let ends = matches!(node, ASTNode::Stmt(Stmt::Noop(_))) && top.calls == calls && calls > 0;
        ends.then(|| top.function.clone())
    }

    fn leave(&mut self, task: TaskKey) {
        if let Some(known) = self.tasks.get_mut(&task) {
            known.frames.pop();
            if known.frames.is_empty() {
                self.tasks.remove(&task);
            }
        }
    }

    fn statement(
        &mut self,
        task: TaskKey,
        context: &EvalContext<'_, '_, '_, '_, '_, '_>,
        reported: Place,
        begins: Place,
    ) {
        self.show_changes(task, context);
        self.n += 1;
        let n = self.n;
        let Some(known) = self.tasks.get_mut(&task) else { return };
        known.n = n;
        let (depth, path) = (known.depth(), known.path.clone());
        let Some(top) = known.frames.last_mut() else { return };
        top.move_to(reported);
        top.place = begins;
        let (file, source) = (top.places.file.clone(), top.places.line(begins.0));
        let stops = match &self.options.stop {
            Some(Stop::Statement { n: wanted }) => n == *wanted,
            Some(Stop::Place { file: wanted, line, after }) => {
                let here = match wanted {
                    Some(wanted) => same_file(&file, wanted),
                    None => *file == *self.main,
                };
                n > *after && begins.0 == *line && here
            }
            Some(Stop::Depth { task, depth: wanted, after }) => n > *after && *path == **task && depth <= *wanted,
            Some(Stop::Step { .. } | Stop::AnyStep { .. }) | None => false,
        };
        if stops {
            return self.stop(task, context);
        }
        self.emit(task, Traced::Line { file, line: begins.0, column: begins.1, source });
    }

    fn stop(&mut self, task: TaskKey, context: &EvalContext<'_, '_, '_, '_, '_, '_>) {
        self.over = true;
        let Some(known) = self.tasks.get(&task) else { return };
        let Some(top) = known.frames.last() else { return };
        let mut variables: Vec<Variable> = Vec::new();
        for (name, constant, value) in peek::in_order(context.scope()) {
            variables.retain(|variable| variable.name != name);
            variables.push(Variable { name: name.into(), value: peek::brief(value, SNAPSHOT_VALUE), constant });
        }
        let (value, value_error) = match &self.options.evaluate {
            None => (None, None),
            Some(expression) => match peek::evaluate(context, expression, SNAPSHOT_VALUE) {
                Ok(value) => (Some(value), None),
                Err(error) => (None, Some(error)),
            },
        };
        let from = top.place.0.saturating_sub(AROUND).max(1);
        let to = (top.place.0 + AROUND).min(top.places.line_count());
        self.snapshot = Some(Snapshot {
            n: self.n,
            task: known.path.to_string(),
            depth: known.depth(),
            file: top.places.file.to_string(),
            line: top.place.0,
            column: top.place.1,
            source: top.places.line(top.place.0).to_string(),
            around: (from..=to).map(|line| SourceLine { line, text: top.places.line(line).to_string() }).collect(),
            variables,
            stack: known.stack(),
            value,
            value_error,
            waiting_for: Vec::new(),
        });
    }

    /// A durable call is made; `new`: the log does not have it.
    pub(super) fn called(&mut self, task: TaskKey, id: Option<StepId>, call: &Call, site: &Site, new: bool) {
        let at = self.tasks.get(&task).map(|task| task.n);
        match (&self.options.stop, &id, at) {
            (Some(Stop::Step { step_id }), Some(id), Some(at)) if step_id == id => self.found = Some(at),
            (Some(Stop::AnyStep { after }), Some(_), Some(at)) if at > *after => self.found = Some(at),
            _ => {}
        }
        if self.found.is_some() {
            self.over = true;
            return;
        }
        let (call, input) = describe(call);
        let input = input.map(|input| shorten(&input.to_string(), self.options.limit));
        self.emit(task, Traced::Called { step_id: id, call, input, site: site.to_string(), new });
    }

    pub(super) fn answered(&mut self, task: TaskKey, step_id: Option<StepId>, answer: &Answer) {
        let limit = self.options.limit;
        let value = match answer {
            Answer::Value(value) => shorten(&value.to_string(), limit),
            Answer::Hook(hook) => hook.url.clone(),
            Answer::Failure(failure) => {
                let error = format!("{}: {}", failure.kind, failure.message);
                return self.emit(task, Traced::Failed { step_id, error: shorten(&error, limit) });
            }
            // What the branches came to has been shown by them.
            Answer::Opened(_) | Answer::Decided(..) => return,
        };
        self.emit(task, Traced::Answered { step_id, value });
    }

    fn show_changes(&mut self, task: TaskKey, context: &EvalContext<'_, '_, '_, '_, '_, '_>) {
        let limit = self.options.limit;
        let top = self.tasks.get_mut(&task).and_then(|task| task.frames.last_mut());
        let changes = top.map(|top| top.changes(context.scope(), limit)).unwrap_or_default();
        for change in changes {
            self.emit(task, Traced::Changed { name: change.name, old: change.old, new: change.new });
        }
    }

    fn emit(&mut self, task: TaskKey, what: Traced) {
        let Some(known) = self.tasks.get(&task).filter(|_| !self.over) else { return };
        let event =
            TraceEvent { n: known.n, task: known.path.clone(), depth: known.depth(), loops: known.loops(), what };
        if !(self.sink)(event) {
            self.over = true;
        }
    }

    fn top(&self, task: TaskKey) -> Option<&Frame> {
        self.tasks.get(&task)?.frames.last()
    }
}

/// How a call looks in a script, and its input.
fn describe(call: &Call) -> (String, Option<&Value>) {
    match call {
        Call::Step { name, input, .. } => (format!("use_step({name:?})"), some(input)),
        Call::Sleep(_) => ("sleep".into(), None),
        Call::WaitFor { signal, .. } => (format!("wait_for({signal:?})"), None),
        Call::PollSignal { signal } => (format!("poll_signal({signal:?})"), None),
        Call::Hook { token, .. } => match token {
            Some(token) => (format!("hook(#{{ token: {token:?} }})"), None),
            None => ("hook()".into(), None),
        },
        Call::WaitHook { .. } => ("hook.wait()".into(), None),
        Call::CloseHook { .. } => ("hook.close()".into(), None),
        Call::Suspend { payload, .. } => ("suspend".into(), some(payload)),
        Call::Child { workflow, input, .. } => (format!("run_workflow({workflow:?})"), some(input)),
        Call::Start { workflow, input, .. } => (format!("start_workflow({workflow:?})"), some(input)),
        Call::Continue { input } => ("continue_as_new".into(), some(input)),
        Call::Open { kind, size, .. } => match kind {
            GroupKind::All | GroupKind::Settle => (format!("{size} branches"), None),
            GroupKind::Race => (format!("race of {size}"), None),
            GroupKind::Timeout(ms) => (format!("with_timeout({})", durhai_core::duration::show(*ms)), None),
            GroupKind::Spawn => ("task".into(), None),
        },
        Call::Join(_) => ("task.join()".into(), None),
    }
}

fn some(value: &Value) -> Option<&Value> {
    (!value.is_null()).then_some(value)
}

fn same_file(file: &str, wanted: &str) -> bool {
    file.trim_end_matches(".rhai") == wanted.trim_end_matches(".rhai")
}

/// What an error says, without the calls that led to it.
fn message(error: &EvalAltResult) -> String {
    let mut inner = error;
    while let EvalAltResult::ErrorInFunctionCall(_, _, next, _) | EvalAltResult::ErrorInModule(_, next, _) = inner {
        inner = next;
    }
    match inner {
        EvalAltResult::ErrorRuntime(value, _) => match value.as_map_ref() {
            Ok(map) if map.contains_key("message") => peek::brief(&map["message"], 200),
            _ => peek::brief(value, 200),
        },
        inner => {
            current::with(|state| suggest::message(inner, state.program.texts())).unwrap_or_else(|| inner.to_string())
        }
    }
}

fn first_line(text: &str, limit: usize) -> String {
    shorten(text.lines().next().unwrap_or_default(), limit)
}

fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().map(|(at, _)| at).find(|at| *at >= limit) {
        None => text.to_owned(),
        Some(at) => format!("{}… ({} bytes)", &text[..at], text.len()),
    }
}
