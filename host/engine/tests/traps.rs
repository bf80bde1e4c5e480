//! Traps of the language that are none here: closures made in loops, the value of a `catch`, errors of the script that are
//! caught and thrown on. Runs that began before keep what their texts meant then.

mod driver;

use std::rc::Rc;

use driver::{Outcome, created, drive, gives, replay, run, sandbox};
use durhai_core::failure::Frame;
use durhai_core::replay::Verdict;
use durhai_core::{Failure, FailureKind};
use durhai_engine::Bundle;
use serde_json::json;

#[test]
fn closures_in_loops_see_their_turn() {
    gives(&[
        ("let f = []; for i in 0..3 { f.push(|| use_step(\"echo\", i)); } parallel(f)", json!([0, 1, 2])),
        (
            "let f = #{}; for (x, i) in [5, 6] { f[`k${i}`] = || use_step(\"echo\", x); } parallel(f)",
            json!({ "k0": 5, "k1": 6 }),
        ),
        ("let t = []; for i in 0..3 { t.push(task(|| { sleep(3 - i); i })); } t.map(|t| join(t))", json!([0, 1, 2])),
        // A closure that changes what it captured keeps it to itself.
        ("let f = []; for i in 0..2 { f.push(|| { i += 10; sleep(1); i }); } parallel(f)", json!([10, 11])),
        (
            "fn made(n) { let f = []; for i in 0..n { f.push(|| use_step(\"echo\", i)); } parallel(f) } made(2)",
            json!([0, 1]),
        ),
        ("foreach([1, 2], |n| { let f = []; for i in 0..n { f.push(|| i); } parallel(f) })", json!([[0], [0, 1]])),
        (
            "let f = []; for i in 0..2 { for j in 0..2 { f.push(|| [i, j]); } } parallel(f)",
            json!([[0, 0], [0, 1], [1, 0], [1, 1]]),
        ),
        // What is shared on purpose stays so.
        ("let n = 0; let f = []; for i in 0..3 { f.push(|| { n += i; }); } parallel(f); n", json!(3)),
    ]);
}

#[test]
fn the_value_of_a_catch_counts() {
    gives(&[
        ("try { use_step(\"fail\"); } catch (e) { e.kind }", json!("step_failed")),
        ("fn f() { try { use_step(\"fail\") } catch { use_step(\"echo\", 7) } } f()", json!(7)),
        ("parallel([|| { try { use_step(\"fail\") } catch (e) { e.data.code } }])", json!([7])),
        ("let x = { try { throw #{ a: 1 }; } catch (e) { e.a } }; x", json!(1)),
    ]);
}

/// The failure of a run, as `kind message at file:line:column | caret | frames`.
fn told(outcome: &Outcome) -> String {
    words(&outcome.result().expect_err("it fails"))
}

fn words(failure: &Failure) -> String {
    let Some(place) = failure.place.as_deref() else { return format!("{} {}", failure.kind, failure.message) };
    let frame = |frame: &Frame| match frame.file.starts_with("std/") {
        true => format!("{}@{}", frame.function, frame.file),
        false => format!("{}@{}:{}:{}", frame.function, frame.file, frame.line, frame.column),
    };
    let frames: Vec<_> = place.stack.iter().map(frame).collect();
    let source = place.source.trim();
    format!(
        "{} {} at {}:{}:{} | {source} | {}",
        failure.kind,
        failure.message,
        place.file,
        place.line,
        place.column,
        frames.join(" ")
    )
}

