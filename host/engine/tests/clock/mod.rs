//! Every native function there is, with the largest values: what it counts, and how long it holds the thread.
//!
//! `cargo test -p durhai-engine --release --test natives -- --nocapture every_native` prints a table.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use durhai_core::replay::{Input, Limits, Verdict};
use durhai_core::{EventBody, Replay};
use durhai_engine::rhai::{Array, Blob, Dynamic, Engine, FnPtr, ImmutableString, Map};
use durhai_engine::{Bundle, Execution, Sandbox, SandboxConfig};
use serde_json::Value;

use crate::driver;

/// The size of the largest values: all that a value may hold; a sixteenth of it where nothing is optimised. What is counted
/// goes with the size.
const SCALE: usize = if cfg!(debug_assertions) { 16 } else { 1 };

/// Bytes that a native function may read or write for each operation it counts.
const PER_OPERATION: usize = 4096;

/// A function that holds the thread longer than this must give way in the middle (in a release build).
const LONG: Duration = Duration::from_millis(50);

thread_local! {
    static VALUES: HashMap<&'static str, Dynamic> = values();
}

fn values() -> HashMap<&'static str, Dynamic> {
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
            .register_fn("anything", |_: Dynamic, _: Dynamic| true)
            .register_fn("nothing", |_: Dynamic| ())
            .register_fn("nothing", |_: Dynamic, _: Dynamic| ());
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
    /// The longest time in which no other run could have a turn.
    held: Duration,
    /// What it threw.
    thrown: Option<String>,
}

