//! Native functions: they give what Rhai's own give, count what they take, and none holds the thread for long.

mod clock;
mod driver;

use std::time::{Duration, Instant};

use durhai_core::Replay;
use durhai_core::replay::{Input, Limits};
use durhai_engine::rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicBlobPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage,
    BasicMathPackage, BasicStringPackage, BitFieldPackage, LogicPackage, MoreStringPackage, Package,
};
use durhai_engine::rhai::{Dynamic, Engine};
use durhai_engine::{CountingAllocator, Execution, Sandbox, SandboxConfig};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

/// Rhai as it comes.
fn plain() -> Engine {
    let mut engine = Engine::new_raw();
    ArithmeticPackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    BitFieldPackage::new().register_into_engine(&mut engine);
    BasicStringPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicBlobPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    BasicIteratorPackage::new().register_into_engine(&mut engine);
    BasicFnPackage::new().register_into_engine(&mut engine);
    engine
}

#[track_caller]
fn same(script: &str) {
    let wanted = plain().eval::<Dynamic>(script).unwrap_or_else(|error| panic!("{error}\n{script}"));
    let wanted = durhai_stdlib::value::to_json(&wanted).expect("JSON");
    let found = driver::run(script).result().unwrap_or_else(|failure| panic!("{failure}\n{script}"));
    if found != wanted {
        let (found, wanted) = (found.as_array().expect("a list"), wanted.as_array().expect("a list"));
        let at = found.iter().zip(wanted).position(|(found, wanted)| found != wanted).expect("a difference");
        let line = script.lines().nth(at + 1).unwrap_or_default();
        panic!("{}\n{line}\n found: {}\nwanted: {}", script.lines().next().unwrap_or_default(), found[at], wanted[at]);
    }
}

/// Each line is an element of the list that the script gives.
fn list(given: &str, lines: &[String]) -> String {
    format!("{given} [\n{}\n]", lines.iter().map(|line| format!("{line},")).collect::<Vec<_>>().join("\n"))
}

#[test]
fn texts_give_what_rhais_give() {
    let texts = ["", "a", "abcabc", "äöü", "a\u{1F600}b\u{301}ä", "  x y\\tz ", "ŉΐß", "ABC", "aaaaaaa", "a,b,,c,"];
    let numbers = ["0", "1", "2", "3", "7", "100", "-1", "-2", "-3", "-100", "9223372036854775807"];
    let parts = ["\"\"", "\"a\"", "\"bc\"", "\"ä\"", "\",\"", "\"aa\"", "\"zz\"", "'a'", "'ä'", "','", "'z'"];
    let mut lines: Vec<String> =
        ["s.len()", "s.len", "len(s)", "s.to_upper()", "s.to_lower()", "s.split()", "s.to_chars()"]
            .map(String::from)
            .to_vec();
    let changed = |call: String| format!("{{ let t = s; let r = t.{call}; [t, r] }}");
    lines.extend(["make_upper()", "make_lower()", "trim()", "pop()"].map(|call| changed(call.into())));
    for n in numbers {
        lines.extend(["get", "sub_string", "split"].map(|name| format!("s.{name}({n})")));
        lines.extend(["crop", "truncate", "pop"].map(|name| changed(format!("{name}({n})"))));
        lines.push(changed(format!("set({n}, 'ß')")));
        for m in numbers {
            lines.push(format!("s.sub_string({n}, {m})"));
            lines.push(changed(format!("crop({n}, {m})")));
            if !m.contains("922") {
                lines.push(format!("s.sub_string({n}..{m})"));
                lines.push(format!("s.sub_string({n}..={m})"));
                lines.push(changed(format!("crop({n}..{m})")));
                lines.push(changed(format!("crop({n}..={m})")));
            }
        }
        if n.len() < 4 {
            lines.push(changed(format!("pad({n}, 'ä')")));
            lines.push(changed(format!("pad({n}, \"xyä\")")));
        }
    }
    for part in parts {
        lines.extend(["contains", "index_of", "split", "split_rev"].map(|name| format!("s.{name}({part})")));
        lines.push(changed(format!("remove({part})")));
        for n in numbers {
            lines.extend(["index_of", "split", "split_rev"].map(|name| format!("s.{name}({part}, {n})")));
        }
        for other in parts {
            lines.push(changed(format!("replace({part}, {other})")));
        }
    }
    for text in texts {
        for chunk in lines.chunks(100) {
            same(&list(&format!("let s = \"{text}\";"), chunk));
        }
    }
}

