//! The router in an app of one's own: merged, nested, and ended with it.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::routing::get;
use durhai::{Host, Value};
use durhai_api::{Config, router};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use crate::common::Messages;
use crate::security::wire::{read_all, read_until};

async fn host() -> Host {
    let host = Host::builder().workflow("one", "1").workflow("waits", "wait_for(\"go\")");
    host.start().await.expect("a host")
}

/// An app with a life of its own.
fn app() -> Router {
    Router::new().route("/own", get(|| async { "own" })).fallback(|| async { (StatusCode::IM_A_TEAPOT, "the app's") })
}

async fn text(app: &Router, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).header("host", "localhost").body(Body::empty()).expect("a request");
    let response = app.clone().oneshot(request).await.expect("infallible");
    let status = response.status();
    let bytes = to_bytes(response.into_body(), 1 << 24).await.expect("a body");
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

/// What a link means to a browser that found it there.
fn resolve(at: &str, link: &str) -> String {
    let mut path: Vec<&str> = if link.starts_with('/') { vec![""] } else { at.split('/').collect() };
    if !link.starts_with('/') {
        path.pop();
    }
    for part in link.split('/').skip(usize::from(link.starts_with('/'))) {
        match part {
            "." => {}
            ".." => drop(path.pop().filter(|_| path.len() > 1)),
            part => path.push(part),
        }
    }
    path.join("/")
}

/// The texts in quotes behind this.
fn quoted<'a>(text: &'a str, behind: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(behind).skip(1).filter_map(|rest| rest.split('"').next())
}

