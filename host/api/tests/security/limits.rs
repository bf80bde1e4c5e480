//! Clients that are slow, many or large. Tests set the limit they are about, and wait for what it does.

use std::time::Duration;

use durhai_api::{Config, Limits};
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use super::wire::{Answer, Served, ask_on, read_all, read_until};

const SHORT: Duration = Duration::from_millis(50);

/// Longer than a test may take: what ends it is something else.
const NEVER: Duration = Duration::from_secs(3600);

async fn with(limits: Limits) -> Served {
    Served::with(Config { limits, ..Config::default() }).await
}

/// Only one of them is short.
fn patient() -> Limits {
    Limits {
        head_time: NEVER,
        idle_time: NEVER,
        body_pause: NEVER,
        body_time: NEVER,
        stall_time: NEVER,
        turn_time: NEVER,
        ..Limits::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_must_come_in_time() {
    let served = with(Limits { head_time: SHORT, ..patient() }).await;
    // One that is asked again and again stays meanwhile: the time of its first head is not that of the next.
    let mut kept = served.connect().await;
    assert_eq!(ask_on(&mut kept, "GET /healthz").await.status, 200);
    for begun in ["", "G", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n", "\r\n\r\n\r\n"] {
        let mut stream = served.connect().await;
        stream.write_all(begun.as_bytes()).await.expect("sent");
        let answer = String::from_utf8_lossy(&read_all(&mut stream).await).into_owned();
        assert!(!answer.contains(" 200 "), "{begun:?}: {answer}");
    }
    // A byte now and then does not help.
    let (mut read, mut write) = served.connect().await.into_split();
    let trickle = tokio::spawn(async move {
        for byte in b"GET /healthz HTTP/1.1\r\nx: ".iter().chain(std::iter::repeat(&b'x')) {
            if write.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    });
    let mut answer = Vec::new();
    // It may be reset, for bytes were on their way.
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut answer).await;
    trickle.abort();
    assert!(!String::from_utf8_lossy(&answer).contains(" 200 "));
    assert_eq!(ask_on(&mut kept, "GET /healthz").await.status, 200);
    // The second head on a connection has no more time than the first.
    kept.write_all(b"GET /").await.expect("sent");
    assert!(!String::from_utf8_lossy(&read_all(&mut kept).await).contains(" 200 "));
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed() {
    let served = with(Limits { idle_time: SHORT, ..patient() }).await;
    let mut stream = served.connect().await;
    assert_eq!(ask_on(&mut stream, "GET /healthz").await.status, 200);
    read_all(&mut stream).await;
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_must_keep_coming() {
    let begun = "POST /api/v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let served = with(Limits { body_pause: SHORT, ..patient() }).await;
    for rest in [
        "content-length: 100\r\n\r\n{\"workflow\":",
        "transfer-encoding: chunked\r\n\r\n5\r\n{\"wor",
        "content-length: 9\r\n\r\n",
    ] {
        let mut stream = served.connect().await;
        stream.write_all(format!("{begun}{rest}").as_bytes()).await.expect("sent");
        let answer = Answer::read(&read_all(&mut stream).await);
        assert_eq!((answer.status, &*answer.problem()), (408, "timeout"), "{rest}");
    }
    // An import may take long, but not pause.
    let mut stream = served.connect().await;
    let import = "POST /api/v1/import HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(import.as_bytes()).await.expect("sent");
    assert!(Answer::read(&read_all(&mut stream).await).status >= 400);
    served.stop().await.expect("it ends");

    let served = with(Limits { body_time: SHORT * 4, ..patient() }).await;
    let (mut read, mut write) = served.connect().await.into_split();
    write.write_all(format!("{begun}content-length: 1000000\r\n\r\n").as_bytes()).await.expect("sent");
    let trickle = tokio::spawn(async move {
        while write.write_all(b" ").await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    let mut answer = Vec::new();
    // It may be reset behind the answer, for bytes were on their way.
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut answer).await;
    trickle.abort();
    assert_eq!(Answer::read(&answer).status, 408);
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_said_to_be() {
    let served = with(Limits { body_bytes: 1000, ..patient() }).await;
    let long = "x".repeat(17 << 10);
    let many: Vec<String> = (0..120).map(|n| format!("x-{n}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let wide: Vec<String> = (0..20).map(|n| format!("x-{n}: {}", "y".repeat(1000))).collect();
    let wide: Vec<&str> = wide.iter().map(String::as_str).collect();
    for (first, lines, status) in [
        ("GET /healthz".to_owned(), &many[..80], 200),
        ("GET /healthz".to_owned(), &many[..], 431),
        ("GET /healthz".to_owned(), &wide[..], 431),
        (format!("GET /{long}"), &[], 431),
        (format!("GET /healthz?{long}"), &[], 431),
        (format!("GET /{}", "x".repeat(100 << 10)), &[], 431),
    ] {
        let answer = served.ask(&first, lines).await;
        assert_eq!(answer.status, status, "{} bytes, {} lines", first.len(), lines.len());
    }
    let json = "content-type: application/json";
    let text = format!("{{\"workflow\":\"one\",\"id\":\"{}\"}}", "x".repeat(1000));
    let length = format!("content-length: {}", text.len());
    let head = |how: &str| {
        format!("POST /api/v1/runs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{json}\r\n{how}\r\n\r\n")
    };
    let chunked = format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len());
    for body in [head(&length) + text.as_str(), head("transfer-encoding: chunked") + chunked.as_str()] {
        let answer = Answer::read(&served.send(body).await);
        assert_eq!((answer.status, &*answer.problem()), (413, "too_large"));
        assert!(answer.text().contains("1000 bytes"), "{}", answer.text());
    }
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so() {
    let served = with(Limits { connections: 2, ..patient() }).await;
    let (mut one, mut two) = (served.connect().await, served.connect().await);
    for stream in [&mut one, &mut two] {
        assert_eq!(ask_on(stream, "GET /healthz").await.status, 200);
    }
    let answer = served.ask("GET /healthz", &[]).await;
    assert_eq!((answer.status, &*answer.problem(), answer.header("retry-after")), (503, "busy", Some("1")));
    // Those that are open are served on, and a place that was left is given away.
    assert_eq!(ask_on(&mut one, "GET /healthz").await.status, 200);
    drop(two);
    while served.ask("GET /healthz", &[]).await.status == 503 {}
    assert_eq!(ask_on(&mut one, "GET /healthz").await.status, 200);
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_too_many_is_told_so() {
    let served = with(Limits { streams: 1, ..patient() }).await;
    served.host.run("waits").id("w").start().await.expect("a run");
    let mut live = served.connect().await;
    let follow = "GET /api/v1/runs/w/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";
    live.write_all(follow.as_bytes()).await.expect("sent");
    read_until(&mut live, "run_started").await;
    for path in ["/api/v1/runs/w/export", "/api/v1/backup", "/api/v1/runs/w/trace"] {
        let answer = served.ask(&format!("GET {path}"), &[]).await;
        assert_eq!(
            (answer.status, &*answer.problem(), answer.header("retry-after")),
            (503, "busy", Some("1")),
            "{path}"
        );
    }
    for path in ["/api/v1/runs/w/events", "/api/v1/runs/w/logs", "/api/v1/changes"] {
        let answer = served.ask(&format!("GET {path}"), &["accept: text/event-stream"]).await;
        assert_eq!((answer.status, &*answer.problem()), (503, "busy"), "{path}");
    }
    // What is not streamed goes on, and the place is free again when the client has gone.
    assert_eq!(served.ask("GET /api/v1/runs", &[]).await.status, 200);
    drop(live);
    while served.ask("GET /api/v1/runs/w/export", &[]).await.status == 503 {}
    // A stream that has come to its end is none any more, though its connection stays.
    let mut kept = served.connect().await;
    kept.write_all(b"GET /api/v1/runs/w/export HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    read_until(&mut kept, "\r\n0\r\n\r\n").await;
    while served.ask("GET /api/v1/runs/w/export", &[]).await.status == 503 {}
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_too_many_waits_for_its_turn() {
    let served = with(Limits { requests: 1, turn_time: SHORT, ..patient() }).await;
    let mut slow = served.connect().await;
    let begun = "POST /api/v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                 expect: 100-continue\r\ncontent-length: 18\r\n\r\n";
    slow.write_all(begun.as_bytes()).await.expect("sent");
    // The server is asked for the body: it is at work on it.
    read_until(&mut slow, "100 Continue").await;
    let answer = served.ask("GET /api/v1/runs", &[]).await;
    assert_eq!((answer.status, &*answer.problem(), answer.header("retry-after")), (503, "busy", Some("1")));
    for open in ["GET /healthz", "GET /readyz", "GET /"] {
        assert_eq!(served.ask(open, &[]).await.status, 200, "{open}");
    }
    slow.write_all(b"{\"workflow\":\"one\"}").await.expect("sent");
    read_until(&mut slow, "201 Created").await;
    while served.ask("GET /api/v1/runs", &[]).await.status == 503 {}
    served.stop().await.expect("it ends");
}
