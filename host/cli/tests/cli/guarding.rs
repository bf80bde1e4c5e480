//! How `durhai serve` guards what it serves, and how it stops.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::folder::Folder;

/// Sends this to a host, and reads until it closes.
fn send(address: &str, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(bytes.as_bytes()).expect("sent");
    std::io::read_to_string(stream).expect("an answer")
}

#[test]
fn it_is_not_served_to_others_by_mistake() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("weak"), "short\n").expect("a file");
    std::fs::write(folder.path().join("odd"), "two words\n").expect("a file");
    for listen in ["0.0.0.0:0", "[::]:0", "[::ffff:0.0.0.0]:0"] {
        folder.durhai(&["serve", "--listen", listen]).is(2).says("--token-file");
        folder.durhai(&["serve", "--listen", listen, "--token-file", "weak"]).is(2).says("openssl rand -hex 16");
    }
    folder.durhai(&["serve", "--token-file", "odd"]).is(2).says("line 1");
    folder.durhai(&["serve", "--token-file", "none"]).is(2).says("none");
    for name in ["flows.example:443", "https://flows.example", "*.example", "a b", "a/b", ""] {
        folder.durhai(&["serve", "--allow-host", name]).is(2).says("--allow-host");
    }
    for url in ["*", "null", "dash.example", "https://dash.example/x", "https://u@dash.example", "ftp://dash.example"] {
        folder.durhai(&["serve", "--allow-origin", url]).is(2).says("--allow-origin");
    }
    assert!(!folder.path().join(".durhai").exists(), "nothing was opened");
}

#[test]
fn secrets_stay_out_of_what_it_prints() {
    const TOKEN: &str = "0123456789abcdef-the-secret";
    let folder = Folder::new();
    folder.script("hooked", "let h = hook(); set_status(h.token); h.wait()");
    std::fs::write(folder.path().join("token"), format!("{TOKEN}\nanother-secret-0123456789\n")).expect("a file");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(folder.path().join("token"), open).expect("changed");
    }
    let mut host = folder.going(&["serve", "--listen", "127.0.0.1:0", "--token-file", "token"]);
    let first = host.lines.next().expect("a line").expect("text");
    let opens = host.lines.next().expect("a line").expect("text");
    let address = first.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address").to_owned();
    assert_eq!(opens, format!("open http://{address}/ in a browser"));

    folder.durhai(&["start", "hooked", "--id", "h"]).is(0);
    let hook = loop {
        let run = folder.durhai(&["show", "h", "--json"]).is(0).json();
        match run["status_text"].as_str() {
            Some(hook) => break hook.to_owned(),
            None => std::thread::yield_now(),
        }
    };
    for (path, more) in [
        ("/api/v1/runs", format!("authorization: Bearer {TOKEN}\r\n")),
        ("/api/v1/runs", format!("authorization: Bearer {TOKEN}x\r\n")),
        (&*format!("/hooks/{hook}/x"), String::new()),
        (&*format!("/hooks/{hook}"), "idempotency-key: 1\r\n".into()),
    ] {
        send(
            &address,
            &format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}content-length: 0\r\n\r\n"),
        );
    }
    host.signal("-TERM");
    let ended = host.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let (printed, noted) = (format!("{first}{opens}{}", ended.stdout), ended.stderr);
    assert!(cfg!(not(unix)) || noted.contains("chmod 600"), "{noted}");
    for secret in [TOKEN, "another-secret", &hook] {
        assert!(!printed.contains(secret) && !noted.contains(secret), "{secret} in {printed}\n{noted}");
    }
}

#[test]
fn a_stop_ends_streams_and_lets_nobody_in() {
    let folder = Folder::new();
    let (host, first) = folder.serve(&["--max-connections", "3", "--max-streams", "1"]);
    let address = first["address"].as_str().expect("an address").trim_start_matches("http://").to_owned();
    folder.durhai(&["start", "gate", "--id", "g"]).is(0);
    let mut live = TcpStream::connect(&address).expect("a connection");
    let follow = "GET /api/v1/runs/g/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";
    live.write_all(follow.as_bytes()).expect("sent");
    let mut live = BufReader::new(live);
    let mut line = String::new();
    while !line.contains("run_started") {
        line.clear();
        assert_ne!(live.read_line(&mut line).expect("text"), 0);
    }
    let export = "GET /api/v1/runs/g/export HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert!(send(&address, export).starts_with("HTTP/1.1 503"));
    let mut idle = TcpStream::connect(&address).expect("a connection");
    host.signal("-TERM");
    let mut rest = String::new();
    live.read_to_string(&mut rest).expect("a clean end");
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
    assert_eq!(idle.read(&mut [0; 1]).expect("a clean end"), 0);
    assert_eq!(host.wait().code, Some(0));
    assert!(TcpStream::connect(&address).is_err());
}
