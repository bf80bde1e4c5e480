//! Scripts made from seeds, crashed before and after every write, against the same script undisturbed.
//!
//! `DURHAI_SEEDS=200` runs more of them, `DURHAI_SEED=17` only that one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use durhai::clock::Clock;
use durhai::event::LogLine;
use durhai::{Event, EventBody, Host, RunError, RunId, StepContext, StepError, Value, World};
use durhai_core::legal::LogCheck;
use durhai_testkit::{Fault, FaultWorld, Notices, Script, Settled, TestHost, events, generate, quiet};
use parking_lot::Mutex;

use crate::scenarios::replayer::Replayer;
use crate::scenarios::show;

/// What the steps of all hosts of one run did.
#[derive(Default)]
struct Journal {
    /// Attempts by call.
    made: HashMap<String, u32>,
    /// `once` steps, by call.
    single: HashMap<String, u32>,
    /// Failures that `flaky` gave, by call; those that a crash swallowed too.
    flaked: HashMap<String, u32>,
    /// Calls that had ended when a host died.
    ended: HashSet<String>,
    wrong: Vec<String>,
}

#[derive(Debug, PartialEq)]
struct Outcome {
    output: Value,
    /// Sorted.
    lines: Vec<String>,
}

struct Ran {
    outcome: Outcome,
    writes: u64,
    events: Vec<Event>,
    crashed: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_write() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds: Vec<u64> = match number("DURHAI_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("DURHAI_SEEDS").unwrap_or(24)).collect(),
    };
    let mut crashes = 0;
    for seed in seeds {
        let script = generate(seed);
        let replayer = Replayer::new("made", &script.source);
        let what = format!("DURHAI_SEED={seed}\n{}", script.source);
        let plain = run(&script, seed, Fault::Never, Notices::Prompt, &what).await;
        replayer.every_prefix(&plain.events, &what);
        for write in 1..=plain.writes {
            let fault = if (write + seed).is_multiple_of(2) { Fault::Before(write) } else { Fault::After(write) };
            let notices = [Notices::Prompt, Notices::Twice, Notices::Late][(write % 3) as usize];
            let what = format!("{fault:?} {notices:?} {what}");
            let ran = run(&script, seed, fault, notices, &what).await;
            let log = || ran.events.iter().map(show::short).collect::<Vec<_>>().join("\n");
            assert_eq!(ran.outcome, plain.outcome, "{what}\n{}", log());
            crashes += u32::from(ran.crashed);
            if write == plain.writes / 2 {
                // A log with attempts that were made again.
                replayer.every_prefix(&ran.events, &what);
            }
        }
    }
    println!("{crashes} crashes");
    assert!(crashes > 50 || std::env::var_os("DURHAI_SEED").is_some());
}

async fn run(script: &Script, seed: u64, fault: Fault, notices: Notices, what: &str) -> Ran {
    let journal = Arc::new(Mutex::new(Journal::default()));
    let test = test_host(script, &journal);
    let (world, clock) = (&test.world, &test.clock);
    let id = RunId::new(format!("run-{seed}")).expect("an id");
    let (mut connection, mut host) = start(&test, fault, notices).await;
    let first = connection.clone();
    let mut crashed = false;
    let mut later: Vec<_> = script.signals.iter().filter(|signal| !signal.2).collect();
    let mut started = false;
    loop {
        if !started {
            let begun = begin(&host, script, id.as_str()).await;
            assert!(begun.is_ok() || connection.is_down(), "{what}: {begun:?}");
            started = begun.is_ok();
        }
        let state = || {
            (
                host.stats(),
                connection.refused(),
                what.to_owned(),
                quiet(&**world, clock.now()),
                crashed,
                clock.now(),
                world.row(&id),
                events(&**world, &id),
            )
        };
        match test.pulse.until(|| test.settled(&connection), state).await {
            Settled::Dead => {
                assert!(!crashed, "{what}: it crashed twice");
                crashed = true;
                test.bury(&host).await;
                let ended = events(&**world, &id).into_iter().filter_map(|event| {
                    let ends = matches!(event.body, EventBody::StepCompleted { .. } | EventBody::StepFailed { .. });
                    event.step_id.filter(|_| ends).map(|step| step.to_string())
                });
                journal.lock().ended.extend(ended);
                (connection, host) = start(&test, Fault::Never, notices).await;
            }
            Settled::Until(_) if !started => {}
            Settled::Until(next) if !later.is_empty() => {
                let (name, payload, _) = later[0];
                let sent = match host.get(id.as_str()).await {
                    Ok(run) => run.signal_once(name, payload, name).await,
                    Err(error) => Err(error),
                };
                match sent {
                    Ok(()) => drop(later.remove(0)),
                    // The run may have ended without waiting for it.
                    Err(_) if next.is_none() && !connection.is_down() => later.clear(),
                    Err(error) => assert!(connection.is_down(), "{what}: {error}"),
                }
            }
            Settled::Until(Some(next)) => clock.set(next),
            Settled::Until(None) => break,
        }
    }
    let output: Result<Value, RunError> = match host.get(id.as_str()).await {
        Ok(run) => run.output().await,
        Err(error) => Err(error.into()),
    };
    let output = match output {
        Ok(output) => output,
        // The fault struck behind the end of the run.
        Err(_) if connection.is_down() => events(&**world, &id)
            .pop()
            .and_then(|event| {
                if let EventBody::RunCompleted { output } = event.body {
                    Some(Arc::unwrap_or_clone(output))
                } else {
                    None
                }
            })
            .unwrap_or_else(|| panic!("{what}: no output")),
        Err(error) => {
            let log: Vec<_> = events(&**world, &id).iter().map(show::short).collect();
            panic!("{what}: {error}\n{}", log.join("\n"))
        }
    };
    host.shutdown().await;
    let events = events(&**world, &id);
    let mut check = LogCheck::default();
    events.iter().try_for_each(|event| check.next(event)).unwrap_or_else(|bad| panic!("{what}: {bad}"));
    check_journal(&journal.lock(), &events, what);
    let read = |bytes: Vec<u8>| serde_json::from_slice::<LogLine>(&bytes).expect("a line").message;
    let mut lines: Vec<_> = world.stream(&id, "log", 0, 100_000).expect("it answers").into_iter().map(read).collect();
    lines.sort();
    Ran { outcome: Outcome { output, lines }, writes: first.writes(), events, crashed }
}

