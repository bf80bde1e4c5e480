//! Replay by data: a toy program, what happens outside, and the events that must come of it.

mod program;

use durhai_core::event::Created;
use durhai_core::replay::{AttemptError, Input};
use durhai_core::{Body, Event, Failure, Kind, RunId, Status, StepId, Value, Version};
use program::{Machine, Op, parse};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

fn created() -> Vec<Event> {
    let created = Created::new(RunId::new("r").unwrap(), "toy", Version::of([]), Value::Null);
    vec![Event { seq: 1, at: 1_000, step_id: None, site: None, body: Body::RunCreated(Box::new(created)) }]
}

/// An event in a word or two.
fn short(event: &Event) -> String {
    let id = event.step_id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
    let more = match &event.body {
        Body::StepStarted { name, attempt, .. } => format!(" {name}{}", "'".repeat(*attempt as usize - 1)),
        Body::StepFailed { error } | Body::RunFailed { error } | Body::ChildFailed { error } => {
            format!(" {}", error.kind)
        }
        Body::HookOpened { token, .. } | Body::HookConflict { token, .. } => format!(" {token}"),
        Body::ChildStarted { name, run_id, .. } => format!(" {name} {run_id}"),
        Body::RunContinued { next } => format!(" {next}"),
        Body::SignalReceived { name, .. } => format!(" {name}"),
        _ => String::new(),
    };
    format!("{}{id}{more}", event.body.name())
}

/// Does one thing outside: `ok 4`, `err 4`, `fatal 4`, `time 1500`, `signal go`, `cancel`, `terminate`, `takeup`.
fn outside(machine: &mut Machine, what: &str, now: &mut u64) {
    let (verb, arg) = what.split_once(' ').unwrap_or((what, ""));
    let input = match verb {
        "start" => Input::Start,
        "takeup" => Input::TakeUp,
        "ok" | "err" | "fatal" => {
            let at = machine.running.iter().position(|step| step.step_id.as_str() == arg);
            let step = machine.running.remove(at.unwrap_or_else(|| panic!("step {arg} does not run")));
            let result = match verb {
                "ok" => Ok(Value::from("fine")),
                _ => Err(AttemptError { fatal: verb == "fatal", ..AttemptError::new("no luck") }),
            };
            Input::Attempt { step_id: step.step_id, attempt: step.attempt, result }
        }
        "time" => {
            *now = arg.parse().unwrap();
            Input::Time
        }
        "signal" => Input::Signal { name: arg.into(), payload: Value::from(1), id: None },
        "once" => Input::Signal { name: arg.into(), payload: Value::from(1), id: Some("same".into()) },
        "payload" | "payload-once" => Input::HookPayload {
            step_id: StepId::parse(arg).unwrap(),
            payload: Value::from(1),
            id: (verb == "payload-once").then(|| "same".into()),
        },
        "answer" => Input::Resume { step_id: StepId::parse(arg).unwrap(), data: Value::from("yes") },
        "child-ok" => Input::Child { step_id: StepId::parse(arg).unwrap(), result: Ok(Value::from(2)) },
        "child-err" => Input::Child {
            step_id: StepId::parse(arg).unwrap(),
            result: Err(Failure::new(Kind::ChildFailed, "it failed")),
        },
        "cancel" => Input::Cancel { reason: "asked".into() },
        "terminate" => Input::Terminate { reason: "now".into() },
        other => panic!("{other}"),
    };
    machine.replay.deliver(*now, input);
}

/// Runs `program` with what happens outside; the events after `run_created`, one a line.
fn run(program: &[Op], inputs: &[&str]) -> (Vec<Event>, Status) {
    let mut machine = Machine::new(program, created());
    let mut now = 1_000;
    outside(&mut machine, "start", &mut now);
    machine.turn();
    for input in inputs {
        now += 1;
        outside(&mut machine, input, &mut now);
        machine.turn();
        assert_eq!(machine.diverged(), None);
    }
    (machine.history.clone(), machine.replay.status())
}

