//! Watching runs: traces as data (`tests/traces/*.md`), stops, what-if, and that watching changes nothing.

use std::sync::Arc;

use durhai::logs::{ReplayOptions, ReplayView, Script};
use durhai::trace::{Stop, TraceEvent, TraceText, Traced};
use durhai::{Event, Host, HostError, Millis, Run, Status, StepContext, StepError, StepId, Value};
use durhai_testkit::TestHost;
use parking_lot::Mutex;
use serde_json::json;

fn id(text: &str) -> StepId {
    StepId::parse(text).expect("a step id")
}

/// A host, and a run of this script that has ended.
async fn ran(script: &str, input: Value) -> (Host, Run) {
    let bad = async |_: StepContext, _: Value| Err::<Value, _>(StepError::fatal("it is broken"));
    let test = TestHost::new().workers(1).workflow("flow", script).echo().step("bad", bad);
    let host = test.start().await;
    let run = host.run("flow").id("run-1").input(&input).start().await.expect("it starts");
    test.until(Millis::MAX).await;
    run.wait().await.expect("it ends");
    (host, run)
}

async fn traced(run: &Run, options: ReplayOptions) -> (Vec<TraceEvent>, ReplayView) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let watch = move |event| {
        sink.lock().push(event);
        true
    };
    let view = run.trace(options, watch).await.expect("it can be traced");
    let seen = std::mem::take(&mut *seen.lock());
    (seen, view)
}

fn text(events: &[TraceEvent], all: bool) -> String {
    let mut text = TraceText::new(all);
    let mut lines: Vec<String> = events.iter().flat_map(|event| text.push(event)).collect();
    lines.extend(text.finish());
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

/// Sections of a file: a title, a script, an input, the expected trace.
struct Case {
    title: String,
    script: String,
    input: Value,
    expected: String,
}

fn cases(file: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for section in file.split("\n## ").skip(1) {
        let block = |kind: &str| {
            let from = section.find(&format!("```{kind}\n"))? + kind.len() + 4;
            let to = section[from..].find("\n```")? + from;
            Some(section[from..to].to_owned())
        };
        cases.push(Case {
            title: section.lines().next().unwrap_or_default().to_owned(),
            script: block("rhai").expect("a script"),
            input: block("json").map_or(Value::Null, |json| serde_json::from_str(&json).expect("JSON")),
            expected: block("trace").unwrap_or_default(),
        });
    }
    cases
}

/// `DURHAI_BLESS=1` writes what comes out; read the difference before you commit it.
#[tokio::test]
async fn traces_are_as_expected() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces/traces.md");
    let file = std::fs::read_to_string(&path).expect("the traces");
    let mut blessed = file.lines().take_while(|line| !line.starts_with("## ")).collect::<Vec<_>>().join("\n");
    let mut wrong = Vec::new();
    for case in cases(&file) {
        let (host, run) = ran(&case.script, case.input.clone()).await;
        let (events, view) = traced(&run, ReplayOptions::default()).await;
        let found = text(&events, false);
        let plain = run.replay(ReplayOptions::default()).await.expect("it replays");
        assert_eq!(
            (plain.status, &plain.output, &plain.divergence),
            (view.status, &view.output, &None),
            "{}",
            case.title
        );
        every_prefix(&host, &run, &case).await;
        host.shutdown().await;
        let input = if case.input.is_null() { String::new() } else { format!("```json\n{}\n```\n", case.input) };
        blessed += &format!("\n## {}\n```rhai\n{}\n```\n{input}```trace\n{found}\n```\n", case.title, case.script);
        if found != case.expected {
            wrong.push(format!("{}\n--- expected\n{}\n--- found\n{found}", case.title, case.expected));
        }
    }
    if std::env::var_os("DURHAI_BLESS").is_some() {
        std::fs::write(&path, blessed).expect("the traces can be written");
    } else {
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }
}

/// Any beginning of the log can be traced: what is seen is a beginning of what is seen in the whole.
async fn every_prefix(host: &Host, run: &Run, case: &Case) {
    let log = run.events(1, 10_000).await.expect("a log");
    let own = Script { source: case.script.clone(), ..Script::default() };
    let whole = watch(host, &log, &own).await;
    for cut in 1..log.len() {
        let seen = watch(host, &log[..cut], &own).await;
        // What is beyond the log is new there and recorded in the whole one.
        let places = |events: &[TraceEvent]| {
            events
                .iter()
                .filter(|event| matches!(event.what, Traced::Line { .. } | Traced::Changed { .. }))
                .map(|event| (event.n, event.what.clone()))
                .collect::<Vec<_>>()
        };
        let (seen, whole) = (places(&seen), places(&whole));
        assert!(whole.starts_with(&seen), "{}: the first {cut} events\n{seen:#?}\n{whole:#?}", case.title);
    }
}

