//! The examples of the standard library do what they say, in a host, with time that passes at once.

use durhai_stdlib::docs::{Module, docs, script};

use crate::scenarios::replayer::Replayers;
use crate::scenarios::{Scenario, end_of, log_of};

/// The examples of a module as one workflow, whose output is pairs of what was found and what was expected.
async fn hold(module: &Module) {
    let imports: String = durhai_stdlib::NAMES
        .iter()
        .map(|name| format!("import {name:?} as {};\n", name.trim_start_matches("std/")))
        .collect();
    for function in &module.functions {
        for example in &function.examples {
            let place = format!("{}::{}", module.alias, function.name);
            let script = script(example).unwrap_or_else(|why| panic!("{place}: {why}"));
            let ended = end_of(&Scenario::new(&place, &format!("{imports}{script}"), Vec::new())).await;
            let output = ended.strip_prefix("= completed ").unwrap_or_else(|| panic!("{place}: {ended}\n{script}"));
            let checks: Vec<[durhai::Value; 2]> = serde_json::from_str(output).expect("pairs");
            assert!(!checks.is_empty(), "{place}");
            for [found, expected] in checks {
                assert_eq!(found, expected, "{place}\n{example}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_gives_what_it_says() {
    for module in docs() {
        hold(&module).await;
    }
}

/// What a script does, how it ends: the first line of it.
async fn ends(cases: &[(&str, &str)]) {
    for (script, end) in cases {
        let script = format!("import \"std/retry\" as retry;\nimport \"std/poll\" as poll;\n{script}");
        let ended = end_of(&Scenario::new("case", &script, Vec::new())).await;
        assert_eq!(ended.lines().next(), Some(*end), "{script}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_waits_as_it_is_told_and_gives_up_with_the_last_error() {
    ends(&[
        // 10 s, 30 s, 60 s.
        (
            r#"
            let began = now();
            let calls = 0;
            try {
                retry::run(|| { calls += 1; throw `no ${calls}`; },
                    #{ attempts: 4, initial: "10s", factor: 3, max: "1m", jitter: 0 });
            } catch (error) { return [error, calls, (now() - began) / 1000]; }
            "#,
            r#"= completed ["no 4",4,100]"#,
        ),
        // 1 h, 2 h; then 1 h twice, where the longest is said to be shorter.
        (
            r#"
            let waited = |options| {
                let began = now();
                try { retry::run(|| throw "no", options + #{ attempts: 3, initial: "1h", jitter: 0 }); } catch {}
                (now() - began) / 3600000
            };
            [waited.call(#{}), waited.call(#{ max: "1m" })]
            "#,
            "= completed [3,2]",
        ),
        // Chance only shortens.
        (
            r#"
            let began = now();
            try { retry::run(|| throw "no", #{ attempts: 3, initial: "100s", factor: 1, max: "1h", jitter: 0.5 }); } catch {}
            let waited = now() - began;
            waited > 100000 && waited < 200000
            "#,
            "= completed true",
        ),
        (
            r#"
            let calls = 0;
            let tries = |options| {
                calls = 0;
                try { retry::run(|| { calls += 1; throw #{ kind: "busy", message: "m" }; }, options); } catch {}
                calls
            };
            [
                tries.call(#{ only: "busy" }), tries.call(#{ only: "other" }), tries.call(#{ only: ["other", "busy"] }),
                tries.call(#{ unless: "busy" }), tries.call(#{ unless: ["other"] }),
                tries.call(#{ only: |error| error.message == "m" }), tries.call(#{ unless: |error| error.message == "m" }),
            ]
            "#,
            "= completed [4,1,4,1,4,4,1]",
        ),
        // A mistake in the script stays one; steps inside are calls of their own each time.
        (
            r#"
            let calls = 0;
            try { retry::run(|| { calls += 1; let a = []; a[7] }); } catch {}
            let steps = 0;
            retry::run(|| { let found = use_step("ask", calls); steps += 1; if steps < 3 { throw "again"; } });
            [calls, steps]
            "#,
            "= completed [1,3]",
        ),
        (
            r#"try { retry::run(|| 1, #{ attempt: 3 }); } catch (error) { return error; }"#,
            r#"= completed "retry::run has no option `attempt`; there are: attempts, initial, factor, max, jitter, only, unless""#,
        ),
        (
            r#"try { retry::run(|| 1, #{ attempts: 0 }); } catch (error) { return error; }"#,
            r#"= completed "retry::run: attempts must be a whole number from 1 to 1000, found 0""#,
        ),
        (
            r#"try { retry::run(1); } catch (error) { return error; }"#,
            r#"= completed "retry::run: the block must be a closure like |x| …, found 1""#,
        ),
        (
            r#"try { retry::run(|| 1, #{ only: 5 }); } catch (error) { return error; }"#,
            r#"= completed "retry::run: only must be a kind, an array of kinds or a closure, found 5""#,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_block_is_not_begun_again() {
    let script = r#"
        import "std/retry" as retry;
        let calls = 0;
        try { retry::run(|| { calls += 1; use_step("long"); }); } catch (error) { set_state("calls", calls); throw error; }
    "#;
    let scenario = Scenario::new("cancelled", script, vec!["cancel enough".into()]);
    let ended = end_of(&scenario).await;
    assert_eq!(ended, "= cancelled: enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_ends_by_the_clock_of_the_run() {
    ends(&[
        (
            r#"
            let began = now();
            try { poll::wait_until(|| use_step("look") == 5, #{ interval: "10s", factor: 2, max: "40s", timeout: "100s" }); }
            catch (error) { return [error.kind, error.attempts, error.message, (now() - began) / 1000]; }
            "#,
            r#"= completed ["timeout",5,"poll::wait_until: the condition did not come true within 1m 40s",100]"#,
        ),
        // Nobody catches it: the run fails as with a timeout of the engine.
        (
            r#"poll::wait_until(|| false, #{ timeout: 1 })"#,
            "= failed timeout: poll::wait_until: the condition did not come true within 1s",
        ),
        (
            r#"try { poll::wait_until(|| throw "down"); } catch (error) { return error; }"#,
            r#"= completed "down""#,
        ),
        (
            r#"try { poll::wait_until(|| true, #{ interval: "0s" }); } catch (error) { return error; }"#,
            r#"= completed "poll::wait_until: interval must be at least a millisecond, found \"0s\"""#,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_and_polls_go_on_from_every_point_of_their_log() {
    let script = r#"import "std/retry" as retry;
import "std/poll" as poll;
let calls = 0;
let paid = retry::run(|| {
    calls += 1;
    let order = use_step("reserve", calls);
    if order < 3 { throw `sold out ${order}`; }
    use_step("charge", order)
}, #{ attempts: 5, initial: "1m" });
let asked = 0;
let state = poll::wait_until(|| { asked += 1; if use_step("look", asked) == 3 { "done" } }, #{ interval: "1h", timeout: "1 day" });
[paid, state]"#;
    let log = log_of("retries", script).await;
    let scenario = Scenario::new("retries", script, Vec::new());
    let timers = log.iter().filter(|event| event.body.name() == "timer_started").count();
    assert_eq!(timers, 4, "two waits between the attempts, two between the questions");
    Replayers::new(&scenario.scripts).of("flow").every_prefix(&log, "retries");
    assert_eq!(end_of(&scenario).await, r#"= completed [3,"done"]"#);
}
