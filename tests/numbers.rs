//! Numbers from outside: exact, or refused with the place. Every door by which a value comes to a script is held to it.

use durhai::logs::{Fork, ReplayOptions};
use durhai::view::HookRequest;
use durhai::{Event, FailureKind, Host, HostError, RunError, Status, StepContext, StepError, StepId, Value};
use durhai_testkit::TestHost;
use serde_json::json;

/// A value, and the place that a refusal names; none: it is taken, and comes out as it went in.
fn table() -> Vec<(Value, Option<&'static str>)> {
    let long = "18446744073709551615";
    vec![
        (json!({ "order": { "id": i64::MAX } }), None),
        (json!([i64::MIN, -0.0, 1.0, 1e300, 0.1, long]), None),
        (json!({ "order": { "id": u64::MAX } }), Some("order.id")),
        (json!([1, [i64::MAX as u64 + 1]]), Some("[1][0]")),
    ]
}

const ECHO: &str = "use_step(\"echo\", input)";
const DOORS: &str = r#"
    let h = hook(#{ token: input });
    let got = [wait_for("sent"), suspend("which?"), h.wait().body];
    got
"#;

async fn host() -> Host {
    // The output of this one is made in Rust, whatever the script knows.
    let make = |_: StepContext, place: usize| async move { Ok::<_, StepError>(table()[place].0.clone()) };
    let fail = |_: StepContext, place: usize| async move {
        Err::<Value, _>(StepError::fatal("no").data(table()[place].0.clone()))
    };
    let test = TestHost::new().echo().step("make", make).step("fail", fail);
    let test = test.workflow("echo", ECHO).workflow("doors", DOORS).workflow("made", "use_step(\"make\", input)");
    let caught = "let data = (); try { use_step(\"fail\", input) } catch (e) { data = e.data; } data";
    let parsed = "import \"std/json\" as json; [parse_json(input), json::parse(input)]";
    test.workflow("failed", caught).workflow("parsed", parsed).start().await
}

#[track_caller]
fn refused(error: &str, place: &str) {
    let said = error.contains("does not fit into 64 bits: send it as text");
    assert!(said && error.contains(place), "{place}: {error}");
}

#[track_caller]
fn invalid<T>(result: Result<T, HostError>, place: &str) {
    match result {
        Err(HostError::Invalid(text)) => refused(&text, place),
        Err(error) => panic!("{place}: {error}"),
        Ok(_) => panic!("{place}: it was taken"),
    }
}

/// Waits until the log has an event of this name.
async fn has(host: &Host, id: &str, name: &str) -> Vec<Event> {
    let mut commits = host.commits();
    let run = host.get(id).await.expect("a run");
    loop {
        let events = run.events(1, 100).await.expect("events");
        if events.iter().any(|event| event.body.name() == name) {
            return events;
        }
        commits.recv().await.expect("something happens");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_door_takes_a_number_as_it_is_or_refuses_it() {
    let host = host().await;
    for (at, (value, place)) in table().into_iter().enumerate() {
        let id = format!("doors-{at}");
        let start = host.run("echo").id(format!("echo-{at}")).input(&value).start().await;
        let doors = host.run("doors").id(&id).input(&id).start().await.expect("a run");
        has(&host, &id, "hook_opened").await;
        let request =
            |body: &Value| HookRequest { method: "POST".into(), body: body.clone(), ..HookRequest::default() };
        let made = host.run("made").input(&at).start().await.expect("a run").output::<Value>().await;
        match place {
            None => {
                assert_eq!(start.expect("it starts").output::<Value>().await.expect("an output"), value);
                doors.signal("sent", &value).await.expect("it is sent");
                has(&host, &id, "suspended").await;
                doors.resume(None, &value).await.expect("an answer");
                host.deliver_hook(&id, request(&value), None).await.expect("it is delivered");
                assert_eq!(doors.output::<Value>().await.expect("an output"), json!([value, value, value]));
                assert_eq!(made.expect("an output"), value);
            }
            Some(place) => {
                invalid(start, place);
                invalid(doors.signal("sent", &value).await, place);
                invalid(host.deliver_hook(&id, request(&value), None).await, &format!("body{}", dotted(place)));
                doors.signal("sent", &1).await.expect("it is sent");
                has(&host, &id, "suspended").await;
                invalid(doors.resume(None, &value).await, place);
                let Err(RunError::Failed(_, failure)) = made else { panic!("{made:?}") };
                assert_eq!(failure.kind, FailureKind::Limit);
                refused(&failure.message, place);
                assert_eq!(doors.status().await.expect("a status"), Status::Suspended, "nothing reached it");
            }
        }
        // The data of an error is not refused: there the number is text.
        let data: Value = host.run("failed").input(&at).start().await.expect("a run").output().await.expect("data");
        let exact = match place {
            None => value,
            Some("order.id") => json!({ "order": { "id": "18446744073709551615" } }),
            Some(_) => json!([1, ["9223372036854775808"]]),
        };
        assert_eq!(data, exact);
    }
    host.shutdown().await;
}

/// Behind a name.
fn dotted(place: &str) -> String {
    if place.starts_with('[') { place.into() } else { format!(".{place}") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_that_are_set_are_held_to_the_same() {
    let host = host().await;
    let run = host.run("echo").id("e").input(&1).start().await.expect("a run");
    run.output::<Value>().await.expect("an output");
    let step = StepId::parse("1").expect("a step");
    for (at, (value, place)) in table().into_iter().enumerate() {
        let fork = run.fork(Fork::after(step.clone()).set(step.clone(), value.clone()).id(format!("f{at}"))).await;
        let options = ReplayOptions { set: [(step.clone(), value.clone())].into(), ..ReplayOptions::default() };
        let replay = run.replay(options).await;
        match place {
            None => {
                assert_eq!(fork.expect("a fork").output::<Value>().await.expect("an output"), value);
                assert_eq!(replay.expect("a replay").output, value);
            }
            Some(place) => {
                invalid(fork, place);
                invalid(replay, place);
            }
        }
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_read_json_are_told_where_it_does_not_fit() {
    let host = host().await;
    for (text, wanted) in [
        ("[9223372036854775807, -9223372036854775808, 1e3, -0.5]", Ok(json!([i64::MAX, i64::MIN, 1000.0, -0.5]))),
        ("{\"id\":\"123456789012345678901234567890\"}", Ok(json!({ "id": "123456789012345678901234567890" }))),
        ("{\"order\":[{\"id\":123456789012345678901234567890}]}", Err("order[0].id: 123456789012345678901234567890 ")),
        ("-9223372036854775809", Err("-9223372036854775809 does")),
    ] {
        let run = host.run("parsed").input(&text).start().await.expect("a run");
        match (run.output::<Value>().await, wanted) {
            (Ok(found), Ok(wanted)) => assert_eq!(found, json!([wanted, wanted]), "{text}"),
            (Err(RunError::Failed(_, failure)), Err(place)) => refused(&failure.message, place),
            (found, wanted) => panic!("{text}: {found:?} and not {wanted:?}"),
        }
    }
    // Each of both says so.
    let two = "import \"std/json\" as json; let n = 0; try { parse_json(input) } catch { n += 1 } try { json::parse(input) } catch { n += 2 } n";
    let host2 = TestHost::new().workflow("two", two).start().await;
    let run = host2.run("two").input("[18446744073709551616]").start().await.expect("a run");
    assert_eq!(run.output::<i64>().await.expect("an output"), 3);
    host2.shutdown().await;
    host.shutdown().await;
}
