//! What the durable calls give: a script, and its output or the beginning of its error.

mod driver;

use driver::{gives, run, throws};
use serde_json::{Value, json};

#[test]
fn steps() {
    gives(&[
        ("use_step(\"echo\", #{ a: [1, 2.5, \"x\", ()] })", json!({ "a": [1, 2.5, "x", null] })),
        ("use_step(\"echo\")", json!(null)),
        ("use_step(\"echo\", ())", json!(null)),
        ("let sum = 0; for i in input.items { sum += use_step(\"double\", i); } sum", json!(12)),
        ("use_step(\"flaky\", 1, #{ retry: #{ max_attempts: 5, initial: \"2s\" } })", json!(3)),
        ("use_step(\"echo\", 1, #{ timeout: 5, deadline: \"1h\", once: true, label: \"say\" })", json!(1)),
        ("let e = (); try { use_step(\"fail\", 1) } catch (x) { e = x; } e", {
            json!({ "kind": "step_failed", "message": "it is broken", "step": "fail", "step_id": "1", "attempts": 1, "data": { "code": 7 }, "cause": null })
        }),
        (
            "let e = (); try { use_step(\"flaky\", 1, #{ retry: false }) } catch (x) { e = x; } [e.kind, e.attempts, e.data]",
            { json!(["step_failed", 1, null]) },
        ),
        ("fn twice(x) { use_step(\"double\", use_step(\"double\", x)) } twice(3)", json!(12)),
        ("[1, 2].map(|x| use_step(\"double\", x))", json!([2, 4])),
        ("let a = [3, 1, 2]; a.sort(|x, y| { use_step(\"echo\", x); x - y }); a", json!([1, 2, 3])),
        ("let a = [3, 1, 2]; [a.order(|x, y| { use_step(\"echo\", x); x - y }), a]", json!([[1, 2, 3], [3, 1, 2]])),
        ("const WORKFLOW = #{ timeout: \"2h\" }; input.n", json!(3)),
        ("return 5; 6", json!(5)),
        ("exit(7); 6", json!(7)),
        ("", json!(null)),
    ]);
}

#[test]
fn wrong_arguments_say_what_is_right() {
    throws(&[
        ("use_step(42)", "invalid_input: use_step: the name of the step must be a string, found an integer (42)"),
        ("use_step(\"\")", "invalid_input: use_step: the name of the step must not be empty"),
        (
            "use_step(\"a\", 1, 5)",
            "invalid_input: use_step: the options must be a map like #{ retry: … }, found an integer (5)",
        ),
        (
            "use_step(\"a\", 1, #{ retires: 3 })",
            "invalid_input: use_step has no option `retires`; there are: retry, timeout, deadline, once, label",
        ),
        (
            "use_step(\"a\", 1, #{ timeout: -1 })",
            "invalid_input: use_step: option `timeout`: -1 s is no duration: it is negative",
        ),
        (
            "use_step(\"a\", 1, #{ timeout: \"soon\" })",
            "invalid_input: use_step: option `timeout`: \"soon\" is no duration",
        ),
        (
            "use_step(\"a\", 1, #{ once: 1 })",
            "invalid_input: use_step: option `once` must be true or false, found an integer (1)",
        ),
        ("use_step(\"a\", 1, #{ retry: 3 })", "invalid_input: use_step: option `retry` must be false or a map"),
        (
            "use_step(\"a\", 1, #{ retry: #{ tries: 3 } })",
            "invalid_input: use_step: retry has no option `tries`; there are: max_attempts",
        ),
        (
            "use_step(\"a\", 1, #{ retry: #{ max_attempts: 0 } })",
            "invalid_input: use_step: option `retry.max_attempts` must be a whole",
        ),
        (
            "use_step(\"a\", 1, #{ retry: #{ jitter: 2 } })",
            "invalid_input: use_step: option `retry.jitter` must be a number from 0 to 1",
        ),
        ("use_step(\"a\", #{ f: || 1 })", "not_storable: input.f is a function"),
        ("use_step(\"a\", [0.0 / 0.0])", "not_storable: input[0] is not a number (NaN)"),
        ("use_step(\"a\", timestamp())", "not_storable: input is a timestamp"),
        ("let t = task(|| 1); use_step(\"a\", #{ t: t })", "not_storable: input.t is a task"),
        ("let s = \"x\"; for i in 0..22 { s += s; } use_step(\"a\", s)", "limit: input is larger than 2097152 bytes"),
        ("let a = []; for i in 0..70 { a = [a]; } use_step(\"a\", a)", "limit: input nests more than 64 levels"),
        ("sleep(\"tomorrow\")", "invalid_input: sleep: the duration: \"tomorrow\" is no duration"),
        (
            "sleep([])",
            "invalid_input: sleep: the duration must be a number of seconds or a string like \"1h 30m\", found an array",
        ),
        ("sleep_until(\"x\")", "invalid_input: sleep_until: the moment must be Unix milliseconds"),
        ("parallel(|| 1)", "invalid_input: parallel: the first argument must be an array or a map of closures"),
        (
            "parallel([|| 1, 2])",
            "invalid_input: parallel: element 1 must be a closure like || use_step(…), found an integer (2)",
        ),
        (
            "parallel([], #{ limit: 1 })",
            "invalid_input: parallel has no option `limit`; there are: settle, concurrency",
        ),
        ("foreach(5, |x| x)", "invalid_input: foreach: the items must be an array, found an integer (5)"),
        ("race([])", "invalid_input: race: there must be at least one closure"),
        ("with_timeout(\"1s\", 5)", "invalid_input: with_timeout: the second argument must be a closure"),
        ("rand(5..5)", "invalid_input: rand: the range 5..5 is empty"),
        ("rand_bool(1.5)", "invalid_input: rand_bool: the probability must be from 0.0 to 1.0"),
        ("log(\"loud\", \"x\")", "invalid_input: log: \"loud\" is no level; there are: debug, info, warn, error"),
        ("parse_json(\"{\")", "invalid_input: parse_json: EOF"),
    ]);
}

