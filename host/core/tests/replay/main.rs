//! Replay by data: a toy program, what happens outside, and the events that must come of it.

mod program;
mod random;
mod runs;

use durhai_core::event::Created;
use durhai_core::replay::{AttemptError, Input};
use durhai_core::{Event, EventBody, Failure, FailureKind, RunId, Status, StepId, Value, Version};
use program::{Machine, Op, parse};

fn created() -> Vec<Event> {
    let created = Created::new(RunId::new("r").unwrap(), "toy", Version::of([]), Value::Null);
    vec![Event { seq: 1, at: 1_000, step_id: None, site: None, body: EventBody::RunCreated(Box::new(created)) }]
}

/// An event in a word or two.
fn short(event: &Event) -> String {
    let id = event.step_id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
    let more = match &event.body {
        EventBody::StepStarted { name, attempt, .. } => format!(" {name}{}", "'".repeat(*attempt as usize - 1)),
        EventBody::StepFailed { error } | EventBody::RunFailed { error } | EventBody::ChildFailed { error } => {
            format!(" {}", error.kind)
        }
        EventBody::HookOpened { token, .. } | EventBody::HookConflict { token, .. } => format!(" {token}"),
        EventBody::ChildStarted { name, run_id, .. } => format!(" {name} {run_id}"),
        EventBody::RunContinued { next } => format!(" {next}"),
        EventBody::SignalReceived { name, .. } => format!(" {name}"),
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
            token: None,
            keep: false,
            payload: Value::from(1),
            id: (verb == "payload-once").then(|| "same".into()),
        },
        "answer" => Input::Resume { step_id: StepId::parse(arg).unwrap(), run: None, data: Value::from("yes") },
        "child-ok" => Input::Child { step_id: StepId::parse(arg).unwrap(), run: None, result: Ok(Value::from(2)) },
        "child-err" => Input::Child {
            step_id: StepId::parse(arg).unwrap(),
            run: None,
            result: Err(Failure::new(FailureKind::ChildFailed, "it failed")),
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
    after.push(Event {
        seq: log.len() as u64 + 1,
        at: 9_000,
        body: EventBody::RunStarted { again: None },
        ..log[1].clone()
    });
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
        match durhai_core::Replay::new(log, durhai_core::replay::Limits::default()) {
            Err(bad) => assert!(bad.to_string().contains(message), "{name}: {bad}"),
            Ok(_) => panic!("{name} is taken"),
        }
    }
}
