//! The run that has this thread now: where native functions find their [`Replay`].

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use durhai_core::replay::{Answer, BODY, Call, GroupKey, Reply, TaskKey};
use durhai_core::{Failure, Kind, Replay, Site};
use rhai::{Dynamic, EvalAltResult, NativeCallContext, Position, Shared};

use crate::bindings::group::Group;
use crate::bindings::saga::Saga;
use crate::bindings::{failure_to_error, throw};
use crate::fiber;
use crate::meter::{self, Account};
use crate::program::Program;
use crate::trace::{self, Tracer};

/// What a native function or a step of the interpreter gives back when it fails.
pub type Thrown = Box<EvalAltResult>;

/// All that an execution keeps beside its fibers. It sits in a thread-local while the execution has its turn, and in the
/// execution otherwise.
pub struct State {
    pub replay: Replay,
    pub program: Rc<Program>,
    pub groups: HashMap<GroupKey, Group>,
    pub sagas: HashMap<u32, Saga>,
    pub next_saga: u32,
    /// The task whose fiber runs.
    pub task: TaskKey,
    /// For the task that is being resumed.
    pub answer: Option<Answer>,
    /// Why the fiber that just stopped did so.
    pub pause: Pause,
    /// Operations since the task that runs waited last.
    pub operations: u64,
    pub max_operations: u64,
    /// Operations of all tasks since the last input from outside, and how many of those there were then.
    pub reaction: u64,
    pub inputs: u64,
    /// What the run holds in memory, and how fast its operations are.
    pub account: Account,
    /// What was thrown into the script last, with the place it came from, which the map a script catches does not hold.
    pub thrown: Option<Failure>,
    /// A limit was broken: the next operation fails, and the run with it.
    pub doom: Option<Failure>,
    /// The operation has failed: the run fails with this, whatever the script does.
    pub doomed: Option<Failure>,
    /// Who watches; not there while it looks.
    pub tracer: Option<Box<Tracer>>,
}

/// Why a fiber stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// It waits for an answer.
    Call,
    /// It has had its slice of operations.
    Slice,
    /// It must never go on.
    Stop,
}

/// The modules scripts can import now, by path.
pub type Modules = BTreeMap<String, Shared<rhai::Module>>;

/// What a durable call costs that is answered within the turn, in operations; and a change to another fiber.
const ANSWER: u32 = 64;
const SWITCH: u32 = 16;

/// Bytes of a shown value that cost an operation.
const SHOWN: usize = 32;

/// Operations of a replayed script behind all that is recorded, where it was terminated while it computed.
const BEYOND: u64 = 1_000_000;

/// All operations in reaction to one input may be so many times those between two waits of a task. Tasks that wait for
/// each other would else never come to an end.
const REACTION: u64 = 10;

/// Operations that the top level of a module may make.
const LOADING_OPERATIONS: i64 = 1_000_000;

thread_local! {
    static STATE: RefCell<Option<Box<State>>> = const { RefCell::new(None) };
    static MODULES: RefCell<Rc<Modules>> = RefCell::default();
    /// How the program that runs is read, see [`Bundle::EDITION`](crate::Bundle::EDITION).
    static EDITION: Cell<u32> = const { Cell::new(1) };
    /// The top level of a module runs, without a run.
    static LOADING: Cell<bool> = const { Cell::new(false) };
}

impl State {
    pub fn new(program: Rc<Program>, replay: Replay, max_operations: u64) -> Self {
        State {
            replay,
            program,
            groups: HashMap::new(),
            sagas: HashMap::new(),
            next_saga: 0,
            task: BODY,
            answer: None,
            pause: Pause::Call,
            operations: 0,
            max_operations,
            reaction: 0,
            inputs: 0,
            account: Account::default(),
            thrown: None,
            doom: None,
            doomed: None,
            tracer: None,
        }
    }
}

/// Runs `f` while `state` is the current one, and gives it back, also to a `f` that panics.
pub fn enter(state: &mut Option<Box<State>>, modules: Rc<Modules>, f: impl FnOnce()) {
    struct Leave<'a> {
        state: &'a mut Option<Box<State>>,
        outer: Option<Box<State>>,
        modules: Rc<Modules>,
        edition: u32,
    }
    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            *self.state = STATE.replace(self.outer.take());
            MODULES.replace(std::mem::take(&mut self.modules));
            EDITION.set(self.edition);
        }
    }
    let edition = EDITION.replace(state.as_ref().map_or(1, |state| state.program.edition()));
    let outer = STATE.replace(state.take());
    let modules = MODULES.replace(modules);
    let _leave = Leave { state, outer, modules, edition };
    f();
}

