use super::*;
use crate::attempt::Progress;
use crate::folder::Folder;
use crate::permissions::{PathGrant, Permissions};
use crate::pool::Pool;
use crate::program::MAX_CALLS;
use crate::step_env::StepEnvHandle;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

const BOUNDS: Bounds = Bounds { operations: 50_000_000, memory: u64::MAX };

fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap())
}

/// A folder of texts, run step by step.
struct Bench {
    folder: tempfile::TempDir,
    steps: Folder,
    engine: StepEngine,
    step_env: Arc<StepEnv>,
}

fn bench(files: &[(&str, &str)]) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("out")).unwrap();
    let grant = PathGrant::paths([folder.path().join("out")]).unwrap();
    let permissions = Permissions { read: grant.clone(), write: grant, ..Permissions::none() };
    let steps = Folder::new(folder.path().into());
    let bench =
        Bench { folder, steps, engine: StepEngine::new(BOUNDS), step_env: StepEnvHandle::from(permissions).current() };
    for (file, text) in files {
        bench.save(file, text);
    }
    bench
}

impl Bench {
    fn save(&self, file: &str, text: &str) {
        let path = self.folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As editors do: a new file takes the place of the old one.
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn attempt(&self, step: &str, input: Value) -> ScriptAttempt {
        let (module, function) = step.rsplit_once('.').unwrap();
        let program = self.steps.find(module).unwrap().program.unwrap();
        let stop = Arc::new(Stop::after(Duration::from_secs(600)));
        let tokio = runtime().handle().clone();
        ScriptAttempt {
            program,
            function: function.into(),
            input,
            caller: caller(|_| {}),
            stop,
            step_env: self.step_env.clone(),
            tokio,
        }
    }

    fn run(&mut self, step: &str, input: Value) -> Result<Value, StepError> {
        let attempt = self.attempt(step, input);
        self.engine.run(attempt)
    }
}

fn caller(tell: impl Fn(Progress) + Send + Sync + 'static) -> Arc<Caller> {
    Arc::new(Caller {
        run_id: "run-1".into(),
        step_id: "4.2".into(),
        workflow: "shop".into(),
        step: "a.f".into(),
        key: "run-1/4.2".into(),
        attempt: 3,
        traceparent: String::new(),
        tell: Box::new(tell),
    })
}

#[test]
fn json_that_a_step_reads_keeps_its_numbers() {
    let text = r#"import "std/json" as json;
        fn own(text) { parse_json(text) }
        fn std(text) { json::parse(text) }
        fn caught(text) { try { parse_json(text) } catch (e) { `${e}` } }"#;
    let mut bench = bench(&[("steps/t.rhai", text)]);
    for step in ["t.own", "t.std"] {
        assert_eq!(bench.run(step, json!("[9223372036854775807, 1.0]")).unwrap(), json!([i64::MAX, 1.0]), "{step}");
        let error = bench.run(step, json!("{\"a\":[12345678901234567890]}")).unwrap_err().to_string();
        assert!(error.contains("a[0]: 12345678901234567890 does not fit into 64 bits"), "{step}: {error}");
    }
    let caught = bench.run("t.caught", json!("12345678901234567890")).unwrap();
    assert!(caught.as_str().unwrap().contains("parse_json: 12345678901234567890 does not fit"), "{caught}");
}

#[test]
fn values() {
    let table = [
        ("fn f(input) { input }", json!({ "a": [1, 1.0, null] }), json!({ "a": [1, 1.0, null] })),
        ("fn f() { 7 }", json!("ignored"), json!(7)),
        ("fn f(input) { return input.n + 1; }", json!({ "n": 1 }), json!(2)),
        ("fn f(input) { exit(input) }", json!(5), json!(5)),
        ("const RATE = 3; fn f(input) { input * global::RATE }", json!(2), json!(6)),
        ("import \"lib/x\" as x; fn f(input) { x::twice(input) }", json!(4), json!(8)),
        (
            "fn f() { [attempt(), run_id(), step_id(), idempotency_key(), workflow_name(), is_cancelled()] }",
            json!(null),
            json!([3, "run-1", "4.2", "run-1/4.2", "shop", false]),
        ),
        ("fn f(input) { json::stringify(json::parse(input)) }", json!("{\"a\": 1.0}"), json!("{\"a\":1.0}")),
        ("fn f() { sleep(0); sleep(0.0); sleep(\"0ms\"); now() > 1_700_000_000_000 }", json!(null), json!(true)),
        ("fn f() { let t = timestamp(); t.elapsed >= 0.0 }", json!(null), json!(true)),
        ("fn f(input) { [3, 1, 2].sort(); input.map(|x| x * 2).reduce(|a, b| a + b, 0) }", json!([1, 2]), json!(6)),
        (
            "fn f() { try { fatal(\"no\", #{ n: 1 }) } catch (e) { return [e.message, e.fatal, e.data.n, `${e}`]; } }",
            json!(null),
            json!(["no", true, 1, "no"]),
        ),
        ("fn f() { try { throw #{ code: 7 } } catch (e) { return e.code; } }", json!(null), json!(7)),
        // As in workflows: closures see their turn, the value of a `catch` counts, errors of the script are maps.
        ("fn f() { let f = []; for i in 0..3 { f.push(|| i); } f.map(|g| g.call()) }", json!(null), json!([0, 1, 2])),
        ("fn f() { try { throw 1; } catch (e) { e + 1 } }", json!(null), json!(2)),
        (
            "fn f(input) {\n try { input.nothing() } catch (e) { [e.kind, e.file, e.line, e.column] } }",
            json!(1),
            json!(["script", "steps/a.rhai", 2, 14]),
        ),
    ];
    for (text, input, wanted) in table {
        let mut bench = bench(&[("steps/a.rhai", text), ("lib/x.rhai", "fn twice(n) { n * 2 }")]);
        assert_eq!(bench.run("a.f", input).unwrap().to_string(), wanted.to_string(), "{text}");
    }
}

/// An error of the script that is thrown on is told like one that was not caught.
#[test]
fn an_error_that_is_thrown_on_keeps_its_place() {
    let plain = "fn g(input) {\n input.nothing() } fn f(input) { g(input) }";
    let thrown_on = "fn g(input) {\n input.nothing() } fn f(input) { try { g(input) } catch (e) { throw e } }";
    let [plain, thrown_on] = [plain, thrown_on].map(|text| {
        let error = bench(&[("steps/a.rhai", text)]).run("a.f", json!(1)).unwrap_err();
        error.message().lines().next().unwrap_or_default().to_owned()
    });
    assert_eq!(plain, "steps/a.rhai:2:8: there is no function nothing(integer)");
    assert_eq!(thrown_on, plain);
}

#[test]
fn errors() {
    let wait = Duration::from_millis(1_500);
    let table = [
        ("fn f() { throw \"busy\" }", StepError::retry("busy")),
        ("fn f() { throw #{ message: \"busy\", code: 7 } }", {
            StepError::retry("busy").data(json!({ "code": 7, "message": "busy" }))
        }),
        ("fn f() { throw 42 }", StepError::retry("42").data(json!(42))),
        ("fn f() { throw }", StepError::retry("null")),
        ("fn f() { fatal(\"closed\") }", StepError::fatal("closed")),
        ("fn f() { fatal(\"closed\", #{ a: 1.0 }) }", StepError::fatal("closed").data(json!({ "a": 1.0 }))),
        ("fn f() { fatal(#{ message: \"closed\" }) }", StepError::fatal("closed").data(json!({ "message": "closed" }))),
        ("fn f() { retry_after(\"1.5s\", \"later\") }", StepError::retry("later").retry_after(wait)),
        ("fn f() { retry_after(1.5, \"later\", 7) }", StepError::retry("later").retry_after(wait).data(json!(7))),
        ("fn g() { fatal(\"deep\") } fn f() { try { g() } catch (e) { throw e } }", StepError::fatal("deep")),
        ("import \"lib/x\" as x; fn f() { x::fail() }", StepError::fatal("from lib")),
    ];
    for (text, wanted) in table {
        let mut bench = bench(&[("steps/a.rhai", text), ("lib/x.rhai", "fn fail() { fatal(\"from lib\") }")]);
        assert_eq!(bench.run("a.f", json!(null)).unwrap_err(), wanted, "{text}");
    }
}

#[test]
fn mistakes_in_a_script_are_shown_with_their_place() {
    let table = [
        ("fn f() {\n  let x = 1;\n  nothing(x)\n}", "steps/a.rhai:3:3: there is no function nothing(integer)"),
        ("fn f() {\n  let x = 1;\n  nothing(x)\n}", "\n 3 |   nothing(x)\n   |   ^"),
        ("fn f() { [1][5] }", "steps/a.rhai:1:14: there is no element 5: the list has 1"),
        ("import \"lib/x\" as x; fn f() { x::oops() }", "lib/x.rhai:2:17: there is no variable `missing` here"),
        ("import \"lib/top\" as x; fn f() { 1 }", "lib/top.rhai:1:11: Division by zero"),
        ("fn f() { f() }", "Stack overflow"),
        ("fn f() { let s = \"x\"; loop { s += s; } }", "steps/a.rhai: Length of string too large"),
        ("fn f() { let a = [1]; loop { a += a; } }", "Size of array/BLOB too large"),
        ("fn f() { sleep(\"soon\") }", "\"soon\" is no duration"),
        ("fn f() { sleep(-1) }", "negative"),
        ("fn f() { sleep([]) }", "there is no function sleep(array)"),
        ("fn f() { log(\"loud\", \"x\") }", "\"loud\" is no level of the log: use debug, info, warn or error"),
        ("fn f() { json::parse(\"{\") }", "json::parse: EOF"),
        ("fn f() { |x| x }", "what f in steps/a.rhai gave back: $: a value of type Fn"),
    ];
    for (text, wanted) in table {
        let mut bench = bench(&[
            ("steps/a.rhai", text),
            ("lib/x.rhai", "// x\nfn oops() { 1 + missing }"),
            ("lib/top.rhai", "let x = 1 / 0;"),
        ]);
        let error = bench.run("a.f", json!(null)).unwrap_err();
        assert!(error.message().contains(wanted), "{text}\n{error}\n--- wanted\n{wanted}");
    }
}

#[test]
fn files_are_read_and_written_where_allowed() {
    let mut bench = bench(&[(
        "steps/a.rhai",
        "fn ok(dir) {
            let path = `${dir}/sub/a.txt`;
            let n = file::write(path, \"one\\n\") + file::append(path, \"two\\n\");
            let names = file::list(`${dir}/sub`).map(|entry| entry.name);
            let all = [n, file::read(path), names, file::exists(path), file::remove(path), file::exists(path)];
            all
        }
        fn passwd() { file::read(\"/etc/passwd\") }
        fn swallow() { try { file::write(\"/etc/x\", \"\") } catch (e) { throw e.message } }",
    )]);
    let out = bench.folder.path().join("out");
    let found = bench.run("a.ok", json!(out.to_str().unwrap())).unwrap();
    assert_eq!(found, json!([8, "one\ntwo\n", ["a.txt"], true, true, false]));
    let refused = "reading /etc/passwd is not allowed: grant it with --allow-read=/etc/passwd";
    assert_eq!(bench.run("a.passwd", json!(null)).unwrap_err(), StepError::fatal(refused));
    let refused = "writing /etc/x is not allowed: grant it with --allow-write=/etc/x";
    assert_eq!(bench.run("a.swallow", json!(null)).unwrap_err(), StepError::retry(refused));
}

#[test]
fn what_a_step_says_is_heard() {
    let bench = bench(&[(
        "steps/a.rhai",
        "fn f() { print(1); log(\"warn\", [2], #{ n: 3 }); heartbeat(#{ done: 4 }); debug(\"x\"); }",
    )]);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = heard.clone();
    let attempt =
        ScriptAttempt { caller: caller(move |word| ear.lock().push(word)), ..bench.attempt("a.f", json!(null)) };
    let mut engine = bench.engine;
    engine.run(attempt).unwrap();
    let line =
        |level: &str, message: &str, fields| Progress::Log { level: level.into(), message: message.into(), fields };
    let wanted = [
        line("info", "1", json!(null)),
        line("warn", "[2]", json!({ "n": 3 })),
        Progress::Heartbeat(json!({ "done": 4 })),
        line("debug", "\"x\"", json!({ "line": 1 })),
    ];
    assert_eq!(*heard.lock(), wanted);
}

#[test]
fn scripts_that_do_not_end_are_ended() {
    for text in [
        "fn f() { loop {} }",
        "fn f() { sleep(1_000_000) }",
        "fn f() { while true { try { sleep(\"1000 days\") } catch {} } }",
        "fn f() { loop { try { [1].map(|x| { loop {} }) } catch {} } }",
        "fn f() { while !is_cancelled() { sleep(1_000) } throw \"tidied up\" }",
    ] {
        let bench = bench(&[("steps/a.rhai", text)]);
        let mut attempt = bench.attempt("a.f", json!(null));
        attempt.caller = caller(|_| {});
        let stop = attempt.stop.clone();
        let pool = Pool::new(1, BOUNDS);
        let outcome = pool.submit(attempt);
        stop.ask();
        let error = outcome.blocking_recv().unwrap().unwrap_err();
        assert!(["stopped", "tidied up"].iter().any(|start| error.message().starts_with(start)), "{text}: {error}");
    }
    let bench = bench(&[("steps/a.rhai", "fn f() { loop {} }")]);
    let mut engine = bench.engine;
    let stop = Arc::new(Stop::after(Duration::from_millis(20)));
    let attempt =
        ScriptAttempt { stop, ..Bench { engine: StepEngine::new(BOUNDS), ..bench }.attempt("a.f", json!(null)) };
    assert!(engine.run(attempt).unwrap_err().message().contains("longer than steps in scripts may take"));
}

#[test]
fn more_than_the_pool_holds_waits_in_line() {
    let bench = bench(&[("steps/a.rhai", "fn f(input) { if input < 2 { sleep(1_000_000) } input }")]);
    let pool = Pool::new(2, BOUNDS);
    let attempts: Vec<_> = (0..20).map(|n| bench.attempt("a.f", json!(n))).collect();
    let stops: Vec<_> = attempts.iter().map(|attempt| attempt.stop.clone()).collect();
    let mut outcomes: Vec<_> = attempts.into_iter().map(|attempt| pool.submit(attempt)).collect();
    // Both threads sleep, so the others have not begun, whatever time passes.
    assert!(outcomes[19].try_recv().is_err());
    stops[0].ask();
    for (n, outcome) in outcomes.drain(2..).enumerate() {
        assert_eq!(outcome.blocking_recv().unwrap(), Ok(json!(n + 2)));
    }
    stops[1].ask();
    assert!(outcomes.remove(1).blocking_recv().unwrap().is_err());
}

#[test]
fn a_panic_is_a_failed_attempt() {
    let bench = bench(&[("steps/a.rhai", "fn f() { print(1) } fn g() { 2 }")]);
    let pool = Pool::new(1, BOUNDS);
    let attempt = ScriptAttempt { caller: caller(|_| panic!("no ear")), ..bench.attempt("a.f", json!(null)) };
    let error = pool.submit(attempt).blocking_recv().unwrap().unwrap_err();
    assert_eq!(error, StepError::retry("the step a.f panicked: no ear"));
    assert_eq!(pool.submit(bench.attempt("a.g", json!(null))).blocking_recv().unwrap(), Ok(json!(2)));
}

#[test]
fn the_deepest_calls_fit_the_stack() {
    // The widest frames there are: nested expressions, closures called by native functions, string interpolation.
    let text = "fn f(n) { if n == 0 { return 0; } let a = [n].map(|x| { let y = `${1 + (2 * (3 + (4 * f(x - 1))))}`; y.len() }); a[0] }
        fn plain(n) { if n == 0 { 0 } else { 1 + plain(n - 1) } }";
    let bench = bench(&[("steps/a.rhai", text)]);
    let pool = Pool::new(1, BOUNDS);
    let run = |step: &str, n| pool.submit(bench.attempt(step, json!(n))).blocking_recv().unwrap();
    assert_eq!(run("a.plain", MAX_CALLS - 1), Ok(json!(MAX_CALLS - 1)));
    assert!(run("a.plain", MAX_CALLS + 1).unwrap_err().message().contains("Stack overflow"));
    assert!(run("a.f", 10 * MAX_CALLS).unwrap_err().message().contains("Stack overflow"));
}

#[test]
fn a_save_serves_the_next_attempt_and_not_this_one() {
    let mut bench =
        bench(&[("steps/a.rhai", "import \"lib/x\" as x; fn f() { x::n() }"), ("lib/x.rhai", "fn n() { 1 }")]);
    let begun = bench.attempt("a.f", json!(null));
    bench.save("lib/x.rhai", "fn n() { 2 }");
    assert_eq!(bench.run("a.f", json!(null)), Ok(json!(2)));
    assert_eq!(bench.engine.run(begun), Ok(json!(1)));
    assert_eq!(bench.run("a.f", json!(null)), Ok(json!(2)));

    bench.save("lib/x.rhai", "fn n() { 3 ");
    let found = bench.steps.find("a").unwrap();
    assert!(found.broken.unwrap().contains("lib/x.rhai:1:12"));
    assert_eq!(bench.run("a.f", json!(null)), Ok(json!(2)));

    bench.save("lib/x.rhai", "fn n() { 3 }");
    assert!(bench.steps.find("a").unwrap().broken.is_none());
    assert_eq!(bench.run("a.f", json!(null)), Ok(json!(3)));

    bench.save("steps/new/b.rhai", "fn g() {}");
    bench.save("steps/_draft.rhai", "fn g() {}");
    assert_eq!(bench.steps.modules(), ["a", "new/b"]);
    fs::remove_file(bench.folder.path().join("steps/a.rhai")).unwrap();
    for gone in ["a", "_draft", "../a", "", "b"] {
        assert!(bench.steps.find(gone).is_none(), "{gone}");
    }
    assert!(Path::new(&bench.folder.path().join("lib/x.rhai")).exists());
}

#[test]
fn a_loop_without_end_ends() {
    let text = "fn f() { loop {} }
        fn stubborn() { loop { try { [1].map(|x| { loop {} }) } catch {} } }
        fn patient() { loop { try { sleep(1_000_000) } catch {} } }";
    let bench = bench(&[("steps/a.rhai", text)]);
    let few = Bounds { operations: 100_000, ..BOUNDS };
    for step in ["a.f", "a.stubborn"] {
        let error = StepEngine::new(few).run(bench.attempt(step, json!(null))).unwrap_err();
        assert!(error.is_fatal() && error.message().contains("more operations"), "{step}: {error}");
    }
    let full = Bounds { memory: 1, operations: u64::MAX };
    for step in ["a.f", "a.stubborn"] {
        let error = StepEngine::new(full).run(bench.attempt(step, json!(null))).unwrap_err();
        assert!(!error.is_fatal() && error.message().contains("memory"), "{step}: {error}");
    }
    for step in ["a.f", "a.stubborn", "a.patient"] {
        let attempt = bench.attempt(step, json!(null));
        let stop = attempt.stop.clone();
        let error = std::thread::scope(|scope| {
            let attempt = scope.spawn(|| StepEngine::new(BOUNDS_WITHOUT_END).run(attempt));
            stop.ask();
            attempt.join().unwrap().unwrap_err()
        });
        assert!(error.message().contains("not wanted"), "{step}: {error}");
    }
}

const BOUNDS_WITHOUT_END: Bounds = Bounds { operations: u64::MAX, memory: u64::MAX };

#[test]
fn the_standard_library_is_there_as_far_as_it_is_pure() {
    let text = "import \"std/batch\" as batch;
        fn f() { [text::lines(\"a\\nb\"), json::parse(`{\"n\":1}`).n, batch::chunks([1, 2, 3], 2)] }";
    let mut bench = bench(&[("steps/a.rhai", text), ("steps/b.rhai", "import \"std/saga\" as s; fn f() {}")]);
    assert_eq!(bench.run("a.f", json!(null)), Ok(json!([["a", "b"], 1, [[1, 2], [3]]])));
    bench.save("steps/c.rhai", "import \"std/nothing\" as n; fn f() {}");
    for (module, wanted) in
        [("b", "steps/b.rhai:1:8: import \"std/saga\": it is made of durable calls"), ("c", "there is no such module")]
    {
        let broken = bench.steps.find(module).unwrap().broken.unwrap();
        assert!(broken.contains(wanted), "{broken}");
    }
}

/// No limit counts what a function pointer holds, and this one would hold 2^60 others before a limit is checked.
#[test]
fn function_pointers_cannot_hold_themselves_twice() {
    let text = "fn a() { let f = Fn(\"g\"); for i in 0..60 { f = curry(f, f); } }";
    let bench = bench(&[("steps/t.rhai", text)]);
    let broken = bench.steps.find("t").unwrap().broken.unwrap();
    assert!(broken.contains("'curry' is disabled"), "{broken}");
    let text = "fn a() { eval(\"let f = Fn(\\\"g\\\"); for i in 0..60 { f = curry(f, f); }\") } fn b() { let one = 1; let f = |n| one + n; f.call(2) }";
    bench.save("steps/t.rhai", text);
    let mut bench = bench;
    let error = bench.run("t.a", Value::Null).unwrap_err();
    assert!(error.message().contains("'curry' is disabled"), "{error}");
    assert_eq!(bench.run("t.b", Value::Null).unwrap(), 3);
}
