//! What a run has beside its tasks: children, a successor, a timeout, outputs.

use std::sync::Arc;

use durhai_core::replay::{Answer, BODY, Call, Input, Limits, Next, Reply};
use durhai_core::{EventBody, FailureKind, Replay, StepId, Value};

use super::program::{Machine, parse};
use super::{created, every_prefix_replays, outside, run, short};

#[test]
fn the_world_is_asked_again_for_what_it_has_not_answered() {
    let program = parse("all { child c | hook h | start d | child e }; step a");
    let (history, _) = run(&program, &["child-ok 1.1.1"]);
    for cut in 2..=history.len() {
        let mut machine = Machine::new(&program, history[..cut].to_vec());
        machine.turn();
        let was_there = machine.children.len();
        machine.replay.deliver(2_000, Input::TakeUp);
        machine.turn();
        let again: Vec<_> = machine.children[was_there..].iter().map(|child| child.run_id.as_str()).collect();
        let recorded = |id: &str| {
            history[..cut]
                .iter()
                .any(|event| matches!(&event.body, EventBody::ChildStarted { run_id, .. } if run_id.as_str() == id))
        };
        let ended = history[..cut].iter().any(|event| matches!(event.body, EventBody::ChildCompleted { .. }));
        let mut wanted: Vec<_> = ["r:1.1.1", "r:1.4.1"].into_iter().filter(|id| recorded(id)).collect();
        wanted.retain(|id| !(ended && *id == "r:1.1.1"));
        assert_eq!(again, wanted, "cut after {cut}");
        for asked in ["hook_opened 1.2.1 h", "child_started 1.3.1 d r:1.3.1"] {
            let times = machine.history.iter().filter(|event| short(event) == asked).count();
            assert_eq!(times, 1, "{asked}, cut after {cut}: {:?}", machine.history);
        }
    }
}

#[test]
fn nobody_waits_for_the_children_of_a_run_that_is_over() {
    for (text, inputs) in [
        ("all { child c | step a }", &["fatal 1.2.1"] as &[&str]),
        ("child c", &["cancel"]),
        ("child c", &["terminate"]),
        ("race { child c | sleep 10 }", &["time 1100"]),
        ("try { child c } catch { step a }", &["cancel", "cancel"]),
    ] {
        let program = parse(text);
        let mut machine = Machine::new(&program, created());
        let mut now = 1_000;
        outside(&mut machine, "start", &mut now);
        machine.turn();
        let child = machine.children[0].run_id.to_string();
        for input in inputs {
            now += 1;
            outside(&mut machine, input, &mut now);
            machine.turn();
        }
        assert!(machine.replay.is_over(), "{text}");
        assert_eq!(machine.ended_children, [child], "{text}");
    }
}

#[test]
fn a_successor_gets_what_was_not_taken() {
    let program = parse("wait a; poll b; sleep 10; again");
    let mut machine = Machine::new(&program, created());
    let mut now = 1_000;
    for input in ["start", "signal b", "once a", "signal b", "signal c", "once a", "time 2000"] {
        outside(&mut machine, input, &mut now);
        machine.turn();
    }
    let next = machine.successor.expect("it continued");
    let names: Vec<_> = next.signals.iter().map(|(name, _)| name.as_ref()).collect();
    assert_eq!((next.next.as_str(), names), ("r+2", vec!["b", "c"]));
    assert_eq!((next.chain.number, next.chain.first.as_str(), next.chain.previous.as_str()), (2, "r", "r"));
    assert_eq!(next.chain.signal_ids, ["same"]);
    // The next one counts on, and knows the id.
    let mut created = created();
    if let EventBody::RunCreated(created) = &mut created[0].body {
        created.run = next.next.clone();
        created.chain = Some(next.chain.clone());
    }
    let mut machine = Machine::new(&program, created);
    for input in ["start", "once a", "signal a", "signal b", "time 4000"] {
        outside(&mut machine, input, &mut now);
        machine.turn();
    }
    let next = machine.successor.expect("it continued");
    assert_eq!((next.next.as_str(), next.chain.previous.as_str()), ("r+3", "r+2"));
}

#[test]
fn the_timeout_of_a_run_cancels_it_and_fails_it() {
    let created = |timeout| {
        let mut created = created();
        if let EventBody::RunCreated(created) = &mut created[0].body {
            created.timeout = Some(timeout);
        }
        created
    };
    for (text, inputs, expected) in [
        (
            "step a",
            &["time 1499", "time 1500"] as &[&str],
            "cancel_requested, step_failed 1 cancelled, run_failed timeout",
        ),
        (
            "try { sleep 900 } catch { step undo }; fail",
            &["time 1500", "ok 2"],
            "cancel_requested, step_started 2 undo, step_completed 2, run_failed thrown",
        ),
        (
            "try { sleep 900 } catch { step undo }",
            &["time 1500", "time 40000"],
            "cancel_requested, step_started 2 undo, run_failed timeout",
        ),
        ("sleep 500", &["time 1600"], "cancel_requested, run_failed timeout"),
        ("sleep 400", &["time 1600"], "timer_fired 1, run_completed"),
    ] {
        let program = parse(text);
        let mut machine = Machine::new(&program, created(500));
        let mut now = 1_000;
        outside(&mut machine, "start", &mut now);
        machine.turn();
        let from = machine.history.len();
        for input in inputs {
            outside(&mut machine, input, &mut now);
            machine.turn();
        }
        let found: Vec<_> = machine.history[from..].iter().map(short).collect();
        assert_eq!(found.join(", "), expected, "{text}");
        every_prefix_replays(&program, &machine.history, text);
    }
}