async fn begin(host: &Host, script: &Script, id: &str) -> Result<(), durhai::HostError> {
    let run = host.run("made").id(id).start().await?;
    for (name, payload, _) in script.signals.iter().filter(|signal| signal.2) {
        match run.signal_once(name, payload, name).await {
            // It may have ended meanwhile.
            Err(durhai::HostError::Conflict(_)) => {}
            sent => sent?,
        }
    }
    Ok(())
}

fn test_host(script: &Script, journal: &Arc<Mutex<Journal>>) -> TestHost {
    let test = TestHost::new().workflow("made", &script.source);
    ["work", "flaky", "broken", "single"].into_iter().fold(test, |test, name| {
        let journal = journal.clone();
        test.step(name, move |context: StepContext, n: i64| {
            let result = perform(&mut journal.lock(), &context, n);
            async move { result }
        })
    })
}

async fn start(test: &TestHost, fault: Fault, notices: Notices) -> (Arc<FaultWorld>, Host) {
    let connection = Arc::new(test.connect(fault).notices(notices));
    (connection.clone(), test.builder_on(connection).start().await.expect("a host starts"))
}

fn perform(journal: &mut Journal, context: &StepContext, n: i64) -> Result<i64, StepError> {
    let step = context.step_id().to_string();
    if journal.ended.contains(&step) {
        journal.wrong.push(format!("step {step} had ended and was made again"));
    }
    *journal.made.entry(step.clone()).or_default() += 1;
    match context.name() {
        "broken" => Err(StepError::retry("it is broken")),
        "flaky" => {
            let failures = journal.flaked.entry(step).or_default();
            *failures += 1;
            if i64::from(*failures) <= 1 + n % 2 { Err(StepError::retry("not yet")) } else { Ok(n * 3) }
        }
        "single" => {
            *journal.single.entry(step).or_default() += 1;
            Ok(n)
        }
        _ => Ok(n * 31 % 1_009),
    }
}

fn check_journal(journal: &Journal, log: &[Event], what: &str) {
    assert_eq!(journal.wrong, Vec::<String>::new(), "{what}");
    for (step, times) in &journal.single {
        assert_eq!(*times, 1, "{what}: step {step} may run once only");
    }
    let mut recorded: BTreeMap<String, u32> = BTreeMap::new();
    for event in log {
        match (&event.body, &event.step_id) {
            (EventBody::StepStarted { .. }, Some(id)) => *recorded.entry(id.to_string()).or_default() += 1,
            (EventBody::StepCompleted { .. }, Some(id)) => {
                assert!(journal.made.contains_key(id.as_str()), "{what}: step {id} completed and was never made");
            }
            _ => {}
        }
    }
    for (step, times) in &journal.made {
        let started = recorded.get(step).copied().unwrap_or(0);
        assert!(*times <= started, "{what}: step {step} was made {times} times, {started} of them recorded before");
    }
}
