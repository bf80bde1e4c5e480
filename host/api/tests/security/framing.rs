//! Where one request ends and the next begins: whoever sees it otherwise than a proxy in front can be made to take a
//! stranger's bytes for somebody's request.

use std::time::Duration;

use durhai_api::{Config, Limits};

use super::wire::Served;

/// How many answers there are in what a connection brought.
fn answers(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let starts = text.match_indices("HTTP/1.1 ");
    starts.map(|(at, _)| text[at + 9..at + 12].parse().expect("a status")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_a_row_are_answered_in_order() {
    let served = Served::with(Config::default()).await;
    let next = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
    let post = "POST /api/v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let text = "{\"workflow\":\"one\"}";
    let sent = [
        next("/healthz", ""),
        next("/api/v1/none", ""),
        format!("{post}content-length: {}\r\n\r\n{text}", text.len()),
        format!("{post}transfer-encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n", text.len()),
        next("/readyz", "connection: close\r\n"),
        next("/healthz", ""),
    ];
    assert_eq!(answers(&served.send(sent.concat()).await), [200, 404, 201, 201, 200]);
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
// Over 80 lines: a table of cases.
async fn nothing_is_read_in_two_ways() {
    // Some wait for more of what they take for a body.
    let short = Duration::from_millis(100);
    let limits = Limits { head_time: short, idle_time: short, body_pause: short, ..Limits::default() };
    let served = Served::with(Config { limits, ..Config::default() }).await;
    let post = "POST /api/v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    // What an attacker hides: if it is ever taken for a request, there is a run of this name.
    let hidden = "POST /api/v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                  content-length: 32\r\n\r\n{\"workflow\":\"one\",\"id\":\"hidden\"}";
    let body = "{\"workflow\":\"one\"}";
    for (what, sent) in [
        ("both lengths", format!("{post}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}")),
        ("both, turned", format!("{post}transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n{hidden}")),
        ("two lengths", format!("{post}content-length: 0\r\ncontent-length: 18\r\n\r\n{hidden}")),
        ("a list of lengths", format!("{post}content-length: 0, 18\r\n\r\n{hidden}")),
        ("a signed length", format!("{post}content-length: +0\r\n\r\n{hidden}")),
        ("a negative length", format!("{post}content-length: -1\r\n\r\n{hidden}")),
        ("a hexadecimal length", format!("{post}content-length: 0x0\r\n\r\n{hidden}")),
        ("a huge length", format!("{post}content-length: 18446744073709551616\r\n\r\n{hidden}")),
        ("a length with a space", format!("{post}content-length : 0\r\n\r\n{hidden}")),
        ("an unknown coding", format!("{post}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}")),
        ("chunked, but not last", format!("{post}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}")),
        ("a quoted coding", format!("{post}transfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n{hidden}")),
        ("a coding with a space", format!("{post}transfer-encoding : chunked\r\n\r\n0\r\n\r\n{hidden}")),
        ("a coding with a tab", format!("{post}transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n{hidden}")),
        ("a folded coding", format!("{post}transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n{hidden}")),
        ("a folded header", format!("{post}x: 1\r\n content-length: 0\r\n\r\n{hidden}")),
        (
            "chunks in 1.0",
            format!(
                "POST /api/v1/runs HTTP/1.0\r\nhost: localhost\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
        ),
        ("a chunk of no size", format!("{post}transfer-encoding: chunked\r\n\r\n\r\n{hidden}")),
        ("a chunk of odd size", format!("{post}transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n{hidden}")),
        ("a chunk of huge size", format!("{post}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{hidden}")),
        (
            "a chunk longer than said",
            format!("{post}transfer-encoding: chunked\r\n\r\n2\r\n{body}\r\n0\r\n\r\n{hidden}"),
        ),
        ("a chunk with a bare line end", format!("{post}transfer-encoding: chunked\r\n\r\n12\n{body}\n0\n\n{hidden}")),
        ("an extension with a bare line end", format!("{post}transfer-encoding: chunked\r\n\r\n0;x\n\r\n{hidden}")),
        ("a header with NUL", format!("{post}x: a\0b\r\ncontent-length: 0\r\n\r\n{hidden}")),
        ("a header with a bare CR", format!("{post}x: a\rcontent-length: 0\r\n\r\n{hidden}")),
        (
            "a space in front of a header",
            format!("POST /api/v1/runs HTTP/1.1\r\n host: localhost\r\ncontent-length: 0\r\n\r\n{hidden}"),
        ),
        ("a name that is none", format!("{post}a b: 1\r\n\r\n{hidden}")),
        ("no name", format!("{post}: 1\r\n\r\n{hidden}")),
        ("no version", format!("GET /healthz\r\n\r\n{hidden}")),
        ("another version", format!("GET /healthz HTTP/3.0\r\nhost: localhost\r\n\r\n{hidden}")),
        ("HTTP/2", format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{hidden}")),
        ("two spaces", format!("GET  /healthz  HTTP/1.1\r\nhost: localhost\r\n\r\n{hidden}")),
        ("a path with a space", format!("GET /health z HTTP/1.1\r\nhost: localhost\r\n\r\n{hidden}")),
        ("a path with NUL", format!("GET /healthz\0 HTTP/1.1\r\nhost: localhost\r\n\r\n{hidden}")),
    ] {
        let bytes = served.send(&sent).await;
        let found = answers(&bytes);
        assert!(found.len() <= 1, "{what}: {found:?}");
        assert!(found.iter().all(|status| (400..600).contains(status)), "{what}: {found:?}");
        let run = served.host.get("hidden").await;
        assert!(run.is_err(), "{what}: the hidden request was taken");
    }
    // What is odd, but says one thing only.
    for (what, sent) in [
        (
            "the same length twice",
            format!("{post}connection: close\r\ncontent-length: 18\r\ncontent-length: 18\r\n\r\n{body}"),
        ),
        (
            "an extension",
            format!("{post}connection: close\r\ntransfer-encoding: chunked\r\n\r\n12;a=b\r\n{body}\r\n0\r\n\r\n"),
        ),
        (
            "trailers",
            format!("{post}connection: close\r\ntransfer-encoding: chunked\r\n\r\n12\r\n{body}\r\n0\r\nx: y\r\n\r\n"),
        ),
        (
            "lines that end barely",
            format!("{post}connection: close\r\ncontent-length: 18\r\n\r\n{body}").replace("\r\n", "\n"),
        ),
    ] {
        let found = answers(&served.send(&sent).await);
        assert!(found == [201] || found == [400], "{what}: {found:?}");
    }
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_from_a_request_becomes_a_header_of_an_answer() {
    let served = Served::with(Config::default()).await;
    for path in [
        "/api/v1/runs/a%0d%0aset-cookie:%20x=1",
        "/api/v1/runs/a%0d%0aset-cookie:%20x=1/export",
        "/api/v1/workflows/a%0d%0aset-cookie:%20x=1",
        "/api/v1/runs?workflow=a%0d%0aset-cookie:%20x=1",
        "/api/v1/runs?a%0d%0aset-cookie:%20x=1=b",
        "/api/v1/runs/%00",
        "/api/v1/runs/%1b%5b31m",
        "/api/v1/runs/..%2f..%2fetc%2fpasswd/export",
        "/api/v1/runs/%2e%2e/export",
    ] {
        let answer = served.ask(&format!("GET {path}"), &[]).await;
        assert!((200..500).contains(&answer.status), "{path}: {}", answer.status);
        assert_eq!(answer.header("set-cookie"), None, "{path}");
        // JSON writes control characters as escapes.
        assert!(!answer.body.iter().any(|byte| byte.is_ascii_control()), "{path}: {:?}", answer.text());
    }
    served.stop().await.expect("it ends");
}