#[test]
fn time_and_chance() {
    gives(&[
        ("let a = now(); sleep(\"1 day\"); now() - a", json!(86_400_000)),
        ("let t = timestamp(); sleep(1.5); t.elapsed", json!(1.5)),
        ("let a = timestamp(); let b = a + 2; [b - a, a < b, b - 2 == a, a != b]", json!([2.0, true, true, true])),
        ("let t = timestamp(); sleep_until(now() + 500); timestamp() - t", json!(0.5)),
        ("sleep(0); sleep_until(5); step_id()", json!("2")),
        ("let x = rand(1..7); x >= 1 && x < 7 && rand(2, 3) <= 3 && rand(0..=0) == 0", json!(true)),
        ("let f = rand_float(); f >= 0.0 && f < 1.0 && rand_float(5.0, 6.0) >= 5.0", json!(true)),
        ("let b = rand_bool(); rand_bool(1.0) && !rand_bool(0.0) && type_of(rand()) == \"i64\"", json!(true)),
        ("let a = [1, 2, 3]; a.shuffle(); a.sort(); [a, [].sample(), a.sample() in a, a.sample(9).len()]", {
            json!([[1, 2, 3], null, true, 3])
        }),
        ("uuid().len() + rand_alpha_numeric(4).len()", json!(40)),
        ("uuid() == uuid()", json!(false)),
    ]);
    let draw = "[rand(), rand_float(), uuid()]";
    assert_eq!(run(draw).result(), run(draw).result());
}

#[test]
fn branches() {
    gives(&[
        ("parallel([|| use_step(\"double\", 1), || 5, || ()])", json!([2, 5, null])),
        ("parallel(#{ b: || use_step(\"double\", 1), a: || use_step(\"echo\", \"x\") })", json!({ "a": "x", "b": 2 })),
        ("parallel([])", json!([])),
        (
            "parallel([|| 1, || throw \"no\", || use_step(\"fail\")], #{ settle: true }).map(|r| if \"ok\" in r { r.ok } else if type_of(r.error) == \"map\" { r.error.kind } else { r.error })",
            { json!([1, "no", "step_failed"]) },
        ),
        (
            "let seen = (); try { parallel([|| sleep(100), || throw #{ code: 4 }]) } catch (e) { seen = e; } seen",
            json!({ "code": 4 }),
        ),
        ("foreach(input.items, |x| use_step(\"double\", x))", json!([2, 4, 6])),
        (
            "foreach(input.items, |x, i| [i, use_step(\"double\", x)], #{ concurrency: 2 })",
            json!([[0, 2], [1, 4], [2, 6]]),
        ),
        ("foreach([], |x| x)", json!([])),
        ("let factor = 10; foreach([1, 2], |x, i| x * factor + i)", json!([10, 21])),
        ("let r = race([|| { sleep(5); 1 }, || { sleep(1); 2 }]); [r.winner, r.value]", json!([1, 2])),
        ("race(#{ slow: || sleep(5), fast: || use_step(\"echo\", 9) })", json!({ "winner": "fast", "value": 9 })),
        (
            "let t = task(|| use_step(\"double\", 4)); let x = use_step(\"echo\", 1); [x, t.join(), t.join(), t.is_done()]",
            json!([1, 8, 8, true]),
        ),
        (
            "let t = task(|| { try { sleep(100) } catch (e) { throw e.kind } }); sleep(1); t.cancel(); let e = (); try { t.join() } catch (x) { e = x; } e",
            json!("cancelled"),
        ),
        ("with_timeout(\"10s\", || use_step(\"double\", 2))", json!(4)),
        ("let e = (); try { with_timeout(\"1s\", || sleep(60)) } catch (x) { e = x.kind; } e", json!("timeout")),
        (
            "let sum = 0; parallel([|| sum += use_step(\"double\", 1), || sum += use_step(\"double\", 2)]); sum",
            json!(6),
        ),
        ("fn dig(n) { if n == 0 { 0 } else { 1 + parallel([|| dig(n - 1)])[0] } } dig(5)", json!(5)),
    ]);
}