/// Runs `f` with modules but no run: native functions that need one fail.
pub fn load<R>(modules: Rc<Modules>, f: impl FnOnce() -> R) -> R {
    struct Loaded;
    impl Drop for Loaded {
        fn drop(&mut self) {
            LOADING.set(false);
        }
    }
    let mut none = None;
    let mut result = None;
    enter(&mut none, modules, || {
        LOADING.set(true);
        let _loaded = Loaded;
        result = Some(meter::bounded(LOADING_OPERATIONS, f));
    });
    result.expect("enter runs its function")
}

/// The state, if a run has this thread. `f` must not run script code or suspend. What it allocates is the host's.
pub fn with<R>(f: impl FnOnce(&mut State) -> R) -> Option<R> {
    meter::apart(|| STATE.with_borrow_mut(|state| state.as_deref_mut().map(f)))
}

/// [`with`] for native functions: without a run they fail.
pub fn run<R>(ctx: &NativeCallContext<'_>, f: impl FnOnce(&mut State) -> R) -> Result<R, Thrown> {
    with(f).ok_or_else(|| {
        let message = format!(
            "{} needs a run, and there is none while a module is loaded: call it inside a function of the module",
            ctx.fn_name()
        );
        throw(Failure::new(Kind::InvalidInput, message))
    })
}

/// The edition of the program that runs; the first where none does.
pub fn edition() -> u32 {
    EDITION.get()
}

pub fn modules() -> Rc<Modules> {
    MODULES.with_borrow(Rc::clone)
}

pub fn module(path: &str) -> Option<Shared<rhai::Module>> {
    MODULES.with_borrow(|modules| modules.get(path).cloned())
}

/// Makes a durable call and waits for its answer. `keep` is told the group that an [`Call::Open`] opened, before any of
/// its branches begins.
pub fn ask(ctx: &NativeCallContext<'_>, call: Call, keep: impl FnOnce(&mut State, GroupKey)) -> Result<Answer, Thrown> {
    let (reply, traced) = run(ctx, |state| {
        let site = site(ctx, &state.program);
        // Recorded runs may have made more of them under other rules.
        if !state.replay.is_live() {
            state.operations = 0;
            state.account.answered();
        }
        let watched = state.tracer.as_ref().map(|_| (call.clone(), site.clone(), state.replay.last_seq()));
        let reply = state.replay.call(state.task, call, site);
        let traced = watched.and_then(|(call, site, before)| trace::note_call(state, &call, &site, before));
        match &reply {
            Reply::Wait(Some(group)) | Reply::Now(Answer::Opened(group) | Answer::Decided(group, _)) => {
                keep(state, *group);
            }
            _ => {}
        }
        (reply, traced)
    })?;
    if traced.as_ref().is_some_and(|traced| traced.stop) {
        stop();
    }
    charge(ANSWER);
    let answer = match reply {
        Reply::Now(answer) => answer,
        Reply::Wait(_) => {
            pause(Pause::Call);
            with(|state| state.answer.take()).flatten().expect("a fiber is resumed with its answer")
        }
        Reply::Stop => stop(),
    };
    if let Some(traced) = traced {
        with(|state| trace::note_answer(state, traced.step_id, &answer));
    }
    match answer {
        Answer::Failure(failure) => Err(failure_to_error(failure)),
        // The log has the same value: it is read, not copied, and let go of by `convert::into_dynamic`.
        Answer::Value(value) => Ok(Answer::Value(value)),
        answer => Ok(meter::owned(answer)),
    }
}

/// Suspends the fiber for good.
pub fn stop() -> ! {
    loop {
        pause(Pause::Stop);
    }
}

/// Called by Rhai at every operation, so it is a count and two comparisons. `false`: the script must stop here.
#[inline]
pub fn progress() -> bool {
    (meter::tick() && !fiber::stack_is_low()) || look_up()
}

/// Counts what a native function is about to do as so many operations. Others may get their turn in between, and a limit
/// may end the script.
#[inline]
pub fn spend(operations: usize) -> Result<(), Thrown> {
    if meter::spend(operations as u64) || look_up() {
        return Ok(());
    }
    Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into())
}