#[test]
fn an_error_of_the_script_is_a_map_when_it_is_caught() {
    gives(&[
        (
            "let got = ();\ntry {\n  nothing(1);\n} catch (e) { got = e; }\n[got.kind, got.message, got.file, got.line, got.column, got.stack]",
            json!(["script", "there is no function nothing(integer)", "flow.rhai", 3, 3, []]),
        ),
        (
            "fn f(x) { x.nothing() }\nlet got = ();\ntry { f(1); } catch (e) { got = e; }\n[got.line, got.column, got.stack]",
            json!([1, 13, [{ "function": "f", "file": "flow.rhai", "line": 3, "column": 7 }]]),
        ),
        ("let a = [1]; try { a[7] } catch (e) { [e.kind, e.line] }", json!(["script", 1])),
        ("try { parallel([|| nothing(1)]) } catch (e) { [e.kind, e.line, e.column] }", json!(["script", 1, 20])),
        (
            "let r = parallel([|| nothing(1)], #{ settle: true }); [r[0].error.kind, r[0].error.column]",
            json!(["script", 22]),
        ),
        (
            "let e = (); try { nothing(1); } catch (x) { e = x; } \"\" + e.message + type_of(e)",
            json!("there is no function nothing(integer)map"),
        ),
        (
            "let e = (); try { nothing(1); } catch (x) { e = x; } `${e}`.contains(\"there is no function nothing\")",
            json!(true),
        ),
        // What was thrown, and what a call threw, comes as it always did.
        ("try { throw 5; } catch (e) { e }", json!(5)),
        (
            "try { use_step(\"fail\") } catch (e) { e.keys() }",
            json!(["attempts", "cause", "data", "kind", "message", "step", "step_id"]),
        ),
    ]);
}

#[test]
fn an_error_of_the_script_keeps_its_place_when_it_is_thrown_on() {
    let plain = "script there is no function nothing(integer) at flow.rhai:";
    for (script, expected) in [
        ("try {\n nothing(1);\n} catch (e) { throw e; }", "2:2 | nothing(1); | "),
        ("try {\n nothing(1);\n} catch { throw; }", "2:2 | nothing(1); | "),
        ("fn f() {\n nothing(1) }\ntry { f(); }\ncatch (e) { throw e; }", "2:2 | nothing(1) } | f@flow.rhai:3:7"),
        (
            "fn f() { nothing(1) }\nfn g() {\n try { f(); } catch (e) { throw e; } }\ng()",
            "1:10 | fn f() { nothing(1) } | f@flow.rhai:3:8 g@flow.rhai:4:1",
        ),
        // Kept for later, with other errors between.
        (
            "let kept = ();\ntry { nothing(1); } catch (e) { kept = e; }\ntry { throw 1; } catch { }\nthrow kept;",
            "2:7 | try { nothing(1); } catch (e) { kept = e; } | ",
        ),
        (
            "try {\n parallel([|| sleep(5), || nothing(1)]);\n} catch (e) { throw e; }",
            "2:28 | parallel([|| sleep(5), || nothing(1)]); | a closure@flow.rhai:2:2",
        ),
        (
            "parallel([|| {\n try { nothing(1) } catch (e) { throw e; } }])",
            "2:8 | try { nothing(1) } catch (e) { throw e; } }]) | a closure@flow.rhai:1:1",
        ),
        (
            "import \"std/saga\" as saga;\nsaga::run(|s| {\n nothing(1) })",
            "3:2 | nothing(1) }) | a closure@std/saga run@flow.rhai:2:7",
        ),
        (
            "import \"std/retry\" as retry;\nretry::run(|| {\n nothing(1) })",
            "3:2 | nothing(1) }) | a closure@std/retry run@std/retry run@flow.rhai:2:8",
        ),
    ] {
        let outcome = run(script);
        assert_eq!(told(&outcome), format!("{plain}{expected}"), "{script}");
    }
    // In a map of the script's own it is the cause.
    let outcome = run("try { nothing(1); } catch (e) { throw #{ message: \"no order\", cause: e }; }");
    let failure = outcome.result().unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Thrown, "no order"));
    let cause = failure.cause.as_deref().map(words).unwrap_or_default();
    assert_eq!(cause, format!("{plain}1:7 |  | "));
}

