//! Hooks are for strangers, and tell them nothing.

use durhai::{Host, Status};
use durhai_api::{Config, Token};

use super::wire::{Answer, Served};

const API: &str = "0123456789abcdef";

async fn served() -> (Served, String) {
    let host = Host::builder().workflow("hooked", "let hook = hook(); emit(hook.token); hook.wait().body");
    let host = host.start().await.expect("a host");
    let mut commits = host.commits();
    let run = host.run("hooked").id("h").start().await.expect("a run");
    while run.status().await.expect("a status") != Status::Waiting {
        commits.recv().await.expect("something happens");
    }
    let token = run.emitted("default", 0, 1).await.expect("values")[0].value.as_str().expect("a token").to_owned();
    let config = Config { token: Some(Token::new(API).expect("a token")), ..Config::default() };
    (Served::new(host, config).await, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_cannot_be_guessed() {
    let (served, token) = served().await;
    let mut seen = std::collections::BTreeSet::from([token]);
    for n in 0..32 {
        let mut commits = served.host.commits();
        let run = served.host.run("hooked").id(format!("h{n}")).start().await.expect("a run");
        while run.status().await.expect("a status") != Status::Waiting {
            commits.recv().await.expect("something happens");
        }
        let token = run.emitted("default", 0, 1).await.expect("values")[0].value.as_str().expect("a token").to_owned();
        assert!(seen.insert(token));
    }
    // 128 bits: 22 characters of 64 kinds, or 32 of 16. No character is the same in all of them.
    let shortest = seen.iter().map(String::len).min().expect("tokens");
    assert!(shortest >= 22, "{seen:?}");
    for at in 0..shortest {
        let kinds: std::collections::BTreeSet<_> = seen.iter().map(|token| token.as_bytes()[at]).collect();
        assert!(kinds.len() > 4, "position {at} of {seen:?}");
    }
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_not_open_is_the_same_404() {
    let (served, open) = served().await;
    let (first, second) = open.split_at(open.len() / 2);
    let upper = open.to_uppercase();
    let mut answers = Vec::new();
    for path in [
        "/hooks/none",
        &format!("/hooks/{first}"),
        &format!("/hooks/{open}x"),
        &format!("/hooks/{open}%00"),
        &format!("/hooks/{open}%0d%0a"),
        &format!("/hooks/{second}{first}"),
        &format!("/hooks/%2e%2e%2fhooks%2f{open}"),
        &format!("/hooks/{}", "a".repeat(4000)),
        "/hooks/%ff",
    ] {
        for (method, lines, body) in [
            ("POST", &["content-type: application/json", "content-length: 1"][..], "{"),
            ("GET", &[], ""),
            ("PUT", &["idempotency-key: \u{e9}", "content-length: 0"], ""),
            ("POST", &["content-length: 999999999"], ""),
        ] {
            let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{lines}\r\n");
            let answer = Answer::read(&served.send(head + body).await);
            answers.push((answer.status, answer.text(), answer.headers.len()));
        }
    }
    if upper != open {
        answers.push({
            let answer = served.ask(&format!("POST /hooks/{upper}"), &["content-length: 0"]).await;
            (answer.status, answer.text(), answer.headers.len())
        });
    }
    let (status, text, _) = &answers[0];
    assert_eq!(*status, 404);
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
    }
    assert!(text.contains("no open hook"), "{text}");

    // A token that was open is like one that never was.
    assert_eq!(served.ask(&format!("GET /hooks/{open}"), &[]).await.status, 202);
    served.host.get("h").await.expect("the run").wait().await.expect("the end");
    let closed = served.ask(&format!("GET /hooks/{open}"), &[]).await;
    assert_eq!((closed.status, closed.text(), closed.headers.len()), answers[0]);
    served.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_do_not_repeat_the_token() {
    let (served, open) = served().await;
    for first in [
        format!("HEAD /hooks/{open}"),
        format!("OPTIONS /hooks/{open}"),
        format!("TRACE /hooks/{open}"),
        format!("PROPFIND /hooks/{open}"),
        format!("POST /hooks/{open}/"),
        format!("POST /hooks/{open}/more"),
        format!("POST /hooks//{open}"),
        format!("POST //hooks/{open}"),
        format!("POST /Hooks/{open}"),
        format!("POST /api/v1/hooks/{open}"),
    ] {
        let answer = served.ask(&first, &["content-length: 0"]).await;
        assert!((400..500).contains(&answer.status), "{first}: {}", answer.status);
        assert!(!answer.text().contains(&open), "{first}: {}", answer.text());
    }
    // Whoever may ask the API may see what a run waits for: he could read its script and its log as well.
    let bearer = format!("authorization: Bearer {API}");
    for path in ["GET /api/v1/runs", "GET /api/v1/runs/h", "GET /api/v1/runs/h/events"] {
        assert_eq!(served.ask(path, &[]).await.status, 401, "{path}");
        assert_eq!(served.ask(path, &[&bearer]).await.status, 200, "{path}");
    }
    served.stop().await.expect("it ends");
}
