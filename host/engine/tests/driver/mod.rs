//! The smallest world: steps are a function, time jumps to the next timer, nothing is written down.
#![allow(dead_code)] // Each test binary uses its part.

use std::collections::BTreeMap;
use std::rc::Rc;

use durhai_core::event::Created;
use durhai_core::replay::{AttemptError, Command, Input, Limits, LogLine, StartChild, Verdict};
use durhai_core::{Event, EventBody, Failure, FailureKind, Millis, Replay, RunId, Value};
use durhai_engine::{Bundle, Execution, Program, Sandbox, SandboxConfig, Yield};
use serde_json::json;

pub const START: Millis = 1_700_000_000_000;

/// What a run came to.
#[derive(Default)]
pub struct Outcome {
    pub events: Vec<Event>,
    pub lines: Vec<LogLine>,
    pub verdict: Option<Verdict>,
    pub state: BTreeMap<String, Value>,
    pub status: Option<String>,
    /// Stream and value.
    pub emitted: Vec<(String, Value)>,
    /// Detached runs that were started, and children.
    pub started: Vec<StartChild>,
    /// What the successor begins with.
    pub successor: Option<Value>,
}

impl Outcome {
    pub fn result(&self) -> Result<Value, Failure> {
        match &self.verdict {
            Some(Verdict::Ended(EventBody::RunCompleted { output })) => Ok(Value::clone(output)),
            Some(Verdict::Ended(EventBody::RunFailed { error })) => Err(error.clone()),
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
    let run = RunId::new("run-1").expect("an id");
    let body = EventBody::RunCreated(Box::new(Created::new(run, "flow", program.version().clone(), input)));
    Event { seq: 1, at: START, step_id: None, site: None, body }
}

/// Runs a script to its end, then replays every prefix of its log.
pub fn run(source: &str) -> Outcome {
    run_with(&sandbox(), source, json!({ "n": 3, "items": [1, 2, 3] }))
}

pub fn run_with(sandbox: &Sandbox, source: &str, input: Value) -> Outcome {
    run_amid(sandbox, source, input, Outside::default())
}

pub fn run_amid(sandbox: &Sandbox, source: &str, input: Value, outside: Outside) -> Outcome {
    let program = compile(sandbox, source);
    let created = created(&program, input);
    let outcome = drive_with(sandbox, &program, vec![created], outside);
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

/// What scripts give.
#[track_caller]
pub fn gives(cases: &[(&str, Value)]) {
    for (script, expected) in cases {
        match run(script).result() {
            Ok(output) => assert_eq!(&output, expected, "{script}"),
            Err(failure) => panic!("{script}\n{failure}"),
        }
    }
}

/// Each script catches its error; what it caught is `kind: message`.
#[track_caller]
pub fn throws(cases: &[(&str, &str)]) {
    for (script, expected) in cases {
        let script =
            format!("let got = (); try {{ {script}; }} catch (e) {{ got = `${{e.kind}}: ${{e.message}}`; }} got");
        let caught = run(&script).result().unwrap_or_else(|failure| panic!("{script}\n{failure}"));
        let text = caught.as_str().unwrap_or_else(|| panic!("{script} threw nothing"));
        assert!(text.starts_with(expected), "{script}\n found: {text}\nwanted: {expected}");
    }
}

/// Takes a run up from its log, and turns it once.
pub fn replay(sandbox: &Sandbox, program: &Rc<Program>, log: Vec<Event>) -> Execution {
    let replay = Replay::new(log, Limits::default()).expect("a log");
    let mut execution = Execution::new(program.clone(), replay);
    execution.turn(sandbox, &|| false);
    execution
}

/// What comes from outside, beside what the script asks for.
#[derive(Default)]
pub struct Outside {
    /// Delivered when the run begins.
    pub signals: Vec<(&'static str, Value)>,
    /// The run is cancelled when it waits for the time that many times.
    pub cancel_at: Option<usize>,
}

pub fn drive(sandbox: &Sandbox, program: &Rc<Program>, events: Vec<Event>) -> Outcome {
    drive_with(sandbox, program, events, Outside::default())
}

/// Steps are done at once, time goes on when nothing else does. A hook is sent what its `metadata.send` holds, and its
/// token is taken by another run if it is `taken`; a person answers with the `answer` of the payload, if it has one; the
/// workflow `double` gives its input twice, `broken` fails, `none` is not there.
pub fn drive_with(sandbox: &Sandbox, program: &Rc<Program>, events: Vec<Event>, outside: Outside) -> Outcome {
    let mut execution = Execution::new(program.clone(), Replay::new(events.clone(), Limits::default()).expect("a log"));
    let mut at = START;
    execution.replay_mut().deliver(at, if events.len() == 1 { Input::Start } else { Input::TakeUp });
    for (name, payload) in outside.signals {
        execution.replay_mut().deliver(at, Input::Signal { name: name.into(), payload, id: None });
    }
    let mut outcome = Outcome { events, ..Outcome::default() };
    let mut idle = 0;
    loop {
        let turn = execution.turn(sandbox, &|| false);
        assert_ne!(turn, Yield::Preempted);
        let new = execution.replay_mut().take();
        outcome.lines.extend(new.lines);
        outcome.state.extend(new.state);
        outcome.emitted.extend(new.emitted.into_iter().map(|emitted| (emitted.stream.to_string(), emitted.value)));
        let (mut answers, mut inputs) = (Vec::new(), Vec::new());
        for command in new.commands {
            perform_command(&mut outcome, command, &mut answers, &mut inputs);
        }
        for event in &new.events {
            if let (EventBody::Suspended { payload, .. }, Some(step_id)) = (&event.body, &event.step_id) {
                let answer = payload.get("answer").cloned();
                inputs.extend(answer.map(|data| Input::Resume { step_id: step_id.clone(), run: None, data }));
            }
        }
        outcome.events.extend(new.events);
        if turn == Yield::Stopped {
            break;
        }
        let answered = !answers.is_empty();
        execution.replay_mut().answer(answers);
        // What it has shown was taken: it goes on.
        if turn != Yield::Full && inputs.is_empty() && !answered {
            idle += 1;
            if outside.cancel_at == Some(idle) {
                inputs.push(Input::Cancel { reason: "enough".into() });
            } else {
                let Some(wake) = execution.replay().wake_at() else { break };
                at = at.max(wake);
                inputs.push(Input::Time);
            }
        }
        for input in inputs {
            at += u64::from(!matches!(input, Input::Time)) * 10;
            execution.replay_mut().deliver(at, input);
        }
    }
    outcome.status = execution.replay().status_text().map(ToString::to_string);
    outcome.verdict = execution.replay().verdict().cloned();
    outcome
}

fn perform_command(outcome: &mut Outcome, command: Command, answers: &mut Vec<Input>, inputs: &mut Vec<Input>) {
    match command {
        Command::RunStep(step) => {
            let result = perform(&step.name, Value::clone(&step.input), step.attempt);
            inputs.push(Input::Attempt { step_id: step.step_id, attempt: step.attempt, result });
        }
        Command::OpenHook { step_id, token, info } => {
            let token = token.unwrap_or_else(|| format!("made-for-{step_id}"));
            if token == "taken" {
                let run_id = RunId::new("other").expect("an id");
                return answers.push(Input::HookConflict { step_id, token, run_id });
            }
            for payload in info["metadata"]["send"].as_array().into_iter().flatten() {
                let (step_id, payload) = (step_id.clone(), payload.clone());
                inputs.push(Input::HookPayload { step_id, token: None, keep: false, payload, id: None });
            }
            answers.push(Input::HookOpened { step_id, url: format!("http://host/hooks/{token}"), token });
        }
        Command::StartChild(child) => {
            let result = match &*child.workflow {
                "none" => Err(Failure::new(FailureKind::ChildFailed, "there is no workflow \"none\"")),
                "broken" => {
                    let cause = Failure::new(FailureKind::Thrown, "no luck").with_data(json!("no luck"));
                    let mut failure = Failure::new(FailureKind::ChildFailed, "the run of broken failed");
                    failure.cause = Some(Box::new(cause));
                    Err(failure.of_step("broken", &child.step_id, 0))
                }
                _ => Ok(json!(child.input.as_i64().unwrap_or(0) * 2)),
            };
            let (step_id, detached, run_id) = (child.step_id.clone(), child.detached, child.run_id.clone());
            outcome.started.push(child);
            match result {
                Ok(_) if detached => answers.push(Input::Started { step_id, run_id }),
                result if detached => answers.push(Input::Child { step_id, run: None, result }),
                result => inputs.push(Input::Child { step_id, run: None, result }),
            }
        }
        Command::Continue(next) => outcome.successor = Some(next.input),
        Command::CancelStep(_) | Command::CloseHook { .. } | Command::EndChild { .. } => {}
    }
}

/// The steps of the tests.
fn perform(name: &str, input: Value, attempt: u32) -> Result<Value, AttemptError> {
    match name {
        "echo" => Ok(input),
        "double" => Ok(json!(input.as_i64().unwrap_or(0) * 2)),
        "fail" => Err(AttemptError { fatal: true, data: json!({ "code": 7 }), ..AttemptError::new("it is broken") }),
        "flaky" if attempt < 3 => Err(AttemptError::new("not yet")),
        "flaky" => Ok(json!(attempt)),
        other => panic!("no step {other}"),
    }
}