/// What this thread has had of the processor: others may be busy too.
fn processor_time() -> Duration {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
    #[cfg(not(unix))]
    {
        static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        BEGAN.get_or_init(Instant::now).elapsed()
    }
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
    let library = text.contains("::") || text.starts_with("__");
    let measured = |text: &str| {
        let imports: String = ["hash", "json", "regex", "schema", "text"]
            .iter()
            .filter(|_| library)
            .map(|name| format!("import \"std/{name}\" as {name}_; "))
            .collect();
        let lets: String = given.iter().map(|name| format!("let {name} = given(\"{name}\"); ")).collect();
        let script = format!(
            "{imports}{lets} let thrown = (); try {{ {text}; }} catch (e) {{ thrown = `${{e.message}}`; }} thrown"
        );
        let mut modules = |path: &str| path.strip_prefix("std/").and_then(durhai_stdlib::source).map(String::from);
        let bundle = Bundle::gather("flow", &script, &mut modules).unwrap_or_else(|wrong| panic!("{}", wrong[0]));
        let program = Rc::new(sandbox.compile(&bundle).unwrap_or_else(|wrong| panic!("{}", wrong[0])));
        let log = vec![driver::created(&program, Value::Null)];
        let mut run = Execution::new(program, Replay::new(log, Limits::default()).expect("a log"));
        run.replay_mut().deliver(driver::START, Input::Start);
        let began = processor_time();
        let (last, held) = (Cell::new(began), Cell::new(Duration::ZERO));
        let look = || {
            let now = processor_time();
            held.set(held.get().max(now.saturating_sub(last.get())));
            last.set(now);
            false
        };
        run.turn(sandbox, &look);
        look();
        let thrown = match run.replay().verdict() {
            Some(Verdict::Ended(EventBody::RunCompleted { output })) => output.as_str().map(String::from),
            other => Some(format!("{other:?}")),
        };
        (run.operations(), processor_time().saturating_sub(began), held.get(), thrown)
    };
    // What the values take by themselves.
    thread_local! {
        static ALONE: RefCell<HashMap<String, (u64, Duration)>> = RefCell::default();
    }
    let key = format!("{library} {given:?}");
    let known = ALONE.with_borrow(|alone| alone.get(&key).copied());
    let (without, base) = known.unwrap_or_else(|| {
        let (operations, took, ..) = measured("1");
        ALONE.with_borrow_mut(|alone| alone.insert(key, (operations, took)));
        (operations, took)
    });
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
        &["0", "3", "5_000", "-1"]
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
        &["Fn(\"anything\")", "Fn(\"nothing\")"]
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

/// Functions that need not count, and why.
const CONSTANT: &[(&[&str], &str)] = &[
    (&["len", "is_empty", "bytes"], "the size of a text, list, map or blob is known"),
    (&["get", "set", "push", "pop", "take", "index"], "it touches one element"),
    (
        &["to_string", "print", "is_shared", "type_of", "saga_run", "tag"],
        "a text is its own text; others look at the type",
    ),
    (
        &["!=", "==", "max", "min", "<", "<=", ">", ">="],
        "two texts are compared at the speed of memory, in a millisecond",
    ),
    (&["parse_int"], "a text that is no number is given up at its first letter"),
    (&["__regex_after", "__regex_size", "__regex_slice", "__std"], "it looks at one place"),
];

/// Functions that may read little, and why: some call of each counts, with these values.
const PARTLY: &[(&[&str], &str)] = &[
    (&["contains", "remove"], "a map is looked up by its key, in the logarithm of its size"),
    (&["clear"], "a text is let go of"),
    (&["+", "+="], "a text and `()`"),
    (&["starts_with", "ends_with"], "the text is read as far as the part is long"),
    (
        &[
            "insert", "extract", "drain", "retain", "truncate", "pad", "splice", "shift", "chop", "append", "chars",
            "split",
        ],
        "it touches what it takes, or nothing where it takes nothing",
    ),
    (&["index_of", "find", "find_map", "some", "all"], "it ends at the first element that fits"),
];

/// A blob has at most so many bytes as an array has elements: they are moved in ten microseconds.
const SMALL: &str = "blob";

/// Calls of the functions behind `std`, which take the name of what is to be done, or options.
const STD: &[(&str, &[&str])] = &[
    ("__hash_crc32", &["hash_::crc32(text)"]),
    ("__hash_decode", &["hash_::hex_decode(hex)", "hash_::base64_decode(hex)"]),
    ("__hash_decode_blob", &["hash_::hex_decode_blob(hex)"]),
    ("__hash_digest", &["hash_::sha256(text)", "hash_::sha512(wide)", "hash_::sha1(text)"]),
    ("__hash_encode", &["hash_::hex(blob)", "hash_::base64(blob)"]),
    ("__hash_equals", &["hash_::equals(text, wide)", "hash_::equals(text, text)"]),
    ("__hash_hmac", &["hash_::hmac_sha256(text, wide)", "hash_::hmac_sha512(text, wide)"]),
    ("__json_canonical", &["json_::canonical(map)", "json_::canonical(text)"]),
    ("__json_diff", &["json_::diff(maps, lists)", "json_::diff(map, map)"]),
    ("__json_get", &["json_::get(map, \"k5\")"]),
    ("__json_has", &["json_::has(map, \"k5\")"]),
    ("__json_merge", &["json_::merge(map, map)"]),
    ("__json_parse", &["__json_parse(json)"]),
    ("__json_parse_exact", &["json_::parse(json)"]),
    ("__json_pretty", &["json_::pretty(maps)", "json_::pretty(texts)"]),
    ("__json_remove", &["json_::remove(map, \"k5\")"]),
    ("__json_set", &["json_::set(map, \"k5\", 1)"]),
    ("__json_stringify", &["json_::stringify(texts)", "json_::stringify(text)", "json_::stringify(wide)"]),
    ("__regex_after", &["__regex_after(text, 3)"]),
    ("__regex_captures", &["regex_::captures(page, \"(x)*y\")"]),
    ("__regex_escape", &["regex_::escape(page)"]),
    ("__regex_find", &["regex_::is_match(page, \"[^x]\")", "regex_::is_match(page, \"(?:x?){30}x{30}y\")"]),
    ("__regex_size", &["__regex_size(text)"]),
    ("__regex_slice", &["__regex_slice(text, 0, 5)"]),
    (
        "__schema_check",
        &["schema_::check(texts, #{ items: #{ type: \"string\", pattern: \"^1*$\" } })", "schema_::check(map, true)"],
    ),
    (
        "__schema_with_defaults",
        &["schema_::with_defaults(maps, #{ items: #{ properties: #{ a: #{ \"default\": 1 } } } })"],
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
    let (mut natives, mut library) = (BTreeSet::new(), BTreeSet::new());
    for (name, types) in sandbox.natives() {
        let word = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        if ["__hash_", "__json_", "__regex_", "__schema_", "__std_", "__text_"].iter().any(|of| name.starts_with(of)) {
            library.insert(name.clone());
        }
        let durable = durhai_engine::CALLS.iter().any(|call| call.name == name)
            || ["exit", "given", "anything", "nothing"].contains(&name.as_str());
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
    let known: BTreeSet<_> = STD.iter().map(|(name, _)| name.to_string()).collect();
    let unknown: Vec<_> = library.difference(&known).collect();
    assert!(unknown.is_empty(), "calls of these are missing in STD: {unknown:?}");
    calls.sort_by_key(|call| std::cmp::Reverse(call.held));
    let (mut few, mut counted) = (Vec::new(), BTreeSet::<&&str>::new());
    for call in calls.iter() {
        let (took, held) = (call.took.as_secs_f64() * 1e3, call.held.as_secs_f64() * 1e3);
        let touched = call.given.iter().map(|name| VALUES.with(|values| weight(&values[name]))).max().unwrap_or(0);
        let least = (touched / PER_OPERATION) as u64;
        println!(
            "{held:>8.1} ms of {took:>8.1} ms {:>10} operations {:50} {:.70}",
            call.operations,
            call.text,
            call.thrown.as_deref().unwrap_or_default()
        );
        let is = |name: &str| {
            let method = [format!(".{name}("), format!(" {name} ")].iter().any(|part| call.text.contains(part));
            let property = call.text.ends_with(&format!(".{name}")) || (name == "index" && call.text.contains('['));
            method
                || property
                || call.text.starts_with(&format!("{name}("))
                || (name == "__std" && call.text.starts_with(name))
        };
        let constant = CONSTANT.iter().any(|(names, _)| names.iter().any(|name| is(name)));
        let partly = PARTLY.iter().find_map(|(names, _)| names.iter().find(|name| is(name)));
        if call.operations >= least {
            counted.extend(partly);
        } else if partly.is_none() && !constant && !call.given.contains(&SMALL) && call.thrown.is_none() {
            few.push(format!("{}: {} operations, at least {least} expected", call.text, call.operations));
        }
    }
    assert!(few.is_empty(), "{}", few.join("\n"));
    let never: Vec<_> = PARTLY.iter().flat_map(|(names, _)| *names).filter(|name| !counted.contains(*name)).collect();
    assert!(never.is_empty(), "these never count: {never:?}");
    // What a build that is not optimised takes says nothing.
    let long: Vec<_> = calls.iter().filter(|call| call.held > LONG).map(|call| &call.text).collect();
    println!("hold the thread for more than {LONG:?}: {long:?}");
}