#[test]
fn outputs_are_made_once_and_again_only_for_a_run_that_took_the_log_over() {
    let program = parse("show a; step x; show b; all { show c; step y | show d }; show e; sleep 5; show f");
    let inputs = ["start", "ok 1", "ok 2.1.1", "time 3000"];
    let mut now = 1_000;
    let mut machine = Machine::new(&program, created());
    for input in inputs {
        outside(&mut machine, input, &mut now);
        machine.turn();
    }
    let all = machine.shown.clone();
    assert_eq!(all.len(), 6);
    let state = machine.replay.get_state("shown").cloned();
    for cut in 1..=machine.history.len() {
        let mut replayed = Machine::new(&program, machine.history[..cut].to_vec());
        replayed.turn();
        let mut fresh = Machine::new(&program, machine.history[..cut].to_vec());
        fresh.replay.set_outputs_unwritten();
        fresh.turn();
        assert_eq!(fresh.shown, all[..fresh.shown.len()], "cut after {cut}");
        if cut == machine.history.len() {
            assert_eq!((replayed.shown.len(), fresh.shown.len()), (0, all.len()));
            assert_eq!(replayed.replay.get_state("shown"), state.as_ref());
        }
    }
    let most = machine.replay.limits().payload;
    let mut replay = Machine::new(&program, created()).replay;
    assert_eq!(replay.set_state("k", Value::from("x".repeat(most))).unwrap_err().kind, FailureKind::Limit);
    replay.set_state("k", Value::from("x".repeat(most / 2))).unwrap();
    assert_eq!(replay.set_state("l", Value::from("x".repeat(most / 2))).unwrap_err().kind, FailureKind::Limit);
    replay.set_state("k", Value::Null).unwrap();
    replay.set_state("l", Value::from("x".repeat(most / 2))).unwrap();
    assert_eq!(replay.set_state("", Value::Null).unwrap_err().kind, FailureKind::InvalidInput);
    assert_eq!(replay.set_status("x".repeat(1_001)).unwrap_err().kind, FailureKind::Limit);
}

#[test]
fn what_a_step_gives_back_is_one_value_in_the_log_and_in_the_script() {
    let step = |replay: &mut Replay, next: Next| {
        assert_eq!(next, Next::Begin);
        let call = Call::Step { name: "a".into(), input: Value::Null, options: Default::default() };
        assert_eq!(replay.call(BODY, call, Default::default()), Reply::Wait(None));
    };
    let answer = |next: Next| match next {
        Next::Resume { answer: Answer::Value(value), .. } => value,
        other => panic!("{other:?}"),
    };
    let output = Value::from("x".repeat(2 << 20));
    let text = output.as_str().unwrap().as_ptr();

    let mut live = Replay::new(created(), Limits::default()).unwrap();
    live.deliver(1_000, Input::Start);
    let next = live.next();
    step(&mut live, next);
    assert_eq!(live.next(), Next::Idle);
    let step_id = StepId::parse("1").unwrap();
    live.deliver(1_001, Input::Attempt { step_id, attempt: 1, result: Ok(output) });
    let given = answer(live.next());
    assert_eq!(given.as_str().unwrap().as_ptr(), text, "it is what the attempt gave back");
    let turn = live.take();
    let Some(EventBody::StepCompleted { output }) = turn.events.last().map(|event| &event.body) else {
        panic!("{turn:?}")
    };
    assert!(Arc::ptr_eq(output, &given));

    // A replay gives the script what was read, and keeps none of it.
    let log: Vec<_> = created().into_iter().chain(turn.events.iter().cloned()).collect();
    drop((turn, given));
    let mut again = Replay::new(log, Limits::default()).unwrap();
    let next = again.next();
    step(&mut again, next);
    let given = answer(again.next());
    assert_eq!((given.as_str().unwrap().as_ptr(), Arc::strong_count(&given)), (text, 1));

    // The output of the run goes to its last event as it is.
    let output = Value::from("y".repeat(2 << 20));
    let text = output.as_str().unwrap().as_ptr();
    again.ended(BODY, Ok(output));
    assert_eq!(again.next(), Next::Stop);
    let turn = again.take();
    let Some(EventBody::RunCompleted { output }) = turn.events.last().map(|event| &event.body) else {
        panic!("{turn:?}")
    };
    assert_eq!(output.as_str().unwrap().as_ptr(), text);
}
