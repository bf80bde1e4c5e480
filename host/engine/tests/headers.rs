//! `const WORKFLOW`: what is read from it, and what is said about mistakes.

mod driver;

use driver::{compile, sandbox};
use durhai_core::RetryPolicy;
use durhai_engine::header::{Concurrency, Header, Missed, OnReload, Overlap};
use durhai_engine::{Bundle, Cron};
use serde_json::json;

fn header(text: &str) -> Header {
    let program = compile(&sandbox(), &format!("const WORKFLOW = {text};\ninput"));
    Header::clone(program.header())
}

/// All that is wrong, as it is printed.
fn wrong(source: &str) -> String {
    let bundle = Bundle::single("flow", source);
    let Err(found) = sandbox().compile(&bundle) else { panic!("nothing is wrong with {source}") };
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn all_that_can_be_said() {
    let full = header(
        r##"#{
            input: #{ type: "object", required: ["items"] },
            output: true,
            timeout: "2h",
            retry: #{ max_attempts: 5, initial: 2, factor: 3, max: "1m", jitter: 0.5, unless: ["timeout", "418"] },
            schedule: #{ cron: "0 9 * * MON-FRI", timezone: "Europe/Berlin", overlap: "queue", missed: "skip", input: #{ items: [-1, 2.5, ()] } },
            concurrency: #{ limit: 10, key: "input.user[\"a b\"].id" },
            retain: "30d",
            on_reload: "upgrade",
        }"##,
    );
    assert!(full.input.as_ref().expect("a schema").check(&json!({})).is_err());
    assert!(full.output.is_some());
    assert_eq!((full.timeout, full.retain), (Some(7_200_000), Some(30 * 86_400_000)));
    let policy = RetryPolicy {
        max_attempts: 5,
        initial: 2_000,
        factor: 3.0,
        max: 60_000,
        jitter: 0.5,
        unless: vec!["timeout".into(), "418".into()],
    };
    assert_eq!(full.retry, Some(policy));
    let schedule = full.schedule.as_ref().expect("a schedule");
    assert_eq!(schedule.cron.to_string(), "0 9 * * MON-FRI (Europe/Berlin)");
    assert_eq!(
        (schedule.timezone.as_str(), schedule.overlap, schedule.missed),
        ("Europe/Berlin", Overlap::Queue, Missed::Skip)
    );
    assert_eq!(schedule.input, json!({ "items": [-1, 2.5, null] }));
    assert_eq!(full.on_reload, OnReload::Upgrade);
    assert_eq!(full.raw()["concurrency"], json!({ "limit": 10, "key": "input.user[\"a b\"].id" }));
    assert_eq!(full.raw()["timeout"], json!("2h"));

    let short = header(r#"#{ schedule: "*/5 * * * *", concurrency: 3, timeout: 1.5, retry: false, retain: 0 }"#);
    let schedule = short.schedule.as_ref().expect("a schedule");
    assert_eq!((schedule.timezone.as_str(), schedule.overlap, schedule.missed), ("UTC", Overlap::Skip, Missed::Once));
    assert_eq!(schedule.input, json!(null));
    assert_eq!(short.concurrency, Some(Concurrency { limit: 3, key: None }));
    assert_eq!((short.timeout, short.retain, short.retry), (Some(1_500), Some(0), Some(RetryPolicy::never())));

    // A first wait that is longer than the longest raises it.
    let waits =
        |retry: &str| header(&format!("#{{ retry: {retry} }}")).retry.map(|policy| (policy.initial, policy.max));
    assert_eq!(waits("#{ initial: \"1h\" }"), Some((3_600_000, 360_000_000)));
    assert_eq!(waits("#{ max: \"1m\", initial: \"1h\" }"), Some((3_600_000, 3_600_000)));

    let none = compile(&sandbox(), "let x = 1; x");
    assert_eq!(**none.header(), Header::default());
    assert_eq!(*none.header().raw(), json!(null));
    fn travels<T: Send + Sync>(_: &T) {}
    travels(none.header());
    // A module's constant of that name is its own.
    let bundle =
        Bundle::gather("flow", "import \"lib/a\" as a; 1", &mut |_| Some("const WORKFLOW = 5; fn f() { 1 }".into()));
    sandbox().compile(&bundle.expect("a bundle")).map(drop).expect("it compiles");
}

/// A text that was taken before goes on being read: live runs have it.
#[test]
fn a_schedule_that_never_comes_is_no_mistake_of_an_older_text() {
    let bundle = Bundle { edition: 1, ..Bundle::single("flow", "const WORKFLOW = #{ schedule: \"0 0 30 2 *\" }; 1") };
    let program = sandbox().compile(&bundle).unwrap_or_else(|wrong| panic!("{}", wrong[0]));
    assert!(program.header().schedule.as_ref().is_some_and(|schedule| schedule.cron.never_comes()));
    for cron in
        ["0 0 29 2 *", "0 0 31 2,3 *", "0 0 * 2 MON#5", "0 0 30 2 MON", "0 0 L 2 *", "*/5 * * * *", "30 2 * * *"]
    {
        assert!(!Cron::parse(cron, "America/New_York").expect(cron).never_comes(), "{cron}");
    }
}

#[test]
fn what_runs_are_counted_by() {
    let key = |text: &str| {
        header(&format!("#{{ concurrency: #{{ limit: 1, key: {text:?} }} }}")).concurrency.expect("a limit")
    };
    let input = json!({ "tenant": "acme", "user": { "id": 7, "a b": { "c": [1] } }, "": { "\"": true } });
    for (text, value) in [
        ("input.tenant", "acme"),
        ("input.user.id", "7"),
        ("input.user[\"a b\"].c", "[1]"),
        ("input[\"\"][\"\\\"\"]", "true"),
        ("input.nobody.there", "null"),
        ("input.tenant.x", "null"),
    ] {
        assert_eq!(key(text).value(&input), value, "{text}");
    }
    assert_eq!(Concurrency { limit: 1, key: None }.value(&input), "");
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (source, expected) in [
        (
            "const WORKFLOW = #{ timout: \"2h\" };",
            "flow.rhai:1:21: error: `WORKFLOW` has no key `timout`; did you mean `timeout`?
 1 | const WORKFLOW = #{ timout: \"2h\" };
   |                     ^
 help: there are: input, output, timeout, retry, schedule, concurrency, retain, on_reload",
        ),
        (
            "//! A flow.\n\nconst WORKFLOW = #{\n    input: #{ type: \"object\", properties: #{ n: #{ type: \"intger\" } } },\n};",
            "flow.rhai:4:58: error: `input` is no JSON Schema: /properties/n/type: \"intger\" is no type; there are array, boolean, integer, null, number, object, string
 4 |     input: #{ type: \"object\", properties: #{ n: #{ type: \"intger\" } } },
   |                                                          ^",
        ),
        (
            "const WORKFLOW = #{ timeout: \"soon\", retain: [] };",
            "flow.rhai:1:30: error: `timeout`: \"soon\" is no duration: \"soon\" does not begin with a number; write it like \"250ms\", \"1h 30m\" or \"3 days\"
 1 | const WORKFLOW = #{ timeout: \"soon\", retain: [] };
   |                              ^
flow.rhai:1:46: error: `retain`: it must be a number of seconds or a string like \"1h 30m\", found an array
 1 | const WORKFLOW = #{ timeout: \"soon\", retain: [] };
   |                                              ^",
        ),
        (
            "let hours = 2; const WORKFLOW = #{ timeout: hours };",
            "flow.rhai:1:45: error: this is not a literal
 1 | let hours = 2; const WORKFLOW = #{ timeout: hours };
   |                                             ^
 help: the header is read without running the script: maps, arrays, strings, numbers, booleans and ()",
        ),
        (
            "const WORKFLOW = #{ schedule: #{ cron: \"0 0 30 2 *\", timezone: \"Europe/Berlin\" } };",
            "flow.rhai:1:40: error: `schedule`: \"0 0 30 2 *\" never comes: none of its months has such a day
 1 | const WORKFLOW = #{ schedule: #{ cron: \"0 0 30 2 *\", timezone: \"Europe/Berlin\" } };
   |                                        ^
 help: compare the day of the month with the months",
        ),
        (
            "const WORKFLOW = #{ on_reload: \"pinn\" };",
            "flow.rhai:1:32: error: `on_reload` cannot be \"pinn\"; did you mean \"pin\"?
 1 | const WORKFLOW = #{ on_reload: \"pinn\" };
   |                                ^
 help: there are: \"pin\", \"refuse\", \"upgrade\"",
        ),
    ] {
        assert_eq!(wrong(source), expected, "{source}");
    }
}

/// Header, place and beginning of the message.
#[test]
fn every_key_is_checked() {
    for (text, expected) in [
        ("5", "1:18: error: `WORKFLOW` must be a map like #{ input: … }, found an integer (5)"),
        (
            "#{ input: 5 }",
            "1:28: error: `input` must be a JSON Schema like #{ type: \"object\" }, found an integer (5)",
        ),
        (
            "#{ input: #{ \"$ref\": \"http://a.b\" } }",
            "1:39: error: `input` is no JSON Schema: /$ref: \"http://a.b\" is remote",
        ),
        (
            "#{ output: #{ items: #{ minimum: \"x\" } } }",
            "1:51: error: `output` is no JSON Schema: /items/minimum: \"x\" is not of type",
        ),
        ("#{ timeout: 0 }", "1:30: error: `timeout` must be longer than nothing"),
        ("#{ timeout: -5 }", "1:30: error: `timeout`: -5 s is no duration: it is negative"),
        ("#{ timeout: `${1}h` }", "1:30: error: this is not a literal"),
        ("#{ timeout: 1 + 1 }", "1:32: error: this is not a literal"),
        ("#{ timeout: now() }", "1:30: error: this is not a literal"),
        (
            "#{ retry: 5 }",
            "1:28: error: `retry` must be false or a map like #{ max_attempts: 5 }, found an integer (5)",
        ),
        ("#{ retry: #{ attempts: 5 } }", "1:31: error: `retry` has no key `attempts`"),
        (
            "#{ retry: #{ max_attempts: 0 } }",
            "1:45: error: `retry.max_attempts` must be a whole number from 1, found an integer (0)",
        ),
        (
            "#{ retry: #{ max_attempts: 5000000000 } }",
            "1:45: error: `retry.max_attempts` must be a whole number from 1",
        ),
        ("#{ retry: #{ initial: true } }", "1:40: error: `retry.initial`: it must be a number of seconds"),
        ("#{ retry: #{ factor: 0.5 } }", "1:39: error: `retry.factor` must be a number from 1, found a float (0.5)"),
        (
            "#{ retry: #{ unless: \"timeout\" } }",
            "1:39: error: `retry.unless` must be an array of strings, found a string (\"timeout\")",
        ),
        ("#{ retry: #{ unless: [1] } }", "1:40: error: `retry.unless` must be a string, found an integer (1)"),
        (
            "#{ retry: #{ jitter: 2 } }",
            "1:39: error: `retry.jitter` must be a number from 0 to 1, found an integer (2)",
        ),
        (
            "#{ schedule: 5 }",
            "1:31: error: `schedule` must be a string like \"0 9 * * MON-FRI\" or a map like #{ cron: … }, found an integer (5)",
        ),
        ("#{ schedule: \"daily\" }", "1:31: error: `schedule`: \"daily\" is no schedule: it has 1 field, not 5"),
        ("#{ schedule: \"0 25 * * *\" }", "1:31: error: `schedule`: \"0 25 * * *\" is no schedule: \"25\" is no hour"),
        ("#{ schedule: #{ timezone: \"UTC\" } }", "1:31: error: `schedule` has no `cron`"),
        ("#{ schedule: #{ cron: 5 } }", "1:40: error: `schedule.cron` must be a string, found an integer (5)"),
        ("#{ schedule: #{ crn: \"@daily\" } }", "1:34: error: `schedule` has no key `crn`; did you mean `cron`?"),
        (
            "#{ schedule: #{ cron: \"@daily\", timezone: \"Mars\" } }",
            "1:60: error: `schedule.timezone`: there is no time zone \"Mars\"",
        ),
        (
            "#{ schedule: #{ cron: \"@daily\", overlap: \"wait\" } }",
            "1:59: error: `schedule.overlap` cannot be \"wait\"",
        ),
        ("#{ schedule: #{ cron: \"@daily\", missed: \"all\" } }", "1:58: error: `schedule.missed` cannot be \"all\""),
        (
            "#{ schedule: \"@daily\", input: #{ type: \"object\" } }",
            "1:31: error: `schedule` has no `input`, and () does not fit the `input` schema: null is not of type \"object\"",
        ),
        (
            "#{ schedule: #{ cron: \"@daily\", input: #{ n: \"x\" } }, input: #{ properties: #{ n: #{ type: \"integer\" } } } }",
            "1:57: error: `schedule.input` does not fit the `input` schema: /n: \"x\" is not of type \"integer\"",
        ),
        ("#{ concurrency: true }", "1:34: error: `concurrency` must be a number or a map"),
        ("#{ concurrency: 0 }", "1:34: error: `concurrency` must be a whole number from 1"),
        ("#{ concurrency: #{ key: \"input.a\" } }", "1:34: error: `concurrency` has no `limit`"),
        (
            "#{ concurrency: #{ limit: 1, key: \"tenant\" } }",
            "1:52: error: `concurrency.key`: \"tenant\" is no path into the input: it does not begin with `input`",
        ),
        (
            "#{ concurrency: #{ limit: 1, key: \"input\" } }",
            "1:52: error: `concurrency.key`: \"input\" is no path into the input: it names nothing in the input",
        ),
        (
            "#{ concurrency: #{ limit: 1, key: \"input.a b\" } }",
            "1:52: error: `concurrency.key`: \"input.a b\" is no path into the input: \"a b\" is no name",
        ),
        ("#{ concurrency: #{ limit: 1, key: \"input.\" } }", "1:52: error: `concurrency.key`"),
        ("#{ concurrency: #{ limit: 1, key: \"inputs.a\" } }", "1:52: error: `concurrency.key`"),
        (
            "#{ concurrency: #{ limit: 1, key: \"input[0]\" } }",
            "1:52: error: `concurrency.key`: \"input[0]\" is no path into the input: after `[` comes a string in quotes",
        ),
        ("#{ concurrency: #{ limit: 1, key: \"input[\\\"a\\\"\" } }", "1:52: error: `concurrency.key`"),
        ("#{ on_reload: 5 }", "1:32: error: `on_reload` must be a string, found an integer (5)"),
    ] {
        let found = wrong(&format!("const WORKFLOW = {text};"));
        assert!(found.starts_with(&format!("flow.rhai:{expected}")), "{text}\n found: {found}\nwanted: {expected}");
    }
    for (source, expected) in [
        ("let WORKFLOW = #{};", "1:1: error: the header must be a constant"),
        ("const WORKFLOW = #{};\nconst WORKFLOW = #{};", "2:1: error: there is a second header"),
        ("if true {\n  const WORKFLOW = #{};\n}", "2:3: error: the header stands inside of something else"),
    ] {
        let found = wrong(source);
        assert!(found.starts_with(&format!("flow.rhai:{expected}")), "{source}\n found: {found}\nwanted: {expected}");
    }
}

#[test]
fn headers_that_mean_harm() {
    // Huge, deep, and a schema that multiplies: each is an error, and none takes long.
    let many: String = (0..3_000).map(|n| format!("\"a key with number {n}\": {n}, ")).collect();
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let twice: String = (1..=60)
        .map(|n| {
            format!(
                "d{}: #{{ allOf: [#{{ \"$ref\": \"#/$defs/d{n}\" }}, #{{ \"$ref\": \"#/$defs/d{n}\" }}] }}, ",
                n - 1
            )
        })
        .collect();
    for (header, expected) in [
        (format!("#{{ {many} }}"), "`WORKFLOW` has no key `a key with number 0`"),
        (format!("#{{ input: #{{ properties: #{{ {many} }} }} }}"), "`input` is no JSON Schema: the schema has"),
        (format!("#{{ input: #{{ \"const\": {} }} }}", nested(5_000)), "Expression exceeds maximum complexity"),
        (nested(5_000), "Expression exceeds maximum complexity"),
        (
            format!("#{{ input: #{{ \"$ref\": \"#/$defs/d0\", \"$defs\": #{{ {twice} d60: true }} }} }}"),
            "`input` is no JSON Schema: the schema is too involved",
        ),
    ] {
        let found = wrong(&format!("const WORKFLOW = {header};"));
        let start: String = found.chars().take(300).collect();
        assert!(start.contains(expected), "\n found: {start}\nwanted: {expected}");
        assert!(found.matches("error: ").count() <= 20);
    }
}
