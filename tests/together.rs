//! Many runs that use all functions together, in one world whose hosts die again and again at random: the same comes of
//! it as undisturbed.
//!
//! `DURHAI_RUNS=1000` makes it that many, `DURHAI_SEED=17` another course of crashes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use durhai::clock::Clock;
use durhai::event::LogLine;
use durhai::view::HookRequest;
use durhai::{Host, HostError, MemoryWorld, Query, RunId, Status, StepContext, StepError, Value, World};
use durhai_testkit::{Fault, FaultWorld, Rng, Settled, TestHost, events, quiet};
use parking_lot::Mutex;
use serde_json::json;

const ALL: &str = r#"
    const WORKFLOW = #{ retry: #{ max_attempts: 3, initial: "1s" } };
    import "std/saga" as saga;
    let n = input.n;
    let out = input.out;
    set_status(`round ${input.round}`);
    set_state("n", n);
    emit(n);
    out.push(parallel(#{
        step: || use_step("flaky", n),
        child: || run_workflow("child", n),
        each: || foreach([1, 2, 3], |i| { emit("each", i); use_step("work", n * 10 + i) }, #{ concurrency: 2 }),
    }));
    if n % 2 == 0 {
        let h = hook(#{ token: uuid(), schema: #{ type: "object" } });
        out.push(h.wait().body.n);
        h.close();
    }
    if n % 3 == 0 {
        out.push(parallel([|| suspend(n, #{ label: "left" }), || suspend(n, #{ label: "right" })]));
    }
    if n % 5 < 2 { out.push(wait_for("go", #{ timeout: "900 days" })); }
    out.push(race(#{ hour: || sleep("1h"), day: || { try { run_workflow("slow", n) } catch (e) { print("lost"); throw e; } } }).winner);
    try { with_timeout("10s", || run_workflow("slow", n)); } catch (e) { out.push(e.kind); }
    try {
        saga::run(|s| {
            s.step(|| use_step("work", n + 1), |made| use_step("work", made));
            s.undo(|| use_step("work", 7));
            if n % 4 == 0 { use_step("broken", n); }
        });
        out.push("kept");
    } catch (e) { out.push(e.kind); }
    try { hook(#{ token: `one-of-${n % 10}` }); } catch (e) { }
    out.push(start_workflow("beside", n));
    set_state("rounds", input.round);
    if n % 6 == 0 && input.round < 3 { continue_as_new(#{ n: n, round: input.round + 1, out: [out.len(), rand()] }); }
    sleep("30 days");
    out.push([rand(0..1000), poll_signal("nothing"), attempt()]);
    out
"#;

const CHILD: &str = r#"
    const WORKFLOW = #{ concurrency: 7, output: #{ type: "array" } };
    emit(input);
    let a = use_step("work", input);
    sleep("1m");
    if input % 9 == 0 { try { run_workflow("breaks", a) } catch (e) { return [e.kind, e.cause.kind]; } }
    [a, use_step("flaky", a)]
"#;

const SLOW: &str = r#"
    try { sleep("100 days") } catch (e) { emit(e.kind); use_step("work", input); throw e; }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashed_at_random_they_come_to_the_same() {
    let number = |name: &str, usual| std::env::var(name).ok().map_or(usual, |text| text.parse().expect("a number"));
    let (runs, seed) = (number("DURHAI_RUNS", 60), number("DURHAI_SEED", 1));
    let plain = all(runs, None).await;
    assert!(plain.crashes == 0 && plain.came.len() as u64 > 3 * runs);
    let crashed = all(runs, Some(Rng::new(seed))).await;
    println!("DURHAI_SEED={seed}: {} runs, {} crashes", plain.came.len(), crashed.crashes);
    assert!(crashed.crashes > 10, "DURHAI_SEED={seed}: {} crashes", crashed.crashes);
    for (run, came) in &plain.came {
        assert_eq!(crashed.came.get(run), Some(came), "DURHAI_SEED={seed} DURHAI_RUNS={runs}: run {run}");
    }
    assert_eq!(crashed.came.len(), plain.came.len(), "DURHAI_SEED={seed}");
}

struct Came {
    /// How each run ended and what it showed.
    came: BTreeMap<String, String>,
    crashes: u32,
}

async fn all(runs: u64, mut rng: Option<Rng>) -> Came {
    let test = test_host();
    let (world, clock) = (&test.world, &test.clock);
    let mut crashes = 0;
    let mut fault = |crashes: u32| match &mut rng {
        Some(rng) if crashes < 60 => {
            let write = 1 + rng.below(5 + runs / 2);
            if rng.below(2) == 0 { Fault::Before(write) } else { Fault::After(write) }
        }
        _ => Fault::Never,
    };
    let (mut connection, mut host) = test.start_with(fault(0)).await;
    let mut started = 0;
    loop {
        let state = || (crashes, started, host.stats(), quiet(&**world, clock.now()));
        match test.pulse.until(|| test.settled(&connection), state).await {
            Settled::Dead => {
                crashes += 1;
                test.bury(&host).await;
                (connection, host) = test.start_with(fault(crashes)).await;
            }
            Settled::Until(_) if started < runs => {
                while started < runs {
                    let input = json!({ "n": started, "round": 1, "out": [] });
                    if host.run("all").id(format!("run-{started}")).input(&input).start().await.is_err() {
                        break;
                    }
                    started += 1;
                }
            }
            Settled::Until(next) => match (answer(&host, world, &connection).await, next) {
                (true, _) => {}
                (false, Some(at)) => clock.set(at),
                (false, None) if connection.is_down() => {}
                (false, None) => break,
            },
        }
    }
    assert_eq!(host.doctor().await.expect("a doctor").findings, []);
    host.shutdown().await;
    let mut came = BTreeMap::new();
    let query = Query { limit: 1_000_000, ..Query::default() };
    for row in world.list(&query).expect("it answers").rows {
        came.insert(row.run.to_string(), shown(&**world, &row.run, &row.status.to_string()));
    }
    Came { came, crashes }
}

/// Answers whoever asks; `false`: nobody does.
async fn answer(host: &Host, world: &MemoryWorld, connection: &FaultWorld) -> bool {
    let query = Query { limit: 1_000_000, ..Query::default() };
    let mut asked = false;
    for row in world.list(&query).expect("it answers").rows {
        if row.status == Status::Parked {
            // So many hosts died in a row that it is held for the cause. An operator knows better.
            let reason = row.note["reason"].as_str().unwrap_or_default();
            assert!(reason.starts_with("poisoned"), "run {}: {reason}", row.run);
            if let Ok(run) = host.get(row.run.as_str()).await {
                let _ = run.unpark().await;
            }
            return true;
        }
        let waits = row.note.get("waiting_for").and_then(Value::as_array).cloned().unwrap_or_default();
        if row.status.is_terminal() {
            continue;
        }
        for wait in waits {
            let text = |key: &str| wait.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let Ok(run) = host.get(row.run.as_str()).await else { return true };
            let done = match text("kind").as_str() {
                "hook" => {
                    let body = json!({ "n": text("name").len() });
                    let request = HookRequest { method: "POST".into(), body, ..HookRequest::default() };
                    host.deliver_hook(&text("name"), request, Some("once")).await
                }
                "suspend" => run.resume(Some(&text("step_id")), &json!([text("name"), row.run])).await,
                "signal" => run.signal_once("go", &json!(row.run), row.run.as_str()).await,
                _ => continue,
            };
            asked = true;
            match done {
                // The answer is there already, or the question is gone.
                Ok(()) | Err(HostError::Conflict(_) | HostError::NotFound(_)) => {}
                Err(error) => assert!(connection.is_down(), "{error}"),
            }
        }
    }
    asked
}

fn shown(world: &dyn World, run: &RunId, status: &str) -> String {
    let read = |stream: &str| world.stream(run, stream, 0, 1_000_000).expect("it answers");
    let mut lines: Vec<_> =
        read("log").iter().map(|line| serde_json::from_slice::<LogLine>(line).expect("a line").message).collect();
    lines.sort();
    let end = events(world, run).pop().map(|event| event.body);
    let streams: Vec<_> = world
        .streams(run)
        .expect("it answers")
        .into_iter()
        .filter(|(name, _)| name != "log")
        .map(|(name, _)| {
            let values: Vec<Value> = read(&name)
                .iter()
                .map(|entry| serde_json::from_slice::<Value>(entry).expect("JSON")["value"].clone())
                .collect();
            (name, values)
        })
        .collect();
    let values: Vec<_> = world
        .values(run)
        .expect("it answers")
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8(value)))
        .collect();
    format!("{status} {end:?} {lines:?} {streams:?} {values:?}")
}

fn test_host() -> TestHost {
    let failures = Arc::new(Mutex::new(HashMap::<String, u32>::new()));
    TestHost::new()
        .workflow("all", ALL)
        .workflow("child", CHILD)
        .workflow("slow", SLOW)
        .workflow("breaks", "throw `no ${input}`;")
        .workflow("beside", "sleep(\"1 day\"); emit(input); run_id()")
        .step("work", async |_: StepContext, n: i64| Ok::<_, StepError>(n * 31 % 1_009))
        .step("broken", async |_: StepContext, _: i64| Err::<i64, _>(StepError::retry("it is broken")))
        .step("flaky", move |context: StepContext, n: i64| {
            let mut failures = failures.lock();
            let failures = failures.entry(context.idempotency_key()).or_default();
            *failures += 1;
            let result = if *failures == 1 { Err(StepError::retry("not yet")) } else { Ok(n * 3) };
            async move { result }
        })
}