#[test]
fn signals_and_identity() {
    gives(&[
        ("wait_for(\"go\", #{ timeout: \"1s\" })", json!(null)),
        ("poll_signal(\"go\")", json!(null)),
        ("[run_id(), workflow_name(), step_id()]", json!(["run-1", "flow", ""])),
        ("use_step(\"echo\"); parallel([|| { sleep(1); step_id() }])", json!(["2.1.1"])),
    ]);
}

#[test]
fn what_is_logged() {
    let outcome = run(
        "print(\"a\"); debug(#{ x: [1, 'c'] }); use_step(\"echo\"); log(\"warn\", \"careful\", #{ n: 1 }); print([])",
    );
    let lines: Vec<_> = outcome.lines.iter().map(|line| format!("{} {}", line.level, line.message)).collect();
    assert_eq!(lines, ["info a", "debug #{\"x\": [1, 'c']}", "warn careful", "info []"]);
    let fields: Value = serde_json::to_value(&outcome.lines[2].fields).expect("JSON");
    assert_eq!(fields, json!({ "n": 1 }));
}

#[test]
fn plain_functions() {
    gives(&[
        ("#{ a: [1, 2.0, ()], b: \"x\" }.to_json()", json!("{\"a\":[1,2.0,null],\"b\":\"x\"}")),
        ("parse_json(\"[1, 2.5, null, {}]\")", json!([1, 2.5, null, {}])),
        ("`${[1, \"a\"]} ${#{ k: 'c' }}` + [2]", json!("[1, \"a\"] #{\"k\": 'c'}[2]")),
        ("let a = [1]; a.push(2); a.push([3]); a", json!([1, 2, [3]])),
        ("let a = []; let b = [a]; b[0].push(1); [a, b]", json!([[], [[1]]])),
        (
            "[[1, #{ a: 2.0 }] == [1.0, #{ a: 2 }], [1] != [1, 2], #{ a: 1 } == #{ b: 1 }, ['a'] == [\"a\"], [()] == [()]]",
            { json!([true, true, false, true, true]) },
        ),
        ("[[1, 2] in [[1, 2]], [timestamp()] == [1], [true] == [1]]", json!([true, false, false])),
        ("let x = 1; take(x)", json!(1)),
        ("import \"std/batch\" as batch; batch::chunks([1, 2, 3, 4, 5], 2)", json!([[1, 2], [3, 4], [5]])),
        (
            "import \"std/batch\" as batch; [batch::split([1, 2, 3], 2), batch::split([], 3)]",
            json!([[[1, 2], [3]], []]),
        ),
        ("import \"std/batch\" as batch; batch::each([1, 2, 3], 2, |part| use_step(\"echo\", part))", json!([1, 2, 3])),
        ("import \"std/batch\" as batch; batch::group_by([1, 2, 3], |x| x % 2)", json!({ "0": [2], "1": [1, 3] })),
        ("import \"std/text\" as text; text::lines(\"a\\r\\nb\\n\")", json!(["a", "b"])),
        ("import \"std/text\" as text; text::csv(\"a,\\\"b,\\\"\\\"c\\\"\\\"\\\",\")", json!(["a", "b,\"c\"", ""])),
        ("import \"std/text\" as text; text::to_csv([1, \"a,b\", \"q\\\"\"])", json!("1,\"a,b\",\"q\"\"\"")),
        (
            "import \"std/text\" as text; [text::pad_left(7, 3, \"0\"), text::pad_right(\"ab\", 3), text::truncate(\"abcdef\", 4)]",
            json!(["007", "ab ", "abc…"]),
        ),
    ]);
}
