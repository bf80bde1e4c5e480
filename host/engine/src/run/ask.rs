//! Durable calls: asked of the run's [`Replay`](durhai_core::Replay), with a wait for the answer.

use std::sync::Arc;

use durhai_core::Site;
use durhai_core::replay::{Answer, Call, GroupKey, Reply};
use rhai::NativeCallContext;

use super::current::{Pause, State, run, throw_with_place, with};
use super::operations::{charge, pause, stop};
use crate::errors::thrown::Thrown;
use crate::meter;
use crate::program::Program;
use crate::trace::{self, Shown};

/// What a durable call costs that is answered within the turn, in operations.
const ANSWER: u32 = 64;

/// Makes a durable call and waits for its answer. `call` says which; `keep` is told the group that an [`Call::Open`]
/// opened, before any of its branches begins.
///
/// What the parts of this have on the stack is not there while the script waits, which may be for months. So they are not
/// inlined, and `call` reads the arguments of the script.
pub fn ask(
    ctx: &NativeCallContext<'_>,
    call: impl FnOnce() -> Result<Call, Thrown>,
    keep: impl FnOnce(&mut State, GroupKey),
) -> Result<Answer, Thrown> {
    let (reply, shown) = make(ctx, call, keep)?;
    let answer = match reply {
        Reply::Now(answer) => answer,
        Reply::Wait(_) => {
            pause(Pause::Call);
            with(|state| state.answer.take()).flatten().expect("a fiber is resumed with its answer")
        }
        Reply::Stop => stop(),
    };
    take(answer, shown)
}

#[inline(never)]
fn make(
    ctx: &NativeCallContext<'_>,
    call: impl FnOnce() -> Result<Call, Thrown>,
    keep: impl FnOnce(&mut State, GroupKey),
) -> Result<(Reply, Option<Shown>), Thrown> {
    let call = call()?;
    let (reply, shown) = run(ctx, |state| {
        let site = site(ctx, &state.program);
        // Recorded runs may have made more of them under other rules.
        if !state.replay.is_live() {
            state.operations = 0;
            state.account.answered();
        }
        let watched = trace::is_watched().then(|| (call.clone(), site.clone(), state.replay.last_seq()));
        let reply = state.replay.call(state.task, call, site);
        let shown = watched.and_then(|(call, site, before)| trace::note_call(state, &call, &site, before));
        match &reply {
            Reply::Wait(Some(group)) | Reply::Now(Answer::Opened(group) | Answer::Decided(group, _)) => {
                keep(state, *group);
            }
            _ => {}
        }
        (reply, shown)
    })?;
    if shown.as_ref().is_some_and(|shown| shown.stop) {
        stop();
    }
    charge(ANSWER);
    Ok((reply, shown))
}

/// What the script is given for an answer.
#[inline(never)]
fn take(answer: Answer, shown: Option<Shown>) -> Result<Answer, Thrown> {
    if let Some(shown) = shown {
        with(|state| trace::note_answer(state.task, shown.step_id, &answer));
    }
    match answer {
        Answer::Failure(failure) => Err(throw_with_place(failure)),
        // The log has the same value: it is read, not copied, and let go of by `convert::into_dynamic`.
        Answer::Value(value) => Ok(Answer::Value(value)),
        answer => Ok(meter::owned(answer)),
    }
}

fn site(ctx: &NativeCallContext<'_>, program: &Program) -> Site {
    let position = ctx.call_position();
    let (line, column) = (position.line().unwrap_or(0) as u32, position.position().unwrap_or(0) as u32);
    let source = ctx.call_source().unwrap_or(program.name());
    let file = program.texts().of_call(ctx.fn_name(), source, line, column);
    Site { file: (file != program.name()).then(|| Arc::from(file)), line, column }
}
