//! The smallest world: steps are a function, time jumps to the next timer, nothing is written down.
#![allow(dead_code)] // Each test binary uses its part.

use std::collections::BTreeMap;
use std::rc::Rc;

use durhai_core::event::Created;
use durhai_core::replay::{AttemptError, Command, Input, Limits, LogLine, Verdict};
use durhai_core::{Body, Event, Failure, Millis, Replay, RunId, Value};
use durhai_engine::{Bundle, Execution, Program, Sandbox, SandboxConfig, Turn};
use serde_json::json;

pub const START: Millis = 1_700_000_000_000;

/// What a run came to.
pub struct Outcome {
    pub events: Vec<Event>,
    pub lines: Vec<LogLine>,
    pub verdict: Option<Verdict>,
}

impl Outcome {
    pub fn result(&self) -> Result<Value, Failure> {
        match &self.verdict {
            Some(Verdict::Ended(Body::RunCompleted { output })) => Ok(serde_json::to_value(output).expect("JSON")),
            Some(Verdict::Ended(Body::RunFailed { error })) => Err(error.clone()),
            other => panic!("no result: {other:?}"),
        }
    }
}

pub fn sandbox() -> Sandbox {
    Sandbox::new(&SandboxConfig::default())
}

pub fn compile(sandbox: &Sandbox, source: &str) -> Rc<Program> {
    let bundle = Bundle::gather("flow", source, &mut |_| None).unwrap_or_else(|wrong| panic!("{}", wrong[0]));
    Rc::new(sandbox.compile(&bundle).unwrap_or_else(|wrong| panic!("{}", wrong[0])))
}

pub fn created(program: &Program, input: Value) -> Event {
    let body = Body::RunCreated(Box::new(Created {
        run: RunId::new("run-1").expect("an id"),
        workflow: "flow".into(),
        version: program.version().clone(),
        input: serde_json::from_value(input).expect("a value"),
        tags: BTreeMap::new(),
        parent: None,
        seed: None,
        origin: None,
    }));
    Event { seq: 1, at: START, step_id: None, site: None, body }
}

/// Runs a script to its end, then replays every prefix of its log.
pub fn run(source: &str) -> Outcome {
    run_with(&sandbox(), source, json!({ "n": 3, "items": [1, 2, 3] }))
}

pub fn run_with(sandbox: &Sandbox, source: &str, input: Value) -> Outcome {
    let program = compile(sandbox, source);
    let created = created(&program, input);
    let outcome = drive(sandbox, &program, vec![created]);
    for length in 1..=outcome.events.len() {
        let prefix = outcome.events[..length].to_vec();
        let again = replay(sandbox, &program, prefix);
        assert!(
            !matches!(again.replay().verdict(), Some(Verdict::Diverged(_))),
            "the first {length} events diverge: {:?}\n{source}",
            again.replay().verdict()
        );
    }
    outcome
}

/// Takes a run up from its log, and turns it once.
pub fn replay(sandbox: &Sandbox, program: &Rc<Program>, log: Vec<Event>) -> Execution {
    let replay = Replay::new(log, Limits::default()).expect("a log");
    let mut execution = Execution::new(program.clone(), replay);
    execution.turn(sandbox, &|| false);
    execution
}

pub fn drive(sandbox: &Sandbox, program: &Rc<Program>, mut events: Vec<Event>) -> Outcome {
    let mut execution = Execution::new(program.clone(), Replay::new(events.clone(), Limits::default()).expect("a log"));
    let mut lines = Vec::new();
    let mut at = START;
    execution.replay_mut().deliver(at, if events.len() == 1 { Input::Start } else { Input::TakeUp });
    loop {
        let turn = execution.turn(sandbox, &|| false);
        assert_ne!(turn, Turn::Preempted);
        let new = execution.replay_mut().take();
        events.extend(new.events);
        lines.extend(new.lines);
        if turn == Turn::Stopped {
            break;
        }
        let mut moved = false;
        for command in new.commands {
            if let Command::RunStep(step) = command {
                at += 10;
                let input = serde_json::to_value(&step.input).expect("JSON");
                let result = perform(&step.name, input, step.attempt);
                let result = result.map(|value| serde_json::from_value(value).expect("a value"));
                execution
                    .replay_mut()
                    .deliver(at, Input::Attempt { step_id: step.step_id, attempt: step.attempt, result });
                moved = true;
            }
        }
        if !moved {
            let Some(wake) = execution.replay().wake_at() else { break };
            at = at.max(wake);
            execution.replay_mut().deliver(at, Input::Time);
        }
    }
    Outcome { events, lines, verdict: execution.replay().verdict().cloned() }
}

/// The steps of the tests.
fn perform(name: &str, input: Value, attempt: u32) -> Result<Value, AttemptError> {
    match name {
        "echo" => Ok(input),
        "double" => Ok(json!(input.as_i64().unwrap_or(0) * 2)),
        "fail" => {
            let data = serde_json::from_value(json!({ "code": 7 })).expect("a value");
            Err(AttemptError { fatal: true, data, ..AttemptError::new("it is broken") })
        }
        "flaky" if attempt < 3 => Err(AttemptError::new("not yet")),
        "flaky" => Ok(json!(attempt)),
        other => panic!("no step {other}"),
    }
}
