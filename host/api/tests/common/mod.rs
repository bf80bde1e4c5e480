//! Requests to a router, without a socket.

pub mod contract;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream, to_bytes};
use axum::http::{Request, StatusCode};
use durhai::Value;
use futures_util::StreamExt;
use tokio::sync::OnceCell;
use tower::ServiceExt;

use contract::Contract;

/// One request, as a client on this machine makes it; the status and the body as JSON (null if it is none).
pub async fn ask(router: &Router, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:7788");
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    send(router, request.body(body).expect("a request")).await
}

/// Every answer is held against what the API says of itself.
pub async fn send(router: &Router, request: Request<Body>) -> (StatusCode, Value) {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let response = router.clone().oneshot(request).await.expect("infallible");
    let status = response.status();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().expect("text").to_string());
    let bytes = to_bytes(response.into_body(), 1 << 24).await.expect("a body");
    let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let contract = CONTRACT.get_or_init(|| async { Contract::of(&plain().await, None).await }).await;
    contract.hold(&method, &path, status.as_u16(), kind.as_deref(), &value);
    if status.is_client_error() || status.is_server_error() && value.get("ok").is_none() {
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{status} {value}");
        assert_eq!(value["status"], status.as_u16());
        for field in ["type", "title", "detail"] {
            assert!(value[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {value}");
        }
    }
    (status, value)
}

static CONTRACT: OnceCell<Contract> = OnceCell::const_new();

/// A router of a host that has nothing.
pub async fn plain() -> Router {
    durhai_api::router(durhai::Host::builder().start().await.expect("a host"), durhai_api::Config::default())
}

/// A stream of server-sent events.
pub struct Messages {
    body: BodyDataStream,
    text: String,
}

/// One of them.
#[derive(Debug, PartialEq)]
pub struct Message {
    /// `message` where it has no name.
    pub event: String,
    pub id: Option<String>,
    pub data: Value,
}

impl Messages {
    /// Asks for one, which must be given.
    pub async fn open(router: &Router, path: &str, after: Option<u64>) -> Messages {
        let mut request = Request::get(path).header("host", "127.0.0.1:7788").header("accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response =
            router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream", "{path}");
        Messages { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next message; none when the stream has ended.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let message = Message::read(block);
                self.text = rest.to_owned();
                match message {
                    Some(message) => return Some(message),
                    None => continue,
                }
            }
            let piece = tokio::time::timeout(Duration::from_secs(30), self.body.next()).await;
            let piece = piece.unwrap_or_else(|_| panic!("nothing came after {:?}", self.text))?;
            self.text.push_str(std::str::from_utf8(&piece.expect("bytes")).expect("text"));
        }
    }
}

impl Message {
    /// None for what is no message: a comment that keeps the connection.
    fn read(block: &str) -> Option<Message> {
        let field =
            |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let data = serde_json::from_str(field("data")?).expect("JSON");
        let event = field("event").unwrap_or("message").to_owned();
        Some(Message { event, id: field("id").map(String::from), data })
    }
}
