//! `--log-format json`, and `--otlp`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::Value;

use crate::folder::Folder;

/// Opens a hook, and waits for it.
const HOOKED: &str = r#"let h = hook(#{ token: "sesame-token" }); h.wait()"#;

/// Each line of a text as the JSON object that it must be.
fn objects(text: &str) -> Vec<Value> {
    let object = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value.is_object(), "{line}");
        for field in ["timestamp", "level", "target", "fields"] {
            assert!(!value[field].is_null(), "{field}: {line}");
        }
        value
    };
    text.lines().map(object).collect()
}

#[test]
fn a_host_that_logs_json_says_nothing_else() {
    let folder = Folder::new();
    folder.script("hooked", HOOKED);
    folder.script("fails", "throw \"no luck\"");
    let mut host = folder.command(&["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    let mut host = host.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let stderr = std::io::BufReader::new(host.stderr.take().expect("a pipe"));
    let (tell, told) = mpsc::channel();
    let reader = thread::spawn(move || {
        std::io::BufRead::lines(stderr).map_while(Result::ok).for_each(|line| drop(tell.send(line)));
    });
    let mut all = Vec::new();
    let mut until = |wanted: &dyn Fn(&Value) -> bool| loop {
        let line = told.recv_timeout(std::time::Duration::from_secs(60)).expect("the line comes");
        let [found] = &objects(&line)[..] else { panic!("{line}") };
        all.push(line);
        if wanted(&found["fields"]) {
            return found.clone();
        }
    };
    until(&|fields| fields["message"] == "the host serves");
    folder.durhai(&["start", "echo", "--id", "e", "--wait"]).is(0);
    folder.durhai(&["start", "fails", "--id", "f", "--wait"]).is(1);
    folder.durhai(&["start", "hooked", "--id", "h"]).is(0);
    folder.script("echo", "let = ;");
    let done = until(&|fields| fields["run"] == "e");
    assert_eq!((&done["fields"]["workflow"], &done["fields"]["status"]), (&"echo".into(), &"completed".into()));
    let failed = until(&|fields| fields["run"] == "f");
    assert_eq!((&failed["level"], &failed["fields"]["workflow"]), (&"ERROR".into(), &"fails".into()));
    assert!(failed["fields"]["error"].as_str().expect("an error").contains("no luck"), "{failed}");
    until(&|fields| fields["workflow"] == "echo" && fields["error"].as_str().is_some_and(|error| error.contains('^')));
    let pid = host.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    assert_eq!(host.wait().expect("its end").code(), Some(0));
    reader.join().expect("the reader");
    all.extend(told.try_iter());
    let mut stdout = String::new();
    host.stdout.take().expect("a pipe").read_to_string(&mut stdout).expect("text");
    assert_eq!(stdout, "");
    let text = all.join("\n");
    objects(&text);
    assert!(text.contains("the host stops") && !text.contains("sesame"), "{text}");
}

#[test]
fn a_run_that_logs_json_gives_its_output_alone() {
    let folder = Folder::new();
    let ran = folder.durhai(&["run", "echo", "--input", "5", "--id", "r", "--log-format", "json"]).is(0);
    assert_eq!(ran.stdout, "5\n");
    let lines = objects(&ran.stderr);
    let last = &lines.last().expect("lines")["fields"];
    assert_eq!((&last["run"], &last["workflow"], &last["status"]), (&"r".into(), &"echo".into(), &"completed".into()));
    let quiet = ["run", "echo", "--input", "5", "--log-format", "json", "--log-level", "error"];
    assert_eq!(folder.durhai(&quiet).is(0).stderr, "");
    // What ends it is told the same way.
    let failed = folder.durhai(&["run", "nope", "--log-format", "json"]).is(3);
    assert!(objects(&failed.stderr)[0]["fields"]["message"].as_str().expect("text").contains("nope"));
}

#[test]
fn a_run_is_told_to_a_collector() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    // It takes whatever comes, one request a connection.
    let collector = thread::spawn(move || {
        let mut paths = Vec::new();
        while !paths.iter().any(|path: &String| path.contains("/v1/traces")) {
            let (mut connection, _) = listener.accept().expect("a connection");
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !ends(&request) {
                match connection.read(&mut buffer).expect("bytes") {
                    0 => break,
                    count => request.extend(&buffer[..count]),
                }
            }
            paths.push(String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned());
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").expect("sent");
        }
        paths
    });
    folder.durhai(&["run", "echo", "--input", "5", "--otlp", &endpoint]).is(0);
    assert!(collector.join().expect("the collector").iter().any(|path| path.starts_with("POST /v1/traces ")));
    folder.durhai(&["run", "echo", "--otlp", "localhost"]).is(2).says("http://localhost:4318");
}

/// Whether a request has all of its body.
fn ends(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some(head) = text.find("\r\n\r\n") else { return false };
    let length = text[..head].lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let start = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(0) + 4;
    request.len() >= start + length.unwrap_or(0)
}
