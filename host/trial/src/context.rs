//! A test that is being run: its mocks, and what it has seen so far.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use durhai::{Millis, StepError, Value};
use durhai_testkit::Ending;
use rhai::{Dynamic, EvalAltResult, FnPtr, Map, NativeCallContext, Position};

use crate::ledger::Call;
use crate::real_steps::matches;
use crate::test_run::{Next, Stuck, TestRun};
use crate::values;

pub type Thrown = Box<EvalAltResult>;

/// What stands for a step.
#[derive(Debug, Clone)]
pub enum Mock {
    Value(Value),
    Function(FnPtr),
    /// It fails for good.
    Fail(String),
    /// The first attempts of each call fail, then that.
    FailTimes(u32, String, Rc<Mock>),
}

/// What is wrong, and where in the test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finding {
    pub message: String,
    /// Line by line, `-` expected, `+` found.
    pub diff: Option<String>,
    /// What helps to understand it.
    pub notes: Vec<String>,
    /// A module of the test, where it is not the test's own file.
    pub file: Option<String>,
    /// From 1; 0 where no place is known.
    pub line: usize,
    pub column: usize,
}

impl Finding {
    pub fn new(message: impl Into<String>) -> Self {
        Finding { message: message.into(), ..Finding::default() }
    }

    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        (self.line, self.column) = (position.line().unwrap_or(0), position.position().unwrap_or(0));
        self
    }
}

/// One thing that a test looked at: the same in every repetition.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub line: usize,
    pub what: String,
    pub value: Value,
}

/// Thrown where a test cannot go on; the finding is in [`TestContext::finding`].
#[derive(Debug, Clone)]
pub struct Doomed;

/// Thrown by a mock: how its attempt ends.
#[derive(Debug, Clone)]
pub struct Verdict(pub StepError);

/// What a test's script acts on.
pub struct TestContext {
    pub test_run: RefCell<TestRun>,
    pub mocks: RefCell<BTreeMap<String, Mock>>,
    pub seen: RefCell<Vec<Seen>>,
    pub printed: RefCell<Vec<String>>,
    /// Sticks, whatever the script catches.
    pub finding: RefCell<Option<Finding>>,
    /// A mock is at work.
    answering: Cell<bool>,
    /// Numbers of parameters, by the name of the function.
    arities: Rc<BTreeMap<String, usize>>,
}

impl TestContext {
    pub fn new(test_run: TestRun, arities: Rc<BTreeMap<String, usize>>) -> Self {
        TestContext {
            test_run: RefCell::new(test_run),
            mocks: RefCell::default(),
            seen: RefCell::default(),
            printed: RefCell::default(),
            finding: RefCell::default(),
            answering: Cell::new(false),
            arities,
        }
    }

    /// The test has failed.
    pub fn doom(&self, at: Position, finding: Finding) -> Thrown {
        self.finding.borrow_mut().get_or_insert(finding.at(at));
        EvalAltResult::ErrorRuntime(Dynamic::from(Doomed), at).into()
    }

    pub fn stuck(&self, at: Position, stuck: Stuck) -> Thrown {
        match stuck {
            Stuck::Refused(text) => EvalAltResult::ErrorRuntime(text.into(), at).into(),
            Stuck::Fatal(text) => self.doom(at, Finding::new(text)),
        }
    }

    /// Does something with the run of the test. Not while a mock answers, and not after the test has failed.
    pub fn with<T>(&self, at: Position, work: impl FnOnce(&mut TestRun) -> Result<T, Stuck>) -> Result<T, Thrown> {
        if self.finding.borrow().is_some() {
            return Err(EvalAltResult::ErrorRuntime(Dynamic::from(Doomed), at).into());
        }
        if self.answering.get() {
            let finding =
                Finding::new("a mock answers its step and nothing else: runs are started and looked at in the test");
            return Err(self.doom(at, finding));
        }
        let result = work(&mut self.test_run.borrow_mut());
        result.map_err(|stuck| self.stuck(at, stuck))
    }

    /// Notes what the test was shown.
    pub fn saw(&self, at: Position, what: impl Into<String>, value: Value) {
        let seen = Seen { line: at.line().unwrap_or(0), what: what.into(), value };
        self.seen.borrow_mut().push(seen);
    }

