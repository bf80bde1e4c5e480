//! Native functions: they give what Rhai's own give, count what they take, and none holds the thread for long.

mod driver;

use std::any::TypeId;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use durhai_core::replay::{Input, Limits, Verdict};
use durhai_core::{Body, Replay};
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

/// The size of the largest values: all that a value may hold; an eighth of it where nothing is optimised. What is counted
/// goes with the size.
const SCALE: usize = if cfg!(debug_assertions) { 8 } else { 1 };

/// Bytes that a native function may read or write for each operation it counts.
const PER_OPERATION: usize = 4096;

/// A function that holds the thread longer than this must give way in the middle (in a release build).
const LONG: Duration = Duration::from_millis(50);

thread_local! {
    static VALUES: std::collections::HashMap<&'static str, Dynamic> = values();
}

fn values() -> std::collections::HashMap<&'static str, Dynamic> {
    let (bytes, items) = ((8 << 20) / SCALE - 64, 99_000 / SCALE);
    let text = |letters: &str| Dynamic::from(letters.repeat(bytes / letters.len()));
    let list = |item: &dyn Fn(usize) -> Dynamic| Dynamic::from((0..items).map(item).collect::<Array>());
    let map = |at: usize| (format!("k{at}").into(), Dynamic::from(at as i64));
    let nested = (0..900).fold(Dynamic::from(1_i64), |inner, _| Dynamic::from(Array::from([inner])));
    [
        ("text", text("x")),
        ("wide", text("ä")),
        ("words", text("aB c,")),
        ("hex", text("0a")),
        ("json", Dynamic::from(format!("[{}1]", "\"ab\\n\",".repeat(80_000 / SCALE)))),
        ("csv", text(&format!("0123456789,{}\n", "y".repeat(190)))),
        ("page", "x".repeat((1 << 20) / SCALE).into()),
        ("short", "ä".repeat(30_000).into()),
        ("places", "{k1}".repeat(bytes / 32).into()),
        ("items", "{a.5}".repeat(bytes / 32).into()),
        ("letters", ('\u{100}'..).take(20_000).chain(['x']).collect::<String>().into()),
        ("part", "x".into()),
        ("none", "\u{1}".into()),
        ("ints", list(&|at| ((at * 7919 % items) as i64).into())),
        ("same", list(&|_| 1_i64.into())),
        ("texts", list(&|at| format!("{:020}", at * 7919 % items).into())),
        ("lists", Dynamic::from((0..items / 2).map(|_| Dynamic::from(Array::from([1_i64.into()]))).collect::<Array>())),
        ("maps", Dynamic::from((0..items / 2).map(|at| Dynamic::from(Map::from_iter([map(at)]))).collect::<Array>())),
        ("nested", nested),
        ("map", Dynamic::from((0..items).map(map).collect::<Map>())),
        ("blob", Dynamic::from_blob(vec![7; items])),
    ]
    .into()
}

/// Bytes of memory that a value takes.
fn weight(value: &Dynamic) -> usize {
    if let Ok(text) = value.as_immutable_string_ref() {
        text.len()
    } else if let Ok(items) = value.as_array_ref() {
        items.iter().map(|item| size_of::<Dynamic>() + weight(item)).sum()
    } else if let Ok(fields) = value.as_map_ref() {
        fields.values().map(|field| 2 * size_of::<Dynamic>() + weight(field)).sum()
    } else {
        value.as_blob_ref().map_or(0, |bytes| bytes.len())
    }
}

/// A sandbox in which `given("text")` is one of the [`VALUES`], made anew.
fn with_values() -> Sandbox {
    let given = |name: &str| -> Dynamic {
        VALUES.with(|values| {
            let value = &values[name];
            // Texts are shared, and changed in place where they are not.
            value
                .as_immutable_string_ref()
                .map(|text| Dynamic::from(text.to_string()))
                .unwrap_or_else(|_| value.clone())
        })
    };
    let extend: durhai_engine::Extension = std::sync::Arc::new(move |engine: &mut Engine| {
        engine
            .register_fn("given", given)
            .register_fn("anything", |_: Dynamic| true)
            .register_fn("anything", |_: Dynamic, _: Dynamic| true);
    });
    Sandbox::new(&SandboxConfig { extend: vec![extend], ..SandboxConfig::default() })
}

