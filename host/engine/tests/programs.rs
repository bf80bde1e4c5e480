//! What is found before a run, and how the errors of a script read.

mod driver;

use std::collections::BTreeMap;

use driver::{run, sandbox};
use durhai_core::FailureKind;
use durhai_engine::Bundle;

/// The first diagnostic of a workflow `order` with some modules beside it.
fn wrong(source: &str, files: &[(&str, &str)]) -> String {
    let files: BTreeMap<_, _> = files.iter().copied().collect();
    let gathered = Bundle::gather("order", source, &mut |path| files.get(path).map(ToString::to_string));
    let result = gathered.and_then(|bundle| sandbox().compile(&bundle).map(drop));
    result.expect_err(source)[0].to_string()
}

/// A workflow, the modules beside it, and how its first diagnostic begins.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn diagnostics() {
    let cases: &[Case<'_>] = &[
        ("let a = 1;\nlet b = ;\n", &[], "order.rhai:2:9: error: Unexpected ';'\n 2 | let b = ;\n   |         ^"),
        (
            "let x = eval(\"1\");",
            &[],
            "order.rhai:1:9: error: reserved keyword 'eval' is disabled\n 1 | let x = eval(\"1\");\n   |         ^\n help: text cannot become code in a workflow",
        ),
        ("{ a: 1 }", &[], "order.rhai:1:4: error: a map is written `#{ key: value }`\n 1 | { a: 1 }\n   |    ^"),
        (
            "let p = \"lib/a\";\nimport p as a;",
            &[],
            "order.rhai:2:8: error: the path of an import must be a literal string\n 2 | import p as a;\n   |        ^\n help: write the path as a string, so that it is known before the script runs",
        ),
        (
            "import \"../secret\" as s;",
            &[("../secret", "")],
            "order.rhai:1:8: error: \"../secret\" cannot be imported: a path holds no `.`, no `..` and no empty part\n 1 | import \"../secret\" as s;\n   |        ^",
        ),
        ("import \"/etc/x\" as s;", &[], "order.rhai:1:8: error: \"/etc/x\" cannot be imported: paths are relative"),
        ("import \"lib/a.rhai\" as a;", &[], "order.rhai:1:8: error: \"lib/a.rhai\" cannot be imported: leave out"),
        (
            "fn f() { import \"lib/a\" as a; a::g() }",
            &[],
            "order.rhai:1:17: error: there is no module \"lib/a\"\n 1 | fn f() { import \"lib/a\" as a; a::g() }\n   |                 ^\n help: it would be the file lib/a.rhai in the scripts folder",
        ),
        (
            "import \"std/nope\" as n;",
            &[],
            "order.rhai:1:8: error: there is no module \"std/nope\"\n 1 | import \"std/nope\" as n;\n   |        ^\n help: the standard library has std/batch, std/hash, ",
        ),
        (
            "import \"lib/a\" as a;",
            &[("lib/a", "import \"lib/b\" as b;"), ("lib/b", "\nimport \"lib/a\" as a;")],
            "lib/b.rhai:2:8: error: modules import each other in a circle: lib/a → lib/b → lib/a\n 2 | import \"lib/a\" as a;",
        ),
        ("import \"lib/a\" as a;", &[("lib/a", "fn f( { }")], "lib/a.rhai:1:7: error: "),
        (
            "import \"lib/a\" as a;",
            &[("lib/a", "let x = 1;\nuse_step(\"charge\");")],
            "lib/a.rhai:2:1: error: this module cannot be loaded: use_step needs a run, and there is none while a module is loaded",
        ),
        (
            "import \"lib/a\" as a;",
            &[("lib/a", "loop {}")],
            "lib/a.rhai:1:6: error: this module cannot be loaded: it does not end",
        ),
        ("import \"lib/a\" as a;", &[("lib/a", "fn f(x) { f(x) } f(1)")], "lib/a.rhai:1:"),
        (
            "import \"lib/a\" as a;",
            &[("lib/a", "let count = 0;\nlet next = || { count += 1; count };\nexport next;")],
            "lib/a.rhai:2:17: error: a closure at the top level of a module cannot capture a variable: all runs would share it",
        ),
    ];
    for (source, files, text) in cases {
        let found = wrong(source, files);
        assert!(found.starts_with(text), "{source}\n found: {found}\nwanted: {text}");
    }
    assert!(
        wrong(&"// a comment\n".repeat(100_000), &[]).contains("the script has 1300000 bytes, the limit is 1048576")
    );
    assert!(wrong(&format!("{}1{}", "(".repeat(200), ")".repeat(200)), &[]).contains("maximum complexity"));
}

#[test]
fn versions_and_descriptions() {
    let gather = |name: &str, source: &str| {
        Bundle::gather(name, source, &mut |path| Some(format!("fn f() {{ \"{path}\" }}"))).expect("a bundle")
    };
    let source = "//! Fulfil one order.\n//!\n//! With care.\nimport \"lib/a\" as a; a::f()";
    let bundle = gather("order", source);
    assert_eq!(bundle.version(), gather("renamed", source).version());
    assert_ne!(bundle.version(), gather("order", &source.replace("lib/a", "lib/b")).version());
    let program = sandbox().compile(&bundle).expect("a program");
    assert_eq!(program.description(), "Fulfil one order.\n\nWith care.");
    assert_eq!(program.text(Some("lib/a")), Some("fn f() { \"lib/a\" }"));
    let stored = serde_json::to_string(&bundle).expect("JSON");
    assert_eq!(serde_json::from_str::<Bundle>(&stored).expect("a bundle"), bundle);
}

