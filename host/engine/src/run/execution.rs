//! One run on one thread: its fibers, and the loop that does what [`Replay`] says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use durhai_core::replay::{BODY, GroupKey, Next, TaskKey};
use durhai_core::{Failure, FailureKind, Replay, SmallMap, Value};
use rhai::{Dynamic, Engine, EvalAltResult, Scope};

use super::branches::Work;
use super::current::{self, Pause, State};
use super::operations;
use crate::errors::diagnostic;
use crate::errors::thrown::Thrown;
use crate::fiber::{self, Fiber};
use crate::meter;
use crate::program::Program;
use crate::sandbox::Sandbox;
use crate::schema;
use crate::trace::{self, Tracer};
use crate::values::convert::{self, Budget};

/// A run under way. Dropping it unwinds its fibers; the run itself is in its log.
pub struct Execution {
    /// There except during a turn.
    state: Option<Box<State>>,
    fibers: SmallMap<TaskKey, Fiber>,
    /// The task that was interrupted, to go on first.
    preempted: Option<TaskKey>,
    /// There except during a turn, in an execution that is watched.
    tracer: Option<Box<Tracer>>,
}

/// Why a turn of the script is over. (What a turn brought is [`durhai_core::replay::Turn`].)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Yield {
    /// Every task waits for something from outside.
    Idle,
    /// The script computes on; others go first.
    Preempted,
    /// What it has shown must be committed before it goes on, see [`Replay::is_full`].
    Full,
    /// The run is over, or diverged: see [`Replay::verdict`]. All fibers are gone.
    Stopped,
}

impl Execution {
    pub fn new(program: Rc<Program>, replay: Replay) -> Self {
        let state = State::new(program, replay, u64::MAX);
        Execution { state: Some(Box::new(state)), fibers: SmallMap::default(), preempted: None, tracer: None }
    }

    /// One that `tracer` watches; it needs a traced sandbox. Its log is all it gets: no input is delivered to it.
    pub fn traced(program: Rc<Program>, replay: Replay, tracer: Tracer) -> Self {
        let mut execution = Execution::new(program, replay);
        execution.tracer = Some(Box::new(tracer));
        execution
    }

    pub fn tracer_mut(&mut self) -> Option<&mut Tracer> {
        self.tracer.as_deref_mut()
    }

    /// Runs the script until every task waits, or until it has had a slice of operations and `should_yield` says that
    /// others wait. `sandbox` must be the one that compiled the program.
    pub fn turn(&mut self, sandbox: &Sandbox, should_yield: &dyn Fn() -> bool) -> Yield {
        let state = self.state();
        let modules = state.program.modules.clone();
        let Execution { state, fibers, preempted, tracer } = self;
        if let Some(state) = state {
            state.max_operations = sandbox.limits.operations;
            state.account.open(&sandbox.pool, sandbox.memory);
        }
        let mut why = Yield::Idle;
        trace::watch(tracer, || {
            current::enter(state, modules, || why = run(sandbox, fibers, preempted, should_yield));
        });
        why
    }

    /// Runs the script for a caller that looks where a log leads and commits nothing. `stop` is asked now and then:
    /// [`Yield::Preempted`] if it said yes.
    pub fn rehearse(&mut self, sandbox: &Sandbox, stop: &dyn Fn() -> bool) -> Yield {
        loop {
            match self.turn(sandbox, stop) {
                Yield::Full => self.replay_mut().drop_outputs(),
                Yield::Preempted if !stop() => {}
                why => return why,
            }
        }
    }

    /// Ends the run at once, wherever its script is. What the script did before is kept.
    pub fn terminate(&mut self, reason: String) {
        self.replay_mut().terminate(reason);
    }

    pub fn replay(&self) -> &Replay {
        &self.state().replay
    }

    pub fn replay_mut(&mut self) -> &mut Replay {
        &mut self.state.as_mut().expect("the state is there between turns").replay
    }

    /// Operations since the last durable call of the task that ran last, with those of the last slice on this thread; for
    /// tests.
    #[doc(hidden)]
    pub fn operations(&self) -> u64 {
        self.state().operations + meter::used()
    }

    pub fn program(&self) -> &Rc<Program> {
        &self.state().program
    }

    fn state(&self) -> &State {
        self.state.as_ref().expect("the state is there between turns")
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        self.fibers.clear();
        // Closures and results may hold data that nests deeply, and dropping recurses.
        if let Some(state) = self.state.take().filter(|state| !state.groups.is_empty() || !state.sagas.is_empty()) {
            // Without a stack for it the closure is dropped, and the state with it, on this one.
            let _ = fiber::on_large_stack(move || drop(state));
        }
    }
}

fn run(
    sandbox: &Sandbox,
    fibers: &mut SmallMap<TaskKey, Fiber>,
    preempted: &mut Option<TaskKey>,
    should_yield: &dyn Fn() -> bool,
) -> Yield {
    operations::begin_slice();
    loop {
        let (over, full) =
            current::with(|state| (state.replay.end_if_terminated(), state.replay.is_full())).unwrap_or_default();
        if over {
            *preempted = None;
        } else if full {
            return Yield::Full;
        }
        let task = match preempted.take() {
            Some(task) => task,
            None => match next(sandbox, fibers) {
                Ok(task) => task,
                Err(why) => return why,
            },
        };
        let Some(fiber) = fibers.get_mut(&task) else { continue };
        current::with(|state| {
            state.task = task;
            state.pause = Pause::Call;
        });
        let stack = fiber.stack_in_use();
        operations::enter_fiber();
        let resumed = catch_unwind(AssertUnwindSafe(|| fiber.resume()));
        let deepest = operations::leave_fiber(fiber.stack_in_use() as i64 - stack as i64);
        fiber.give_back_below(deepest);
        if trace::is_over() {
            fibers.clear();
            return Yield::Stopped;
        }
        match resumed {
            Ok(true) => drop(fibers.remove(&task)),
            Ok(false) => {
                if current::with(|state| state.pause) == Some(Pause::Slice) {
                    *preempted = Some(task);
                    if should_yield() {
                        return Yield::Preempted;
                    }
                    operations::begin_slice();
                }
            }
            Err(panic) => {
                fibers.remove(&task);
                let text = panic.downcast_ref::<&str>().map(ToString::to_string);
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                let message = format!("a native function panicked: {text}");
                current::with(|state| state.replay.fail(Failure::new(FailureKind::Script, message)));
            }
        }
    }
}

