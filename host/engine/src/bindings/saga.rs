//! What `std/saga` is made of: a block whose successful actions are undone, last first, when it fails.
//!
//! It is written here and not in the script language because the error must go on as it was thrown, with its place, and
//! because branches of a block that run at the same time add to one list.

use durhai_core::{Failure, FailureKind};
use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, NativeCallContext};

use super::args::{self, invalid};
use super::log::{LINE, write};
use crate::errors::diagnostic;
use crate::errors::thrown::{Thrown, throw};
use crate::run::current::{self, State};
use crate::run::sagas::{Compensation, Phase, Saga};
use crate::values::convert::Budget;
use crate::values::handles::SagaHandle;

pub fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<SagaHandle>("saga")
        .register_fn("saga_run", |ctx: NativeCallContext<'_>, block: Dynamic| saga_run(&ctx, &block))
        // By value: a method that borrowed the variable would hold it while the action waits.
        .register_fn("step", |ctx: NativeCallContext<'_>, saga: SagaHandle, action: Dynamic, compensation: Dynamic| {
            step(&ctx, saga, &action, &compensation)
        })
        .register_fn("undo", |ctx: NativeCallContext<'_>, saga: SagaHandle, compensation: Dynamic| {
            let closure = args::closure("undo: the compensation", &compensation)?;
            is_open(&ctx, saga, "undo")?;
            keep(&ctx, saga, Compensation { closure, value: None })
        });
}

fn saga_run(ctx: &NativeCallContext<'_>, block: &Dynamic) -> Result<Dynamic, Thrown> {
    let block = args::closure("saga::run: the argument", block)?;
    let saga = current::run(ctx, |state| {
        state.next_saga += 1;
        state.sagas.insert(state.next_saga, Saga::default());
        SagaHandle(state.next_saga)
    })?;
    let result = call(ctx, &block, Some(Dynamic::from(saga)));
    match result {
        Ok(value) => {
            current::with(|state| state.sagas.remove(&saga.0));
            Ok(value.flatten())
        }
        // Where the run itself is over nothing may go on.
        Err(error) if !error.is_catchable() => Err(error),
        Err(error) => {
            // Errors inside of compensations must not take the place of the one that is thrown on.
            let thrown = current::with(|state| state.thrown.clone()).flatten();
            undo(ctx, saga);
            current::with(|state| state.thrown = thrown);
            Err(error)
        }
    }
}

fn step(
    ctx: &NativeCallContext<'_>,
    saga: SagaHandle,
    action: &Dynamic,
    compensation: &Dynamic,
) -> Result<Dynamic, Thrown> {
    let action = args::closure("step: the action", action)?;
    let closure = args::closure("step: the compensation", compensation)?;
    is_open(ctx, saga, "step")?;
    let value = action.call_raw(ctx, None, [])?.flatten();
    keep(ctx, saga, Compensation { closure, value: Some(value.clone()) })?;
    Ok(value)
}

fn is_open(ctx: &NativeCallContext<'_>, saga: SagaHandle, method: &str) -> Result<(), Thrown> {
    match current::run(ctx, |state| state.sagas.get(&saga.0).map(|saga| saga.phase))? {
        Some(Phase::Open) => Ok(()),
        _ => invalid(format!("{method}: the block of this saga has ended")),
    }
}

/// Adds a compensation. A branch may come here after the block has ended: then there is nothing to add to.
fn keep(ctx: &NativeCallContext<'_>, saga: SagaHandle, compensation: Compensation) -> Result<(), Thrown> {
    let late = current::run(ctx, |state| match state.sagas.get_mut(&saga.0) {
        Some(Saga { phase: Phase::Undone, .. }) => Some(compensation),
        Some(saga) => {
            saga.compensations.push(compensation);
            None
        }
        None => None,
    })?;
    let Some(compensation) = late else { return Ok(()) };
    compensate(ctx, &compensation);
    Err(throw(Failure::cancelled("the saga was undone meanwhile")))
}

/// Runs the compensations, last first, those included that are added meanwhile.
fn undo(ctx: &NativeCallContext<'_>, saga: SagaHandle) {
    let next = |state: &mut State| {
        let saga = state.sagas.get_mut(&saga.0)?;
        let next = saga.compensations.pop();
        saga.phase = if next.is_some() { Phase::Undoing } else { Phase::Undone };
        next
    };
    while let Some(compensation) = current::with(next).flatten() {
        compensate(ctx, &compensation);
    }
}

/// Runs one compensation. Its errors are logged: the others must be run too.
fn compensate(ctx: &NativeCallContext<'_>, compensation: &Compensation) {
    // A cancellation interrupts it once, as it does everything; it must not be left half done for that.
    for attempt in 1..=2 {
        let result = match &compensation.value {
            Some(value) => call(ctx, &compensation.closure, Some(value.clone())),
            None => call(ctx, &compensation.closure, None),
        };
        let Err(error) = result else { return };
        let cancelled = current::with(|state| {
            let budget = Budget { bytes: LINE, depth: 16 };
            let texts = state.program.texts();
            let failure = diagnostic::failure(&error, texts.main(), texts, state.thrown.as_deref(), budget);
            let cancelled = failure.kind == FailureKind::Cancelled && attempt == 1;
            let (message, fields) = match cancelled {
                true => ("a compensation was interrupted by a cancellation and is begun again".into(), None),
                false => (format!("a compensation failed: {}", failure.message), Some(failure)),
            };
            let level = if cancelled { "warn" } else { "error" };
            let fields = fields.and_then(|failure| serde_json::to_value(failure).ok()).unwrap_or_default();
            // A limit that this line breaks is found again at the next one.
            let _ = write(state, level, message, fields);
            cancelled
        });
        if cancelled != Some(true) || !error.is_catchable() {
            return;
        }
    }
}

/// Calls a closure that may leave out its parameter.
fn call(ctx: &NativeCallContext<'_>, closure: &FnPtr, value: Option<Dynamic>) -> Result<Dynamic, Thrown> {
    let Some(value) = value else { return closure.call_raw(ctx, None, []) };
    match closure.call_raw(ctx, None, [value]) {
        Err(error) => match &*error {
            EvalAltResult::ErrorFunctionNotFound(signature, _)
                if signature.split(" (").next() == Some(closure.fn_name()) =>
            {
                closure.call_raw(ctx, None, [])
            }
            _ => Err(error),
        },
        result => result,
    }
}
