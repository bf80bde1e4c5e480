//! Logs of a workflow that makes steps one after the other, made without a script, an engine or a world.

use std::sync::Arc;

use durhai_core::event::Created;
use durhai_core::replay::{Answer, BODY, Call, Command, Input, Limits, Next, Reply};
use durhai_core::{Event, EventBody, Millis, Replay, RunId, Site, StepOptions, Value, Version};
use serde_json::json;

pub const START: Millis = 1_700_000_000_000;

/// The first event of a run that makes so many steps.
pub fn created(steps: usize) -> Event {
    let run = RunId::generate(START, [7; 10]);
    let created = Created::new(run, "sequence", Version::of([("main", "")]), json!(steps));
    let body = EventBody::RunCreated(Box::new(created));
    Event { seq: 1, at: START, step_id: None, site: None, body }
}

/// The whole log of such a run: the step `add` is given 0, then what it gave back, one more each time.
pub fn of(steps: usize) -> Vec<Event> {
    let mut events = vec![created(steps)];
    let mut replay = Replay::new(events.clone(), Limits::default()).expect("a log");
    replay.deliver(START, Input::Start);
    let mut at = START;
    while drive(&mut replay, steps) {
        let turn = replay.take();
        events.extend(turn.events);
        for command in turn.commands {
            let Command::RunStep(step) = command else { continue };
            at += 1;
            let result = Ok(json!(step.input.as_i64().map(|x| x + 1)));
            replay.deliver(at, Input::Attempt { step_id: step.step_id, attempt: step.attempt, result });
        }
    }
    events.extend(replay.take().events);
    assert_eq!(events.len(), 2 * steps + 3, "created, started, two for each step, completed");
    events
}

/// Stands for the fiber of the body: asks for the next step when the one before has come to a value. `false` once the
/// run is over.
pub fn drive(replay: &mut Replay, steps: usize) -> bool {
    let name: Arc<str> = "add".into();
    loop {
        let value = match replay.next() {
            Next::Begin => json!(0),
            Next::Resume { answer: Answer::Value(value), .. } => Arc::unwrap_or_clone(value),
            Next::Idle => return true,
            Next::Stop => return false,
            other => panic!("steps in sequence never lead to {other:?}"),
        };
        if value == steps {
            replay.ended(BODY, Ok(value));
        } else {
            let reply = step(replay, name.clone(), value);
            assert_eq!(reply, Reply::Wait(None));
        }
    }
}

fn step(replay: &mut Replay, name: Arc<str>, input: Value) -> Reply {
    let site = Site { file: None, line: 3, column: 9 };
    replay.call(BODY, Call::Step { name, input, options: StepOptions::default() }, site)
}
