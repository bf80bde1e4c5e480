//! The operations of the run that has this thread: slices, what a limit does, and how the script gives way.

use durhai_core::{Failure, FailureKind};
use rhai::{Dynamic, EvalAltResult, Position};

use super::current::{Pause, State, is_loading, with, with_account};
use crate::errors::thrown::Thrown;
use crate::fiber;
use crate::meter::{self, Account};

/// What a change to another fiber costs, in operations.
const SWITCH: u32 = 16;

/// Bytes of a shown value that cost an operation.
const SHOWN: usize = 32;

/// Operations of a replayed script behind all that is recorded, where it was terminated while it computed.
const BEYOND: u64 = 1_000_000;

/// All operations in reaction to one input may be so many times those between two waits of a task. Tasks that wait for
/// each other would else never come to an end.
const REACTION: u64 = 10;

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
    with_account(Account::enter);
}

/// It has stopped; see [`Account::leave`].
pub fn leave_fiber(stack: i64) -> usize {
    with_account(|account| account.leave(stack)).unwrap_or(usize::MAX)
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
pub fn break_limit(failure: Failure) {
    with(|state| {
        if state.limit_thrown.is_none() {
            state.limit_broken.get_or_insert_with(|| Box::new(failure));
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
    let broken = if is_loading() {
        return false;
    } else if fiber::stack_is_low() {
        let message = "the script calls itself too deeply, or its data nests too deeply: the stack is full; use a loop, or \
                       flatter data";
        Failure::new(FailureKind::Limit, message)
    } else {
        let spent = with(|state| spent(state, used));
        if fiber::inside() && with(|state| state.replay.verdict().is_some()) == Some(true) {
            stop();
        }
        match spent {
            Some(Some(broken)) => broken,
            Some(None) if fiber::inside() => {
                pause(Pause::Slice);
                return true;
            }
            _ => return true,
        }
    };
    let second = with(|state| match state.limit_thrown.take() {
        Some(thrown) => {
            state.replay.fail(*thrown);
            true
        }
        None => {
            state.limit_thrown = Some(Box::new(broken));
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
        // Where it stood when it was terminated is not recorded.
        state.replay.ends_here();
    }
    let (limit, all) = (state.max_operations, state.max_operations.saturating_mul(REACTION));
    if let Some(broken) = state.limit_broken.take() {
        return Some(*broken);
    }
    let message = if state.limit_thrown.is_some() || state.operations >= limit {
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
    Some(Failure::new(FailureKind::Limit, message))
}

pub fn pause(why: Pause) {
    with(|state| state.pause = why);
    fiber::suspend();
}