async fn watch(host: &Host, log: &[Event], own: &Script) -> Vec<TraceEvent> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let watch = Box::new(move |event| {
        sink.lock().push(event);
        true
    });
    let view = host.replay_log(log.to_vec(), own.clone(), ReplayOptions::default(), Some(watch)).await.expect("traced");
    assert_eq!(view.divergence, None);
    std::mem::take(&mut *seen.lock())
}

const SHOP: &str = r#"
fn price(item) {
    item.cents * item.count
}
let total = 0;
for item in input.items {
    total += price(item);
}
let paid = use_step("echo", #{ cents: total });
let sent = parallel([|| use_step("echo", 1), || use_step("echo", 2)]);
use_step("echo", paid.cents + 1)
"#;

fn shop() -> Value {
    json!({ "items": [{ "cents": 5, "count": 2 }, { "cents": 7, "count": 1 }] })
}

#[tokio::test]
async fn it_stops_where_it_is_told() {
    let (host, run) = ran(SHOP, shop()).await;
    for (stop, line, variable) in [
        (Stop::Step { step_id: id("1") }, 9, Some(("total", "17"))),
        (Stop::Step { step_id: id("3") }, 11, Some(("paid", "#{\"cents\": 17}"))),
        (Stop::Step { step_id: id("2.2.1") }, 10, None),
        (Stop::Place { file: None, line: 7, after: 0 }, 7, Some(("total", "0"))),
        (Stop::Place { file: None, line: 3, after: 0 }, 3, Some(("item", "#{\"cents\": 5, \"count\": 2}"))),
        (Stop::Statement { n: 1 }, 5, None),
    ] {
        let view = run.replay(ReplayOptions { stop: Some(stop.clone()), ..Default::default() }).await.expect("stops");
        let snapshot = view.stopped.unwrap_or_else(|| panic!("{stop:?} did not stop"));
        assert_eq!(snapshot.line, line, "{stop:?}: {snapshot:?}");
        if let Some((name, value)) = variable {
            let found = snapshot.variables.iter().find(|variable| variable.name == name);
            assert_eq!(found.map(|variable| variable.value.as_str()), Some(value), "{stop:?}");
        }
    }
    let inside = Stop::Place { file: None, line: 3, after: 0 };
    let view = run.replay(ReplayOptions { stop: Some(inside), ..Default::default() }).await.expect("stops");
    let stack: Vec<_> = view.stopped.expect("a place").stack.into_iter().map(|f| (f.function, f.line)).collect();
    assert_eq!(stack, [("price".to_owned(), 3), (String::new(), 7)]);
    for (stop, says) in [
        (Stop::Step { step_id: id("9") }, "the run does not come to step 9; the last in its log is 3"),
        (Stop::Place { file: None, line: 99, after: 0 }, "the run never comes to line 99"),
    ] {
        let error =
            run.replay(ReplayOptions { stop: Some(stop), ..Default::default() }).await.expect_err("no such place");
        assert!(matches!(&error, HostError::Invalid(text) if text.contains(says)), "{error}");
    }
    host.shutdown().await;
}

#[tokio::test]
async fn expressions_see_copies() {
    let (host, run) = ran(SHOP, shop()).await;
    for (expression, value) in [
        ("total + 1", Ok("18")),
        ("price(#{ cents: 2, count: 3 })", Ok("6")),
        ("input.items.len()", Ok("2")),
        ("input.items.map(|i| i.cents)", Ok("[5, 7]")),
        ("nothing", Err("nothing")),
        ("use_step(\"echo\", 1)", Err("no durable call")),
        ("total = 3", Err("")),
        ("total +", Err("")),
    ] {
        let stop = Some(Stop::Step { step_id: id("1") });
        let options = ReplayOptions { stop, evaluate: Some(expression.into()), ..Default::default() };
        let view = run.replay(options).await.expect("it stops");
        let snapshot = view.stopped.expect("it stopped");
        match value {
            Ok(value) => assert_eq!(snapshot.value.as_deref(), Some(value), "{expression}: {snapshot:?}"),
            Err(why) => {
                let error = snapshot.value_error.unwrap_or_else(|| panic!("{expression} gave {:?}", snapshot.value));
                assert!(error.contains(why), "{expression}: {error}");
            }
        }
    }
    assert_eq!(run.events(1, 100).await.expect("a log").len(), 11, "nothing was added");
    host.shutdown().await;
}

#[tokio::test]
async fn another_result_leads_as_far_as_the_log_goes() {
    let (host, run) = ran(SHOP, shop()).await;
    // The result of the last step only changes the output.
    let set = |step: &str, value: Value| ReplayOptions { set: [(id(step), value)].into(), ..Default::default() };
    let view = run.replay(set("3", json!("other"))).await.expect("it goes on");
    assert_eq!((view.status, view.output, view.used, view.events), (Status::Completed, json!("other"), 10, 11));
    // That of the first is the input of the third.
    let view = run.replay(set("1", json!({ "cents": 99 }))).await.expect("it goes on");
    assert_eq!(view.divergence, None);
    let next: Vec<_> =
        view.next.iter().map(|call| (call.what.clone(), call.input.clone(), call.site.clone())).collect();
    assert_eq!(next, [("use_step(\"echo\")".to_owned(), json!(100), "11:1".to_owned())]);
    assert!(view.next[0].source.contains("paid.cents + 1"), "{:?}", view.next);
    assert_eq!((view.status, view.used), (Status::Running, 8));
    let view = run.replay(set("1", json!(5))).await.expect("it goes on");
    assert_eq!(view.status, Status::Failed, "{view:?}");
    assert!(view.error.expect("an error").place.is_some());
    let error = run.replay(set("7", json!(5))).await.expect_err("there is no such step");
    assert!(error.to_string().contains("those that have are 1, 2.1.1, 2.2.1, 3"), "{error}");
    assert_eq!(run.view().await.expect("it is there").status, Status::Completed);
    host.shutdown().await;
}

#[tokio::test]
async fn an_edited_script_is_compared() {
    let (host, run) = ran(SHOP, shop()).await;
    let with = |from: &str, to: &str| {
        let source = SHOP.replace(from, to);
        assert_ne!(source, SHOP);
        ReplayOptions { script: Some(Script { source, ..Script::default() }), ..Default::default() }
    };
    let fits = run.replay(with("let total = 0;", "// Cents.\nlet total = 0;")).await.expect("it runs");
    assert_eq!((fits.divergence, fits.status), (None, Status::Completed));
    let differs = run.replay(with("item.count", "(item.count + 1)")).await.expect("it runs");
    let divergence = differs.divergence.expect("it diverges");
    let (recorded, asked) = (divergence.recorded.expect("recorded"), divergence.asked.expect("asked"));
    assert_eq!((recorded.input, asked.input), (json!({ "cents": 17 }), json!({ "cents": 29 })));
    assert_eq!(
        (recorded.source, asked.source.clone()),
        (asked.source, "let paid = use_step(\"echo\", #{ cents: total });".into())
    );
    let broken = run.replay(with("let total = 0;", "let total = ;")).await.expect_err("it does not compile");
    assert!(matches!(&broken, HostError::Script(text) if text.contains("flow.rhai:5:13")), "{broken}");
    host.shutdown().await;
}

#[tokio::test]
async fn a_long_run_can_be_traced() {
    let script = "let x = 0; for i in 0..5000 {\n  x = use_step(\"echo\", x + 1);\n}\nx";
    let (host, run) = ran(script, Value::Null).await;
    let count = Arc::new(Mutex::new((0_u64, TraceText::new(false), Vec::new())));
    let sink = count.clone();
    let began = std::time::Instant::now();
    let watch = move |event: TraceEvent| {
        let mut seen = sink.lock();
        seen.0 += 1;
        let lines = seen.1.push(&event);
        seen.2.extend(lines);
        true
    };
    let view = run.trace(ReplayOptions::default(), watch).await.expect("it can be traced");
    let took = began.elapsed();
    let mut seen = std::mem::take(&mut *count.lock());
    let rest = seen.1.finish();
    seen.2.extend(rest);
    assert_eq!((view.events, view.output), (10_003, json!(5000)));
    assert!(seen.0 > 20_000, "{} events", seen.0);
    assert!(seen.2.len() < 40, "{}", seen.2.join("\n"));
    assert!(seen.2.iter().any(|line| line.contains("passes 3 to 4999")), "{}", seen.2.join("\n"));
    let plain = run.replay(ReplayOptions::default()).await.expect("it replays");
    println!("10 003 events: replay {} µs, trace {took:?} ({} things seen)", plain.micros, seen.0);
    host.shutdown().await;
}
