//! One run on one thread: its fibers, and the loop that does what [`Replay`] says.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use durhai_core::replay::{BODY, GroupKey, Next, TaskKey};
use durhai_core::{Failure, Kind, Replay, Value};
use rhai::{Dynamic, Engine, EvalAltResult, Scope};

use crate::bindings::group::run_branch;
use crate::convert::{self, Budget};
use crate::current::{self, Pause, State, Thrown};
use crate::diagnostic;
use crate::fiber::{self, Fiber};
use crate::meter;
use crate::program::Program;
use crate::sandbox::Sandbox;
use crate::schema;
use crate::trace::Tracer;

/// A run under way. Dropping it unwinds its fibers; the run itself is in its log.
pub struct Execution {
    /// There except during a turn.
    state: Option<Box<State>>,
    fibers: HashMap<TaskKey, Fiber>,
    /// The task that was interrupted, to go on first.
    preempted: Option<TaskKey>,
}

/// Why a turn is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
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
        Execution { state: Some(Box::new(state)), fibers: HashMap::new(), preempted: None }
    }

    /// One that `tracer` watches; it needs a traced sandbox. Its log is all it gets: nobody delivers anything.
    pub fn traced(program: Rc<Program>, replay: Replay, tracer: Tracer) -> Self {
        let mut execution = Execution::new(program, replay);
        if let Some(state) = &mut execution.state {
            state.tracer = Some(Box::new(tracer));
        }
        execution
    }

    pub fn tracer_mut(&mut self) -> Option<&mut Tracer> {
        self.state.as_mut()?.tracer.as_deref_mut()
    }

    /// Runs the script until every task waits, or until it has had a slice of operations and `should_yield` says that
    /// others wait. `sandbox` must be the one that compiled the program.
    pub fn turn(&mut self, sandbox: &Sandbox, should_yield: &dyn Fn() -> bool) -> Turn {
        let state = self.state();
        let modules = state.program.modules.clone();
        let Execution { state, fibers, preempted } = self;
        if let Some(state) = state {
            state.max_operations = sandbox.limits.operations;
            state.account.open(&sandbox.pool, sandbox.memory);
        }
        let mut turn = Turn::Idle;
        current::enter(state, modules, || turn = run(sandbox, fibers, preempted, should_yield));
        turn
    }

    /// Runs the script of somebody who looks at what a log comes to and commits nothing. `stop` is asked now and then:
    /// [`Turn::Preempted`] if it said yes.
    pub fn rehearse(&mut self, sandbox: &Sandbox, stop: &dyn Fn() -> bool) -> Turn {
        loop {
            match self.turn(sandbox, stop) {
                Turn::Full => self.replay_mut().drop_outputs(),
                Turn::Preempted if !stop() => {}
                turn => return turn,
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
    fibers: &mut HashMap<TaskKey, Fiber>,
    preempted: &mut Option<TaskKey>,
    should_yield: &dyn Fn() -> bool,
) -> Turn {
    current::begin_slice();
    loop {
        let (over, full) =
            current::with(|state| (state.replay.end_if_terminated(), state.replay.is_full())).unwrap_or_default();
        if over {
            *preempted = None;
        } else if full {
            return Turn::Full;
        }
        let task = match preempted.take() {
            Some(task) => task,
            None => match next(sandbox, fibers) {
                Ok(task) => task,
                Err(turn) => return turn,
            },
        };
        let Some(fiber) = fibers.get_mut(&task) else { continue };
        current::with(|state| {
            state.task = task;
            state.pause = Pause::Call;
        });
        let stack = fiber.stack_in_use();
        current::enter_fiber();
        let resumed = catch_unwind(AssertUnwindSafe(|| fiber.resume()));
        let deepest = current::leave_fiber(fiber.stack_in_use() as i64 - stack as i64);
        fiber.give_back_below(deepest);
        if current::with(|state| state.tracer.as_ref().is_some_and(|tracer| tracer.is_over())) == Some(true) {
            fibers.clear();
            return Turn::Stopped;
        }
        match resumed {
            Ok(true) => drop(fibers.remove(&task)),
            Ok(false) => {
                if current::with(|state| state.pause) == Some(Pause::Slice) {
                    *preempted = Some(task);
                    if should_yield() {
                        return Turn::Preempted;
                    }
                    current::begin_slice();
                }
            }
            Err(panic) => {
                fibers.remove(&task);
                let text = panic.downcast_ref::<&str>().map(ToString::to_string);
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                let message = format!("a native function panicked: {text}");
                current::with(|state| state.replay.fail(Failure::new(Kind::Script, message)));
            }
        }
    }
}

/// The task that is to run now, with its fiber in `fibers`.
fn next(sandbox: &Sandbox, fibers: &mut HashMap<TaskKey, Fiber>) -> Result<TaskKey, Turn> {
    let next = current::with(|state| state.replay.next()).unwrap_or(Next::Idle);
    let engine = sandbox.engine.clone();
    let (task, fiber) = match next {
        Next::Idle => return Err(Turn::Idle),
        Next::Stop => {
            fibers.clear();
            return Err(Turn::Stopped);
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
            current::with(|state| state.replay.fail(Failure::new(Kind::Limit, message)));
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
            Err(Failure::new(Kind::InvalidOutput, message))
        }
        _ => Ok(output),
    });
    current::with(|state| state.replay.ended(BODY, result));
}

fn branch(engine: &Engine, task: TaskKey, group: GroupKey, index: usize) {
    let result = settle(run_branch(engine, group, index));
    let told = meter::apart(|| result.as_ref().map(|_| Value::Null).map_err(Clone::clone));
    // A group that was decided without this branch is gone, and nobody wants the value.
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
            diagnostic::failure(error, texts.main(), texts, state.thrown.as_ref(), budget)
        });
        if let Some(mut doomed) = state.doomed.take() {
            doomed.place = failure.as_ref().and_then(|failure| failure.place.clone());
            state.replay.fail(doomed);
        }
        failure
    });
    match (failed.flatten(), result) {
        (Some(failure), _) => Err(failure),
        (None, Ok(value)) => Ok(value.flatten()),
        (None, Err(error)) => Err(Failure::new(Kind::Script, error.to_string())),
    }
}