/// The task that is to run now, with its fiber in `fibers`.
fn next(sandbox: &Sandbox, fibers: &mut SmallMap<TaskKey, Fiber>) -> Result<TaskKey, Yield> {
    let next = current::with(|state| state.replay.next()).unwrap_or(Next::Idle);
    let engine = sandbox.engine.clone();
    let (task, fiber) = match next {
        Next::Idle => return Err(Yield::Idle),
        Next::Stop => {
            fibers.clear();
            return Err(Yield::Stopped);
        }
        Next::Resume { task, answer } => {
            current::with(|state| {
                state.answer = Some(answer);
                state.operations = 0;
                state.account.answered();
            });
            return Ok(task);
        }
        Next::Begin => (BODY, Fiber::new(move || body(&engine))),
        Next::Branch { task, group, index } => (task, Fiber::new(move || branch(&engine, task, group, index))),
    };
    match fiber {
        Ok(fiber) => drop(fibers.insert(task, fiber)),
        Err(error) => {
            let message = format!("the host has no stack left for a task ({error}): let it hold fewer runs at a time");
            current::with(|state| state.replay.fail(Failure::new(FailureKind::Limit, message)));
        }
    }
    current::with(|state| state.operations = 0);
    Ok(task)
}

fn body(engine: &Engine) {
    let begun = current::with(|state| (state.replay.take_input(), state.program.clone()));
    let Some((input, program)) = begun else { return };
    let input = convert::into_dynamic(input);
    let mut scope = Scope::new();
    scope.push_constant_dynamic("input", input);
    let result = engine.eval_ast_with_scope::<Dynamic>(&mut scope, &program.ast);
    let result = settle(result).and_then(|value| {
        let budget = current::with(|state| Budget::from(state.replay.limits())).unwrap_or(SMALL);
        convert::to_value(&value, "output", budget)
    });
    let result = result.and_then(|output| match program.header().output.as_ref().map(|schema| schema.check(&output)) {
        Some(Err(problems)) => {
            let problems = schema::list(&problems);
            let message = format!("the output does not fit the `output` schema of the header: {problems}");
            Err(Failure::new(FailureKind::InvalidOutput, message))
        }
        _ => Ok(output),
    });
    current::with(|state| state.replay.ended(BODY, result));
}

fn branch(engine: &Engine, task: TaskKey, group: GroupKey, index: usize) {
    let result = settle(run_branch(engine, group, index));
    let told = meter::apart(|| result.as_ref().map(|_| Value::Null).map_err(Clone::clone));
    // A group that was decided without this branch is gone, and no call wants the value.
    let unwanted = current::with(|state| match state.groups.get_mut(&group) {
        Some(group) => {
            group.set_result(index, result);
            None
        }
        None => Some(result),
    });
    drop(unwanted);
    current::with(|state| state.replay.ended(task, told));
}

/// Runs a branch to its end, in the fiber of its task.
#[allow(deprecated)]
fn run_branch(engine: &Engine, key: GroupKey, index: usize) -> Result<Dynamic, Thrown> {
    let work = current::with(|state| {
        let group = state.groups.get_mut(&key)?;
        let (closure, args) = match &mut group.work {
            Work::Closures(closures) => (closures.get(index)?.clone(), Vec::new()),
            Work::Items { closure, items, indexed } => {
                let mut args = vec![items.get_mut(index)?.clone()];
                args.extend(indexed.then_some(Dynamic::from(index as i64)));
                (closure.clone(), args)
            }
        };
        Some((closure, args, group.context.clone()))
    });
    let Some((closure, args, context)) = work.flatten() else { return Ok(Dynamic::UNIT) };
    closure.call_raw(&context.create_context(engine), None, args).map(Dynamic::flatten)
}

const SMALL: Budget = Budget { bytes: 16 << 10, depth: 16 };

/// What the end of a script means. A limit that was broken ends the run here.
fn settle(result: Result<Dynamic, Thrown>) -> Result<Dynamic, Failure> {
    let result = match result.map_err(|error| *error) {
        Err(EvalAltResult::Exit(value, _)) => Ok(value),
        other => other,
    };
    let failed = current::with(|state| {
        let failure = result.as_ref().err().map(|error| {
            let budget = Budget::from(state.replay.limits());
            let texts = state.program.texts();
            diagnostic::failure(error, texts.main(), texts, state.thrown.as_deref(), budget)
        });
        if let Some(mut thrown) = state.limit_thrown.take() {
            thrown.place = failure.as_ref().and_then(|failure| failure.place.clone());
            state.replay.fail(*thrown);
        }
        failure
    });
    match (failed.flatten(), result) {
        (Some(failure), _) => Err(failure),
        (None, Ok(value)) => Ok(value.flatten()),
        (None, Err(error)) => Err(Failure::new(FailureKind::Script, error.to_string())),
    }
}