/// Every prefix of a log replays: nothing diverges, and what is asked for at its end is what was asked for then.
fn every_prefix_replays(program: &[Op], history: &[Event], what: &str) {
    for cut in 1..=history.len() {
        let mut machine = Machine::new(program, history[..cut].to_vec());
        machine.answers = false;
        let new = machine.turn();
        assert_eq!(machine.diverged(), None, "{what}, cut after {cut}");
        let next = history[cut..].iter().take_while(|event| event.body.is_asked());
        let (ends, next): (Vec<_>, Vec<_>) = next.partition(|event| event.body.is_terminal());
        let (new_ends, new): (Vec<_>, Vec<_>) = new.iter().partition(|event| event.body.is_terminal());
        let words = |events: &[&Event]| events.iter().map(|event| short(event)).collect::<Vec<_>>();
        assert_eq!(words(&new), words(&next), "{what}, cut after {cut}");
        // An end may also come from outside (an operator, the grace period); the script's own is the recorded one.
        if !new_ends.is_empty() {
            assert_eq!(words(&new_ends), words(&ends), "{what}, cut after {cut}");
        }
    }
}

#[test]
fn programs_make_these_logs() {
    let cases: &[(&str, &[&str], &str)] = &[
        (
            "step a; step b",
            &["ok 1", "ok 2"],
            "run_started, step_started 1 a, step_completed 1, step_started 2 b, step_completed 2, run_completed",
        ),
        (
            "step a",
            &["err 1", "time 1200", "ok 1"],
            "run_started, step_started 1 a, step_retrying 1, step_started 1 a', step_completed 1, run_completed",
        ),
        (
            "step a",
            &["err 1", "time 1200", "err 1"],
            "run_started, step_started 1 a, step_retrying 1, step_started 1 a', step_failed 1 step_failed, run_failed step_failed",
        ),
        (
            "try { step a } catch { step b }",
            &["fatal 1", "ok 2"],
            "run_started, step_started 1 a, step_failed 1 step_failed, step_started 2 b, step_completed 2, run_completed",
        ),
        (
            "sleep 500; sleep 0",
            &["time 1400", "time 1500"],
            "run_started, timer_started 1, timer_fired 1, run_completed",
        ),
        (
            "all { step a; step b | step c }",
            &["ok 1.2.1", "ok 1.1.1", "ok 1.1.2"],
            "run_started, step_started 1.1.1 a, step_started 1.2.1 c, step_completed 1.2.1, step_completed 1.1.1, \
          step_started 1.1.2 b, step_completed 1.1.2, run_completed",
        ),
        // Two at a time: the third begins when one of the first is done.
        (
            "two { step a | step b | step c }",
            &["ok 1.2.1", "ok 1.1.1", "ok 1.3.1"],
            "run_started, step_started 1.1.1 a, step_started 1.2.1 b, step_completed 1.2.1, step_started 1.3.1 c, \
          step_completed 1.1.1, step_completed 1.3.1, run_completed",
        ),
        // The first failure decides at once; the sibling is cancelled, its clean-up goes on beside.
        (
            "try { all { step a | try { step b } catch { step undo } } } catch { step after }",
            &["fatal 1.1.1", "ok 2", "ok 1.2.2"],
            "run_started, step_started 1.1.1 a, step_started 1.2.1 b, step_failed 1.1.1 step_failed, \
          step_failed 1.2.1 cancelled, step_started 2 after, step_started 1.2.2 undo, step_completed 2, \
          step_completed 1.2.2, run_completed",
        ),
        (
            "settle { step a | fail }; step b",
            &["ok 1.1.1", "ok 2"],
            "run_started, step_started 1.1.1 a, step_completed 1.1.1, step_started 2 b, step_completed 2, run_completed",
        ),
        (
            "race { step a | sleep 100 }; step b",
            &["time 1100", "ok 2"],
            "run_started, step_started 1.1.1 a, timer_started 1.2.1, timer_fired 1.2.1, step_failed 1.1.1 cancelled, \
          step_started 2 b, step_completed 2, run_completed",
        ),
        (
            "try { timeout 100 { step a } } catch { step late }",
            &["time 1100", "ok 2"],
            "run_started, timer_started 1, step_started 1.1.1 a, timer_fired 1, step_failed 1.1.1 cancelled, \
          step_started 2 late, step_completed 2, run_completed",
        ),
        (
            "timeout 100 { step a }; step b",
            &["ok 1.1.1", "time 1200", "ok 2"],
            "run_started, timer_started 1, step_started 1.1.1 a, step_completed 1.1.1, step_started 2 b, \
          step_completed 2, run_completed",
        ),
        (
            "spawn { step a }; step b; join 0",
            &["ok 2", "ok 1.1.1"],
            "run_started, step_started 2 b, step_started 1.1.1 a, step_completed 2, step_completed 1.1.1, run_completed",
        ),
        (
            "spawn { step a }; step b",
            &["ok 2"],
            "run_started, step_started 2 b, step_started 1.1.1 a, step_completed 2, step_failed 1.1.1 cancelled, run_completed",
        ),
        ("spawn { fail }; step b", &["ok 2"], "run_started, step_started 2 b, step_completed 2, run_failed thrown"),
        (
            "spawn { step a }; step b; cancel 0; try { join 0 } catch { step c }",
            &["ok 2", "ok 3"],
            "run_started, step_started 2 b, step_started 1.1.1 a, step_completed 2, step_failed 1.1.1 cancelled, \
          step_started 3 c, step_completed 3, run_completed",
        ),
        (
            "spawn { step a }; cancel 0; step b",
            &["ok 2"],
            "run_started, step_started 2 b, step_completed 2, run_completed",
        ),
        // A signal that came before anyone waited is kept; a pending sleep does not delay it.
        (
            "sleep 100; wait go; wait go",
            &["signal go", "time 1100", "signal go"],
            "run_started, timer_started 1, signal_received go, timer_fired 1, signal_received 3 go, run_completed",
        ),
        (
            "wait go; step a",
            &["once go", "once go", "ok 2"],
            "run_started, signal_received 1 go, step_started 2 a, step_completed 2, run_completed",
        ),
        (
            "waitfor go 100; step a",
            &["time 1100", "ok 2"],
            "run_started, timer_started 1, timer_fired 1, step_started 2 a, step_completed 2, run_completed",
        ),
        (
            "waitfor go 100; step a",
            &["signal go", "time 1200", "ok 2"],
            "run_started, timer_started 1, signal_received 1 go, step_started 2 a, step_completed 2, run_completed",
        ),
        // Cancelled once: the clean-up may call steps.
        (
            "try { step a } catch { step undo }; fail",
            &["cancel", "ok 2"],
            "run_started, step_started 1 a, cancel_requested, step_failed 1 cancelled, step_started 2 undo, \
          step_completed 2, run_failed thrown",
        ),
        (
            "all { step a | sleep 50 }",
            &["cancel"],
            "run_started, step_started 1.1.1 a, timer_started 1.2.1, cancel_requested, step_failed 1.1.1 cancelled, run_cancelled",
        ),
        (
            "try { step a } catch { step undo }",
            &["cancel", "cancel"],
            "run_started, step_started 1 a, cancel_requested, step_failed 1 cancelled, step_started 2 undo, run_cancelled",
        ),
        ("step a", &["terminate"], "run_started, step_started 1 a, run_failed terminated"),
        // Clean-ups beside the end of the body have 30 s.
        (
            "race { step f | try { step a } catch { step undo } }",
            &["fatal 1.1.1", "time 20000", "time 31002"],
            "run_started, step_started 1.1.1 f, step_started 1.2.1 a, step_failed 1.1.1 step_failed, step_failed 1.2.1 cancelled, step_started 1.2.2 undo, run_failed step_failed",
        ),
        // A run that is cancelled has as long.
        (
            "try { step a } catch { step undo }",
            &["cancel", "time 20000", "time 31001"],
            "run_started, step_started 1 a, cancel_requested, step_failed 1 cancelled, step_started 2 undo, run_cancelled",
        ),
        (
            "hook h; hookwait 0; hookwait 0; hookclose 0; hookwait 0; step a",
            &["payload 1", "payload 1", "payload 1", "ok 5"],
            "run_started, hook_opened 1 h, hook_received 1, hook_received 1, hook_closed 1, step_started 5 a, \
          step_completed 5, run_completed",
        ),
        // What came before anyone waited is kept, the same id comes once, and a closed hook takes nothing.
        (
            "hook _; step a; hookwait 0; hookclose 0; step b",
            &["payload-once 1", "payload-once 1", "ok 2", "payload 1", "ok 4"],
            "run_started, hook_opened 1 made-for-1, step_started 2 a, hook_received 1, step_completed 2, hook_closed 1, \
          step_started 4 b, step_completed 4, run_completed",
        ),
        (
            "try { hook taken } catch { step a }",
            &["ok 2"],
            "run_started, hook_conflict 1 taken, step_started 2 a, step_completed 2, run_completed",
        ),
        // Closing wakes who waits; the token can be opened again.
        (
            "hook h; all { step b; hookclose 0 | hookwait 0; sleep 1 }; hook h",
            &["ok 2.1.1", "time 1100"],
            "run_started, hook_opened 1 h, step_started 2.1.1 b, step_completed 2.1.1, hook_closed 1, \
          timer_started 2.2.2, timer_fired 2.2.2, hook_opened 3 h, run_completed",
        ),
        // Nobody hears the answer for a branch that lost within the turn.
        ("race { fail | hook h }", &[], "run_started, run_failed thrown"),
        (
            "all { ask left 0 | ask right 0 }; step a",
            &["answer 1.2.1", "answer 1.2.1", "answer 1.1.1", "ok 2"],
            "run_started, suspended 1.1.1, suspended 1.2.1, resumed 1.2.1, resumed 1.1.1, step_started 2 a, \
          step_completed 2, run_completed",
        ),
        (
            "ask left 100; ask right 100",
            &["time 1100", "answer 1", "answer 2", "time 1300"],
            "run_started, suspended 1, timer_fired 1, suspended 2, resumed 2, run_completed",
        ),
        (
            "try { ask left 0 } catch { step a }; fail",
            &["cancel", "answer 1", "ok 2"],
            "run_started, suspended 1, cancel_requested, step_started 2 a, step_completed 2, run_failed thrown",
        ),
        (
            "child c; child d",
            &["child-ok 1", "child-err 2"],
            "run_started, child_started 1 c r:1, child_completed 1, child_started 2 d r:2, child_failed 2 child_failed, \
          run_failed child_failed",
        ),
        (
            "race { child c | step a }",
            &["ok 1.2.1", "child-ok 1.1.1"],
            "run_started, child_started 1.1.1 c r:1.1.1, step_started 1.2.1 a, step_completed 1.2.1, \
          child_failed 1.1.1 cancelled, run_completed",
        ),
        (
            "try { child c } catch { step a }",
            &["cancel", "child-ok 1", "ok 2"],
            "run_started, child_started 1 c r:1, cancel_requested, child_failed 1 cancelled, step_started 2 a, \
          step_completed 2, run_completed",
        ),
        (
            "start c; try { start nothing } catch { step a }",
            &["ok 3"],
            "run_started, child_started 1 c r:1, child_failed 2 child_failed, step_started 3 a, step_completed 3, run_completed",
        ),
        ("step a; again", &["ok 1"], "run_started, step_started 1 a, step_completed 1, run_continued r+2"),
        // What is open may clean up before the successor begins.
        (
            "spawn { try { step a } catch { step undo } }; step b; again",
            &["ok 2", "ok 1.1.2"],
            "run_started, step_started 2 b, step_started 1.1.1 a, step_completed 2, step_failed 1.1.1 cancelled, \
          step_started 1.1.2 undo, step_completed 1.1.2, run_continued r+2",
        ),
        ("all { again | sleep 5 }", &[], "run_started, run_failed invalid_input"),
        ("again; step never", &[], "run_started, run_continued r+2"),
        ("show a; step b; show c", &["ok 1"], "run_started, step_started 1 b, step_completed 1, run_completed"),
        ("spawn { step a; join 0 }; join 0", &[], "run_started, step_started 1.1.1 a"),
        ("wait x", &["signal y"], "run_started, signal_received y"),
    ];
    for (text, inputs, expected) in cases {
        let program = parse(text);
        let (history, _) = run(&program, inputs);
        let found: Vec<_> = history[1..].iter().map(short).collect();
        let expected: Vec<_> = expected.split(',').map(str::trim).collect();
        assert_eq!(found, expected, "\nprogram {text}");
        every_prefix_replays(&program, &history, text);
    }
}