/// What a call came to.
struct Call {
    text: String,
    /// The names of the values in it.
    given: Vec<&'static str>,
    operations: u64,
    took: Duration,
    /// The longest time in which nobody else could have a turn.
    held: Duration,
    /// What it threw.
    thrown: Option<String>,
}

/// The names of the values in a text.
fn names(text: &str) -> Vec<&'static str> {
    VALUES.with(|values| {
        let words: BTreeSet<_> = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
        words.into_iter().filter_map(|word| values.get_key_value(word)).map(|(name, _)| *name).collect()
    })
}

fn call(sandbox: &Sandbox, text: &str) -> Call {
    let given = names(text);
    let measured = |text: &str| {
        let lets: String = given.iter().map(|name| format!("let {name} = given(\"{name}\"); ")).collect();
        let script = format!(
            "import \"std/batch\" as batch; import \"std/hash\" as hash; import \"std/json\" as json; \
             import \"std/regex\" as regex; import \"std/schema\" as schema; import \"std/text\" as text_; \
             {lets} let thrown = (); try {{ {text}; }} catch (e) {{ thrown = `${{e.message}}`; }} thrown"
        );
        let mut modules = |path: &str| path.strip_prefix("std/").and_then(durhai_stdlib::source).map(String::from);
        let bundle =
            durhai_engine::Bundle::gather("flow", &script, &mut modules).unwrap_or_else(|wrong| panic!("{}", wrong[0]));
        let program = std::rc::Rc::new(sandbox.compile(&bundle).unwrap_or_else(|wrong| panic!("{}", wrong[0])));
        let log = vec![driver::created(&program, Value::Null)];
        let mut run = Execution::new(program, Replay::new(log, Limits::default()).expect("a log"));
        run.replay_mut().deliver(driver::START, Input::Start);
        let began = Instant::now();
        let (last, held) = (std::cell::Cell::new(began), std::cell::Cell::new(Duration::ZERO));
        let look = || {
            held.set(held.get().max(last.get().elapsed()));
            last.set(Instant::now());
            false
        };
        run.turn(sandbox, &look);
        look();
        let thrown = match run.replay().verdict() {
            Some(Verdict::Ended(Body::RunCompleted { output })) => {
                serde_json::to_value(output).expect("JSON").as_str().map(String::from)
            }
            other => Some(format!("{other:?}")),
        };
        (run.operations(), began.elapsed(), held.get(), thrown)
    };
    let (without, base, ..) = measured("1");
    let (operations, took, held, thrown) = measured(text);
    let (operations, took) = (operations.saturating_sub(without), took.saturating_sub(base));
    Call { text: text.into(), given, operations, took, held, thrown }
}

fn is_text(of: TypeId) -> bool {
    [TypeId::of::<ImmutableString>(), TypeId::of::<String>()].contains(&of)
}

fn is_list(of: TypeId) -> bool {
    [TypeId::of::<Array>(), TypeId::of::<Map>()].contains(&of)
}

/// Expressions for a parameter: the first one is what a function works on.
fn arguments(of: TypeId, first: bool) -> &'static [&'static str] {
    let is = |types: &[TypeId]| types.contains(&of);
    if is_text(of) {
        if first { &["text", "wide"] } else { &["none", "part", "text"] }
    } else if is(&[TypeId::of::<Array>()]) {
        if first { &["ints", "texts", "maps", "lists", "same"] } else { &["ints", "maps"] }
    } else if is(&[TypeId::of::<Map>()]) {
        &["map"]
    } else if is(&[TypeId::of::<Blob>()]) {
        &["blob"]
    } else if is(&[TypeId::of::<i64>()]) {
        &["0", "3", "9_000", "-1"]
    } else if is(&[TypeId::of::<f64>()]) {
        &["1.5"]
    } else if is(&[TypeId::of::<bool>()]) {
        &["true"]
    } else if is(&[TypeId::of::<char>()]) {
        &["'\u{1}'", "'x'"]
    } else if is(&[TypeId::of::<()>()]) {
        &["()"]
    } else if is(&[TypeId::of::<FnPtr>()]) {
        // Closures make operations themselves; native functions make none.
        &["Fn(\"anything\")"]
    } else if is(&[TypeId::of::<std::ops::Range<i64>>()]) {
        &["0..5", "3..90_000_000"]
    } else if is(&[TypeId::of::<std::ops::RangeInclusive<i64>>()]) {
        &["0..=5", "3..=90_000_000"]
    } else if is(&[TypeId::of::<Dynamic>()]) {
        if first { &["text", "ints", "maps", "map", "blob"] } else { &["none", "part", "1", "maps", "nested"] }
    } else {
        &[]
    }
}

