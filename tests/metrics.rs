//! What a host says of itself: exact counts of what its runs did, a text that Prometheus can read, and papers about it that
//! name what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durhai::metrics::{MetricKind, MetricValue, Metrics, OTHER};
use durhai::view::{Committed, HookRequest, RunCount};
use durhai::{EventBody, Host, Run, Status, StepContext, StepError, StepRule, Value, World};
use durhai_testkit::{Fault, PATIENCE, TestHost};
use serde_json::json;

const MINUTE: u64 = 60_000;

fn test_host() -> TestHost {
    TestHost::new().with(|builder| builder.watch(false))
}

/// The series of a family whose labels are these, in whatever order.
fn series<'a>(metrics: &'a Metrics, name: &str, labels: &[(&str, &str)]) -> Option<&'a MetricValue> {
    let family = metrics.family(name).unwrap_or_else(|| panic!("no family {name}"));
    let fits = |of: &&durhai::metrics::MetricSeries| {
        of.labels.len() == labels.len()
            && labels.iter().all(|(name, value)| of.labels.iter().any(|(n, v)| n == name && v == value))
    };
    family.series.iter().find(fits).map(|series| &series.value)
}

/// A number, or how many values a histogram has.
fn count(metrics: &Metrics, name: &str, labels: &[(&str, &str)]) -> u64 {
    match series(metrics, name, labels) {
        None => 0,
        Some(MetricValue::Number(value)) => *value as u64,
        Some(MetricValue::Histogram(of)) => of.count,
    }
}

fn sum(metrics: &Metrics, name: &str) -> f64 {
    match series(metrics, name, &[]) {
        Some(MetricValue::Histogram(of)) => of.sum,
        other => panic!("{name}: {other:?}"),
    }
}

/// By the value of one label, what is not 0.
fn by(metrics: &Metrics, name: &str, label: &str) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for series in &metrics.family(name).unwrap_or_else(|| panic!("no family {name}")).series {
        let (_, value) = series.labels.iter().find(|(name, _)| name == label).expect("it has the label");
        let MetricValue::Number(number) = series.value else { panic!("{name} is a histogram") };
        *all.entry(value.clone()).or_default() += number as u64;
    }
    all.retain(|_, number| *number > 0);
    all
}

fn map<const N: usize>(of: [(&str, u64); N]) -> BTreeMap<String, u64> {
    of.into_iter().map(|(name, number)| (name.to_owned(), number)).collect()
}

/// Waits until the metrics are like that.
async fn until(host: &Host, what: &str, like: impl Fn(&Metrics) -> bool) -> Metrics {
    let look = async {
        loop {
            let metrics = host.metrics().await;
            if like(&metrics) {
                return metrics;
            }
            tokio::task::yield_now().await;
        }
    };
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(metrics) => metrics,
        Err(_) => panic!("{what}: {}", host.metrics().await.prometheus()),
    }
}

async fn status(run: &Run, status: Status) {
    while run.status().await.unwrap() != status {
        tokio::task::yield_now().await;
    }
}