#[test]
fn a_crash_repeats_what_was_under_way_but_not_what_may_run_once() {
    let program = parse("all { step a | once b | step c }");
    let (history, _) = run(&program, &["err 1.3.1"]);
    let mut machine = Machine::new(&program, history);
    machine.turn();
    assert!(machine.running.is_empty(), "replay starts nothing");
    machine.replay.deliver(2_000, Input::TakeUp);
    let events: Vec<_> = machine.turn().iter().map(short).collect();
    assert_eq!(
        events,
        ["step_started 1.1.1 a'", "step_failed 1.2.1 interrupted", "run_failed interrupted"]
            .map(String::from)
            .into_iter()
            .take(2)
            .chain([
                "step_failed 1.1.1 cancelled".into(),
                "step_failed 1.3.1 cancelled".into(),
                "run_failed interrupted".into()
            ])
            .collect::<Vec<_>>()
    );
}

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
                .any(|event| matches!(&event.body, Body::ChildStarted { run_id, .. } if run_id.as_str() == id))
        };
        let ended = history[..cut].iter().any(|event| matches!(event.body, Body::ChildCompleted { .. }));
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
    if let Body::RunCreated(created) = &mut created[0].body {
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
        if let Body::RunCreated(created) = &mut created[0].body {
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
        fresh.replay.set_fresh();
        fresh.turn();
        assert_eq!(fresh.shown, all[..fresh.shown.len()], "cut after {cut}");
        if cut == machine.history.len() {
            assert_eq!((replayed.shown.len(), fresh.shown.len()), (0, all.len()));
            assert_eq!(replayed.replay.get_state("shown"), state.as_ref());
        }
    }
    let most = machine.replay.limits().payload;
    let mut replay = Machine::new(&program, created()).replay;
    assert_eq!(replay.set_state("k", Value::from("x".repeat(most))).unwrap_err().kind, Kind::Limit);
    replay.set_state("k", Value::from("x".repeat(most / 2))).unwrap();
    assert_eq!(replay.set_state("l", Value::from("x".repeat(most / 2))).unwrap_err().kind, Kind::Limit);
    replay.set_state("k", Value::Null).unwrap();
    replay.set_state("l", Value::from("x".repeat(most / 2))).unwrap();
    assert_eq!(replay.set_state("", Value::Null).unwrap_err().kind, Kind::InvalidInput);
    assert_eq!(replay.set_status("x".repeat(1_001)).unwrap_err().kind, Kind::Limit);
}