/// Functions that read nothing of what they are given, or a part of it that does not grow, and why.
const CONSTANT: &[(&[&str], &str)] = &[];

/// Calls of the functions behind `std`, which take the name of what is to be done, or options.
const STD: &[(&str, &[&str])] = &[
    ("__hash_crc32", &["hash::crc32(text)"]),
    ("__hash_decode", &["hash::hex_decode(hex)", "hash::base64_decode(hex)"]),
    ("__hash_decode_blob", &["hash::hex_decode_blob(hex)"]),
    ("__hash_digest", &["hash::sha256(text)", "hash::sha512(wide)", "hash::sha1(text)"]),
    ("__hash_encode", &["hash::hex(blob)", "hash::base64(blob)"]),
    ("__hash_equals", &["hash::equals(text, wide)", "hash::equals(text, text)"]),
    ("__hash_hmac", &["hash::hmac_sha256(text, wide)", "hash::hmac_sha512(text, wide)"]),
    ("__json_canonical", &["json::canonical(map)", "json::canonical(text)"]),
    ("__json_diff", &["json::diff(maps, lists)", "json::diff(map, map)"]),
    ("__json_get", &["json::get(map, \"k5\")"]),
    ("__json_has", &["json::has(map, \"k5\")"]),
    ("__json_merge", &["json::merge(map, map)"]),
    ("__json_parse", &["__json_parse(json)"]),
    ("__json_parse_exact", &["json::parse(json)"]),
    ("__json_pretty", &["json::pretty(maps)", "json::pretty(texts)"]),
    ("__json_remove", &["json::remove(map, \"k5\")"]),
    ("__json_set", &["json::set(map, \"k5\", 1)"]),
    ("__json_stringify", &["json::stringify(texts)", "json::stringify(text)", "json::stringify(wide)"]),
    ("__regex_after", &["__regex_after(text, 3)"]),
    ("__regex_captures", &["regex::captures(page, \"(x)*y\")"]),
    ("__regex_escape", &["regex::escape(page)"]),
    ("__regex_find", &["regex::is_match(page, \"[^x]\")", "regex::is_match(page, \"(?:x?){30}x{30}y\")"]),
    ("__regex_size", &["__regex_size(text)"]),
    ("__regex_slice", &["__regex_slice(text, 0, 5)"]),
    (
        "__schema_check",
        &["schema::check(texts, #{ items: #{ type: \"string\", pattern: \"^1*$\" } })", "schema::check(map, true)"],
    ),
    (
        "__schema_with_defaults",
        &["schema::with_defaults(maps, #{ items: #{ properties: #{ a: #{ \"default\": 1 } } } })"],
    ),
    ("__std_array", &["__std_array(\"a\", ints)"]),
    ("__std_closure", &["__std_closure(\"a\", ints)"]),
    ("__std_count", &["__std_count(\"a\", ints, 1, 2)"]),
    ("__std_millis", &["__std_millis(\"a\", text)"]),
    ("__std_number", &["__std_number(\"a\", ints, 1.0, 2.0)"]),
    ("__std_options", &["__std_options(\"a\", map, [\"k5\"])"]),
    ("__std_wrong", &["__std_wrong(\"a\", \"b\", text)"]),
    ("__text_bytes", &["text_::bytes(text)"]),
    (
        "__text_case",
        &[
            "text_::upper(text)",
            "text_::lower(wide)",
            "text_::title(words)",
            "text_::snake(words)",
            "text_::camel(words)",
            "text_::pascal(words)",
            "text_::capitalize(text)",
        ],
    ),
    ("__text_csv", &["text_::csv(text)"]),
    ("__text_cut", &["text_::before(text, \"y\")", "text_::after(wide, text)"]),
    ("__text_escape_html", &["text_::escape_html(text)"]),
    ("__text_fill", &["text_::fill(places, map)", "text_::fill(items, #{ a: ints })"]),
    ("__text_fixed", &["text_::fixed(text, 2)"]),
    ("__text_format_csv", &["text_::format_csv(lists)", "text_::format_csv(maps)"]),
    ("__text_indent", &["text_::indent(csv, \"  \")"]),
    ("__text_join", &["text_::join(texts, \", \")", "text_::join(maps, \"\")"]),
    ("__text_lines", &["text_::lines(csv)"]),
    ("__text_number", &["text_::number(text)"]),
    ("__text_pad", &["text_::pad_left(text, 1_000_000)", "text_::center(wide, 5)"]),
    ("__text_parse_csv", &["text_::parse_csv(csv)", "text_::parse_csv(csv, #{ header: true })"]),
    ("__text_query", &["text_::query(map)"]),
    ("__text_repeat", &["text_::repeat(text, 1)"]),
    ("__text_slug", &["text_::slug(short)"]),
    ("__text_strip", &["text_::strip_prefix(text, \"x\")"]),
    ("__text_to_csv", &["text_::to_csv(texts)"]),
    (
        "__text_trim",
        &["text_::trim(text)", "text_::trim(text, wide)", "text_::trim(wide, wide)", "text_::trim(text, letters)"],
    ),
    ("__text_truncate", &["text_::truncate(wide, 3)"]),
    ("__text_url_decode", &["text_::url_decode(text)"]),
    ("__text_url_encode", &["text_::url_encode(page)"]),
    ("__text_words", &["text_::words(text)"]),
    ("__text_wrap", &["text_::wrap(words, 10)", "text_::wrap(text, 1)"]),
];

