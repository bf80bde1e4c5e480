//! Replay by data: a toy program, what happens outside, and the events that must come of it.

mod program;

use durhai_core::event::Created;
use durhai_core::replay::{AttemptError, Input};
use durhai_core::{Body, Event, RunId, Status, Value, Version};
use program::{Machine, Op, parse};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

fn created() -> Vec<Event> {
    let created = Created {
        run: RunId::new("r").unwrap(),
        workflow: "toy".into(),
        version: Version::of([]),
        input: Value::Null,
        tags: Default::default(),
        parent: None,
        seed: None,
        origin: None,
    };
    vec![Event { seq: 1, at: 1_000, step_id: None, site: None, body: Body::RunCreated(Box::new(created)) }]
}

/// An event in a word or two.
fn short(event: &Event) -> String {
    let id = event.step_id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
    let more = match &event.body {
        Body::StepStarted { name, attempt, .. } => format!(" {name}{}", "'".repeat(*attempt as usize - 1)),
        Body::StepFailed { error } | Body::RunFailed { error } => format!(" {}", error.kind),
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
            let what = match rng.next_u32() % 10 {
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
    let plain = |rng: &mut ChaCha8Rng| match rng.next_u32() % 8 {
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
