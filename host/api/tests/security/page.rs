//! The files of the page, and what a browser is told about them.

use std::io::Read;

use durhai::Host;
use durhai_api::{Config, Token};

use super::wire::Served;

const INDEX: &[u8] = include_bytes!("../../page/index.html");

#[tokio::test(flavor = "multi_thread")]
async fn it_is_there_without_a_token_and_nothing_else_is() {
    let token = Token::new("0123456789abcdef").expect("a token");
    let served = Served::with(Config { token: Some(token), ..Config::default() }).await;
    let index = served.ask("GET /", &[]).await;
    assert_eq!((index.status, index.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(index.body, INDEX);
    let beside = served.ask("GET /page/index.html", &[]).await;
    assert_eq!((beside.status, beside.text().replace("\"../page/", "\"page/").as_bytes()), (200, INDEX));
    let head = served.ask("HEAD /", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length").expect("a length"), INDEX.len().to_string());
    for (first, status) in [
        ("POST /", 405),
        ("PUT /page/index.html", 405),
        ("OPTIONS /", 405),
        // What is no file of the page is none of a stranger's business.
        ("GET /index.html", 401),
        ("GET /page", 401),
        ("GET /page/", 404),
        ("GET /page/none.js", 404),
        ("GET /page/../Cargo.toml", 404),
        ("GET /page/%2e%2e/Cargo.toml", 404),
        ("GET /page/..%2fCargo.toml", 404),
        ("GET /page/..%5cCargo.toml", 404),
        ("GET /page/%2e%2e%2f%2e%2e%2f..%2fetc/passwd", 404),
        ("GET /page//etc/passwd", 404),
        ("GET /page/%2Fetc%2Fpasswd", 404),
        ("GET /page/index.html%00.js", 404),
        ("GET /page/index.html%0d%0ax: y", 400),
        ("GET /page/%ff", 404),
        ("GET /api/v1/runs", 401),
    ] {
        let answer = served.ask(first, &[]).await;
        assert_eq!(answer.status, status, "{first}: {}", answer.text());
        assert!(!answer.text().contains("[package]") && !answer.text().contains("root:"), "{first}");
    }
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_to_be_strict() {
    let served = Served::with(Config::default()).await;
    for path in ["GET /", "GET /page/index.html"] {
        let answer = served.ask(path, &[]).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-cache"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}: {name}");
        }
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; "), "{policy}");
        for closed in ["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "connect-src 'self'"] {
            assert!(policy.contains(closed), "{policy}");
        }
        for open in ["unsafe", "*", "http", "blob"] {
            assert!(!policy.contains(open), "{policy}");
        }
        assert!(answer.header("permissions-policy").expect("a policy").contains("camera=()"));
    }
    // What the page is made of keeps to that: no script and no style stands in it.
    let index = String::from_utf8_lossy(INDEX).to_ascii_lowercase();
    for inline in ["<style", " style=", " onclick=", " onload=", "javascript:"] {
        assert!(!index.contains(inline), "{inline} in index.html");
    }
    for script in index.split("<script").skip(1) {
        let tag = script.split('>').next().unwrap_or_default();
        assert!(tag.contains(" src="), "a script in index.html: {tag}");
    }
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_sent_once() {
    let served = Served::with(Config::default()).await;
    let plain = served.ask("GET /", &[]).await;
    let tag = plain.header("etag").expect("a tag").to_owned();
    assert!(tag.starts_with('"') && tag.len() > 20, "{tag}");
    for known in [tag.clone(), format!("\"x\", {tag}"), format!("W/{tag}"), "*".into()] {
        let again = served.ask("GET /", &[&format!("if-none-match: {known}")]).await;
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(&*tag)), "{known}");
    }
    assert_eq!(served.ask("GET /", &["if-none-match: \"x\""]).await.status, 200);

    let zipped = served.ask("GET /", &["accept-encoding: br, gzip"]).await;
    if INDEX.len() >= 512 {
        assert_eq!(zipped.header("content-encoding"), Some("gzip"));
        assert_eq!(zipped.header("vary"), Some("Accept-Encoding"));
        assert_ne!(zipped.header("etag"), Some(&*tag), "each form has its own");
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&*zipped.body).read_to_end(&mut text).expect("gzip");
        assert_eq!(text, INDEX);
    } else {
        assert_eq!(zipped.body, INDEX);
    }
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_compressed_for_who_asks() {
    let host = Host::builder().workflow("one", "1").start().await.expect("a host");
    for n in 0..20 {
        host.run("one").id(format!("run-{n}")).start().await.expect("a run");
    }
    let served = Served::new(host, Config::default()).await;
    let plain = served.ask("GET /api/v1/runs", &[]).await;
    assert_eq!(plain.header("content-encoding"), None);
    let zipped = served.ask("GET /api/v1/runs", &["accept-encoding: gzip"]).await;
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert!(zipped.body.len() * 2 < plain.body.len());
    assert_eq!(served.ask("GET /healthz", &["accept-encoding: gzip"]).await.header("content-encoding"), None);
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedder_may_do_without_it() {
    let served = Served::with(Config { page: false, ..Config::default() }).await;
    for path in ["GET /", "GET /page/index.html"] {
        assert_eq!(served.ask(path, &[]).await.status, 404, "{path}");
    }
    assert_eq!(served.ask("GET /healthz", &[]).await.status, 200);
    served.stop().await.expect("it ends");
}