#[test]
fn lists_give_what_rhais_give() {
    let values =
        ["1", "2", "1.0", "2.5", "true", "()", "'a'", "\"a\"", "[1]", "[1, [2]]", "#{ a: 1 }", "#{ a: [1] }", "0..3"];
    let mut lines = Vec::new();
    for a in values {
        lines.push(format!("v.contains({a})"));
        lines.push(format!("{a} in v"));
        lines.push(format!("v.index_of({a})"));
        lines.extend(["0", "3", "-2", "-100", "100"].map(|start| format!("v.index_of({a}, {start})")));
        lines.push(format!("{{ let d = [{a}, {a}, 1, 1, {a}]; d.dedup(); d.len() }}"));
        for b in values.iter().filter(|b| a != "0..3" && **b != "0..3") {
            lines.push(format!("[{a}] == [{b}]"));
            lines.push(format!("#{{ k: {a} }} != #{{ k: {b} }}"));
        }
    }
    let numbers = ["0", "1", "2", "5", "13", "100", "-1", "-2", "-13", "-100", "9223372036854775807"];
    let changed = |call: String| {
        format!(
            "{{ let d = v; let r = d.{call}; let s = |x| `${{x}}`; if type_of(r) == \"array\" {{ r = r.map(s); }} else {{ r = `${{r}}`; }} [d.map(s), r] }}"
        )
    };
    for call in ["reverse()", "shift()", "clear()", "append([1, 2])", "append([])", "pop()"] {
        lines.push(changed(call.into()));
    }
    for of in
        ["[3, 1, 2]", "[\"b\", \"ä\", \"a\"]", "['b', 'a']", "[2.5, -1.0]", "[true, false]", "[(), ()]", "[]", "[1]"]
    {
        for call in ["sort()", "sort_desc()", "reverse()", "drain(|x| x == 1)", "retain(|x| x == 1)", "chop(1)"] {
            lines.push(format!("{{ let d = {of}; let r = d.{call}; [d, r] }}"));
        }
        lines.push(format!("{{ let d = {of}; [d.order(), d.order_desc(), d] }}"));
        lines.push(format!("{{ let d = []; d.splice(0, 1, {of}); d }}"));
    }
    for call in ["sort()", "sort_desc()", "order()"] {
        for of in ["[1, 2.0]", "[[1], [2]]", "[#{}, #{}]", "[1, ()]"] {
            lines.push(format!("{{ let d = {of}; let r = (); try {{ d.{call}; }} catch {{ r = \"no\"; }} [d, r] }}"));
        }
    }
    for call in [
        "drain(|x, i| i % 3 == 0)",
        "retain(|x, i| i % 3 == 0)",
        "drain(|x| x == 1)",
        "retain(|x| type_of(x) == \"i64\")",
    ] {
        lines.push(changed(call.into()));
    }
    for name in ["drain", "retain"] {
        lines.push(format!(
            "{{ let d = [1, 2, 3, 4, 5]; try {{ d.{name}(|x| {{ if x == 4 {{ throw 1; }} x % 2 == 0 }}); }} catch {{ }} d }}"
        ));
    }
    for n in numbers {
        lines.extend(["remove", "truncate", "chop", "split", "extract"].map(|name| changed(format!("{name}({n})"))));
        lines.push(changed(format!("insert({n}, 77)")));
        for m in numbers {
            lines.extend(["extract", "drain", "retain"].map(|name| changed(format!("{name}({n}, {m})"))));
            lines.push(changed(format!("splice({n}, {m}, [7, 8])")));
            if !n.contains("922") && !m.contains("922") {
                lines.extend(["extract", "drain", "retain"].map(|name| changed(format!("{name}({n}..{m})"))));
                lines.extend(["extract", "drain", "retain"].map(|name| changed(format!("{name}({n}..={m})"))));
                lines.push(changed(format!("splice({n}..{m}, [7, 8])")));
                lines.push(changed(format!("splice({n}..={m}, [7])")));
            }
        }
    }
    for a in ["#{}", "#{ a: 1, b: 2 }", "#{ b: 3, c: 4 }"] {
        for b in ["#{}", "#{ b: 5, d: [1] }"] {
            lines.push(format!("{{ let m = {a}; m.mixin({b}); m }}"));
            lines.push(format!("{{ let m = {a}; m += {b}; m }}"));
            lines.push(format!("{{ let m = {a}; m.fill_with({b}); m }}"));
        }
        lines.push(format!("{{ let m = {a}; let r = [m.keys(), m.values()]; m.clear(); [r, m] }}"));
    }
    lines.push("[[1, 2], [3], []].reduce(|sum, v| sum + v, [])".into());
    lines.push("#{ a: 1, c: 4 } + #{ a: 2, b: 3 }".into());
    let given = format!("let v = [{}];", values.join(", "));
    for chunk in lines.chunks(100) {
        same(&list(&given, chunk));
    }
}