#[test]
fn tasks_that_wait_for_each_other_fail_the_run() {
    // The body joins a task that waits for the body's other task, which joins the first.
    let (history, status) = run(&parse("spawn { spawn { wait x }; cancel 0; join 0 }; join 0"), &[]);
    assert_eq!(status, Status::Failed, "{history:?}");
}

#[test]
fn edits_that_do_not_fit_the_log_diverge() {
    let cases: &[(&str, &[&str], &str, &str)] = &[
        ("step a; step b", &["ok 1"], "step x; step b", "another step is asked for"),
        ("step a; step b", &["ok 1"], "sleep 5; step b", "another kind of call"),
        ("step a; step b", &["ok 1"], "step b", "the script makes a call|another step"),
        ("step a; step b", &["ok 1"], "wait x", "does not make"),
        ("step a; step b; step c", &["ok 1", "ok 2"], "step a", "the end of the script|does not make"),
        ("all { step a | step b }", &["ok 1.1.1"], "all { step a | step x }", "another step"),
        ("all { step a | step b }", &["ok 1.1.1"], "all { step a }", "does not make|does not have"),
        ("wait x; step a", &["signal x"], "wait y; step a", "does not make"),
        ("step a", &["ok 1"], "step a; step b", "does not have"),
        ("hook h; step a", &[], "hook i; step a", "another token"),
        ("hook h; step a", &[], "step a", "does not have|did not make"),
        ("step a", &[], "hook h", "does not make"),
        ("child c", &[], "child d", "another workflow"),
        ("child c", &["child-ok 1"], "start c", "does not make"),
        ("start c; step a", &[], "start d; step a", "another workflow"),
        ("start c; step a", &[], "hook h; step a", "another kind"),
        ("ask left 0", &["answer 1"], "step a", "another kind"),
        ("hook h; hookclose 0; step a", &[], "hook h; step a", "does not have|does not make"),
        ("step a; again", &["ok 1"], "step a", "another kind"),
    ];
    for (before, inputs, after, message) in cases {
        let (history, _) = run(&parse(before), inputs);
        let mut machine = Machine::new(&parse(after), history);
        let new = machine.turn();
        let found = machine.diverged().unwrap_or_else(|| panic!("{before} -> {after} fits, with {new:?}"));
        assert!(message.split('|').any(|message| found.contains(message)), "{before} -> {after}: {found}");
        assert!(new.is_empty(), "{before} -> {after} writes nothing: {new:?}");
    }
    for (before, inputs, after) in [
        ("step a; step b", &["ok 1"] as &[&str], "step a; step b; step c"),
        ("sleep 100; step a", &[], "sleep 900; step a"),
        ("step a; wait x", &["ok 1"], "step a; wait y"),
    ] {
        let (history, _) = run(&parse(before), inputs);
        let mut machine = Machine::new(&parse(after), history);
        machine.turn();
        assert_eq!(machine.diverged(), None, "{before} -> {after}");
    }
}

