//! What the script of a test can call.

mod actions;
mod mocks;
mod seen;

use std::cell::RefCell;
use std::rc::Rc;

use durhai::{RunId, RunView, Value};
use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Position};

use crate::context::{TestContext, Thrown};
use crate::values::{self, to_dynamic};
use crate::waits;

pub use seen::calls;

/// The test that is being run with an engine.
pub type Hand = Rc<RefCell<Option<Rc<TestContext>>>>;

/// A run, as a test holds it.
#[derive(Debug, Clone)]
pub struct RunRef {
    pub id: RunId,
}

pub fn context(hand: &Hand, at: Position) -> Result<Rc<TestContext>, Thrown> {
    hand.borrow().clone().ok_or_else(|| refuse(at, "this can be called in a test only, not at the top of the file"))
}

/// An error that the script can catch.
pub fn refuse(at: Position, text: impl Into<String>) -> Thrown {
    EvalAltResult::ErrorRuntime(text.into().into(), at).into()
}

pub fn register(engine: &mut Engine, hand: &Hand) {
    engine.register_type_with_name::<RunRef>("run");
    mocks::register(engine, hand);
    actions::register(engine, hand);
    seen::register(engine, hand);
}

/// A run, or its id.
pub fn run_of(value: &Dynamic, at: Position) -> Result<RunRef, Thrown> {
    if let Some(run) = value.clone().try_cast::<RunRef>() {
        return Ok(run);
    }
    let id = value.clone().into_immutable_string().ok().and_then(|id: ImmutableString| RunId::new(id.as_str()).ok());
    let wrong =
        || refuse(at, format!("a run is wanted here (what start() gives, or its id), not a {}", value.type_name()));
    id.map(|id| RunRef { id }).ok_or_else(wrong)
}

/// How many attempts were made differs where a crash interrupted one.
pub fn without_attempts(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.remove("attempts");
        if let Some(cause) = fields.remove("cause") {
            fields.insert("cause".into(), without_attempts(cause));
        }
    }
    value
}

fn list(values: Vec<Value>) -> Array {
    values.iter().map(to_dynamic).collect()
}

/// A run in words, for a finding.
pub fn describe(context: &TestContext, at: Position, run: &RunRef) -> Result<(RunView, String), Thrown> {
    context.with(at, |test_run| {
        let view = test_run.view(&run.id)?;
        let text = waits::describe(&view, test_run.now());
        Ok((view, text))
    })
}

/// `a map`, for messages.
pub fn show(value: &Value) -> String {
    values::short(value, 200)
}
