//! Secrets and keys: what goes out, to whom, and what is never shown.

use std::collections::BTreeMap;
use std::fs;

use durhai_steps::{SecretSource, StepEnvConfig};
use serde_json::{Value, json};

use super::server::{Seen, Server, answer};
use super::{Place, config, resolves_to};

const SECRET: &str = "sk-live/4242";

/// With the secret `stripe`, and a folder that holds it.
fn with_secret(hosts: &str) -> (StepEnvConfig, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stripe");
    fs::write(&path, format!("{SECRET}\n")).unwrap();
    let secrets = BTreeMap::from([("stripe".to_owned(), SecretSource::File(path))]);
    (StepEnvConfig { secrets, ..config(hosts) }, folder)
}

/// What the server was told, as its answer.
fn told(seen: &Seen) -> String {
    let told = |name: &str| seen.header(name).unwrap_or_default().to_owned();
    [told("authorization"), told("x-api-key"), told("cookie"), told("x-other"), told("idempotency-key")].join("|")
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_go_out_by_name_and_are_hidden_in_what_comes_back() {
    let server = Server::start(|seen, _| {
        let status = if seen.target == "/refused" { 403 } else { 200 };
        answer(status, &[("x-told", &told(seen))], told(seen))
    });
    let server = server.await;
    let (config, _folder) = with_secret("127.0.0.1");
    let place = Place::new(config).await;
    place.script(
        "pay",
        r#"fn charge(input) { http::get(input.url, #{ headers: #{ "x-api-key": secret("stripe") } }).body }"#,
    );
    for (step, options, sent, shown) in [
        ("http.get", json!({ "bearer": "stripe" }), format!("Bearer {SECRET}||||"), "Bearer [secret stripe]||||"),
        ("http.get", json!({ "secrets": { "X-Api-Key": "stripe" } }), format!("|{SECRET}|||"), "|[secret stripe]|||"),
        (
            "http.get",
            json!({ "basic": { "user": "ann", "password": "stripe" } }),
            "Basic YW5uOnNrLWxpdmUvNDI0Mg==||||".into(),
            // The user, and what is left of letters that belong to two bytes.
            "Basic YW5uOn[secret stripe]g==||||",
        ),
        ("pay.charge", json!({}), format!("|{SECRET}|||"), "|[secret stripe]|||"),
    ] {
        for path in ["/fine", "/refused"] {
            let mut with = options.clone();
            with["url"] = server.url(path).into();
            let view = place.run(step, with).await;
            assert_eq!(told(server.seen().last().unwrap()), sent, "{step} {options}");
            let everything = serde_json::to_string(&view).unwrap();
            assert!(everything.contains(shown), "{everything}");
            for part in [SECRET, "sk-live", "4242", "YW5uOnNr"] {
                assert!(!everything.contains(part), "{part}: {everything}");
            }
        }
    }
    for options in
        [json!({ "headers": { "Authorization": "x" } }), json!({ "basic": { "user": "a", "password": "stripe" } })]
    {
        let mut with = options;
        (with["url"], with["bearer"]) = (server.url("/").into(), "stripe".into());
        let error = place.fails("http.get", with).await;
        assert!(error.message.contains("Authorization is set twice"), "{}", error.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_cut_off_shows_no_beginning() {
    for before in [4096 - 7, 200 - 7, 0] {
        let text = ["x".repeat(before), SECRET.into(), "y".repeat(5_000)].concat();
        let server = Server::always(400, &[], &text).await;
        let (config, _folder) = with_secret("127.0.0.1");
        let place = Place::new(config).await;
        let view = place.run("http.get", json!({ "url": server.url("/"), "bearer": "stripe" })).await;
        let everything = serde_json::to_string(&view).unwrap();
        assert!(view.error.is_some() && !everything.contains("sk-l"), "{before}: {everything}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_tells_who_asks_follows_to_another_origin() {
    let other = Server::start(|seen, _| answer(200, &[], told(seen))).await;
    let port = other.port;
    let door = Server::start(move |seen, _| match &*seen.target {
        "/same" => answer(307, &[("location", "/told")], ""),
        "/other-port" => answer(307, &[("location", &format!("http://api.test:{port}/told"))], ""),
        "/other-name" => answer(307, &[("location", &format!("http://other.test:{port}/told"))], ""),
        _ => answer(200, &[], told(seen)),
    });
    let door = door.await;
    let (mut config, _folder) = with_secret("api.test,other.test,127.0.0.1");
    config.http.resolver = resolves_to(&["127.0.0.1"]);
    let place = Place::new(config).await;
    for (path, wanted) in [
        ("/same", "Bearer [secret stripe]|[secret stripe]|a=1|mine|key-1"),
        ("/other-port", "||||key-1"),
        ("/other-name", "||||key-1"),
    ] {
        let with = json!({
            "url": format!("http://api.test:{}{path}", door.port), "body": "text", "bearer": "stripe",
            "secrets": { "x-api-key": "stripe" }, "headers": { "cookie": "a=1", "x-other": "mine" },
            "idempotency_key": "key-1",
        });
        assert_eq!(place.done("http.post", with).await["body"], wanted, "{path}");
    }
    for seen in other.seen() {
        assert_eq!((&*seen.body, seen.header("content-type")), ("text", Some("text/plain; charset=utf-8")));
        assert_eq!(seen.header("referer"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_change_something_carry_the_key_of_the_step() {
    let place = Place::granted("127.0.0.1").await;
    let key = |wanted: &str| (!wanted.is_empty()).then(|| wanted.to_owned());
    for (step, options, wanted) in [
        ("post", json!({}), "RUN/0"),
        ("put", json!({}), "RUN/0"),
        ("patch", json!({}), "RUN/0"),
        ("delete", json!({}), "RUN/0"),
        ("get", json!({}), ""),
        ("head", json!({}), ""),
        ("post", json!({ "idempotency_key": false }), ""),
        ("post", json!({ "idempotency_key": "mine" }), "mine"),
        ("get", json!({ "idempotency_key": "mine" }), "mine"),
        ("post", json!({ "headers": { "Idempotency-Key": "own" } }), "own"),
    ] {
        let server = Server::start(|_, n| answer(if n < 2 { 503 } else { 200 }, &[], "")).await;
        let mut with = options.clone();
        with["url"] = server.url("/").into();
        let id = format!("{step}-{}", options.to_string().len());
        let run = place.start(&id, &format!("http.{step}"), &with, 4).await;
        assert_eq!(run.wait().await.unwrap().error, None);
        let events: Vec<Value> = run.events(1, 10).await.unwrap().iter().map(|event| json!(event.step_id)).collect();
        let step_id = events.iter().find_map(Value::as_str).unwrap();
        let wanted = key(wanted).map(|key| key.replace("RUN/0", &format!("{id}/{step_id}")));
        let seen: Vec<_> = server.seen().iter().map(|seen| seen.header("idempotency-key").map(str::to_owned)).collect();
        assert_eq!(seen, vec![wanted; 3], "{step} {options}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_of_a_script_has_a_key_of_its_own_in_every_attempt_the_same() {
    let server = Server::start(|_, n| answer(if n == 3 { 503 } else { 200 }, &[], "")).await;
    let place = Place::granted("127.0.0.1").await;
    let script = r#"
        fn all(url) {
            http::get(url);
            http::post(url);
            http::put(url, #{ idempotency_key: "mine" });
            http::delete(url);
            http::request("patch", url, #{ json: 1 });
            idempotency_key()
        }
    "#;
    place.script("many", script);
    let key = place.done("many.all", json!(server.url("/"))).await;
    let key = key.as_str().unwrap();
    let seen: Vec<_> = server.seen().iter().map(|seen| seen.header("idempotency-key").map(str::to_owned)).collect();
    let (first, second, third) = (Some(key.to_owned()), Some(format!("{key}/2")), Some(format!("{key}/3")));
    let mine = Some("mine".to_owned());
    let attempt = [None, first, mine, second];
    // The fourth request of the first attempt failed.
    let wanted = [&attempt[..], &attempt[..], &[third]].concat();
    assert_eq!(seen, wanted);
}