/// Begins a slice of operations.
pub fn begin_slice() {
    with(|state| state.account.begin());
}

/// A fiber goes on, within the slice.
pub fn enter_fiber() {
    charge(SWITCH);
    STATE.with_borrow_mut(|state| state.as_deref_mut().map(|state| state.account.enter()));
}

/// It has stopped; see [`Account::leave`].
pub fn leave_fiber(stack: i64) -> usize {
    STATE.with_borrow_mut(|state| state.as_deref_mut().map(|state| state.account.leave(stack))).unwrap_or(usize::MAX)
}

/// Counts what a native function does as so many operations. Where they are more than the slice has left it ends with the
/// next one.
pub fn charge(operations: u32) {
    meter::spend(u64::from(operations));
}

/// A value of so many bytes was shown. Where much waits to be committed the slice is over, so that it can be.
pub fn shown(bytes: usize) {
    charge(u32::try_from(bytes / SHOWN).unwrap_or(u32::MAX));
    if with(|state| state.replay.is_full()) == Some(true) {
        meter::cut_short();
    }
}

/// A limit was broken: the next operation fails with this, and the run, also if the script catches it.
pub fn doom(failure: Failure) {
    with(|state| {
        if state.doomed.is_none() {
            state.doom.get_or_insert(failure);
        }
    });
    meter::cut_short();
}

/// A limit ends the run in two strokes. The first makes Rhai unwind with an error, so that the failure gets its place and
/// call stack. Scripts can catch that error where Rhai has wrapped it (calls through function pointers), and `sort`
/// swallows it; so if another operation is seen, the second stroke suspends the fiber for good.
#[cold]
fn look_up() -> bool {
    let used = meter::take_used();
    let doom = if LOADING.get() {
        return false;
    } else if fiber::stack_is_low() {
        let message = "the script calls itself too deeply, or its data nests too deeply: the stack is full; use a loop, or \
                       flatter data";
        Failure::new(Kind::Limit, message)
    } else {
        let spent = with(|state| spent(state, used));
        if fiber::inside() && with(|state| state.replay.verdict().is_some()) == Some(true) {
            stop();
        }
        match spent {
            Some(Some(doom)) => doom,
            Some(None) if fiber::inside() => {
                pause(Pause::Slice);
                return true;
            }
            _ => return true,
        }
    };
    let second = with(|state| match state.doomed.take() {
        Some(doomed) => {
            state.replay.fail(doomed);
            true
        }
        None => {
            state.doomed = Some(doom);
            false
        }
    });
    if second == Some(true) && fiber::inside() {
        stop();
    }
    meter::refill(1);
    false
}

/// A slice was used up: what is wrong with that, if anything is.
fn spent(state: &mut State, used: u64) -> Option<Failure> {
    let inputs = state.replay.inputs_handed();
    if std::mem::replace(&mut state.inputs, inputs) != inputs {
        state.reaction = 0;
    }
    state.operations += used;
    state.reaction += used;
    if state.reaction >= BEYOND && state.replay.only_terminated() {
        // Where it stood when it was terminated nobody knows.
        state.replay.ends_here();
    }
    let (limit, all) = (state.max_operations, state.max_operations.saturating_mul(REACTION));
    if let Some(doom) = state.doom.take() {
        return Some(doom);
    }
    let message = if state.doomed.is_some() || state.operations >= limit {
        format!(
            "the script made more than {limit} operations without a durable call that waits (the limit `operations`): is there \
             a loop that does not end?"
        )
    } else if state.reaction >= all {
        format!(
            "the tasks of the script made more than {all} operations together while nothing came from outside ({REACTION} \
             times the limit `operations`): is there a loop that does not end?"
        )
    } else {
        state.account.look(limit)?
    };
    Some(Failure::new(Kind::Limit, message))
}

fn pause(why: Pause) {
    with(|state| state.pause = why);
    fiber::suspend();
}

fn site(ctx: &NativeCallContext<'_>, program: &Program) -> Site {
    let position = ctx.call_position();
    let (line, column) = (position.line().unwrap_or(0) as u32, position.position().unwrap_or(0) as u32);
    let source = ctx.call_source().unwrap_or(program.name());
    let file = program.texts().of_call(ctx.fn_name(), source, line, column);
    Site { file: (file != program.name()).then(|| Arc::from(file)), line, column }
}