/// What is too large is refused before it is made, and what would take for ever is refused at once.
#[test]
fn what_would_be_too_large_is_not_made() {
    let config = SandboxConfig {
        memory: durhai_engine::ScriptMemory { run: 40 << 20, all: 1 << 30 },
        ..SandboxConfig::default()
    };
    let sandbox = Sandbox::new(&config);
    for (script, message) in [
        ("let s = \"\"; s.pad(1_000_000, 'x'); s.replace(\"x\", s); s", "length of string over the limit"),
        ("let s = \"\"; s.pad(1_000_000, 'x'); s.replace('x', \"0123456789\"); s", "length of string over the limit"),
        ("let s = \"\"; s.pad(4_000_000, \"xyz\"); s.pad(8_000_001, \"äöü\"); s", "length of string over the limit"),
        ("let s = \"\"; s.pad(5_000_000, 'ä'); s", "length of string over the limit"),
        ("let s = \"\"; s.pad(8_000_000, ','); s.split(',')", "array/blob over the limit"),
        ("let s = \"\"; s.pad(8_000_000, ','); s.split(\"\")", "array/blob over the limit"),
        ("let s = \"\"; s.pad(8_000_000, \"x \"); s.split()", "array/blob over the limit"),
        ("let s = \"\"; s.pad(8_000_000, 'x'); s.to_chars()", "array/blob over the limit"),
        ("let s = \"[\"; s.pad(8_000_000, \"[],\"); s += \"1]\"; parse_json(s)", "more than 100000 elements"),
        ("let s = \"[\"; s.pad(8_000_000, \"{},\"); s += \"1]\"; parse_json(s)", "more than 100000 elements"),
        ("let s = \"x\"; s.pad(10, \"\"); s", "the padding is empty"),
        // Each row would have the name of four megabytes anew.
        (
            "let s = \"\"; s.pad(4_000_000, 'x'); s.pad(4_060_000, \"\\n1\"); __text_parse_csv(s, #{ header: true })",
            "of memory",
        ),
    ] {
        let failure = driver::run_with(&sandbox, script, Value::Null).result().expect_err(script);
        assert!(failure.message.contains(message), "{script}: {failure}");
    }
}

/// Runs a script; gives the operations it made and the time it took.
fn cost(sandbox: &Sandbox, script: &str) -> (u64, Duration) {
    let program = driver::compile(sandbox, script);
    let log = vec![driver::created(&program, Value::Null)];
    let mut run = Execution::new(program, Replay::new(log, Limits::default()).expect("a log"));
    run.replay_mut().deliver(driver::START, Input::Start);
    let began = Instant::now();
    run.turn(sandbox, &|| false);
    (run.operations(), began.elapsed())
}