#[test]
fn broken_logs_are_told() {
    let (log, _) = run(&parse("step a; sleep 100; step b"), &["err 1", "time 1200", "ok 1", "time 1400", "ok 3"]);
    let renumber = |events: Vec<Event>| -> Vec<Event> {
        events.into_iter().enumerate().map(|(i, event)| Event { seq: i as u64 + 1, ..event }).collect()
    };
    let without = |seq: usize| {
        let mut log = log.clone();
        log.remove(seq - 1);
        renumber(log)
    };
    let twice = |seq: usize| {
        let mut log = log.clone();
        log.insert(seq, log[seq - 1].clone());
        renumber(log)
    };
    let mut swapped = log.clone();
    swapped.swap(2, 5);
    let mut gap = log.clone();
    gap.remove(3);
    let mut early = log.clone();
    early[4].at = 1;
    let mut after = log.clone();
    after.push(Event { seq: log.len() as u64 + 1, at: 9_000, body: Body::RunStarted, ..log[1].clone() });
    let cases: Vec<(&str, Vec<Event>, &str)> = vec![
        ("nothing", vec![], "empty"),
        ("no beginning", renumber(log[1..].to_vec()), "begins with run_created"),
        ("no start", without(2), "before run_started"),
        ("step not started", without(3), "was not opened"),
        ("step started twice", twice(3), "follows attempt"),
        ("no retry", without(5), "failed before"),
        ("completed twice", twice(6), "closed already"),
        ("timer not started", without(7), "was not opened"),
        ("fired twice", twice(8), "closed already"),
        ("order", renumber(swapped), "was not opened"),
        ("a gap", gap, "event 4 is missing"),
        ("time goes back", early, "before that of the event in front"),
        ("after the end", after, "has ended"),
    ];
    for (name, log, message) in cases {
        match durhai_core::Replay::new(log, Default::default()) {
            Err(bad) => assert!(bad.to_string().contains(message), "{name}: {bad}"),
            Ok(_) => panic!("{name} is taken"),
        }
    }
}

