//! Requests that take too long, or that the host does not wait for any more.

use durhai::{FailureKind, Status};
use serde_json::json;

use super::Place;
use super::server::{Reply, Server, written};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_given_up_after_its_timeout() {
    let place = Place::granted("127.0.0.1").await;
    let server = Server::start(|_, _| Reply::Silence).await;
    let begins = Server::start(|_, _| Reply::Begun(written(200, &[("content-length", "10")], b"half"))).await;
    for server in [server, begins] {
        // On a busy machine the time may be over before a request is out.
        while server.seen().is_empty() {
            let error = place.fails("http.get", json!({ "url": server.url("/slow?key=1"), "timeout": "50ms" })).await;
            let wanted = format!("GET {} failed: it took longer than its timeout of 50ms", server.url("/slow"));
            assert_eq!((error.attempts, error.message), (4, wanted));
        }
        for _ in server.seen() {
            server.left().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeout_of_the_step_closes_the_connection() {
    let server = Server::start(|_, _| Reply::Silence).await;
    let place = Place::granted("127.0.0.1").await;
    while server.seen().is_empty() {
        let run = place.host.run("hasty").input(&json!(server.url("/"))).start().await.unwrap();
        assert_eq!(run.wait().await.unwrap().error.unwrap().kind, FailureKind::Timeout);
    }
    server.left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_run_closes_the_connection() {
    let server = Server::start(|_, _| Reply::Silence).await;
    let place = Place::granted("127.0.0.1").await;
    place.script("slow", "fn get(url) { http::get(url).body }");
    for step in ["http.get", "slow.get"] {
        let run = place.start(step, step, &json!(server.url("/")), 4).await;
        server.came().await;
        run.cancel("enough").await.unwrap();
        server.left().await;
        assert_eq!(run.wait().await.unwrap().status, Status::Cancelled, "{step}");
    }
    assert_eq!(server.seen().len(), 2);
}