const MAIN: &str = r#"
    let out = [];
    out.push(use_step("good", 1));
    out.push(use_step("good", 2));
    out.push(use_step("flaky", 3, #{ retry: #{ max_attempts: 3, initial: 0 } }));
    for c in [["bad", #{}], ["slow", #{ timeout: "2ms", retry: false }], ["nope", #{}], ["weak", #{ retry: #{ max_attempts: 2, initial: 0 } }]] {
        try { use_step(c[0], (), c[1]) } catch (e) { out.push(e.kind) }
    }
    print("a line");
    out.push(run_workflow("child", 4));
    start_workflow("child", 5);
    out
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_and_steps_do_is_counted() {
    let test = test_host();
    let host = test
        .builder()
        .workflow("main", MAIN)
        .workflow("child", "use_step(\"good\", input)")
        .workflow("waits", "use_step(\"slow\")")
        .workflow("throws", "throw \"no\"")
        .workflow("again", "if input < 2 { continue_as_new(input + 1) } input")
        .step("good", async |_: StepContext, n: Value| Ok::<_, StepError>(n))
        .step("flaky", async |ctx: StepContext, n: Value| match ctx.attempt() {
            1 => Err(StepError::retry("not yet")),
            _ => Ok(n),
        })
        .step("weak", async |_: StepContext, _: Value| Err::<Value, _>(StepError::retry("never")))
        .step("bad", async |_: StepContext, _: Value| Err::<Value, _>(StepError::fatal("no")))
        .step("slow", async |ctx: StepContext, _: Value| {
            ctx.cancelled().await;
            Err::<Value, _>(StepError::retry("told to stop"))
        })
        .start()
        .await
        .unwrap();
    let before = host.metrics().await;
    assert_eq!(count(&before, "durhai_runs_created_total", &[("workflow", "main")]), 0);

    let output: Value = host.run("main").start().await.unwrap().output().await.unwrap();
    assert_eq!(output, json!([1, 2, 3, "step_failed", "timeout", "unknown_step", "step_failed", 4]));
    let waits = host.run("waits").start().await.unwrap();
    until(&host, "the step runs", |now| count(now, "durhai_step_attempts_running", &[]) == 1).await;
    waits.cancel("enough").await.unwrap();
    assert_eq!(waits.wait().await.unwrap().status, Status::Cancelled);
    assert_eq!(host.run("throws").start().await.unwrap().wait().await.unwrap().status, Status::Failed);
    let again: Value = host.run("again").input(&json!(0)).start().await.unwrap().output().await.unwrap();
    assert_eq!(again, json!(2));

    let ended = |now: &Metrics| by(now, "durhai_runs_ended_total", "workflow").values().sum::<u64>();
    let idle = |now: &Metrics| {
        count(now, "durhai_fibers_live", &[]) == 0 && count(now, "durhai_step_attempts_running", &[]) == 0
    };
    let now = until(&host, "all have ended", |now| ended(now) == 8 && idle(now)).await;
    let created = by(&now, "durhai_runs_created_total", "workflow");
    assert_eq!(created, map([("main", 1), ("child", 2), ("waits", 1), ("throws", 1), ("again", 3)]));
    let by_status = by(&now, "durhai_runs_ended_total", "status");
    assert_eq!(by_status, map([("completed", 4), ("cancelled", 1), ("failed", 1), ("continued", 2)]));
    assert_eq!(count(&now, "durhai_run_duration_seconds", &[("workflow", "again"), ("status", "continued")]), 2);
    let attempts = |step: &str| -> BTreeMap<String, u64> {
        let all = ["ok", "retry", "failed", "timeout", "cancelled", "lost"].into_iter();
        let all = all.map(|outcome| {
            let labels = [("step", step), ("outcome", outcome)];
            (outcome.to_owned(), count(&now, "durhai_step_attempts_total", &labels))
        });
        all.filter(|(_, number)| *number > 0).collect()
    };
    assert_eq!(attempts("good"), map([("ok", 4)]));
    assert_eq!(attempts("flaky"), map([("ok", 1), ("retry", 1)]));
    assert_eq!(attempts("weak"), map([("retry", 2)]));
    assert_eq!(attempts("bad"), map([("failed", 1)]));
    assert_eq!(attempts("slow"), map([("timeout", 1), ("cancelled", 1)]));
    assert_eq!(attempts(OTHER), map([]), "there is none of a step that is not there");
    assert_eq!(count(&now, "durhai_step_attempt_seconds", &[("step", "good")]), 4);
    assert_eq!(by(&now, "durhai_steps_failed_total", "step"), map([("bad", 1), ("slow", 1), ("weak", 1), (OTHER, 1)]));
    assert_eq!(count(&now, "durhai_step_attempts_running", &[]), 0);
    assert_eq!(count(&now, "durhai_log_lines_total", &[]), 1);

    // Writes: each was handed over once, and shared a flush with others.
    let stats = host.stats();
    let now = host.metrics().await;
    assert_eq!(count(&now, "durhai_commit_seconds", &[]), stats.writes);
    assert_eq!(count(&now, "durhai_flush_seconds", &[]), stats.flushes);
    assert_eq!(count(&now, "durhai_commit_batch_size", &[]), stats.flushes);
    assert_eq!(sum(&now, "durhai_commit_batch_size"), stats.writes as f64);
    assert_eq!(count(&now, "durhai_event_bytes_total", &[]), stats.event_bytes);
    assert_eq!(count(&now, "durhai_committer_queue", &[]), 0);

    // What the world has.
    let main = |status: &str| count(&now, "durhai_runs", &[("workflow", "main"), ("status", status)]);
    assert_eq!((main("completed"), main("failed"), main("running")), (1, 0, 0));
    let counts = host.run_counts().await.unwrap();
    let of = |workflow: &str, status| {
        let fits = |of: &&RunCount| of.workflow == workflow && of.status == status;
        counts.iter().filter(fits).map(|of| of.runs).sum::<u64>()
    };
    assert_eq!(
        (of("again", Status::Continued), of("again", Status::Completed), of("waits", Status::Cancelled)),
        (2, 1, 1)
    );
    assert_eq!(counts.iter().map(|of| of.runs).sum::<u64>(), 8);
    assert!(host.metrics().await.family("durhai_runs").unwrap().series.len() == 5 * 9, "all statuses of each workflow");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_leave_memory_and_come_back_are_counted() {
    let test = test_host();
    let host = test
        .builder()
        .workflow("w", "let a = use_step(\"good\", 1); sleep(\"1h\"); use_step(\"good\", a)")
        .step("good", async |_: StepContext, n: Value| Ok::<_, StepError>(n))
        .evict_after(Duration::from_secs(60))
        .start()
        .await
        .unwrap();
    let run = host.run("w").start().await.unwrap();
    status(&run, Status::Waiting).await;
    let now = until(&host, "it waits", |now| count(now, "durhai_fibers_live", &[]) == 1).await;
    assert_eq!(count(&now, "durhai_runs_evicted_total", &[]), 0);
    test.clock.advance(2 * MINUTE);
    // They are counted one after the other.
    let evicted =
        |now: &_| (count(now, "durhai_runs_evicted_total", &[]), count(now, "durhai_fibers_live", &[])) == (1, 0);
    let now = until(&host, "it is evicted", evicted).await;
    assert_eq!(count(&now, "durhai_runs_rebuilt_total", &[]), 0);
    // It is given back, and due only later.
    while test.world.next_wake().unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let events = run.events(1, 100).await.unwrap().len() as u64;
    test.clock.advance(59 * MINUTE);
    assert_eq!(run.output::<Value>().await.unwrap(), json!(1));
    let now = host.metrics().await;
    assert_eq!(count(&now, "durhai_runs_claimed_total", &[]), 1);
    assert_eq!(count(&now, "durhai_runs_rebuilt_total", &[]), 1);
    assert_eq!(count(&now, "durhai_replay_seconds", &[]), 1);
    assert_eq!(count(&now, "durhai_replay_events_total", &[]), events);
    assert_eq!(count(&now, "durhai_timer_lag_seconds", &[]), 1);
    assert!((sum(&now, "durhai_timer_lag_seconds") - 60.0).abs() < 1e-9, "a minute late");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_schedules_and_limits_are_counted() {
    let test = test_host();
    let doubles = test.doubles();
    let scheduled = "const WORKFLOW = #{ schedule: #{ cron: \"0 * * * *\" } };\n1";
    let host = test
        .builder()
        .workflow("w", "let h = hook(#{ token: \"t\" }); [wait_for(\"go\"), h.wait().body, suspend(1)]")
        .workflow("tick", scheduled)
        .workflow("two", "parallel([|| use_step(\"limited\", 1), || use_step(\"limited\", 2)])")
        .steps(doubles.source())
        .step_rule("limited", StepRule { concurrency: Some(1), ..StepRule::default() })
        .start()
        .await
        .unwrap();
    let run = host.run("w").start().await.unwrap();
    status(&run, Status::Waiting).await;
    run.signal("go", &json!(1)).await.unwrap();
    let request = HookRequest { method: "POST".into(), body: json!(2), ..HookRequest::default() };
    host.deliver_hook("t", request, None).await.unwrap();
    status(&run, Status::Suspended).await;
    run.resume(None, &json!(3)).await.unwrap();
    assert_eq!(run.output::<Value>().await.unwrap(), json!([1, 2, 3]));
    let now = host.metrics().await;
    for name in ["durhai_signals_total", "durhai_hooks_total", "durhai_resumes_total"] {
        assert_eq!(count(&now, name, &[]), 1, "{name}");
    }

    // At 23:00:02, two seconds late.
    while test.world.meta("schedule/tick").unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    test.clock.set(1_700_002_802_000);
    let now = until(&host, "the schedule has started one", |now| {
        count(now, "durhai_schedule_starts_total", &[("workflow", "tick")]) == 1
    })
    .await;
    assert_eq!(sum(&now, "durhai_schedule_lag_seconds"), 2.0);
    host.trigger_schedule("tick").await.unwrap().wait().await.unwrap();
    assert_eq!(count(&host.metrics().await, "durhai_schedule_starts_total", &[("workflow", "tick")]), 1);

    let two = host.run("two").start().await.unwrap();
    until(&host, "one runs, one waits", |now| {
        count(now, "durhai_step_attempts_running", &[]) == 1 && count(now, "durhai_steps_waiting_for_limit", &[]) == 1
    })
    .await;
    for _ in 0..2 {
        test.pulse.until(|| ["1.1.1", "1.2.1"].iter().find(|id| doubles.end(id, None)).map(drop), || "both").await;
    }
    two.wait().await.unwrap();
    let now = host.metrics().await;
    assert_eq!(count(&now, "durhai_steps_waiting_for_limit", &[]), 0);
    assert_eq!(count(&now, "durhai_step_attempts_total", &[("step", "limited"), ("outcome", "ok")]), 2);

    // What a host leaves behind when it stops.
    host.run("two").start().await.unwrap();
    test.pulse.until(|| ["1.1.1", "1.2.1"].iter().find(|id| doubles.has(id)).map(drop), || "one").await;
    host.shutdown().await;
    let now = host.metrics().await;
    assert_eq!(count(&now, "durhai_step_attempts_total", &[("step", "limited"), ("outcome", "lost")]), 1);
    assert_eq!(count(&now, "durhai_step_attempts_running", &[]), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gate_and_what_is_saved_are_counted() {
    let test = test_host();
    let folder = tempfile::tempdir().unwrap();
    let save = |text: &str| std::fs::write(folder.path().join("w.rhai"), text).unwrap();
    save("use_step(\"good\", 1); wait_for(\"go\")");
    let host = test
        .builder()
        .workflows(folder.path())
        .step("good", async |_: StepContext, n: Value| Ok::<_, StepError>(n))
        .step("other", async |_: StepContext, n: Value| Ok::<_, StepError>(n))
        .start()
        .await
        .unwrap();
    host.reload().await.unwrap();
    assert_eq!(by(&host.metrics().await, "durhai_reloads_total", "result"), map([]), "the first look is no reload");
    let runs = [host.run("w").start().await.unwrap(), host.run("w").start().await.unwrap()];
    for run in &runs {
        status(run, Status::Waiting).await;
    }
    for text in [
        "use_step(\"good\", 1); wait_for(\"go\"); 7",
        "use_step(\"other\", 1); wait_for(\"go\")",
        "use_step(",
        "const WORKFLOW = #{ on_reload: \"refuse\" };\nuse_step(\"other\", 2); wait_for(\"go\")",
        "const WORKFLOW = #{ on_reload: \"upgrade\" };\nuse_step(\"good\", 1); wait_for(\"go\"); 8",
    ] {
        save(text);
        host.reload().await.unwrap();
    }
    let now = host.metrics().await;
    let gated = by(&now, "durhai_gate_runs_total", "verdict");
    assert_eq!(gated, map([("compatible", 4), ("diverges", 4), ("moved", 2)]));
    assert_eq!(count(&now, "durhai_gate_seconds", &[]), 4);
    let reloads = by(&now, "durhai_reloads_total", "result");
    assert_eq!(reloads, map([("loaded", 3), ("broken", 1), ("refused", 1)]));
    let view = &host.workflow_list().await.unwrap()[0];
    let live: Vec<_> = view.live.iter().map(|of| (of.runs, of.serving)).collect();
    assert_eq!(live, [(2, true)]);
    std::fs::remove_file(folder.path().join("w.rhai")).unwrap();
    host.reload().await.unwrap();
    assert_eq!(by(&host.metrics().await, "durhai_reloads_total", "result").get("removed"), Some(&1));
    for run in &runs {
        run.terminate("over").await.unwrap();
        run.wait().await.unwrap();
        run.delete().await.unwrap();
    }
    let now = host.metrics().await;
    assert_eq!((count(&now, "durhai_runs_purged_total", &[]), host.run_counts().await.unwrap()), (2, vec![]));
    host.shutdown().await;
}

/// One whose world is gone still says so.
#[tokio::test]
async fn a_host_without_a_world_has_metrics() {
    let test = test_host();
    let world = Arc::new(test.connect(Fault::Never));
    let host = test.builder_on(world.clone()).workflow("w", "1").start().await.unwrap();
    host.run("w").start().await.unwrap().wait().await.unwrap();
    assert_eq!(count(&host.metrics().await, "durhai_host_failed", &[]), 0);
    world.crash();
    assert!(host.run("w").start().await.is_err());
    let now = host.metrics().await;
    assert_eq!(count(&now, "durhai_host_failed", &[]), 1);
    assert_eq!(now.family("durhai_runs").unwrap().series, []);
    assert_eq!(count(&now, "durhai_runs_ended_total", &[("workflow", "w"), ("status", "completed")]), 1);
    host.shutdown().await;
}

/// Every change of a run that can be seen is told, also one that brings no event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_tell_of_all_that_can_be_seen() {
    let test = test_host();
    let doubles = test.doubles();
    let host = test
        .builder()
        .workflow("w", "set_status(\"first\"); use_step(\"a\"); set_state(\"k\", 1); run_workflow(\"c\"); suspend(1)")
        .workflow("c", "7")
        .steps(doubles.source())
        .start()
        .await
        .unwrap();
    let mut commits = host.commits();
    let mut next = async || -> Committed {
        tokio::time::timeout(PATIENCE, commits.recv()).await.expect("it is told").expect("none is missed")
    };
    let run = host.run("w").id("r").start().await.unwrap();
    let created = next().await;
    assert_eq!((created.run.as_str(), &*created.workflow, created.status), ("r", "w", Status::Running));
    assert!(
        matches!(created.events[..], [durhai::Event { seq: 1, body: EventBody::RunCreated(_), .. }]),
        "{created:?}"
    );
    assert_eq!(created.version, host.workflows().iter().find(|of| of.name == "w").unwrap().version.clone().unwrap());
    let first = next().await;
    assert_eq!((first.events.len(), first.status), (2, Status::Running));
    test.pulse.until(|| doubles.end("1", None).then_some(()), || "the step").await;
    let mut told = Vec::new();
    while told.last().is_none_or(|last: &Committed| last.status != Status::Suspended) {
        told.push(next().await);
    }
    let child: Vec<_> = told.iter().filter(|commit| commit.workflow == "c").collect();
    assert!(matches!(child[0].events[0].body, EventBody::RunCreated(_)), "{child:?}");
    assert_eq!(child.last().unwrap().status, Status::Completed);
    // One that is ended while nobody has it, and one that waits for its time.
    let later = host.run("w").id("later").delay(Duration::from_secs(60)).start().await.unwrap();
    let created = next().await;
    assert_eq!((created.run.as_str(), created.status, created.events.len()), ("later", Status::Pending, 1));
    later.terminate("not needed").await.unwrap();
    while next().await.status != Status::Failed {}
    assert_eq!(run.status().await.unwrap(), Status::Suspended);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_text_is_told() {
    let test = test_host();
    let script = "parallel([|| { wait_for(\"a\"); set_status(\"here\"); wait_for(\"a\") }, || wait_for(\"b\")])";
    let host = test.builder().workflow("w", script).start().await.unwrap();
    let run = host.run("w").start().await.unwrap();
    status(&run, Status::Waiting).await;
    let mut commits = host.commits();
    run.signal("a", &json!(1)).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, commits.recv()).await.expect("it is told").unwrap();
    assert_eq!((told.run, told.status), (run.id().clone(), Status::Waiting));
    assert_eq!(run.view().await.unwrap().status_text.as_deref(), Some("here"));
    host.shutdown().await;
}

/// A line of the text: name, labels, value.
type Line = (String, BTreeMap<String, String>, f64);

/// Reads the text as the format says; anything else is a panic.
fn parse(text: &str) -> (BTreeMap<String, String>, Vec<Line>) {
    let (mut types, mut helped, mut lines) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    let legal =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help");
            assert!(legal(name) && !help.is_empty() && helped.insert(name.to_owned()), "{line}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(helped.contains(name) && types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let Some((name, labels)) = series.split_once('{') else {
            assert!(legal(series), "{line}");
            lines.push((series.to_owned(), BTreeMap::new(), value));
            continue;
        };
        let mut rest = labels.strip_suffix('}').expect("closed");
        let mut labels = BTreeMap::new();
        while !rest.is_empty() {
            let (label, more) = rest.split_once("=\"").expect("a label");
            let mut value = String::new();
            let mut chars = more.char_indices();
            let end = loop {
                match chars.next().expect("the label ends") {
                    (at, '"') => break at + 1,
                    (_, '\\') => match chars.next().expect("something escaped").1 {
                        'n' => value.push('\n'),
                        c @ ('\\' | '"') => value.push(c),
                        c => panic!("\\{c} means nothing: {line}"),
                    },
                    (_, c) => value.push(c),
                }
            };
            assert!(legal(label) && labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = &more[end..];
            assert!(rest.is_empty() || rest.starts_with(','), "{line}");
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        assert!(legal(name), "{line}");
        lines.push((name.to_owned(), labels, value));
    }
    (types, lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_can_be_read() {
    const ODD: &str = "odd \"name\" \\ and\na line";
    let test = test_host();
    let host = test
        .builder()
        .workflow("w", "for i in 0..20 { use_step(\"good\", i) }")
        .workflow(ODD, "1")
        .step("good", async |_: StepContext, n: Value| Ok::<_, StepError>(n))
        .start()
        .await
        .unwrap();
    for name in ["w", ODD] {
        host.run(name).start().await.unwrap().wait().await.unwrap();
    }
    let metrics = host.metrics().await;
    let text = metrics.prometheus();
    let (types, lines) = parse(&text);
    assert_eq!(types.len(), metrics.families.len());
    let mut seen = BTreeSet::new();
    for (name, labels, _) in &lines {
        assert!(seen.insert((name.clone(), labels.clone())), "{name} {labels:?} is there twice");
    }
    let odd = lines.iter().find(|(name, labels, _)| {
        name == "durhai_runs_created_total" && labels.get("workflow").is_some_and(|workflow| workflow == ODD)
    });
    assert_eq!(odd.expect("it is there").2, 1.0);
    let mut histograms = 0;
    for (name, kind) in &types {
        if kind == "counter" {
            assert!(name.ends_with("_total"), "{name}");
        }
        if kind != "histogram" {
            continue;
        }
        let mut of: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
        for (_, labels, value) in lines.iter().filter(|(line, ..)| *line == format!("{name}_bucket")) {
            let mut labels = labels.clone();
            let bound = labels.remove("le").expect("a bound");
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a number") };
            of.entry(labels).or_default().push((bound, *value));
        }
        for (labels, buckets) in of {
            histograms += 1;
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name} {labels:?}: {buckets:?}");
            let one = |part: &str| {
                let wanted = format!("{name}_{part}");
                lines.iter().find(|(line, of, _)| *line == wanted && *of == labels).expect(part).2
            };
            assert_eq!(buckets.last().copied(), Some((f64::INFINITY, one("count"))), "{name} {labels:?}");
            assert!(one("sum") >= 0.0);
        }
    }
    assert!(histograms > 8, "{histograms}");
    // The same as data.
    let same: Metrics = serde_json::from_value(serde_json::to_value(&metrics).unwrap()).unwrap();
    assert_eq!(same, metrics);
    host.shutdown().await;
}

/// The papers name what there is, and all of it.
#[tokio::test]
async fn the_dashboard_and_the_table_name_every_metric() {
    let host = TestHost::new().start().await;
    let metrics = host.metrics().await;
    host.shutdown().await;
    let read = |file: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let names: BTreeSet<&str> = metrics.families.iter().map(|family| &*family.name).collect();
    assert_eq!(names.len(), metrics.families.len(), "no name twice");

    let table = read("host/docs/metrics.md");
    let mut described = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| `durhai_")) {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 6, "{row}");
        let name = cells[0].trim_matches('`');
        let family = metrics.family(name).unwrap_or_else(|| panic!("the table has {name}, the host has not"));
        let kind = match family.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let unit = if family.unit.is_empty() { "–" } else { &family.unit };
        assert_eq!((cells[1], cells[3]), (kind, unit), "{name}");
        let labels: BTreeSet<_> = family.series.iter().flat_map(|of| of.labels.iter().map(|(name, _)| name)).collect();
        for label in labels {
            assert!(cells[2].contains(&format!("`{label}`")), "{name} has the label {label}");
        }
        assert!(described.insert(name.to_owned()), "{name} twice");
    }
    let described: BTreeSet<&str> = described.iter().map(String::as_str).collect();
    assert_eq!(described, names);

    let dashboard: Value = serde_json::from_str(&read("host/docs/dashboard.json")).expect("JSON");
    let mut ids = BTreeSet::new();
    let mut shown = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        assert!(panel["title"].is_string() && panel["gridPos"].is_object(), "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("an expression");
            let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for word in words.filter(|word| word.starts_with("durhai_")) {
                let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| word.strip_suffix(part));
                let histogram = of_histogram
                    .and_then(|name| metrics.family(name))
                    .filter(|family| family.kind == MetricKind::Histogram);
                let family = histogram.or_else(|| metrics.family(word));
                let family = family.unwrap_or_else(|| panic!("{word} in {expression:?} is no metric"));
                if family.kind == MetricKind::Counter {
                    assert!(expression.contains("rate(") || expression.contains("increase("), "{expression}");
                }
                shown.insert(family.name.clone());
            }
        }
    }
    assert!(shown.len() >= 30, "{shown:?}");
}
