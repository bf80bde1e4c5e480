//! Programs that settings declare, as steps.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use crate::place::{Place, call, declared, ended, environment, everything, gone, log, shell, start};
use durhai::{FailureKind, MemoryWorld, RunId, StepRule, Value, World};
use durhai_steps::{Declared, ProgramStep, SecretSource, ServiceStep, StepEnvConfig, StepEnvHandle};
use durhai_testkit::{Fault, FaultWorld, Pulse};
use serde_json::json;

/// They need no permission.
fn config(declared: BTreeMap<String, Declared>) -> StepEnvConfig {
    StepEnvConfig { declared, environment: environment(&[("HOST_HAS", "it")]), ..StepEnvConfig::default() }
}

/// A script, its input, and what comes of it: an output, or so many attempts and a part of the message.
type Case = (&'static str, Value, Result<Value, (u32, &'static str)>);

#[tokio::test]
async fn what_a_program_comes_to() {
    let place = Place::new();
    // The script, its input, and the output or the attempts (of at most 3) and a part of the message.
    let table: &[Case] = &[
        ("cat", json!({ "a": [1, 1.5, null, "ü"] }), Ok(json!({ "a": [1, 1.5, null, "ü"] }))),
        ("cat", Value::Null, Ok(Value::Null)),
        ("true", json!(1), Ok(Value::Null)),
        ("echo; echo '  '", json!(1), Ok(Value::Null)),
        ("echo ' {\"n\": 1} '", json!(1), Ok(json!({ "n": 1 }))),
        ("echo note >&2; echo 5", json!(1), Ok(json!(5))),
        ("echo \\\"$HOST_HAS\\\"", json!(1), Ok(json!("it"))),
        (
            "test $DURHAI_IDEMPOTENCY_KEY = $DURHAI_RUN_ID/$DURHAI_STEP_ID && echo $DURHAI_ATTEMPT",
            json!(1),
            Ok(json!(1)),
        ),
        // 00, a trace, a span, flags.
        ("expr length $TRACEPARENT", json!(1), Ok(json!(55))),
        ("exit 75", json!(1), Err((3, "sh ended with exit status 75"))),
        ("test $DURHAI_ATTEMPT = 2 || exit 75; echo $DURHAI_ATTEMPT", json!(1), Ok(json!(2))),
        ("echo busy >&2; exit 75", json!(1), Err((3, "status 75: busy"))),
        ("echo one >&2; echo two >&2; exit 1", json!(1), Err((1, "status 1: two"))),
        ("exit 127", json!(1), Err((1, "status 127"))),
        ("kill -9 $$", json!(1), Err((3, "killed by signal 9"))),
        ("echo hello there", json!(1), Err((1, "no JSON (expected value at line 1 column 1): hello there"))),
        ("echo 1 2", json!(1), Err((1, "no JSON (trailing characters at line 1 column 3): 1 2"))),
        ("printf '\"\\377\"'", json!(1), Err((1, "no JSON"))),
        ("echo '[9223372036854775807, -9223372036854775808]'", json!(1), Ok(json!([i64::MAX, i64::MIN]))),
        ("echo '{\"a\":[9223372036854775808]}'", json!(1), Err((1, "output.a[0]: 9223372036854775808 does not fit"))),
        ("yes", json!(1), Err((1, "sh wrote more than 2097152 bytes to stdout"))),
    ];
    let names: Vec<&'static str> = (0..table.len()).map(|n| &*format!("s{n}").leak()).collect();
    let steps = declared(names.iter().copied().zip(table.iter().map(|(script, ..)| shell(script))));
    let host = place.host(config(steps)).await;
    for (name, (script, input, wanted)) in names.iter().zip(table) {
        match (call(&host, name, input).await, wanted) {
            (Ok(found), Ok(wanted)) => assert_eq!(found.to_string(), wanted.to_string(), "{script}"),
            (Err(failure), Err((attempts, wanted))) => {
                assert!(failure.message.contains(wanted), "{script}: {failure:?}");
                assert_eq!((failure.kind, failure.attempts), (FailureKind::StepFailed, *attempts), "{script}");
            }
            (found, _) => panic!("{script}: {found:?}"),
        }
    }
    host.shutdown().await;
}