/// Programs and worlds at random: whatever happens, every prefix replays.
#[test]
fn random_runs_replay_from_everywhere() {
    for seed in 0..400 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let text = random_block(&mut rng, 3);
        let program = parse(&text);
        let mut machine = Machine::new(&program, created());
        let mut now = 1_000;
        outside(&mut machine, "start", &mut now);
        machine.turn();
        for _ in 0..60 {
            if machine.replay.is_over() {
                break;
            }
            now += u64::from(rng.next_u32() % 50);
            let rng_pick = rng.next_u32();
            let open = |kind: &str| {
                let waits = machine.replay.waiting_for();
                let ids: Vec<_> = waits.into_iter().filter(|wait| wait.kind == kind).collect();
                Some(ids.get(rng_pick as usize % ids.len().max(1))?.clone())
            };
            let what = match rng.next_u32() % 14 {
                10 if open("child").is_some() => format!("child-ok {}", open("child").unwrap().step_id.unwrap()),
                11 if open("child").is_some() => format!("child-err {}", open("child").unwrap().step_id.unwrap()),
                12 if open("suspend").is_some() => format!("answer {}", open("suspend").unwrap().step_id.unwrap()),
                13 if open("hook").is_some() => {
                    let token = open("hook").unwrap().name;
                    let opened = machine.history.iter().rev().find(|event| match &event.body {
                        Body::HookOpened { token: found, .. } => Some(found.as_str()) == token.as_deref(),
                        _ => false,
                    });
                    format!("payload {}", opened.unwrap().step_id.clone().unwrap())
                }
                0..=5 if !machine.running.is_empty() => {
                    let step = &machine.running[rng.next_u32() as usize % machine.running.len()];
                    let verb = ["ok", "ok", "ok", "err", "fatal"][rng.next_u32() as usize % 5];
                    format!("{verb} {}", step.step_id)
                }
                0..=7 => format!("time {}", machine.replay.wake_at().unwrap_or(now).max(now)),
                8 => format!("signal {}", ["x", "y"][rng.next_u32() as usize % 2]),
                _ if rng.next_u32() % 8 == 0 => "cancel".into(),
                _ => "signal x".into(),
            };
            outside(&mut machine, &what, &mut now);
            machine.turn();
            assert_eq!(machine.diverged(), None, "seed {seed}: {text}");
        }
        every_prefix_replays(&program, &machine.history, &format!("seed {seed}: {text}"));
    }
}

