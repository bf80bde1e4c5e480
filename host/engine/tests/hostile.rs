//! Scripts that mean harm, or are badly wrong: each must end cleanly, in debug and in release builds, whatever it catches.

mod driver;

use std::cell::Cell;
use std::rc::Rc;

use driver::{compile, created, run};
use durhai_core::replay::{Input, Limits, Verdict};
use durhai_core::{EventBody, FailureKind, Replay};
use durhai_engine::rhai::{Dynamic, Map};
use durhai_engine::{Execution, Sandbox, SandboxConfig, ScriptLimits, Yield};

/// Runs a script that may catch what it likes; gives the failure that ended the run.
fn fails(script: &str) -> durhai_core::Failure {
    let sandbox = Sandbox::new(&SandboxConfig {
        limits: ScriptLimits { operations: 3_000_000, ..ScriptLimits::default() },
        ..SandboxConfig::default()
    });
    driver::run_with(&sandbox, script, serde_json::json!(null)).result().expect_err(script)
}

#[test]
fn recursion() {
    for script in [
        "fn f(x) { f(x + 1) } f(0)",
        "fn f(x) { let y = f(x + 1); y + 1 } f(0)",
        "fn a(x) { b(x) } fn b(x) { a(x) } a(0)",
        "let f = |me, x| me.call(me, x + 1); f.call(f, 0)",
        "fn f(x) { [x].map(|y| f(y)) } f(0)",
        "fn f(x) { [x].map(|y| [y].map(|z| f(z))) } f(0)",
        "fn f(x) { call(Fn(\"g\"), x) } fn g(x) { Fn(\"f\").call(x) } f(1)",
        "fn f(x) { this.f(x) } let a = [1]; a.f(1)",
        "fn f(x) { parallel([|| f(x)]) } f(0)",
        "fn f(x) { switch x { _ => { if true { for i in 0..1 { while true { return f(x); } } } } } } f(1)",
        "fn f(x) { 1 + (1 + (1 + (1 + (1 + (1 + (1 + (1 + (1 + (1 + f(x)))))))))) } f(1)",
    ] {
        let failure = fails(script);
        assert_eq!(failure.kind, FailureKind::Limit, "{script}: {failure}");
        assert!(failure.message.contains("too deeply"), "{script}: {failure}");
    }
}

/// `sort` and `dedup` swallow what their callbacks throw, so these may also end well; they must end.
#[test]
fn callbacks_that_swallow_errors() {
    for script in [
        "fn f(x) { let a = [3, 1, 2]; a.sort(|x, y| f(x)); 1 } f(0)",
        "fn f(x) { let a = [3, 1, 2]; a.dedup(|x, y| f(x)); 1 } f(0)",
        "let a = [3, 1, 2]; a.sort(|x, y| { loop { } }); a",
        "let a = [3, 1, 2]; a.dedup(|x, y| { loop { } }); a",
    ] {
        assert_eq!(run_limited(script), Some(FailureKind::Limit), "{script}");
    }
}

fn run_limited(script: &str) -> Option<FailureKind> {
    let limits = ScriptLimits { operations: 1_000_000, ..ScriptLimits::default() };
    let sandbox = Sandbox::new(&SandboxConfig { limits, ..SandboxConfig::default() });
    driver::run_with(&sandbox, script, serde_json::json!(null)).result().err().map(|failure| failure.kind)
}

#[test]
fn loops_that_do_not_end() {
    for script in [
        "loop { }",
        "let x = 0; while true { x += 1; }",
        "loop { try { loop { } } catch { } }",
        "fn f() { loop { } } loop { try { f() } catch (e) { } }",
        "let f = || { loop { } }; loop { try { f.call() } catch (e) { } }",
        "loop { try { [1].map(|x| { loop { } }) } catch (e) { } }",
        "parallel([|| { loop { } }, || sleep(5)])",
        "loop { now(); }",
        "loop { rand(); }",
    ] {
        let failure = fails(script);
        assert_eq!(failure.kind, FailureKind::Limit, "{script}: {failure}");
        assert!(failure.message.contains("more than 3000000 operations without a durable call"), "{script}: {failure}");
    }
}