/// Texts that were stored before mean what they meant then: their logs must go on fitting.
#[test]
fn an_older_edition_is_read_as_it_was() {
    let sandbox = sandbox();
    let of = |edition: u32, source: &str| {
        let bundle = Bundle { edition, ..Bundle::single("flow", source) };
        Rc::new(sandbox.compile(&bundle).unwrap_or_else(|wrong| panic!("{}", wrong[0])))
    };
    let first = |source: &str| {
        let program = of(1, source);
        let outcome = drive(&sandbox, &program, vec![created(&program, json!({}))]);
        for length in 1..=outcome.events.len() {
            let again = replay(&sandbox, &program, outcome.events[..length].to_vec());
            let verdict = again.replay().verdict();
            assert!(!matches!(verdict, Some(Verdict::Diverged(_))), "{source}: {verdict:?}");
        }
        outcome
    };
    // The same text as a new one would not fit that log.
    let looped = "let f = []; for i in 0..3 { f.push(|| use_step(\"echo\", i)); } parallel(f)";
    let log = first(looped).events;
    let verdict = replay(&sandbox, &of(2, looped), log).replay().verdict().cloned();
    assert!(matches!(verdict, Some(Verdict::Diverged(_))), "{verdict:?}");
    for (script, gave) in [
        ("let f = []; for i in 0..3 { f.push(|| use_step(\"echo\", i)); } parallel(f)", json!([2, 2, 2])),
        ("try { throw 1; } catch { 2 }", json!(null)),
        (
            "let got = (); try { nothing(1); } catch (e) { got = e; } [got.kind, got.error]",
            json!([null, "ErrorFunctionNotFound"]),
        ),
        ("try { parallel([|| nothing(1)]) } catch (e) { return e.keys().len(); }", json!(7)),
    ] {
        assert_eq!(first(script).result().unwrap_or_else(|failure| panic!("{script}: {failure}")), gave, "{script}");
    }
    let (old, new) = (Bundle { edition: 1, ..Bundle::single("flow", "1") }, Bundle::single("flow", "1"));
    assert_ne!(old.version(), new.version());
    let stored = serde_json::json!({ "name": "flow", "source": "1", "modules": {} });
    let read: Bundle = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!((read.version(), serde_json::to_value(&read).unwrap()), (old.version(), stored));
    let newer = Bundle { edition: 99, ..Bundle::single("flow", "1") };
    let wrong = sandbox.compile(&newer).err().expect("it is refused");
    assert!(wrong[0].message.contains("edition 99"), "{}", wrong[0]);
}

/// What scripts that run are told of what they brought from elsewhere, and of Rhai's inside.
#[test]
fn errors_of_the_script_are_said_in_its_words() {
    let mut wrong = Vec::new();
    for (script, message) in [
        ("input.items.toUpperCase()", "there is no function toUpperCase(array): `.to_upper()` does that"),
        ("str(5)", "there is no function str(integer): `x.to_string()` makes text of a value"),
        ("int(\"5\")", "there is no function int(string): `parse_int(text)` reads a whole number"),
        ("input.items.append(1)", "append(array, integer) does not fit: `list.push(x)` adds one element"),
        ("let x = undefined;", "there is no `undefined` here: nothing is written `()`"),
        ("console.log(1)", "there is no `console` here: `print(value)` and"),
        ("Date.now()", "there is no `Date` here: `now()` is the run's clock"),
        ("Math.max(1, 2)", "there is no `Math` here: functions and methods stand by themselves"),
        ("\"abc\".length", "a string has no field `length`: `.len()` tells how many there are"),
        ("\"abc\".name", "a string has no field `name`"),
        ("let s = \"abc\"; s.name = 5;", "a string has no field `name` that could be set"),
        ("input.nothing.name", "there is no field `name` here: what stands before it is ()"),
        ("input.nothing[0]", "there is nothing here to be indexed by an integer: what stands before it is ()"),
        ("true[0]", "a boolean cannot be indexed by an integer"),
        ("1 + #{}", "`+` cannot be used with an integer and a map"),
        ("-\"a\"", "`-` cannot be used with a string"),
        ("for x in input.n { }", "`for` goes through a list, a range like 0..3"),
        ("input.n = 5;", "`input` is a constant, which cannot be changed"),
        ("const L = [1]; L.push(2)", "`push` would change a constant: copy it first"),
        ("[1, 2][7]", "there is no element 7: the list has 2, numbered from 0"),
        ("\"\"[0]", "there is no character 0: the text is empty"),
        ("if input.n { }", "expected boolean, found integer"),
    ] {
        let failure = run(script).result().expect_err(script);
        if !failure.message.starts_with(message) {
            wrong.push(format!("{script}\n found: {}\nwanted: {message}", failure.message));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