fn random_block(rng: &mut ChaCha8Rng, depth: u32) -> String {
    let ops: Vec<_> = (0..1 + rng.next_u32() % 3).map(|_| random_op(rng, depth)).collect();
    ops.join("; ")
}

fn random_op(rng: &mut ChaCha8Rng, depth: u32) -> String {
    let plain = |rng: &mut ChaCha8Rng| match rng.next_u32() % 14 {
        7 => format!("child {}", ["c", "d"][rng.next_u32() as usize % 2]),
        8 => format!("try {{ start {} }} catch {{ step a }}", ["c", "no"][rng.next_u32() as usize % 2]),
        9 => format!("ask l {}", rng.next_u32() % 200),
        10 => "ask l 0".into(),
        11 => format!("hook {}; hookwait 0; hookclose 0", ["_", "h"][rng.next_u32() as usize % 2]),
        12 => "try { hook taken } catch { show t }".into(),
        0..=3 => format!("step {}", ["a", "b", "c"][rng.next_u32() as usize % 3]),
        4 => format!("sleep {}", rng.next_u32() % 200),
        5 => "wait x".into(),
        6 => format!("waitfor y {}", rng.next_u32() % 200),
        _ => "poll x".into(),
    };
    if depth == 0 {
        return plain(rng);
    }
    let branches = |rng: &mut ChaCha8Rng| -> String {
        (0..1 + rng.next_u32() % 3).map(|_| random_block(rng, depth - 1)).collect::<Vec<_>>().join(" | ")
    };
    match rng.next_u32() % 12 {
        0..=4 => plain(rng),
        5 => format!("all {{ {} }}", branches(rng)),
        6 => format!("two {{ {} }}", branches(rng)),
        7 => format!("race {{ {} }}", branches(rng)),
        8 => format!("settle {{ {} }}", branches(rng)),
        9 => format!("timeout {} {{ {} }}", rng.next_u32() % 300, random_block(rng, depth - 1)),
        10 => format!("try {{ {} }} catch {{ {} }}", random_block(rng, depth - 1), random_block(rng, depth - 1)),
        _ => format!("spawn {{ {} }}", random_block(rng, depth - 1)),
    }
}