#[test]
fn errors_of_a_script() {
    let cases = [
        (
            "let x = [1, 2];\nx[9]",
            "script: there is no element 9: the list has 2, numbered from 0\n  at flow.rhai:2:3\n    x[9]\n      ^",
        ),
        (
            "fn a(x) {\n    b(x + 1)\n}\nfn b(y) {\n    y.missing()\n}\na(1)",
            "script: there is no function missing(integer)\n  at flow.rhai:5:7\n        y.missing()\n          ^\n  in b, called at flow.rhai:2:5\n  in a, called at flow.rhai:7:1",
        ),
        (
            "use_stpe(\"x\")",
            "script: there is no function use_stpe(string); did you mean `use_step`?\n  at flow.rhai:1:1",
        ),
        (
            "use_step()",
            "script: use_step() does not fit; there is use_step(name), use_step(name, input), use_step(name, input, options)",
        ),
        ("fn add(a, b) { a + b }\nadd(1)", "script: add(integer) does not fit; there is add(a, b)\n  at flow.rhai:2:1"),
        (
            "let order = #{};\norder.items.len()",
            "script: len(unit) does not fit: len is for other values; () is what a map gives for a field that it does not have\n  at flow.rhai:2:13",
        ),
        ("let n = 5; n.len()", "script: len(integer) does not fit: len is for other values\n  at flow.rhai:1:14"),
        (
            "[1].push(2, 3, 4)",
            "script: push(array, integer, integer, integer) does not fit: push is for other values\n  at flow.rhai:1:5",
        ),
        (
            "let n = 5; n.revers()",
            "script: there is no function revers(integer); did you mean `reverse`?\n  at flow.rhai:1:14",
        ),
        (
            "fn f() { input.n }\nf()",
            "script: there is no variable `input` here: functions do not see it, pass it as an argument",
        ),
        ("throw 42;", "thrown: 42\n  at flow.rhai:1:1"),
        ("throw #{ message: \"no stock\", sku: 7 };", "thrown: no stock\n  at flow.rhai:1:1"),
        (
            "use_step(\"fail\", 1)",
            "step_failed in step fail (1): it is broken\n  at flow.rhai:1:1\n    use_step(\"fail\", 1)\n    ^",
        ),
        (
            "\nparallel([|| use_step(\"fail\", 1)])",
            "step_failed in step fail (1.1.1): it is broken\n  at flow.rhai:2:14",
        ),
        ("parallel([|| oops])", "script: there is no variable `oops` here"),
        ("|| 1", "not_storable: output is a function"),
        ("let n = 5; for i in n { }", "script: `for` goes through a list, a range"),
        ("1 + #{}", "script: `+` cannot be used with an integer and a map"),
        ("let f = |a| a; f.call(1, 2)", "script: the closure cannot be called with 2 arguments (integer, integer)"),
    ];
    for (script, text) in cases {
        let failure = run(script).result().expect_err(script).to_string();
        assert!(failure.starts_with(text), "{script}\n found: {failure}\nwanted: {text}");
    }
}

#[test]
fn thrown_values_are_kept() {
    let failure = run("throw #{ message: \"no stock\", sku: 7 };").result().expect_err("thrown");
    assert_eq!(failure.kind, FailureKind::Thrown);
    assert_eq!(failure.data.to_string(), r#"{"message":"no stock","sku":7}"#);
    let failure = run("try { use_step(\"fail\", 1) } catch (e) { throw e; }").result().expect_err("thrown again");
    assert_eq!(
        (failure.kind, failure.step.as_deref(), failure.data.to_string()),
        (FailureKind::StepFailed, Some("fail"), r#"{"code":7}"#.into())
    );
}

#[test]
fn places_in_modules() {
    let module = "fn twice(x) {\n    let y = use_step(\"double\", x);\n    y.oops()\n}";
    let source = "import \"lib/money\" as money;\nmoney::twice(2)";
    let bundle = Bundle::gather("flow", source, &mut |_| Some(module.into())).expect("a bundle");
    let sandbox = sandbox();
    let program = std::rc::Rc::new(sandbox.compile(&bundle).expect("a program"));
    let outcome = driver::drive(&sandbox, &program, vec![driver::created(&program, serde_json::Value::Null)]);
    let sites: Vec<_> =
        outcome.events.iter().filter_map(|event| event.site.as_ref()).map(ToString::to_string).collect();
    assert_eq!(sites, ["lib/money:2:13"]);
    let failure = outcome.result().expect_err("a wrong call").to_string();
    let text = "script: there is no function oops(integer)\n  at lib/money.rhai:3:7\n        y.oops()\n          ^\n  in twice, called at flow.rhai:2:8";
    assert_eq!(failure, text);
}

#[test]
fn a_variable_that_a_waiting_call_holds() {
    let script =
        "let a = [1, 2];\nlet other = || a.len();\nparallel([|| a.map(|x| use_step(\"double\", x)), || other.call()])";
    let failure = run(script).result().expect_err("a data race");
    assert_eq!(failure.kind, FailureKind::Script);
    assert!(failure.message.contains("is in use by a call that has not come back"), "{failure}");
}