/// Loads the page as a browser does, from its address on; gives every file it consists of.
async fn crawl(app: &Router, address: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![address.to_owned()];
    while let Some(at) = open.pop() {
        if !seen.insert(at.clone()) {
            continue;
        }
        let (status, text) = text(app, &at).await;
        assert_eq!(status, StatusCode::OK, "{at}");
        let mut links: Vec<&str> = Vec::new();
        if at == address {
            links.extend(quoted(&text, "href=\"").chain(quoted(&text, "src=\"")).filter(|link| !link.starts_with('#')));
            assert!(links.len() > 5, "{text}");
        } else if at.ends_with(".js") {
            links.extend(quoted(&text, " from \"").chain(quoted(&text, "import(\"")));
        }
        open.extend(links.into_iter().map(|link| resolve(&at, link.split('#').next().unwrap_or(link))));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_found_wherever_the_router_is() {
    let host = host().await;
    let api = || router(host.clone(), Config::default());
    let mut files = BTreeSet::new();
    for (app, prefix, addresses) in [
        (Router::new().merge(api()), "", &["/", "/page/index.html"][..]),
        (app().merge(api()), "", &["/"]),
        (app().nest("/durhai", api()), "/durhai", &["/durhai", "/durhai/page/index.html"]),
        (app().nest_service("/durhai", api()), "/durhai", &["/durhai", "/durhai/"]),
        (app().nest("/a/{tenant}/b", api()), "/a/x%20y/b", &["/a/x%20y/b"]),
        (Router::new().nest("/outer", app().nest("/inner", api())), "/outer/inner", &["/outer/inner"]),
    ] {
        for address in addresses {
            let found = crawl(&app, address).await;
            assert!(found.len() > 50, "{address}: {found:?}");
            let below: BTreeSet<String> = found
                .iter()
                .filter(|path| path != address)
                .map(|path| path.strip_prefix(prefix).unwrap_or_else(|| panic!("{path} is not below {prefix}")).into())
                .collect();
            if files.is_empty() {
                files.clone_from(&below);
            }
            assert_eq!(below, files, "{address}: the same files, wherever they are");
        }
        // Where the page asks: beside the module that asks.
        let asks = format!("{prefix}/api/v1");
        assert_eq!(resolve(&format!("{prefix}/page/lib/api.js"), "../../api/v1"), asks);
        let (status, workflows) = text(&app, &format!("{asks}/workflows")).await;
        assert!(status == StatusCode::OK && workflows.contains("waits"), "{workflows}");
        let (_, described) = text(&app, &format!("{asks}/openapi.json")).await;
        let described: Value = serde_json::from_str(&described).expect("JSON");
        assert_eq!(described["servers"][0]["url"], if prefix.is_empty() { "/" } else { prefix });
        assert_eq!(text(&app, &format!("{prefix}/readyz")).await.0, StatusCode::OK);
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_keeps_what_is_its_own() {
    let host = host().await;
    let merged = app().merge(router(host.clone(), Config::default()));
    let nested = app().nest("/durhai", router(host.clone(), Config::default()));
    for (app, prefix) in [(&merged, ""), (&nested, "/durhai")] {
        assert_eq!(text(app, "/own").await, (StatusCode::OK, "own".into()));
        assert_eq!(text(app, "/nothing").await, (StatusCode::IM_A_TEAPOT, "the app's".into()));
        for path in ["/api/v1", "/api/v1/nothing", "/hooks/nobody", "/hooks", "/page/none.js"] {
            let (status, problem) = text(app, &format!("{prefix}{path}")).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
            assert!(problem.contains("urn:durhai:problem:not_found"), "{path}: {problem}");
        }
        // Who asks is checked for what is durhai's, and for nothing else.
        for (path, status) in [("/own", 200), ("/nothing", 418), (&format!("{prefix}/api/v1/runs"), 403)] {
            let request = Request::get(path).header("host", "shop.example").body(Body::empty()).expect("a request");
            let response = app.clone().oneshot(request).await.expect("infallible");
            assert_eq!(response.status().as_u16(), status, "{path}");
            let ours = response.headers().contains_key("x-content-type-options");
            assert_eq!(ours, status == 403, "{path}");
        }
    }
    // What it has already it need not be given.
    let own = |text: &'static str| get(move || async move { text });
    let config = Config { page: false, probes: false, ..Config::default() };
    let all = Router::new().route("/", own("home")).route("/healthz", own("well")).route("/metrics", own("m"));
    let all = all.route("/api/v2/x", own("v2")).merge(router(host.clone(), config));
    for (path, wanted) in [("/", "home"), ("/healthz", "well"), ("/metrics", "m"), ("/api/v2/x", "v2")] {
        assert_eq!(text(&all, path).await, (StatusCode::OK, wanted.into()));
    }
    let (_, described) = text(&all, "/api/v1/openapi.json").await;
    assert!(described.contains("/api/v1/runs") && !described.contains("/healthz"), "it tells what is there");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_told_in_words_of_the_embedder() {
    let host = host().await;
    for (command_line, said, unsaid) in [(false, "Config::allowed_", "--allow"), (true, "--allow-", "Config::")] {
        let app = router(host.clone(), Config { command_line, ..Config::default() });
        for (name, value) in [("host", "shop.example"), ("origin", "https://shop.example")] {
            let mut request = Request::get("/api/v1/runs").header(name, value);
            if name != "host" {
                request = request.header("host", "localhost");
            }
            let response =
                app.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("infallible");
            assert_eq!(response.status(), StatusCode::FORBIDDEN);
            let body = to_bytes(response.into_body(), 1 << 16).await.expect("a body");
            let body = String::from_utf8_lossy(&body);
            assert!(body.contains(said) && !body.contains(unsaid), "{body}");
        }
    }
    let strict = Config::default().may_listen("192.168.1.1:80".parse().expect("an address")).expect_err("no token");
    assert!(strict.to_string().contains("Config::token") && !strict.to_string().contains("--"), "{strict}");
    host.shutdown().await;
}

/// Connections that follow something without end.
async fn followers(address: std::net::SocketAddr, prefix: &str) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for (path, first) in [("runs/w/events", "run_started"), ("changes", "hello"), ("runs/w/logs", "HTTP/1.1 200")] {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let ask =
            format!("GET {prefix}/api/v1/{path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.expect("sent");
        read_until(&mut stream, first).await;
        all.push(stream);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_ends_gracefully_while_clients_follow() {
    let host = host().await;
    host.run("waits").id("w").start().await.expect("a run");
    let config = Config::default();
    let closing = config.closing.clone();
    let app = app().nest("/durhai", router(host.clone(), config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        let _ = stopped.await;
        closing.close();
    });
    let server = tokio::spawn(async move { server.await });
    let followers = followers(address, "/durhai").await;
    stop.send(()).expect("it listens");
    for mut follower in followers {
        let rest = String::from_utf8_lossy(&read_all(&mut follower).await).into_owned();
        assert!(rest.ends_with("0\r\n\r\n"), "each stream has its last chunk: {rest:?}");
    }
    let ended = tokio::time::timeout(Duration::from_secs(60), server).await.expect("it waits for nobody");
    ended.expect("it does not panic").expect("it ends well");
    assert_eq!(host.get("w").await.expect("a run").status().await.expect("a status"), durhai::Status::Waiting);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_their_host() {
    let host = host().await;
    host.run("waits").id("w").start().await.expect("a run");
    let app = router(host.clone(), Config::default());
    let mut all = Vec::new();
    for path in ["runs/w/events", "runs/w/logs", "runs/w/output", "changes"] {
        all.push((path, Messages::open(&app, &format!("/api/v1/{path}"), None).await));
    }
    for (_, messages) in all.iter_mut().filter(|(path, _)| ["runs/w/events", "changes"].contains(path)) {
        messages.next().await.expect("it tells something");
    }
    host.shutdown().await;
    host.closed().await;
    for (path, mut messages) in all {
        while let Some(message) = messages.next().await {
            assert!(message.event != "end", "{path}: the run has not ended");
        }
    }
}