    /// Lets everything happen that needs neither time nor the outside; when something happens by itself next.
    pub fn settle(&self, ctx: &NativeCallContext<'_>) -> Result<Option<Millis>, Thrown> {
        let at = ctx.call_position();
        loop {
            match self.with(at, TestRun::next)? {
                Next::Rests(next) => return Ok(next),
                Next::Asks(call) => {
                    self.answering.set(true);
                    let ending = self.evaluate(ctx, &call);
                    self.answering.set(false);
                    let ending = ending?;
                    self.with(at, |test_run| {
                        test_run.answer(&call, ending);
                        Ok(())
                    })?;
                }
            }
        }
    }

    /// Moves time on to that moment, and stops wherever something happens.
    pub fn advance(&self, ctx: &NativeCallContext<'_>, target: Millis) -> Result<(), Thrown> {
        let at = ctx.call_position();
        loop {
            let next = self.settle(ctx)?.filter(|next| *next < target);
            let stop = next.unwrap_or(target);
            self.with(at, |test_run| {
                test_run.set_time(stop);
                Ok(())
            })?;
            if next.is_none() {
                return self.settle(ctx).map(drop);
            }
        }
    }

    fn evaluate(&self, ctx: &NativeCallContext<'_>, call: &Call) -> Result<Ending, Thrown> {
        if self.test_run.borrow().steps().is_real(&call.name) {
            return Ok(Ending::Real);
        }
        let found = {
            let mocks = self.mocks.borrow();
            let name = &*call.name;
            let pattern = mocks.keys().filter(|key| matches(key, name)).max_by_key(|key| (*key == name, key.len()));
            pattern.map(|key| mocks[key].clone())
        };
        match found {
            Some(mock) => self.perform(ctx, call, &mock),
            None => Err(self.doom(ctx.call_position(), self.missing(call))),
        }
    }

    fn perform(&self, ctx: &NativeCallContext<'_>, call: &Call, mock: &Mock) -> Result<Ending, Thrown> {
        match mock {
            Mock::Value(value) => Ok(Ending::Ok(value.clone())),
            Mock::Fail(message) => Ok(Ending::Error(StepError::fatal(message))),
            Mock::FailTimes(times, message, _) if call.attempt <= *times => {
                Ok(Ending::Error(StepError::retry(message)))
            }
            Mock::FailTimes(_, _, then) => self.perform(ctx, call, then),
            Mock::Function(function) => {
                let parameters = self.arities.get(function.fn_name()).copied().unwrap_or(1);
                let mut args = vec![values::to_dynamic(&call.input), Dynamic::from_int(i64::from(call.attempt))];
                args.truncate(parameters.saturating_sub(function.curry().len()));
                let result = function.call_within_context::<Dynamic>(ctx, args);
                match result {
                    Ok(value) => match values::to_json(&value) {
                        Ok(value) => Ok(Ending::Ok(value)),
                        Err(why) => {
                            let text = format!("the mock of the step {:?} gives no value: {why}", call.name);
                            Err(self.doom(ctx.call_position(), Finding::new(text)))
                        }
                    },
                    Err(error) => self.threw(ctx, call, error).map(Ending::Error),
                }
            }
        }
    }

    /// What a mock throws fails the attempt; a mistake in the mock fails the test.
    fn threw(&self, ctx: &NativeCallContext<'_>, call: &Call, error: Thrown) -> Result<StepError, Thrown> {
        if let EvalAltResult::ErrorRuntime(value, _) = error.unwrap_inner() {
            if value.is::<Doomed>() {
                return Err(error);
            }
            if let Some(verdict) = value.clone().try_cast::<Verdict>() {
                return Ok(verdict.0);
            }
            let data = values::to_json(value).unwrap_or_default();
            let message = match &data {
                Value::Object(fields) => fields.get("message").and_then(Value::as_str).map(ToOwned::to_owned),
                Value::String(text) => Some(text.clone()),
                _ => None,
            };
            let message = message.unwrap_or_else(|| values::short(&data, 200));
            let error = StepError::retry(message);
            return Ok(if data.is_object() { error.data(data) } else { error });
        }
        let what = format!("the mock of the step {:?} is wrong", call.name);
        let finding = of_error(&error);
        let message = format!("{what}: {}", finding.message);
        let thrown = self.doom(ctx.call_position(), Finding::new(message).note(called(call)));
        if let Some(kept) = self.finding.borrow_mut().as_mut().filter(|_| finding.line > 0) {
            (kept.line, kept.column, kept.file) = (finding.line, finding.column, finding.file);
        }
        Err(thrown)
    }

