//! Runs followed: by the feed itself, and as server-sent events over a socket.

use std::time::Duration;

use durhai::{Host, StepContext, StepError};
use durhai_api::{Config, Feed, Item, ServeError, Want, serve};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const LOOPS: &str =
    "for i in 0..input { print(`line ${i}`); use_step(\"echo\", i); } wait_for(\"go\"); print(\"last\"); \"out\"";

async fn host() -> Host {
    Host::builder()
        .workflow("loops", LOOPS)
        .step("echo", |_: StepContext, n: i64| async move { Ok::<_, StepError>(n) })
        .start()
        .await
        .expect("a host")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_gives_everything_once_whenever_it_is_opened() {
    let host = host().await;
    let run = host.run("loops").input(&700).start().await.expect("a run");
    let id = run.id().as_str();
    let want = Want { events: Some(1), lines: Some(0) };
    let early = Feed::open(&host, id, want).await.expect("a feed");
    let middle = Feed::open(&host, id, Want { events: Some(500), lines: None }).await.expect("a feed");
    run.signal("go", &()).await.expect("a signal");
    let view = run.wait().await.expect("the end");
    let late = Feed::open(&host, id, want).await.expect("a feed");
    for (mut feed, first, lines) in [(early, 1, 701), (middle, 500, 0), (late, 1, 701)] {
        let (mut next, mut index, mut ended) = (first, 0, false);
        while let Some(item) = feed.next().await.expect("an item") {
            assert!(!ended, "nothing follows the end");
            match item {
                Item::Event(event) => {
                    assert_eq!(event.seq, next);
                    next += 1;
                }
                Item::Line(line) => {
                    assert_eq!(line.index, index);
                    index += 1;
                }
                Item::Ended(end) => {
                    assert_eq!(end.output, "out");
                    ended = true;
                }
                Item::Parked(view) => panic!("parked: {view:?}"),
            }
        }
        assert_eq!((next, index, ended), (view.events + 1, lines, true));
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_loses_nothing_when_its_reader_gives_up_and_comes_back() {
    let host = host().await;
    let run = host.run("loops").input(&300).start().await.expect("a run");
    run.signal("go", &()).await.expect("a signal");
    let want = Want { events: Some(1), lines: Some(0) };
    let mut feed = Feed::open(&host, run.id().as_str(), want).await.expect("a feed");
    let (mut events, mut lines) = (0, 0);
    loop {
        let item = tokio::select! {
            biased;
            item = feed.next() => item.expect("an item"),
            () = tokio::task::yield_now() => continue,
        };
        match item {
            Some(Item::Event(event)) => {
                events += 1;
                assert_eq!(event.seq, events);
            }
            Some(Item::Line(line)) => {
                assert_eq!(line.index, lines);
                lines += 1;
            }
            Some(_) => {}
            None => break,
        }
    }
    assert_eq!((events, lines), (run.view().await.expect("the run").events, 301));
    host.shutdown().await;
}

/// Bytes of a response until `until` stands in them, or the connection ends.
async fn read(stream: &mut TcpStream, until: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(until) {
        let wait = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut buffer));
        match wait.await.unwrap_or_else(|_| panic!("no {until:?} in {text}")).expect("bytes") {
            0 => break,
            count => text.push_str(&String::from_utf8_lossy(&buffer[..count])),
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn events_over_a_socket_go_on_after_the_last_id() {
    let host = host().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(host.clone(), listener, Config::default(), async { drop(stopped.await) }));
    let run = host.run("loops").id("r").input(&2).start().await.expect("a run");

    let get = |path: &str, extra: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n{extra}\r\n")
    };
    let mut all = TcpStream::connect(address).await.expect("a connection");
    all.write_all(get("/api/v1/runs/r/events?logs=true", "").as_bytes()).await.expect("sent");
    let first = read(&mut all, "id: 4\n").await;
    assert!(first.contains("text/event-stream") && first.contains("id: 1\n"), "{first}");

    let mut rest = TcpStream::connect(address).await.expect("a connection");
    rest.write_all(get("/api/v1/runs/r/events", "last-event-id: 3\r\n").as_bytes()).await.expect("sent");
    run.signal("go", &json!({ "n": 1 })).await.expect("a signal");
    let rest = read(&mut rest, "event: end").await;
    assert!(rest.contains("id: 4\n") && !rest.contains("id: 3\n") && rest.contains("signal_received"), "{rest}");
    let last = read(&mut all, "event: end").await;
    assert!(last.contains("\"message\":\"last\""), "{last}");

    let mut logs = TcpStream::connect(address).await.expect("a connection");
    logs.write_all(get("/api/v1/runs/r/logs?from=1", "").as_bytes()).await.expect("sent");
    let logs = read(&mut logs, "event: end").await;
    assert!(logs.contains("line 1") && !logs.contains("line 0"), "{logs}");

    // A stream of a run that does nothing ends with the server, at once.
    host.run("loops").id("idle").input(&0).start().await.expect("a run");
    let mut idle = TcpStream::connect(address).await.expect("a connection");
    idle.write_all(get("/api/v1/runs/idle/events", "").as_bytes()).await.expect("sent");
    read(&mut idle, "run_started").await;
    stop.send(()).expect("it runs");
    read(&mut idle, "never").await;
    server.await.expect("no panic").expect("a clean end");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_not_served_without_a_token() {
    let host = host().await;
    let listener = TcpListener::bind("0.0.0.0:0").await.expect("a port");
    let served = serve(host.clone(), listener, Config::default(), std::future::pending()).await;
    assert!(matches!(served, Err(ServeError::NoToken(_))), "{served:?}");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_not_there_cannot_be_followed() {
    let host = host().await;
    assert!(Feed::open(&host, "none", Want::default()).await.is_err());
    host.shutdown().await;
}
