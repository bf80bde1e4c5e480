//! What scripts hold in memory, and what copying costs: a script that takes too much ends by a limit with a name, whatever
//! its single values are, and one that does not is left alone.

mod driver;

use durhai_core::{Failure, FailureKind};
use durhai_engine::{CountingAllocator, Sandbox, SandboxConfig, ScriptLimits, ScriptMemory, memory_is_counted};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

fn config(run: u64, all: u64) -> SandboxConfig {
    SandboxConfig { memory: ScriptMemory { run, all }, ..SandboxConfig::default() }
}

/// Runs a script once, and gives what became of it; nothing of it is held afterwards.
fn result(config: &SandboxConfig, script: &str) -> Result<Value, Failure> {
    let sandbox = Sandbox::new(config);
    let program = driver::compile(&sandbox, script);
    let outcome = driver::drive(&sandbox, &program, vec![driver::created(&program, Value::Null)]);
    assert_eq!(config.pool.bytes(), 0, "{script}");
    outcome.result()
}

#[track_caller]
fn ends(config: &SandboxConfig, script: &str, limit: &str) {
    let failure = result(config, script).expect_err(script);
    assert_eq!(failure.kind, FailureKind::Limit, "{script}: {failure}");
    assert!(failure.message.contains(&format!("(the limit `{limit}`)")), "{script}: {failure}");
}

/// Every single value is within its limits, all of them together are not.
#[test]
fn what_a_run_holds_is_bounded() {
    assert!(memory_is_counted());
    let config = config(32 << 20, 1 << 30);
    let variables: String = (0..200).map(|n| format!("let v{n} = \"\"; v{n}.pad(1_000_000, 'x');")).collect();
    for script in [
        "let held = []; loop { let text = \"\"; text.pad(1_000_000, 'x'); held.push(|| text); }",
        "let held = []; loop { let items = []; items.pad(1_000, #{ a: 1 }); held.push(|| items); }",
        "let held = #{}; let n = 0; loop { let text = \"\"; text.pad(1_000_000, 'x'); held[`k${n}`] = || text; n += 1; }",
        "fn f(n) { let text = \"\"; text.pad(2_000_000, 'x'); [n].map(|x| f(x + 1)) } f(0)",
        "let work = []; for i in 0..100 { work.push(|| { let text = \"\"; text.pad(1_000_000, 'x'); sleep(1); text.len() }); } \
         parallel(work)",
        "let tasks = []; for i in 0..200 { tasks.push(task(|| { let items = []; items.pad(50_000, 1.5); sleep(1); 1 })); } \
         tasks.map(|t| t.join())",
        "fn f(n) { if n == 0 { sleep(100) } else { f(n - 1) } } let work = []; for i in 0..2_000 { work.push(|| f(50)); } \
         parallel(work)",
        // Caught as often as it likes.
        "let held = []; loop { try { let text = \"\"; text.pad(1_000_000, 'x'); held.push(|| text); } catch { } }",
        &variables,
    ] {
        ends(&config, script, "run_memory");
    }
}

/// What was once held and is held no more does not count, nor does what went to the log, to streams and into results.
#[test]
fn what_a_run_no_longer_holds_does_not_count() {
    let config = config(8 << 20, 1 << 30);
    for script in [
        "for i in 0..200 { let text = \"\"; text.pad(1_000_000, 'x'); } 1",
        "let text = \"\"; text.pad(100_000, 'x'); for i in 0..150 { emit(text); set_state(\"at\", text); print(text); } 1",
        "let text = \"\"; text.pad(100_000, 'x'); for i in 0..150 { get_state(\"at\"); set_state(\"at\", [text]); } 1",
        "let text = \"\"; text.pad(100_000, 'x'); for i in 0..150 { use_step(\"echo\", #{ t: text }); } 1",
        "let text = \"\"; text.pad(100_000, 'x'); for i in 0..80 { parallel([|| text + \"a\", || use_step(\"echo\", text)]); } 1",
        "let text = \"\"; text.pad(100_000, 'x'); \
         for i in 0..150 { try { throw text; } catch (e) { } parallel([|| throw text], #{ settle: true }); } 1",
        "for i in 0..150 { let items = []; items.pad(10_000, i); items.map(|x| `${x}`); } 1",
    ] {
        assert_eq!(result(&config, script).expect(script), json!(1), "{script}");
    }
}

/// What the host gives a script and the script frees is no credit that it could spend.
#[test]
fn nothing_gives_a_script_credit() {
    let config = config(8 << 20, 1 << 30);
    for give in [
        "use_step(\"echo\", text);",
        "get_state(\"at\");",
        "parallel([|| throw text], #{ settle: true });",
        "try { use_step(\"echo\", #{ t: || 1 }) } catch (e) { }",
        "for k in 0..2_000 { run_id(); workflow_name(); step_id(); uuid(); }",
        "task(|| text).join();",
    ] {
        let script = format!(
            "let text = \"\"; text.pad(500_000, 'x'); set_state(\"at\", text); let held = []; \
             for i in 0..40 {{ let more = \"\"; more.pad(500_000, 'x'); held.push(|| more); {give} }} 1"
        );
        ends(&config, &script, "run_memory");
    }
}