/// Every native function there is, with the largest values: none reads or writes much without counting it, and none holds
/// the thread for long.
#[test]
fn every_native_under_a_clock() {
    let sandbox = with_values();
    let mut texts = BTreeSet::new();
    let mut natives = BTreeSet::new();
    for (name, types) in sandbox.natives() {
        let word = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let durable = durhai_engine::CALLS.iter().any(|call| call.name == name)
            || ["exit", "given", "anything"].contains(&name.as_str());
        let choices: Vec<_> = types.iter().enumerate().map(|(at, of)| arguments(*of, at == 0)).collect();
        if durable || name.starts_with("__") || types.is_empty() || choices.iter().any(|of| of.is_empty()) {
            continue;
        }
        // The second one is the name of a function.
        if is_list(types[0])
            && types.get(1).is_some_and(|of| is_text(*of))
            && !["get", "set", "contains", "remove"].contains(&name.as_str())
            && !name.contains('$')
        {
            continue;
        }
        natives.insert(name.clone());
        for at in 0..choices.iter().map(|of| of.len()).max().unwrap_or(0) {
            let args: Vec<_> = choices.iter().map(|of| of[at % of.len()]).collect();
            texts.insert(match (name.split_once('$'), args.as_slice()) {
                (Some(("get", field)), [value]) => format!("{value}.{field}"),
                (Some(("set", field)), [value, new]) => format!("{value}.{field} = {new}"),
                (Some(("index", "get$")), [value, index]) => format!("{value}[{index}]"),
                (Some(("index", "set$")), [value, index, new]) => format!("{value}[{index}] = {new}"),
                (None, [value, rest @ ..]) if word => format!("{value}.{name}({})", rest.join(", ")),
                (None, [a, b]) => format!("{a} {name} {b}"),
                (None, [a]) => format!("{name}{a}"),
                (None, []) => format!("{name}()"),
                _ => panic!("how is {name} called with {args:?}?"),
            });
        }
    }
    let began = Instant::now();
    texts.retain(|text| !names(text).is_empty());
    let mut calls: Vec<Call> = texts.iter().map(|text| call(&sandbox, text)).collect();
    calls.extend(STD.iter().flat_map(|(_, texts)| *texts).map(|text| call(&sandbox, text)));
    println!("{} natives, {} calls, {:?}", natives.len(), calls.len(), began.elapsed());
    calls.sort_by_key(|call| std::cmp::Reverse(call.held));
    for call in calls.iter() {
        let (took, held, thrown) =
            (call.took.as_secs_f64() * 1e3, call.held.as_secs_f64() * 1e3, call.thrown.as_deref().unwrap_or("-"));
        let touched = call.given.iter().map(|name| VALUES.with(|values| weight(&values[name]))).max().unwrap_or(0);
        let few = if call.operations < (touched / PER_OPERATION) as u64 { "FEW" } else { "" };
        println!(
            "{held:>8.1} ms of {took:>8.1} ms {:>10} operations {few:3} {:50} {:.70}",
            call.operations, call.text, thrown
        );
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