/// Gives scripts `deep_array(levels)` and `deep_map(levels)`: what a script could build too, but not before tea.
fn deep() -> durhai_engine::Extension {
    fn nest(levels: i64, wrap: fn(Dynamic) -> Dynamic) -> Dynamic {
        (0..levels).fold(Dynamic::UNIT, |inner, _| wrap(inner))
    }
    std::sync::Arc::new(|engine| {
        engine.register_fn("deep_array", |levels: i64| nest(levels, |inner| vec![inner].into()));
        engine.register_fn("deep_map", |levels: i64| nest(levels, |inner| Map::from([("k".into(), inner)]).into()));
        engine.register_fn("deep_both", |levels: i64| {
            nest(levels, |inner| vec![Dynamic::from_map(Map::from([("k".into(), inner)]))].into())
        });
    })
}

/// Nesting in data is bounded by the limits on its size; Rhai's recursion over it must fit the stack.
#[test]
fn deep_data() {
    let sandbox = Sandbox::new(&SandboxConfig { extend: vec![deep()], ..SandboxConfig::default() });
    for make in ["deep_array(99_990)", "deep_both(99_990)"] {
        for (use_it, kind) in [
            ("let b = a; let c = b; let f = || c; f.call(); 1", None),
            ("print(a); debug(a); let s = `${a}` + a; s.len() < 1000", None),
            ("let c = 0; try { a.to_json(); } catch (e) { c = e.kind; } c == \"limit\"", None),
            ("try { use_step(\"echo\", a) } catch (e) { 1 }", None),
            ("[a, 1].index_of(1) + [1, 2].map(|x| a).len()", None),
            ("parallel([|| a, || #{ a: a }], #{ settle: true }); 1", None),
            ("a", Some(FailureKind::Limit)),
            ("throw a", Some(FailureKind::Thrown)),
            (
                "let b = a; let c = 0; try { c = a == b; } catch (e) { c = e.kind; } if c != \"limit\" { throw c; }",
                None,
            ),
            ("switch a { 1 => 2, _ => 3 }", None),
            ("let m = #{}; m[a]", Some(FailureKind::Script)),
            ("a.no_such_function()", Some(FailureKind::Script)),
        ] {
            let script = format!("let a = {make}; {use_it}");
            let result = driver::run_with(&sandbox, &script, serde_json::json!(null)).result();
            let found = result.as_ref().err().map(|failure| failure.kind);
            // Two measures at once are over the limits of some of these.
            assert!(found == kind || found == Some(FailureKind::Limit), "{script}: {result:?}");
        }
    }
    // The same at the bottom of many calls.
    let script =
        "fn f(n) { if n == 0 { let y = deep_both(99_990); let z = y; 1 } else { [n].map(|x| f(x - 1))[0] } } f(15)";
    driver::run_with(&sandbox, script, serde_json::json!(null)).result().expect("it fits");
    let limits = ScriptLimits { array: 600, map: 600, ..ScriptLimits::default() };
    let sandbox = Sandbox::new(&SandboxConfig { limits, ..SandboxConfig::default() });
    for (script, message) in [
        ("let a = []; loop { a = [a]; }", "array"),
        ("let m = #{}; loop { m = #{ m: m }; }", "map"),
        ("let a = []; loop { a = [#{ a: a }]; }", "too large"),
        ("let a = []; loop { let b = []; b.push(a); a = b; }", "array"),
        ("let m = #{}; loop { let n = #{}; n.m = m; m = n; }", "map"),
        ("let a = []; for i in 0..200 { a = [a]; } parallel([|| a, || [a]]); a", "nests more than 64 levels"),
        ("let a = 1; for i in 0..50_000 { let b = a; a = || b; } throw \"done\"", "done"),
    ] {
        let failure = driver::run_with(&sandbox, script, serde_json::json!(null)).result().expect_err(script);
        assert!(failure.message.contains(message), "{script}: {failure}");
    }
}

fn fails_with(script: &str, operations: u64) -> durhai_core::Failure {
    let limits = ScriptLimits { operations, ..ScriptLimits::default() };
    let sandbox = Sandbox::new(&SandboxConfig { limits, ..SandboxConfig::default() });
    driver::run_with(&sandbox, script, serde_json::json!(null)).result().expect_err(script)
}

