//! The tracer of the run that has this thread: where Rhai's debugger interface and the durable calls find it.

use std::cell::RefCell;
use std::sync::Arc;

use durhai_core::replay::{Answer, Call, TaskKey};
use durhai_core::{Site, StepId};
use rhai::debugger::{DebuggerCommand, DebuggerEvent};
use rhai::{ASTNode, Engine, EvalContext, Position};

use super::places::place;
use super::tracer::Tracer;
use crate::fiber;
use crate::run::current::{self, State};
use crate::run::operations;

thread_local! {
    /// None in a run that is not watched, and while the tracer looks: what it evaluates is not watched.
    static TRACER: RefCell<Option<Box<Tracer>>> = const { RefCell::new(None) };
}

/// Runs `f` while `tracer` watches the run of this thread, and gives it back, also to a `f` that panics.
pub(crate) fn watch(tracer: &mut Option<Box<Tracer>>, f: impl FnOnce()) {
    struct Leave<'a> {
        tracer: &'a mut Option<Box<Tracer>>,
        outer: Option<Box<Tracer>>,
    }
    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            *self.tracer = TRACER.replace(self.outer.take());
        }
    }
    let outer = TRACER.replace(tracer.take());
    let _leave = Leave { tracer, outer };
    f();
}

pub(crate) fn is_watched() -> bool {
    TRACER.with_borrow(Option::is_some)
}

/// The tracer has stopped: nothing of the script must run any more.
pub(crate) fn is_over() -> bool {
    TRACER.with_borrow(|tracer| tracer.as_ref().is_some_and(|tracer| tracer.is_over()))
}

/// Has an engine tell the tracer of the run, at each node.
pub(crate) fn register(engine: &mut Engine) {
    #[allow(deprecated)] // Rhai marks what may change between its versions that way.
    engine.register_debugger(
        |_, debugger| debugger,
        |context, event, node, source, position| {
            if observe(&context, event, node, source, position) && fiber::inside() {
                operations::stop();
            }
            Ok(DebuggerCommand::StepInto)
        },
    );
}

/// `true`: the script must not go on.
fn observe(
    context: &EvalContext<'_, '_, '_, '_, '_, '_>,
    event: DebuggerEvent<'_>,
    node: ASTNode<'_>,
    source: Option<&str>,
    position: Position,
) -> bool {
    let Some(task) = current::with(|state| state.task) else { return false };
    let Some(mut tracer) = TRACER.take() else { return false };
    if tracer.is_new(task) {
        let path = current::with(|state| Arc::from(state.replay.task_path(task))).unwrap_or_else(|| Arc::from(""));
        tracer.begin(task, path);
    }
    tracer.node(task, context, event, node, source, place(position));
    let over = tracer.is_over();
    TRACER.set(Some(tracer));
    over
}

/// A durable call that was shown.
pub(crate) struct Shown {
    pub step_id: Option<StepId>,
    /// The script must not go on.
    pub stop: bool,
}

/// The task that runs has made a call; `before`: the number of the last event then.
pub(crate) fn note_call(state: &mut State, call: &Call, site: &Site, before: u64) -> Option<Shown> {
    let numbered = !matches!(call, Call::PollSignal { .. } | Call::Join(_) | Call::CloseHook { .. });
    let step_id = numbered.then(|| StepId::parse(&state.replay.step_id(state.task))).flatten();
    TRACER.with_borrow_mut(|tracer| {
        let tracer = tracer.as_mut()?;
        tracer.called(state.task, step_id.clone(), call, site, state.replay.last_seq() > before);
        Some(Shown { step_id, stop: tracer.is_over() })
    })
}

pub(crate) fn note_answer(task: TaskKey, step_id: Option<StepId>, answer: &Answer) {
    TRACER.with_borrow_mut(|tracer| {
        if let Some(tracer) = tracer {
            tracer.answered(task, step_id, answer);
        }
    });
}
