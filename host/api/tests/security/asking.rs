//! Who may ask: hosts, origins, tokens.

use durhai::Host;
use durhai_api::{Config, ServeError, Token, serve};
use tokio::net::TcpListener;

use super::wire::{Answer, Served};

const SECRET: &str = "0123456789abcdef";

fn guarded() -> Config {
    Config { token: Some(Token::new(SECRET).expect("a token")), ..Config::default() }
}

/// A request of these lines, as they stand.
async fn raw(served: &Served, lines: &[&str]) -> Answer {
    let port = served.address.port().to_string();
    let text: String = lines.iter().map(|line| format!("{}\r\n", line.replace("PORT", &port))).collect();
    Answer::read(&served.send(format!("{text}connection: close\r\n\r\n")).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_must_be_this_server() {
    let served = Served::with(Config { allowed_hosts: vec!["flows.example".into()], ..Config::default() }).await;
    let get = "GET /api/v1/runs HTTP/1.1";
    for (lines, status) in [
        (&[get, "host: localhost:PORT"][..], 200),
        (&[get, "host: 127.0.0.1:PORT"], 200),
        (&[get, "host: localhost"], 200),
        (&[get, "host: LocalHost:PORT"], 200),
        (&[get, "host: [::1]:PORT"], 200),
        (&[get, "host: [::ffff:127.0.0.1]:PORT"], 200),
        (&[get, "host: flows.example"], 200),
        (&["GET http://localhost:PORT/api/v1/runs HTTP/1.1", "host: localhost:PORT"], 200),
        (&["GET http://localhost:PORT/api/v1/runs HTTP/1.1"], 200),
        // A name of somebody else that was bound to 127.0.0.1.
        (&[get, "host: evil.example:PORT"], 403),
        (&[get, "host: localhost.evil.example"], 403),
        (&[get, "host: 0.0.0.0:PORT"], 403),
        (&[get, "host: 2130706433"], 403),
        (&["GET / HTTP/1.1", "host: evil.example"], 403),
        (&["GET /healthz HTTP/1.1", "host: evil.example"], 403),
        // Two names: servers differ in which they take.
        (&["GET http://evil.example/api/v1/runs HTTP/1.1", "host: localhost"], 403),
        (&["GET http://localhost/api/v1/runs HTTP/1.1", "host: evil.example"], 403),
        (&[get, "host: localhost", "host: localhost"], 400),
        (&[get, "host: localhost", "host: evil.example"], 400),
        (&[get, "host: localhost, evil.example"], 400),
        (&[get], 400),
        (&["GET /api/v1/runs HTTP/1.0"], 400),
        // Names that are none.
        (&[get, "host:"], 400),
        (&[get, "host: localhost."], 400),
        (&[get, "host: localhost:99999"], 400),
        (&[get, "host: localhost:"], 400),
        (&[get, "host: user@localhost"], 400),
        (&["GET http://localhost@evil.example/api/v1/runs HTTP/1.1", "host: localhost"], 400),
        (&["GET http://evil.example@localhost/api/v1/runs HTTP/1.1", "host: localhost"], 400),
        (&[get, "host: [::1"], 400),
        (&[get, "host: localhost/x"], 400),
        (&["CONNECT localhost:80 HTTP/1.1", "host: localhost"], 404),
        (&["OPTIONS * HTTP/1.1", "host: localhost"], 404),
    ] {
        let answer = raw(&served, lines).await;
        assert_eq!(answer.status, status, "{lines:?}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), None, "{lines:?}");
    }
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_are_refused() {
    let served = Served::with(Config { allowed_hosts: vec!["flows.example".into()], ..Config::default() }).await;
    let start = "POST /api/v1/runs HTTP/1.1";
    let list = "GET /api/v1/runs HTTP/1.1";
    let ours = "host: localhost:PORT";
    for (lines, status) in [
        (&[list, ours, "origin: http://localhost:PORT"][..], 200),
        (&[list, ours, "sec-fetch-site: same-origin"], 200),
        (&[list, ours, "sec-fetch-site: none"], 200),
        (&[list, "host: flows.example", "origin: https://flows.example"], 200),
        (&[list, ours, "origin: https://flows.example"], 200),
        (&[list, ours, "origin: https://evil.example"], 403),
        (&[list, ours, "origin: http://localhost:1"], 403),
        (&[list, ours, "origin: http://127.0.0.1:PORT"], 403),
        (&[list, ours, "origin: null"], 403),
        (&[list, ours, "origin:"], 403),
        (&[list, ours, "origin: file://"], 403),
        (&[list, ours, "origin: http://localhost:PORT", "origin: https://evil.example"], 400),
        (&[list, ours, "sec-fetch-site: cross-site"], 403),
        (&[list, ours, "sec-fetch-site: same-site"], 403),
        (&[list, ours, "sec-fetch-site: cross-site", "sec-fetch-mode: navigate"], 403),
        (&["GET /api/v1/backup HTTP/1.1", ours, "sec-fetch-site: cross-site"], 403),
        (&["GET /api/v1/runs/none/export HTTP/1.1", ours, "origin: null"], 403),
        (&["GET /api/v1/changes HTTP/1.1", ours, "accept: text/event-stream", "origin: https://evil.example"], 403),
        // What a page can send without asking first.
        (&[start, ours, "origin: https://evil.example", "content-type: text/plain", "content-length: 0"], 403),
        (&[start, ours, "sec-fetch-site: cross-site", "content-length: 0"], 403),
        (
            &[
                "OPTIONS /api/v1/runs HTTP/1.1",
                ours,
                "origin: https://evil.example",
                "access-control-request-method: POST",
            ],
            403,
        ),
        // A link from elsewhere leads to the page; its files are for itself.
        (&["GET / HTTP/1.1", ours, "sec-fetch-site: cross-site", "sec-fetch-mode: navigate"], 200),
        (&["GET /page/index.html HTTP/1.1", ours, "sec-fetch-site: cross-site", "sec-fetch-mode: no-cors"], 403),
    ] {
        let answer = raw(&served, lines).await;
        assert_eq!(answer.status, status, "{lines:?}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), None, "{lines:?}");
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"] {
        let text = "{\"workflow\":\"one\"}";
        let length = format!("content-length: {}", text.len());
        let head =
            [start, "host: localhost", "connection: close", &format!("content-type: {kind}"), &length].join("\r\n");
        let answer = Answer::read(&served.send(format!("{head}\r\n\r\n{text}")).await);
        assert_eq!(answer.status, 415, "{kind}");
    }
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_allowed_origins_may_ask() {
    let dash = "https://dash.example:8443";
    let served = Served::with(Config { allowed_origins: vec![dash.into()], ..guarded() }).await;
    let ours = "host: localhost";
    let from = format!("origin: {dash}");
    let asks = ["OPTIONS /api/v1/runs HTTP/1.1", ours, &from, "access-control-request-method: POST"];
    let answer = raw(&served, &asks).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some(dash)));
    assert_eq!(answer.header("vary"), Some("Origin"));
    assert!(answer.header("access-control-allow-headers").expect("headers").contains("authorization"));
    assert!(answer.header("access-control-allow-methods").expect("methods").contains("DELETE"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);

    let get = "GET /api/v1/runs HTTP/1.1";
    let bearer = format!("authorization: Bearer {SECRET}");
    for (lines, status, named) in [
        (&[get, ours, &from, &bearer][..], 200, Some(dash)),
        // It is told why, and is not let in.
        (&[get, ours, &from], 401, Some(dash)),
        (&[get, ours, "origin: https://dash.example", &bearer], 403, None),
        (&[get, ours, "origin: http://dash.example:8443", &bearer], 403, None),
        (&[get, ours, "origin: https://dash.example:8443.evil.example", &bearer], 403, None),
        (&[get, ours, &bearer], 200, None),
        (&["OPTIONS /api/v1/runs HTTP/1.1", ours, &from], 401, Some(dash)),
    ] {
        let answer = raw(&served, lines).await;
        assert_eq!(answer.status, status, "{lines:?}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), named, "{lines:?}");
        assert!(status == 403 || answer.header("vary").is_some_and(|vary| vary.contains("Origin")), "{lines:?}");
    }
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_let_in_and_nothing_else_does() {
    let tokens = format!("{SECRET}\nthe-next-one-0123456789\n");
    let served = Served::with(Config { token: Some(Token::new(&tokens).expect("tokens")), ..Config::default() }).await;
    let get = "GET /api/v1/runs HTTP/1.1";
    let good = format!("authorization: Bearer {SECRET}");
    for (line, status) in [
        (&*good, 200),
        (&good.replace("Bearer", "bearer"), 200),
        (&good.replace("Bearer ", "Bearer   "), 200),
        ("authorization: Bearer the-next-one-0123456789", 200),
        ("x-none: 1", 401),
        ("authorization: Bearer", 401),
        ("authorization: Bearer ", 401),
        (&good[..good.len() - 1], 401),
        (&format!("{good}0"), 401),
        (&good.to_uppercase(), 401),
        (&good.replace("Bearer ", "Bearer\t"), 401),
        (&good.replace("Bearer", "Basic"), 401),
        (&good.replace("Bearer ", ""), 401),
        (&format!("{good}\r\n{good}"), 401),
        (&format!("{good}\r\nauthorization: Bearer x"), 401),
        (&format!("x-forwarded-{good}"), 401),
        (&format!("cookie: token={SECRET}"), 401),
    ] {
        let answer = raw(&served, &[get, "host: localhost", line]).await;
        assert_eq!(answer.status, status, "{line:?}");
        if status == 401 {
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{line:?}");
            assert!(!answer.text().contains(SECRET) && !answer.text().contains("next-one"), "{}", answer.text());
        }
    }
    // Nothing is open but what is meant to be, however it is written.
    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/", 200),
        ("/hooks/none", 404),
        ("/api/v1/openapi.json", 401),
        ("/api/v1/runs?token=0123456789abcdef", 401),
        ("/api", 401),
        ("/metrics", 401),
        ("/nothing", 401),
        ("/%61pi/v1/runs", 401),
        ("//api/v1/runs", 401),
        ("/API/v1/runs", 401),
        ("/./api/v1/runs", 401),
        ("/page/../api/v1/runs", 404),
        ("/hooks/../api/v1/runs", 404),
        ("/healthz/../api/v1/runs", 401),
        ("/hooks/..%2fapi%2fv1%2fruns", 404),
    ] {
        let answer = raw(&served, &[&format!("GET {path} HTTP/1.1"), "host: localhost"]).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_are_not_served_without_a_strong_token() {
    let host = Host::builder().start().await.expect("a host");
    let weak = Config { token: Some(Token::new("short").expect("a token")), ..Config::default() };
    for (address, config, refused) in [
        ("0.0.0.0:0", Config::default(), "no token"),
        ("[::]:0", Config::default(), "no token"),
        ("[::ffff:0.0.0.0]:0", Config::default(), "no token"),
        ("0.0.0.0:0", weak.clone(), "fewer than 16"),
        ("127.0.0.1:0", Config::default(), ""),
        ("[::ffff:127.0.0.1]:0", Config::default(), ""),
        ("127.9.9.9:0", weak, ""),
        ("0.0.0.0:0", guarded(), ""),
    ] {
        let address: std::net::SocketAddr = address.parse().expect("an address");
        let found = config.may_listen(address).map_err(|error| error.to_string());
        match refused {
            "" => assert_eq!(found, Ok(()), "{address}"),
            why => assert!(found.as_ref().is_err_and(|error| error.contains(why)), "{address}: {found:?}"),
        }
    }
    // The server looks again at what it was given.
    if let Ok(listener) = TcpListener::bind("[::ffff:127.0.0.1]:0").await {
        let open = listener.local_addr().expect("an address");
        let ended = serve(host.clone(), listener, Config::default(), async {}).await;
        assert!(ended.is_ok(), "{open}: {ended:?}");
    }
    let listener = TcpListener::bind("0.0.0.0:0").await.expect("a port");
    let ended = serve(host.clone(), listener, Config::default(), std::future::pending()).await;
    assert!(matches!(ended, Err(ServeError::NoToken(_))), "{ended:?}");
    host.shutdown().await;
}
