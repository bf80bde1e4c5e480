//! `durhai serve` behind nginx, with the very text that `operations.md` has for it.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::folder::Folder;

const NAME: &str = "flows.example.org";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// A proxy in front of a host; ends with the test.
struct Proxy {
    child: Child,
    port: u16,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// `None` where there is no nginx.
    fn start(dir: &Path, host: &str) -> Option<Proxy> {
        let nginx = nginx()?;
        let certificate = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
        std::fs::write(dir.join("cert.pem"), certificate.cert.pem()).expect("a file");
        std::fs::write(dir.join("key.pem"), certificate.signing_key.serialize_pem()).expect("a file");
        // Somebody else may take it before nginx does; then nginx ends, and the test says so.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let mut server = documented();
        for (from, to) in [
            ("listen 443 ssl;", format!("listen 127.0.0.1:{port} ssl;")),
            ("/etc/ssl/flows.example.org.pem", dir.join("cert.pem").display().to_string()),
            ("/etc/ssl/flows.example.org.key", dir.join("key.pem").display().to_string()),
            ("127.0.0.1:7788", host.to_owned()),
        ] {
            assert!(server.contains(from), "the example has no {from}");
            server = server.replace(from, &to);
        }
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {};\n", dir.join(kind).display()))
            .collect();
        let conf = format!(
            "daemon off;\nmaster_process off;\npid {}/nginx.pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}{server}}}\n",
            dir.display()
        );
        std::fs::write(dir.join("nginx.conf"), conf).expect("a file");
        let mut child = Command::new(nginx)
            .args(["-p", &dir.display().to_string(), "-c", "nginx.conf", "-e", "stderr"])
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx starts");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(child.try_wait().expect("a child").is_none(), "nginx ended");
            std::thread::yield_now();
        }
        Some(Proxy { child, port })
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let address = ([127, 0, 0, 1], self.port).into();
        // The certificate is its own witness; TLS is nginx's affair.
        let client = Client::builder().resolve(NAME, address).danger_accept_invalid_certs(true).no_proxy();
        client.build().expect("a client").request(method, format!("https://{NAME}:{}{path}", self.port))
    }

    async fn api(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let asked = self.ask(method, &format!("/api/v1{path}")).bearer_auth(TOKEN);
        let asked = body.into_iter().fold(asked, |asked, body| asked.json(&body));
        let response = asked.send().await.expect("an answer");
        (response.status(), response.json().await.unwrap_or_default())
    }
}

fn nginx() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&paths).chain(["/usr/sbin".into()]);
    dirs.map(|dir| dir.join("nginx")).find(|nginx| nginx.is_file())
}

/// The example for nginx in operations.md.
fn documented() -> String {
    let (_, rest) = OPERATIONS.split_once("```nginx\n").expect("an example");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// Reads until this has come.
async fn until(live: &mut Response, needle: &str) {
    let mut seen = String::new();
    while !seen.contains(needle) {
        let piece = live.chunk().await.expect("it goes on").unwrap_or_else(|| panic!("no {needle:?} in {seen}"));
        seen.push_str(&String::from_utf8_lossy(&piece));
    }
}

#[tokio::test]
async fn the_example_for_nginx_works() {
    let folder = Folder::new();
    folder.script("hooked", "hook(#{ token: \"tok\" }).wait().body");
    std::fs::write(folder.path().join("token"), TOKEN).expect("a file");
    let url = format!("https://{NAME}");
    let (_host, first) = folder.serve(&["--token-file", "token", "--allow-host", NAME, "--public-url", &url]);
    let host = first["address"].as_str().expect("an address").trim_start_matches("http://");
    let Some(proxy) = Proxy::start(folder.path(), host) else {
        println!("skipped: there is no nginx here; `cargo xtask install` brings it");
        return;
    };
    // The page, for everybody; the API, for who has the token.
    let page = proxy.ask(Method::GET, "/").send().await.expect("an answer");
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.headers()["content-security-policy"].to_str().expect("text").contains("script-src 'self'"));
    assert!(page.text().await.expect("a page").contains("<html"));
    let bare = proxy.ask(Method::GET, "/api/v1/runs").send().await.expect("an answer");
    assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
    let origin = format!("https://{NAME}");
    for (origin, status) in [(&*origin, 200), ("https://evil.example", 403)] {
        let asked = proxy.ask(Method::GET, "/api/v1/runs").bearer_auth(TOKEN).header("origin", origin);
        assert_eq!(asked.send().await.expect("an answer").status(), status, "{origin}");
    }

    // Live events come one by one, not at the end.
    let started = proxy.api(Method::POST, "/runs", Some(json!({ "workflow": "gate", "id": "a/b" }))).await;
    assert_eq!(started.0, StatusCode::CREATED, "{started:?}");
    let follow = proxy.ask(Method::GET, "/api/v1/runs/a%2Fb/events").bearer_auth(TOKEN);
    let mut live = follow.header("accept", "text/event-stream").send().await.expect("an answer");
    assert_eq!(live.status(), StatusCode::OK);
    until(&mut live, "run_started").await;
    let signal = proxy.api(Method::POST, "/runs/a%2Fb/signal", Some(json!({ "name": "go", "payload": 1 }))).await;
    assert_eq!(signal.0, StatusCode::ACCEPTED, "{signal:?}");
    until(&mut live, "event: end").await;

    // A hook, without a token, from a page of somebody else.
    proxy.api(Method::POST, "/runs", Some(json!({ "workflow": "hooked", "id": "h" }))).await;
    loop {
        let hook = proxy.ask(Method::POST, "/hooks/tok").header("origin", "https://shop.example").json(&json!(7));
        match hook.send().await.expect("an answer").status() {
            // It is not open yet.
            StatusCode::NOT_FOUND => {}
            status => break assert_eq!(status, StatusCode::ACCEPTED),
        }
    }
    let follow = proxy.ask(Method::GET, "/api/v1/runs/h/events").bearer_auth(TOKEN);
    let mut live = follow.header("accept", "text/event-stream").send().await.expect("an answer");
    until(&mut live, "event: end").await;
    assert_eq!(proxy.api(Method::GET, "/runs/h", None).await.1["output"], 7);

    // Large files go through in both directions, where they may.
    let backup = proxy.ask(Method::GET, "/api/v1/backup").bearer_auth(TOKEN).send().await.expect("an answer");
    assert_eq!(backup.status(), StatusCode::OK);
    assert!(!backup.bytes().await.expect("a file").is_empty());
    let large = vec![b' '; 5 << 20];
    let asked = proxy.ask(Method::POST, "/api/v1/runs").bearer_auth(TOKEN).body(large.clone());
    assert_eq!(asked.send().await.expect("an answer").status(), StatusCode::PAYLOAD_TOO_LARGE);
    let asked = proxy.ask(Method::POST, "/api/v1/import").bearer_auth(TOKEN).body(large);
    assert_eq!(
        asked.send().await.expect("an answer").status(),
        StatusCode::BAD_REQUEST,
        "it is read, and is no export"
    );
}