#[tokio::test]
async fn no_more_than_a_little_of_what_is_no_json() {
    let place = Place::new();
    let host = place.host(config(declared([("long", shell("yes no | head -c 5000"))]))).await;
    let failure = call(&host, "long", &Value::Null).await.unwrap_err();
    let shown = failure.message.split("): ").nth(1).unwrap();
    assert_eq!(shown, "no\n".repeat(66) + "no…");
    host.shutdown().await;
}

#[tokio::test]
async fn where_programs_are() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("home/sub")).unwrap();
    symlink("/bin/cat", place.path("home/tool")).unwrap();
    let step = |command: &[&str], cwd: &str| ProgramStep {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        cwd: place.path(cwd),
        ..ProgramStep::default()
    };
    let pwd = "printf '\"%s\"' \"$(pwd)\"";
    let steps = declared([
        ("near", step(&["./tool"], "home")),
        ("up", step(&["../tool"], "home/sub")),
        ("whole", step(&[&place.text("home/tool")], "home/sub")),
        ("bare", step(&["tool"], "home")),
        ("none", step(&["./none"], "home")),
        ("pwd", step(&["sh", "-c", pwd], "home/sub")),
        ("nowhere", step(&["cat"], "no-such-folder")),
        ("empty", step(&[], "home")),
    ]);
    let host = place.host(config(steps)).await;
    for (name, wanted) in [
        ("near", Ok(json!(7))),
        ("up", Ok(json!(7))),
        ("whole", Ok(json!(7))),
        ("pwd", Ok(json!(place.text("home/sub")))),
        ("bare", Err("the step bare: there is no program tool in the folders of PATH")),
        ("none", Err("the step none: there is no program at")),
        ("nowhere", Err("cat cannot run in")),
        ("empty", Err("the command of the step empty is empty")),
    ] {
        match (call(&host, name, &json!(7)).await, wanted) {
            (Ok(found), Ok(wanted)) => assert_eq!(found, wanted, "{name}"),
            (Err(failure), Err(wanted)) => {
                assert!(failure.message.contains(wanted) && failure.attempts == 1, "{name}: {failure:?}");
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
    }
    host.shutdown().await;
}

#[tokio::test]
async fn what_it_is_given() {
    let place = Place::new();
    let step = ProgramStep {
        env: [("HOST_HAS".to_owned(), "mine".to_owned())].into(),
        secrets: [("KEY".to_owned(), "key".to_owned())].into(),
        ..shell("echo $HOST_HAS ${#KEY} >&2")
    };
    let mut config = config(declared([("given", step)]));
    config.environment = environment(&[("HOST_HAS", "it"), ("THE_KEY", "0123456789")]);
    config.secrets.insert("key".into(), SecretSource::Env("THE_KEY".into()));
    let step_env = StepEnvHandle::new(config.clone());
    let host = place.host_in(Arc::new(MemoryWorld::new()), step_env.clone(), |builder| builder).await;
    let run = start(&host, "given", &Value::Null, json!({})).await;
    assert_eq!(ended(&run).await.unwrap(), Value::Null);
    assert_eq!(log(&run).await, [("info".to_owned(), "mine 10".to_owned())]);

    // Other settings serve the next attempt.
    let service =
        ServiceStep { url: "http://127.0.0.1:9/".into(), description: "Far.".into(), ..ServiceStep::default() };
    let mut steps = declared([("given", ProgramStep { description: "New.".into(), ..shell("echo 2") })]);
    steps.insert("far".into(), Declared::Service(service));
    step_env.replace(StepEnvConfig { declared: steps, ..config });
    assert_eq!(call(&host, "given", &Value::Null).await.unwrap(), 2);
    let listed: Vec<_> =
        host.step_list().into_iter().filter(|info| ["program", "service"].contains(&&*info.kind)).collect();
    let listed: Vec<_> = listed.iter().map(|info| (&*info.name, &*info.kind, &*info.description)).collect();
    assert_eq!(listed, [("far", "service", "Far."), ("given", "program", "New.")]);
    step_env.replace(everything(&[]));
    assert_eq!(call(&host, "given", &Value::Null).await.unwrap_err().kind, FailureKind::UnknownStep);
    host.shutdown().await;
}

/// Says that it runs and starts a program that would run on.
fn long(place: &Place, more: &str) -> ProgramStep {
    let (id, journal) = (place.text("id"), place.text("journal"));
    shell(&format!("sleep 1000 & echo $! > {id}; echo $DURHAI_ATTEMPT $DURHAI_IDEMPOTENCY_KEY >> {journal}; {more}"))
}

#[tokio::test]
async fn a_rule_ends_it_with_all_it_started() {
    let place = Place::new();
    let step_env = StepEnvHandle::new(config(declared([("long", long(&place, "wait"))])));
    let rule = StepRule { timeout: Some(Duration::from_secs(1)), ..StepRule::default() };
    let host = place.host_in(Arc::new(MemoryWorld::new()), step_env, |builder| builder.step_rule("long", rule)).await;
    let options = json!({ "retry": { "max_attempts": 2, "initial": 0 } });
    let failure = ended(&start(&host, "long", &Value::Null, options).await).await.unwrap_err();
    assert_eq!((failure.kind, failure.attempts), (FailureKind::Timeout, 2), "{failure:?}");
    assert_eq!(place.lines("journal", 2).await.len(), 2);
    gone(&place.path("id")).await;
    host.shutdown().await;
}

#[tokio::test]
async fn cancelled_it_may_put_its_things_in_order() {
    let place = Place::new();
    let tidy =
        format!("trap 'echo tidied >> {}; exit 0' TERM; echo ready >> {}; wait", place.text("end"), place.text("on"));
    let host = place.host(config(declared([("long", long(&place, &tidy))]))).await;
    let run = start(&host, "long", &Value::Null, json!({})).await;
    place.lines("on", 1).await;
    run.cancel("enough").await.unwrap();
    assert_eq!(ended(&run).await.unwrap_err().kind, FailureKind::Cancelled);
    assert_eq!(place.lines("end", 1).await, ["tidied"]);
    gone(&place.path("id")).await;
    host.shutdown().await;
}

/// The host dies while the program runs: the next one runs it again, with the same key; or, if it may run once only, not.
#[tokio::test]
async fn a_crash_during_the_attempt() {
    for kind in ["long", "exec.run", "t.run"] {
        for once in [false, true] {
            let place = Place::new();
            let waits = format!("until test -e {}; do sleep 0.01; done; echo 7", place.text("go"));
            let step = long(&place, &waits);
            let input = match kind {
                "long" => Value::Null,
                _ => json!({ "program": "sh", "args": ["-c", step.command[2]] }),
            };
            let step_env =
                StepEnvHandle::new(StepEnvConfig { declared: declared([("long", step)]), ..everything(&[]) });
            let world = Arc::new(MemoryWorld::new());
            let shared: Arc<dyn World> = world.clone();
            let connection = Arc::new(FaultWorld::new(shared, Fault::Never, Pulse::default()));
            let first = place.host_in(connection.clone(), step_env.clone(), |builder| builder).await;
            let run = start(&first, kind, &input, json!({ "once": once })).await;
            let id: RunId = run.id().clone();
            place.lines("journal", 1).await;
            connection.crash();
            first.shutdown().await;
            gone(&place.path("id")).await;
            world.crash();

            let second = place.host_in(world, step_env, |builder| builder).await;
            let run = second.get(id.as_str()).await.unwrap();
            if once {
                let failure = ended(&run).await.unwrap_err();
                assert_eq!(failure.kind, FailureKind::Interrupted, "{kind}: {failure:?}");
                assert_eq!(place.read("journal").lines().count(), 1, "{kind}");
            } else {
                place.lines("journal", 2).await;
                place.write("go", "");
                let output = ended(&run).await.unwrap();
                assert_eq!(
                    if kind == "long" { output } else { output["stdout"].clone() }
                        .to_string()
                        .trim_matches(['"', '\\', 'n']),
                    "7"
                );
                assert_eq!(place.lines("journal", 2).await, [format!("1 {id}/1"), format!("2 {id}/1")], "{kind}");
            }
            second.shutdown().await;
        }
    }
}
