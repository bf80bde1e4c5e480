//! The run that has this thread now: where native functions find their [`Replay`].

use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use durhai_core::replay::{Answer, BODY, GroupKey, TaskKey};
use durhai_core::{Failure, FailureKind, Replay, SmallMap};
use rhai::NativeCallContext;

use super::branches::Group;
use super::sagas::Saga;
use crate::errors::thrown::{Thrown, error_of, throw};
use crate::meter::{self, Account};
use crate::program::Program;
use crate::program::modules::{self, Modules};

/// All that an execution keeps beside its fibers. It sits in a thread-local while the execution has its turn, and in the
/// execution otherwise.
pub struct State {
    pub replay: Replay,
    pub program: Rc<Program>,
    pub groups: SmallMap<GroupKey, Group>,
    pub sagas: SmallMap<u32, Saga>,
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
    pub thrown: Option<Box<Failure>>,
    /// A limit was broken: the next operation fails, and the run with it.
    pub limit_broken: Option<Box<Failure>>,
    /// The operation has failed: the run fails with this, whatever the script does.
    pub limit_thrown: Option<Box<Failure>>,
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

/// Operations that the top level of a module may make.
const LOADING_OPERATIONS: i64 = 1_000_000;

thread_local! {
    static STATE: RefCell<Option<Box<State>>> = const { RefCell::new(None) };
    /// The top level of a module runs, without a run.
    static LOADING: Cell<bool> = const { Cell::new(false) };
}

impl State {
    pub fn new(program: Rc<Program>, replay: Replay, max_operations: u64) -> Self {
        State {
            replay,
            program,
            groups: SmallMap::default(),
            sagas: SmallMap::default(),
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
            limit_broken: None,
            limit_thrown: None,
        }
    }
}

/// Runs `f` while `state` is the current one, and gives it back, also to a `f` that panics.
pub fn enter(state: &mut Option<Box<State>>, modules: Rc<Modules>, f: impl FnOnce()) {
    struct Leave<'a> {
        state: &'a mut Option<Box<State>>,
        outer: Option<Box<State>>,
    }
    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            *self.state = STATE.replace(self.outer.take());
        }
    }
    let _modules = modules::enter(modules, state.as_ref().map_or(1, |state| state.program.edition()));
    let outer = STATE.replace(state.take());
    let _leave = Leave { state, outer };
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
        throw(Failure::new(FailureKind::InvalidInput, message))
    })
}

/// [`throw`] for a failure that may have a place of its own: it is kept aside, for when the script does not catch the map.
pub fn throw_with_place(failure: impl Into<Box<Failure>> + Borrow<Failure>) -> Thrown {
    let error = error_of(failure.borrow());
    with(|state| state.thrown = Some(failure.into()));
    error
}

/// [`with`] for the hot path of a change of fibers: what `f` allocates would be counted as the script's.
pub fn with_account<R>(f: impl FnOnce(&mut Account) -> R) -> Option<R> {
    STATE.with_borrow_mut(|state| state.as_deref_mut().map(|state| f(&mut state.account)))
}

/// Whether the top level of a module runs, without a run.
pub fn is_loading() -> bool {
    LOADING.get()
}