/// The budget of all is kept by ending a run that has more than its share, not the one that asks next.
#[test]
fn all_runs_together_are_bounded() {
    let config = config(64 << 20, 64 << 20);
    let sandbox = Sandbox::new(&config);
    let hold = |bytes: u32| format!("let text = \"\"; text.pad({bytes}, 'x'); sleep(10); text.len()");
    let waiting = |script: &str| {
        let program = driver::compile(&sandbox, script);
        let log = vec![driver::created(&program, Value::Null)];
        let mut run = durhai_engine::Execution::new(
            program,
            durhai_core::Replay::new(log, durhai_core::replay::Limits::default()).expect("a log"),
        );
        run.replay_mut().deliver(driver::START, durhai_core::replay::Input::Start);
        run.turn(&sandbox, &|| false);
        run
    };
    let large: Vec<_> = (0..9).map(|_| waiting(&hold(7_000_000))).collect();
    assert!(large.iter().all(|run| run.replay().verdict().is_none()));
    assert!(config.pool.bytes() > 60 << 20);
    // Over it: the next large one ends, small ones go on.
    let last = waiting(&hold(8_000_000));
    assert!(
        format!("{:?}", last.replay().verdict()).contains("(the limit `script_memory`)"),
        "{:?}",
        last.replay().verdict()
    );
    let small: Vec<_> = (0..5).map(|_| waiting(&hold(3_000_000))).collect();
    assert!(small.iter().all(|run| run.replay().verdict().is_none()));
    drop((large, last, small));
    assert_eq!(config.pool.bytes(), 0);
}

/// Dropping such a chain recurses once a link, on whatever stack there is.
#[test]
fn chains_of_closures_are_bounded() {
    let config = SandboxConfig::default();
    for script in [
        "let a = 1; loop { let b = a; a = || b; }",
        "let a = 1; loop { let b = [a]; a = #{ f: || b }; }",
        // From its end.
        "let head = (); let put = |v| { head = v; }; loop { let next = (); let link = || next; put.call(link); put = |v| { next = v; }; }",
        "fn f(a) { let b = a; || b } let a = 1; loop { a = f(a); }",
    ] {
        let failure = result(&config, script).expect_err(script);
        assert_eq!(failure.kind, FailureKind::Limit, "{script}: {failure}");
    }
    for script in ["let a = 1; for i in 0..50_000 { let b = a; a = || b; } 1", "let a = []; a.pad(100_000, \"x\"); 1"] {
        assert_eq!(result(&config, script).expect(script), json!(1), "{script}");
    }
}

/// A value is copied in one operation of the language; what that takes counts.
#[test]
fn copies_of_large_values_count_as_operations() {
    let config = SandboxConfig {
        limits: ScriptLimits { operations: 2_000_000, ..ScriptLimits::default() },
        ..SandboxConfig::default()
    };
    for script in [
        "let a = 1; for i in 0..16_000 { a = #{ k: a }; }",
        "let a = 1; for i in 0..16_000 { a = [a]; }",
        "let a = #{}; for i in 0..16_000 { a = #{ b: #{ c: a } }; }",
        "let a = 1; for i in 0..16_000 { let b = #{ x: #{ y: 1 } }; b.x.y = a; a = b; }",
        "let a = []; for i in 0..100_000 { a += [#{ i: i }]; let b = a; }",
        "fn f(x) { 1 } let a = []; a.pad(50_000, #{ k: 1 }); loop { f(a); }",
        "let a = []; a.pad(50_000, 1); loop { let b = a; }",
        "let m = #{ a: [] }; m.a.pad(40_000, [1]); loop { m.a; }",
        "let m = #{ a: [] }; m.a.pad(40_000, [1]); loop { let n = m + #{ b: 1 }; }",
        "let a = []; a.pad(40_000, [1]); loop { [1].map(|x| a); }",
        "let a = []; a.pad(40_000, [1]); loop { switch a { 1 => 2, _ => 3 } }",
        "let s = \"\"; s.pad(1_000_000, 'x'); loop { let t = s + \"y\"; }",
        "let s = \"\"; s.pad(1_000_000, 'x'); loop { let t = `${s}y`; }",
    ] {
        ends(&config, script, "operations");
    }
    // Small copies are what a language does all the time.
    let script =
        "let m = #{ a: 1, b: \"two\", c: [1, 2, 3] }; let n = 0; for i in 0..100_000 { let c = m; n += c.a; } n";
    assert_eq!(result(&config, script).expect(script), json!(100_000));
}