/// What a native function reads counts, so that many calls give way and come to an end like many operations.
#[test]
fn natives_count_what_they_read() {
    let sandbox = Sandbox::new(&SandboxConfig::default());
    let text = "let s = \"\"; s.pad(4_000_000, 'x');";
    let items = "let a = []; a.pad(40_000, 1); let b = a;";
    for (given, call, least) in [
        (text, "s.len();", 5_000),
        (text, "s.index_of(\"y\");", 5_000),
        (text, "s.index_of('y', -3);", 5_000),
        (text, "s.contains(\"y\");", 5_000),
        (text, "s.sub_string(2, 3);", 5_000),
        (text, "let t = s; t.replace(\"y\", \"z\");", 5_000),
        (text, "s.split(\"y\");", 5_000),
        (text, "s.to_upper();", 5_000),
        (text, "let t = s; t.crop(1, 2);", 5_000),
        (items, "a == b;", 4_500),
        (items, "a.index_of(2);", 4_500),
        (items, "a.contains(2);", 4_500),
        (items, "a.sort(Fn(\"max\"));", 40_000),
        (items, "[a, a] == [b, b];", 9_000),
        ("let a = []; a.pad(5_000, [1]);", "a.reduce(|sum, v| sum + v, []);", 300_000),
    ] {
        let (without, _) = cost(&sandbox, given);
        let (with, _) = cost(&sandbox, &format!("{given} {call}"));
        assert!(with >= without + least, "{given} {call}: {with} operations, {without} without it");
    }
}

/// Functions that change what they are called on leave constants alone, as Rhai's do.
#[test]
fn constants_do_not_change() {
    for call in [
        "take()",
        "sort()",
        "sort(|a, b| a - b)",
        "sort_by(|a, b| a - b)",
        "sort_desc()",
        "dedup()",
        "dedup(|a, b| a == b)",
        "push(1)",
        "append([1])",
        "insert(0, 1)",
        "remove(0)",
        "shift()",
        "pop()",
        "reverse()",
        "pad(9, 1)",
        "truncate(1)",
        "chop(1)",
        "clear()",
        "split(1)",
        "drain(|x| x > 1)",
        "drain(0, 1)",
        "drain(0..1)",
        "retain(|x| x > 1)",
        "retain(0, 1)",
        "retain(0..=1)",
        "splice(0, 1, [])",
        "splice(0..1, [])",
        "set(0, 7)",
    ] {
        let script = format!("const A = [3, 1, 2]; A.{call}");
        let wanted = plain().eval::<Dynamic>(&script);
        if call != "take()" {
            let wanted = wanted.expect_err(call).to_string();
            assert!(wanted.to_lowercase().contains("constant"), "{call}: {wanted}");
        }
        let failure = driver::run(&script).result().expect_err(call);
        assert!(failure.message.to_lowercase().contains("constant"), "{call}: {failure}");
    }
    for script in [
        "const M = #{ a: 1 }; M.mixin(#{ b: 2 })",
        "const M = #{ a: 1 }; M.fill_with(#{ b: 2 })",
        "const M = #{ a: 1 }; M.clear()",
    ] {
        let failure = driver::run(script).result().expect_err(script);
        assert!(failure.message.to_lowercase().contains("constant"), "{script}: {failure}");
    }
}

/// A text that is taken for the name of a function is not compared with all names, however long it is.
#[test]
fn a_long_name_is_no_slip() {
    let script = "let s = \"\"; s.pad(2_000_000, 'x'); try { [1].map(s); } catch (e) { return e.message.len() > 100; }";
    let began = Instant::now();
    assert_eq!(driver::run(script).result(), Ok(json!(true)));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn natives_that_wait_for_ever_are_known() {
    let sandbox = Sandbox::new(&SandboxConfig::default());
    assert!(sandbox.natives().len() > 500, "{}", sandbox.natives().len());
    assert_eq!(driver::run("let s = \"ab\"; s.pad(4, 'x'); s").result(), Ok(json!("abxx")));
}
