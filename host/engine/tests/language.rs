//! Hooks, people, other runs, state and streams: what the calls give, and what they say about wrong arguments.

mod driver;

use driver::{Outside, gives, run, run_amid, run_with, sandbox, throws};
use durhai_core::replay::Verdict;
use durhai_core::{EventBody, FailureKind};
use serde_json::{Value, json};

#[track_caller]
fn gives_amid(script: &str, signals: Vec<(&'static str, Value)>, expected: Value) {
    let outcome = run_amid(&sandbox(), script, json!({}), Outside { signals, ..Outside::default() });
    assert_eq!(outcome.result().unwrap_or_else(|failure| panic!("{script}\n{failure}")), expected, "{script}");
}

#[test]
fn hooks() {
    gives(&[
        ("let h = hook(#{ token: \"order-42\" }); [h.token, h.url]", json!(["order-42", "http://host/hooks/order-42"])),
        ("let h = hook(); h.token", json!("made-for-1")),
        ("hook(#{ token: () }).token", json!("made-for-1")),
        (
            "let h = hook(#{ metadata: #{ send: [#{ method: \"POST\", body: #{ ok: true } }, 2] } }); [h.wait().body.ok, h.wait()]",
            json!([true, 2]),
        ),
        ("let h = hook(); h.wait(#{ timeout: \"1h\" })", json!(null)),
        ("let h = hook(); h.close(); h.close(); h.wait()", json!(null)),
        ("let h = hook(); h.close(); hook(#{ token: h.token }).token", json!("made-for-1")),
        // One task waits while another one closes.
        ("let h = hook(); parallel([|| wait(h), || { sleep(5); close(h); 1 }])", json!([null, 1])),
        (
            "let h = hook(); race(#{ paid: || wait(h), late: || { sleep(60); h.url } }).value",
            json!("http://host/hooks/made-for-1"),
        ),
        ("let a = hook(); let b = a; `${[a, type_of(b)]}`", json!("[hook, \"hook\"]")),
        (
            "let e = (); try { hook(#{ token: \"taken\" }) } catch (x) { e = x; } [e.kind, e.data]",
            json!(["hook_conflict", { "token": "taken", "run_id": "other" }]),
        ),
    ]);
    throws(&[
        ("hook(5)", "invalid_input: hook: the options must be a map like #{ token: … }, found an integer (5)"),
        ("hook(#{ tokn: 1 })", "invalid_input: hook has no option `tokn`; there are: token, schema, metadata"),
        ("hook(#{ token: 5 })", "invalid_input: hook: option `token` must be a string, found an integer (5)"),
        ("hook(#{ token: \"\" })", "invalid_input: hook: option `token` must have 1 to 128 characters, found 0"),
        (
            "let t = \"\"; t.pad(129, 'x'); hook(#{ token: t })",
            "invalid_input: hook: option `token` must have 1 to 128 characters, found 129",
        ),
        (
            "hook(#{ token: \"a/b\" })",
            "invalid_input: hook: option `token` may hold letters, digits and - _ . : ~ only, found \"a/b\"",
        ),
        ("hook(#{ token: \"ä\" })", "invalid_input: hook: option `token` may hold letters"),
        (
            "hook(#{ schema: 5 })",
            "invalid_input: hook: option `schema` must be a JSON Schema like #{ type: \"object\" }, found an integer (5)",
        ),
        (
            "hook(#{ schema: #{ type: \"objct\" } })",
            "invalid_input: hook: option `schema` is no JSON Schema: /type: \"objct\" is no type",
        ),
        ("hook(#{ metadata: || 1 })", "not_storable: metadata is a function"),
        ("hook().wait(#{ schema: 1 })", "invalid_input: wait has no option `schema`; there are: timeout"),
        ("hook().wait(#{ timeout: \"x\" })", "invalid_input: wait: option `timeout`: \"x\" is no duration"),
        ("use_step(\"echo\", hook())", "not_storable: input is a hook"),
    ]);
}

#[test]
fn signals_with_a_schema() {
    let schema = "#{ type: \"object\", required: [\"n\"], properties: #{ n: #{ type: \"integer\" }, by: #{ \"default\": \"ann\" } } }";
    gives_amid(
        &format!("wait_for(\"go\", #{{ schema: {schema} }})"),
        vec![("go", json!({ "n": 1 }))],
        json!({ "n": 1, "by": "ann" }),
    );
    // What does not fit is consumed, and goes on with the error.
    gives_amid(
        &format!(
            "let e = (); try {{ wait_for(\"go\", #{{ schema: {schema} }}) }} catch (x) {{ e = x; }}
            [e.kind, e.message, e.data, wait_for(\"go\", #{{ schema: {schema}, timeout: 5 }}), wait_for(\"go\", #{{ schema: {schema}, timeout: 5 }})]"
        ),
        vec![("go", json!({ "n": "x" })), ("go", json!({ "n": 2, "by": "bob" }))],
        json!([
            "invalid_input",
            "wait_for: the payload of signal \"go\" does not fit: /n: \"x\" is not of type \"integer\"",
            { "n": "x" },
            { "n": 2, "by": "bob" },
            null,
        ]),
    );
    throws(&[
        ("wait_for(\"a\", #{ time: 1 })", "invalid_input: wait_for has no option `time`; there are: timeout, schema"),
        ("wait_for(\"\")", "invalid_input: wait_for: the name of the signal must not be empty"),
        (
            "wait_for(\"a\", #{ schema: \"object\" })",
            "invalid_input: wait_for: option `schema` must be a JSON Schema like #{ type: \"object\" }, found a string (\"object\")",
        ),
        (
            "wait_for(\"a\", #{ schema: #{ \"$ref\": \"http://a.b\" } })",
            "invalid_input: wait_for: option `schema` is no JSON Schema: /$ref: \"http://a.b\" is remote",
        ),
        (
            "let s = #{}; for i in 0..50 { s = #{ not: s }; } wait_for(\"a\", #{ schema: s })",
            "invalid_input: wait_for: option `schema` is no JSON Schema: the schema nests more than 32 levels deep",
        ),
        (
            "wait_for(\"a\", #{ schema: #{ pattern: \"(\\\\w{999}){999}\" } })",
            "invalid_input: wait_for: option `schema` is no JSON Schema: /pattern: ",
        ),
    ]);
}

#[test]
fn people() {
    gives(&[
        ("suspend(#{ question: \"ok?\", answer: #{ yes: true } }).yes", json!(true)),
        ("suspend(\"ok?\", #{ timeout: \"1 day\", label: \"boss\", schema: #{ type: \"object\" } })", json!(null)),
        ("parallel([|| suspend(#{ answer: 1 }), || suspend(#{ answer: 2 })])", json!([1, 2])),
    ]);
    let outcome = run("suspend(#{ a: 1 }, #{ label: \"boss\", timeout: 60, schema: #{ type: \"object\" } })");
    let asked = outcome.events.iter().find_map(|event| match &event.body {
        EventBody::Suspended { payload, label, schema, wake_at } => {
            Some((&**payload, label.as_deref(), schema, wake_at))
        }
        _ => None,
    });
    let (payload, label, schema, wake_at) = asked.expect("somebody is asked");
    assert_eq!((payload, label, schema), (&json!({ "a": 1 }), Some("boss"), &json!({ "type": "object" })));
    assert_eq!(*wake_at, Some(driver::START + 60_000));
    throws(&[
        ("suspend(|| 1)", "not_storable: payload is a function"),
        (
            "suspend(1, 2)",
            "invalid_input: suspend: the options must be a map like #{ schema: … }, found an integer (2)",
        ),
        (
            "suspend(1, #{ schem: 2 })",
            "invalid_input: suspend has no option `schem`; there are: schema, label, timeout",
        ),
        (
            "suspend(1, #{ schema: #{ items: 5 } })",
            "invalid_input: suspend: option `schema` is no JSON Schema: /items: 5",
        ),
        ("suspend(1, #{ label: 5 })", "invalid_input: suspend: option `label` must be a string, found an integer (5)"),
        ("suspend(1, #{ timeout: -5 })", "invalid_input: suspend: option `timeout`: -5 s is no duration"),
    ]);
}

#[test]
fn other_runs() {
    gives(&[
        ("run_workflow(\"double\", 4)", json!(8)),
        ("run_workflow(\"double\")", json!(0)),
        ("foreach([1, 2], |n| run_workflow(\"double\", n), #{ concurrency: 2 })", json!([2, 4])),
        (
            "let e = (); try { run_workflow(\"broken\", 4) } catch (x) { e = x; } [e.kind, e.message, e.step, e.step_id, e.cause.kind, e.cause.data]",
            json!(["child_failed", "the run of broken failed", "broken", "1", "thrown", "no luck"]),
        ),
        ("start_workflow(\"double\", 4, #{ id: \"mine\" })", json!("mine")),
        ("let e = (); try { start_workflow(\"none\") } catch (x) { e = x.kind; } e", json!("child_failed")),
    ]);
    let outcome = run("run_workflow(\"broken\")");
    let failure = outcome.result().unwrap_err();
    assert_eq!((failure.kind, failure.cause.expect("a cause").kind), (FailureKind::ChildFailed, FailureKind::Thrown));
    let outcome = run(
        "start_workflow(\"double\", [1], #{ id: \"a/b\", tags: #{ x: \"y\" }, timeout: \"1h\", priority: -3, label: \"two\", delay: 90 })",
    );
    let options = serde_json::to_value(&outcome.started[0].options).expect("JSON");
    assert_eq!(
        options,
        json!({ "id": "a/b", "tags": { "x": "y" }, "timeout": 3_600_000, "priority": -3, "label": "two", "delay": 90_000 })
    );
    throws(&[
        (
            "run_workflow(5)",
            "invalid_input: run_workflow: the name of the workflow must be a string, found an integer (5)",
        ),
        ("start_workflow(\"\")", "invalid_input: start_workflow: the name of the workflow must not be empty"),
        ("run_workflow(\"a\", || 1)", "not_storable: input is a function"),
        ("run_workflow(\"a\", 1, 2)", "invalid_input: run_workflow: the options must be a map like #{ id: … }"),
        (
            "run_workflow(\"a\", 1, #{ delay: 2 })",
            "invalid_input: run_workflow has no option `delay`; there are: id, tags, timeout, priority, label",
        ),
        (
            "start_workflow(\"a\", 1, #{ dely: 2 })",
            "invalid_input: start_workflow has no option `dely`; there are: id, tags, timeout, priority, label, delay",
        ),
        (
            "run_workflow(\"a\", 1, #{ id: \"a b\" })",
            "invalid_input: run_workflow: option `id`: \"a b\" cannot be the id of a run",
        ),
        ("run_workflow(\"a\", 1, #{ id: 5 })", "invalid_input: run_workflow: option `id` must be a string"),
        (
            "run_workflow(\"a\", 1, #{ tags: [] })",
            "invalid_input: run_workflow: option `tags` must be a map of strings",
        ),
        (
            "run_workflow(\"a\", 1, #{ tags: #{ n: 5 } })",
            "invalid_input: run_workflow: option `tags`: the tag `n` must be a string, found an integer (5)",
        ),
        (
            "run_workflow(\"a\", 1, #{ timeout: 0 })",
            "invalid_input: run_workflow: option `timeout` must be longer than nothing",
        ),
        (
            "run_workflow(\"a\", 1, #{ priority: 3000000000 })",
            "invalid_input: run_workflow: option `priority` must be a whole number",
        ),
        (
            "run_workflow(\"a\", 1, #{ priority: 1.5 })",
            "invalid_input: run_workflow: option `priority` must be a whole number",
        ),
        (
            "start_workflow(\"a\", 1, #{ delay: \"x\" })",
            "invalid_input: start_workflow: option `delay`: \"x\" is no duration",
        ),
    ]);
}

#[test]
fn a_run_and_its_successor() {
    for (script, next) in [
        ("use_step(\"echo\"); continue_as_new(#{ page: input.n + 1 }); throw \"never\"", json!({ "page": 4 })),
        ("fn again() { try { continue_as_new() } catch { } throw \"never\" } again()", json!(null)),
        (
            "const WORKFLOW = #{ input: #{ properties: #{ a: #{ \"default\": 1 } } } }; continue_as_new(#{})",
            json!({ "a": 1 }),
        ),
    ] {
        let outcome = run(script);
        assert!(
            matches!(outcome.verdict, Some(Verdict::Ended(EventBody::RunContinued { .. }))),
            "{script}: {:?}",
            outcome.verdict
        );
        assert_eq!(outcome.successor, Some(next), "{script}");
    }
    throws(&[
        ("parallel([|| continue_as_new(1)])", "invalid_input: continue_as_new ends the whole run: call it in the body"),
        ("continue_as_new(#{ f: || 1 })", "not_storable: input.f is a function"),
    ]);
    let script = "const WORKFLOW = #{ input: #{ required: [\"n\"] } }; let e = (); try { continue_as_new(#{}) } catch (x) { e = x.message; } e";
    let expected = json!("continue_as_new: the input does not fit: \"n\" is a required property");
    assert_eq!(run(script).result(), Ok(expected));
}

#[test]
fn state_and_streams() {
    gives(&[
        (
            "set_state(\"a\", #{ n: 1 }); set_state(\"a\", [get_state(\"a\"), get_state(\"b\")]); get_state(\"a\")",
            json!([{ "n": 1 }, null]),
        ),
        ("let kept = []; try { set_state(\"big\", \"x\") } catch { } attempt()", json!(1)),
    ]);
    let outcome = run(
        "set_state(\"n\", 1); emit(5); use_step(\"echo\"); emit(\"audit\", #{ who: \"ann\" }); set_status(#{ done: 1 }); set_state(\"n\", 2); emit(())",
    );
    assert_eq!(
        outcome.emitted,
        [("default".into(), json!(5)), ("audit".into(), json!({ "who": "ann" })), ("default".into(), json!(null))]
    );
    assert_eq!(outcome.state.into_iter().collect::<Vec<_>>(), [("n".to_string(), json!(2))]);
    assert_eq!(outcome.status.as_deref(), Some("{\"done\":1}"));
    assert_eq!(run("set_status(\"half way\")").status.as_deref(), Some("half way"));
    assert_eq!(run("set_status(\"half way\"); set_status(())").status, None);
    throws(&[
        ("set_state(5, 1)", "invalid_input: set_state: the key must be a string, found an integer (5)"),
        ("set_state(\"\", 1)", "invalid_input: set_state: the key must not be empty"),
        ("set_state(\"a\", || 1)", "not_storable: value is a function"),
        ("get_state(())", "invalid_input: get_state: the key must be a string, found ()"),
        ("set_status(|| 1)", "not_storable: value is a function"),
        (
            "let s = \"\"; s.pad(1001, 'x'); set_status(s)",
            "limit: set_status: the text has 1001 bytes, the limit is 1000",
        ),
        ("emit(|| 1)", "not_storable: value is a function"),
        ("emit(5, 1)", "invalid_input: emit: the name of the stream must be a string, found an integer (5)"),
        (
            "let s = \"\"; s.pad(300, 'x'); emit(s, 1)",
            "invalid_input: emit: the name of the stream must have 1 to 256 bytes",
        ),
        ("let s = \"\"; s.pad(3000000, 'x'); set_state(\"a\", s)", "limit: value is larger than 2097152 bytes"),
        (
            "let s = \"\"; s.pad(1500000, 'x'); set_state(\"a\", s); set_state(\"b\", s)",
            "limit: the state of the run would have 3000006 bytes as JSON, the limit is 2097152",
        ),
    ]);
}

#[test]
fn what_the_header_says_of_steps_and_output() {
    for (header, call, attempts) in [
        ("retry: #{ max_attempts: 2 }", "use_step(\"flaky\")", json!(2)),
        ("retry: false", "use_step(\"flaky\")", json!(1)),
        ("retry: #{ max_attempts: 2 }", "use_step(\"flaky\", (), #{ retry: #{ initial: 5 } })", json!(2)),
        ("retry: #{ initial: 5 }", "use_step(\"flaky\", (), #{ retry: #{ max_attempts: 1 } })", json!(1)),
        ("retry: #{ max_attempts: 9 }", "use_step(\"flaky\", (), #{ retry: false })", json!(1)),
        ("retry: #{ max_attempts: 2 }", "use_step(\"flaky\", (), #{ retry: true })", json!(2)),
        ("retry: false", "use_step(\"flaky\", (), #{ retry: true })", json!("done")),
    ] {
        let script = format!("const WORKFLOW = #{{ {header} }}; try {{ {call}; \"done\" }} catch (e) {{ e.attempts }}");
        let script = script
            .replace("try {", "let got = (); try { got = (")
            .replace("; \"done\" }", "); got = \"done\"; }")
            .replace("{ e.attempts }", "{ got = e.attempts; } got");
        assert_eq!(run(&script).result(), Ok(attempts), "{script}");
    }
    let header = "const WORKFLOW = #{ output: #{ type: \"object\", properties: #{ n: #{ type: \"integer\" } } } };";
    assert_eq!(run(&format!("{header} #{{ n: 1 }}")).result(), Ok(json!({ "n": 1 })));
    let failure = run(&format!("{header} use_step(\"echo\"); #{{ n: \"x\" }}")).result().unwrap_err();
    assert_eq!(failure.kind, FailureKind::InvalidOutput);
    assert_eq!(
        failure.message,
        "the output does not fit the `output` schema of the header: /n: \"x\" is not of type \"integer\""
    );
    // The constant is one like any other.
    gives(&[(
        "const WORKFLOW = #{ timeout: \"2h\", retain: 5 }; [WORKFLOW.timeout, WORKFLOW.retain]",
        json!(["2h", 5]),
    )]);
}

#[test]
fn a_hundred_thousand_values() {
    let outcome = run_with(&sandbox(), "for i in 0..100000 { emit(i); } use_step(\"echo\", 1)", json!(null));
    assert_eq!(outcome.emitted.len(), 100_000);
    assert_eq!(outcome.result(), Ok(json!(1)));
}