#[test]
fn data_that_explodes() {
    for script in [
        "let s = \"x\"; loop { s += s; }",
        "let s = \"x\"; loop { s = `${s}${s}`; }",
        "let a = [1]; loop { a += a; }",
        "let a = [1]; loop { a = [a, a]; }",
        "let m = #{ a: 1 }; loop { m = #{ a: m, b: m }; }",
        "let a = [1]; loop { a.push(a); }",
        "let a = []; loop { a.push(1); }",
        "let a = []; loop { a.push(\"a text that takes some room in memory, a hundred bytes or so, to be counted with it\"); }",
        "let a = []; a.pad(1_000_000_000, 1);",
        "let b = blob(1_000_000_000);",
        "\"x\".pad(1_000_000_000, 'y')",
    ] {
        let failure = fails_with(script, 200_000_000);
        assert_eq!(failure.kind, FailureKind::Limit, "{script}: {failure}");
    }
}

/// No limit of Rhai counts what a function pointer holds, and this one would hold 2^60 others.
#[test]
fn function_pointers_that_hold_themselves_twice() {
    let sandbox = Sandbox::new(&SandboxConfig::default());
    for (script, message) in [
        ("let f = Fn(\"g\"); for i in 0..60 { f = f.curry(f); }", "name of a property"),
        ("let f = Fn(\"g\"); for i in 0..60 { f = curry(f, f); }", "'curry' is disabled"),
    ] {
        let wrong = sandbox.compile(&durhai_engine::Bundle::single("flow", script)).err().expect(script);
        assert!(wrong[0].message.contains(message), "{}", wrong[0]);
    }
    assert_eq!(fails("let f = Fn(\"curry\"); f.call(f, f)").kind, FailureKind::Script);
    assert_eq!(run("let a = 1; let f = |b| a + b; f.call(2)").result().expect("it captures"), serde_json::json!(3));
}

#[test]
fn values_that_hold_themselves() {
    for script in [
        "let m = #{}; let f = || m; m.f = f; print(m); let s = `${m} ${f}`; debug(f); throw m",
        "let m = #{}; let f = || m; m.f = f; use_step(\"echo\", m)",
        "let m = #{}; let f = || m; m.f = f; m",
        "let m = #{}; m.f = || m; throw m.f",
    ] {
        let failure = fails(script);
        assert!(matches!(failure.kind, FailureKind::NotStorable | FailureKind::Thrown), "{script}: {failure}");
    }
}

#[test]
fn a_script_that_spins_gives_way() {
    let sandbox = Sandbox::new(&SandboxConfig::default());
    let program = compile(&sandbox, "let x = 0; for i in 0..300_000 { x += i; } x");
    let mut execution = Execution::new(program.clone(), replay(&program));
    execution.replay_mut().deliver(driver::START, Input::Start);
    let asked = Cell::new(0);
    let mut turns = 1;
    while execution.turn(&sandbox, &|| {
        asked.set(asked.get() + 1);
        asked.get() % 2 == 0
    }) == Yield::Preempted
    {
        turns += 1;
    }
    assert!(turns > 3 && asked.get() >= 2 * (turns - 1), "{turns} turns, asked {} times", asked.get());
    assert!(matches!(execution.replay().verdict(), Some(Verdict::Ended(EventBody::RunCompleted { .. }))));
}

fn replay(program: &durhai_engine::Program) -> Replay {
    Replay::new(vec![created(program, serde_json::Value::Null)], Limits::default()).expect("a log")
}

#[test]
fn runs_that_are_dropped_free_what_they_hold() {
    let sandbox = Sandbox::new(&SandboxConfig { extend: vec![deep()], ..SandboxConfig::default() });
    for script in [
        "sleep(1)",
        "fn f(n) { if n == 0 { sleep(1) } else { f(n - 1) } } f(20)",
        "parallel([|| sleep(1), || sleep(2), || parallel([|| use_step(\"echo\")])])",
        "let a = deep_both(40_000); parallel([|| { a; sleep(1) }])",
        "try { sleep(1) } catch (e) { sleep(2); }",
        "let a = 0; loop { try { a += 1; } catch (e) { } }",
    ] {
        let program = compile(&sandbox, script);
        let mut execution = Execution::new(program.clone(), replay(&program));
        execution.replay_mut().deliver(driver::START, Input::Start);
        execution.turn(&sandbox, &|| true);
        drop(execution);
        assert_eq!(Rc::strong_count(&program), 1, "{script}");
    }
}

