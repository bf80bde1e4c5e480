//! Which answers are done, which are tried again and which are final, each with the exact number of attempts.

use durhai::{EventBody, FailureKind, Value};
use serde_json::json;

use super::server::{Reply, Seen, Server, answer};
use super::{Place, config, resolves_to};

const ZIPPED: [u8; 32] = [
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 170, 202, 44, 80, 178, 42, 41, 42, 77, 173, 5, 0, 3, 124, 165, 25, 12, 0,
    0, 0,
];
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// What the path asks for; `n` is the number of the attempt, from 0.
fn reply(seen: &Seen, n: usize) -> Reply {
    let (status, then) = (|status| answer(status, &[], ""), |reply: Reply| if n == 0 { reply } else { ok() });
    match seen.target.split('?').next().unwrap() {
        "/ok" => ok(),
        "/created" => answer(201, &[], "made"),
        "/empty" => status(204),
        "/not-modified" => status(304),
        "/bytes" => answer(200, &[], b"\xff\x00"),
        "/html" => answer(200, &[("content-type", "text/html")], "<html>no JSON</html>"),
        "/long" => answer(200, &JSON, r#"{ "id": 18446744073709551616 }"#),
        "/long-400" => answer(400, &JSON, r#"{ "id": 18446744073709551616 }"#),
        "/zipped" => answer(200, &[("content-encoding", "gzip"), JSON[0]], ZIPPED),
        "/cookies" => answer(200, &[("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-a", "1"), ("X-A", "2")], ""),
        "/echo" => {
            let headers: Vec<_> = seen.headers.iter().filter(|(name, _)| name.starts_with("x-")).collect();
            let kind = seen.header("content-type");
            let seen =
                json!({ "method": seen.method, "target": seen.target, "type": kind, "body": seen.body, "x": headers });
            answer(200, &JSON, seen.to_string())
        }
        "/408" => then(status(408)),
        "/425" => then(status(425)),
        "/429" => then(answer(429, &[("retry-after", "0")], "")),
        "/500" => then(status(500)),
        "/503" => then(status(503)),
        "/599" => then(status(599)),
        "/twice" => {
            if n < 2 {
                status(502)
            } else {
                ok()
            }
        }
        "/down" => answer(503, &JSON, r#"{ "why": "maintenance" }"#),
        "/400" => answer(400, &JSON, r#"{ "field": "name" }"#),
        "/401" => status(401),
        "/404" => answer(404, &[], "nothing here"),
        "/large-404" => answer(404, &[], "x".repeat(10_000)),
        "/large-500" => then(answer(500, &[], "x".repeat(3_000_000))),
        "/large" => answer(200, &[], "x".repeat(1_048_577)),
        "/largest" => answer(200, &[], "x".repeat(1_048_576)),
        "/chunked" => answer(200, &[("transfer-encoding", "chunked")], chunks()),
        "/closed" => then(Reply::Bytes(Vec::new())),
        "/no-http" => then(Reply::Bytes(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())),
        "/broken" => then(answer(200, &[("content-length", "10")], "half")),
        "/to-ok" => answer(302, &[("location", "/ok")], "moved"),
        "/to-echo-301" => answer(301, &[("location", "/echo?from=301")], ""),
        "/to-echo-302" => answer(302, &[("location", "/echo?from=302")], ""),
        "/to-echo-303" => answer(303, &[("location", "/echo?from=303")], ""),
        "/to-echo-307" => answer(307, &[("location", "/echo?from=307")], ""),
        "/to-echo-308" => answer(308, &[("location", "/echo?from=308")], ""),
        "/loop" => answer(302, &[("location", "/loop?again")], ""),
        "/to-file" => answer(302, &[("location", "file:///etc/passwd")], ""),
        "/nowhere" => answer(302, &[], "no location"),
        path => panic!("the table asks for {path}"),
    }
}

fn ok() -> Reply {
    answer(200, &JSON, r#"{ "ok": true }"#)
}

/// 1.5 MiB, without a length in front.
fn chunks() -> Vec<u8> {
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    [chunk.repeat(24).as_bytes(), b"0\r\n\r\n"].concat()
}

/// Method and path, options, requests that the server sees, and the body (Ok) or a part of the message (Err).
type Row = (&'static str, Value, usize, Result<Value, &'static str>);

// Over 80 lines: a table of cases.
fn table() -> Vec<Row> {
    let fine = || Ok(json!({ "ok": true }));
    let echo = |method: &str, target: &str, kind: Option<&str>, body: &str| {
        Ok(json!({ "method": method, "target": target, "type": kind, "body": body, "x": [] }))
    };
    let form = "application/x-www-form-urlencoded";
    vec![
        // Done.
        ("get /ok", json!({}), 1, fine()),
        ("get /created", json!({}), 1, Ok(json!("made"))),
        ("get /empty", json!({}), 1, Ok(json!(null))),
        ("get /not-modified", json!({}), 1, Ok(json!(null))),
        ("get /bytes", json!({}), 1, Ok(json!("/wA="))),
        ("get /html", json!({}), 1, Ok(json!("<html>no JSON</html>"))),
        ("get /zipped", json!({}), 1, Ok(json!({ "zip": true }))),
        ("get /ok", json!({ "response": "text" }), 1, Ok(json!("{ \"ok\": true }"))),
        ("get /long", json!({}), 1, Err("body.id: 18446744073709551616 does not fit into 64 bits: send it as text")),
        ("get /long", json!({ "response": "json" }), 1, Err("body.id: 18446744073709551616 does not")),
        ("get /long", json!({ "response": "text" }), 1, Ok(json!("{ \"id\": 18446744073709551616 }"))),
        ("get /long-400", json!({}), 1, Err("{ \"id\": 18446744073709551616 }")),
        ("get /ok", json!({ "response": "base64" }), 1, Ok(json!("eyAib2siOiB0cnVlIH0="))),
        ("get /404", json!({ "expect": [404] }), 1, Ok(json!("nothing here"))),
        ("get /404", json!({ "expect": 404 }), 1, Ok(json!("nothing here"))),
        ("get /down", json!({ "expect": [503] }), 1, Ok(json!({ "why": "maintenance" }))),
        ("get /largest", json!({ "response": "text" }), 1, Ok(json!("x".repeat(1_048_576)))),
        ("head /created", json!({}), 1, Ok(json!(null))),
        // What goes out.
        (
            "get /echo",
            json!({ "query": { "a": [1, "b c"], "n": null, "t": true } }),
            1,
            echo("GET", "/echo?a=1&a=b+c&t=true", None, ""),
        ),
        ("get /echo?z=0", json!({ "query": { "a": "&=" } }), 1, echo("GET", "/echo?z=0&a=%26%3D", None, "")),
        (
            "post /echo",
            json!({ "json": { "a": [null] } }),
            1,
            echo("POST", "/echo", Some("application/json"), "{\"a\":[null]}"),
        ),
        ("post /echo", json!({ "json": null }), 1, echo("POST", "/echo", Some("application/json"), "null")),
        ("put /echo", json!({ "body": "ü" }), 1, echo("PUT", "/echo", Some("text/plain; charset=utf-8"), "ü")),
        ("patch /echo", json!({ "base64": "aGk=" }), 1, echo("PATCH", "/echo", Some("application/octet-stream"), "hi")),
        (
            "post /echo",
            json!({ "form": { "a": "b c", "d": [1, 2] } }),
            1,
            echo("POST", "/echo", Some(form), "a=b+c&d=1&d=2"),
        ),
        (
            "post /echo",
            json!({ "body": "<a/>", "headers": { "Content-Type": "text/xml" } }),
            1,
            echo("POST", "/echo", Some("text/xml"), "<a/>"),
        ),
        ("delete /echo", json!({}), 1, echo("DELETE", "/echo", None, "")),
        ("request /echo", json!({ "method": "options" }), 1, echo("OPTIONS", "/echo", None, "")),
        (
            "get /echo",
            json!({ "headers": { "x-b": ["1", 2], "x-c": null } }),
            1,
            Ok(
                json!({ "method": "GET", "target": "/echo", "type": null, "body": "", "x": [["x-b", "1"], ["x-b", "2"]] }),
            ),
        ),
        // Tried again.
        ("get /408", json!({}), 2, fine()),
        ("get /425", json!({}), 2, fine()),
        ("get /429", json!({}), 2, fine()),
        ("get /500", json!({}), 2, fine()),
        ("get /503", json!({}), 2, fine()),
        ("get /599", json!({}), 2, fine()),
        ("post /twice", json!({ "json": 1 }), 3, fine()),
        ("get /large-500", json!({}), 2, fine()),
        ("get /closed", json!({}), 2, fine()),
        ("get /no-http", json!({}), 2, fine()),
        ("get /broken", json!({}), 2, fine()),
        ("get /down", json!({}), 4, Err("/down answered 503 Service Unavailable: { \"why\": \"maintenance\" }")),
        // Final.
        ("get /400", json!({}), 1, Err("/400 answered 400 Bad Request: { \"field\": \"name\" }")),
        ("get /401", json!({}), 1, Err("/401 answered 401 Unauthorized")),
        ("get /404?key=hidden", json!({}), 1, Err("/404 answered 404 Not Found: nothing here")),
        ("get /404", json!({ "expect": [410] }), 1, Err("404")),
        ("get /large-404", json!({}), 1, Err("404")),
        ("get /large", json!({}), 1, Err("more than 1048576 bytes: `max_size` can be up to 2097152")),
        ("get /chunked", json!({}), 1, Err("more than 1048576 bytes")),
        ("get /chunked", json!({ "max_size": 2_097_152, "response": "text" }), 1, Ok("x".repeat(1_572_864).into())),
        ("get /ok", json!({ "max_size": 3 }), 1, Err("more than 3 bytes")),
        ("get /zipped", json!({ "max_size": 11 }), 1, Err("more than 11 bytes")),
        (
            "get /html",
            json!({ "response": "json" }),
            1,
            Err("answered 200 OK, but not with JSON (expected value at line 1 column 1): <html>no JSON</html>"),
        ),
        // Redirects.
        ("get /to-ok", json!({}), 2, fine()),
        ("get /to-ok", json!({ "redirects": 0 }), 1, Ok(json!("moved"))),
        ("get /to-ok", json!({ "redirects": false }), 1, Ok(json!("moved"))),
        ("get /to-ok", json!({ "redirects": 1 }), 2, fine()),
        ("get /nowhere", json!({}), 1, Ok(json!("no location"))),
        ("post /to-echo-301", json!({ "body": "a" }), 2, echo("GET", "/echo?from=301", None, "")),
        ("post /to-echo-302", json!({ "body": "a" }), 2, echo("GET", "/echo?from=302", None, "")),
        (
            "put /to-echo-302",
            json!({ "body": "a" }),
            2,
            echo("PUT", "/echo?from=302", Some("text/plain; charset=utf-8"), "a"),
        ),
        ("put /to-echo-303", json!({ "body": "a" }), 2, echo("GET", "/echo?from=303", None, "")),
        (
            "post /to-echo-307",
            json!({ "body": "a" }),
            2,
            echo("POST", "/echo?from=307", Some("text/plain; charset=utf-8"), "a"),
        ),
        ("post /to-echo-308", json!({ "json": 1 }), 2, echo("POST", "/echo?from=308", Some("application/json"), "1")),
        ("get /loop", json!({}), 11, Err("/loop was redirected more than 10 times")),
        ("get /loop", json!({ "redirects": 2 }), 3, Err("more than 2 times")),
        ("get /to-file", json!({}), 1, Err("was redirected to file:///etc/passwd: only http and https can be spoken")),
        // Never sent.
        ("get /ok", json!({ "retries": 3 }), 0, Err("no option \"retries\": there are url, headers, query,")),
        ("get /ok", json!({ "method": "POST" }), 0, Err("no option \"method\"")),
        ("request /ok", json!({}), 0, Err("needs `method`")),
        ("request /ok", json!({ "method": "G T" }), 0, Err("\"G T\" is no HTTP method")),
        ("request /ok", json!({ "method": "CONNECT" }), 0, Err("no HTTP method")),
        ("post /ok", json!({ "json": 1, "body": "a" }), 0, Err("one body")),
        ("post /ok", json!({ "body": 1 }), 0, Err("`body` of an HTTP request is 1, but must be text")),
        ("post /ok", json!({ "base64": "?" }), 0, Err("`base64` does not hold base64")),
        ("get /ok", json!({ "query": { "a": {} } }), 0, Err("`query.a`")),
        ("get /ok", json!({ "headers": { "a b": "1" } }), 0, Err("\"a b\" cannot be the name of a header")),
        ("get /ok", json!({ "headers": { "a": "1\r\nb: 2" } }), 0, Err("cannot hold its value")),
        ("get /ok", json!({ "headers": { "Host": "other.test" } }), 0, Err("the header Host cannot be set")),
        ("get /ok", json!({ "headers": { "Transfer-Encoding": "chunked" } }), 0, Err("cannot be set")),
        ("get /ok", json!({ "timeout": "soon" }), 0, Err("`timeout`: \"soon\" is no duration")),
        ("get /ok", json!({ "timeout": 0 }), 0, Err("`timeout` is 0")),
        ("get /ok", json!({ "timeout": -1 }), 0, Err("negative")),
        (
            "get /ok",
            json!({ "max_size": 2_097_153 }),
            0,
            Err("`max_size` of an HTTP request is 2097153, but must be a whole number up to 2097152"),
        ),
        ("get /ok", json!({ "redirects": "no" }), 0, Err("`redirects`")),
        ("get /ok", json!({ "expect": ["ok"] }), 0, Err("`expect`")),
        ("get /ok", json!({ "response": "xml" }), 0, Err("\"auto\", \"json\", \"text\" or \"base64\"")),
        ("get /ok", json!({ "basic": { "user": "ann" } }), 0, Err("`basic` needs `password`")),
        ("get /ok", json!({ "secrets": { "x-key": 1 } }), 0, Err("`secrets.x-key`")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_has_its_outcome_after_so_many_attempts() {
    let place = Place::granted("127.0.0.1").await;
    for (what, options, requests, wanted) in table() {
        let (method, path) = what.split_once(' ').unwrap();
        let server = Server::start(reply).await;
        let mut with = options.clone();
        with["url"] = server.url(path).into();
        let view = place.run(&format!("http.{method}"), with).await;
        let about = format!("{what} {options}: {:?} {:?}", view.output, view.error);
        match (&view.error, wanted) {
            (None, Ok(body)) => assert_eq!(view.output["body"], body, "{about}"),
            (Some(error), Err(part)) => {
                assert!(error.message.contains(part), "{about}");
                assert!(!error.message.contains("hidden"), "{about}");
                assert_eq!(error.kind, FailureKind::StepFailed, "{about}");
            }
            _ => panic!("{about}"),
        }
        assert_eq!(server.seen().len(), requests, "{about}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_where_it_came_from() {
    let server = Server::start(reply).await;
    let place = Place::granted("127.0.0.1").await;
    let answer = place.done("http.get", json!(server.url("/to-ok"))).await;
    assert_eq!(answer["url"], server.url("/ok"));
    assert_eq!((&answer["status"], &answer["encoding"]), (&json!(200), &json!("json")));
    assert_eq!(answer["headers"]["content-type"], "application/json");
    let answer = place.done("http.get", json!(server.url("/cookies"))).await;
    assert_eq!(answer["headers"]["set-cookie"], json!(["a=1", "b=2"]));
    assert_eq!(answer["headers"]["x-a"], "1, 2");
    assert_eq!(answer["encoding"], "empty");
    let agent = format!("durhai/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(server.seen()[0].header("user-agent"), Some(&*agent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_carries_the_answer() {
    let server = Server::start(reply).await;
    let place = Place::granted("127.0.0.1").await;
    let error = place.fails("http.get", json!(server.url("/400?key=1"))).await;
    assert_eq!(error.attempts, 1);
    assert_eq!(error.data["status"], 400);
    assert_eq!(error.data["body"]["field"], "name");
    assert_eq!(error.data["headers"]["content-type"], "application/json");
    assert_eq!(error.data["url"], server.url("/400?key=1"));
    let error = place.fails("http.get", json!(server.url("/large-404"))).await;
    assert_eq!(error.data["body"].as_str().unwrap().trim_end_matches('…').len(), 4096);
    assert!(error.message.len() < 300, "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_when_to_come_back() {
    let day = 86_400_000;
    for (status, header, wanted) in
        [(503, "3600", 3_600_000), (429, "99999999", day), (500, "Fri, 31 Dec 2100 23:59:59 GMT", day)]
    {
        let server = Server::always(status, &[("retry-after", header)], "").await;
        let place = Place::granted("127.0.0.1").await;
        let mut commits = place.host.commits();
        let run = place.start("later", "http.get", &json!(server.url("/")), 4).await;
        while !commits
            .recv()
            .await
            .unwrap()
            .events
            .iter()
            .any(|event| matches!(event.body, EventBody::StepRetrying { .. }))
        {}
        let events = run.events(1, 100).await.unwrap();
        let wait = events.iter().find_map(|event| match event.body {
            EventBody::StepRetrying { retry_at, .. } => Some(retry_at - event.at),
            _ => None,
        });
        assert!(wait.unwrap().abs_diff(wanted) < 1_000, "{status} {header}: {wait:?}");
        place.host.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_tried_again() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = Place::granted("127.0.0.1").await;
    let error = place.fails("http.get", json!(format!("http://127.0.0.1:{port}/"))).await;
    let wanted = format!("GET http://127.0.0.1:{port}/ failed: the connection was refused: nothing listens there");
    assert_eq!((error.attempts, error.message), (4, wanted));

    let mut nowhere = config("nowhere.test");
    nowhere.http.resolver = resolves_to(&[]);
    let error = Place::new(nowhere).await.fails("http.get", json!("http://nowhere.test/")).await;
    assert_eq!(error.attempts, 4);
    let wanted = "GET http://nowhere.test/ failed: dns error: the name nowhere.test has no address";
    assert_eq!(error.message, wanted);
}
