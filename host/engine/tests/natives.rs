//! Native functions: they give what Rhai's own give, count what they take, and none holds the thread for long.

mod driver;

use std::any::TypeId;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use durhai_core::Replay;
use durhai_core::replay::{Input, Limits};
use durhai_engine::rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicBlobPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage,
    BasicMathPackage, BasicStringPackage, BitFieldPackage, LogicPackage, MoreStringPackage, Package,
};
use durhai_engine::rhai::{Array, Blob, Dynamic, Engine, FnPtr, ImmutableString, Map};
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

/// Values of each type, the largest there may be.
fn largest(of: TypeId) -> Option<&'static [&'static str]> {
    let is = |types: &[TypeId]| types.contains(&of);
    Some(if is(&[TypeId::of::<ImmutableString>(), TypeId::of::<String>()]) {
        &["text", "name"]
    } else if is(&[TypeId::of::<Array>()]) {
        &["ints", "maps", "texts", "nested"]
    } else if is(&[TypeId::of::<Map>()]) {
        &["map"]
    } else if is(&[TypeId::of::<Blob>()]) {
        &["bytes"]
    } else if is(&[TypeId::of::<i64>()]) {
        &["100_000", "-100_000"]
    } else if is(&[TypeId::of::<f64>()]) {
        &["1e300"]
    } else if is(&[TypeId::of::<bool>()]) {
        &["true"]
    } else if is(&[TypeId::of::<char>()]) {
        &["'x'"]
    } else if is(&[TypeId::of::<()>()]) {
        &["()"]
    } else if is(&[TypeId::of::<FnPtr>()]) {
        &["Fn(\"==\")"]
    } else if is(&[TypeId::of::<std::ops::Range<i64>>()]) {
        &["0..8_000_000"]
    } else if is(&[TypeId::of::<std::ops::RangeInclusive<i64>>()]) {
        &["0..=8_000_000"]
    } else if is(&[TypeId::of::<Dynamic>()]) {
        &["text", "maps", "map", "nested", "1"]
    } else {
        return None;
    })
}

const GIVEN: &str = "let text = \"\"; text.pad(8_388_000, 'x'); let name = \"x\"; let ints = []; ints.pad(99_000, 1); \
    let maps = []; maps.pad(49_000, #{ k: 1 }); let texts = []; texts.pad(99_000, \"01234567890123456789\"); \
    let nested = 1; for i in 0..900 { nested = [nested]; } let map = #{}; for i in 0..49_000 { map[`k${i}`] = i; } \
    let bytes = blob(99_000, 1);";

/// Every native function there is, with the largest values. Prints those that take longest; run by hand, in a release
/// build, on a machine that does nothing else.
#[test]
#[ignore = "takes minutes, and looks at the clock"]
fn every_native_under_a_clock() {
    let sandbox = Sandbox::new(&SandboxConfig::default());
    let (_, base) = cost(&sandbox, GIVEN);
    let mut seen = BTreeSet::new();
    let mut table = Vec::new();
    for (name, types) in sandbox.natives() {
        let choices: Option<Vec<_>> = types.iter().map(|of| largest(*of)).collect();
        let (Some(choices), false) = (choices, name.contains('$')) else { continue };
        let most = choices.iter().map(|of| of.len()).max().unwrap_or(1);
        for at in 0..most {
            let args: Vec<_> = choices.iter().map(|of| of[at % of.len()]).collect();
            let call = match args.as_slice() {
                [a, b] if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') => format!("{a} {name} {b}"),
                _ if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                    format!("let f = Fn(\"{name}\"); f.call({})", args.join(", "))
                }
                _ => continue,
            };
            let script = format!("{GIVEN} try {{ {call}; }} catch {{ }}");
            if !seen.insert(script.clone()) || driver_skips(&name) {
                continue;
            }
            let (operations, took) = cost(&sandbox, &script);
            table.push((took.saturating_sub(base), operations, format!("{name}({})", args.join(", "))));
        }
    }
    table.sort();
    println!("{} calls, the values take {base:?}", table.len());
    for (took, operations, call) in table.iter().rev().take(60) {
        println!("{:>9.1} ms {operations:>10} operations  {call}", took.as_secs_f64() * 1e3);
    }
}

/// What waits, or ends the script.
fn driver_skips(name: &str) -> bool {
    ["exit", "sleep", "sleep_until", "continue_as_new", "suspend", "wait", "join"].contains(&name)
}

#[test]
fn natives_that_wait_for_ever_are_known() {
    let sandbox = Sandbox::new(&SandboxConfig::default());
    assert!(sandbox.natives().len() > 500, "{}", sandbox.natives().len());
    assert_eq!(driver::run("let s = \"ab\"; s.pad(4, 'x'); s").result(), Ok(json!("abxx")));
}
