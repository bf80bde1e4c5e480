//! What is spoken to, and what is not: names, addresses, redirects, proxies.

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use durhai_steps::{Environment, Resolver};
use parking_lot::Mutex;
use serde_json::json;

use super::server::{Server, answer};
use super::{Place, config, resolves_to};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_granted_is_neither_resolved_nor_connected_to() {
    let server = Server::always(200, &[], "reached").await;
    let port = server.port;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let names = asked.clone();
    let mut config = config(&format!("granted.test,*.below.test,127.0.0.2,10.0.0.0/8,also.test:{}", port - 1));
    config.http.resolver = Resolver::new(move |name| {
        names.lock().push(name);
        async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) }
    });
    let place = Place::new(config).await;
    place.script("get", "fn any(url) { http::get(url).body }");
    for (host, wanted, looked_up) in [
        ("other.test", "other.test:PORT is not allowed: grant it with --allow-net=other.test:PORT", false),
        ("also.test", "--allow-net=also.test:PORT", false),
        ("granted.test.evil.test", "--allow-net=granted.test.evil.test:PORT", false),
        ("127.0.0.1", "--allow-net=127.0.0.1:PORT", false),
        ("127.1", "--allow-net=127.0.0.1:PORT", false),
        ("0x7f000001", "--allow-net=127.0.0.1:PORT", false),
        ("2130706433", "--allow-net=127.0.0.1:PORT", false),
        ("[::ffff:127.0.0.1]", "is not allowed", false),
        ("[::1]", "--allow-net=[::1]:PORT", false),
        ("0.0.0.0", "--allow-net=0.0.0.0:PORT", false),
        ("localhost", "--allow-net=localhost:PORT", false),
        (
            "granted.test",
            "it stands for 127.0.0.1, which leads to this machine: grant it with --allow-net=127.0.0.1:PORT",
            true,
        ),
        ("GRANTED.test.", "leads to this machine", true),
        ("a.below.test", "leads to this machine", true),
    ] {
        for step in ["http.get", "get.any"] {
            asked.lock().clear();
            let error = place.fails(step, json!(format!("http://{host}:{port}/"))).await;
            let wanted = wanted.replace("PORT", &port.to_string());
            assert!(error.message.starts_with("connecting to "), "{host}: {}", error.message);
            assert!(error.message.contains(&wanted), "{host}: {}", error.message);
            assert_eq!(error.attempts, 1, "{host}");
            assert_eq!(!asked.lock().is_empty(), looked_up, "{host}");
        }
    }
    for url in ["ftp://granted.test/", "file:///etc/passwd", "granted.test", "", "http://", "unix:/run/docker.sock"] {
        let error = place.fails("http.get", json!(url)).await;
        assert!(error.message.starts_with("`url` "), "{url}: {}", error.message);
    }
    let error = place.fails("http.get", json!(format!("http://ann:pass-word@granted.test:{port}/"))).await;
    assert!(error.message.contains("use `basic") && !error.message.contains("pass-word"), "{}", error.message);
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_looked_up_once_and_what_was_checked_is_connected_to() {
    let server = Server::always(200, &[], "reached").await;
    let lookups = Arc::new(AtomicUsize::new(0));
    let count = lookups.clone();
    // Harmless when it is checked, something else when it is asked again.
    let mut rebinding = config("rebinding.test,127.0.0.1");
    rebinding.http.resolver = Resolver::new(move |_| {
        let last = if count.fetch_add(1, Ordering::Relaxed) == 0 { 1 } else { 99 };
        async move { Ok(vec![IpAddr::from([127, 0, 0, last])]) }
    });
    let place = Place::new(rebinding).await;
    let url = json!(format!("http://rebinding.test:{}/", server.port));
    assert_eq!(place.done("http.get", url.clone()).await["body"], "reached");
    assert_eq!(lookups.load(Ordering::Relaxed), 1);
    let error = place.fails("http.get", url).await;
    assert!(error.message.contains("it stands for 127.0.0.99"), "{}", error.message);

    // Of several addresses those are left that may be connected to.
    let mut several = config("several.test,127.0.0.1");
    several.http.resolver = resolves_to(&["169.254.169.254", "::1", "127.0.0.1"]);
    let place = Place::new(several).await;
    let answer = place.done("http.get", json!(format!("http://several.test:{}/", server.port))).await;
    assert_eq!(answer["body"], "reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_redirect_is_checked() {
    let inside = Server::always(200, &[], "inside").await;
    let port = inside.port;
    let door = Server::start(move |seen, _| {
        let host = seen.target.trim_start_matches("/to/");
        answer(302, &[("location", &format!("http://{host}:{port}/"))], "")
    });
    let door = door.await;
    let mut config = config(&format!("door.test:{},127.0.0.1:{},friend.test,127.0.0.3", door.port, door.port));
    config.http.resolver = resolves_to(&["127.0.0.1"]);
    let place = Place::new(config).await;
    for (host, wanted) in [
        ("other.test", "connecting to other.test:PORT is not allowed"),
        ("127.0.0.1", "connecting to 127.0.0.1:PORT is not allowed"),
        ("door.test", "connecting to door.test:PORT is not allowed"),
        ("friend.test", "it stands for 127.0.0.1"),
        ("169.254.169.254", "must be named"),
        ("ann:secret@other.test", "connecting to other.test:PORT is not allowed"),
    ] {
        let error = place.fails("http.get", json!(format!("http://door.test:{}/to/{host}", door.port))).await;
        assert!(error.message.contains(&wanted.replace("PORT", &port.to_string())), "{host}: {}", error.message);
        assert_eq!(error.attempts, 1, "{host}");
    }
    assert_eq!(inside.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_changes_with_the_settings() {
    let server = Server::always(200, &[], "reached").await;
    let place = Place::granted("127.0.0.1").await;
    place.done("http.get", json!(server.url("/"))).await;
    place.step_env.replace(config("127.0.0.2"));
    let error = place.fails("http.get", json!(server.url("/"))).await;
    assert!(error.message.contains("--allow-net=127.0.0.1:"), "{}", error.message);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_the_environment_count_only_when_they_are_asked_for() {
    let proxy = Server::always(200, &[], "from the proxy").await;
    let direct = Server::always(200, &[], "direct").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("HTTP_PROXY=http://proxy.test:{}\nNO_PROXY=direct.test\n", proxy.port);
    fs::write(file.path(), text).unwrap();
    let config = |asked: bool| {
        let mut config = config("api.test,direct.test,127.0.0.1");
        config.environment = Environment::default().with_file(file.path()).unwrap();
        config.http.proxy = asked;
        config.http.resolver = resolves_to(&["127.0.0.1"]);
        config
    };
    let place = Place::new(config(true)).await;
    let (api, direct_url) =
        (format!("http://api.test:{}/x", direct.port), format!("http://direct.test:{}/", direct.port));
    let answer = place.done("http.get", json!(api)).await;
    assert_eq!(answer["body"], "from the proxy");
    assert_eq!(proxy.seen()[0].target, api);
    assert_eq!(place.done("http.get", json!(direct_url)).await["body"], "direct");
    let error = place.fails("http.get", json!("http://other.test/")).await;
    assert!(error.message.contains("--allow-net=other.test:80"), "{}", error.message);
    place.step_env.replace(config(false));
    assert_eq!(place.done("http.get", json!(api)).await["body"], "direct");
    assert_eq!(proxy.seen().len(), 1);
    fs::write(file.path(), "all_proxy=socks5://127.0.0.1:1\n").unwrap();
    place.step_env.replace(config(true));
    let error = place.fails("http.get", json!(api)).await;
    assert!(error.message.contains("ALL_PROXY names no proxy"), "{}", error.message);
}