#[test]
fn a_native_function_that_panics() {
    let extend: durhai_engine::Extension = std::sync::Arc::new(|engine| {
        engine.register_fn("boom", || -> i64 { panic!("out of order") });
    });
    let sandbox = Sandbox::new(&SandboxConfig { extend: vec![extend], ..SandboxConfig::default() });
    let failure = driver::run_with(&sandbox, "try { boom() } catch { }", serde_json::json!(null)).result().unwrap_err();
    assert_eq!(failure.message, "a native function panicked: out of order");
    let modules = [("lib/a".to_string(), "boom();".to_string())].into();
    let bundle = durhai_engine::Bundle { modules, ..durhai_engine::Bundle::single("flow", "1") };
    let wrong = sandbox.compile(&bundle).err().expect("it panics");
    assert_eq!(wrong[0].message, "this module cannot be loaded: a native function panicked");
    assert!(
        driver::run_with(&sandbox, "let x = 0; for i in 0..5000 { x += 1; } x", serde_json::json!(null))
            .result()
            .is_ok()
    );
}

#[test]
fn no_effects() {
    for script in ["open(\"x\")", "eval_file(\"x\")", "get_fn_metadata_list()", "import \"x\" as x; 1"] {
        let bundle = durhai_engine::Bundle::single("flow", script);
        let sandbox = Sandbox::new(&SandboxConfig::default());
        let program = Rc::new(sandbox.compile(&bundle).expect(script));
        let outcome = driver::drive(&sandbox, &program, vec![created(&program, serde_json::Value::Null)]);
        assert_eq!(outcome.result().expect_err(script).kind, FailureKind::Script, "{script}");
    }
    assert!(run("sleep(0.001)").result().is_ok());
}

/// Texts that nest, or seem to.
#[test]
fn texts_that_are_deep() {
    let sandbox = Sandbox::new(&SandboxConfig::default());
    let many = 60_000;
    for (script, what) in [
        (format!("1{}", " + 1".repeat(many)), "sum"),
        (format!("let a = 1; a{}", ".a".repeat(many)), "properties"),
        (format!("let a = 1; a{}", "[0]".repeat(many)), "indices"),
        (format!("if true {{ }}{}", " else if true { }".repeat(many)), "else if"),
        (format!("{}true", "!".repeat(many)), "not"),
        (format!("{}1", "-".repeat(many)), "minus"),
        (format!("{}1{}", "[".repeat(many), "]".repeat(many)), "arrays"),
        (format!("{}1{}", "#{a:".repeat(many), "}".repeat(many)), "maps"),
        (format!("{}1{}", "(".repeat(many), ")".repeat(many)), "parentheses"),
        (format!("{}{}", "{".repeat(many), "}".repeat(many)), "blocks"),
        (format!("{}1", "|| ".repeat(many)), "closures"),
        (format!("{}1{}", "f(".repeat(many), ")".repeat(many)), "calls"),
        (format!("true{}", " && true".repeat(many)), "and"),
        (format!("(){}", " ?? ()".repeat(many)), "or else"),
        (format!("2{}", " ** 1".repeat(many)), "powers"),
        (format!("let a = 1; {}1", "a = ".repeat(many)), "assignments"),
        (format!("{}1", "return ".repeat(many)), "returns"),
        ("while true ".repeat(many), "loops"),
        (format!("{}1{}", "`${".repeat(many / 2), "}`".repeat(many / 2)), "interpolations"),
        (format!("{}1{}", "switch 1 { 1 => ".repeat(many / 2), "}".repeat(many / 2)), "switches"),
    ] {
        let wrong = sandbox.compile(&durhai_engine::Bundle::single("flow", &script)).err().expect(what);
        assert!(wrong[0].line == 1, "{what}: {}", wrong[0]);
    }
}