    fn missing(&self, call: &Call) -> Finding {
        let name = &call.name;
        let module = name.rsplit_once('.').map_or(name.to_string(), |(module, _)| format!("{module}.*"));
        let mocks = self.mocks.borrow();
        let near = mocks.keys().filter(|key| strsim::normalized_damerau_levenshtein(key, name) > 0.7);
        let near = near.max_by(|a, b| {
            let near = |key: &str| strsim::normalized_damerau_levenshtein(key, name);
            near(a).total_cmp(&near(b))
        });
        let test_run = self.test_run.borrow();
        let is_there = test_run.steps().find(name).is_some();
        let mut finding = Finding::new(format!("the step {name:?} has no mock"))
            .note(called(call))
            .note(format!("give it one: mock({name:?}, |input| …) or mock({name:?}, value)"));
        if let Some(near) = near {
            finding = finding.note(format!("there is a mock of {near:?}: is that the one?"));
        }
        finding.note(match is_there {
            true => format!("or have the real one called: use_real({module:?})"),
            false => "the scripts folder has no step of that name".into(),
        })
    }
}

/// `run-1 calls it at order.rhai:20:9 with #{ … }`
fn called(call: &Call) -> String {
    let site = match &call.site {
        Some(site) if site.file.is_some() => site.to_string(),
        Some(site) => format!("{}.rhai:{site}", call.workflow),
        None => call.workflow.to_string(),
    };
    format!("{} calls it at {site} (step {}) with {}", call.run, call.step_id, values::short(&call.input, 200))
}

/// An error of the test's script as a finding.
pub fn of_error(error: &EvalAltResult) -> Finding {
    let mut finding = Finding::default();
    let mut inner = error;
    loop {
        let position = inner.position();
        if !position.is_none() {
            finding = finding.at(position);
        }
        match inner {
            EvalAltResult::ErrorInFunctionCall(_, source, deeper, _) => {
                finding.file = Some(source.clone()).filter(|source| !source.is_empty());
                inner = deeper;
            }
            EvalAltResult::ErrorInModule(path, deeper, _) => {
                finding.file = Some(path.clone());
                inner = deeper;
            }
            _ => break,
        }
    }
    finding.message = match inner {
        EvalAltResult::ErrorRuntime(value, _) => match value.clone().into_string() {
            Ok(text) => text,
            Err(_) => {
                format!("thrown: {}", values::to_json(value).map_or("a value".into(), |v| values::short(&v, 400)))
            }
        },
        EvalAltResult::ErrorTerminated(..) => "stopped: the test takes too long".into(),
        other => durhai_stdlib::words::of_step(other),
    };
    finding
}

/// What a script writes for a length of time.
pub fn duration(value: &Dynamic) -> Result<Millis, String> {
    if let Ok(seconds) = value.as_int() {
        return durhai::duration::from_seconds(seconds as f64);
    }
    if let Ok(seconds) = value.as_float() {
        return durhai::duration::from_seconds(seconds);
    }
    match value.as_immutable_string_ref() {
        Ok(text) => durhai::duration::parse(&text),
        Err(found) => Err(format!("a {found} is no duration; write it like \"250ms\", \"1h 30m\" or \"3 days\"")),
    }
}

/// A mock from what a script gives.
pub fn mock(value: &Dynamic) -> Result<Mock, String> {
    match value.clone().try_cast::<FnPtr>() {
        Some(function) => Ok(Mock::Function(function)),
        None => values::to_json(value).map(Mock::Value),
    }
}

/// An option of `start`.
pub fn option(options: &Map, key: &str) -> Option<Dynamic> {
    options.get(key).filter(|value| !value.is_unit()).cloned()
}

pub fn wait(ms: Millis) -> Duration {
    Duration::from_millis(ms)
}
