//! The end of a server: what was asked is answered, streams are closed properly, nobody else gets in.

use std::time::Duration;

use durhai_api::{Config, Limits};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::wire::{Answer, Served, ask_on, read_all, read_until};

const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_and_requests_are_answered() {
    let limits = Limits {
        idle_time: NEVER,
        head_time: NEVER,
        drain_time: NEVER,
        body_pause: NEVER,
        body_time: NEVER,
        ..Limits::default()
    };
    let served = Served::with(Config { limits, ..Config::default() }).await;
    let address = served.address;
    served.host.run("waits").id("w").start().await.expect("a run");
    let mut live = served.connect().await;
    let follow = "GET /api/v1/runs/w/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";
    live.write_all(follow.as_bytes()).await.expect("sent");
    read_until(&mut live, "run_started").await;
    let mut asking = served.connect().await;
    let begun = "POST /api/v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                 expect: 100-continue\r\ncontent-length: 18\r\n\r\n";
    asking.write_all(begun.as_bytes()).await.expect("sent");
    read_until(&mut asking, "100 Continue").await;
    let mut idle = served.connect().await;
    assert_eq!(ask_on(&mut idle, "GET /healthz").await.status, 200);
    let mut silent = served.connect().await;
    let mut halfway = served.connect().await;
    halfway.write_all(b"GET /heal").await.expect("sent");
    let mut again = served.connect().await;
    assert_eq!(ask_on(&mut again, "GET /healthz").await.status, 200);
    again.write_all(b"GET /heal").await.expect("sent");
    // By the time it has answered this, it is likely to have read those; it must come out the same if not.
    assert_eq!(served.ask("GET /healthz", &[]).await.status, 200);

    let stopping = tokio::spawn(served.stop());
    let rest = String::from_utf8_lossy(&read_all(&mut live).await).into_owned();
    assert!(rest.ends_with("0\r\n\r\n"), "the stream has its last chunk: {rest:?}");
    assert_eq!(read_all(&mut idle).await, b"");
    assert_eq!(read_all(&mut silent).await, b"");
    // Half a head is no request: nobody waits for the rest.
    for begun in [&mut halfway, &mut again] {
        let answer = String::from_utf8_lossy(&read_all(begun).await).into_owned();
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    // Its listener is gone, though it still waits for the request that it is at work on.
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!stopping.is_finished());
    asking.write_all(b"{\"workflow\":\"one\"}").await.expect("sent");
    let answer = Answer::read(&read_all(&mut asking).await);
    assert_eq!((answer.status, answer.header("connection")), (201, Some("close")));
    stopping.await.expect("no panic").expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_holds_it_up_for_longer_than_it_waits() {
    let limits = Limits { drain_time: Duration::from_millis(50), body_pause: NEVER, ..Limits::default() };
    let served = Served::with(Config { limits, ..Config::default() }).await;
    let mut asking = served.connect().await;
    let begun = "POST /api/v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                 expect: 100-continue\r\ncontent-length: 18\r\n\r\n";
    asking.write_all(begun.as_bytes()).await.expect("sent");
    read_until(&mut asking, "100 Continue").await;
    served.stop().await.expect("it ends");
    assert_eq!(read_all(&mut asking).await, b"");
}
