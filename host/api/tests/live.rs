//! Runs followed: by the feed itself, and as server-sent events over a socket.

use std::time::Duration;

use durhai::{Host, StepContext, StepError};
use durhai_api::{Config, Feed, Item, ServeError, Want, serve};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const LOOPS: &str = "for i in 0..input { print(`line ${i}`); use_step(\"echo\", i); } wait_for(\"go\"); print(\"last\"); emit(1); emit(2); \"out\"";

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
    let want = Want { events: Some(1), lines: Some(0), output: None };
    let early = Feed::open(&host, id, want.clone()).await.expect("a feed");
    let middle = Feed::open(&host, id, Want { events: Some(500), ..Want::default() }).await.expect("a feed");
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
                other => panic!("nobody wants {other:?}"),
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
    let want = Want { events: Some(1), lines: Some(0), output: None };
    let mut feed = Feed::open(&host, run.id().as_str(), want).await.expect("a feed");
    let (mut events, mut lines, mut patience) = (0, 0, 0_u32);
    loop {
        // Each time in vain it waits a little longer, so that it gets there on a busy machine too.
        let enough = async {
            for _ in 0..patience {
                tokio::task::yield_now().await;
            }
        };
        let item = tokio::select! {
            biased;
            item = feed.next() => item.expect("an item"),
            () = enough => {
                patience = (patience * 2).max(1);
                continue;
            }
        };
        patience = 0;
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

#[tokio::test(flavor = "multi_thread")]
async fn values_come_once_and_in_order_from_any_index_while_they_are_emitted() {
    let text = "for i in 0..input { emit(i); if i % 3 == 0 { emit(\"thirds\", i); use_step(\"echo\", i); } } emit(-1);";
    let host = Host::builder()
        .workflow("emits", text)
        .step("echo", |_: StepContext, n: i64| async move { Ok::<_, StepError>(n) })
        .start()
        .await
        .expect("a host");
    let run = host.run("emits").input(&1500).start().await.expect("a run");
    let open = |stream: &str, from| {
        let want = Want { output: Some((stream.into(), from)), ..Want::default() };
        Feed::open(&host, run.id().as_str(), want)
    };
    let early = open("default", 0).await.expect("a feed");
    let middle = open("thirds", 333).await.expect("a feed");
    let none = open("nothing", 0).await.expect("a feed");
    run.wait().await.expect("the end");
    let late = open("default", 1499).await.expect("a feed");
    let beyond = open("default", 9999).await.expect("a feed");
    let all: Vec<i64> = (0..1500).chain([-1]).collect();
    let thirds: Vec<i64> = (999..1500).step_by(3).collect();
    let cases = [
        (early, 0, all.clone()),
        (middle, 333, thirds),
        (none, 0, vec![]),
        (late, 1499, vec![1499, -1]),
        (beyond, 0, vec![]),
    ];
    for (mut feed, first, wanted) in cases {
        let (mut found, mut index, mut ended) = (Vec::new(), first, false);
        while let Some(item) = feed.next().await.expect("an item") {
            assert!(!ended, "nothing follows the end");
            match item {
                Item::Emitted(entry) => {
                    assert_eq!(entry.index, index);
                    index += 1;
                    found.push(entry.value.as_i64().expect("a number"));
                }
                Item::Ended(_) => ended = true,
                other => panic!("nobody wants {other:?}"),
            }
        }
        assert!(ended);
        assert_eq!(found, wanted);
    }
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

    let mut values = TcpStream::connect(address).await.expect("a connection");
    values.write_all(get("/api/v1/runs/r/output", "last-event-id: 0\r\n").as_bytes()).await.expect("sent");
    let values = read(&mut values, "event: end").await;
    assert!(values.contains("id: 1\ndata: {\"index\":1") && !values.contains("id: 0\n"), "{values}");

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

/// A run that lives in another host on the same world, which tells this one nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_follows_a_run_of_another_host() {
    let world = std::sync::Arc::new(durhai::MemoryWorld::new());
    let host = async || {
        let builder = Host::builder().shared_world(world.clone()).workflow("loops", LOOPS);
        let builder = builder.step("echo", |_: StepContext, n: i64| async move { Ok::<_, StepError>(n) });
        builder.start().await.expect("a host")
    };
    let (there, here) = (host().await, host().await);
    let run = there.run("loops").input(&3).start().await.expect("a run");
    let want = Want { events: Some(1), lines: Some(0), output: Some((durhai::DEFAULT_STREAM.into(), 0)) };
    let mut feed = Feed::open(&here, run.id().as_str(), want).await.expect("a feed");
    let follow = async {
        let (mut events, mut lines, mut values) = (0, 0, 0);
        while let Some(item) = feed.next().await.expect("an item") {
            match item {
                Item::Event(event) => {
                    events += 1;
                    assert_eq!(event.seq, events);
                    if events == 8 {
                        run.signal("go", &()).await.expect("a signal");
                    }
                }
                Item::Line(_) => lines += 1,
                Item::Emitted(_) => values += 1,
                Item::Ended(end) => return (events, lines, values, end.output),
                Item::Parked(_) => panic!("nothing is wrong with it"),
            }
        }
        panic!("the feed ends before the run");
    };
    let followed = tokio::time::timeout(Duration::from_secs(60), follow).await.expect("the end is told");
    assert_eq!(followed, (10, 4, 2, json!("out")));
    there.shutdown().await;
    here.shutdown().await;
}
